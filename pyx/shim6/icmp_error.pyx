"""ICMPv6 errors about packets that left with locators; see the header for statuses.

Routers and peers quote what they saw. A transport knows its packets by the ULIDs and without the Shim6
header, so the quote is turned back before the error goes up (RFC 5533 §8, figure 9).
"""

from typing import NamedTuple

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint16_t
from libc.string cimport memcpy, memset

from mpcore.shim6.chain cimport (
    CHAIN_OK, IPV6_SIZE, NEXT_ICMPV6, NEXT_SHIM6, chain_begin, chain_t,
)
from mpcore.wire.bits cimport load16, load32, store16, store32
from mpcore.wire.checksum cimport checksum_finish, sum_bytes, sum_join, sum_pseudo

cdef enum:
    ICMP_SIZE = 8
    SHIM6_SIZE = 8
    UNREACHABLE = 1            # RFC 4443 §3
    PACKET_TOO_BIG = 2
    TIME_EXCEEDED = 3
    PARAMETER_PROBLEM = 4
    QUOTE_WORDS_MIN = 16       # RFC 4884 §4.2: a quote that says its length has 128 octets or more


cdef int icmp_parse(const uint8_t *data, uint32_t size, icmp_t *out) noexcept nogil:
    cdef chain_t place
    cdef uint32_t words
    if size < IPV6_SIZE or data[0] >> 4 != 6:
        return ICMP_OTHER
    out.end = IPV6_SIZE + <uint32_t>load16(data + 4)
    if out.end > size or chain_begin(data, out.end, &place) != CHAIN_OK:
        return ICMP_CUT
    if place.kind != NEXT_ICMPV6:
        return ICMP_OTHER
    if out.end - place.at < ICMP_SIZE:
        return ICMP_CUT
    out.at = place.at
    out.quote_at = place.at + ICMP_SIZE
    out.type = data[place.at]
    out.code = data[place.at + 1]
    out.value = load32(data + place.at + 4)
    if not UNREACHABLE <= out.type <= PARAMETER_PROBLEM:
        return ICMP_OTHER
    out.quote_end = out.end
    words = _quote_words(data, out)
    if words:
        if out.end - out.quote_at < 8 * words:
            return ICMP_CUT
        out.quote_end = out.quote_at + 8 * words
    if out.quote_end - out.quote_at < IPV6_SIZE or data[out.quote_at] >> 4 != 6:
        return ICMP_CUT
    return ICMP_OK


cdef inline uint32_t _quote_words(const uint8_t *data, const icmp_t *error) noexcept nogil:
    """Octets of eight that the quote has when extensions follow it, else 0 (RFC 4884 §4.2, §4.4)."""
    return data[error.at + 4] if error.type == UNREACHABLE or error.type == TIME_EXCEEDED else 0


cdef uint16_t _checksum(const uint8_t *data, const icmp_t *error) noexcept nogil:
    cdef uint32_t size = error.end - error.at
    return checksum_finish(sum_join(sum_pseudo(6, data + 8, data + 24, NEXT_ICMPV6, size), 0,
                                    sum_bytes(data + error.at, size)))


cdef int icmp_checksum_ok(const uint8_t *data, const icmp_t *error) noexcept nogil:
    return _checksum(data, error) == 0


cdef int64_t icmp_restore(const uint8_t *data, uint32_t size, const uint8_t *ulid_local,
                          const uint8_t *ulid_peer, uint8_t *out, uint32_t room) noexcept nogil:
    cdef icmp_t error
    cdef chain_t place
    cdef uint32_t quoted
    cdef int status = icmp_parse(data, size, &error)
    if status != ICMP_OK:
        return status
    if not icmp_checksum_ok(data, &error):
        return ICMP_CHECKSUM
    quoted = error.quote_end - error.quote_at
    if chain_begin(data + error.quote_at, quoted, &place) != CHAIN_OK or place.kind != NEXT_SHIM6:
        return ICMP_NO_HEADER
    if place.at > quoted or quoted - place.at < SHIM6_SIZE:
        return ICMP_CUT
    if not data[error.quote_at + place.at + 2] & 0x80 or data[error.quote_at + place.at + 1] != 0:
        return ICMP_NO_HEADER
    if error.end > room:
        return ICMP_ROOM
    _write_quote(data, &error, &place, ulid_local, ulid_peer, out)
    _write_value(data, &error, &place, out)
    store16(out + 4, <uint16_t>(error.end - IPV6_SIZE))
    store16(out + error.at + 2, 0)
    store16(out + error.at + 2, _checksum(out, &error))
    return error.end


