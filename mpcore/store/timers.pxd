"""A heap of deadlines, one for each small integer id, with O(log n) change and O(1) next."""

from libc.stdint cimport int64_t, uint32_t


cdef struct timer_heap_t:      # owner: Engine
    uint32_t *ids              # heap order
    uint32_t *position         # by id: index in the heap + 1, 0 when not armed
    int64_t *deadline_ns       # by id
    uint32_t count
    uint32_t capacity          # ids are below this; grows by doubling


cdef int heap_init(timer_heap_t *heap, uint32_t capacity) noexcept nogil       # 0 or -1
cdef void heap_clear(timer_heap_t *heap) noexcept nogil
# Arms, moves or (deadline_ns < 0) disarms the timer of `id`; 0, or -1 when growing failed.
cdef int heap_set(timer_heap_t *heap, uint32_t id, int64_t deadline_ns) noexcept nogil
# Earliest deadline, or -1 when none is armed.
cdef int64_t heap_next(const timer_heap_t *heap) noexcept nogil
# Removes and returns the id of a deadline <= now_ns, or -1.
cdef int64_t heap_pop(timer_heap_t *heap, int64_t now_ns) noexcept nogil
