"""A subflow's sender: segments in flight, acknowledgement, RTT, loss detection and recovery."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from mpcore.mptcp.types cimport conn_t, plane_t, segment_t, subflow_t
from mpcore.wire.tcp cimport tcp_t


cdef enum:
    RTO_LIMIT = 9              # timeouts in a row after which a subflow is given up (RFC 9293 §3.8.3)


cdef inline segment_t *segment_at(const subflow_t *subflow, uint32_t index) noexcept nogil:
    """Return the segment `index` places after the oldest one; index < seg_count."""
    return &subflow.segments[(subflow.seg_first + index) & subflow.seg_mask]


cdef inline uint64_t segment_end(const segment_t *segment) noexcept nogil:
    """Return the subflow offset after the segment; SEG_FIN (0x08) takes one number."""
    return segment.seq + segment.size + (1 if segment.flags & 0x08 else 0)


# `rtt_ns`: what the handshake took, 0 unknown (RFC 6298 §2). 0, or -1 when memory is short.
cdef int sender_init(const plane_t *plane, subflow_t *subflow, int64_t rtt_ns) noexcept nogil
cdef void sender_clear(subflow_t *subflow) noexcept nogil
# Silence on a subflow with something to answer that is longer than an answer takes, ...
cdef int64_t sender_patience(const subflow_t *subflow) noexcept nogil
# ... and where nothing speaks for a delayed ACK or a pause of either host.
cdef int64_t sender_expected(const subflow_t *subflow) noexcept nogil
# Since when the peer owes an ACK that it may not withhold (RFC 9293 §3.8.6.3: for more than one segment), or
# NEVER; NEVER also while the round trip is not known from a whole window.
cdef int64_t sender_owed_since(const subflow_t *subflow) noexcept nogil
# A timer of `rto_ns` doubled that many times, 60 s at most (RFC 6298 §5.5).
cdef int64_t sender_backed_off(int64_t rto_ns, int doublings) noexcept nogil
# True when the peer's window, as seen last, has no room for the oldest segment.
cdef int sender_window_closed(const subflow_t *subflow) noexcept nogil
# Room for `segments` more records; 0, or -1 at the limit or when memory is short.
cdef int sender_reserve(subflow_t *subflow, uint32_t segments, uint32_t limit) noexcept nogil
# A fresh record at the end of the flight, or NULL at the limit of segments.
cdef segment_t *sender_push(subflow_t *subflow, uint32_t limit) noexcept nogil
# Takes in a segment's acknowledgement (offset snd_una <= `ack` <= snd_nxt, SACK blocks of `tcp`) and reacts;
# `duplicate` tells that it repeats the last one and nothing else.
cdef void sender_ack(plane_t *plane, conn_t *conn, subflow_t *subflow, uint64_t ack, const tcp_t *tcp,
                     int duplicate) noexcept nogil
# Bytes that congestion control lets out now.
cdef uint64_t sender_room(const subflow_t *subflow) noexcept nogil
# TSval of what was sent at `sent_ns`.
cdef uint32_t sender_stamp(const subflow_t *subflow, int64_t sent_ns) noexcept nogil
# Bookkeeping after `segment` was put on the wire (again, when `resent`).
cdef void sender_sent(plane_t *plane, subflow_t *subflow, segment_t *segment, int resent) noexcept nogil
# The retransmission timer fired: everything is presumed lost (RFC 6298 §5). 0, or -1 when the subflow is to
# be given up.
cdef int sender_timeout(plane_t *plane, subflow_t *subflow) noexcept nogil
# The RACK reordering timer fired (RFC 8985 §6.2).
cdef void sender_reorder_timeout(plane_t *plane, subflow_t *subflow) noexcept nogil
# Next presumed lost segment, or NULL.
cdef segment_t *sender_next_lost(subflow_t *subflow) noexcept nogil
cdef void sender_arm(plane_t *plane, subflow_t *subflow) noexcept nogil
# Smallest data offset still needed for retransmission on this subflow, or 2**64 - 1.
cdef uint64_t sender_oldest_data(const subflow_t *subflow) noexcept nogil
