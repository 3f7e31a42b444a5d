"""Packets that the data plane makes, written straight into the transmit queues."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from mpcore.mptcp.acking cimport acking_answered, acking_sent
from mpcore.mptcp.types cimport (
    ROLE_CLIENT,
    RST_MIDDLEBOX,
    SEG_FIN,
    SEG_OWN,
    SF_PRE_ESTABLISHED,
    conn_t,
    count,
    plane_t,
    segment_t,
    subflow_t,
)
from mpcore.store.counters cimport (
    COUNTER_CARRIED,
    COUNTER_FASTCLOSE_TX,
    COUNTER_INJECTED_BYTES,
    COUNTER_PLAIN_RST_TX,
    COUNTER_RST_TX,
    COUNTER_TRANSMIT_FULL,
    COUNTER_TRANSMIT_HOST,
    COUNTER_TRANSMIT_HOST_BYTES,
    COUNTER_TRANSMIT_NETWORK,
    COUNTER_TRANSMIT_NETWORK_BYTES,
)
from mpcore.store.packet cimport PORT_CARRIER, PORT_HOST4, PORT_HOST6, transmit_queue_t, transmit_t
from mpcore.store.reorder cimport span_t
from mpcore.store.ring cimport ring_pieces, ring_t
from mpcore.wire.bits cimport store16, store32
from mpcore.wire.checksum cimport checksum_dss, checksum_finish, sum_bytes, sum_join, sum_pseudo
from mpcore.wire.ip cimport ECN_ECT0, PROTOCOL_TCP, ip_emit
from mpcore.wire.mptcp cimport (
    DSS_ACK,
    DSS_ACK64,
    DSS_FIN,
    DSS_MAP,
    DSS_SEQ64,
    mptcp_emit_capable_ack,
    mptcp_emit_dss,
    mptcp_emit_fail,
    mptcp_emit_fastclose,
    mptcp_emit_join_ack,
    mptcp_emit_rst,
)
from mpcore.wire.tcp cimport (
    TCP_ACK,
    TCP_CWR,
    TCP_ECE,
    TCP_FIN,
    TCP_OPTIONS_MAX,
    TCP_PSH,
    TCP_RST,
    TCP_SYN,
    tcp_emit,
    tcp_t,
)


cdef enum:
    TTL = 64
    OPTION_NOP = 1
    OPTION_SACK = 5
    OPTION_TIMESTAMP = 8
    CHECKSUM_OFFSET = 16


cdef struct frame_t:           # a packet being made: addresses, TCP fields and options
    uint8_t version
    uint8_t flags
    uint8_t options_size
    uint8_t tos
    const uint8_t *src
    const uint8_t *dst
    uint16_t src_port
    uint16_t dst_port
    uint16_t window
    uint32_t seq
    uint32_t ack
    uint32_t payload_size
    uint32_t payload_sum
    uint8_t options[64]


cdef uint32_t clock_ms(const plane_t *plane, long long zero_ns) noexcept nogil:
    return <uint32_t>((plane.now_ns - zero_ns) // 1000000)


# --- assembling

cdef transmit_t *begin(plane_t *plane, int port) noexcept nogil:
    """Return the next free descriptor of the port, or NULL."""
    cdef transmit_queue_t *queue = &plane.queues[port]
    if queue.tail - queue.head > queue.mask:
        count(plane, COUNTER_TRANSMIT_FULL)
        return NULL
    return &queue.slots[queue.tail & queue.mask]


cdef int gather(ring_t *ring, transmit_t *slot, frame_t *frame, uint64_t offset,
                uint32_t size) noexcept nogil:
    """Point the descriptor at the payload and sum it; -1 when the ring does not hold it."""
    slot.piece_count = 0
    frame.payload_size = size
    frame.payload_sum = 0
    if size == 0:
        return 0
    slot.piece_count = <uint16_t>ring_pieces(ring, offset, size, slot.piece, slot.piece_size)
    if slot.piece_count == 0:
        return -1
    frame.payload_sum = sum_bytes(slot.piece[0], slot.piece_size[0])
    if slot.piece_count == 2:
        frame.payload_sum = sum_join(frame.payload_sum, slot.piece_size[0],
                                     sum_bytes(slot.piece[1], slot.piece_size[1]))
    return 0


cdef void finish(plane_t *plane, int port, transmit_t *slot, const frame_t *frame) noexcept nogil:
    """Write the headers, complete the TCP checksum from the payload's sum, and publish the descriptor."""
    cdef uint32_t ip_size = 20 if frame.version == 4 else 40
    cdef uint8_t *tcp = &slot.header[ip_size]
    cdef uint32_t tcp_size
    cdef uint32_t total
    tcp_size = tcp_emit(tcp, frame.src_port, frame.dst_port, frame.seq, frame.ack, frame.flags, frame.window,
                        frame.options, frame.options_size)
    ip_emit(slot.header, frame.version, frame.src, frame.dst, PROTOCOL_TCP, TTL, frame.tos,
            tcp_size + frame.payload_size)
    total = sum_pseudo(frame.version, frame.src, frame.dst, PROTOCOL_TCP, tcp_size + frame.payload_size)
    total = sum_join(total, 0, sum_bytes(tcp, tcp_size))
    total = sum_join(total, 0, frame.payload_sum)
    store16(tcp + CHECKSUM_OFFSET, checksum_finish(total))
    slot.header_size = <uint16_t>(ip_size + tcp_size)
    plane.queues[port].tail += 1
    plane.counters[COUNTER_TRANSMIT_HOST_BYTES if port <= PORT_HOST6 else COUNTER_TRANSMIT_NETWORK_BYTES] += (
        slot.header_size + frame.payload_size)


