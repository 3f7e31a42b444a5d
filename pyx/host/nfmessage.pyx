"""Parse and emit the messages of the kernel's packet queue.

Netlink's own fields are in host byte order, nfnetlink_queue's values in network byte order; every message and
attribute is padded to four bytes.
"""

from libc.string cimport memcpy, memset

from mpcore.store.packet cimport (
    FROM_HOST, FROM_NETWORK, PACKET_CHECKSUM_NOT_READY, PACKET_GSO, PACKET_TRUNCATED, VERDICT_PASS,
)
from mpcore.wire.bits cimport load32, store16, store32


cdef enum:
    HEADER_SIZE = 16       # struct nlmsghdr
    FAMILY_SIZE = 4        # struct nfgenmsg
    ATTRIBUTE_SIZE = 4     # struct nlattr
    TYPE_MASK = 0x3fff     # less the nested and byte-order bits

    NLMSG_ERROR = 2
    NLMSG_FIRST_FREE = 16  # types below are netlink's own
    NLM_F_REQUEST = 1
    NLM_F_ACK = 4

    SUBSYSTEM_QUEUE = 3 << 8
    QUEUE_PACKET = SUBSYSTEM_QUEUE | 0
    QUEUE_VERDICT = SUBSYSTEM_QUEUE | 1
    QUEUE_CONFIG = SUBSYSTEM_QUEUE | 2
    QUEUE_VERDICT_BATCH = SUBSYSTEM_QUEUE | 3

    NFQA_PACKET_HDR = 1
    NFQA_VERDICT_HDR = 2
    NFQA_MARK = 3
    NFQA_PAYLOAD = 10
    NFQA_CAP_LEN = 13
    NFQA_SKB_INFO = 14
    PACKET_HDR_SIZE = 7
    SKB_CHECKSUM_NOT_READY = 1
    SKB_GSO = 2

    NFQA_CFG_CMD = 1
    NFQA_CFG_PARAMS = 2
    NFQA_CFG_QUEUE_MAXLEN = 3
    NFQA_CFG_MASK = 4
    NFQA_CFG_FLAGS = 5
    COMMAND_UNBIND = 2
    COPY_PACKET = 2

    HOOK_LOCAL_OUT = 3
    HOOK_POST_ROUTING = 4


cdef uint16_t native16(const uint8_t *p) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, p, 2)
    return value


cdef uint32_t native32(const uint8_t *p) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, p, 4)
    return value


cdef uint32_t align4(uint32_t size) noexcept nogil:
    return (size + 3) & ~<uint32_t>3


cdef uint32_t message_parse(uint8_t *data, uint32_t size, message_t *out, packet_t *packet) noexcept nogil:
    cdef uint32_t length
    cdef uint16_t kind
    if size < HEADER_SIZE:
        return 0
    length = native32(data)
    if length < HEADER_SIZE or length > size:
        return 0
    kind = native16(data + 4)
    out.kind = MESSAGE_IGNORED
    if kind == QUEUE_PACKET:
        out.kind = MESSAGE_MALFORMED
        if length >= HEADER_SIZE + FAMILY_SIZE and packet_parse(
                data + HEADER_SIZE + FAMILY_SIZE, length - HEADER_SIZE - FAMILY_SIZE, packet):
            out.kind = MESSAGE_PACKET
    elif kind == NLMSG_ERROR:
        status_parse(data + HEADER_SIZE, length - HEADER_SIZE, out)
    elif kind >= NLMSG_FIRST_FREE:
        out.kind = MESSAGE_MALFORMED
    # length <= size < 2**31 here, so that aligning it cannot wrap
    return min(align4(length), size)


cdef void status_parse(const uint8_t *data, uint32_t size, message_t *out) noexcept nogil:
    """Read struct nlmsgerr: a negative errno, then the header of the message that it answers."""
    if size < 4 + HEADER_SIZE:
        out.kind = MESSAGE_MALFORMED
        return
    out.kind = MESSAGE_STATUS
    out.status = <int>native32(data)
    out.seq = native32(data + 4 + 8)


cdef bint packet_parse(uint8_t *data, uint32_t size, packet_t *packet) noexcept nogil:
    """Walk the attributes; False when one overruns the message, or without the packet's id or bytes."""
    cdef uint32_t length
    cdef uint8_t *value
    memset(packet, 0, sizeof(packet_t))
    packet.verdict = VERDICT_PASS
    packet.hook = 255
    while size >= ATTRIBUTE_SIZE:
        length = native16(data)
        if length < ATTRIBUTE_SIZE or length > size:
            return False
        value = data + ATTRIBUTE_SIZE
        attribute_parse(native16(data + 2) & TYPE_MASK, value, length - ATTRIBUTE_SIZE, packet)
        length = min(align4(length), size)
        data += length
        size -= length
    return packet.data != NULL and packet.hook != 255


