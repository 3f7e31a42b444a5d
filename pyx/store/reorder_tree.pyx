"""Tree: a binary search tree of runs, not balanced: runs that arrive in order degenerate it to a list.

All runs that a range touches lie below the first one that the descent meets: the nodes above it are not
touched, and they bound its subtree.
"""

from libc.stdint cimport uint32_t, uint64_t

from mpcore.store.reorder cimport REORDER_FULL, REORDER_GAPS, reorder_node_t, reorder_t, span_t
from mpcore.store.reorder_nodes cimport node_drop, node_take, nodes_reserve
from mpcore.store.serial cimport before, earlier, later


cdef uint32_t *find_link(reorder_t *queue, uint64_t start, uint64_t end) noexcept nogil:
    """The link to the topmost run that [start, end) touches, or the empty link where it belongs."""
    cdef uint32_t *link = &queue.first
    cdef reorder_node_t *node
    while link[0]:
        node = &queue.nodes[link[0]]
        if before(end, node.start):
            link = &node.prev
        elif before(node.end, start):
            link = &node.next
        else:
            break
        queue.stats.steps += 1
    return link


cdef uint32_t run_beyond(const reorder_t *queue, uint32_t node, uint64_t start) noexcept nogil:
    """The first run below `node`, itself included, that ends beyond `start`, or 0."""
    cdef uint32_t found = 0
    while node:
        if before(start, queue.nodes[node].end):
            found = node
            node = queue.nodes[node].prev
        else:
            node = queue.nodes[node].next
    return found


cdef int tree_gaps(const reorder_t *queue, uint32_t top, uint64_t start, uint64_t end,
                   span_t *gaps) noexcept nogil:
    """Fill `gaps` with what the runs below `top` lack; their number, or REORDER_FULL above the most."""
    cdef int count = 0
    cdef uint32_t node
    cdef uint64_t stop
    while before(start, end):
        node = run_beyond(queue, top, start)
        stop = earlier(queue.nodes[node].start, end) if node else end
        if before(start, stop):
            if count == REORDER_GAPS:
                return REORDER_FULL
            gaps[count].start = start
            gaps[count].end = stop
            count += 1
        start = queue.nodes[node].end if node else end
    return count


cdef void absorb_left(reorder_t *queue, uint32_t top) noexcept nogil:
    """Take in the runs left of `top` that it touches: each is the right-most of its left subtree."""
    cdef uint32_t *link
    cdef uint32_t node
    while queue.nodes[top].prev:
        link = &queue.nodes[top].prev
        while queue.nodes[link[0]].next:
            link = &queue.nodes[link[0]].next
        node = link[0]
        if before(queue.nodes[node].end, queue.nodes[top].start):
            return
        queue.nodes[top].start = earlier(queue.nodes[top].start, queue.nodes[node].start)
        link[0] = queue.nodes[node].prev
        node_drop(queue, node)
        queue.stats.merges += 1


cdef void absorb_right(reorder_t *queue, uint32_t top) noexcept nogil:
    """The mirror image of `absorb_left`."""
    cdef uint32_t *link
    cdef uint32_t node
    while queue.nodes[top].next:
        link = &queue.nodes[top].next
        while queue.nodes[link[0]].prev:
            link = &queue.nodes[link[0]].prev
        node = link[0]
        if before(queue.nodes[top].end, queue.nodes[node].start):
            return
        queue.nodes[top].end = later(queue.nodes[top].end, queue.nodes[node].end)
        link[0] = queue.nodes[node].next
        node_drop(queue, node)
        queue.stats.merges += 1


cdef int tree_insert(reorder_t *queue, uint64_t start, uint64_t end, int subflow,
                     span_t *gaps) noexcept nogil:
    cdef int room = nodes_reserve(queue)    # first, because it may move the nodes that links point into
    cdef uint32_t *link = find_link(queue, start, end)
    cdef uint32_t top = link[0]
    cdef int count
    if top == 0:
        if room < 0:
            return REORDER_FULL
        link[0] = node_take(queue, start, end)
        gaps[0].start = start
        gaps[0].end = end
        return 1
    count = tree_gaps(queue, top, start, end, gaps)
    if count > 0:
        queue.stats.merges += 1
        queue.nodes[top].start = earlier(queue.nodes[top].start, start)
        queue.nodes[top].end = later(queue.nodes[top].end, end)
        absorb_left(queue, top)
        absorb_right(queue, top)
    return count


cdef uint64_t tree_advance(reorder_t *queue, uint64_t next_seq) noexcept nogil:
    """Take the left-most run while it is not beyond `next_seq`."""
    cdef uint32_t *link
    cdef uint32_t node
    while queue.first:
        link = &queue.first
        while queue.nodes[link[0]].prev:
            link = &queue.nodes[link[0]].prev
        node = link[0]
        if before(next_seq, queue.nodes[node].start):
            break
        next_seq = later(next_seq, queue.nodes[node].end)
        queue.stats.bytes -= queue.nodes[node].end - queue.nodes[node].start
        link[0] = queue.nodes[node].next
        node_drop(queue, node)
    return next_seq
