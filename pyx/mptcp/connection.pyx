"""A connection's data plane.

The host's socket is the connection level: its sequence numbers are the data sequence numbers, its ACK is the
DATA_ACK and its window the connection's window; it is told that the peer has what the peer has DATA_ACKed.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free

from mpcore.mptcp.output cimport (
    EMIT_FULL,
    EMIT_OK,
    emit_ack,
    emit_reset,
    inject,
    inject_reset,
    output_host_window,
)
from mpcore.mptcp.stream cimport stream_free, stream_has_memory, stream_only_subflow
from mpcore.mptcp.subflow cimport subflow_close, subflow_finish, subflow_reset
from mpcore.mptcp.timeouts cimport subflow_deadline, subflow_timeout, timers_of_stream
from mpcore.mptcp.transmit cimport transmit_data, transmit_heard_since, transmit_probes
from mpcore.mptcp.types cimport (
    CLOSE_FASTCLOSE,
    CLOSE_TIMEOUT,
    HOST_ACK_DUE,
    INJECT_MAX,
    NEVER,
    ROLE_CLIENT,
    RST_OUTSTANDING,
    RST_UNSPECIFIED,
    SF_CLOSE_WAIT,
    SF_TIME_WAIT,
    SUBFLOW_MAX,
    conn_t,
    count,
    is_live,
    mark_dirty,
    plane_t,
    subflow_t,
    unwrap,
)
from mpcore.store.counters cimport COUNTER_HOST_RETRANSMIT, COUNTER_MEMORY_REFUSED, COUNTER_OUT_OF_WINDOW
from mpcore.store.reorder cimport reorder_empty, reorder_free
from mpcore.store.ring cimport ring_clear, ring_init, ring_release, ring_trim, ring_write
from mpcore.wire.tcp cimport TCP_ACK, TCP_FIN, TCP_HAS_TIMESTAMP, TCP_PSH, TCP_RST, TCP_SYN, tcp_t


cdef enum:
    HOST_DUP_ACKS = 3
    HOST_TRIES = 15            # injections in a row without an answer before the socket is given up
    HOST_BACKOFF_MAX = 8
    SACK_BLOCKS = 2            # for which an ACK has room beside a time stamp and a DATA_ACK
    RANGES_SHOWN = 16          # that have grown since the last ACK


cdef int64_t HOST_RTO_NS = 200000000
cdef int64_t HOST_PROBE_NS = 60000000000


cdef int connection_init(plane_t *plane, conn_t *conn) noexcept nogil:
    if ring_init(&conn.tx_ring, &plane.pool, plane.send_span, 0) < 0:
        return -1
    if ring_init(&conn.rx_ring, &plane.pool, plane.receive_span, 0) < 0:
        ring_clear(&conn.tx_ring)
        return -1
    conn.fin_ns = conn.data_rto_ns = conn.persist_ns = conn.host_rto_ns = conn.close_ns = NEVER
    conn.host_probe_ns = NEVER
    return 0


cdef void connection_clear(plane_t *plane, conn_t *conn) noexcept nogil:
    ring_clear(&conn.tx_ring)
    ring_clear(&conn.rx_ring)
    reorder_free(conn.reorder)
    conn.reorder = NULL
    free(conn.reinject)
    free(conn.reinject_from)
    conn.reinject = NULL
    conn.reinject_from = NULL
    conn.reinject_count = conn.reinject_capacity = 0


# --- from the host

cdef int host_owes_ack(const conn_t *conn) noexcept nogil:
    """True while something that was injected is not acknowledged."""
    return conn.rx_acked < conn.rx_injected or (conn.rx_fin_injected and not conn.rx_fin_acked)


cdef void host_acked(plane_t *plane, conn_t *conn, uint64_t offset) noexcept nogil:
    if conn.rx_fin_injected and offset == conn.rx_fin + 1:
        offset = conn.rx_fin
        if not conn.rx_fin_acked:
            conn.rx_fin_acked = 1
            conn.data_ack_now = 1
    if offset > conn.rx_injected:
        return
    if offset > conn.rx_acked:
        conn.rx_acked = offset
        conn.host_dup_acks = 0
        conn.host_backoff = 0
        conn.data_ack_now = 1
        ring_release(&conn.rx_ring, offset)
        # an idle connection keeps no chunk
        if offset == conn.rx_nxt and (conn.reorder == NULL or reorder_empty(conn.reorder)):
            ring_trim(&conn.rx_ring)
    conn.host_rto_ns = NEVER
    if host_owes_ack(conn):
        arm_host_timer(plane, conn)


cdef void host_input_ack(plane_t *plane, conn_t *conn, const tcp_t *tcp) noexcept nogil:
    cdef uint64_t offset = unwrap(tcp.ack, conn.peer_isn + 1, conn.rx_acked)
    cdef uint64_t edge = conn.rx_acked
    cdef uint64_t before = conn.rx_acked
    conn.host_silent = 0
    host_acked(plane, conn, offset)
    edge = conn.rx_acked + (<uint64_t>tcp.window << conn.host_wscale)
    if edge > conn.rx_edge:
        # the peer is told at once only when it may be waiting for room (RFC 9293 §3.8.6.2.2)
        if conn.rx_advertised < conn.rx_nxt + 4 * conn.host_mss:
            conn.data_ack_now = 1
        conn.rx_edge = edge
    elif tcp.payload_size == 0 and offset == before and before < conn.rx_injected and not tcp.flags & TCP_FIN:
        if conn.host_dup_acks < 255:
            conn.host_dup_acks += 1
        if conn.host_dup_acks == HOST_DUP_ACKS:
            conn.rx_injected = conn.rx_acked


cdef void host_asks(plane_t *plane, conn_t *conn) noexcept nogil:
    """The socket probes for the window or for life (RFC 9293 §3.8.4, §3.8.6.1): the peer is asked.

    What is known is answered at once, unless the peer gave no sign since the last time.
    """
    if conn.asked_ns == 0 or transmit_heard_since(conn, conn.asked_ns):
        conn.host_ack_now = HOST_ACK_DUE
    conn.asked_ns = plane.now_ns
    transmit_probes(plane, conn)


cdef void host_input_data(plane_t *plane, conn_t *conn, const tcp_t *tcp) noexcept nogil:
    """Take the socket's bytes into the send ring; what it repeats, it repeats because our ACK is late."""
    cdef uint64_t offset = unwrap(tcp.seq, conn.host_isn + 1, conn.tx_end)
    cdef uint64_t end = offset + tcp.payload_size
    cdef uint32_t old = 0
    if conn.host_fin and offset == conn.tx_fin + 1 and tcp.payload_size == 0 and not tcp.flags & TCP_FIN:
        return
    # a keepalive before the first byte has the number of the SYN: it is old, not ahead
    if <int64_t>(offset - conn.tx_end) > 0 or (conn.host_fin and <int64_t>(end - conn.tx_fin) > 0):
        conn.host_ack_now = HOST_ACK_DUE
        if tcp.payload_size:
            count(plane, COUNTER_OUT_OF_WINDOW)
        return
    if <int64_t>(end - conn.tx_end) <= 0:
        if tcp.payload_size:
            count(plane, COUNTER_HOST_RETRANSMIT)
            conn.host_ack_now = HOST_ACK_DUE
        elif offset != conn.tx_end:
            host_asks(plane, conn)
    else:
        old = <uint32_t>(conn.tx_end - offset)
        if not stream_has_memory(plane, &conn.tx_ring, conn.tx_end, tcp.payload_size - old) or (
                ring_write(&conn.tx_ring, conn.tx_end, tcp.payload + old, tcp.payload_size - old) < 0):
            count(plane, COUNTER_MEMORY_REFUSED)
            conn.host_ack_now = HOST_ACK_DUE
            return
        conn.tx_end = end
        conn.bytes_sent += tcp.payload_size - old
    if tcp.flags & TCP_FIN and end == conn.tx_end:
        if conn.host_fin:
            conn.host_ack_now = HOST_ACK_DUE
        conn.host_fin = 1
        conn.tx_fin = conn.tx_end