cdef void _write_quote(const uint8_t *data, icmp_t *error, const chain_t *place, const uint8_t *ulid_local,
                       const uint8_t *ulid_peer, uint8_t *out) noexcept nogil:
    """All but the head of the message; error.quote_end and error.end become those of the result."""
    cdef uint32_t header_at = error.quote_at + place.at, rest_at = error.quote_end, filled = error.quote_end
    cdef uint8_t *quote = out + error.quote_at
    cdef uint16_t length
    memcpy(out, data, header_at)
    quote[place.named_at] = data[header_at]
    memcpy(out + header_at, data + header_at + SHIM6_SIZE, rest_at - header_at - SHIM6_SIZE)
    length = load16(quote + 4)
    store16(quote + 4, length - SHIM6_SIZE if length >= SHIM6_SIZE else 0)
    memcpy(quote + 8, ulid_local, 16)
    memcpy(quote + 24, ulid_peer, 16)
    filled -= SHIM6_SIZE
    if _quote_words(data, error) == QUOTE_WORDS_MIN:
        memset(out + filled, 0, SHIM6_SIZE)
        filled += SHIM6_SIZE
    elif _quote_words(data, error):
        out[error.at + 4] -= 1
    memcpy(out + filled, data + rest_at, error.end - rest_at)
    error.end = filled + (error.end - rest_at)
    error.quote_end = filled


cdef void _write_value(const uint8_t *data, const icmp_t *error, const chain_t *place,
                       uint8_t *out) noexcept nogil:
    """MTU or pointer; one into the Shim6 header itself then tells where its type was named."""
    cdef uint32_t value = error.value
    if error.type == PACKET_TOO_BIG:
        # RFC 5533 §8: the shim adds 8 octets to what the transport sends.
        store32(out + error.at + 4, value - SHIM6_SIZE if value >= SHIM6_SIZE else 0)
    elif error.type == PARAMETER_PROBLEM and value >= place.at:
        store32(out + error.at + 4,
                value - SHIM6_SIZE if value >= place.at + SHIM6_SIZE else place.named_at)


class IcmpError(NamedTuple):
    """An ICMPv6 error; `pointer` is the MTU of a Packet Too Big, `quote` begins with an IPv6 header."""

    type: int
    code: int
    pointer: int
    quote: bytes


def read_error(packet):
    """Return the ICMPv6 error in an IPv6 packet, or None: another packet, cut short, or a wrong checksum."""
    cdef Py_buffer view
    cdef icmp_t error
    cdef const uint8_t *data
    PyObject_GetBuffer(packet, &view, PyBUF_SIMPLE)
    try:
        data = <const uint8_t *>view.buf
        if (icmp_parse(data, <uint32_t>min(view.len, 0xffffffff), &error) != ICMP_OK
                or not icmp_checksum_ok(data, &error)):
            return None
        return IcmpError(error.type, error.code, error.value,
                         data[error.quote_at:error.quote_end])
    finally:
        PyBuffer_Release(&view)


def restore_error(packet, bytes ulid_local not None, bytes ulid_peer not None):
    """Return the error with the ULIDs in its quote, see `icmp_restore`; None where that cannot be done."""
    cdef Py_buffer view
    cdef bytes result
    cdef int64_t size
    if len(ulid_local) != 16 or len(ulid_peer) != 16:
        raise ValueError("a ULID has 16 octets")
    PyObject_GetBuffer(packet, &view, PyBUF_SIMPLE)
    try:
        result = PyBytes_FromStringAndSize(NULL, view.len)
        size = icmp_restore(<const uint8_t *>view.buf, <uint32_t>min(view.len, 0xffffffff),
                            <const uint8_t *>PyBytes_AS_STRING(ulid_local),
                            <const uint8_t *>PyBytes_AS_STRING(ulid_peer),
                            <uint8_t *>PyBytes_AS_STRING(result), <uint32_t>min(view.len, 0xffffffff))
    finally:
        PyBuffer_Release(&view)
    return result[:size] if size >= 0 else None
