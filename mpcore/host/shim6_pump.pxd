"""The loop that moves batches between a packet queue and Shim6's engine."""

from libc.stdint cimport int64_t

from mpcore.host.rawsock cimport RawSender
from mpcore.host.waiter cimport Served
from mpcore.shim6.engine cimport Shim6Engine
from mpcore.store.packet cimport packet_t


cdef enum:
    ACK_SIZE_MAX = 40 + 60     # IPv6 and TCP with all options
    BATCH = 64                 # packets read, decided and settled together


cdef class Shim6Pump(Served):
    cdef Shim6Engine engine
    cdef object endpoint
    cdef object open_sender    # callable: local locator -> RawSender
    cdef object segment_size   # callable: TcpFlow -> octets of options and payload
    cdef packet_t packets[64]
    cdef int settled           # packets of the batch whose verdicts have been sent
    cdef int64_t tell_ns       # when the endpoint is told of packets that were handled meanwhile
    cdef public object on_told
    cdef public object on_ack
    cdef public object on_too_big

    cdef int decide(self, int count, list keep) except -1
    cdef int punt(self, packet_t *packet, list keep) except -1
    cdef int leave(self, int index) except -1
    cdef void settle(self, int end) noexcept nogil
    cdef int tell(self) except -1
    cdef int show_acks(self, int count) except -1