cdef void note_stamp(conn_t *conn, const tcp_t *tcp) noexcept nogil:
    """Remember the socket's stamp until the ACK for the data that it came with (RFC 7323 §4.3).

    Our ACKs wait for the peer's: the newest stamp would show a round trip of nothing, and hide that what the
    socket repeats was only late. One stamp a round trip is enough; between them an older one is echoed.
    """
    cdef uint64_t end = unwrap(tcp.seq, conn.host_isn + 1, conn.tx_end) + tcp.payload_size
    if conn.tx_una == conn.tx_end:
        conn.host_ts_recent = tcp.ts_val
    elif conn.host_mark_end <= conn.tx_una and <int64_t>(end - conn.tx_end) > 0:
        conn.host_mark_end = end
        conn.host_mark_ts = tcp.ts_val


cdef int connection_from_host(plane_t *plane, conn_t *conn, const tcp_t *tcp) noexcept nogil:
    cdef subflow_t *first = conn.subflows[0]
    mark_dirty(plane, conn)
    if tcp.flags & TCP_SYN:
        if tcp.flags & TCP_ACK:
            conn.host_ack_now = HOST_ACK_DUE
            return HOST_CONSUMED
        return HOST_ANEW
    if tcp.flags & TCP_RST:
        # once both streams are acknowledged the socket may be gone, and nothing is lost
        if not is_complete(conn):
            connection_abort(plane, conn, 0, 1)
        return HOST_CONSUMED
    if tcp.has & TCP_HAS_TIMESTAMP:
        note_stamp(conn, tcp)
    if tcp.flags & TCP_ACK:
        host_input_ack(plane, conn, tcp)
    host_input_data(plane, conn, tcp)
    # its first ACK ends the handshake towards the peer too
    if conn.role == ROLE_CLIENT and not conn.capable_sent and is_live(first):
        emit_ack(plane, conn, first)
    return HOST_CONSUMED


