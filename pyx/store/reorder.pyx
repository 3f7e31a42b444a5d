"""Reordering queue: the common part of the five algorithms, and `ReorderQueue`, its Python face."""

cimport cython
from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from mpcore.store.reorder_allshortcuts cimport allshortcuts_insert
from mpcore.store.reorder_nodes cimport list_advance
from mpcore.store.reorder_regular cimport regular_insert
from mpcore.store.reorder_runs cimport runs_advance, runs_insert
from mpcore.store.reorder_shortcuts cimport shortcuts_insert
from mpcore.store.reorder_tree cimport tree_advance, tree_insert
from mpcore.store.serial cimport before

from mpcore.errors import CapacityError

ALGORITHMS = ("runs", "regular", "tree", "shortcuts", "allshortcuts")    # in the order of REORDER_RUNS …

cdef enum:
    CAPACITY_KEPT = 256        # elements that an empty queue keeps for the next loss

cdef uint64_t REACH = <uint64_t>1 << 62


cdef int bind_algorithm(reorder_t *queue, int algorithm) noexcept nogil:
    queue.advance = list_advance
    if algorithm == REORDER_RUNS:
        queue.insert = runs_insert
        queue.advance = runs_advance
    elif algorithm == REORDER_REGULAR:
        queue.insert = regular_insert
    elif algorithm == REORDER_TREE:
        queue.insert = tree_insert
        queue.advance = tree_advance
    elif algorithm == REORDER_SHORTCUTS:
        queue.insert = shortcuts_insert
    elif algorithm == REORDER_ALLSHORTCUTS:
        queue.insert = allshortcuts_insert
    else:
        return -1
    return 0


cdef reorder_t *reorder_new(int algorithm, uint32_t max_nodes) noexcept nogil:
    cdef reorder_t *queue
    if max_nodes > REORDER_NODES_MAX:
        return NULL
    queue = <reorder_t *>calloc(1, sizeof(reorder_t))
    if queue == NULL:
        return NULL
    if bind_algorithm(queue, algorithm) < 0:
        free(queue)
        return NULL
    queue.node_limit = max_nodes
    return queue


cdef void reorder_free(reorder_t *queue) noexcept nogil:
    if queue != NULL:
        free(queue.runs)
        free(queue.nodes)
        free(queue)


cdef void shrink(reorder_t *queue) noexcept nogil:
    """Give the memory of an empty queue back: one burst of holes must not cost a connection for life."""
    free(queue.runs)
    free(queue.nodes)
    queue.runs = NULL
    queue.nodes = NULL
    queue.capacity = 0
    queue.first = 0
    queue.last = 0
    queue.free_node = 0
    queue.fresh = 0
    memset(queue.shortcut, 0, sizeof(queue.shortcut))


cdef bint in_reach(reorder_t *queue, uint64_t start, uint64_t end) noexcept nogil:
    """Tell whether the range keeps all nodes within 2**63, where serial numbers have a total order."""
    if end - start - 1 >= REACH:    # an empty or reversed range, too
        return False
    if queue.stats.nodes == 0:
        queue.base = start - REACH
    return start - queue.base < 2 * REACH and end - queue.base <= 2 * REACH


cdef int reorder_insert(reorder_t *queue, uint64_t start, uint64_t end, int subflow,
                        span_t *gaps) noexcept nogil:
    cdef reorder_stats_t *stats = &queue.stats
    cdef uint64_t hits = stats.hits, steps = stats.steps
    cdef int count, i
    if not in_reach(queue, start, end):
        return REORDER_FULL
    count = queue.insert(queue, start, end, subflow & (REORDER_SUBFLOWS - 1), gaps)
    if count < 0:
        stats.hits = hits
        stats.steps = steps
        return count
    stats.inserts += 1
    if count == 0:
        stats.duplicates += 1
        return 0
    for i in range(count):
        stats.bytes += gaps[i].end - gaps[i].start
    if stats.bytes > stats.max_bytes:
        stats.max_bytes = stats.bytes
    if stats.nodes > stats.max_nodes:
        stats.max_nodes = stats.nodes
    return count