cdef void add_timestamp(frame_t *frame, uint32_t value, uint32_t echo, int aligned) noexcept nogil:
    cdef uint8_t *p = &frame.options[frame.options_size]
    if aligned:
        p[0] = p[1] = OPTION_NOP
        p += 2
        frame.options_size += 2
    p[0] = OPTION_TIMESTAMP
    p[1] = 10
    store32(p + 2, value)
    store32(p + 6, echo)
    frame.options_size += 10


cdef uint16_t offer_window(uint64_t base, uint64_t edge, uint64_t limit, int shift,
                           uint64_t *offered) noexcept nogil:
    """Return the window field at `base` for a right edge that never moves back (RFC 9293 §3.8.6.2.1).

    New room is rounded down to what the field can say. What was offered before is rounded up, unless that
    would pass `limit`: the few bytes too many have a place in the ring.
    """
    cdef uint64_t field = min((edge - base) >> shift, <uint64_t>65535) if edge > base else 0
    if base + (field << shift) < offered[0]:
        field = (offered[0] - base + (<uint64_t>1 << shift) - 1) >> shift
        if base + (field << shift) > limit:
            field -= 1
        field = min(field, <uint64_t>65535)
    offered[0] = max(offered[0], base + (field << shift))
    return <uint16_t>field


# --- towards the network

cdef uint16_t network_window(conn_t *conn, subflow_t *subflow) noexcept nogil:
    """One window for the connection, from DATA_ACK on; its right edge never moves back (RFC 8684 §3.3.4)."""
    cdef uint64_t limit = conn.rx_ring.head + conn.rx_ring.limit
    cdef uint16_t field = offer_window(conn.rx_acked, min(conn.rx_edge, limit), limit, subflow.wscale_local,
                                       &conn.rx_advertised)
    subflow.rcv_max = max(subflow.rcv_max, subflow.rcv_nxt + (<uint64_t>field << subflow.wscale_local))
    return field


cdef void network_frame(plane_t *plane, conn_t *conn, subflow_t *subflow, frame_t *frame, uint8_t flags,
                        uint64_t seq) noexcept nogil:
    frame.version = subflow.version
    frame.flags = flags | TCP_ECE if subflow.ecn_echo else flags
    frame.options_size = 0
    frame.tos = 0
    frame.src = subflow.local
    frame.dst = subflow.remote
    frame.src_port = subflow.local_port
    frame.dst_port = subflow.remote_port
    frame.window = network_window(conn, subflow)
    frame.seq = subflow.isn_local + <uint32_t>seq
    frame.ack = subflow.isn_remote + <uint32_t>subflow.rcv_nxt
    frame.payload_size = 0
    frame.payload_sum = 0


cdef void network_timestamp(plane_t *plane, subflow_t *subflow, frame_t *frame, int aligned) noexcept nogil:
    if subflow.timestamps:
        add_timestamp(frame, subflow.ts_local + clock_ms(plane, subflow.ts_zero_ns), subflow.ts_recent,
                      aligned)


cdef uint64_t data_ack(const conn_t *conn) noexcept nogil:
    """DATA_ACK: what the host's socket has acknowledged, its FIN included (RFC 8684 §3.3.2)."""
    return conn.idsn_remote + 1 + conn.rx_acked + (1 if conn.rx_fin_acked else 0)


