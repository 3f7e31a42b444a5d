"""IPv4 and IPv6 headers; see the header for statuses."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.string cimport memcpy, memset

from mpcore.wire.bits cimport load16, store16
from mpcore.wire.checksum cimport checksum_finish, sum_bytes

cdef enum:
    NEXT_HOP_BY_HOP = 0
    NEXT_ROUTING = 43
    NEXT_FRAGMENT = 44
    NEXT_AUTHENTICATION = 51
    NEXT_DESTINATION = 60

    # Upper layer included. No host sends a longer chain, and of the longest headers (2048 octets each) the
    # size still fits into header_size.
    EXTENSIONS_MAX = 16


cdef int ip_parse(const uint8_t *data, uint32_t size, ip_t *out) noexcept nogil:
    if size < 1:
        return IP_TRUNCATED
    out.version = data[0] >> 4
    if out.version == 4:
        return _parse_v4(data, size, out)
    if out.version == 6:
        return _parse_v6(data, size, out)
    return IP_MALFORMED


cdef int _parse_v4(const uint8_t *data, uint32_t size, ip_t *out) noexcept nogil:
    if size < 20:
        return IP_TRUNCATED
    out.header_size = <uint16_t>((data[0] & 0x0f) * 4)
    out.total_size = load16(data + 2)
    if out.header_size < 20 or out.total_size < out.header_size:
        return IP_MALFORMED
    if out.total_size > size:
        return IP_TRUNCATED
    if load16(data + 6) & 0x3fff:          # more fragments, or an offset (RFC 791 §3.1)
        return IP_FRAGMENT
    out.tos = data[1]
    out.ttl = data[8]
    out.protocol = data[9]
    out.src = data + 12
    out.dst = data + 16
    return IP_OK


cdef int _parse_v6(const uint8_t *data, uint32_t size, ip_t *out) noexcept nogil:
    if size < 40:
        return IP_TRUNCATED
    out.total_size = 40 + <uint32_t>load16(data + 4)
    if out.total_size > size:
        return IP_TRUNCATED
    out.tos = <uint8_t>((data[0] << 4) | (data[1] >> 4))
    out.ttl = data[7]
    out.src = data + 8
    out.dst = data + 24
    return _walk_extensions(data, out)


# Finds the upper layer behind the extension headers (RFC 8200 §4). Precondition: 40 <= out.total_size <= size
# given.
cdef int _walk_extensions(const uint8_t *data, ip_t *out) noexcept nogil:
    cdef uint32_t at = 40
    cdef uint32_t length
    cdef uint8_t following = data[6]
    for _ in range(EXTENSIONS_MAX):
        if not _is_extension(following):
            out.protocol = following
            out.header_size = <uint16_t>at
            return IP_OK
        if out.total_size - at < 8:
            return IP_MALFORMED
        length = _extension_size(following, data[at + 1])
        if out.total_size - at < length:
            return IP_MALFORMED
        # Behind a fragment header that holds the whole packet the chain goes on (RFC 6946).
        if following == NEXT_FRAGMENT and load16(data + at + 2) & 0xfff9:
            return IP_FRAGMENT
        # With segments left the checksum covers a destination that is not in the header (RFC 8200 §8.1).
        if following == NEXT_ROUTING and data[at + 3] != 0:
            return IP_MALFORMED
        following = data[at]
        at += length
    return IP_MALFORMED


cdef inline bint _is_extension(uint8_t following) noexcept nogil:
    return (following == NEXT_HOP_BY_HOP or following == NEXT_ROUTING or following == NEXT_FRAGMENT
            or following == NEXT_AUTHENTICATION or following == NEXT_DESTINATION)


cdef inline uint32_t _extension_size(uint8_t kind, uint8_t length) noexcept nogil:
    if kind == NEXT_FRAGMENT:
        return 8
    if kind == NEXT_AUTHENTICATION:        # in 4-octet units minus 2 (RFC 4302 §2.2)
        return (<uint32_t>length + 2) * 4
    return (<uint32_t>length + 1) * 8


cdef uint32_t ip_emit(uint8_t *out, int version, const uint8_t *src, const uint8_t *dst, uint8_t protocol,
                      uint8_t ttl, uint8_t tos, uint32_t payload_size) noexcept nogil:
    if version == 4:
        return _emit_v4(out, src, dst, protocol, ttl, tos, payload_size)
    return _emit_v6(out, src, dst, protocol, ttl, tos, payload_size)


cdef uint32_t _emit_v4(uint8_t *out, const uint8_t *src, const uint8_t *dst, uint8_t protocol,
                       uint8_t ttl, uint8_t tos, uint32_t payload_size) noexcept nogil:
    memset(out, 0, 20)
    out[0] = 0x45
    out[1] = tos
    store16(out + 2, <uint16_t>(20 + payload_size))
    store16(out + 6, 0x4000)               # DF: an atomic datagram needs no identification (RFC 6864 §4.1)
    out[8] = ttl
    out[9] = protocol
    memcpy(out + 12, src, 4)
    memcpy(out + 16, dst, 4)
    store16(out + 10, checksum_finish(sum_bytes(out, 20)))
    return 20


cdef uint32_t _emit_v6(uint8_t *out, const uint8_t *src, const uint8_t *dst, uint8_t protocol,
                       uint8_t ttl, uint8_t tos, uint32_t payload_size) noexcept nogil:
    memset(out, 0, 8)
    out[0] = 0x60 | (tos >> 4)
    out[1] = <uint8_t>(tos << 4)
    store16(out + 4, <uint16_t>payload_size)
    out[6] = protocol
    out[7] = ttl
    memcpy(out + 8, src, 16)
    memcpy(out + 24, dst, 16)
    return 40


_STATUS_NAMES = {IP_OK: "ok", IP_TRUNCATED: "truncated", IP_MALFORMED: "malformed", IP_FRAGMENT: "fragment"}


def describe(data):
    """Return the parsed header as a dictionary; `status` is ok, truncated, malformed or fragment.

    Other keys are there only when the status is ok. For tests and tools.
    """
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return _describe(<const uint8_t *>view.buf, <uint32_t>min(view.len, 0xffffffff))
    finally:
        PyBuffer_Release(&view)


cdef dict _describe(const uint8_t *data, uint32_t size):
    cdef ip_t ip
    cdef int status = ip_parse(data, size, &ip)
    if status != IP_OK:
        return {"status": _STATUS_NAMES[status]}
    address_size = 4 if ip.version == 4 else 16
    return {
        "status": "ok",
        "version": ip.version,
        "protocol": ip.protocol,
        "tos": ip.tos,
        "ttl": ip.ttl,
        "header_size": ip.header_size,
        "total_size": ip.total_size,
        "src": ip.src[:address_size],
        "dst": ip.dst[:address_size],
    }


def emit_header(bytes src not None, bytes dst not None, uint8_t protocol, uint32_t payload_size, *,
                uint8_t ttl=64, uint8_t tos=0):
    """Return an IPv4 or IPv6 header, by the length of the addresses, for `payload_size` bytes to follow.

    Raises ValueError for addresses that are not two of 4 or two of 16 bytes, or a payload that is too large.
    """
    cdef uint8_t out[40]
    cdef uint32_t size
    cdef int version = 4 if len(src) == 4 else 6
    if len(src) != len(dst) or len(src) not in (4, 16):
        raise ValueError("addresses must be 4 or 16 bytes, both of the same length")
    if payload_size > (0xffff - 20 if version == 4 else 0xffff):
        raise ValueError(f"{payload_size} bytes do not fit into one IPv{version} packet")
    size = ip_emit(out, version, src, dst, protocol, ttl, tos, payload_size)
    return out[:size]
