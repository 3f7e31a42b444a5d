"""What a subflow has received out of order, as ranges of its offsets.

A queue that overflows in slow start leaves a gap at every other segment. What finds no range is not
acknowledged and has to come again, so there are as many as such a flight has gaps; the memory for them is
taken with the first gap and given back with the last.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove

from mpcore.mptcp.types cimport OOO_MAX, span_t, subflow_t


cdef enum:
    OOO_FIRST = 16             # ranges that memory is taken for at first


cdef uint32_t reaching(const subflow_t *subflow, uint64_t offset) noexcept nogil:
    """Return the index of the first range that ends at `offset` or beyond it."""
    cdef uint32_t low = 0
    cdef uint32_t high = subflow.ooo_count
    cdef uint32_t middle
    while low < high:
        middle = (low + high) // 2
        if subflow.ooo[middle].end < offset:
            low = middle + 1
        else:
            high = middle
    return low


cdef uint64_t received_gap(const subflow_t *subflow, uint64_t *start, uint64_t end) noexcept nogil:
    cdef uint32_t i = reaching(subflow, start[0] + 1)
    if i == subflow.ooo_count:
        return end
    if subflow.ooo[i].start <= start[0]:
        start[0] = subflow.ooo[i].end
        i += 1
    return min(subflow.ooo[i].start, end) if i < subflow.ooo_count else end


cdef int grow(subflow_t *subflow) noexcept nogil:
    """Make room for one more range; 0 when there may be none, or no memory."""
    cdef uint32_t wanted = max(2 * subflow.ooo_capacity, <uint32_t>OOO_FIRST)
    cdef span_t *spans
    if subflow.ooo_count < subflow.ooo_capacity:
        return 1
    if subflow.ooo_count == OOO_MAX:
        return 0
    spans = <span_t *>realloc(subflow.ooo, wanted * sizeof(span_t))
    if spans == NULL:
        return 0
    subflow.ooo = spans
    subflow.ooo_capacity = wanted
    return 1


cdef int received_has_place(subflow_t *subflow, uint64_t start, uint64_t end) noexcept nogil:
    cdef uint32_t i
    if start <= subflow.rcv_nxt or grow(subflow):
        return 1
    i = reaching(subflow, start)
    return i < subflow.ooo_count and (subflow.ooo[i].end == start or subflow.ooo[i].start == end)


cdef void insert(subflow_t *subflow, uint64_t start, uint64_t end) noexcept nogil:
    """Add a range beyond rcv_nxt, as one with those that it touches."""
    cdef span_t *spans = subflow.ooo
    cdef uint32_t first = reaching(subflow, start)
    cdef uint32_t last = first
    while last < subflow.ooo_count and spans[last].start <= end:
        last += 1
    if first == last:
        memmove(&spans[first + 1], &spans[first], (subflow.ooo_count - first) * sizeof(span_t))
        spans[first].start = start
        spans[first].end = end
        subflow.ooo_count += 1
        subflow.ooo_fresh += 1
    else:
        spans[first].start = min(spans[first].start, start)
        spans[first].end = max(spans[last - 1].end, end)
        memmove(&spans[first + 1], &spans[last], (subflow.ooo_count - last) * sizeof(span_t))
        subflow.ooo_count -= last - first - 1
        subflow.ooo_fresh += subflow.ooo_last != first
    subflow.ooo_last = first


cdef void advance(subflow_t *subflow, uint64_t end) noexcept nogil:
    """Move rcv_nxt to `end` and over the ranges that it meets."""
    cdef uint32_t met = 0
    subflow.rcv_nxt = end
    while met < subflow.ooo_count and subflow.ooo[met].start <= subflow.rcv_nxt:
        subflow.rcv_nxt = max(subflow.rcv_nxt, subflow.ooo[met].end)
        met += 1
    if not met:
        return
    subflow.ooo_count -= met
    subflow.ooo_last = subflow.ooo_last - met if subflow.ooo_last > met else 0
    if subflow.ooo_count:
        memmove(subflow.ooo, &subflow.ooo[met], subflow.ooo_count * sizeof(span_t))
    else:
        received_clear(subflow)


cdef void received_note(subflow_t *subflow, uint64_t start, uint64_t end) noexcept nogil:
    subflow.bytes_received += end - start
    if start <= subflow.rcv_nxt:
        subflow.duplicates = 0
        advance(subflow, end)
    else:
        insert(subflow, start, end)


cdef void received_clear(subflow_t *subflow) noexcept nogil:
    free(subflow.ooo)
    subflow.ooo = NULL
    subflow.ooo_capacity = subflow.ooo_count = subflow.ooo_last = subflow.ooo_fresh = 0
