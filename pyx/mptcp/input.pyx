"""A segment that arrived on a subflow.

The order is TCP's (RFC 9293 §3.10.7.4 with RFC 5961): window, timestamps, RST, SYN, ACK; only then are MPTCP
options obeyed (RFC 8684 §3: what TCP refuses has no MPTCP meaning either), and last the data.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from mpcore.mptcp.acking cimport acking_received
from mpcore.mptcp.doubt cimport doubt_take_over
from mpcore.mptcp.ecn cimport ecn_received
from mpcore.mptcp.mapping cimport (
    MAP_CORRUPT,
    MAP_INFINITE,
    MAP_NONE,
    MAP_OK,
    MAP_REFUSED,
    mapping_deliver,
    mapping_find,
    mapping_held,
    mapping_surrender,
)
from mpcore.mptcp.output cimport EMIT_OK, emit_failure, emit_infinite, emit_option
from mpcore.mptcp.received cimport received_clear, received_gap, received_has_place, received_note
from mpcore.mptcp.sender cimport sender_ack
from mpcore.mptcp.stream cimport stream_acked, stream_end, stream_only_subflow
from mpcore.mptcp.subflow cimport (
    SF_IN_FIN,
    SF_IN_FIN_ACKED,
    SF_IN_FOURTH_ACK,
    subflow_close,
    subflow_reset,
    subflow_step,
)
from mpcore.mptcp.types cimport (
    CLOSE_FASTCLOSE,
    CLOSE_FIN,
    CLOSE_MIDDLEBOX,
    CLOSE_REFUSED,
    CLOSE_REFUSED_NOW,
    CLOSE_RESET,
    EVENT_ESTABLISHED,
    EVENT_FELL_BACK,
    EVENT_OPTION,
    EVENT_SUBFLOW_ESTABLISHED,
    FALLBACK_CHECKSUM,
    FALLBACK_INFINITE,
    FALLBACK_NO_DSS,
    HOST_ACK_IF_OPENED,
    NEVER,
    ROLE_CLIENT,
    ROLE_SERVER,
    RST_MIDDLEBOX,
    RST_MPTCP,
    SF_CLOSED,
    SF_PRE_ESTABLISHED,
    SF_TIME_WAIT,
    conn_t,
    count,
    event_t,
    mapping_t,
    mark_dirty,
    new_event,
    plane_t,
    subflow_t,
    unwrap,
)
from mpcore.store.counters cimport (
    COUNTER_ACK_AHEAD,
    COUNTER_ACK_OLD,
    COUNTER_CHALLENGE_ACK,
    COUNTER_DATA_ACK_AHEAD,
    COUNTER_DATA_AFTER_FIN,
    COUNTER_DATA_CSUM_ERR,
    COUNTER_DATA_FIN_REFUSED,
    COUNTER_DSS_CORRUPTION_FALLBACK,
    COUNTER_DSS_CORRUPTION_RESET,
    COUNTER_DSS_FALLBACK,
    COUNTER_DSS_NO_MATCH_TCP,
    COUNTER_FAIL_IGNORED,
    COUNTER_FAIL_RX,
    COUNTER_FAIL_TX,
    COUNTER_FASTCLOSE_BAD_KEY,
    COUNTER_FASTCLOSE_RX,
    COUNTER_INFINITE_MAP_REFUSED,
    COUNTER_INFINITE_MAP_RX,
    COUNTER_INFINITE_MAP_TX,
    COUNTER_MALFORMED_OPTION,
    COUNTER_MIDDLEBOX_RESET,
    COUNTER_MISPLACED_OPTION,
    COUNTER_MPCAPABLE_DATA_FALLBACK,
    COUNTER_NO_ACK_FLAG,
    COUNTER_OUT_OF_WINDOW,
    COUNTER_PAWS_DROPPED,
    COUNTER_RANGES_FULL,
    COUNTER_RESET_IGNORED,
    COUNTER_RST_RX,
    COUNTER_SYN_IGNORED,
    COUNTER_UNMAPPED_DATA,
    COUNTER_URGENT_RX,
)
from mpcore.wire.checksum cimport checksum_dss
from mpcore.wire.mptcp cimport (
    DSS_ACK,
    DSS_ACK64,
    DSS_FIN,
    DSS_MAP,
    DSS_SEQ64,
    MP_ADD_ADDR,
    MP_CAPABLE,
    MP_DSS,
    MP_FAIL,
    MP_FASTCLOSE,
    MP_JOIN,
    MP_PRIO,
    MP_TCPRST,
    expand_data_seq,
    mptcp_emit_fail,
    mptcp_parse,
    mptcp_t,
)
from mpcore.wire.tcp cimport TCP_ACK, TCP_CWR, TCP_FIN, TCP_HAS_TIMESTAMP, TCP_RST, TCP_SYN, TCP_URG, tcp_t


cdef enum:
    CHALLENGES = 10            # challenge ACKs a second and subflow (RFC 5961 §7)
    SECOND_NS = 1000000000
    MS = 1000000
    DUPLICATES_MAX = 8         # duplicate ACKs of one moment: more tell nothing new
    RST_TRANSIENT = 0x01       # flag T of MP_TCPRST
    UNMAPPED_MAX = 16          # unmapped segments before the subflow is given up (RFC 8684 §3.3.1)
    WINDOW_LEAST = 65535       # what a peer may have out although no larger window was seen


cdef enum:
    OF_RESET = 1 << MP_TCPRST | 1 << MP_FASTCLOSE | 1 << MP_FAIL     # what a RST may carry, subtypes as bits


cdef int64_t TIMESTAMP_LIFE_NS = 24 * 86400 * <int64_t>SECOND_NS    # RFC 7323 §5.5


# --- TCP's checks

cdef void challenge(plane_t *plane, subflow_t *subflow) noexcept nogil:
    """Owe an ACK that shows the true numbers, within the budget of RFC 5961 §7."""
    if plane.now_ns - subflow.challenge_ns >= SECOND_NS:
        subflow.challenge_ns = plane.now_ns
        subflow.challenge_count = 0
    if subflow.challenge_count < CHALLENGES:
        subflow.challenge_count += 1
        subflow.ack_now = 1
        count(plane, COUNTER_CHALLENGE_ACK)


cdef uint64_t window_edge(const conn_t *conn, const subflow_t *subflow) noexcept nogil:
    """Subflow offset up to which segments are taken: the window is the connection's (RFC 8684 §3.3.4)."""
    cdef uint64_t shared = conn.rx_advertised - conn.rx_acked if conn.rx_advertised > conn.rx_acked else 0
    return max(subflow.rcv_max, subflow.rcv_nxt + shared)


