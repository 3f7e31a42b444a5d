"""Nodes of the linked reordering algorithms: a pool addressed by index, and a doubly linked list over it."""

from libc.stdint cimport uint32_t, uint64_t

from mpcore.store.reorder cimport reorder_t, span_t


# Makes sure that one more node can be taken, and may move them all; 0, or -1 at the limit or without memory.
cdef int nodes_reserve(reorder_t *queue) noexcept nogil
# The index of a reserved node, with its range set and no links.
cdef uint32_t node_take(reorder_t *queue, uint64_t start, uint64_t end) noexcept nogil
# Returns a node that nothing links to any more; its shortcut goes.
cdef void node_drop(reorder_t *queue, uint32_t node) noexcept nogil
# Makes `node` the one shortcut of `subflow`, and `subflow` the one owner of `node`.
cdef void node_own(reorder_t *queue, uint32_t node, int subflow) noexcept nogil
# Links `node` behind `after` (0: at the head).
cdef void list_link(reorder_t *queue, uint32_t node, uint32_t after) noexcept nogil
# Unlinks and drops `node`.
cdef void list_remove(reorder_t *queue, uint32_t node) noexcept nogil
# The last node, from `node` (0: none) towards the head, that starts at or before `start`, or 0.
cdef uint32_t list_before(reorder_t *queue, uint32_t node, uint64_t start) noexcept nogil
# Fills `gaps` with the sub-ranges of [start, end) that the nodes from `node` on lack; no node before it may
# end beyond `start`. Returns their number, or REORDER_FULL when they are more than REORDER_GAPS.
cdef int list_gaps(const reorder_t *queue, uint32_t node, uint64_t start, uint64_t end,
                   span_t *gaps) noexcept nogil
# Puts a segment into a list of segments behind `after`, the last node that starts at or before it (0: none).
# Returns as `reorder_insert` does; `*placed` is the new node when that is above 0.
cdef int list_put(reorder_t *queue, uint32_t after, uint64_t start, uint64_t end, span_t *gaps,
                  uint32_t *placed) noexcept nogil
# As `reorder_advance`, for lists of segments and of runs.
cdef uint64_t list_advance(reorder_t *queue, uint64_t next_seq) noexcept nogil
