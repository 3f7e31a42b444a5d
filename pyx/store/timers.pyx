"""Binary heap of deadlines with a position index, so that a timer can move or vanish.

`TimerHeap` is its Python face.
"""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset


cdef int heap_init(timer_heap_t *heap, uint32_t capacity) noexcept nogil:
    heap.count = 0
    heap.capacity = capacity if capacity else 1
    heap.ids = <uint32_t *>calloc(heap.capacity, sizeof(uint32_t))
    heap.position = <uint32_t *>calloc(heap.capacity, sizeof(uint32_t))
    heap.deadline_ns = <int64_t *>calloc(heap.capacity, sizeof(int64_t))
    if heap.ids == NULL or heap.position == NULL or heap.deadline_ns == NULL:
        heap_clear(heap)
        return -1
    return 0


cdef void heap_clear(timer_heap_t *heap) noexcept nogil:
    free(heap.ids)
    free(heap.position)
    free(heap.deadline_ns)
    heap.ids = NULL
    heap.position = NULL
    heap.deadline_ns = NULL
    heap.count = 0
    heap.capacity = 0


cdef int heap_grow(timer_heap_t *heap, uint32_t id) noexcept nogil:
    """Double the capacity until `id` fits; on failure the heap is as it was."""
    cdef size_t capacity = heap.capacity if heap.capacity else 1
    cdef void *block
    while capacity <= id:
        capacity *= 2
    if capacity > 0x7fffffff:
        return -1
    block = realloc(heap.ids, capacity * sizeof(uint32_t))
    if block == NULL:
        return -1
    heap.ids = <uint32_t *>block
    block = realloc(heap.deadline_ns, capacity * sizeof(int64_t))
    if block == NULL:
        return -1
    heap.deadline_ns = <int64_t *>block
    block = realloc(heap.position, capacity * sizeof(uint32_t))
    if block == NULL:
        return -1
    heap.position = <uint32_t *>block
    memset(heap.position + heap.capacity, 0, (capacity - heap.capacity) * sizeof(uint32_t))
    heap.capacity = <uint32_t>capacity
    return 0


cdef inline void heap_place(timer_heap_t *heap, uint32_t index, uint32_t id) noexcept nogil:
    heap.ids[index] = id
    heap.position[id] = index + 1


cdef void heap_rise(timer_heap_t *heap, uint32_t index) noexcept nogil:
    """Move the entry at `index` up while its parent is later."""
    cdef uint32_t id = heap.ids[index], parent
    cdef int64_t deadline_ns = heap.deadline_ns[id]
    while index:
        parent = (index - 1) // 2
        if heap.deadline_ns[heap.ids[parent]] <= deadline_ns:
            break
        heap_place(heap, index, heap.ids[parent])
        index = parent
    heap_place(heap, index, id)


cdef void heap_sink(timer_heap_t *heap, uint32_t index) noexcept nogil:
    """Move the entry at `index` down while a child is earlier."""
    cdef uint32_t id = heap.ids[index], child
    cdef int64_t deadline_ns = heap.deadline_ns[id]
    while index < heap.count // 2:
        child = 2 * index + 1
        if child + 1 < heap.count and (heap.deadline_ns[heap.ids[child + 1]]
                                       < heap.deadline_ns[heap.ids[child]]):
            child += 1
        if heap.deadline_ns[heap.ids[child]] >= deadline_ns:
            break
        heap_place(heap, index, heap.ids[child])
        index = child
    heap_place(heap, index, id)


cdef void heap_remove(timer_heap_t *heap, uint32_t index) noexcept nogil:
    cdef uint32_t last
    heap.position[heap.ids[index]] = 0
    heap.count -= 1
    if index == heap.count:
        return
    last = heap.ids[heap.count]
    heap_place(heap, index, last)
    heap_rise(heap, index)
    heap_sink(heap, heap.position[last] - 1)


cdef int heap_set(timer_heap_t *heap, uint32_t id, int64_t deadline_ns) noexcept nogil:
    cdef uint32_t index
    if deadline_ns < 0:
        if id < heap.capacity and heap.position[id]:
            heap_remove(heap, heap.position[id] - 1)
        return 0
    if id >= heap.capacity and heap_grow(heap, id) < 0:
        return -1
    heap.deadline_ns[id] = deadline_ns
    if heap.position[id] == 0:
        index = heap.count
        heap.count += 1
        heap_place(heap, index, id)
        heap_rise(heap, index)
    else:
        heap_rise(heap, heap.position[id] - 1)
        heap_sink(heap, heap.position[id] - 1)
    return 0


cdef int64_t heap_next(const timer_heap_t *heap) noexcept nogil:
    return heap.deadline_ns[heap.ids[0]] if heap.count else -1


cdef int64_t heap_pop(timer_heap_t *heap, int64_t now_ns) noexcept nogil:
    cdef uint32_t id
    if heap.count == 0:
        return -1
    id = heap.ids[0]
    if heap.deadline_ns[id] > now_ns:
        return -1
    heap_remove(heap, 0)
    return id


@cython.final
cdef class TimerHeap:
    """Deadlines (int nanoseconds) of small integer ids; among equal deadlines the order is not defined.

    Thread-safety: belongs to one thread at a time.
    """

    cdef timer_heap_t heap

    def __cinit__(self, uint32_t capacity=16):
        if heap_init(&self.heap, capacity) < 0:
            raise MemoryError

    def __dealloc__(self):
        heap_clear(&self.heap)

    def __len__(self):
        return self.heap.count

    def set(self, uint32_t id, int64_t deadline_ns):
        """Arm or move the timer of `id`; a negative deadline disarms it."""
        if heap_set(&self.heap, id, deadline_ns) < 0:
            raise MemoryError

    def next(self):
        """Return the earliest deadline, or None."""
        cdef int64_t deadline_ns = heap_next(&self.heap)
        return deadline_ns if deadline_ns >= 0 else None

    def pop(self, int64_t now_ns):
        """Remove and return an id whose deadline is at most `now_ns`, or None."""
        cdef int64_t id = heap_pop(&self.heap, now_ns)
        return id if id >= 0 else None