# --- towards the host

cdef void arm_host_timer(plane_t *plane, conn_t *conn) noexcept nogil:
    if conn.host_rto_ns == NEVER:
        conn.host_rto_ns = plane.now_ns + (HOST_RTO_NS << conn.host_backoff)


cdef int pump_host(plane_t *plane, conn_t *conn) noexcept nogil:
    """Inject what is in order and in the socket's window; 1 when the transmit queue is full."""
    cdef uint64_t last = min(conn.rx_nxt, conn.rx_fin) if conn.rx_fin_seen else conn.rx_nxt
    # what waits when the connection falls back is not kept for later
    cdef uint64_t end = last if conn.fell_back else min(last, conn.rx_edge)
    cdef uint64_t left
    cdef uint32_t size
    while conn.rx_injected < end:
        left = end - conn.rx_injected
        size = <uint32_t>(left if left < INJECT_MAX else INJECT_MAX)
        if inject(plane, conn, conn.rx_injected, size, TCP_PSH if size == left else 0) != EMIT_OK:
            return 1
        conn.rx_injected += size
        arm_host_timer(plane, conn)
    if conn.rx_fin_seen and not conn.rx_fin_injected and conn.rx_injected == conn.rx_fin:
        if inject(plane, conn, conn.rx_fin, 0, TCP_FIN) != EMIT_OK:
            return 1
        conn.rx_fin_injected = 1
        arm_host_timer(plane, conn)
    if conn.rx_injected < last:
        # the news that the window has opened may be lost
        arm_host_timer(plane, conn)
    return 0


cdef int ack_host(plane_t *plane, conn_t *conn) noexcept nogil:
    return inject(plane, conn, conn.rx_injected + (1 if conn.rx_fin_injected else 0), 0, 0)


# --- end

cdef int is_complete(const conn_t *conn) noexcept nogil:
    """Both streams are closed and acknowledged (RFC 8684 §3.3.3)."""
    return conn.fin_acked and conn.rx_fin_acked


cdef int close_subflows(plane_t *plane, conn_t *conn) noexcept nogil:
    """1 when the transmit queue is full."""
    cdef int full = 0
    cdef int i
    for i in range(SUBFLOW_MAX):
        if not is_live(conn.subflows[i]):
            continue
        if conn.subflows[i].suspect:
            # only duplicates are left on it (RFC 8684 §3.6, reason 4)
            subflow_reset(plane, conn, conn.subflows[i], RST_OUTSTANDING, CLOSE_TIMEOUT)
        elif subflow_finish(plane, conn, conn.subflows[i]) == EMIT_FULL:
            full = 1
    return full


cdef int finish_subflows(plane_t *plane, conn_t *conn) noexcept nogil:
    """Send the FINs that are due: on subflows to be left, and where the peer's came and others carry on.

    1 when the transmit queue is full.
    """
    cdef subflow_t *subflow
    cdef int full = 0
    cdef int i
    for i in range(SUBFLOW_MAX):
        subflow = conn.subflows[i]
        if subflow == NULL or subflow.fin_sent:
            continue
        if subflow.leaving or (subflow.state == SF_CLOSE_WAIT and not stream_only_subflow(conn, subflow)):
            if subflow_finish(plane, conn, subflow) == EMIT_FULL:
                full = 1
    return full