cdef int wants_capable(const conn_t *conn, const subflow_t *subflow) noexcept nogil:
    """True while key A must be repeated for want of proof that the peer has it (RFC 8684 §3.1)."""
    return conn.role == ROLE_CLIENT and not conn.established and subflow.index == 0


cdef void add_dss(const conn_t *conn, frame_t *frame, uint8_t flags, uint64_t data_seq, uint64_t subflow_seq,
                  uint32_t data_len, uint16_t checksum) noexcept nogil:
    frame.options_size += mptcp_emit_dss(
        &frame.options[frame.options_size], flags | DSS_ACK | DSS_ACK64, data_ack(conn), data_seq,
        <uint32_t>subflow_seq, <uint16_t>data_len, conn.checksum and flags & DSS_MAP, checksum)


cdef uint16_t mapping_checksum(const conn_t *conn, uint64_t offset, uint64_t seq, uint32_t size,
                               uint32_t payload_sum) noexcept nogil:
    """DSS checksum of a mapping, 0 where none are in use (RFC 8684 §3.3.1)."""
    if not conn.checksum:
        return 0
    return checksum_dss(conn.idsn_local + 1 + offset, <uint32_t>seq, <uint16_t>size, payload_sum)


cdef void add_mapping(const conn_t *conn, const subflow_t *subflow, const segment_t *segment,
                      frame_t *frame) noexcept nogil:
    """The mapping of a segment, as first sent: MP_CAPABLE with data for a client's first one, else DSS."""
    cdef uint64_t data_seq = conn.idsn_local + 1 + segment.data - segment.map_offset
    cdef uint64_t seq = segment.seq - segment.map_offset
    if wants_capable(conn, subflow) and seq == 1:
        frame.options_size += mptcp_emit_capable_ack(
            &frame.options[frame.options_size], conn.capable_flags, conn.key_local, conn.key_remote,
            segment.map_size, conn.checksum, segment.checksum)
    else:
        add_dss(conn, frame, DSS_MAP | DSS_SEQ64, data_seq, seq, segment.map_size, segment.checksum)


cdef void acknowledged(conn_t *conn, subflow_t *subflow) noexcept nogil:
    """What goes out now carries the ACKs that were owed."""
    acking_sent(subflow)
    conn.data_ack_now = 0


cdef int send_frame(plane_t *plane, conn_t *conn, subflow_t *subflow, transmit_t *slot,
                    const frame_t *frame) noexcept nogil:
    finish(plane, subflow.port, slot, frame)
    count(plane, COUNTER_TRANSMIT_NETWORK)
    acknowledged(conn, subflow)
    return EMIT_OK


cdef void declare_mapping(const conn_t *conn, segment_t *segment, uint32_t payload_sum) noexcept nogil:
    """A segment sent for the first time by itself is its own mapping."""
    if segment.map_size == 0:
        segment.map_offset = 0
        segment.map_size = <uint16_t>segment.size
        segment.checksum = mapping_checksum(conn, segment.data, segment.seq, segment.size, payload_sum)


cdef void take_marks(subflow_t *subflow, frame_t *frame) noexcept nogil:
    """New data may be marked (RFC 3168 §6.1.2), and the first after a reduction says CWR."""
    frame.tos = ECN_ECT0
    if subflow.ecn_cwr:
        subflow.ecn_cwr = 0
        frame.flags |= TCP_CWR


cdef int emit_segment(plane_t *plane, conn_t *conn, subflow_t *subflow, segment_t *segment,
                      int again) noexcept nogil:
    cdef frame_t frame
    cdef int held
    cdef transmit_t *slot = begin(plane, subflow.port)
    if slot == NULL:
        return EMIT_FULL
    network_frame(plane, conn, subflow, &frame, TCP_ACK, segment.seq)
    if segment.flags & SEG_OWN:
        held = gather(&subflow.own, slot, &frame, segment.seq, segment.size)
    else:
        held = gather(&conn.tx_ring, slot, &frame, segment.data, segment.size)
    if held < 0:
        return EMIT_GONE
    network_timestamp(plane, subflow, &frame, 1)
    if segment.flags & SEG_FIN:
        frame.flags |= TCP_FIN
        add_dss(conn, &frame, 0, 0, 0, 0, 0)
    else:
        if segment.data + segment.size == conn.tx_end:
            frame.flags |= TCP_PSH
        declare_mapping(conn, segment, frame.payload_sum)
        add_mapping(conn, subflow, segment, &frame)
        if subflow.ecn and not again:
            take_marks(subflow, &frame)
        subflow.bytes_sent += segment.size
        if not again:
            acking_answered(plane, subflow)
    return send_frame(plane, conn, subflow, slot, &frame)


