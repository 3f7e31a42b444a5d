"""The largest segment that a subflow's path takes: told by routers, or found by what is lost."""

from libc.stdint cimport uint32_t

from mpcore.mptcp.types cimport plane_t, segment_t, subflow_t


# A packet of the subflow with the sequence number `seq` was too big; the next hop takes `mtu` octets. 0 when
# that is no reason to act: nothing of the kind is in flight, or segments are that small already.
cdef int pathmtu_too_big(plane_t *plane, subflow_t *subflow, uint32_t seq, uint32_t mtu) noexcept nogil
# The retransmission timer fired once more: perhaps large segments alone are lost.
cdef void pathmtu_timeout(plane_t *plane, subflow_t *subflow) noexcept nogil
# The oldest segment, of `size` bytes, was acknowledged.
cdef void pathmtu_acked(subflow_t *subflow, uint32_t size) noexcept nogil
# Most payload bytes of the next new segment; now and then more than `mss`, to see whether the path takes it.
cdef uint32_t pathmtu_size(const plane_t *plane, const subflow_t *subflow) noexcept nogil
# A new segment of `size` bytes has left, and is the last one in flight.
cdef void pathmtu_sent(const plane_t *plane, subflow_t *subflow, uint32_t size) noexcept nogil
# `segment` is to be sent again: one that only tried a size is cut first, from its place in the flight on.
cdef void pathmtu_again(const plane_t *plane, subflow_t *subflow, const segment_t *segment) noexcept nogil
# True when nothing is lost but a segment that only tried a size: no sign of congestion.
cdef int pathmtu_only_tried(subflow_t *subflow) noexcept nogil
