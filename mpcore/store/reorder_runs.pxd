"""Reordering by a sorted array of runs, with a hint per subflow: the default algorithm.

Called by `mpcore.store.reorder` only, which checks the arguments and keeps the common statistics.
"""

from libc.stdint cimport uint64_t

from mpcore.store.reorder cimport reorder_t, span_t


cdef int runs_insert(reorder_t *queue, uint64_t start, uint64_t end, int subflow, span_t *gaps) noexcept nogil
cdef uint64_t runs_advance(reorder_t *queue, uint64_t next_seq) noexcept nogil
