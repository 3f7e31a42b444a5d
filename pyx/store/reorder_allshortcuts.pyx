"""AllShortcuts: a list of segments, and for each subflow a pointer to the segment that it inserted last.

A hit needs no run to end exactly where the segment starts: it must fit between a pointed segment and the next
one. All pointers are tried, the subflow's own first.
"""

from libc.stdint cimport uint32_t, uint64_t

from mpcore.store.reorder cimport REORDER_SUBFLOWS, reorder_node_t, reorder_t, span_t
from mpcore.store.reorder_nodes cimport list_before, list_put, node_own
from mpcore.store.serial cimport before


cdef inline bint fits_behind(const reorder_t *queue, uint32_t node, uint64_t start,
                             uint64_t end) noexcept nogil:
    cdef const reorder_node_t *here = &queue.nodes[node]
    return (not before(start, here.end)
            and (here.next == 0 or not before(queue.nodes[here.next].start, end)))


cdef uint32_t find_hit(const reorder_t *queue, uint64_t start, uint64_t end, int subflow) noexcept nogil:
    cdef uint32_t node = queue.shortcut[subflow]
    cdef int i
    if node and fits_behind(queue, node, start, end):
        return node
    for i in range(REORDER_SUBFLOWS):
        node = queue.shortcut[i]
        if node and i != subflow and fits_behind(queue, node, start, end):
            return node
    return 0


cdef uint32_t best_shortcut(const reorder_t *queue, uint64_t start) noexcept nogil:
    """The pointed segment nearest beyond `start`, else the tail: where the backward walk is shortest."""
    cdef uint32_t best = 0, node
    cdef int i
    for i in range(REORDER_SUBFLOWS):
        node = queue.shortcut[i]
        if (node and before(start, queue.nodes[node].start)
                and (best == 0 or before(queue.nodes[node].start, queue.nodes[best].start))):
            best = node
    return best if best else queue.last


cdef int allshortcuts_insert(reorder_t *queue, uint64_t start, uint64_t end, int subflow,
                             span_t *gaps) noexcept nogil:
    cdef uint32_t after = find_hit(queue, start, end, subflow), placed = 0
    cdef int count
    if after:
        queue.stats.hits += 1
    else:
        after = list_before(queue, best_shortcut(queue, start), start)
    count = list_put(queue, after, start, end, gaps, &placed)
    if count > 0:
        node_own(queue, placed, subflow)
    return count