cdef void misplaced(plane_t *plane, mptcp_t *options, uint16_t subtypes) noexcept nogil:
    """Ignore options of these subtypes, and count them (RFC 8684 §3)."""
    cdef int subtype
    for subtype in range(MP_TCPRST + 1):
        if options.seen & subtypes & 1 << subtype:
            count(plane, COUNTER_MISPLACED_OPTION)
    options.seen &= <uint16_t>~subtypes


cdef int bad_fastclose(plane_t *plane, const conn_t *conn, const mptcp_t *options) noexcept nogil:
    """True when there is no MP_FASTCLOSE with our key; one with another is ignored (RFC 8684 §3.5)."""
    if not options.seen >> MP_FASTCLOSE & 1:
        return 1
    if options.fastclose_key == conn.key_local:
        return 0
    count(plane, COUNTER_FASTCLOSE_BAD_KEY)
    return 1


cdef void input_reset(plane_t *plane, conn_t *conn, subflow_t *subflow, uint64_t seq,
                      mptcp_t *options) noexcept nogil:
    """RFC 5961 §3.2: only the exact next number resets; MP_FASTCLOSE ends the connection (RFC 8684 §3.5)."""
    cdef uint8_t reason = CLOSE_RESET
    if seq != subflow.rcv_nxt:
        if seq > subflow.rcv_nxt and seq <= window_edge(conn, subflow):
            if conn.fin_acked and conn.rx_fin_acked:
                # both streams are whole: nothing can be lost, and who forgot the subflow answers no challenge
                subflow_close(plane, conn, subflow, CLOSE_RESET)
                return
            challenge(plane, subflow)
        count(plane, COUNTER_RESET_IGNORED)
        return
    misplaced(plane, options, <uint16_t>~OF_RESET)
    if options.seen >> MP_TCPRST & 1:
        count(plane, COUNTER_RST_RX)
        reason = CLOSE_REFUSED_NOW if options.rst_flags & RST_TRANSIENT else CLOSE_REFUSED
    if options.seen >> MP_FAIL & 1:
        # the data it names was not acknowledged: closing hands it to other subflows (RFC 8684 §3.7)
        count(plane, COUNTER_FAIL_RX)
    if bad_fastclose(plane, conn, options):
        subflow_close(plane, conn, subflow, reason)
        return
    count(plane, COUNTER_FASTCLOSE_RX)
    subflow_close(plane, conn, subflow, CLOSE_FASTCLOSE)
    conn.aborted = 1


