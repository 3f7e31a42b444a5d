"""The loop that moves batches between a packet queue, an engine and raw sockets."""

from mpcore.engine cimport Engine
from mpcore.host.waiter cimport Served
from mpcore.store.packet cimport packet_t


cdef enum:
    BATCH = 64                 # packets read, decided and settled together


cdef class Pump(Served):
    cdef Engine engine
    cdef object endpoint
    cdef object open_sender    # callable: port -> RawSender
    cdef object before_verdicts  # callable without arguments, or None
    cdef list senders          # RawSender by port, None where not yet used
    cdef packet_t packets[64]

    cdef int decide(self, int count, list keep) except -1
    cdef int settle(self) except -1
    cdef int finish(self) except -1
    cdef int tell(self) except -1
    cdef int drain(self) except -1
