"""Byte ring over a shared pool of chunks; `ChunkPool` and `ByteRing` are its Python face."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from mpcore.errors import CapacityError


cdef int pool_init(chunk_pool_t *pool, uint32_t limit) noexcept nogil:
    pool.free_count = 0
    pool.allocated = 0
    pool.limit = limit
    pool.in_use = 0
    pool.refused = 0
    pool.free_chunks = <uint8_t **>calloc(<size_t>limit + 1, sizeof(uint8_t *))
    return 0 if pool.free_chunks != NULL else -1


cdef void pool_clear(chunk_pool_t *pool) noexcept nogil:
    while pool.free_count:
        pool.free_count -= 1
        pool.allocated -= 1
        free(pool.free_chunks[pool.free_count])
    free(pool.free_chunks)
    pool.free_chunks = NULL
    pool.limit = 0


cdef uint8_t *chunk_take(chunk_pool_t *pool) noexcept nogil:
    cdef uint8_t *chunk
    if pool.free_count:
        pool.free_count -= 1
        pool.in_use += 1
        return pool.free_chunks[pool.free_count]
    if pool.allocated >= pool.limit:
        pool.refused += 1
        return NULL
    chunk = <uint8_t *>malloc(RING_CHUNK_SIZE)
    if chunk == NULL:
        pool.refused += 1
        return NULL
    pool.allocated += 1
    pool.in_use += 1
    return chunk


cdef void chunk_give(chunk_pool_t *pool, uint8_t *chunk) noexcept nogil:
    pool.in_use -= 1
    if pool.free_chunks == NULL:    # the pool was cleared before this ring
        pool.allocated -= 1
        free(chunk)
        return
    pool.free_chunks[pool.free_count] = chunk
    pool.free_count += 1


cdef int ring_init(ring_t *ring, chunk_pool_t *pool, uint64_t span_bytes, uint64_t head) noexcept nogil:
    cdef uint64_t span_chunks = 1
    ring.pool = pool
    ring.chunks = NULL
    ring.slots = 0
    ring.head = head
    ring.limit = 0
    if span_bytes > RING_SPAN_MAX:
        return -1
    while span_chunks * RING_CHUNK_SIZE < span_bytes:
        span_chunks *= 2
    # A head inside a chunk makes the span touch one chunk more than fits in it, so there are twice the slots.
    ring.slots = <uint32_t>(2 * span_chunks)
    ring.limit = span_chunks * RING_CHUNK_SIZE
    return 0


cdef void ring_clear(ring_t *ring) noexcept nogil:
    ring_trim(ring)
    ring.slots = 0
    ring.limit = 0


cdef void ring_trim(ring_t *ring) noexcept nogil:
    cdef uint32_t slot
    if ring.chunks == NULL:
        return
    for slot in range(ring.slots):
        if ring.chunks[slot] != NULL:
            chunk_give(ring.pool, ring.chunks[slot])
    free(ring.chunks)
    ring.chunks = NULL


cdef inline uint32_t ring_slot(const ring_t *ring, uint64_t offset) noexcept nogil:
    return <uint32_t>(offset // RING_CHUNK_SIZE) & (ring.slots - 1)


cdef inline bint ring_covers(const ring_t *ring, uint64_t offset, uint32_t size) noexcept nogil:
    """Tell whether [offset, offset + size) lies in [head, head + limit), modulo 2**64."""
    return size <= ring.limit and offset - ring.head <= ring.limit - size


cdef inline uint32_t ring_touched(uint64_t offset, uint32_t size) noexcept nogil:
    return <uint32_t>((offset % RING_CHUNK_SIZE + size - 1) // RING_CHUNK_SIZE) + 1


cdef uint32_t ring_missing(const ring_t *ring, uint64_t offset, uint32_t size) noexcept nogil:
    cdef uint32_t first = ring_slot(ring, offset)
    cdef uint32_t missing = 0, i
    if ring.chunks == NULL:
        return ring_touched(offset, size)
    for i in range(ring_touched(offset, size)):
        if ring.chunks[(first + i) & (ring.slots - 1)] == NULL:
            missing += 1
    return missing


cdef int ring_reserve(ring_t *ring, uint64_t offset, uint32_t size) noexcept nogil:
    """Give every slot of the range a chunk: all of them or, when the pool lacks some, none."""
    cdef uint32_t first = ring_slot(ring, offset)
    cdef uint32_t touched = ring_touched(offset, size)
    cdef uint32_t missing = ring_missing(ring, offset, size)
    cdef uint32_t i, slot
    if missing == 0:
        return 0
    if missing > ring.pool.free_count + (ring.pool.limit - ring.pool.allocated):
        ring.pool.refused += 1
        return -1
    if ring.chunks == NULL:    # an idle connection does not pay for the slots of its span
        ring.chunks = <uint8_t **>calloc(ring.slots, sizeof(uint8_t *))
        if ring.chunks == NULL:
            return -1
    for i in range(touched):
        slot = (first + i) & (ring.slots - 1)
        if ring.chunks[slot] == NULL:
            ring.chunks[slot] = chunk_take(ring.pool)
            if ring.chunks[slot] == NULL:    # the system refused; what was taken serves the next try
                return -1
    return 0


cdef int ring_write(ring_t *ring, uint64_t offset, const uint8_t *data, uint32_t size) noexcept nogil:
    cdef uint32_t at, room
    if not ring_covers(ring, offset, size):
        return -1
    if size == 0:
        return 0
    if ring_reserve(ring, offset, size) < 0:
        return -1
    ring.pool.copies += 1
    ring.pool.copied_bytes += size
    while size:
        at = <uint32_t>(offset % RING_CHUNK_SIZE)
        room = RING_CHUNK_SIZE - at
        if room > size:
            room = size
        memcpy(ring.chunks[ring_slot(ring, offset)] + at, data, room)
        offset += room
        data += room
        size -= room
    return 0


cdef int ring_pieces(const ring_t *ring, uint64_t offset, uint32_t size,
                     const uint8_t **piece, uint32_t *piece_size) noexcept nogil:
    cdef uint32_t at, room
    cdef const uint8_t *chunk
    if size == 0 or size > RING_CHUNK_SIZE or ring.chunks == NULL or not ring_covers(ring, offset, size):
        return 0
    at = <uint32_t>(offset % RING_CHUNK_SIZE)
    room = RING_CHUNK_SIZE - at
    chunk = ring.chunks[ring_slot(ring, offset)]
    if chunk == NULL:
        return 0
    piece[0] = chunk + at
    if size <= room:
        piece_size[0] = size
        return 1
    chunk = ring.chunks[ring_slot(ring, offset + room)]
    if chunk == NULL:
        return 0
    piece_size[0] = room
    piece[1] = chunk
    piece_size[1] = size - room
    return 2


cdef void ring_release(ring_t *ring, uint64_t head) noexcept nogil:
    cdef uint64_t chunks, i
    cdef uint32_t slot
    if <int64_t>(head - ring.head) <= 0:
        return
    if ring.chunks == NULL:
        ring.head = head
        return
    chunks = head // RING_CHUNK_SIZE - ring.head // RING_CHUNK_SIZE
    if head < ring.head:    # wrapped: chunk numbers count modulo 2**64 / RING_CHUNK_SIZE
        chunks &= (<uint64_t>1 << 48) - 1
    if chunks > ring.slots:
        chunks = ring.slots
    for i in range(chunks):
        slot = ring_slot(ring, ring.head + i * RING_CHUNK_SIZE)
        if ring.chunks[slot] != NULL:
            chunk_give(ring.pool, ring.chunks[slot])
            ring.chunks[slot] = NULL
    ring.head = head


@cython.final
cdef class ChunkPool:
    """At most `limit` chunks of 64 KiB, shared by rings; memory stays with the pool until it is collected.

    Thread-safety: a pool and its rings belong to one thread at a time.
    """

    cdef chunk_pool_t pool

    def __cinit__(self, uint32_t limit):
        if pool_init(&self.pool, limit) < 0:
            raise MemoryError

    def __dealloc__(self):
        pool_clear(&self.pool)

    @property
    def in_use(self):
        """Chunks that rings hold."""
        return self.pool.in_use

    @property
    def allocated(self):
        """Chunks taken from the system, in use or free."""
        return self.pool.allocated

    @property
    def refused(self):
        """Requests that found the limit reached."""
        return self.pool.refused


@cython.final
cdef class ByteRing:
    """Bytes of a stream from `head` on, at most `span_bytes` (rounded up) beyond it.

    Offsets count modulo 2**64.

    Which bytes were written is the caller's knowledge: a chunk that exists reads as whatever it holds.
    Thread-safety: belongs to the thread of its pool.
    """

    cdef ring_t ring
    cdef readonly ChunkPool pool

    def __cinit__(self, ChunkPool pool not None, uint64_t span_bytes, uint64_t head=0):
        self.pool = pool
        if ring_init(&self.ring, &pool.pool, span_bytes, head) < 0:
            raise MemoryError

    def __dealloc__(self):
        if self.ring.pool != NULL:
            ring_clear(&self.ring)

    @property
    def head(self):
        """First offset still held."""
        return self.ring.head

    @property
    def limit(self):
        """Bytes from `head` on that can be written."""
        return self.ring.limit

    def write(self, uint64_t offset, data):
        """Store `data` at `offset`; CapacityError outside the span or when the pool is exhausted."""
        cdef Py_buffer view
        cdef int status = -1
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        if view.len <= RING_SPAN_MAX:
            status = ring_write(&self.ring, offset, <const uint8_t *>view.buf, <uint32_t>view.len)
        PyBuffer_Release(&view)
        if status < 0:
            raise CapacityError("the ring has no room here: release older bytes or raise the pool's limit")

    def read(self, uint64_t offset, uint32_t size):
        """Return `size` bytes (1 to 65536) at `offset`, or None where the ring holds no chunk for them."""
        cdef const uint8_t *piece[2]
        cdef uint32_t piece_size[2]
        cdef int count = ring_pieces(&self.ring, offset, size, piece, piece_size)
        cdef bytes out
        if count == 0:
            return None
        out = PyBytes_FromStringAndSize(NULL, size)
        memcpy(PyBytes_AS_STRING(out), piece[0], piece_size[0])
        if count == 2:
            memcpy(PyBytes_AS_STRING(out) + piece_size[0], piece[1], piece_size[1])
        return out

    def release(self, uint64_t head):
        """Forget everything before `head`; an older head changes nothing."""
        ring_release(&self.ring, head)

    def trim(self):
        """Give every chunk back, when nothing from `head` on is needed."""
        ring_trim(&self.ring)