cdef int has_subflow(const conn_t *conn) noexcept nogil:
    cdef int i
    for i in range(SUBFLOW_MAX):
        if is_live(conn.subflows[i]):
            return 1
    return 0


cdef int may_go_on(const conn_t *conn) noexcept nogil:
    """True while a subflow lives that can bring something, or brings the peer what is left to send.

    Where the peer's FIN came on all of them and no DATA_FIN, only a new path can help (RFC 8684 §3.3.3).
    """
    cdef int owes = conn.tx_una < conn.tx_end or (conn.host_fin and not conn.fin_acked)
    cdef int i
    for i in range(SUBFLOW_MAX):
        if is_live(conn.subflows[i]) and (owes or conn.subflows[i].state != SF_CLOSE_WAIT):
            return 1
    return 0


cdef int connection_is_over(const conn_t *conn) noexcept nogil:
    return is_complete(conn) and not has_subflow(conn)


cdef void check_end(plane_t *plane, conn_t *conn) noexcept nogil:
    """Without a subflow of use a finished connection lingers, another one waits for a path (RFC 8684 §3.4).

    Late are packets of the first subflow, which the socket would take for its own, and the socket's last
    words.
    """
    if may_go_on(conn):
        conn.close_ns = NEVER
    elif conn.close_ns == NEVER:
        conn.close_ns = plane.now_ns + (plane.time_wait_ns if is_complete(conn) else plane.close_timeout_ns)


cdef void close_timeout(plane_t *plane, conn_t *conn) noexcept nogil:
    """The linger is over, or no path came."""
    if is_complete(conn):
        conn.gone = 1
    else:
        connection_abort(plane, conn, 1, 0)


cdef void connection_abort(plane_t *plane, conn_t *conn, int tell_host, int tell_peer) noexcept nogil:
    cdef subflow_t *subflow
    cdef int i
    if tell_host:
        inject_reset(plane, conn)
    for i in range(SUBFLOW_MAX):
        subflow = conn.subflows[i]
        if is_live(subflow):
            emit_reset(plane, conn, subflow, RST_UNSPECIFIED, tell_peer)
            subflow_close(plane, conn, subflow, CLOSE_FASTCLOSE)
    conn.gone = 1


# --- due

cdef int connection_pump(plane_t *plane, conn_t *conn) noexcept nogil:
    cdef int full
    if conn.gone:
        return 0
    if conn.aborted:
        connection_abort(plane, conn, 1, 0)
        return 0
    full = pump_host(plane, conn)
    if conn.fell_back:
        conn.gone = not full
        return full
    full |= transmit_data(plane, conn)
    if is_complete(conn):
        full |= close_subflows(plane, conn)
    else:
        full |= finish_subflows(plane, conn)
    stream_free(conn)
    if conn.tx_ring.head == conn.tx_end and conn.tx_end == conn.tx_una:
        ring_trim(&conn.tx_ring)
    check_end(plane, conn)
    arm_host_probe(plane, conn)
    return full


