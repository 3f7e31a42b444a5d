"""Shim6 headers in the data path; see the header for statuses."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer

from mpcore.wire.bits cimport load16, load32, store16, store32
from mpcore.wire.checksum cimport checksum_finish, sum_bytes

cdef enum:
    PAYLOAD_BIT = 0x80
    HIP_BIT = 0x01
    TAG_HIGH_MASK = 0x7fff     # 15 of the 47 bits; the one in front is P, or reserved
    TAG_AT = 6                 # in a control message

    # control messages (RFC 5533 §5.3, table 1)
    I1 = 1
    R1 = 2
    I2 = 3
    R2 = 4
    R1BIS = 5
    I2BIS = 6
    UPDATE_REQUEST = 64
    UPDATE_ACK = 65
    KEEPALIVE = 66
    PROBE = 67
    ERROR = 68


cdef int shim6_parse(const uint8_t *data, uint32_t size, shim6_t *out) noexcept nogil:
    if size < SHIM6_PAYLOAD_SIZE:
        return SHIM6_TRUNCATED
    out.size = <uint16_t>(8 * (data[1] + 1))
    if size < out.size:
        return SHIM6_TRUNCATED
    out.next_header = data[0]
    out.is_payload = data[2] & PAYLOAD_BIT != 0
    if out.is_payload:
        # RFC 5533 §5.2: the length is 0, since all of the 8 octets are taken.
        out.type = out.code = 0
        out.has_tag = 1
        out.tag = _tag(data + 2)
        return SHIM6_OK if data[1] == 0 else SHIM6_MALFORMED
    return _parse_control(data, out)


# at least out.size octets at `data`
cdef int _parse_control(const uint8_t *data, shim6_t *out) noexcept nogil:
    out.type = data[2]
    out.code = data[3] >> 1
    if data[3] & HIP_BIT or out.size < _size_min(out.type):
        return SHIM6_MALFORMED
    # RFC 5533 §5.3: over the header alone, without a pseudo-header.
    if checksum_finish(sum_bytes(data, out.size)) != 0:
        return SHIM6_CHECKSUM
    out.has_tag = _has_tag(out.type)
    out.tag = _tag(data + TAG_AT) if out.has_tag else 0
    return SHIM6_OK


# octets of a message of this type without options (RFC 5533 §5.4 to §5.14, RFC 5534 §5)
cdef uint16_t _size_min(uint8_t type) noexcept nogil:
    if type == I2:
        return 24
    if type == I2BIS:
        return 32
    if type == PROBE:
        return 56
    return 16 if I1 <= type <= I2BIS or UPDATE_REQUEST <= type <= ERROR else 8


cdef uint8_t _has_tag(uint8_t type) noexcept nogil:
    return (I1 <= type <= I2BIS and type != R1) or UPDATE_REQUEST <= type <= PROBE


cdef inline uint64_t _tag(const uint8_t *data) noexcept nogil:
    return (<uint64_t>(load16(data) & TAG_HIGH_MASK) << 32) | load32(data + 2)


cdef uint32_t shim6_emit_payload(uint8_t *out, uint8_t next_header, uint64_t tag) noexcept nogil:
    out[0] = next_header
    out[1] = 0
    store16(out + 2, <uint16_t>(0x8000 | ((tag >> 32) & TAG_HIGH_MASK)))
    store32(out + 4, <uint32_t>tag)
    return SHIM6_PAYLOAD_SIZE


_STATUS_NAMES = {SHIM6_TRUNCATED: "truncated", SHIM6_MALFORMED: "malformed", SHIM6_CHECKSUM: "checksum"}


def describe(data):
    """Return the parsed header as a dictionary; `status` is ok, truncated, malformed or checksum.

    Other keys are there only when the status is ok; `tag` is None where the header has none. For tests and
    tools.
    """
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return _describe(<const uint8_t *>view.buf, <uint32_t>min(view.len, 0xffffffff))
    finally:
        PyBuffer_Release(&view)


cdef dict _describe(const uint8_t *data, uint32_t size):
    cdef shim6_t header
    cdef int status = shim6_parse(data, size, &header)
    if status != SHIM6_OK:
        return {"status": _STATUS_NAMES[status]}
    return {
        "status": "ok",
        "next_header": header.next_header,
        "is_payload": bool(header.is_payload),
        "type": header.type,
        "code": header.code,
        "size": header.size,
        "tag": header.tag if header.has_tag else None,
    }


def emit_payload(uint8_t next_header, uint64_t tag):
    """Return a payload extension header; ValueError for a tag of more than 47 bits."""
    cdef uint8_t out[SHIM6_PAYLOAD_SIZE]
    if tag >> 47:
        raise ValueError(f"a context tag has 47 bits; {tag} does not fit")
    shim6_emit_payload(out, next_header, tag)
    return out[:SHIM6_PAYLOAD_SIZE]
