"""TCP header and options; see the header for statuses and flags."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.string cimport memcpy, memset

from mpcore.wire.bits cimport load16, load32, store16, store32
from mpcore.wire.checksum cimport sum_bytes, sum_join, sum_pseudo


cdef int tcp_parse(const uint8_t *data, uint32_t size, tcp_t *out) noexcept nogil:
    if size < 20:
        return TCP_TRUNCATED
    memset(out, 0, sizeof(tcp_t))
    out.header_size = <uint8_t>((data[12] >> 4) * 4)
    if out.header_size < 20:
        return TCP_MALFORMED
    if out.header_size > size:
        return TCP_TRUNCATED
    out.src_port = load16(data)
    out.dst_port = load16(data + 2)
    out.seq = load32(data + 4)
    out.ack = load32(data + 8)
    out.flags = data[13]
    out.window = load16(data + 14)
    out.checksum = load16(data + 16)
    out.urgent = load16(data + 18)
    out.options = data + 20
    out.payload = data + out.header_size
    out.payload_size = size - out.header_size
    _walk_options(out)
    return TCP_OK


# RFC 9293 §3.1: kinds other than END and NOP carry their length, which counts kind and length octets.
cdef void _walk_options(tcp_t *out) noexcept nogil:
    cdef const uint8_t *options = out.options
    cdef uint32_t end = <uint32_t>out.header_size - 20
    cdef uint32_t at = 0
    while at < end:
        if options[at] == KIND_END:
            return
        if options[at] == KIND_NOP:
            at += 1
            continue
        if end - at < 2 or options[at + 1] < 2 or options[at + 1] > end - at:
            out.has |= TCP_BAD_OPTIONS
            return
        _take_option(options + at, options[at + 1], out)
        at += options[at + 1]


# One option of `size` >= 2 octets. A known kind of wrong size is ignored; of a kind that repeats, the first
# one counts.
cdef void _take_option(const uint8_t *option, uint8_t size, tcp_t *out) noexcept nogil:
    cdef uint8_t kind = option[0]
    if kind == KIND_MPTCP:
        _take_mptcp(option, size, out)
    elif kind == KIND_TIMESTAMP:
        if size == 10 and not out.has & TCP_HAS_TIMESTAMP:
            out.ts_val = load32(option + 2)
            out.ts_ecr = load32(option + 6)
            out.has |= TCP_HAS_TIMESTAMP
    elif kind == KIND_SACK:
        _take_sack(option, size, out)
    elif kind == KIND_MSS:
        if size == 4 and not out.has & TCP_HAS_MSS:
            out.mss = load16(option + 2)
            out.has |= TCP_HAS_MSS
    elif kind == KIND_WSCALE:
        if size == 3 and not out.has & TCP_HAS_WSCALE:
            out.wscale = option[2]
            out.has |= TCP_HAS_WSCALE
    elif kind == KIND_SACK_PERMITTED:
        if size == 2:
            out.has |= TCP_HAS_SACK_PERMITTED
    elif kind == KIND_FASTOPEN:
        out.has |= TCP_HAS_FASTOPEN
    elif kind == KIND_MD5 or kind == KIND_AO:
        out.has |= TCP_HAS_AUTH


cdef inline void _take_mptcp(const uint8_t *option, uint8_t size, tcp_t *out) noexcept nogil:
    if size >= 3 and out.mptcp_count < TCP_MPTCP_MAX:
        out.mptcp[out.mptcp_count] = option
        out.mptcp_size[out.mptcp_count] = size
        out.mptcp_count += 1
        out.has |= TCP_HAS_MPTCP


# RFC 2018 §3: one to four blocks of two sequence numbers.
cdef inline void _take_sack(const uint8_t *option, uint8_t size, tcp_t *out) noexcept nogil:
    cdef uint32_t block
    if out.has & TCP_HAS_SACK or size < 10 or (size - 2) & 7 or size > 2 + 8 * TCP_SACK_MAX:
        return
    out.sack_count = (size - 2) >> 3
    for block in range(out.sack_count):
        out.sack_start[block] = load32(option + 2 + 8 * block)
        out.sack_end[block] = load32(option + 6 + 8 * block)
    out.has |= TCP_HAS_SACK


cdef uint32_t tcp_emit(uint8_t *out, uint16_t src_port, uint16_t dst_port, uint32_t seq, uint32_t ack,
                       uint8_t flags, uint16_t window,
                       const uint8_t *options, uint32_t options_size) noexcept nogil:
    cdef uint32_t header_size
    if options_size > TCP_OPTIONS_MAX:
        return 0
    header_size = 20 + ((options_size + 3) & ~<uint32_t>3)
    store16(out, src_port)
    store16(out + 2, dst_port)
    store32(out + 4, seq)
    store32(out + 8, ack)
    out[12] = <uint8_t>(header_size << 2)
    out[13] = flags
    store16(out + 14, window)
    store32(out + 16, 0)                   # checksum and urgent pointer
    if options_size:
        memcpy(out + 20, options, options_size)
        memset(out + 20 + options_size, KIND_NOP, header_size - 20 - options_size)
    return header_size


cdef int tcp_checksum_ok(int version, const uint8_t *src, const uint8_t *dst,
                         const uint8_t *segment, uint32_t size) noexcept nogil:
    return sum_join(sum_pseudo(version, src, dst, 6, size), 0, sum_bytes(segment, size)) == 0xffff


_STATUS_NAMES = {TCP_OK: "ok", TCP_TRUNCATED: "truncated", TCP_MALFORMED: "malformed"}


def describe(segment):
    """Return a TCP segment (without IP header) as a dictionary; `status` is ok, truncated or malformed.

    Other keys are there only when the status is ok; of options not present the value is None. For tests and
    tools.
    """
    cdef Py_buffer view
    PyObject_GetBuffer(segment, &view, PyBUF_SIMPLE)
    try:
        return _describe(<const uint8_t *>view.buf, <uint32_t>min(view.len, 0xffffffff))
    finally:
        PyBuffer_Release(&view)


cdef dict _describe(const uint8_t *segment, uint32_t size):
    cdef tcp_t tcp
    cdef int status = tcp_parse(segment, size, &tcp)
    if status != TCP_OK:
        return {"status": _STATUS_NAMES[status]}
    return {
        "status": "ok",
        "src_port": tcp.src_port,
        "dst_port": tcp.dst_port,
        "seq": tcp.seq,
        "ack": tcp.ack,
        "flags": tcp.flags,
        "window": tcp.window,
        "checksum": tcp.checksum,
        "urgent": tcp.urgent,
        "header_size": tcp.header_size,
        "payload": tcp.payload[:tcp.payload_size],
        **_describe_options(&tcp),
    }


cdef dict _describe_options(const tcp_t *tcp):
    return {
        "mss": tcp.mss if tcp.has & TCP_HAS_MSS else None,
        "wscale": tcp.wscale if tcp.has & TCP_HAS_WSCALE else None,
        "sack_permitted": bool(tcp.has & TCP_HAS_SACK_PERMITTED),
        "timestamps": (tcp.ts_val, tcp.ts_ecr) if tcp.has & TCP_HAS_TIMESTAMP else None,
        "sack": tuple([(tcp.sack_start[i], tcp.sack_end[i]) for i in range(tcp.sack_count)]),
        "mptcp": tuple([tcp.mptcp[i][:tcp.mptcp_size[i]] for i in range(tcp.mptcp_count)]),
        "fastopen": bool(tcp.has & TCP_HAS_FASTOPEN),
        "auth": bool(tcp.has & TCP_HAS_AUTH),
        "bad_options": bool(tcp.has & TCP_BAD_OPTIONS),
    }


def emit_header(uint16_t src_port, uint16_t dst_port, uint32_t seq, uint32_t ack, uint8_t flags,
                uint16_t window, bytes options not None=b""):
    """Return a TCP header with checksum 0.

    Options are padded with NOP to a multiple of four; more than 40 bytes are a ValueError.
    """
    cdef uint8_t out[TCP_HEADER_MAX]
    cdef uint32_t size = 0
    if len(options) <= TCP_OPTIONS_MAX:
        size = tcp_emit(out, src_port, dst_port, seq, ack, flags, window,
                        options, <uint32_t>len(options))
    if size == 0:
        raise ValueError(f"{len(options)} bytes of options do not fit: TCP has room for 40")
    return out[:size]


def checksum_ok(bytes src not None, bytes dst not None, bytes segment not None):
    """Return whether the segment's checksum is right between the raw addresses `src` and `dst`."""
    if len(src) != len(dst) or len(src) not in (4, 16):
        raise ValueError("addresses must be 4 or 16 bytes, both of the same length")
    return bool(tcp_checksum_ok(4 if len(src) == 4 else 6, src, dst, segment, <uint32_t>len(segment)))
