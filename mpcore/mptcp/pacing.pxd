"""Pacing of a subflow: what the window allows is spread over the round trip, as Linux's sockets do it."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from mpcore.mptcp.types cimport plane_t, subflow_t


# Bytes that may leave at once: a millisecond's share of the pace, two segments at least, more to a near peer.
cdef uint64_t pacing_quantum(const plane_t *plane, const subflow_t *subflow) noexcept nogil
# Nanoseconds until the next segment may leave, 0 for now.
cdef int64_t pacing_wait_ns(const plane_t *plane, const subflow_t *subflow) noexcept nogil
# The subflow is waited for: a timer ends the wait.
cdef void pacing_wait(subflow_t *subflow) noexcept nogil
# `size` bytes were sent.
cdef void pacing_sent(const plane_t *plane, subflow_t *subflow, uint32_t size) noexcept nogil
