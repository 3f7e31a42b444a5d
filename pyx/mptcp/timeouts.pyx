"""What happens when a timer of a subflow or of the stream fires."""

from libc.stdint cimport int64_t, uint32_t

from mpcore.mptcp.acking cimport acking_timeout
from mpcore.mptcp.connection cimport connection_abort
from mpcore.mptcp.doubt cimport doubt_timeout
from mpcore.mptcp.output cimport EMIT_OK, emit_ack, emit_data_fin
from mpcore.mptcp.pathmtu cimport pathmtu_again, pathmtu_timeout
from mpcore.mptcp.sender cimport (
    segment_at,
    sender_arm,
    sender_backed_off,
    sender_expected,
    sender_oldest_data,
    sender_owed_since,
    sender_patience,
    sender_reorder_timeout,
    sender_timeout,
    sender_window_closed,
)
from mpcore.mptcp.stream cimport (
    stream_detach,
    stream_only_subflow,
    stream_reinject,
    stream_reinject_head,
    stream_reinject_range,
)
from mpcore.mptcp.subflow cimport SF_IN_EXPIRED, subflow_close, subflow_step
from mpcore.mptcp.transmit cimport (
    transmit_again,
    transmit_heard_since,
    transmit_keys,
    transmit_probes,
    transmit_subflow,
)
from mpcore.mptcp.types cimport (
    CLOSE_FIN,
    CLOSE_TIMEOUT,
    NEVER,
    SEG_SACKED,
    SF_CLOSED,
    SF_PRE_ESTABLISHED,
    SUBFLOW_MAX,
    can_carry,
    conn_t,
    count,
    plane_t,
    segment_t,
    subflow_t,
)
from mpcore.store.counters cimport COUNTER_DATA_TIMEOUT, COUNTER_SUBFLOW_STALE, COUNTER_SUBFLOW_TAIL_PROBE


cdef enum:
    JOIN_TRIES = 5             # third ACKs of a join before it is given up
    BACKOFF_MAX = 6            # doublings of the timers of DATA_FIN, data and window probes
    SILENT_TRIES = 12          # of these without any answer before the paths are given up
    DATA_TRIES = 15            # repeats in a row that no DATA_ACK answered before the connection is given up


cdef int64_t LOOK_AGAIN_NS = 5000000     # at a path that is late, for a sign that the others are not


