"""Regular: one list of segments; an insert walks from the tail over every segment with a higher number.

Good for one path, where few segments are beyond a loss; with n subflows the walk grows with n times the depth
of reordering, which is what the other algorithms answer.
"""

from libc.stdint cimport uint32_t, uint64_t

from mpcore.store.reorder cimport reorder_t, span_t
from mpcore.store.reorder_nodes cimport list_before, list_put


cdef int regular_insert(reorder_t *queue, uint64_t start, uint64_t end, int subflow,
                        span_t *gaps) noexcept nogil:
    cdef uint32_t placed
    return list_put(queue, list_before(queue, queue.last, start), start, end, gaps, &placed)
