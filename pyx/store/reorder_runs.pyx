"""Runs: a sorted array of ranges that neither overlap nor touch, searched from the subflow's last place.

The array has room at both ends: the head is drained without moving anything, and an insert moves the shorter
side.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memmove

from mpcore.store.reorder cimport REORDER_FULL, REORDER_GAPS, REORDER_SUBFLOWS, reorder_t, span_t
from mpcore.store.serial cimport before, earlier, later

cdef enum:
    CAPACITY_MIN = 16


cdef int64_t search_right(reorder_t *queue, int64_t low, uint64_t start) noexcept nogil:
    """First run from `low` on that does not end before `start`, by growing strides, then by halving."""
    cdef int64_t high = low, stride = 1
    while high < queue.last and before(queue.runs[high].end, start):
        queue.stats.steps += 1
        low = high + 1
        high += stride
        stride *= 2
    return search_between(queue, low, high if high < queue.last else queue.last, start)


cdef int64_t search_left(reorder_t *queue, int64_t high, uint64_t start) noexcept nogil:
    """As `search_right`, where the run at `high` is known not to end before `start`."""
    cdef int64_t low = high - 1, stride = 1
    while low >= queue.first and not before(queue.runs[low].end, start):
        queue.stats.steps += 1
        high = low
        low -= stride
        stride *= 2
    return search_between(queue, low + 1 if low >= queue.first else queue.first, high, start)


cdef int64_t search_between(reorder_t *queue, int64_t low, int64_t high, uint64_t start) noexcept nogil:
    cdef int64_t middle
    while low < high:
        queue.stats.steps += 1
        middle = (low + high) // 2
        if before(queue.runs[middle].end, start):
            low = middle + 1
        else:
            high = middle
    return low


cdef int64_t runs_find(reorder_t *queue, uint64_t start, int subflow) noexcept nogil:
    """Index of the first run that does not end before `start`, or queue.last.

    A subflow carries bursts of consecutive data, so its next segment mostly extends the run of its last one,
    or follows it before the next run.
    """
    cdef int64_t hint = <int64_t>queue.shortcut[subflow] - 1
    if queue.first == queue.last:
        return queue.last
    if hint < queue.first or hint >= queue.last:
        queue.stats.steps += 1
        if before(queue.runs[queue.last - 1].end, start):
            return queue.last
        return search_left(queue, queue.last - 1, start)
    if before(queue.runs[hint].end, start):
        if hint + 1 == queue.last or not before(queue.runs[hint + 1].end, start):
            queue.stats.hits += 1
            return hint + 1
        return search_right(queue, hint + 2, start)
    if hint == queue.first or before(queue.runs[hint - 1].end, start):
        queue.stats.hits += 1
        return hint
    return search_left(queue, hint - 1, start)


cdef void hints_move(reorder_t *queue, int64_t at, int by) noexcept nogil:
    """Let the hints at runs from index `at` on (by > 0) or before it (by < 0) follow them."""
    cdef uint32_t mark = <uint32_t>at
    cdef int i
    if by > 0:
        for i in range(REORDER_SUBFLOWS):
            queue.shortcut[i] += queue.shortcut[i] > mark
    else:
        for i in range(REORDER_SUBFLOWS):
            queue.shortcut[i] -= queue.shortcut[i] - 1 < mark    # no hint, 0, is beyond every mark here


cdef int runs_room(reorder_t *queue) noexcept nogil:
    """Make room behind the last run: move to the front what fills half of the array at most, or double it."""
    cdef uint32_t count = queue.last - queue.first, capacity
    cdef int i
    cdef void *block
    if queue.capacity and queue.first >= queue.capacity // 2:
        memmove(queue.runs, queue.runs + queue.first, count * sizeof(span_t))
        for i in range(REORDER_SUBFLOWS):
            queue.shortcut[i] = queue.shortcut[i] - queue.first if queue.shortcut[i] > queue.first else 0
        queue.first = 0
        queue.last = count
        return 0
    capacity = 2 * queue.capacity if queue.capacity else CAPACITY_MIN
    block = realloc(queue.runs, capacity * sizeof(span_t))
    if block == NULL:
        return -1
    queue.runs = <span_t *>block
    queue.capacity = capacity
    return 0


cdef int64_t runs_open(reorder_t *queue, int64_t at) noexcept nogil:
    """Make a place before the run at `at`; its index, or -1 at the limit or when memory is short."""
    cdef size_t left = <size_t>(at - queue.first), right = <size_t>(queue.last - at)
    if queue.stats.nodes >= queue.node_limit:
        return -1
    if queue.first and left < right:
        memmove(queue.runs + queue.first - 1, queue.runs + queue.first, left * sizeof(span_t))
        hints_move(queue, at, -1)
        queue.first -= 1
        queue.stats.nodes += 1
        return at - 1
    if queue.last == queue.capacity and runs_room(queue) < 0:
        return -1
    at = queue.last - <int64_t>right
    if right:
        memmove(queue.runs + at + 1, queue.runs + at, right * sizeof(span_t))
        hints_move(queue, at, 1)
    queue.last += 1
    queue.stats.nodes += 1
    return at


cdef int64_t runs_close(reorder_t *queue, int64_t at, uint32_t count) noexcept nogil:
    """Remove the `count` runs behind the one at `at`, which took them in; the index where that one is now."""
    cdef size_t left = <size_t>(at - queue.first), right = <size_t>(queue.last - at) - 1 - count
    cdef uint32_t mark = <uint32_t>at + 1, hint
    cdef int i
    queue.stats.nodes -= count
    if left < right:
        memmove(queue.runs + queue.first + count, queue.runs + queue.first, (left + 1) * sizeof(span_t))
        queue.first += count
        for i in range(REORDER_SUBFLOWS):
            hint = queue.shortcut[i]
            if hint - 1 < mark - 1 + count:    # not for 0, no hint
                queue.shortcut[i] = mark + count if hint > mark else hint + count
        return at + count
    memmove(queue.runs + at + 1, queue.runs + at + 1 + count, right * sizeof(span_t))
    queue.last -= count
    for i in range(REORDER_SUBFLOWS):
        hint = queue.shortcut[i]
        if hint > mark:
            queue.shortcut[i] = hint - count if hint > mark + count else mark
    return at


cdef int runs_gaps(const reorder_t *queue, int64_t at, uint64_t start, uint64_t end, span_t *gaps,
                   int64_t *behind) noexcept nogil:
    """Fill `gaps` with what the runs from `at` on lack, `*behind` with the first run that is not touched."""
    cdef const span_t *run
    cdef int count = 0
    while at < queue.last and not before(end, queue.runs[at].start):
        run = &queue.runs[at]
        if before(start, run.start):
            if count == REORDER_GAPS:
                return REORDER_FULL
            gaps[count].start = start
            gaps[count].end = run.start
            count += 1
        start = later(start, run.end)
        at += 1
    if before(start, end):
        if count == REORDER_GAPS:
            return REORDER_FULL
        gaps[count].start = start
        gaps[count].end = end
        count += 1
    behind[0] = at
    return count


cdef inline bint runs_append(reorder_t *queue, uint64_t start, uint64_t end, int subflow,
                             span_t *gaps) noexcept nogil:
    """The common case, inside a burst: extend the hinted run without touching the next one."""
    cdef uint32_t hint = queue.shortcut[subflow]    # index + 1: that of the next run
    cdef span_t *run
    if hint <= queue.first or hint > queue.last:
        return False
    run = &queue.runs[hint - 1]
    if run.end != start or (hint < queue.last and not before(end, queue.runs[hint].start)):
        return False
    run.end = end
    gaps[0].start = start
    gaps[0].end = end
    queue.stats.hits += 1
    queue.stats.merges += 1
    return True


cdef int runs_insert(reorder_t *queue, uint64_t start, uint64_t end, int subflow,
                     span_t *gaps) noexcept nogil:
    cdef int64_t at, behind
    cdef int count
    if runs_append(queue, start, end, subflow, gaps):
        return 1
    at = runs_find(queue, start, subflow)
    behind = at
    count = runs_gaps(queue, at, start, end, gaps, &behind)
    if count < 0:
        return count
    if behind == at:
        at = runs_open(queue, at)
        if at < 0:
            return REORDER_FULL
        queue.runs[at].start = start
        queue.runs[at].end = end
    elif count:
        queue.stats.merges += <uint64_t>(behind - at)
        queue.runs[at].start = earlier(queue.runs[at].start, start)
        queue.runs[at].end = later(queue.runs[behind - 1].end, end)
        if behind - at > 1:
            at = runs_close(queue, at, <uint32_t>(behind - at - 1))
    queue.shortcut[subflow] = <uint32_t>at + 1
    return count


cdef uint64_t runs_advance(reorder_t *queue, uint64_t next_seq) noexcept nogil:
    cdef const span_t *run
    while queue.first < queue.last:
        run = &queue.runs[queue.first]
        if before(next_seq, run.start):
            break
        next_seq = later(next_seq, run.end)
        queue.stats.bytes -= run.end - run.start
        queue.stats.nodes -= 1
        queue.first += 1
    return next_seq