cdef void join_timeout(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    """Repeat the third ACK until the fourth comes (RFC 8684 §3.2)."""
    subflow.join_tries += 1
    if subflow.join_tries > JOIN_TRIES:
        subflow_close(plane, conn, subflow, CLOSE_TIMEOUT)
        return
    emit_ack(plane, conn, subflow)
    subflow.join_ns = plane.now_ns + sender_backed_off(subflow.rto_ns, subflow.join_tries)


cdef void tail_probe(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    """Resend the last segment so that a lost tail shows as SACK and not as a timeout (RFC 8985 §7.3).

    Not new data, as on a single path: that would be bound to a path in doubt. What finds no room in the queue
    was not sent, and the timer goes on.
    """
    cdef segment_t *segment
    cdef uint32_t i
    subflow.probe_at_ns = NEVER
    if subflow.seg_count:
        pathmtu_again(plane, subflow, segment_at(subflow, subflow.seg_count - 1))
    i = subflow.seg_count
    while i:
        i -= 1
        segment = segment_at(subflow, i)
        if not segment.flags & SEG_SACKED:
            if transmit_again(plane, conn, subflow, segment) != EMIT_OK:
                return
            count(plane, COUNTER_SUBFLOW_TAIL_PROBE)
            subflow.probe_end = subflow.snd_nxt
            break
    subflow.probed = 1
    sender_arm(plane, subflow)


cdef int64_t patient_until(const subflow_t *subflow) noexcept nogil:
    """When silence means a dead path even to a receiver that delays ACKs, or after a pause of either host."""
    # the answer to a tail loss probe is waited for as well
    cdef int64_t since = max(subflow.answered_ns, subflow.sent_ns) if subflow.probed else subflow.answered_ns
    return since + sender_patience(subflow)


cdef int64_t due_at(const subflow_t *subflow) noexcept nogil:
    cdef int64_t since = sender_owed_since(subflow)
    return NEVER if since == NEVER else since + sender_expected(subflow)


cdef int is_overdue(const plane_t *plane, const conn_t *conn, const subflow_t *subflow) noexcept nogil:
    """True when an ACK that may not be withheld is late, and another path was heard of meanwhile.

    In the second half of the wait, which shows that neither this host nor the peer has paused.
    """
    cdef const subflow_t *other
    cdef int64_t due = due_at(subflow)
    cdef int i
    if plane.now_ns < due:
        return 0
    for i in range(SUBFLOW_MAX):
        other = conn.subflows[i]
        if other == subflow or not can_carry(other) or other.suspect:
            continue
        if other.last_rx_ns > due - sender_expected(subflow) // 2:
            return 1
    return 0


cdef void silence(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    """No answer is there yet: see whether that is too long.

    A path that is silent only for want of data, which waits for what this one carries, is given the oldest of
    it: its answer decides.
    """
    cdef const segment_t *oldest
    cdef int64_t until = patient_until(subflow)
    if plane.now_ns >= until or is_overdue(plane, conn, subflow):
        relieve(plane, conn, subflow)
        return
    if not subflow.suspect and plane.now_ns >= due_at(subflow) and has_idle(conn, subflow):
        oldest = segment_at(subflow, 0)
        stream_reinject_range(plane, conn, oldest.data, oldest.data + min(oldest.size, subflow.mss),
                              subflow.index)
    subflow.suspect_at_ns = min(max(due_at(subflow), plane.now_ns + LOOK_AGAIN_NS), until)


cdef void relieve(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    """While other paths answer, they carry the data of this one too (RFC 8684 §3.3.6).

    Its window is not touched: it stays in use for its own repairs, and is taken back with its first ACK.
    """
    subflow.suspect_at_ns = NEVER
    if subflow.suspect or not has_better(conn, subflow):
        return
    subflow.suspect = 1
    count(plane, COUNTER_SUBFLOW_STALE)
    stream_reinject(plane, conn, subflow, 0)
    stream_detach(plane, conn, subflow)


cdef int has_idle(const conn_t *conn, const subflow_t *subflow) noexcept nogil:
    cdef const subflow_t *other
    cdef int i
    for i in range(SUBFLOW_MAX):
        other = conn.subflows[i]
        if other != subflow and can_carry(other) and not other.suspect and other.seg_count == 0:
            return 1
    return 0


cdef int has_better(const conn_t *conn, const subflow_t *subflow) noexcept nogil:
    cdef int i
    for i in range(SUBFLOW_MAX):
        if conn.subflows[i] != subflow and can_carry(conn.subflows[i]) and not conn.subflows[i].suspect:
            return 1
    return 0


cdef void retransmission_timeout(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    cdef int fresh = not subflow.suspect
    if sender_timeout(plane, subflow) < 0:
        subflow_close(plane, conn, subflow, CLOSE_TIMEOUT)
        return
    pathmtu_timeout(plane, subflow)
    if fresh:
        count(plane, COUNTER_SUBFLOW_STALE)
    # what this path may have swallowed goes elsewhere (RFC 8684 §3.3.6)
    if not stream_only_subflow(conn, subflow):
        stream_reinject(plane, conn, subflow, 0)
        stream_detach(plane, conn, subflow)


cdef void subflow_timeout(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    cdef int64_t now = plane.now_ns
    if subflow.state == SF_PRE_ESTABLISHED and subflow.join_ns <= now:
        join_timeout(plane, conn, subflow)
    if subflow.pace_at_ns <= now:
        subflow.pace_at_ns = NEVER
    if subflow.reorder_ns <= now:
        sender_reorder_timeout(plane, subflow)
    if subflow.probe_at_ns <= now:
        tail_probe(plane, conn, subflow)
    if subflow.suspect_at_ns <= now:
        silence(plane, conn, subflow)
    if subflow.rto_at_ns <= now:
        retransmission_timeout(plane, conn, subflow)
    acking_timeout(plane, subflow)
    doubt_timeout(plane, conn, subflow)
    if subflow.wait_ns <= now and subflow_step(plane, subflow, SF_IN_EXPIRED):
        subflow_close(plane, conn, subflow, CLOSE_FIN)


cdef int64_t subflow_deadline(const subflow_t *subflow) noexcept nogil:
    cdef int64_t sending = min(min(subflow.reorder_ns, subflow.probe_at_ns),
                               min(subflow.rto_at_ns, subflow.pace_at_ns))
    cdef int64_t doubting = min(subflow.suspect_at_ns, subflow.ask_at_ns)
    if subflow.state == SF_CLOSED:
        return NEVER
    return min(min(sending, doubting), min(min(subflow.join_ns, subflow.wait_ns), subflow.ack_at_ns))


# --- the stream's timers

cdef void give_up(plane_t *plane, conn_t *conn) noexcept nogil:
    """Nothing comes back on any path: they are closed, the connection waits for a new one (RFC 8684 §3.4)."""
    cdef int i
    for i in range(SUBFLOW_MAX):
        if can_carry(conn.subflows[i]):
            subflow_close(plane, conn, conn.subflows[i], CLOSE_TIMEOUT)


cdef void data_fin_timeout(plane_t *plane, conn_t *conn) noexcept nogil:
    """Repeat DATA_FIN on every subflow: with nothing in flight, none is known to be dead."""
    cdef subflow_t *subflow = transmit_subflow(conn)
    cdef int i
    conn.fin_ns = NEVER
    if conn.fin_acked or subflow == NULL:
        return
    conn.fin_tries += 1
    if conn.fin_tries > SILENT_TRIES:
        conn.fin_tries = 0
        give_up(plane, conn)
        return
    conn.fin_ns = plane.now_ns + sender_backed_off(subflow.rto_ns, min(conn.fin_tries, BACKOFF_MAX))
    transmit_keys(plane, conn)
    for i in range(SUBFLOW_MAX):
        if can_carry(conn.subflows[i]):
            emit_data_fin(plane, conn, conn.subflows[i])


cdef int head_in_flight(const conn_t *conn) noexcept nogil:
    """True while a subflow that answers still repairs the oldest data itself."""
    cdef int i
    for i in range(SUBFLOW_MAX):
        if can_carry(conn.subflows[i]) and not conn.subflows[i].suspect:
            if sender_oldest_data(conn.subflows[i]) <= conn.tx_una:
                return 1
    return 0


cdef void data_timeout(plane_t *plane, conn_t *conn) noexcept nogil:
    """A subflow has the head acknowledged, the peer's data level not: send it again (RFC 8684 §3.3.6).

    First every path is asked for the DATA_ACK, also when a subflow waits in silence for the head's own
    acknowledgement: the last one may have been lost, or the peer took in the data without telling again. A
    peer whose window is closed may have dropped it, and takes its time (RFC 9293 §3.8.6.1). Any other is
    given up in the end (§3.8.3).
    """
    cdef subflow_t *subflow = transmit_subflow(conn)
    cdef int64_t silent_ns
    conn.data_rto_ns = NEVER
    if subflow == NULL or conn.tx_una == conn.tx_nxt:
        return
    if not conn.data_asked:
        silent_ns = subflow.last_rx_ns + sender_patience(subflow)
        if head_in_flight(conn) and plane.now_ns < silent_ns:
            conn.data_rto_ns = silent_ns
            return
        conn.data_asked = 1
        transmit_probes(plane, conn)
    elif not head_in_flight(conn):
        conn.data_tries = 0 if sender_window_closed(subflow) else conn.data_tries + 1
        if conn.data_tries > DATA_TRIES:
            connection_abort(plane, conn, 1, 1)
            return
        count(plane, COUNTER_DATA_TIMEOUT)
        stream_reinject_head(plane, conn, subflow.mss)
        conn.data_recover = conn.tx_nxt
        if conn.data_backoff < BACKOFF_MAX:
            conn.data_backoff += 1
    conn.data_rto_ns = plane.now_ns + sender_backed_off(2 * subflow.rto_ns, conn.data_backoff)


cdef void persist_timeout(plane_t *plane, conn_t *conn) noexcept nogil:
    """Ask for the window; for ever as long as there are answers (RFC 9293 §3.8.6.1)."""
    cdef subflow_t *subflow = transmit_subflow(conn)
    conn.persist_ns = NEVER
    if subflow == NULL:
        return
    conn.persist_silent = 0 if transmit_heard_since(conn, conn.persist_sent_ns) else conn.persist_silent + 1
    if conn.persist_silent > SILENT_TRIES:
        conn.persist_silent = 0
        give_up(plane, conn)
        return
    conn.persist_sent_ns = plane.now_ns
    if conn.persist_tries < BACKOFF_MAX:
        conn.persist_tries += 1
    conn.persist_ns = plane.now_ns + sender_backed_off(subflow.rto_ns, conn.persist_tries)
    transmit_probes(plane, conn)


cdef void timers_of_stream(plane_t *plane, conn_t *conn) noexcept nogil:
    if conn.fin_ns <= plane.now_ns:
        data_fin_timeout(plane, conn)
    if conn.data_rto_ns <= plane.now_ns:
        data_timeout(plane, conn)
    if conn.persist_ns <= plane.now_ns:
        persist_timeout(plane, conn)