cdef void input_syn(plane_t *plane, conn_t *conn, subflow_t *subflow, const tcp_t *tcp) noexcept nogil:
    """A repeated SYN/ACK shows that our third ACK was lost; any other SYN is challenged (RFC 5961 §4.2)."""
    if tcp.flags & TCP_ACK and tcp.seq == subflow.isn_remote and subflow.rcv_nxt == 1:
        subflow.ack_now = 1
        return
    count(plane, COUNTER_SYN_IGNORED)
    challenge(plane, subflow)


cdef void note_duplicate(subflow_t *subflow, uint64_t start, uint64_t end) noexcept nogil:
    """What came again is shown by the next ACK (RFC 2883 §4)."""
    subflow.dup.start = start
    subflow.dup.end = end


cdef int stamp_expired(const plane_t *plane, const subflow_t *subflow) noexcept nogil:
    """True after so long a silence that the peer's clock may have gone half round (RFC 7323 §5.5)."""
    return plane.now_ns - subflow.last_rx_ns > TIMESTAMP_LIFE_NS


cdef void note_stamp(const plane_t *plane, subflow_t *subflow, const tcp_t *tcp, uint64_t seq) noexcept nogil:
    """The time stamp to echo (RFC 7323 §4.3).

    While an ACK waits it stays that of what the ACK is for. That of a mere repeat would have what it overtook
    refused (§5.3 R2 and R3). One that has expired gives way to whatever comes: all after it would be refused
    otherwise (§5.5).
    """
    if not tcp.has & TCP_HAS_TIMESTAMP or not subflow.timestamps or subflow.ack_at_ns != NEVER:
        return
    if stamp_expired(plane, subflow) or (seq <= subflow.rcv_nxt <= seq + tcp.payload_size
                                         and <int32_t>(tcp.ts_val - subflow.ts_recent) > 0):
        subflow.ts_recent = tcp.ts_val


cdef int outdated(const plane_t *plane, const subflow_t *subflow, const tcp_t *tcp) noexcept nogil:
    """PAWS (RFC 7323 §5.3); a time stamp from before a long silence says nothing (§5.5).

    A segment without the option is let through: middleboxes remove it, and ours leave it out when others need
    the room.
    """
    # a bare ACK that another one overtook on the way through the host is one tick old at most: no reason to
    # refuse it
    cdef int32_t tolerance = 0 if tcp.payload_size else -1
    if not tcp.has & TCP_HAS_TIMESTAMP or not subflow.timestamps:
        return 0
    if stamp_expired(plane, subflow):
        return 0
    return <int32_t>(tcp.ts_val - subflow.ts_recent) < tolerance


cdef int is_probe(const plane_t *plane, const subflow_t *subflow, uint64_t seq) noexcept nogil:
    """Tell whether an old bare ACK asks for an answer: it names the last octet taken, or breaks a silence.

    The sender of the latter did not get our last ACK. One that others overtook comes among them.
    """
    return seq + 1 == subflow.rcv_nxt or plane.now_ns - subflow.last_rx_ns > subflow.srtt_ns


cdef int acceptable(plane_t *plane, const conn_t *conn, subflow_t *subflow, const tcp_t *tcp,
                    uint64_t seq) noexcept nogil:
    """RFC 9293 §3.4 window test after PAWS; what fails is answered by an ACK.

    A segment that is wholly old but not older than a window may still bring its ACK and options: it was
    overtaken.
    """
    cdef uint64_t end = seq + tcp.payload_size + (1 if tcp.flags & TCP_FIN else 0)
    cdef uint64_t edge = window_edge(conn, subflow)
    cdef uint64_t reach = max(edge - subflow.rcv_nxt, <uint64_t>WINDOW_LEAST)
    if outdated(plane, subflow, tcp):
        count(plane, COUNTER_PAWS_DROPPED)
        challenge(plane, subflow)
        return 0
    # an offset from before the SYN wraps to a huge one and is outside too
    if seq > edge or end + reach < subflow.rcv_nxt:
        count(plane, COUNTER_OUT_OF_WINDOW)
        challenge(plane, subflow)
        return 0
    if end < subflow.rcv_nxt or (end == subflow.rcv_nxt and seq < end):
        if tcp.payload_size or tcp.flags & TCP_FIN or is_probe(plane, subflow, end):
            subflow.ack_now = 1
        if tcp.payload_size:
            note_duplicate(subflow, seq, seq + tcp.payload_size)
    return 1


