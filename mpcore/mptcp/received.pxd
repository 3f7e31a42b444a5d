"""What a subflow has received out of order, as ranges of its offsets."""

from libc.stdint cimport uint64_t

from mpcore.mptcp.types cimport subflow_t


# Moves `start` to the first offset not received yet; returns where that gap ends, at most `end`.
cdef uint64_t received_gap(const subflow_t *subflow, uint64_t *start, uint64_t end) noexcept nogil
# True when [start, end), all of it new, can be noted: it continues another range, or one more can be kept.
cdef int received_has_place(subflow_t *subflow, uint64_t start, uint64_t end) noexcept nogil
# Notes [start, end), which is new and has a place; rcv_nxt moves over what has become contiguous.
cdef void received_note(subflow_t *subflow, uint64_t start, uint64_t end) noexcept nogil
cdef void received_clear(subflow_t *subflow) noexcept nogil
