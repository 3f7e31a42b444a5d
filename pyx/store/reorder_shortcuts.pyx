"""Shortcuts: a list of runs, and for each subflow a pointer to the run that it inserted into last.

Consecutive segments of one subflow tend to be contiguous, so the next one is appended to the pointed run.
A run is the shortcut of at most one subflow; a run that is joined to another loses its shortcut.
"""

from libc.stdint cimport uint32_t, uint64_t

from mpcore.store.reorder cimport REORDER_FULL, reorder_node_t, reorder_t, span_t
from mpcore.store.reorder_nodes cimport (
    list_before, list_gaps, list_link, list_remove, node_own, node_take, nodes_reserve
)
from mpcore.store.serial cimport before, earlier, later


cdef uint32_t find_before(reorder_t *queue, uint64_t start, int subflow) noexcept nogil:
    """The last run that starts at or before `start`, or 0."""
    cdef uint32_t node = queue.shortcut[subflow]
    if node == 0:
        return list_before(queue, queue.last, start)
    if queue.nodes[node].end == start:
        queue.stats.hits += 1
        return node
    while queue.nodes[node].next and before(queue.nodes[node].end, start):
        queue.stats.steps += 1
        node = queue.nodes[node].next
    return list_before(queue, node, start)


cdef void join_run(reorder_t *queue, uint32_t node, uint64_t start, uint64_t end) noexcept nogil:
    """Extend the run and take in the ones to its right that it covers or touches now."""
    cdef reorder_node_t *run = &queue.nodes[node]
    run.start = earlier(run.start, start)
    run.end = later(run.end, end)
    queue.stats.merges += 1
    while run.next and not before(run.end, queue.nodes[run.next].start):
        run.end = later(run.end, queue.nodes[run.next].end)
        list_remove(queue, run.next)
        queue.stats.merges += 1


cdef int shortcuts_insert(reorder_t *queue, uint64_t start, uint64_t end, int subflow,
                          span_t *gaps) noexcept nogil:
    cdef uint32_t after = find_before(queue, start, subflow), node
    cdef int count
    if after and not before(queue.nodes[after].end, start):
        node = after
    else:
        node = queue.nodes[after].next if after else queue.first
    count = list_gaps(queue, node, start, end, gaps)
    if count < 0:
        return count
    if node and not before(end, queue.nodes[node].start):
        if count:
            join_run(queue, node, start, end)
    else:
        if nodes_reserve(queue) < 0:
            return REORDER_FULL
        node = node_take(queue, start, end)
        list_link(queue, node, after)
    node_own(queue, node, subflow)
    return count
