"""The largest segment that a subflow's path takes: told by routers, or found by what is lost."""

from libc.stdint cimport uint32_t

from mpcore.mptcp.types cimport conn_t, plane_t, subflow_t


# A packet of the subflow with the sequence number `seq` was too big; the next hop takes `mtu` octets. 0 when
# that is no reason to act: nothing of the kind is in flight, or segments are that small already.
cdef int pathmtu_too_big(plane_t *plane, subflow_t *subflow, uint32_t seq, uint32_t mtu) noexcept nogil
# The retransmission timer fired once more: perhaps large segments alone are lost.
cdef void pathmtu_timeout(plane_t *plane, subflow_t *subflow) noexcept nogil
# The oldest segment, of `size` bytes, was acknowledged.
cdef void pathmtu_acked(subflow_t *subflow, uint32_t size) noexcept nogil
