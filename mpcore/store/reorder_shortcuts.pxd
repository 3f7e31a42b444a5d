"""Reordering by a list of runs with one shortcut per subflow (Linux MPTCP, October 2011).

Called by `mpcore.store.reorder` only, which checks the arguments and keeps the common statistics.
"""

from libc.stdint cimport uint64_t

from mpcore.store.reorder cimport reorder_t, span_t


cdef int shortcuts_insert(reorder_t *queue, uint64_t start, uint64_t end, int subflow,
                          span_t *gaps) noexcept nogil