cdef void attribute_parse(int kind, uint8_t *value, uint32_t size, packet_t *packet) noexcept nogil:
    if kind == NFQA_PAYLOAD:
        packet.data = value
        packet.size = size
    elif kind == NFQA_PACKET_HDR and size >= PACKET_HDR_SIZE:
        packet.id = load32(value)
        packet.hook = value[6]
        packet.direction = FROM_HOST if value[6] in (HOOK_LOCAL_OUT, HOOK_POST_ROUTING) else FROM_NETWORK
    elif kind == NFQA_MARK and size >= 4:
        packet.mark = load32(value)
    elif kind == NFQA_SKB_INFO and size >= 4:
        if load32(value) & SKB_CHECKSUM_NOT_READY:
            packet.flags |= PACKET_CHECKSUM_NOT_READY
        if load32(value) & SKB_GSO:
            packet.flags |= PACKET_GSO
    elif kind == NFQA_CAP_LEN:
        # sent only when the copy is shorter than the packet
        packet.flags |= PACKET_TRUNCATED


cdef void put_header(uint8_t *out, uint32_t size, uint16_t kind, uint16_t flags, uint32_t seq,
                     uint16_t queue) noexcept nogil:
    """Write nlmsghdr and nfgenmsg: family AF_UNSPEC, version 0, the queue's number as resource."""
    memset(out, 0, HEADER_SIZE + FAMILY_SIZE)
    memcpy(out, &size, 4)
    memcpy(out + 4, &kind, 2)
    memcpy(out + 6, &flags, 2)
    memcpy(out + 8, &seq, 4)
    store16(out + HEADER_SIZE + 2, queue)


cdef void put_attribute(uint8_t *out, uint16_t kind, uint16_t value_size) noexcept nogil:
    cdef uint16_t length = <uint16_t>(ATTRIBUTE_SIZE + value_size)
    memcpy(out, &length, 2)
    memcpy(out + 2, &kind, 2)


cdef uint32_t put_value32(uint8_t *out, uint16_t kind, uint32_t value) noexcept nogil:
    put_attribute(out, kind, 4)
    store32(out + ATTRIBUTE_SIZE, value)
    return ATTRIBUTE_SIZE + 4


cdef uint32_t verdict_emit(uint8_t *out, const verdict_t *verdict) noexcept nogil:
    cdef uint32_t size = HEADER_SIZE + FAMILY_SIZE
    cdef uint16_t kind = QUEUE_VERDICT_BATCH if verdict.batch else QUEUE_VERDICT
    put_attribute(out + size, NFQA_VERDICT_HDR, 8)
    store32(out + size + ATTRIBUTE_SIZE, verdict.code)
    store32(out + size + ATTRIBUTE_SIZE + 4, verdict.id)
    size += ATTRIBUTE_SIZE + 8
    if verdict.has_mark:
        size += put_value32(out + size, NFQA_MARK, verdict.mark)
    if verdict.payload_size:
        put_attribute(out + size, NFQA_PAYLOAD, <uint16_t>verdict.payload_size)
        size += ATTRIBUTE_SIZE
    put_header(out, align4(size + verdict.payload_size), kind, NLM_F_REQUEST, 0, verdict.queue)
    return size


cdef uint32_t config_emit(uint8_t *out, uint16_t queue, uint32_t seq, uint32_t copy_range,
                          uint32_t max_length, uint32_t flags) noexcept nogil:
    cdef uint32_t size = HEADER_SIZE + FAMILY_SIZE
    memset(out, 0, CONFIG_SIZE)
    put_attribute(out + size, NFQA_CFG_PARAMS, 5)
    store32(out + size + ATTRIBUTE_SIZE, copy_range)
    out[size + ATTRIBUTE_SIZE + 4] = COPY_PACKET
    size += align4(ATTRIBUTE_SIZE + 5)
    size += put_value32(out + size, NFQA_CFG_QUEUE_MAXLEN, max_length)
    size += put_value32(out + size, NFQA_CFG_FLAGS, flags)
    size += put_value32(out + size, NFQA_CFG_MASK, QUEUE_FAIL_OPEN | QUEUE_GSO)
    put_header(out, size, QUEUE_CONFIG, NLM_F_REQUEST | NLM_F_ACK, seq, queue)
    return size


cdef uint32_t unbind_emit(uint8_t *out, uint16_t queue) noexcept nogil:
    cdef uint32_t size = HEADER_SIZE + FAMILY_SIZE
    put_attribute(out + size, NFQA_CFG_CMD, 4)
    memset(out + size + ATTRIBUTE_SIZE, 0, 4)
    out[size + ATTRIBUTE_SIZE] = COMMAND_UNBIND
    size += ATTRIBUTE_SIZE + 4
    put_header(out, size, QUEUE_CONFIG, NLM_F_REQUEST, 0, queue)
    return size
