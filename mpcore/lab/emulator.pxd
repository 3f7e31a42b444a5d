"""A link between two descriptors on which each read is one packet and each write another, as with TUN."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from mpcore.store.timers cimport timer_heap_t


# One direction of the link. The probabilities are shares of 2^32.
cdef struct pipe_t:
    int source                 # descriptor that packets are read from
    int target                 # and the one that they are written to
    double ns_per_byte         # 0: without a limit
    int64_t queue_ns           # how long a packet may wait for the line before it is refused
    int64_t delay_ns
    int64_t jitter_ns          # at most delay_ns
    uint64_t loss
    uint64_t reorder
    uint64_t duplicate
    uint64_t mark
    uint64_t random            # state of the generator
    int64_t free_ns            # when the line has sent all that it was given
    int64_t last_ns            # departure of the latest packet that keeps its place
    uint64_t received
    uint64_t delivered
    uint64_t lost              # by chance
    uint64_t overflowed        # the queue was full
    uint64_t reordered
    uint64_t duplicated
    uint64_t marked
    uint64_t refused           # by the descriptor that it was written to: the interface is down, or full
    uint64_t no_room           # all slots were taken


cdef class Emulator:
    cdef pipe_t pipes[2]
    cdef timer_heap_t departures   # of slots
    cdef uint8_t *slots            # owner: this object; SLOT_BYTES each
    cdef uint32_t *sizes           # by slot
    cdef uint8_t *ways             # by slot: index of its pipe
    cdef uint32_t *unused          # stack of slots
    cdef uint32_t unused_count
    cdef uint32_t capacity

    cdef int serve(self, int control) noexcept nogil
    cdef int64_t rest_ns(self, int64_t began_ns, int moved) noexcept nogil
    cdef int deliver(self, int64_t now_ns) noexcept nogil
    cdef int take(self, int way, int64_t now_ns) noexcept nogil
    cdef void admit(self, int way, uint32_t slot, int64_t now_ns) noexcept nogil
    cdef void depart(self, int way, uint32_t slot, int64_t leaves_ns) noexcept nogil
    cdef void repeat(self, int way, uint32_t slot, int64_t leaves_ns) noexcept nogil
    cdef void release(self, uint32_t slot) noexcept nogil
