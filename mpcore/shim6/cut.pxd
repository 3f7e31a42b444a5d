"""A super-packet of TCP becomes the segments that it stands for, each with the payload extension header.

The kernel cuts none that has a header which it does not know, so this is done in front of it: one packet of
up to 64 KiB comes by the queue instead of all of its segments. How long segments are only its socket knows.
"""

from libc.stdint cimport uint8_t, uint32_t

from mpcore.store.packet cimport TRANSMIT_HEADER_MAX, packet_t, transmit_queue_t
from mpcore.wire.rewrite cimport shim6_flow_t


cdef enum:
    CUT_OK = 0
    CUT_OTHER = -1             # no TCP, or behind headers that do not fit into TRANSMIT_HEADER_MAX octets


cdef struct cut_t:
    uint8_t header[TRANSMIT_HEADER_MAX]    # what all segments begin with
    uint32_t header_size
    uint32_t tcp_at
    uint32_t tcp_sum           # of TCP's header and the pseudo-header, without what differs by segment
    uint32_t seq               # of the next segment
    uint8_t flags              # of the super-packet
    uint32_t step              # payload octets of a full segment
    const uint8_t *payload     # what is left, in the packet's own memory
    uint32_t payload_size


# The TCP header of a super-packet, or NULL when there is none that is whole.
cdef const uint8_t *cut_tcp(const packet_t *packet) noexcept nogil
# Begins. `mss`: octets of options and payload that a segment may have (RFC 6691); `flow`: that of
# shim6_insert.
cdef int cut_begin(cut_t *cut, const packet_t *packet, const shim6_flow_t *flow, uint32_t mss) noexcept nogil
# Puts segments into the queue until it is full or none is left; returns how many. They point into the packet.
cdef uint32_t cut_fill(cut_t *cut, transmit_queue_t *queue) noexcept nogil
