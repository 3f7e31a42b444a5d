"""Explicit congestion notification of a subflow (RFC 3168): marks in place of losses."""

from libc.stdint cimport uint64_t

from mpcore.mptcp.types cimport plane_t, subflow_t
from mpcore.wire.tcp cimport tcp_t


# An acceptable segment came, with a router's mark or without. Precondition of both: ECN was agreed on.
cdef void ecn_received(plane_t *plane, subflow_t *subflow, const tcp_t *tcp, int marked) noexcept nogil
# The peer's ACK says ECE, outside loss recovery, while `flight` bytes were out.
cdef void ecn_echoed(plane_t *plane, subflow_t *subflow, uint64_t flight) noexcept nogil
# The window is reduced for what has been sent up to now.
cdef void ecn_note_reduction(subflow_t *subflow) noexcept nogil
# True when it has been reduced for a segment that is not acknowledged yet.
cdef int ecn_reduced_before(const subflow_t *subflow) noexcept nogil
