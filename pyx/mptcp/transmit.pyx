"""What a connection sends.

A segment is bound to a subflow only when that subflow has room for it. One mapping covers just its segment,
so a repeat carries the very same mapping (RFC 8684 §3.3.1: a mapping is not changed).
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from mpcore.mptcp.carrier cimport carrier_drop_all, carrier_send, carrier_size
from mpcore.mptcp.congestion cimport congestion_used
from mpcore.mptcp.doubt cimport doubt_wake
from mpcore.mptcp.frto cimport FRTO_FORWARD
from mpcore.mptcp.output cimport (
    EMIT_FULL,
    EMIT_GONE,
    EMIT_OK,
    emit_ack,
    emit_data_fin,
    emit_probe,
    emit_segment,
)
from mpcore.mptcp.pacing cimport pacing_wait, pacing_wait_ns
from mpcore.mptcp.pathmtu cimport pathmtu_again, pathmtu_sent, pathmtu_size
from mpcore.mptcp.scheduler cimport schedule
from mpcore.mptcp.sender cimport (
    segment_at,
    sender_backed_off,
    sender_patience,
    sender_push,
    sender_room,
    sender_sent,
)
from mpcore.mptcp.stream cimport (
    FROM_ANY,
    stream_reinject,
    stream_reinject_range,
    stream_room,
    stream_take_reinject,
)
from mpcore.mptcp.types cimport (
    NEVER,
    ROLE_CLIENT,
    SEG_FOREIGN,
    SEG_LOST,
    SEG_REINJECTED,
    SUBFLOW_MAX,
    can_carry,
    conn_t,
    count,
    is_live,
    plane_t,
    segment_t,
    subflow_t,
)
from mpcore.store.counters cimport (
    COUNTER_MPTCP_RETRANS,
    COUNTER_PROBE_TX,
    COUNTER_REINJECTED,
    COUNTER_SUBFLOW_RETRANSMIT,
)


cdef int transmit_again(plane_t *plane, conn_t *conn, subflow_t *subflow, segment_t *segment) noexcept nogil:
    cdef int status = emit_segment(plane, conn, subflow, segment, 1)
    if status == EMIT_OK:
        count(plane, COUNTER_SUBFLOW_RETRANSMIT)
        sender_sent(plane, subflow, segment, 1)
    return status


cdef int repair(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    """Resend what is presumed lost, as far as the window goes; 1 when the queue is full."""
    cdef segment_t *segment
    cdef uint32_t i = 0
    while subflow.lost_count and i < subflow.seg_count:
        segment = segment_at(subflow, i)
        i += 1
        if not segment.flags & SEG_LOST:
            continue
        pathmtu_again(plane, subflow, segment)
        segment = segment_at(subflow, i - 1)
        if sender_room(subflow) < segment.size and subflow.inflight:
            congestion_used(subflow, 1)
            return 0
        if subflow.inflight and pacing_wait_ns(plane, subflow):
            pacing_wait(subflow)
            return 0
        if transmit_again(plane, conn, subflow, segment) == EMIT_FULL:
            return 1
    return 0


cdef int send_piece(plane_t *plane, conn_t *conn, subflow_t *subflow, uint64_t offset, uint32_t size,
                    int foreign) noexcept nogil:
    """Send [offset, offset + size) as a new segment of the subflow; an EMIT_… status."""
    cdef segment_t *segment = sender_push(subflow, plane.segment_limit)
    cdef int status
    if segment == NULL:
        return EMIT_GONE
    segment.data = offset
    segment.size = size
    status = emit_segment(plane, conn, subflow, segment, 0)
    if status != EMIT_OK:
        subflow.seg_count -= 1
        return status
    if foreign:
        segment.flags |= SEG_FOREIGN
        subflow.foreign_count += 1
    subflow.snd_nxt += size
    pathmtu_sent(plane, subflow, size)
    sender_sent(plane, subflow, segment, 0)
    return EMIT_OK


cdef int transmit_oldest(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    cdef uint32_t size = <uint32_t>min(<uint64_t>subflow.mss, conn.tx_nxt - conn.tx_una)
    cdef int status = send_piece(plane, conn, subflow, conn.tx_una, size, 1)
    if status == EMIT_OK:
        # whoever sent it first repairs it, and hands it on
        segment_at(subflow, subflow.seg_count - 1).flags |= SEG_REINJECTED
        conn.reinjected = 1
        count(plane, COUNTER_REINJECTED)
    return status


cdef int send_reinjection(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    """1 when something went, 0 when there is nothing for this subflow, EMIT_FULL when the queue is full."""
    cdef uint64_t offset = 0
    cdef uint8_t origin = FROM_ANY
    cdef uint32_t size = stream_take_reinject(conn, subflow, subflow.mss, &offset, &origin)
    cdef int status
    if size == 0:
        return 0
    status = send_piece(plane, conn, subflow, offset, size, 1)
    if status != EMIT_OK:
        stream_reinject_range(plane, conn, offset, offset + size, origin)
        # at the limit of segments in flight this subflow takes no more, but others may
        return EMIT_FULL if status == EMIT_FULL else 0
    count(plane, COUNTER_MPTCP_RETRANS)
    if origin != FROM_ANY:
        count(plane, COUNTER_REINJECTED)
    return 1


cdef int send_reinjections(plane_t *plane, conn_t *conn) noexcept nogil:
    cdef subflow_t *subflow
    cdef unsigned int skip = 0
    cdef int sent
    while conn.reinject_count:
        subflow = schedule(plane, conn, skip)
        if subflow == NULL:
            return 0
        sent = send_reinjection(plane, conn, subflow)
        if sent == EMIT_FULL:
            return 1
        if sent == 0:
            skip |= 1 << subflow.index
    return 0


cdef uint32_t next_size(const plane_t *plane, const conn_t *conn,
                        const subflow_t *subflow) noexcept nogil:
    """Bytes of new data for one segment, 0 when the peer's window or the host's data is used up."""
    cdef uint64_t size = conn.tx_end - conn.tx_nxt
    cdef uint64_t window = stream_room(conn, subflow)
    cdef uint32_t most = pathmtu_size(plane, subflow)
    # what tries a size is of that size
    if size > subflow.mss:
        size = most if size >= most else subflow.mss
    if size > window:
        # no silly window: wait for room unless nothing is out that would open it (RFC 9293 §3.8.6.2.1)
        if conn.tx_una < conn.tx_nxt:
            return 0
        size = window
    return <uint32_t>size


cdef int send_new(plane_t *plane, conn_t *conn) noexcept nogil:
    cdef subflow_t *subflow
    cdef uint32_t size
    cdef unsigned int skip = 0
    cdef int status
    while conn.tx_nxt < conn.tx_end:
        subflow = schedule(plane, conn, skip)
        if subflow == NULL:
            return 0
        size = carrier_size(plane, conn, subflow)
        if size:
            status = carrier_send(plane, conn, subflow, size)
        else:
            size = next_size(plane, conn, subflow)
            if size == 0:
                return 0
            status = send_piece(plane, conn, subflow, conn.tx_nxt, size, 0)
        if status == EMIT_FULL:
            return 1
        if status != EMIT_OK:
            skip |= 1 << subflow.index
            continue
        conn.tx_nxt += size
    return 0


cdef int has_spare(const conn_t *conn, const subflow_t *subflow) noexcept nogil:
    """True when another path, no backup for this one (RFC 8684 §3.3.8), has room and no losses of its own."""
    cdef const subflow_t *other
    cdef int i
    for i in range(SUBFLOW_MAX):
        other = conn.subflows[i]
        if other == subflow or not can_carry(other) or other.suspect or other.backup > subflow.backup:
            continue
        if other.lost_count == 0 and sender_room(other) >= other.mss:
            return 1
    return 0


cdef int hand_on(plane_t *plane, conn_t *conn) noexcept nogil:
    """Nothing new is left to send: what waits for a window to be repaired goes where there is one.

    Its own subflow still repairs it (RFC 8684 §3.3.6), but the stream does not end that late.
    """
    cdef subflow_t *subflow
    cdef int i
    for i in range(SUBFLOW_MAX):
        subflow = conn.subflows[i]
        if can_carry(subflow) and subflow.lost_count and not subflow.suspect and has_spare(conn, subflow):
            stream_reinject(plane, conn, subflow, 1)
    return send_reinjections(plane, conn)


cdef int send_forward(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    """New data in place of repairs (RFC 5682 §2.1 step 2b), on this very path; 1 when the queue is full."""
    cdef uint32_t size
    cdef int status
    while conn.tx_nxt < conn.tx_end and sender_room(subflow) >= subflow.mss:
        size = next_size(plane, conn, subflow)
        status = send_piece(plane, conn, subflow, conn.tx_nxt, size, 0) if size else EMIT_GONE
        if status != EMIT_OK:
            return status == EMIT_FULL
        conn.tx_nxt += size
    return 0


cdef int is_better(const subflow_t *subflow, const subflow_t *best) noexcept nogil:
    """True for the one heard of last: a dead path with nothing in flight shows in no other way."""
    if subflow.suspect != best.suspect:
        return best.suspect
    if subflow.last_rx_ns != best.last_rx_ns:
        return subflow.last_rx_ns > best.last_rx_ns
    return subflow.srtt_ns and subflow.srtt_ns < best.srtt_ns


cdef subflow_t *transmit_subflow(conn_t *conn) noexcept nogil:
    cdef subflow_t *best = NULL
    cdef subflow_t *subflow
    cdef int i
    for i in range(SUBFLOW_MAX):
        subflow = conn.subflows[i]
        if not can_carry(subflow):
            continue
        if best == NULL or is_better(subflow, best):
            best = subflow
    return best


cdef void transmit_probes(plane_t *plane, conn_t *conn) noexcept nogil:
    cdef subflow_t *subflow
    cdef int i
    for i in range(SUBFLOW_MAX):
        subflow = conn.subflows[i]
        if can_carry(subflow) and emit_probe(plane, conn, subflow) == EMIT_OK:
            count(plane, COUNTER_PROBE_TX)
            # what breaks a silence is the answer; on other paths the next ACK may have left before
            if plane.now_ns - subflow.last_rx_ns >= sender_patience(subflow):
                subflow.question_ns = plane.now_ns


cdef int transmit_heard_since(const conn_t *conn, int64_t since_ns) noexcept nogil:
    cdef int i
    for i in range(SUBFLOW_MAX):
        if can_carry(conn.subflows[i]) and conn.subflows[i].last_rx_ns >= since_ns:
            return 1
    return 0


cdef void transmit_keys(plane_t *plane, conn_t *conn) noexcept nogil:
    """The peer takes nothing before it has our key (RFC 8684 §3.1), which a DATA_FIN alone does not bring."""
    if conn.role == ROLE_CLIENT and not conn.established and is_live(conn.subflows[0]):
        if conn.subflows[0].snd_nxt == 1:
            emit_ack(plane, conn, conn.subflows[0])


cdef int send_data_fin(plane_t *plane, conn_t *conn) noexcept nogil:
    """DATA_FIN once the last byte has been sent (RFC 8684 §3.3.3); 1 when the queue is full."""
    cdef subflow_t *subflow = transmit_subflow(conn)
    if subflow == NULL:
        return 0
    transmit_keys(plane, conn)
    if emit_data_fin(plane, conn, subflow) != EMIT_OK:
        return 1
    conn.fin_sent = 1
    conn.fin_ns = plane.now_ns + subflow.rto_ns
    return 0


cdef void arm_stream_timers(plane_t *plane, conn_t *conn) noexcept nogil:
    cdef subflow_t *subflow
    if conn.tx_una < conn.tx_nxt:
        if conn.data_rto_ns == NEVER:
            subflow = transmit_subflow(conn)
            if subflow != NULL:
                conn.data_rto_ns = plane.now_ns + sender_patience(subflow)
            doubt_wake(plane, conn)
    else:
        conn.data_rto_ns = NEVER
    if conn.tx_nxt < conn.tx_end and conn.tx_window <= conn.tx_nxt and conn.tx_una == conn.tx_nxt:
        if conn.persist_ns == NEVER:
            subflow = transmit_subflow(conn)
            if subflow != NULL:
                conn.persist_ns = plane.now_ns + sender_backed_off(subflow.rto_ns, conn.persist_tries)
    else:
        conn.persist_ns = NEVER
        conn.persist_tries = conn.persist_silent = 0
    if conn.fin_sent and not conn.fin_acked and conn.fin_ns == NEVER:
        subflow = transmit_subflow(conn)
        if subflow != NULL:
            conn.fin_ns = plane.now_ns + subflow.rto_ns


cdef int transmit_data(plane_t *plane, conn_t *conn) noexcept nogil:
    cdef int full = 0
    cdef int i
    for i in range(SUBFLOW_MAX):
        if not is_live(conn.subflows[i]) or not conn.subflows[i].lost_count:
            continue
        if conn.subflows[i].frto == FRTO_FORWARD:
            full |= send_forward(plane, conn, conn.subflows[i])
        else:
            full |= repair(plane, conn, conn.subflows[i])
    if conn.reinject_count and not full:
        full |= send_reinjections(plane, conn)
    if not full:
        full |= send_new(plane, conn)
    if not full and conn.tx_nxt == conn.tx_end:
        full |= hand_on(plane, conn)
    if conn.host_fin and not conn.fin_sent and conn.tx_nxt == conn.tx_fin:
        full |= send_data_fin(plane, conn)
    arm_stream_timers(plane, conn)
    # the host's data is on its way: packets of it that still wait have nothing to carry
    if conn.tx_nxt == conn.tx_end:
        carrier_drop_all(plane, conn)
    return full