cdef int valid_ack(plane_t *plane, subflow_t *subflow, uint64_t ack) noexcept nogil:
    """RFC 5961 §5.2: nothing that was not sent, and nothing older than the largest window."""
    cdef uint64_t reach = max(subflow.snd_window_max, <uint64_t>WINDOW_LEAST)
    if ack > subflow.snd_nxt:
        count(plane, COUNTER_ACK_AHEAD)
    elif ack + reach < subflow.snd_una:
        count(plane, COUNTER_ACK_OLD)
    else:
        return 1
    challenge(plane, subflow)
    return 0


# --- fall back

cdef int may_fall_back(const conn_t *conn, const subflow_t *subflow) noexcept nogil:
    """Plain TCP can go on only where both sequence spaces are still one (RFC 8684 §3.7)."""
    if subflow.index or conn.joined or conn.reinjected or not stream_only_subflow(conn, subflow):
        return 0
    return (subflow.snd_nxt == conn.tx_nxt + 1
            and subflow.rcv_nxt == conn.rx_nxt + 1 + mapping_held(subflow))


cdef int fall_back(plane_t *plane, conn_t *conn, subflow_t *subflow, uint32_t reason) noexcept nogil:
    """Leave the connection to the host's TCP; what the peer need not repeat is given to the host first."""
    mapping_surrender(plane, conn, subflow)
    new_event(plane, conn, EVENT_FELL_BACK, subflow.index, reason)
    conn.fell_back = 1
    conn.rx_injected = conn.rx_acked
    mark_dirty(plane, conn)
    return INPUT_FALL_BACK


