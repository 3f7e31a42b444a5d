"""Carry packets from one descriptor to another late, rarely twice, not always, and in a rate.

One thread, one heap of departures for both directions, no allocation and no Python while packets flow. To
wake up costs far more than to move a packet, so after a round that moved some the next one waits for a tick:
a packet is never early, and late by up to two ticks beside what the machine's other work adds.
"""

import os

cimport cython
from libc.errno cimport EINTR, errno as c_errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from mpcore.host.clock cimport clock_ns, timespec
from mpcore.store.timers cimport heap_clear, heap_init, heap_next, heap_pop, heap_set
from mpcore.wire.bits cimport load16, store16
from mpcore.wire.ip cimport ECN_CE, ECN_MASK


cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int ppoll(pollfd *descriptors, unsigned long count, const timespec *timeout, const void *signals)
    enum:
        POLLIN


cdef extern from "<unistd.h>" nogil:
    ssize_t read(int descriptor, void *data, size_t size)
    ssize_t write(int descriptor, const void *data, size_t size)


cdef extern from "<sched.h>" nogil:
    int setns(int descriptor, int kind)


cdef enum:
    SLOT_SIZE = 2048
    BATCH = 256                # packets moved in one direction before the other one is looked at
    TICK_NS = 200000
    CLONE_NEWNET = 0x40000000
    NS_PER_S = 1000000000

SLOT_BYTES = SLOT_SIZE


cdef uint64_t draw(pipe_t *pipe) noexcept nogil:
    """Return 64 random bits: the generator SplitMix64 (Steele, Lea, Flood, 2014)."""
    cdef uint64_t mixed
    pipe.random += <uint64_t>0x9e3779b97f4a7c15
    mixed = pipe.random
    mixed = (mixed ^ (mixed >> 30)) * <uint64_t>0xbf58476d1ce4e5b9
    mixed = (mixed ^ (mixed >> 27)) * <uint64_t>0x94d049bb133111eb
    return mixed ^ (mixed >> 31)


cdef bint chance(pipe_t *pipe, uint64_t share) noexcept nogil:
    """Tell whether an event of probability share / 2^32 happens; draws only where it may."""
    return share != 0 and (draw(pipe) >> 32) < share


cdef int64_t jitter(pipe_t *pipe) noexcept nogil:
    """Return a value between -jitter_ns and jitter_ns, all equally likely."""
    if pipe.jitter_ns == 0:
        return 0
    return <int64_t>(draw(pipe) % <uint64_t>(2 * pipe.jitter_ns + 1)) - pipe.jitter_ns


cdef int mark(uint8_t *packet, uint32_t size) noexcept nogil:
    """Mark an IP packet whose sender takes marks (RFC 3168 §5); 1 when it was."""
    cdef uint32_t total
    if size >= 20 and packet[0] >> 4 == 4 and (packet[1] & ECN_MASK) % ECN_CE:
        # the header's checksum, updated in place (RFC 1624 §3)
        total = ~load16(packet + 10) & 0xffff
        total += ~load16(packet) & 0xffff
        packet[1] |= ECN_CE
        total += load16(packet)
        total = (total & 0xffff) + (total >> 16)
        total = (total & 0xffff) + (total >> 16)
        store16(packet + 10, <uint16_t>~total)
        return 1
    if size >= 40 and packet[0] >> 4 == 6 and (packet[1] >> 4 & ECN_MASK) % ECN_CE:
        packet[1] |= ECN_CE << 4
        return 1
    return 0


cdef int pause(pollfd *polled, int count, int64_t wait_ns) noexcept nogil:
    """Sleep for `wait_ns`, negative for ever, or until one of the first `count` descriptors is ready."""
    cdef timespec wait
    wait.tv_sec = wait_ns // NS_PER_S
    wait.tv_nsec = wait_ns % NS_PER_S
    return ppoll(polled, <unsigned long>count, &wait if wait_ns >= 0 else NULL, NULL)