cdef int emit_carried(plane_t *plane, conn_t *conn, subflow_t *subflow, uint64_t seq, uint64_t offset,
                      uint32_t size, uint32_t carrier, uint16_t *checksum) noexcept nogil:
    cdef frame_t frame
    cdef transmit_t *slot = begin(plane, PORT_CARRIER)
    if slot == NULL:
        return EMIT_FULL
    network_frame(plane, conn, subflow, &frame, TCP_ACK, seq)
    if gather(&conn.tx_ring, slot, &frame, offset, size) < 0:
        return EMIT_GONE
    network_timestamp(plane, subflow, &frame, 1)
    if offset + size == conn.tx_end:
        frame.flags |= TCP_PSH
    checksum[0] = mapping_checksum(conn, offset, seq, size, frame.payload_sum)
    add_dss(conn, &frame, DSS_MAP | DSS_SEQ64, conn.idsn_local + 1 + offset, seq, size, checksum[0])
    if subflow.ecn:
        take_marks(subflow, &frame)
    slot.carrier = carrier
    finish(plane, PORT_CARRIER, slot, &frame)
    count(plane, COUNTER_CARRIED)
    acknowledged(conn, subflow)
    acking_answered(plane, subflow)
    subflow.bytes_sent += size
    return EMIT_OK


cdef void emit_drop(plane_t *plane, uint32_t carrier) noexcept nogil:
    cdef transmit_t *slot = begin(plane, PORT_CARRIER)
    # the ring has a slot for every packet that may be on hold
    if slot != NULL:
        slot.header_size = 0
        slot.piece_count = 0
        slot.carrier = carrier
        plane.queues[PORT_CARRIER].tail += 1


cdef uint8_t *add_block(const subflow_t *subflow, uint8_t *p, const span_t *span) noexcept nogil:
    store32(p, subflow.isn_remote + <uint32_t>span.start)
    store32(p + 4, subflow.isn_remote + <uint32_t>span.end)
    return p + 8


cdef void add_sack(subflow_t *subflow, frame_t *frame) noexcept nogil:
    """What came twice (RFC 2883 §4), then the range that grew last and those before it (RFC 2018 §4)."""
    cdef uint8_t *option = &frame.options[frame.options_size]
    cdef uint8_t *p = option + 2
    cdef uint32_t room = (TCP_OPTIONS_MAX - frame.options_size - 2) // 8
    cdef uint32_t number = subflow.ooo_count
    cdef uint32_t i
    if room and subflow.dup.start < subflow.dup.end:
        p = add_block(subflow, p, &subflow.dup)
        room -= 1
    subflow.dup.end = subflow.dup.start
    for i in range(min(number, room)):
        p = add_block(subflow, p, &subflow.ooo[(subflow.ooo_last + number - i) % number])
    subflow.ooo_fresh = 0
    if p > option + 2:
        option[0] = OPTION_SACK
        option[1] = <uint8_t>(p - option)
        frame.options_size += option[1]


