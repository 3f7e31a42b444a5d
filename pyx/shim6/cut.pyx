"""Cuts super-packets of TCP; see the header."""

from libc.stdint cimport int64_t, uint16_t
from libc.string cimport memcpy

from mpcore.shim6.chain cimport CHAIN_OK, IPV6_SIZE, NEXT_ROUTING, chain_begin, chain_t
from mpcore.shim6.fields cimport (
    DESTINATION, PAYLOAD_LENGTH, SOURCE, TCP_CHECKSUM, TCP_DATA_OFFSET, TCP_FLAGS, TCP_PROTOCOL, TCP_SEQ,
    TCP_SIZE,
)
from mpcore.store.packet cimport transmit_t
from mpcore.wire.bits cimport load16, load32, store16, store32
from mpcore.wire.checksum cimport checksum_finish, sum_bytes, sum_join, sum_pseudo
from mpcore.wire.rewrite cimport SHIM6_HEADER_SIZE, shim6_insert
from mpcore.wire.tcp cimport TCP_CWR, TCP_FIN, TCP_PSH

cdef enum:
    LAST_ONLY = TCP_FIN | TCP_PSH
    FIRST_ONLY = TCP_CWR       # RFC 3168 §6.1.2


cdef int headers_end(const uint8_t *data, uint32_t size, chain_t *place) noexcept nogil:
    """Return where the payload begins, with `place` at TCP; 0 when there is none."""
    cdef uint32_t header_size
    if size < IPV6_SIZE or data[0] >> 4 != 6 or IPV6_SIZE + <uint32_t>load16(data + PAYLOAD_LENGTH) != size:
        return 0
    if chain_begin(data, size, place) != CHAIN_OK or place.kind != TCP_PROTOCOL:
        return 0
    if place.at > size or size - place.at < TCP_SIZE:
        return 0
    header_size = (data[place.at + TCP_DATA_OFFSET] >> 4) * <uint32_t>4
    if header_size < TCP_SIZE or header_size > size - place.at:
        return 0
    return <int>(place.at + header_size)


cdef const uint8_t *cut_tcp(const packet_t *packet) noexcept nogil:
    cdef chain_t place
    return packet.data + place.at if headers_end(packet.data, packet.size, &place) else NULL


cdef int cut_begin(cut_t *cut, const packet_t *packet, const shim6_flow_t *flow,
                   uint32_t mss) noexcept nogil:
    cdef uint8_t[TRANSMIT_HEADER_MAX] bare
    cdef uint8_t *tcp
    cdef chain_t place
    cdef const uint8_t *data = packet.data
    cdef uint32_t end = <uint32_t>headers_end(data, packet.size, &place)
    cdef uint32_t options
    cdef int64_t size
    if end == 0 or end + SHIM6_HEADER_SIZE > TRANSMIT_HEADER_MAX or is_routed(data, &place):
        return CUT_OTHER
    memcpy(bare, data, end)
    store16(bare + PAYLOAD_LENGTH, <uint16_t>(end - IPV6_SIZE))
    size = shim6_insert(bare, end, flow, cut.header, TRANSMIT_HEADER_MAX)
    if size != end + SHIM6_HEADER_SIZE:
        return CUT_OTHER
    options = end - place.at - TCP_SIZE
    cut.header_size = <uint32_t>size
    cut.tcp_at = place.at + SHIM6_HEADER_SIZE
    cut.step = mss - options if mss > options else 1
    cut.payload = data + end
    cut.payload_size = packet.size - end
    tcp = cut.header + cut.tcp_at
    cut.seq = load32(tcp + TCP_SEQ)
    cut.flags = tcp[TCP_FLAGS]
    store32(tcp + TCP_SEQ, 0)
    store16(tcp + TCP_CHECKSUM, 0)
    tcp[TCP_FLAGS] = 0
    # RFC 5533 §11.1: checksums cover the ULIDs
    cut.tcp_sum = sum_join(sum_pseudo(6, data + SOURCE, data + DESTINATION, TCP_PROTOCOL, 0), 0,
                           sum_bytes(tcp, TCP_SIZE + options))
    return CUT_OK


cdef int is_routed(const uint8_t *data, const chain_t *end) noexcept nogil:
    """Tell whether a routing header is in front of TCP, whose checksum has another destination then."""
    cdef uint32_t at = IPV6_SIZE
    cdef uint8_t kind = data[6]
    while at < end.at:
        if kind == NEXT_ROUTING:
            return 1
        kind = data[at]
        at += (<uint32_t>data[at + 1] + 1) * 8
    return 0


cdef void segment_emit(cut_t *cut, uint32_t size, transmit_t *out) noexcept nogil:
    cdef uint8_t *tcp = out.header + cut.tcp_at
    cdef uint32_t tcp_size = cut.header_size - cut.tcp_at
    cdef uint8_t flags = cut.flags & ~(LAST_ONLY if size < cut.payload_size else 0)
    cdef uint32_t total = sum_join(cut.tcp_sum, 0, sum_bytes(cut.payload, size))
    memcpy(out.header, cut.header, cut.header_size)
    store16(out.header + PAYLOAD_LENGTH, <uint16_t>(cut.header_size - IPV6_SIZE + size))
    store32(tcp + TCP_SEQ, cut.seq)
    tcp[TCP_FLAGS] = flags
    total = sum_join(total, 0, (cut.seq >> 16) + (cut.seq & 0xffff) + flags + tcp_size + size)
    store16(tcp + TCP_CHECKSUM, checksum_finish(total))
    out.header_size = <uint16_t>cut.header_size
    out.carrier = 0
    out.piece_count = 1
    out.piece[0] = cut.payload
    out.piece_size[0] = size


cdef uint32_t cut_fill(cut_t *cut, transmit_queue_t *queue) noexcept nogil:
    cdef uint32_t count = 0, size
    while cut.payload_size > 0 and queue.tail - queue.head <= queue.mask:
        size = min(cut.step, cut.payload_size)
        segment_emit(cut, size, &queue.slots[queue.tail & queue.mask])
        queue.tail += 1
        count += 1
        cut.payload += size
        cut.payload_size -= size
        cut.seq += size
        cut.flags &= ~FIRST_ONLY & 0xff
    return count