cdef uint64_t reorder_advance(reorder_t *queue, uint64_t next_seq) noexcept nogil:
    if queue.stats.nodes == 0 or next_seq - queue.base >= 2 * REACH:
        return next_seq
    next_seq = queue.advance(queue, next_seq)
    if before(queue.base, next_seq - REACH):
        queue.base = next_seq - REACH
    if queue.stats.nodes == 0 and queue.capacity > CAPACITY_KEPT:
        shrink(queue)
    return next_seq


cdef const reorder_stats_t *reorder_stats(const reorder_t *queue) noexcept nogil:
    return &queue.stats


cdef int reorder_empty(const reorder_t *queue) noexcept nogil:
    return queue.stats.nodes == 0


cdef struct batch_t:           # segments in three arrays of one length
    const uint64_t *starts
    const uint64_t *ends
    const uint8_t *subflows
    Py_ssize_t count


cdef Py_ssize_t insert_batch(reorder_t *queue, const batch_t *batch) noexcept nogil:
    """Insert all segments; the index of the first one that was refused, or the count."""
    cdef span_t gaps[REORDER_GAPS]
    cdef Py_ssize_t i
    for i in range(batch.count):
        if reorder_insert(queue, batch.starts[i], batch.ends[i], batch.subflows[i], gaps) < 0:
            return i
    return batch.count


cdef Py_ssize_t receive_batch(reorder_t *queue, const batch_t *batch, uint64_t *next_seq) noexcept nogil:
    """As `insert_batch`, where data in order passes the queue and drains it, and old data is dropped."""
    cdef span_t gaps[REORDER_GAPS]
    cdef Py_ssize_t i
    for i in range(batch.count):
        if before(next_seq[0], batch.starts[i]):
            if reorder_insert(queue, batch.starts[i], batch.ends[i], batch.subflows[i], gaps) < 0:
                return i
        elif before(next_seq[0], batch.ends[i]):
            next_seq[0] = reorder_advance(queue, batch.ends[i])
    return batch.count


cdef bint is_unsigned(const Py_buffer *view, Py_ssize_t size) noexcept:
    """Tell whether the elements are unsigned integers of `size` octets in the machine's order."""
    return view.itemsize == size and view.format != NULL and view.format[0] in (c"B", c"L", c"Q")


