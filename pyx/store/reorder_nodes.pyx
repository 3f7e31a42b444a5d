"""Node pool and list of the linked reordering algorithms; index 0 means none, so a zeroed queue is empty."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport realloc

from mpcore.store.reorder cimport REORDER_FULL, REORDER_GAPS, reorder_node_t, reorder_t, span_t
from mpcore.store.serial cimport before, later

cdef enum:
    CAPACITY_MIN = 16


cdef int nodes_reserve(reorder_t *queue) noexcept nogil:
    cdef uint32_t capacity
    cdef void *block
    if queue.stats.nodes >= queue.node_limit:
        return -1
    if queue.free_node or queue.fresh < queue.capacity:
        return 0
    capacity = 2 * queue.capacity if queue.capacity else CAPACITY_MIN
    block = realloc(queue.nodes, capacity * sizeof(reorder_node_t))
    if block == NULL:
        return -1
    queue.nodes = <reorder_node_t *>block
    queue.capacity = capacity
    if queue.fresh == 0:
        queue.fresh = 1
    return 0


cdef uint32_t node_take(reorder_t *queue, uint64_t start, uint64_t end) noexcept nogil:
    cdef uint32_t index = queue.free_node
    cdef reorder_node_t *node
    if index:
        queue.free_node = queue.nodes[index].next
    else:
        index = queue.fresh
        queue.fresh += 1
    node = &queue.nodes[index]
    node.start = start
    node.end = end
    node.prev = 0
    node.next = 0
    node.owner = 0
    queue.stats.nodes += 1
    return index


cdef void node_drop(reorder_t *queue, uint32_t node) noexcept nogil:
    if queue.nodes[node].owner:
        queue.shortcut[queue.nodes[node].owner - 1] = 0
    queue.nodes[node].next = queue.free_node
    queue.free_node = node
    queue.stats.nodes -= 1


cdef void node_own(reorder_t *queue, uint32_t node, int subflow) noexcept nogil:
    if queue.nodes[node].owner:
        queue.shortcut[queue.nodes[node].owner - 1] = 0
    if queue.shortcut[subflow]:
        queue.nodes[queue.shortcut[subflow]].owner = 0
    queue.shortcut[subflow] = node
    queue.nodes[node].owner = <uint32_t>subflow + 1


cdef void list_link(reorder_t *queue, uint32_t node, uint32_t after) noexcept nogil:
    cdef uint32_t behind = queue.nodes[after].next if after else queue.first
    queue.nodes[node].prev = after
    queue.nodes[node].next = behind
    if after:
        queue.nodes[after].next = node
    else:
        queue.first = node
    if behind:
        queue.nodes[behind].prev = node
    else:
        queue.last = node


cdef void list_remove(reorder_t *queue, uint32_t node) noexcept nogil:
    cdef uint32_t prev = queue.nodes[node].prev, behind = queue.nodes[node].next
    if prev:
        queue.nodes[prev].next = behind
    else:
        queue.first = behind
    if behind:
        queue.nodes[behind].prev = prev
    else:
        queue.last = prev
    node_drop(queue, node)


cdef uint32_t list_before(reorder_t *queue, uint32_t node, uint64_t start) noexcept nogil:
    while node and before(start, queue.nodes[node].start):
        queue.stats.steps += 1
        node = queue.nodes[node].prev
    return node


cdef int list_gaps(const reorder_t *queue, uint32_t node, uint64_t start, uint64_t end,
                   span_t *gaps) noexcept nogil:
    cdef int count = 0
    while node and before(start, end) and before(queue.nodes[node].start, end):
        if before(start, queue.nodes[node].start):
            if count == REORDER_GAPS:
                return REORDER_FULL
            gaps[count].start = start
            gaps[count].end = queue.nodes[node].start
            count += 1
        start = later(start, queue.nodes[node].end)
        node = queue.nodes[node].next
    if before(start, end):
        if count == REORDER_GAPS:
            return REORDER_FULL
        gaps[count].start = start
        gaps[count].end = end
        count += 1
    return count


cdef int list_put(reorder_t *queue, uint32_t after, uint64_t start, uint64_t end, span_t *gaps,
                  uint32_t *placed) noexcept nogil:
    """The new node covers first gap to last, and replaces the segments between, which lie inside it."""
    cdef int count = list_gaps(queue, after if after else queue.first, start, end, gaps)
    cdef uint32_t node, behind
    if count <= 0:
        return count
    if count == 1 and nodes_reserve(queue) < 0:
        return REORDER_FULL
    while True:
        behind = queue.nodes[after].next if after else queue.first
        if behind == 0 or not before(queue.nodes[behind].start, gaps[0].start):
            break
        after = behind
    while behind and before(queue.nodes[behind].start, gaps[count - 1].start):
        node = queue.nodes[behind].next
        list_remove(queue, behind)
        queue.stats.merges += 1
        behind = node
    placed[0] = node_take(queue, gaps[0].start, gaps[count - 1].end)
    list_link(queue, placed[0], after)
    return count


cdef uint64_t list_advance(reorder_t *queue, uint64_t next_seq) noexcept nogil:
    cdef const reorder_node_t *node
    while queue.first:
        node = &queue.nodes[queue.first]
        if before(next_seq, node.start):
            break
        next_seq = later(next_seq, node.end)
        queue.stats.bytes -= node.end - node.start
        list_remove(queue, queue.first)
    return next_seq
