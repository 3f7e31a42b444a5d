"""Connection-level reordering queue (RFC 8684 §3.3.1): which data sequence ranges are there out of order.

The bytes themselves live in a ring addressed by data sequence number (`mpcore.store.ring`); this queue holds
ranges only. Comparisons are modulo 2**64.
"""

from libc.stdint cimport uint32_t, uint64_t


cdef enum:
    REORDER_RUNS = 0           # sorted runs with a hint per subflow: the default
    REORDER_REGULAR = 1        # linked list, searched from the tail
    REORDER_TREE = 2           # binary search tree of runs
    REORDER_SHORTCUTS = 3      # list of runs, one pointer a subflow (thesis, 2011)
    REORDER_ALLSHORTCUTS = 4   # list of segments, every subflow's pointer tried (2012)
    REORDER_ALGORITHMS = 5

    REORDER_FULL = -1          # node limit reached; nothing was inserted
    REORDER_GAPS = 8           # most new sub-ranges of one insert; what has more is refused as REORDER_FULL
    REORDER_SUBFLOWS = 32
    REORDER_NODES_MAX = 0x1000000    # highest node limit


cdef struct span_t:            # half-open range [start, end) of data sequence numbers
    uint64_t start
    uint64_t end


cdef struct reorder_stats_t:
    uint64_t inserts           # accepted ones, duplicates included
    uint64_t hits              # found by a shortcut or hint alone
    uint64_t steps             # nodes walked otherwise
    uint64_t merges            # nodes that new data extended, joined or replaced
    uint64_t duplicates        # inserts that brought nothing new
    uint32_t nodes             # now
    uint32_t max_nodes
    uint64_t bytes             # now, out of order
    uint64_t max_bytes


cdef struct reorder_node_t:    # of the linked algorithms; a link is an index into reorder_t.nodes, 0 none
    uint64_t start
    uint64_t end
    uint32_t prev              # left child in the tree
    uint32_t next              # right child in the tree; next free node in the free list
    uint32_t owner             # subflow + 1 whose shortcut this node is, 0 none


cdef struct reorder_t          # opaque to callers; owner: the connection

ctypedef int (*reorder_insert_t)(reorder_t *queue, uint64_t start, uint64_t end, int subflow,
                                 span_t *gaps) noexcept nogil
ctypedef uint64_t (*reorder_advance_t)(reorder_t *queue, uint64_t next_seq) noexcept nogil

cdef struct reorder_t:
    reorder_insert_t insert
    reorder_advance_t advance
    uint64_t base              # every node lies in [base, base + 2**63), so that serial numbers have an order
    uint32_t node_limit
    uint32_t capacity          # elements at `runs` or `nodes`
    uint32_t first             # runs: index of the first; lists: head; tree: root
    uint32_t last              # runs: index after the last; lists: tail
    uint32_t free_node         # linked: head of the free list
    uint32_t fresh             # linked: nodes from this one on were never used
    span_t *runs
    reorder_node_t *nodes
    uint32_t shortcut[32]      # by subflow, 0 none; runs: index of the hinted run + 1; lists: node
    reorder_stats_t stats


# NULL when memory is short or an argument is out of range. `max_nodes` bounds the nodes; they are allocated
# lazily by growing, never per segment.
cdef reorder_t *reorder_new(int algorithm, uint32_t max_nodes) noexcept nogil
cdef void reorder_free(reorder_t *queue) noexcept nogil
# Inserts [start, end), start < end, brought by `subflow` (modulo 32). Writes the sub-ranges that were not
# there yet into `gaps` (room for REORDER_GAPS; in order; first copy wins) and returns their number, 0 for a
# duplicate, or REORDER_FULL, also for ranges further than 2**62 from those that are there.
cdef int reorder_insert(reorder_t *queue, uint64_t start, uint64_t end, int subflow,
                        span_t *gaps) noexcept nogil
# Removes what is contiguous from `next_seq` on (and anything older) and returns the new next expected number.
cdef uint64_t reorder_advance(reorder_t *queue, uint64_t next_seq) noexcept nogil
cdef const reorder_stats_t *reorder_stats(const reorder_t *queue) noexcept nogil
cdef int reorder_empty(const reorder_t *queue) noexcept nogil
