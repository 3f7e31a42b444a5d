"""When a subflow's ACK leaves: at once, or with the answer that a program is about to give."""

from libc.stdint cimport uint32_t, uint64_t

from mpcore.mptcp.types cimport plane_t, subflow_t


# A data segment of `size` octets from `seq` on has come, not yet taken; `urgent`: with CE or CWR.
cdef void acking_received(const plane_t *plane, subflow_t *subflow, uint64_t seq, uint32_t size,
                          int urgent) noexcept nogil

# A segment leaves, which acknowledges all that has come.
cdef void acking_sent(subflow_t *subflow) noexcept nogil

# That segment has data that was not sent before.
cdef void acking_answered(const plane_t *plane, subflow_t *subflow) noexcept nogil

# An ACK has waited long enough: it is owed at once, and the next data is not expected to be answered.
cdef void acking_timeout(const plane_t *plane, subflow_t *subflow) noexcept nogil
