"""The wait of the daemon's loop, which handles packets meanwhile, Python only where it has to decide."""

from libc.stdint cimport int64_t, uint64_t

from mpcore.host.nfqueue cimport PacketQueue


cdef class Served:
    cdef PacketQueue queue
    cdef bint asked            # Python was, since this was last set to False
    cdef bint crowded          # many packets came at once: more may gather before the next

    # Handle up to `batches` batches of the queue's packets and what follows from them; returns the packets.
    cdef int handle(self, int batches) except -1
    # When `expire` is due, NEVER while nothing is.
    cdef int64_t deadline(self) noexcept
    cdef int expire(self) except -1


cdef class Waiter:
    cdef int epoll
    cdef list served           # Served
    cdef readonly uint64_t wakeups

    cdef int wait_ms(self, int64_t due) noexcept
    cdef bint takes_rest(self) noexcept
    cdef int handle(self, int descriptor, int batches) except -1
    cdef int expire(self) except -1
    cdef bint was_asked(self) noexcept