cdef int give_up(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    """The path does not let MPTCP's options through: end the subflow (RFC 8684 §3.7)."""
    count(plane, COUNTER_MIDDLEBOX_RESET)
    subflow_reset(plane, conn, subflow, RST_MIDDLEBOX, CLOSE_MIDDLEBOX)
    return INPUT_CONSUMED


cdef int input_without_options(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    """The first segment after the handshake has no MPTCP option: something on the path removes them."""
    if may_fall_back(conn, subflow):
        count(plane, COUNTER_MPCAPABLE_DATA_FALLBACK)
        return fall_back(plane, conn, subflow, FALLBACK_NO_DSS)
    return give_up(plane, conn, subflow)


cdef int never_confirmed(const conn_t *conn, uint64_t ack) noexcept nogil:
    """Data was acknowledged to the subflow, and none ever to the connection (RFC 8684 §3.7).

    The path takes the options from what we send, or the peer has fallen back before us.
    """
    return ack > 1 and conn.tx_una == 0 and conn.tx_nxt > 0


# --- MPTCP options

cdef uint16_t out_of_place(const conn_t *conn, const subflow_t *subflow,
                           const mptcp_t *options) noexcept nogil:
    """Subtypes that mean nothing on this segment of an established subflow.

    MP_TCPRST belongs on a RST (RFC 8684 §3.6), MP_CAPABLE to the first subflow from its initiator, with the
    keys of both (§3.1), MP_JOIN to another's third ACK (§3.2).
    """
    cdef uint16_t subtypes = 1 << MP_TCPRST
    if (subflow.index or conn.role != ROLE_SERVER or options.capable_size < 20
            or options.key_sender != conn.key_remote or options.key_receiver != conn.key_local):
        subtypes |= 1 << MP_CAPABLE
    if subflow.index == 0 or options.join_size != 24:
        subtypes |= 1 << MP_JOIN
    return subtypes


cdef void establish(plane_t *plane, conn_t *conn, subflow_t *subflow, const mptcp_t *options) noexcept nogil:
    """Proof that the peer has our key, or that it has our MP_JOIN (RFC 8684 §3.1, §3.2)."""
    cdef int proof = ((options.seen >> MP_DSS & 1 and options.dss_flags & DSS_ACK)
                      or options.seen >> MP_ADD_ADDR & 1)
    if not proof and (subflow.index == 0 or not options.seen >> MP_DSS & 1):
        return
    if subflow.index == 0 and conn.role == ROLE_CLIENT and not conn.established:
        conn.established = 1
        new_event(plane, conn, EVENT_ESTABLISHED, 0, 0)
    if subflow.state == SF_PRE_ESTABLISHED and subflow_step(plane, subflow, SF_IN_FOURTH_ACK):
        subflow.join_ns = NEVER
        conn.joined = 1
        new_event(plane, conn, EVENT_SUBFLOW_ESTABLISHED, subflow.index, 0)
        doubt_take_over(plane, conn, subflow)
        mark_dirty(plane, conn)


cdef void input_data_ack(plane_t *plane, conn_t *conn, subflow_t *subflow, const tcp_t *tcp,
                         const mptcp_t *options) noexcept nogil:
    """DATA_ACK and the window that hangs on it (RFC 8684 §3.3.4)."""
    cdef uint64_t base = conn.idsn_local + 1
    cdef uint64_t ack = options.data_ack
    cdef uint64_t offset, edge
    if not options.dss_flags & DSS_ACK64:
        ack = expand_data_seq(base + conn.tx_una, <uint32_t>ack)
    offset = ack - base
    if offset > conn.tx_nxt + (1 if conn.fin_sent else 0):
        # an old one from before the stream's start wraps to a huge offset and ends here too
        count(plane, COUNTER_DATA_ACK_AHEAD)
        return
    if offset > conn.tx_una or (conn.fin_sent and not conn.fin_acked):
        stream_acked(plane, conn, offset)
    edge = offset + (<uint64_t>tcp.window << subflow.wscale_remote)
    if edge > conn.tx_window:
        conn.tx_window = edge
        if conn.host_ack_now == 0:
            conn.host_ack_now = HOST_ACK_IF_OPENED
        mark_dirty(plane, conn)


cdef void input_data_fin(plane_t *plane, conn_t *conn, const mptcp_t *options) noexcept nogil:
    """Note where the peer's stream ends (RFC 8684 §3.3.3); with checksums, once its mapping is verified."""
    cdef uint64_t data_seq = options.data_seq
    if not options.dss_flags & DSS_MAP or options.data_len == 0:
        # without a mapping it has no number, and one without end has none either
        count(plane, COUNTER_DATA_FIN_REFUSED)
        return
    if conn.checksum and options.data_len > 1:
        return
    if not options.dss_flags & DSS_SEQ64:
        data_seq = expand_data_seq(conn.idsn_remote + 1 + conn.rx_nxt, <uint32_t>data_seq)
    if conn.checksum and checksum_dss(data_seq, options.subflow_seq, 1, 0) != options.dss_checksum:
        count(plane, COUNTER_DATA_CSUM_ERR)
        return
    stream_end(plane, conn, data_seq + options.data_len - 1 - (conn.idsn_remote + 1))


cdef void report_option(plane_t *plane, conn_t *conn, subflow_t *subflow, const tcp_t *tcp,
                        int index) noexcept nogil:
    cdef event_t *event
    if index < 0:
        return
    event = new_event(plane, conn, EVENT_OPTION, subflow.index, 0)
    event.size = tcp.mptcp_size[index]
    memcpy(event.data, tcp.mptcp[index], event.size)


cdef int option_index(const tcp_t *tcp, int subtype) noexcept nogil:
    cdef int i
    for i in range(tcp.mptcp_count):
        if tcp.mptcp[i][2] >> 4 == subtype:
            return i
    return -1


cdef int input_fail(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    """The peer saw a bad checksum (RFC 8684 §3.7): answer, and go on as plain TCP where that is possible.

    With several subflows it comes on a RST; on anything else it changes nothing.
    """
    cdef uint8_t option[16]
    count(plane, COUNTER_FAIL_RX)
    if not may_fall_back(conn, subflow):
        count(plane, COUNTER_FAIL_IGNORED)
        return INPUT_CONSUMED
    emit_option(plane, conn, subflow, option, mptcp_emit_fail(option, conn.idsn_remote + 1 + conn.rx_nxt))
    count(plane, COUNTER_FAIL_TX)
    if emit_infinite(plane, conn, subflow) == EMIT_OK:
        count(plane, COUNTER_INFINITE_MAP_TX)
    return fall_back(plane, conn, subflow, FALLBACK_CHECKSUM)


cdef int input_options(plane_t *plane, conn_t *conn, subflow_t *subflow, const tcp_t *tcp,
                       const mptcp_t *options) noexcept nogil:
    establish(plane, conn, subflow, options)
    if options.seen >> MP_DSS & 1:
        if options.dss_flags & DSS_ACK:
            input_data_ack(plane, conn, subflow, tcp, options)
        if options.dss_flags & DSS_FIN:
            input_data_fin(plane, conn, options)
    if not bad_fastclose(plane, conn, options):
        count(plane, COUNTER_FASTCLOSE_RX)
        conn.aborted = 1
        return INPUT_CONSUMED
    if options.seen >> MP_PRIO & 1:
        report_option(plane, conn, subflow, tcp, option_index(tcp, MP_PRIO))
    if options.seen >> MP_JOIN & 1:
        # a repeated third ACK: the fourth was lost (RFC 8684 §3.2)
        subflow.ack_now = 1
    report_option(plane, conn, subflow, tcp, options.add_addr_index)
    report_option(plane, conn, subflow, tcp, options.remove_addr_index)
    if options.seen >> MP_FAIL & 1:
        return input_fail(plane, conn, subflow)
    return INPUT_CONSUMED


# --- data

cdef int accept(plane_t *plane, conn_t *conn, subflow_t *subflow, const mapping_t *mapping, uint64_t seq,
                const uint8_t *data, uint32_t size) noexcept nogil:
    """Deliver what is new of [seq, seq + size), all of it inside `mapping`, gap by gap and each once."""
    cdef uint64_t end = seq + size
    cdef uint64_t start = seq
    cdef uint64_t begin, stop
    cdef int status
    while start < end:
        begin = start
        stop = received_gap(subflow, &start, end)
        if start > begin:
            note_duplicate(subflow, begin, min(start, end))
        if start >= end:
            return MAP_OK
        if not received_has_place(subflow, start, stop):
            count(plane, COUNTER_RANGES_FULL)
            return MAP_REFUSED
        status = mapping_deliver(plane, conn, subflow, mapping, start, data + (start - seq),
                                 <uint32_t>(stop - start))
        if status != MAP_OK:
            return status
        received_note(subflow, start, stop)
        start = stop
    return MAP_OK


cdef int corrupt(plane_t *plane, conn_t *conn, subflow_t *subflow, const mapping_t *mapping) noexcept nogil:
    """A checksum failed: MP_FAIL names its mapping's start, on a RST where other data may be misplaced."""
    cdef uint64_t data_seq = conn.idsn_remote + 1 + mapping.data
    cdef uint8_t option[16]
    count(plane, COUNTER_FAIL_TX)
    if may_fall_back(conn, subflow):
        emit_option(plane, conn, subflow, option, mptcp_emit_fail(option, data_seq))
        count(plane, COUNTER_DSS_CORRUPTION_FALLBACK)
        return fall_back(plane, conn, subflow, FALLBACK_CHECKSUM)
    count(plane, COUNTER_DSS_CORRUPTION_RESET)
    emit_failure(plane, conn, subflow, data_seq)
    subflow_close(plane, conn, subflow, CLOSE_MIDDLEBOX)
    return INPUT_CONSUMED


cdef int carries_mapping(const mptcp_t *options) noexcept nogil:
    return options.seen >> MP_DSS & 1 and options.dss_flags & DSS_MAP


cdef int unmapped(plane_t *plane, conn_t *conn, subflow_t *subflow, const mptcp_t *options) noexcept nogil:
    """Data without a mapping is not acknowledged, so that the peer repeats it with one; not for ever.

    A mapping of other bytes shows that options come through: no reason to fall back.
    """
    count(plane, COUNTER_UNMAPPED_DATA)
    if carries_mapping(options):
        count(plane, COUNTER_DSS_NO_MATCH_TCP)
    elif may_fall_back(conn, subflow) and conn.rx_nxt == 0:
        return fall_back(plane, conn, subflow, FALLBACK_NO_DSS)
    subflow.unmapped += 1
    if subflow.unmapped < UNMAPPED_MAX:
        return INPUT_CONSUMED
    if may_fall_back(conn, subflow):
        count(plane, COUNTER_DSS_FALLBACK)
        return fall_back(plane, conn, subflow, FALLBACK_NO_DSS)
    return give_up(plane, conn, subflow)


cdef int map_failure(plane_t *plane, conn_t *conn, subflow_t *subflow, int status,
                     const mapping_t *mapping, const mptcp_t *options) noexcept nogil:
    """What RFC 8684 §3.7 asks for when data cannot be placed or is corrupt."""
    if status == MAP_REFUSED:
        return INPUT_CONSUMED
    if status == MAP_CORRUPT:
        return corrupt(plane, conn, subflow, mapping)
    if status == MAP_NONE:
        return unmapped(plane, conn, subflow, options)
    if status == MAP_INFINITE:
        count(plane, COUNTER_INFINITE_MAP_RX)
        if may_fall_back(conn, subflow):
            return fall_back(plane, conn, subflow, FALLBACK_INFINITE)
        count(plane, COUNTER_INFINITE_MAP_REFUSED)
    subflow_reset(plane, conn, subflow, RST_MPTCP, CLOSE_MIDDLEBOX)
    return INPUT_CONSUMED


cdef int input_payload(plane_t *plane, conn_t *conn, subflow_t *subflow, const tcp_t *tcp, uint64_t seq,
                       const mptcp_t *options, int marked) noexcept nogil:
    cdef const uint8_t *data = tcp.payload
    cdef uint32_t size = tcp.payload_size
    cdef uint32_t part
    cdef mapping_t mapping
    cdef int status
    acking_received(plane, subflow, seq, size, marked or tcp.flags & TCP_CWR)
    if subflow.fin_seen and seq + size > subflow.fin_seq:
        # nothing comes after a FIN (RFC 9293 §3.10.7.4)
        count(plane, COUNTER_DATA_AFTER_FIN)
        size = <uint32_t>(subflow.fin_seq - seq) if seq < subflow.fin_seq else 0
    if seq < subflow.rcv_nxt:
        if seq + size <= subflow.rcv_nxt:
            return INPUT_CONSUMED
        part = <uint32_t>(subflow.rcv_nxt - seq)
        seq += part
        data += part
        size -= part
    elif seq > subflow.rcv_nxt and not subflow.sack and subflow.duplicates < DUPLICATES_MAX:
        # three of them are how it hears of a loss: each must leave (RFC 5681 §3.2)
        subflow.duplicates += 1
    # a segment put together by a middlebox can span several mappings
    while size:
        status = mapping_find(plane, conn, subflow, options, seq, size, &mapping)
        if status != MAP_OK:
            return map_failure(plane, conn, subflow, status, &mapping, options)
        part = <uint32_t>min(<uint64_t>size, mapping.seq + mapping.size - seq)
        status = accept(plane, conn, subflow, &mapping, seq, data, part)
        if status != MAP_OK:
            return map_failure(plane, conn, subflow, status, &mapping, options)
        seq += part
        data += part
        size -= part
    subflow.unmapped = 0
    return INPUT_CONSUMED


cdef void input_fin(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    """The peer's FIN, once all before it is here; it ends the subflow, not the stream (RFC 8684 §3.3.3)."""
    if subflow.rcv_nxt != subflow.fin_seq:
        return
    subflow.rcv_nxt += 1
    # what came with numbers beyond the FIN is no part of the subflow
    received_clear(subflow)
    subflow.ack_now = 1
    subflow_step(plane, subflow, SF_IN_FIN)
    if subflow.state == SF_CLOSED:
        subflow_close(plane, conn, subflow, CLOSE_FIN)


cdef int is_duplicate_ack(const subflow_t *subflow, const tcp_t *tcp, uint64_t ack, uint64_t window,
                          int told_something) noexcept nogil:
    """RFC 5681 §2, and RFC 8684 §3.3.6: an ACK that came for its MPTCP option says nothing of loss."""
    return (ack == subflow.snd_una and subflow.snd_nxt > ack and tcp.payload_size == 0
            and not tcp.flags & TCP_FIN and window == subflow.snd_window and not told_something)


cdef void input_ack(plane_t *plane, conn_t *conn, subflow_t *subflow, const tcp_t *tcp, uint64_t ack,
                    int told_something) noexcept nogil:
    cdef uint64_t window = <uint64_t>tcp.window << subflow.wscale_remote
    cdef int duplicate = is_duplicate_ack(subflow, tcp, ack, window, told_something)
    subflow.snd_window = window
    subflow.snd_window_max = max(subflow.snd_window_max, window)
    subflow.snd_edge = max(subflow.snd_edge, ack + window)
    sender_ack(plane, conn, subflow, ack, tcp, duplicate)
    if subflow.fin_sent and subflow.snd_una == subflow.snd_nxt:
        subflow_step(plane, subflow, SF_IN_FIN_ACKED)
        if subflow.state == SF_CLOSED:
            subflow_close(plane, conn, subflow, CLOSE_FIN)


cdef int input_established(plane_t *plane, conn_t *conn, subflow_t *subflow, const tcp_t *tcp, uint64_t seq,
                           uint64_t ack, mptcp_t *options, int marked) noexcept nogil:
    """What is left once TCP has accepted the segment."""
    cdef uint64_t data_acked = conn.tx_una
    cdef int result
    if not subflow.dss_seen and seq == subflow.rcv_nxt:
        if options.seen == 0:
            return input_without_options(plane, conn, subflow)
        subflow.dss_seen = 1
    if options.seen == 0 and never_confirmed(conn, ack) and may_fall_back(conn, subflow):
        return input_without_options(plane, conn, subflow)
    if options.seen & ~(1 << MP_DSS):
        misplaced(plane, options, out_of_place(conn, subflow, options))
    result = input_options(plane, conn, subflow, tcp, options)
    if result != INPUT_CONSUMED or conn.aborted:
        return result
    if ack >= subflow.snd_una:
        input_ack(plane, conn, subflow, tcp, ack, conn.tx_una > data_acked or options.seen & ~(1 << MP_DSS))
    if tcp.flags & TCP_URG and tcp.payload_size:
        # RFC 8684 §3.3.1: urgent data has its place in the stream like any other
        count(plane, COUNTER_URGENT_RX)
    if tcp.payload_size and subflow.state != SF_CLOSED:
        result = input_payload(plane, conn, subflow, tcp, seq, options, marked)
        if result != INPUT_CONSUMED:
            return result
    if tcp.flags & TCP_FIN and subflow.state == SF_TIME_WAIT:
        # our last ACK was lost: the wait begins anew (RFC 9293 §3.10.7.4)
        subflow.wait_ns = plane.now_ns + plane.time_wait_ns
    if tcp.flags & TCP_FIN and not subflow.fin_seen and seq + tcp.payload_size >= subflow.rcv_nxt:
        subflow.fin_seen = 1
        subflow.fin_seq = seq + tcp.payload_size
    if subflow.fin_seen and subflow.state != SF_CLOSED:
        input_fin(plane, conn, subflow)
    return INPUT_CONSUMED


cdef int subflow_input(plane_t *plane, conn_t *conn, subflow_t *subflow, const tcp_t *tcp,
                       int marked) noexcept nogil:
    cdef mptcp_t options
    cdef uint64_t seq = unwrap(tcp.seq, subflow.isn_remote, subflow.rcv_nxt)
    cdef uint64_t ack = unwrap(tcp.ack, subflow.isn_local, subflow.snd_una)
    if subflow.state == SF_CLOSED:
        return INPUT_CONSUMED
    mark_dirty(plane, conn)
    mptcp_parse(tcp, &options)
    plane.counters[COUNTER_MALFORMED_OPTION] += options.ignored
    if tcp.flags & TCP_RST:
        input_reset(plane, conn, subflow, seq, &options)
        return INPUT_CONSUMED
    if tcp.flags & TCP_SYN:
        input_syn(plane, conn, subflow, tcp)
        return INPUT_CONSUMED
    if not acceptable(plane, conn, subflow, tcp, seq):
        return INPUT_CONSUMED
    if not tcp.flags & TCP_ACK:
        # RFC 9293 §3.10.7.4, fifth check
        count(plane, COUNTER_NO_ACK_FLAG)
        return INPUT_CONSUMED
    if not valid_ack(plane, subflow, ack):
        return INPUT_CONSUMED
    note_stamp(plane, subflow, tcp, seq)
    subflow.last_rx_ns = plane.now_ns
    if subflow.ecn:
        ecn_received(plane, subflow, tcp, marked)
    return input_established(plane, conn, subflow, tcp, seq, ack, &options, marked)
