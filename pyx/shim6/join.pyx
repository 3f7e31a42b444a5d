"""Joins segments of one TCP connection; see the header."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcmp, memcpy

from mpcore.shim6.chain cimport IPV6_SIZE
from mpcore.shim6.fields cimport (
    ADDRESSES_SIZE, DESTINATION, HOP_LIMIT, NEXT_HEADER, PAYLOAD_LENGTH, SOURCE, TCP_ACK_SEQ, TCP_CHECKSUM,
    TCP_DATA_OFFSET, TCP_FLAGS, TCP_PORTS_SIZE, TCP_PROTOCOL, TCP_SEQ, TCP_SIZE, TCP_URGENT, TCP_WINDOW,
)
from mpcore.store.packet cimport FROM_NETWORK, VERDICT_DROP, VERDICT_REWRITE
from mpcore.wire.bits cimport load16, load32, store16
from mpcore.wire.checksum cimport checksum_finish, sum_bytes, sum_join, sum_pseudo
from mpcore.wire.tcp cimport TCP_ACK, TCP_PSH

cdef enum:
    ONES = 0xffff


cdef struct segment_t:         # one that may be joined
    const uint8_t *data        # IPv6 header, TCP header behind it
    const uint8_t *tcp
    uint32_t header_size       # of TCP, with options
    uint32_t payload_size


cdef struct run_t:             # what becomes one packet
    packet_t *packet           # the first, which the others are appended to; NULL: none
    segment_t first
    uint32_t parts
    uint32_t next_seq
    uint32_t payload_size      # of all
    uint32_t payload_sum       # if the checksums are right
    uint8_t ended


cdef int segment_parse(const packet_t *packet, segment_t *out) noexcept nogil:
    """Take a segment with payload, no flags but ACK and PSH, right behind an IPv6 header; 0: it is none."""
    cdef const uint8_t *data = packet.data
    cdef uint32_t size
    if packet.size < IPV6_SIZE + TCP_SIZE or data[NEXT_HEADER] != TCP_PROTOCOL:
        return 0
    size = load16(data + PAYLOAD_LENGTH)
    if IPV6_SIZE + size != packet.size:
        return 0
    out.data = data
    out.tcp = data + IPV6_SIZE
    out.header_size = (out.tcp[TCP_DATA_OFFSET] >> 4) * <uint32_t>4
    if out.header_size < TCP_SIZE or out.header_size >= size:
        return 0
    if out.tcp[TCP_DATA_OFFSET] & 0x0f or out.tcp[TCP_FLAGS] & ~TCP_PSH != TCP_ACK:
        return 0
    out.payload_size = size - out.header_size
    return 1


cdef uint32_t headers_sum(const segment_t *segment, uint32_t payload_size) noexcept nogil:
    """Pseudo-header and TCP header as they are, for a payload of this size."""
    cdef uint32_t total = sum_pseudo(6, segment.data + SOURCE, segment.data + DESTINATION, TCP_PROTOCOL,
                                     segment.header_size + payload_size)
    return sum_join(total, 0, sum_bytes(segment.tcp, segment.header_size))


cdef inline uint32_t told_sum(const segment_t *segment) noexcept nogil:
    """The payload's sum as the checksum has it: a right segment adds up to ones (RFC 9293 §3.1)."""
    return ~headers_sum(segment, segment.payload_size) & ONES


cdef inline int same_connection(const segment_t *a, const segment_t *b) noexcept nogil:
    return (memcmp(a.data + SOURCE, b.data + SOURCE, ADDRESSES_SIZE) == 0
            and memcmp(a.tcp, b.tcp, TCP_PORTS_SIZE) == 0)


