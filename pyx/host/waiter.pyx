"""The wait of the daemon's loop, which handles packets meanwhile, Python only where it has to decide."""

import os

cimport cython
from libc.errno cimport EINTR, errno as c_errno
from libc.stdint cimport int64_t, uint32_t

from mpcore.host.clock cimport clock_ns
from mpcore.mptcp.types cimport NEVER


cdef extern from "<sys/epoll.h>" nogil:
    union epoll_data:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data data
    int epoll_wait(int epoll, epoll_event *events, int capacity, int timeout_ms)


cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int duration_us)


cdef enum:
    READY_MAX = 16             # descriptors that one call tells of
    WAIT_MS_MAX = 60000
    REST_US = 50               # the kernel makes about 100 of it


cdef class Served:
    """What a Waiter looks after: a packet queue, and deadlines of its own."""

    cdef int handle(self, int batches) except -1:
        return 0

    cdef int64_t deadline(self) noexcept:
        return NEVER

    cdef int expire(self) except -1:
        return 0


@cython.final
cdef class Waiter:
    """Waits for a loop.

    Args:
        epoll: descriptor of an epoll instance that has the queues' descriptors, and others of the loop's
        served: the pumps of these queues

    Thread-safety: one thread, the one that uses the pumps.
    """

    def __init__(self, int epoll, served):
        self.epoll = epoll
        self.served = list(served)

    def serve(self, object due_ns, int batches):
        """Wait, and handle packets and the pumps' deadlines, until something else is to be done.

        `due_ns`: when the loop has to do something, None for never; `batches`: after which other pumps and
        the loop get their turn. Returns the other descriptors that are ready: none where `due_ns` has come,
        Python was asked for something, which may have changed what is due, or a signal came. Raises OSError.
        """
        cdef epoll_event[READY_MAX] ready
        cdef int64_t due = NEVER if due_ns is None else due_ns
        cdef Served pump
        cdef int count, i, timeout_ms
        cdef bint rests
        cdef list others = []
        for pump in self.served:
            pump.asked = False
        while not others and not self.was_asked():
            timeout_ms = self.wait_ms(due)
            rests = self.takes_rest()
            with nogil:
                if rests:
                    usleep(REST_US)
                count = epoll_wait(self.epoll, ready, READY_MAX, timeout_ms)
            self.wakeups += 1
            if count < 0:
                if c_errno == EINTR:
                    return others
                raise OSError(c_errno, os.strerror(c_errno))
            for i in range(count):
                if not self.handle(ready[i].data.fd, batches):
                    others.append(ready[i].data.fd)
            self.expire()
            if due <= clock_ns():
                break
        return others

    cdef int wait_ms(self, int64_t due) noexcept:
        """Return for how long to wait, in whole milliseconds."""
        cdef int64_t first = due
        cdef Served pump
        for pump in self.served:
            first = min(first, pump.deadline())
        return <int>min(max(first - clock_ns() + 999999, 0) // 1000000, WAIT_MS_MAX)

    cdef bint takes_rest(self) noexcept:
        """True, once, when a pump that has just handled many packets wants more of them to gather."""
        cdef bint crowded = False
        cdef Served pump
        for pump in self.served:
            crowded |= pump.crowded
            pump.crowded = False
        return crowded

    cdef int handle(self, int descriptor, int batches) except -1:
        """Let the pump of a descriptor work; 0 when it is none's."""
        cdef Served pump
        for pump in self.served:
            if pump.queue.descriptor == descriptor:
                pump.handle(batches)
                return 1
        return 0

    cdef int expire(self) except -1:
        cdef Served pump
        for pump in self.served:
            if pump.deadline() <= clock_ns():
                pump.expire()
        return 0

    cdef bint was_asked(self) noexcept:
        cdef Served pump
        for pump in self.served:
            if pump.asked:
                return True
        return False
