"""The loop that moves batches between a packet queue and Shim6's engine."""

from mpcore.host.nfqueue cimport PacketQueue
from mpcore.shim6.engine cimport Shim6Engine
from mpcore.store.packet cimport packet_t


cdef enum:
    ACK_SIZE_MAX = 40 + 60     # IPv6 and TCP with all options
    BATCH = 64                 # packets read, decided and settled together


cdef class Shim6Pump:
    cdef Shim6Engine engine
    cdef PacketQueue queue
    cdef object endpoint
    cdef packet_t packets[64]
    cdef public object on_ack

    cdef int decide(self, int count, list keep) except -1
    cdef int show_acks(self, int count) except -1