@cython.final
cdef class _Batch:
    """Buffers of one call, held until the object goes."""

    cdef Py_buffer views[3]
    cdef int held
    cdef batch_t batch

    def __init__(self, *arrays):
        cdef int i
        for i in range(3):
            PyObject_GetBuffer(arrays[i], &self.views[i], PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
            self.held = i + 1
            if self.views[i].ndim != 1 or not is_unsigned(&self.views[i], 1 if i == 2 else 8):
                raise ValueError("starts and ends must be arrays of uint64, subflows of uint8")
            if self.views[i].shape[0] != self.views[0].shape[0]:
                raise ValueError("starts, ends and subflows must be of one length")
        self.batch.starts = <const uint64_t *>self.views[0].buf
        self.batch.ends = <const uint64_t *>self.views[1].buf
        self.batch.subflows = <const uint8_t *>self.views[2].buf
        self.batch.count = self.views[0].shape[0]

    def __dealloc__(self):
        cdef int i
        for i in range(self.held):
            PyBuffer_Release(&self.views[i])


cdef _raise_full():
    raise CapacityError("the reordering queue refuses this range: drain the queue, or raise max_nodes")


@cython.final
cdef class ReorderQueue:
    """Ranges of data sequence numbers beyond the next expected one; see `ALGORITHMS` for the choice.

    Numbers count octets of the data stream modulo 2**64 (RFC 8684 §3.3.1); a range is half-open. The queue
    keeps ranges, not their bytes. `len` is the number of elements held, `max_nodes` their limit. `subflow` is
    where a segment came by, 0 to 31; in `receive` and in arrays higher ones count modulo 32.

    Raises:
        ValueError: an unknown algorithm, or a limit above what can be indexed
        CapacityError: from each method that inserts, when the limit is reached, or for a range that is
            reversed, empty (except in `insert`), or 2**62 away from those held

    Thread-safety: belongs to one thread at a time.
    """

    cdef reorder_t *queue
    cdef readonly str algorithm

    def __cinit__(self, str algorithm not None="runs", uint32_t max_nodes=4096):
        if algorithm not in ALGORITHMS:
            raise ValueError(f"unknown algorithm {algorithm!r}: use one of {', '.join(ALGORITHMS)}")
        if max_nodes > REORDER_NODES_MAX:
            raise ValueError(f"max_nodes must be at most {REORDER_NODES_MAX}")
        self.queue = reorder_new(ALGORITHMS.index(algorithm), max_nodes)
        if self.queue == NULL:
            raise MemoryError
        self.algorithm = algorithm

    def __dealloc__(self):
        reorder_free(self.queue)

    def __len__(self):
        return self.queue.stats.nodes

    def insert(self, uint64_t start, uint64_t end, int subflow=0):
        """Insert [start, end) and return the sub-ranges that were new, pairs (start, end) in order.

        CapacityError when it is refused, ValueError for an empty range or a subflow above 31.
        """
        cdef span_t gaps[REORDER_GAPS]
        cdef int count, i
        if start == end or not 0 <= subflow < REORDER_SUBFLOWS:
            raise ValueError(f"the range must not be empty, and the subflow below {REORDER_SUBFLOWS}")
        count = reorder_insert(self.queue, start, end, subflow, gaps)
        if count < 0:
            _raise_full()
        return [(gaps[i].start, gaps[i].end) for i in range(count)]

    def advance(self, uint64_t next_seq):
        """Remove what is contiguous from `next_seq` on, and what is older; return the new next number."""
        return reorder_advance(self.queue, next_seq)

    def receive(self, uint64_t next_seq, uint64_t start, uint64_t end, int subflow=0):
        """Take [start, end) as a receiver does that expects `next_seq`; return what it expects afterwards.

        Data in order passes the queue and drains it, old data is dropped. CapacityError when it is refused.
        """
        cdef span_t gaps[REORDER_GAPS]
        if before(next_seq, start):
            if reorder_insert(self.queue, start, end, subflow, gaps) < 0:
                _raise_full()
        elif before(next_seq, end):
            return reorder_advance(self.queue, end)
        return next_seq

    def insert_many(self, starts, ends, subflows):
        """Insert segments of three arrays (uint64, uint64, uint8); return how many bytes were new.

        Any buffers of one dimension and length will do, nothing is copied; ValueError for others.
        CapacityError at the first segment that is refused; those before it stay.
        """
        cdef _Batch held = _Batch(starts, ends, subflows)
        cdef uint64_t had = self.queue.stats.bytes
        cdef Py_ssize_t done
        with nogil:
            done = insert_batch(self.queue, &held.batch)
        if done < held.batch.count:
            _raise_full()
        return self.queue.stats.bytes - had

    def receive_many(self, uint64_t next_seq, starts, ends, subflows):
        """Take segments as a receiver does that expects `next_seq`, and return what it expects afterwards.

        Data in order passes the queue and drains it. Arrays and CapacityError as for `insert_many`.
        """
        cdef _Batch held = _Batch(starts, ends, subflows)
        cdef Py_ssize_t done
        with nogil:
            done = receive_batch(self.queue, &held.batch, &next_seq)
        if done < held.batch.count:
            _raise_full()
        return next_seq

    def stats(self):
        """Return the counters by name; `nodes` and `bytes` are of now, all others since the start."""
        cdef const reorder_stats_t *stats = &self.queue.stats
        return {
            "inserts": stats.inserts,
            "hits": stats.hits,
            "steps": stats.steps,
            "merges": stats.merges,
            "duplicates": stats.duplicates,
            "nodes": stats.nodes,
            "max_nodes": stats.max_nodes,
            "bytes": stats.bytes,
            "max_bytes": stats.max_bytes,
        }