cdef int emit_ack(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    cdef frame_t frame
    cdef transmit_t *slot = begin(plane, subflow.port)
    cdef int sacking = subflow.sack and (subflow.ooo_count or subflow.dup.start < subflow.dup.end)
    if slot == NULL:
        return EMIT_FULL
    slot.piece_count = 0
    network_frame(plane, conn, subflow, &frame, TCP_ACK, subflow.snd_nxt)
    # without the two NOPs a second SACK block fits
    network_timestamp(plane, subflow, &frame, not sacking)
    if subflow.state == SF_PRE_ESTABLISHED:
        frame.options_size += mptcp_emit_join_ack(&frame.options[frame.options_size], subflow.join_hmac)
    elif wants_capable(conn, subflow) and subflow.snd_nxt == 1:
        frame.options_size += mptcp_emit_capable_ack(
            &frame.options[frame.options_size], conn.capable_flags, conn.key_local, conn.key_remote, -1, 0, 0)
        conn.capable_sent = 1
    else:
        add_dss(conn, &frame, 0, 0, 0, 0, 0)
    if sacking:
        add_sack(subflow, &frame)
    return send_frame(plane, conn, subflow, slot, &frame)


cdef int emit_option(plane_t *plane, conn_t *conn, subflow_t *subflow, const uint8_t *option,
                     uint32_t size) noexcept nogil:
    cdef frame_t frame
    cdef transmit_t *slot = begin(plane, subflow.port)
    if slot == NULL:
        return EMIT_FULL
    slot.piece_count = 0
    network_frame(plane, conn, subflow, &frame, TCP_ACK, subflow.snd_nxt)
    if size + 12 <= TCP_OPTIONS_MAX:
        network_timestamp(plane, subflow, &frame, 1)
    memcpy(&frame.options[frame.options_size], option, size)
    frame.options_size += <uint8_t>size
    finish(plane, subflow.port, slot, &frame)
    count(plane, COUNTER_TRANSMIT_NETWORK)
    return EMIT_OK


cdef int emit_data_fin(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    cdef frame_t frame
    cdef transmit_t *slot = begin(plane, subflow.port)
    if slot == NULL:
        return EMIT_FULL
    slot.piece_count = 0
    network_frame(plane, conn, subflow, &frame, TCP_ACK, subflow.snd_nxt)
    network_timestamp(plane, subflow, &frame, 1)
    # alone it is mapped to subflow sequence number 0 and takes one data sequence number (RFC 8684 §3.3.3)
    add_dss(conn, &frame, DSS_MAP | DSS_SEQ64 | DSS_FIN, conn.idsn_local + 1 + conn.tx_fin, 0, 1,
            mapping_checksum(conn, conn.tx_fin, 0, 1, 0))
    return send_frame(plane, conn, subflow, slot, &frame)


cdef int emit_reset(plane_t *plane, conn_t *conn, subflow_t *subflow, uint8_t reason,
                    int fastclose) noexcept nogil:
    cdef frame_t frame
    cdef transmit_t *slot = begin(plane, subflow.port)
    if slot == NULL:
        return EMIT_FULL
    slot.piece_count = 0
    network_frame(plane, conn, subflow, &frame, TCP_ACK | TCP_RST, subflow.snd_nxt)
    if fastclose:
        frame.options_size += mptcp_emit_fastclose(frame.options, conn.key_remote)
        count(plane, COUNTER_FASTCLOSE_TX)
    frame.options_size += mptcp_emit_rst(&frame.options[frame.options_size], 0, reason)
    count(plane, COUNTER_RST_TX)
    return send_frame(plane, conn, subflow, slot, &frame)


cdef int emit_failure(plane_t *plane, conn_t *conn, subflow_t *subflow, uint64_t data_seq) noexcept nogil:
    cdef frame_t frame
    cdef transmit_t *slot = begin(plane, subflow.port)
    if slot == NULL:
        return EMIT_FULL
    slot.piece_count = 0
    network_frame(plane, conn, subflow, &frame, TCP_ACK | TCP_RST, subflow.snd_nxt)
    frame.options_size += mptcp_emit_fail(frame.options, data_seq)
    frame.options_size += mptcp_emit_rst(&frame.options[frame.options_size], 0, RST_MIDDLEBOX)
    count(plane, COUNTER_RST_TX)
    return send_frame(plane, conn, subflow, slot, &frame)


cdef int emit_refusal(plane_t *plane, conn_t *conn, const tcp_t *tcp) noexcept nogil:
    cdef frame_t frame
    cdef transmit_t *slot = begin(plane, conn.port)
    if slot == NULL:
        return EMIT_FULL
    slot.piece_count = 0
    memset(&frame, 0, sizeof(frame))
    frame.version = conn.version
    frame.src = conn.host_local
    frame.dst = conn.host_remote
    frame.src_port = conn.host_local_port
    frame.dst_port = conn.host_remote_port
    frame.flags = TCP_RST
    if tcp.flags & TCP_ACK:
        frame.seq = tcp.ack
    else:
        frame.flags |= TCP_ACK
        frame.ack = tcp.seq + tcp.payload_size + (1 if tcp.flags & TCP_SYN else 0) + (
            1 if tcp.flags & TCP_FIN else 0)
    finish(plane, conn.port, slot, &frame)
    count(plane, COUNTER_TRANSMIT_NETWORK)
    count(plane, COUNTER_PLAIN_RST_TX)
    return EMIT_OK


cdef int emit_infinite(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    cdef frame_t frame
    cdef transmit_t *slot = begin(plane, subflow.port)
    cdef uint64_t data = conn.tx_una
    cdef uint32_t size = 0
    if slot == NULL:
        return EMIT_FULL
    if subflow.seg_count and not subflow.segments[subflow.seg_first].flags & SEG_FIN:
        data = subflow.segments[subflow.seg_first].data
        size = subflow.segments[subflow.seg_first].size
    network_frame(plane, conn, subflow, &frame, TCP_ACK, subflow.snd_una)
    if gather(&conn.tx_ring, slot, &frame, data, size) < 0:
        return EMIT_GONE
    network_timestamp(plane, subflow, &frame, 1)
    # its checksum is zero (RFC 8684 §3.3.1)
    add_dss(conn, &frame, DSS_MAP | DSS_SEQ64, conn.idsn_local + 1 + data, subflow.snd_una, 0, 0)
    return send_frame(plane, conn, subflow, slot, &frame)


cdef int emit_probe(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    cdef frame_t frame
    cdef transmit_t *slot = begin(plane, subflow.port)
    if slot == NULL:
        return EMIT_FULL
    slot.piece_count = 0
    network_frame(plane, conn, subflow, &frame, TCP_ACK, subflow.snd_una - 1)
    network_timestamp(plane, subflow, &frame, 1)
    add_dss(conn, &frame, 0, 0, 0, 0, 0)
    return send_frame(plane, conn, subflow, slot, &frame)


# --- towards the host's socket

cdef uint16_t output_host_window(conn_t *conn) noexcept nogil:
    """What the peer allows and the send ring holds, for the socket; its right edge never moves back."""
    cdef uint64_t limit = conn.tx_ring.head + conn.tx_ring.limit
    return offer_window(conn.tx_una, min(conn.tx_window, limit), limit, conn.peer_wscale, &conn.host_window)


cdef uint32_t host_stamp(const plane_t *plane, conn_t *conn) noexcept nogil:
    """TSval towards the socket: never below the last one (RFC 7323 §5.3).

    While plain TCP may still take over it is the peer's own, whose clock need not tick alike: the socket
    would refuse the peer's segments otherwise.
    """
    cdef const subflow_t *first = conn.subflows[0]
    cdef uint32_t stamp = conn.peer_ts_zero + clock_ms(plane, conn.ts_zero_ns)
    if not conn.joined and first != NULL and first.timestamps:
        stamp = first.ts_recent
    if <int32_t>(stamp - conn.host_stamp) > 0:
        conn.host_stamp = stamp
    return conn.host_stamp


cdef void host_frame(plane_t *plane, conn_t *conn, frame_t *frame, uint8_t flags,
                     uint64_t offset) noexcept nogil:
    frame.version = conn.version
    frame.flags = flags
    frame.options_size = 0
    frame.tos = 0
    frame.src = conn.host_remote
    frame.dst = conn.host_local
    frame.src_port = conn.host_remote_port
    frame.dst_port = conn.host_local_port
    frame.window = output_host_window(conn)
    conn.host_window_field = frame.window
    frame.seq = conn.peer_isn + 1 + <uint32_t>offset
    frame.ack = conn.host_isn + 1 + <uint32_t>conn.tx_una + (1 if conn.fin_acked else 0)
    frame.payload_size = 0
    frame.payload_sum = 0
    if conn.host_timestamps:
        add_timestamp(frame, host_stamp(plane, conn), conn.host_ts_recent, 1)


cdef int inject(plane_t *plane, conn_t *conn, uint64_t offset, uint32_t size, uint8_t flags) noexcept nogil:
    cdef frame_t frame
    cdef int port = PORT_HOST4 if conn.version == 4 else PORT_HOST6
    cdef transmit_t *slot = begin(plane, port)
    if slot == NULL:
        return EMIT_FULL
    host_frame(plane, conn, &frame, TCP_ACK | flags, offset)
    if gather(&conn.rx_ring, slot, &frame, offset, size) < 0:
        return EMIT_GONE
    finish(plane, port, slot, &frame)
    count(plane, COUNTER_TRANSMIT_HOST)
    plane.counters[COUNTER_INJECTED_BYTES] += size
    conn.host_ack_now = 0
    if conn.fin_acked:
        conn.host_fin_acked = 1
    return EMIT_OK


cdef int inject_reset(plane_t *plane, conn_t *conn) noexcept nogil:
    return inject(plane, conn, conn.rx_acked + (1 if conn.rx_fin_acked else 0), 0, TCP_RST)