@cython.final
cdef class Emulator:
    """A link between the descriptors `left` and `right`, which must not block.

    Way 0 goes from left to right, way 1 back; each is a perfect link until `configure` tells otherwise.
    `capacity` packets of at most `SLOT_BYTES` may be under way. Thread-safety: one thread.
    """

    def __cinit__(self, int left, int right, uint32_t capacity=32768):
        cdef uint32_t slot
        if capacity == 0:
            raise ValueError("a link must hold a packet at least")
        self.slots = <uint8_t *>malloc(<size_t>capacity * SLOT_SIZE)
        self.sizes = <uint32_t *>calloc(capacity, sizeof(uint32_t))
        self.ways = <uint8_t *>calloc(capacity, sizeof(uint8_t))
        self.unused = <uint32_t *>calloc(capacity, sizeof(uint32_t))
        if (
            self.slots == NULL or self.sizes == NULL or self.ways == NULL or self.unused == NULL
            or heap_init(&self.departures, capacity) < 0
        ):
            raise MemoryError
        self.capacity = self.unused_count = capacity
        for slot in range(capacity):
            # the lowest slots are used first, and memory of the others is never touched
            self.unused[slot] = capacity - 1 - slot
        self.pipes[0].source = self.pipes[1].target = left
        self.pipes[0].target = self.pipes[1].source = right

    def __dealloc__(self):
        heap_clear(&self.departures)
        free(self.slots)
        free(self.sizes)
        free(self.ways)
        free(self.unused)

    def configure(
        self, int way, *, object rate_mbit, double queue_ms, double delay_ms, double jitter_ms, double loss,
        double reorder, double duplicate, double mark, uint64_t seed,
    ):
        """Change one direction; packets under way keep their departures.

        Rate in Mbit/s of IP packets or None, times in milliseconds, probabilities from 0 to 1. A packet that
        would wait longer than `queue_ms` for the line is refused; `jitter_ms` lengthens and shortens the
        delay without changing the order; the share `reorder` skips the delay, and so overtakes; of packets
        whose senders take marks the share `mark` is marked.
        """
        cdef pipe_t *pipe = &self.pipes[way & 1]
        pipe.ns_per_byte = 8000.0 / <double>rate_mbit if rate_mbit is not None else 0.0
        pipe.queue_ns = <int64_t>(queue_ms * 1e6)
        pipe.delay_ns = <int64_t>(delay_ms * 1e6)
        pipe.jitter_ns = min(<int64_t>(jitter_ms * 1e6), pipe.delay_ns)
        pipe.loss = <uint64_t>(loss * 4294967296.0)
        pipe.reorder = <uint64_t>(reorder * 4294967296.0)
        pipe.duplicate = <uint64_t>(duplicate * 4294967296.0)
        pipe.mark = <uint64_t>(mark * 4294967296.0)
        pipe.random = seed

    def run(self, int control):
        """Carry packets until `control` can be read (True) or the link has gone (False).

        Raises what a signal's handler raises.
        """
        cdef int ended
        while True:
            with nogil:
                ended = self.serve(control)
            if ended != -EINTR:
                return ended == 0

    def stats(self, int way):
        """Return what has happened in one direction, in packets, by name."""
        cdef pipe_t pipe = self.pipes[way & 1]
        return {
            "received": pipe.received,
            "delivered": pipe.delivered,
            "lost": pipe.lost,
            "overflowed": pipe.overflowed,
            "reordered": pipe.reordered,
            "duplicated": pipe.duplicated,
            "marked": pipe.marked,
            "refused": pipe.refused,
            "no_room": pipe.no_room,
        }

    cdef int serve(self, int control) noexcept nogil:
        """Return 0 when `control` can be read, -EINTR after a signal, -1 when a descriptor failed."""
        cdef pollfd polled[3]
        cdef int64_t began_ns, wait_ns
        cdef int moved, way, ready
        polled[0].fd = control
        for way in range(2):
            polled[1 + way].fd = self.pipes[way].source
        for way in range(3):
            polled[way].events = POLLIN
        while True:
            began_ns = clock_ns()
            moved = self.take(0, began_ns) + self.take(1, began_ns) + self.deliver(began_ns)
            wait_ns = self.rest_ns(began_ns, moved)
            ready = pause(polled, 1 if moved else 3, wait_ns)
            if ready < 0:
                return -EINTR if c_errno == EINTR else -1
            if polled[0].revents:
                return 0
            if not moved and (polled[1].revents | polled[2].revents) & ~POLLIN:
                return -1

    cdef int64_t rest_ns(self, int64_t began_ns, int moved) noexcept nogil:
        """Return how long to pause after a round, in nanoseconds; negative: until something comes."""
        cdef int64_t due_ns = heap_next(&self.departures)
        if moved:
            return max(began_ns + TICK_NS - clock_ns(), <int64_t>0)
        return max(due_ns - clock_ns(), <int64_t>0) if due_ns >= 0 else -1

    cdef int deliver(self, int64_t now_ns) noexcept nogil:
        """Write what is due, a batch of it, and return how many packets that was."""
        cdef int64_t slot
        cdef pipe_t *pipe
        cdef int count
        for count in range(BATCH):
            slot = heap_pop(&self.departures, now_ns)
            if slot < 0:
                return count
            pipe = &self.pipes[self.ways[slot]]
            if write(pipe.target, self.slots + <size_t>slot * SLOT_SIZE, self.sizes[slot]) < 0:
                pipe.refused += 1
            else:
                pipe.delivered += 1
            self.release(<uint32_t>slot)
        return BATCH

    cdef int take(self, int way, int64_t now_ns) noexcept nogil:
        """Read what waits, a batch of it, and return how many packets that was."""
        cdef pipe_t *pipe = &self.pipes[way]
        cdef uint8_t scratch[SLOT_SIZE]
        cdef uint32_t slot
        cdef ssize_t size
        cdef int count
        for count in range(BATCH):
            if self.unused_count == 0:
                if read(pipe.source, scratch, SLOT_SIZE) <= 0:
                    return count
                pipe.received += 1
                pipe.no_room += 1
                continue
            slot = self.unused[self.unused_count - 1]
            size = read(pipe.source, self.slots + <size_t>slot * SLOT_SIZE, SLOT_SIZE)
            if size <= 0:
                return count
            self.unused_count -= 1
            self.sizes[slot] = <uint32_t>size
            pipe.received += 1
            self.admit(way, slot, now_ns)
        return BATCH

    cdef void admit(self, int way, uint32_t slot, int64_t now_ns) noexcept nogil:
        """Let a packet that has come take its chances, then wait for the line."""
        cdef pipe_t *pipe = &self.pipes[way]
        cdef int64_t leaves_ns = now_ns
        if chance(pipe, pipe.loss):
            pipe.lost += 1
            self.release(slot)
            return
        if pipe.ns_per_byte > 0:
            leaves_ns = max(now_ns, pipe.free_ns)
            if leaves_ns - now_ns > pipe.queue_ns:
                pipe.overflowed += 1
                self.release(slot)
                return
            leaves_ns += <int64_t>(pipe.ns_per_byte * self.sizes[slot])
            pipe.free_ns = leaves_ns
        if chance(pipe, pipe.mark):
            pipe.marked += mark(self.slots + <size_t>slot * SLOT_SIZE, self.sizes[slot])
        self.depart(way, slot, leaves_ns)
        if chance(pipe, pipe.duplicate):
            self.repeat(way, slot, leaves_ns)

    cdef void depart(self, int way, uint32_t slot, int64_t leaves_ns) noexcept nogil:
        """Set when the packet arrives at the other end."""
        cdef pipe_t *pipe = &self.pipes[way]
        cdef int64_t due_ns
        if chance(pipe, pipe.reorder):
            pipe.reordered += 1
            due_ns = leaves_ns
        else:
            # one nanosecond apart: the heap keeps no order among equals
            due_ns = max(leaves_ns + pipe.delay_ns + jitter(pipe), pipe.last_ns + 1)
            pipe.last_ns = due_ns
        self.ways[slot] = <uint8_t>way
        heap_set(&self.departures, slot, due_ns)

    cdef void repeat(self, int way, uint32_t slot, int64_t leaves_ns) noexcept nogil:
        """Send a copy of the packet behind it; none while there is no room for one."""
        cdef uint32_t copy
        if self.unused_count == 0:
            return
        self.unused_count -= 1
        copy = self.unused[self.unused_count]
        memcpy(self.slots + <size_t>copy * SLOT_SIZE, self.slots + <size_t>slot * SLOT_SIZE, self.sizes[slot])
        self.sizes[copy] = self.sizes[slot]
        self.pipes[way].duplicated += 1
        self.depart(way, copy, leaves_ns)

    cdef void release(self, uint32_t slot) noexcept nogil:
        self.unused[self.unused_count] = slot
        self.unused_count += 1


def enter_namespace(str path):
    """Move this thread into the network namespace that the file `path` stands for. Raises OSError."""
    cdef int descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    cdef int failed = setns(descriptor, CLONE_NEWNET)
    cdef int error = c_errno
    os.close(descriptor)
    if failed:
        raise OSError(error, os.strerror(error), path)
