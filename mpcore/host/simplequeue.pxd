"""The plain netfilterqueue package with a Python callback, behind the interface of every packet queue."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from mpcore.host.nfqueue cimport PacketQueue
from mpcore.store.packet cimport packet_t


cdef class SimpleQueue(PacketQueue):
    cdef object binding            # netfilterqueue.NetfilterQueue
    cdef object reader             # bounds how many packets one call of the library handles
    cdef list arrived              # packets that the callback met, not yet handed out
    cdef dict waiting              # handed out, not settled, by packet id; max_length bounds it
    cdef readonly uint16_t number
    cdef int slots
    cdef uint8_t *slab             # slots * SIMPLE_SLOT bytes; owner: this object

    cdef int receive(self, packet_t *packets, int capacity) except -1
    cdef int settle(self, packet_t *packets, int count) except -1
