"""Connection-level reordering queue (RFC 8684 §3.3.1): which data sequence ranges are there, beyond the next expected one.

The bytes themselves live in a ring addressed by data sequence number (`mpcore.store.ring`); this queue holds ranges only.
Comparisons are modulo 2**64.
"""

from libc.stdint cimport uint32_t, uint64_t


cdef enum:
    REORDER_RUNS = 0           # sorted runs with a hint per subflow: the default
    REORDER_REGULAR = 1        # linked list, searched from the tail
    REORDER_TREE = 2           # binary search tree of runs
    REORDER_SHORTCUTS = 3      # list of runs, one pointer a subflow (thesis, 2011)
    REORDER_ALLSHORTCUTS = 4   # list of segments, every subflow's pointer tried (2012)

    REORDER_FULL = -1          # node limit reached; nothing was inserted
    REORDER_GAPS = 8           # most new sub-ranges one insert reports; a segment over more is refused as REORDER_FULL
    REORDER_SUBFLOWS = 32


cdef struct span_t:            # half-open range [start, end) of data sequence numbers
    uint64_t start
    uint64_t end


cdef struct reorder_stats_t:
    uint64_t inserts
    uint64_t hits              # found by a shortcut or hint alone
    uint64_t steps             # nodes walked otherwise
    uint64_t merges
    uint64_t duplicates        # inserts that brought nothing new
    uint32_t nodes             # now
    uint32_t max_nodes
    uint64_t bytes             # now, out of order
    uint64_t max_bytes


cdef struct reorder_t          # opaque; owner: the connection

# NULL when memory is short. `max_nodes` bounds the nodes; they are allocated lazily by growing, never per segment.
cdef reorder_t *reorder_new(int algorithm, uint32_t max_nodes) noexcept nogil
cdef void reorder_free(reorder_t *queue) noexcept nogil
# Inserts [start, end), start < end, brought by `subflow` (0…31). Writes the sub-ranges that were not there yet into `gaps`
# (room for REORDER_GAPS; first copy wins) and returns their number, 0 for a duplicate, or REORDER_FULL.
cdef int reorder_insert(reorder_t *queue, uint64_t start, uint64_t end, int subflow, span_t *gaps) noexcept nogil
# Removes what is contiguous from `next_seq` on (and anything older) and returns the new next expected number.
cdef uint64_t reorder_advance(reorder_t *queue, uint64_t next_seq) noexcept nogil
cdef const reorder_stats_t *reorder_stats(const reorder_t *queue) noexcept nogil
cdef int reorder_empty(const reorder_t *queue) noexcept nogil