cdef int ack_ranges(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    """Show the ranges for which the next ACK has no room, oldest first: it shows the newest (RFC 2018 §4)."""
    cdef uint32_t newest = subflow.ooo_last
    cdef uint32_t hidden = min(min(subflow.ooo_fresh, subflow.ooo_count), <uint32_t>RANGES_SHOWN)
    cdef int status = EMIT_OK
    while hidden > SACK_BLOCKS and status == EMIT_OK:
        hidden -= SACK_BLOCKS
        subflow.ooo_last = (newest + subflow.ooo_count - hidden) % subflow.ooo_count
        status = emit_ack(plane, conn, subflow)
    subflow.ooo_last = newest
    subflow.ack_now |= status != EMIT_OK
    return status != EMIT_OK


cdef int ack_peer(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    """Send the ACK that is owed at once: it covers all that came with it (RFC 9293 §3.8.6.3)."""
    cdef int copies = max(<int>subflow.duplicates, 1)
    cdef int _i
    if subflow.sack and ack_ranges(plane, conn, subflow):
        return 1
    subflow.duplicates = 0
    for _i in range(copies):
        if emit_ack(plane, conn, subflow) != EMIT_OK:
            return 1
    return 0


cdef void connection_flush(plane_t *plane, conn_t *conn) noexcept nogil:
    cdef subflow_t *subflow
    cdef int full = 0
    cdef int i
    if conn.gone or conn.fell_back:
        return
    for i in range(SUBFLOW_MAX):
        subflow = conn.subflows[i]
        if subflow != NULL and (subflow.ack_now or subflow.duplicates) and (
                is_live(subflow) or subflow.state == SF_TIME_WAIT):
            full |= ack_peer(plane, conn, subflow)
    if conn.data_ack_now:
        full |= flush_data_ack(plane, conn)
    if conn.host_ack_now == HOST_ACK_DUE or (
            conn.host_ack_now and output_host_window(conn) != conn.host_window_field):
        full |= ack_host(plane, conn)
    else:
        conn.host_ack_now = 0
    if full:
        # a queue was full: what is still owed goes with the next flush
        mark_dirty(plane, conn)


cdef int flush_data_ack(plane_t *plane, conn_t *conn) noexcept nogil:
    """DATA_ACK moved and no segment carried it: on the subflow that brought the data, else on any."""
    cdef subflow_t *subflow = conn.subflows[conn.last_rx]
    cdef int i = 0
    while not is_live(subflow) and i < SUBFLOW_MAX:
        subflow = conn.subflows[i]
        i += 1
    if is_live(subflow):
        return emit_ack(plane, conn, subflow)
    return 0


# --- timers

cdef void ask_host(plane_t *plane, conn_t *conn) noexcept nogil:
    """Old news for the socket (RFC 9293 §3.8.4): an ACK comes back, or a RST when it is gone."""
    inject(plane, conn, conn.rx_injected - 1, 0, 0)


cdef void host_timeout(plane_t *plane, conn_t *conn) noexcept nogil:
    """The socket did not acknowledge what was injected: give it again, or ask for its window.

    For ever as long as it answers (RFC 9293 §3.8.6.1).
    """
    conn.host_silent += 1
    if conn.host_silent > HOST_TRIES:
        connection_abort(plane, conn, 1, 1)
        return
    if conn.host_backoff < HOST_BACKOFF_MAX:
        conn.host_backoff += 1
    if host_owes_ack(conn):
        conn.rx_injected = conn.rx_acked
        conn.rx_fin_injected = conn.rx_fin_acked
    else:
        ask_host(plane, conn)
    conn.host_rto_ns = NEVER
    arm_host_timer(plane, conn)


cdef void arm_host_probe(plane_t *plane, conn_t *conn) noexcept nogil:
    """A program that closed and went leaves a socket that its host gives up in silence after a while.

    So does one whose data the peer does not take.
    """
    cdef int stalled = conn.data_backoff or conn.persist_tries
    if not stalled and (not conn.fin_acked or conn.rx_fin_seen):
        conn.host_probe_ns = NEVER
    elif conn.host_probe_ns == NEVER:
        conn.host_probe_ns = plane.now_ns + HOST_PROBE_NS


cdef void probe_host(plane_t *plane, conn_t *conn) noexcept nogil:
    conn.host_probe_ns = NEVER
    ask_host(plane, conn)


cdef void connection_timeout(plane_t *plane, conn_t *conn) noexcept nogil:
    cdef int i
    if conn.fell_back:
        mark_dirty(plane, conn)
        return
    for i in range(SUBFLOW_MAX):
        if conn.subflows[i] != NULL:
            subflow_timeout(plane, conn, conn.subflows[i])
    if conn.host_rto_ns <= plane.now_ns:
        host_timeout(plane, conn)
    if conn.host_probe_ns <= plane.now_ns:
        probe_host(plane, conn)
    timers_of_stream(plane, conn)
    if conn.close_ns <= plane.now_ns:
        close_timeout(plane, conn)
    mark_dirty(plane, conn)


cdef int64_t connection_deadline(const conn_t *conn) noexcept nogil:
    cdef int64_t deadline = min(min(conn.fin_ns, conn.data_rto_ns), min(conn.persist_ns, conn.host_rto_ns))
    cdef int64_t other
    cdef int i
    deadline = min(deadline, min(conn.close_ns, conn.host_probe_ns))
    for i in range(SUBFLOW_MAX):
        if conn.subflows[i] != NULL:
            other = subflow_deadline(conn.subflows[i])
            deadline = min(deadline, other)
    return deadline
