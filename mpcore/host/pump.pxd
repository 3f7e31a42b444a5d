"""The loop that moves batches between a packet queue, an engine and raw sockets."""

from libc.stdint cimport int64_t, uint64_t

from mpcore.engine cimport Engine
from mpcore.host.nfqueue cimport PacketQueue
from mpcore.store.packet cimport packet_t


cdef enum:
    BATCH = 64                 # packets read, decided and settled together


cdef class Pump:
    cdef Engine engine
    cdef PacketQueue queue
    cdef object endpoint
    cdef object open_sender    # callable: port -> RawSender
    cdef object before_verdicts  # callable without arguments, or None
    cdef list senders          # RawSender by port, None where not yet used
    cdef packet_t packets[64]
    cdef bint asked            # since serve or another of its methods was called, Python was
    cdef readonly uint64_t wakeups

    cdef int wait_ms(self, int64_t due) noexcept
    cdef int expire(self) except -1
    cdef int handle(self, int batches) except -1
    cdef int decide(self, int count, list keep) except -1
    cdef int settle(self) except -1
    cdef int finish(self) except -1
    cdef int tell(self) except -1
    cdef int drain(self) except -1


# The monotonic clock in nanoseconds: the clock of everything that a pump drives.
cdef int64_t clock_ns() noexcept nogil
