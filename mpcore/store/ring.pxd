"""A byte ring addressed by stream offset, made of chunks from a shared pool.

Memory is used only where bytes are. Offsets count modulo 2**64.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef enum:
    RING_CHUNK_SIZE = 65536
    RING_SPAN_MAX = 1073741824     # most bytes that one ring covers


cdef struct chunk_pool_t:      # owner: Engine; outlives the rings that use it, and does not move
    uint8_t **free_chunks      # stack of chunks not in use
    uint32_t free_count
    uint32_t allocated         # chunks taken from the system so far
    uint32_t limit             # most chunks ever allocated
    uint32_t in_use
    uint64_t refused           # requests that found the limit reached
    uint64_t copies            # writes into rings, and what else its users copy into chunks
    uint64_t copied_bytes


cdef struct ring_t:            # owner: a connection; zero is an empty ring without pool
    chunk_pool_t *pool
    uint8_t **chunks           # slot (offset / RING_CHUNK_SIZE) % slots; NULL while nothing is held
    uint32_t slots             # power of two, twice the chunks of `limit`
    uint64_t head              # first offset still held
    uint64_t limit             # bytes of span that the ring may cover


cdef int pool_init(chunk_pool_t *pool, uint32_t limit) noexcept nogil       # 0, or -1 when memory is short
cdef void pool_clear(chunk_pool_t *pool) noexcept nogil                     # frees the free chunks
# One chunk of RING_CHUNK_SIZE bytes, or NULL at the limit; and its return.
cdef uint8_t *chunk_take(chunk_pool_t *pool) noexcept nogil
cdef void chunk_give(chunk_pool_t *pool, uint8_t *chunk) noexcept nogil
# `span_bytes` (rounded up to chunks, a power of two of them) is the distance from head that can be written.
# 0, or -1 when the span is above RING_SPAN_MAX. Nothing is allocated before the first reserve or write.
cdef int ring_init(ring_t *ring, chunk_pool_t *pool, uint64_t span_bytes, uint64_t head) noexcept nogil
cdef void ring_clear(ring_t *ring) noexcept nogil                           # returns every chunk to the pool
# Copies `size` bytes to `offset`; 0, or -1 (nothing written) when they lie outside [head, head + limit) or
# the pool is exhausted.
cdef int ring_write(ring_t *ring, uint64_t offset, const uint8_t *data, uint32_t size) noexcept nogil
# Chunks that a ring_write of this range, 1 byte at least, would take from the pool.
cdef uint32_t ring_missing(const ring_t *ring, uint64_t offset, uint32_t size) noexcept nogil
# Makes sure that a ring_write of this range inside [head, head + limit) succeeds; 0 or -1.
cdef int ring_reserve(ring_t *ring, uint64_t offset, uint32_t size) noexcept nogil
# Pointers to the `size` bytes at `offset` (1 <= size <= RING_CHUNK_SIZE): fills one or two pieces and returns
# how many, 0 if not held. They stay valid until a release or trim gives their chunk back.
cdef int ring_pieces(const ring_t *ring, uint64_t offset, uint32_t size,
                     const uint8_t **piece, uint32_t *piece_size) noexcept nogil
# Forgets everything before `head`, giving whole chunks back.
cdef void ring_release(ring_t *ring, uint64_t head) noexcept nogil
# Gives every chunk and the slots back, for a caller that knows that nothing from `head` on is needed (an idle
# connection).
cdef void ring_trim(ring_t *ring) noexcept nogil