cdef inline int same_headers(const segment_t *a, const segment_t *b) noexcept nogil:
    """All that TCP looks at: marks of routers, hop limit, acknowledgement, window, options."""
    return (a.header_size == b.header_size
            and memcmp(a.data, b.data, PAYLOAD_LENGTH) == 0
            and a.data[HOP_LIMIT] == b.data[HOP_LIMIT]
            and memcmp(a.tcp + TCP_ACK_SEQ, b.tcp + TCP_ACK_SEQ, 4) == 0
            and memcmp(a.tcp + TCP_WINDOW, b.tcp + TCP_WINDOW, 2) == 0
            and memcmp(a.tcp + TCP_URGENT, b.tcp + TCP_URGENT, a.header_size - TCP_URGENT) == 0)


cdef int may_follow(const run_t *run, const segment_t *next) noexcept nogil:
    """Tell whether `next` can stand behind a run. Nothing follows PSH, or one shorter than the first."""
    cdef uint32_t size = run.packet.size + next.payload_size
    if run.ended or run.packet.limit == NULL or run.next_seq != load32(next.tcp + TCP_SEQ):
        return 0
    if next.payload_size > run.first.payload_size:
        return 0
    return (size <= JOINED_MAX and run.packet.limit - run.packet.data >= <ptrdiff_t>size
            and same_headers(&run.first, next))


cdef inline int is_last(const segment_t *segment, uint32_t full_size) noexcept nogil:
    return segment.payload_size < full_size or segment.tcp[TCP_FLAGS] & TCP_PSH != 0


cdef void run_begin(run_t *run, packet_t *packet, const segment_t *first) noexcept nogil:
    run.packet = packet
    run.first = first[0]
    run.parts = 1
    run.next_seq = load32(first.tcp + TCP_SEQ) + first.payload_size
    run.payload_size = first.payload_size
    run.ended = is_last(first, first.payload_size)


cdef void run_append(run_t *run, packet_t *packet, const segment_t *next) noexcept nogil:
    if run.parts == 1:
        run.payload_sum = told_sum(&run.first)
    run.payload_sum = sum_join(run.payload_sum, run.payload_size, told_sum(next))
    memcpy(run.packet.data + run.packet.size, next.tcp + next.header_size, next.payload_size)
    run.packet.size += next.payload_size
    run.payload_size += next.payload_size
    run.next_seq += next.payload_size
    run.parts += 1
    run.ended = is_last(next, run.first.payload_size)
    run.packet.data[IPV6_SIZE + TCP_FLAGS] |= next.tcp[TCP_FLAGS]
    packet.verdict = VERDICT_DROP


cdef uint64_t run_end(run_t *run) noexcept nogil:
    """Give the packet the length and the checksum of what it became; returns how many joined the first."""
    cdef uint8_t *data
    if run.packet == NULL or run.parts == 1:
        return 0
    data = run.packet.data
    store16(data + PAYLOAD_LENGTH, <uint16_t>(run.packet.size - IPV6_SIZE))
    store16(data + IPV6_SIZE + TCP_CHECKSUM, 0)
    store16(data + IPV6_SIZE + TCP_CHECKSUM, checksum_finish(
        sum_join(headers_sum(&run.first, run.payload_size), 0, run.payload_sum)))
    return run.parts - 1


cdef uint64_t segments_join(packet_t *packets, uint32_t start, uint32_t count) noexcept nogil:
    cdef run_t[JOIN_RUNS] runs
    cdef segment_t segment
    cdef run_t *run
    cdef uint64_t joined = 0
    cdef uint32_t i, place, used = 0
    for i in range(start, count):
        if (packets[i].direction != FROM_NETWORK or packets[i].verdict != VERDICT_REWRITE
                or not segment_parse(&packets[i], &segment)):
            continue
        place = 0
        while place < used and not same_connection(&runs[place].first, &segment):
            place += 1
        run = &runs[place % JOIN_RUNS]
        if place < used and may_follow(run, &segment):
            run_append(run, &packets[i], &segment)
            continue
        if place < used or place == JOIN_RUNS:
            joined += run_end(run)
        else:
            used += 1
        run_begin(run, &packets[i], &segment)
    for place in range(used):
        joined += run_end(&runs[place])
    return joined
