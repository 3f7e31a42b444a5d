"""The data plane of Shim6 as an object: a driver's batches, the control core's effects."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from mpcore.shim6.cut cimport cut_t
from mpcore.shim6.data cimport shim6_context_t, shim6_plane_t
from mpcore.store.packet cimport packet_t, transmit_queue_t


cdef class Shim6Engine:
    cdef shim6_plane_t plane
    cdef dict _slots               # by the control core's number
    cdef cut_t cutting             # the super-packet that is being cut
    cdef transmit_queue_t cuts     # its next segments

    # Decides on packets[start:count]. Returns `count`, or the index of the first packet whose verdict is
    # VERDICT_PUNT or VERDICT_STOP: Python decides on the former, the latter is cut, then the caller goes on
    # behind it.
    cdef int process_batch(self, packet_t *packets, int start, int count, int64_t now_ns) noexcept nogil
    cdef shim6_context_t *find(self, object number) except? NULL

    # Lets segments of one connection in packets[start:count] from the network go up as one packet.
    cdef void join_segments(self, packet_t *packets, int start, int count) noexcept nogil
    # What is known of the segments of a super-packet: octets of options and payload, 0 for nothing.
    cdef uint32_t segment_size(self, const packet_t *packet, int64_t now_ns) noexcept nogil
    cdef void note_segment_size(self, const packet_t *packet, uint32_t mss, int64_t now_ns) noexcept nogil
    cdef void forget_segment_sizes(self) noexcept nogil
    # Begins to cut the packet that the engine stopped at, whose verdict becomes VERDICT_DROP.
    cdef void begin_cut(self, packet_t *packet, uint32_t mss) noexcept nogil
    # Fills `cuts` with its next segments, which point into the packet; how many, 0 at the end.
    cdef uint32_t next_cuts(self) noexcept nogil
    # The local locator that those segments leave from.
    cdef const uint8_t *cut_source(self) noexcept nogil
