"""The connection's two data streams."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memmove

from mpcore.mptcp.sender cimport segment_at, sender_oldest_data
from mpcore.mptcp.types cimport (
    HOST_ACK_DUE,
    NEVER,
    SEG_FIN,
    SEG_OWN,
    SEG_LOST,
    SEG_REINJECTED,
    SUBFLOW_MAX,
    conn_t,
    count,
    is_live,
    mark_dirty,
    plane_t,
    segment_t,
    subflow_t,
)
from mpcore.store.counters cimport (
    COUNTER_DATA_FIN_REFUSED,
    COUNTER_DUPLICATE_DATA,
    COUNTER_MEMORY_REFUSED,
    COUNTER_NO_DSS_IN_WINDOW,
    COUNTER_OFO_MERGE,
    COUNTER_OFO_QUEUE,
    COUNTER_OFO_QUEUE_TAIL,
    COUNTER_RCV_PRUNED,
)
from mpcore.store.reorder cimport (
    REORDER_FULL,
    REORDER_GAPS,
    reorder_advance,
    reorder_empty,
    reorder_insert,
    reorder_new,
    span_t,
)
from mpcore.store.ring cimport (
    chunk_pool_t,
    ring_clear,
    ring_init,
    ring_missing,
    ring_pieces,
    ring_release,
    ring_reserve,
    ring_t,
    ring_write,
)


cdef enum:
    STORE_PRUNED = -2          # no place among what is out of order
    RESERVE_SHARE = 8          # an eighth of the pool
    RESERVE_LEAST = 16384      # smaller windows of the peer are used whole


# --- receive direction

cdef int stream_has_memory(const plane_t *plane, const ring_t *ring, uint64_t offset,
                           uint32_t size) noexcept nogil:
    """True when the range needs no chunk of the pool's last part, which is kept for data that is in order.

    In-order data leaves as soon as the host has it; what waits for it must not take its place.
    """
    cdef const chunk_pool_t *pool = &plane.pool
    cdef uint32_t spare = pool.free_count + (pool.limit - pool.allocated)
    cdef uint32_t missing = ring_missing(ring, offset, size)
    return missing == 0 or spare >= pool.limit // RESERVE_SHARE + missing


cdef int store_out_of_order(plane_t *plane, conn_t *conn, uint64_t offset, const uint8_t *data, uint32_t size,
                            int subflow) noexcept nogil:
    cdef span_t gaps[REORDER_GAPS]
    cdef uint64_t merged
    cdef int found, i
    if conn.reorder == NULL:
        conn.reorder = reorder_new(plane.reorder_algorithm, plane.reorder_nodes)
        if conn.reorder == NULL:
            return STORE_REFUSED
    merged = conn.reorder.stats.merges
    found = reorder_insert(conn.reorder, offset, offset + size, subflow, gaps)
    if found == REORDER_FULL:
        return STORE_PRUNED
    if found == 0:
        count(plane, COUNTER_DUPLICATE_DATA)
    elif offset > conn.rx_nxt:
        count(plane, COUNTER_OFO_QUEUE)
        plane.counters[COUNTER_OFO_MERGE] += conn.reorder.stats.merges - merged
        if offset >= conn.rx_top:
            count(plane, COUNTER_OFO_QUEUE_TAIL)
    conn.rx_top = max(conn.rx_top, offset + size)
    for i in range(found):
        ring_write(&conn.rx_ring, gaps[i].start, data + (gaps[i].start - offset),
                   <uint32_t>(gaps[i].end - gaps[i].start))
    if offset <= conn.rx_nxt:
        conn.rx_nxt = reorder_advance(conn.reorder, conn.rx_nxt)
    return STORE_OK


cdef int store_in_order(plane_t *plane, conn_t *conn, const uint8_t *data, uint32_t size,
                        int subflow) noexcept nogil:
    """Data at rx_nxt; it has a place even where the reordering queue is full, for it makes room there."""
    cdef int status = STORE_PRUNED
    if conn.reorder != NULL and not reorder_empty(conn.reorder):
        status = store_out_of_order(plane, conn, conn.rx_nxt, data, size, subflow)
    if status == STORE_PRUNED:
        if ring_write(&conn.rx_ring, conn.rx_nxt, data, size) < 0:
            return STORE_REFUSED
        conn.rx_nxt += size
        if conn.reorder != NULL:
            conn.rx_nxt = reorder_advance(conn.reorder, conn.rx_nxt)
    return STORE_OK


cdef int stream_store(plane_t *plane, conn_t *conn, uint64_t offset, const uint8_t *data, uint32_t size,
                      int subflow) noexcept nogil:
    """RFC 8684 §3.8: what is outside the window is dropped and not acknowledged at the data level.

    So is what the reordering queue has no place for: refused on its subflow it could stand before the very
    data that would make room.
    """
    cdef uint64_t end = offset + size
    cdef uint32_t old
    cdef int status
    # an offset before the stream's start wraps to a huge number and counts as outside the window too
    if (end > conn.rx_ring.head + conn.rx_ring.limit or end < offset
            or (conn.rx_fin_seen and end > conn.rx_fin)):
        count(plane, COUNTER_NO_DSS_IN_WINDOW)
        return STORE_OK
    if end <= conn.rx_nxt:
        count(plane, COUNTER_DUPLICATE_DATA)
        conn.data_ack_now = 1
        return STORE_OK
    if offset < conn.rx_nxt:
        old = <uint32_t>(conn.rx_nxt - offset)
        offset += old
        data += old
        size -= old
    if (offset > conn.rx_nxt and not stream_has_memory(plane, &conn.rx_ring, offset, size)) or (
            ring_reserve(&conn.rx_ring, offset, size) < 0):
        count(plane, COUNTER_MEMORY_REFUSED)
        return STORE_REFUSED
    if offset == conn.rx_nxt:
        status = store_in_order(plane, conn, data, size, subflow)
    else:
        status = store_out_of_order(plane, conn, offset, data, size, subflow)
    if status == STORE_PRUNED:
        count(plane, COUNTER_RCV_PRUNED)
        return STORE_OK
    if status == STORE_OK:
        conn.last_rx = <uint8_t>subflow
        conn.bytes_received += size
    return status


cdef void stream_end(plane_t *plane, conn_t *conn, uint64_t offset) noexcept nogil:
    if conn.rx_fin_seen:
        conn.data_ack_now = 1
        if offset != conn.rx_fin:
            count(plane, COUNTER_DATA_FIN_REFUSED)
    elif conn.rx_nxt <= offset < conn.rx_top:
        # data beyond it is here already
        count(plane, COUNTER_DATA_FIN_REFUSED)
    elif offset - conn.rx_nxt <= conn.rx_ring.limit:
        conn.rx_fin_seen = 1
        conn.rx_fin = offset
    else:
        count(plane, COUNTER_NO_DSS_IN_WINDOW)
    mark_dirty(plane, conn)


# --- send direction

cdef void stream_free(conn_t *conn) noexcept nogil:
    cdef uint64_t keep = conn.tx_una
    cdef uint64_t oldest
    cdef int i
    for i in range(SUBFLOW_MAX):
        if is_live(conn.subflows[i]):
            oldest = sender_oldest_data(conn.subflows[i])
            if oldest < keep:
                keep = oldest
    if keep > conn.tx_ring.head:
        ring_release(&conn.tx_ring, keep)


cdef int has_company(const conn_t *conn, const subflow_t *subflow) noexcept nogil:
    """True when another subflow has data on its way: what this one brings may have to wait for it."""
    cdef int i
    for i in range(SUBFLOW_MAX):
        if conn.subflows[i] != subflow and is_live(conn.subflows[i]) and conn.subflows[i].seg_count:
            return 1
    return 0


cdef uint64_t stream_room(const conn_t *conn, const subflow_t *subflow) noexcept nogil:
    cdef uint64_t offered = conn.tx_window - conn.tx_una if conn.tx_window > conn.tx_una else 0
    cdef uint64_t outstanding = conn.tx_nxt - conn.tx_una
    # a window of a few segments is used to its end, so that it closes, and is probed
    if offered > RESERVE_LEAST and has_company(conn, subflow):
        offered = offered * 5 // 8
    return offered - outstanding if offered > outstanding else 0


cdef void stream_acked(plane_t *plane, conn_t *conn, uint64_t offset) noexcept nogil:
    if conn.fin_sent and offset == conn.tx_fin + 1:
        offset -= 1
        if not conn.fin_acked:
            conn.fin_acked = 1
            conn.fin_ns = NEVER
            conn.host_ack_now = HOST_ACK_DUE
    if offset > conn.tx_una:
        if conn.tx_una < conn.host_mark_end <= offset:
            conn.host_ts_recent = conn.host_mark_ts
        conn.tx_una = offset
        conn.host_ack_now = HOST_ACK_DUE
        conn.data_backoff = conn.data_tries = 0
        # after a loss at the data level the next hole need not wait for a timer again
        conn.data_asked = offset < conn.data_recover
        conn.data_rto_ns = plane.now_ns if conn.data_asked else NEVER
    mark_dirty(plane, conn)


# --- reinjection (RFC 8684 §3.3.6)

cdef int reserve(conn_t *conn) noexcept nogil:
    """Make room for one more range; happens when a path fails, not per packet."""
    cdef uint32_t capacity = 2 * conn.reinject_capacity if conn.reinject_capacity else 16
    cdef void *spans
    cdef void *origins
    if conn.reinject_count < conn.reinject_capacity:
        return 0
    spans = realloc(conn.reinject, capacity * sizeof(span_t))
    if spans == NULL:
        return -1
    conn.reinject = <span_t *>spans
    origins = realloc(conn.reinject_from, capacity)
    if origins == NULL:
        return -1
    conn.reinject_from = <uint8_t *>origins
    conn.reinject_capacity = capacity
    return 0


cdef void stream_reinject_range(plane_t *plane, conn_t *conn, uint64_t start, uint64_t end,
                                uint8_t origin) noexcept nogil:
    cdef uint32_t last = conn.reinject_count - 1
    if start < conn.tx_una:
        start = conn.tx_una
    if start >= end:
        return
    conn.reinjected = 1
    if conn.reinject_count and conn.reinject[last].end == start and conn.reinject_from[last] == origin:
        conn.reinject[last].end = end
        return
    if reserve(conn) < 0:
        return
    conn.reinject[conn.reinject_count].start = start
    conn.reinject[conn.reinject_count].end = end
    conn.reinject_from[conn.reinject_count] = origin
    conn.reinject_count += 1


cdef void stream_reinject_head(plane_t *plane, conn_t *conn, uint32_t size) noexcept nogil:
    cdef uint32_t i
    for i in range(conn.reinject_count):
        # whoever sent it before, nobody repairs it
        conn.reinject_from[i] = FROM_ANY
        if conn.reinject[i].start <= conn.tx_una < conn.reinject[i].end:
            return
    stream_reinject_range(plane, conn, conn.tx_una, min(conn.tx_nxt, conn.tx_una + size), FROM_ANY)


cdef void stream_forget_origin(conn_t *conn, uint8_t origin) noexcept nogil:
    cdef uint32_t i
    for i in range(conn.reinject_count):
        if conn.reinject_from[i] == origin:
            conn.reinject_from[i] = FROM_GONE


cdef void stream_reinject(plane_t *plane, conn_t *conn, subflow_t *subflow, int lost_only) noexcept nogil:
    cdef segment_t *segment
    cdef uint32_t i
    for i in range(subflow.seg_count):
        segment = segment_at(subflow, i)
        if segment.flags & (SEG_FIN | SEG_REINJECTED) or (lost_only and not segment.flags & SEG_LOST):
            continue
        segment.flags |= SEG_REINJECTED
        stream_reinject_range(plane, conn, segment.data, segment.data + segment.size, subflow.index)
    mark_dirty(plane, conn)


cdef int copy_segment(conn_t *conn, subflow_t *subflow, const segment_t *segment) noexcept nogil:
    cdef const uint8_t *piece[2]
    cdef uint32_t size[2]
    cdef uint64_t at = segment.seq
    cdef int i
    cdef int pieces = ring_pieces(&conn.tx_ring, segment.data, segment.size, piece, size)
    if pieces == 0:
        return -1
    for i in range(pieces):
        if ring_write(&subflow.own, at, piece[i], size[i]) < 0:
            return -1
        at += size[i]
    return 0


cdef void stream_detach(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    cdef segment_t *segment
    cdef uint32_t i
    if subflow.own.slots == 0 and ring_init(
            &subflow.own, &plane.pool, 2 * (subflow.snd_nxt - subflow.snd_una), subflow.snd_una) < 0:
        return
    for i in range(subflow.seg_count):
        segment = segment_at(subflow, i)
        # what does not fit stays with the stream
        if not segment.flags & (SEG_FIN | SEG_OWN) and copy_segment(conn, subflow, segment) == 0:
            segment.flags |= SEG_OWN
            subflow.own_count += 1
    if subflow.own_count == 0:
        ring_clear(&subflow.own)


cdef void drop_range(conn_t *conn, uint32_t index) noexcept nogil:
    cdef uint32_t after = conn.reinject_count - index - 1
    memmove(&conn.reinject[index], &conn.reinject[index + 1], after * sizeof(span_t))
    memmove(&conn.reinject_from[index], &conn.reinject_from[index + 1], after)
    conn.reinject_count -= 1


cdef uint32_t stream_take_reinject(conn_t *conn, const subflow_t *subflow, uint32_t size, uint64_t *offset,
                                   uint8_t *origin) noexcept nogil:
    cdef uint32_t i = 0
    cdef span_t *span
    cdef uint64_t left
    while i < conn.reinject_count:
        span = &conn.reinject[i]
        if span.start < conn.tx_una:
            span.start = conn.tx_una
        if span.start >= span.end:
            drop_range(conn, i)
            continue
        if conn.reinject_from[i] == subflow.index:
            i += 1
            continue
        left = span.end - span.start
        if left < size:
            size = <uint32_t>left
        offset[0] = span.start
        origin[0] = conn.reinject_from[i]
        span.start += size
        return size
    return 0


cdef int stream_only_subflow(const conn_t *conn, const subflow_t *subflow) noexcept nogil:
    """True when no other subflow is alive."""
    cdef int i
    for i in range(SUBFLOW_MAX):
        if is_live(conn.subflows[i]) and conn.subflows[i] != subflow:
            return 0
    return 1
