"""Rewriting of headers, packet by packet; see the header for what overlaps and what not."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy, memmove, memset

from mpcore.wire.bits cimport load16, load32, load64, store16, store32, store64
from mpcore.wire.checksum cimport checksum_finish, sum_bytes, sum_join, sum_pseudo
from mpcore.wire.ip cimport IP_OK, IP_TRUNCATED, PROTOCOL_TCP, ip_parse, ip_t
from mpcore.wire.tcp cimport KIND_NOP, KIND_SACK

from mpcore.errors import WireError

cdef extern from "pyx/wire/sum.h":
    uint32_t mpcore_fold(uint64_t total) noexcept nogil

cdef enum:
    NEXT_HOP_BY_HOP = 0
    NEXT_ROUTING = 43
    NEXT_DESTINATION = 60
    PROTOCOL_UDP = 17
    EXTENSIONS_MAX = 16        # as in mpcore.wire.ip
    IPV6_SIZE = 40
    PAYLOAD_MAX = 0xffff
    PACKET_MAX = IPV6_SIZE + PAYLOAD_MAX
    OPTIONS_MAX = 40

cdef uint64_t TAG_MASK = (<uint64_t>1 << 47) - 1
cdef uint64_t PAYLOAD_BIT = <uint64_t>1 << 47      # P: a payload extension header, no control message


cdef struct place_t:           # where the Shim6 header is, or belongs
    uint32_t at                # bytes before it
    uint32_t named_at          # the octet that tells the type of what is at `at`
    uint32_t total             # bytes of the packet


cdef int _open_v6(const uint8_t *data, uint32_t size, place_t *out) noexcept nogil:
    if size < 1:
        return REWRITE_TRUNCATED
    if data[0] >> 4 != 6:
        return REWRITE_OTHER
    if size < IPV6_SIZE:
        return REWRITE_TRUNCATED
    out.total = IPV6_SIZE + <uint32_t>load16(data + 4)
    out.at = IPV6_SIZE
    out.named_at = 6
    return REWRITE_TRUNCATED if out.total > size else REWRITE_OK


cdef inline int _skip(const uint8_t *data, place_t *place) noexcept nogil:
    """Step over an extension header that has its length in octets of eight."""
    cdef uint32_t length
    if place.total - place.at < 8:
        return REWRITE_MALFORMED
    length = (<uint32_t>data[place.at + 1] + 1) * 8
    if place.total - place.at < length:
        return REWRITE_MALFORMED
    place.named_at = place.at
    place.at += length
    return REWRITE_OK


cdef int _find_place(const uint8_t *data, uint32_t size, place_t *out) noexcept nogil:
    """Find where the header goes.

    RFC 5533 §4.6: behind hop-by-hop options, a routing header and the destination options in front of one;
    before fragmentation, IPsec, other destination options and the upper layer.
    """
    cdef int status = _open_v6(data, size, out)
    cdef uint8_t kind
    if status != REWRITE_OK:
        return status
    for _ in range(EXTENSIONS_MAX):
        kind = data[out.named_at]
        if kind == NEXT_DESTINATION:
            if out.total - out.at < 8 or data[out.at] != NEXT_ROUTING:
                return REWRITE_OK
        elif kind != NEXT_HOP_BY_HOP and kind != NEXT_ROUTING:
            return REWRITE_OK
        status = _skip(data, out)
        if status != REWRITE_OK:
            return status
    return REWRITE_MALFORMED


cdef int _find_header(const uint8_t *data, uint32_t size, place_t *out) noexcept nogil:
    """Find the payload extension header: P is set, and it has no length beyond eight (RFC 5533 §5.2)."""
    cdef int status = _open_v6(data, size, out)
    cdef uint8_t kind
    if status != REWRITE_OK:
        return status
    for _ in range(EXTENSIONS_MAX):
        kind = data[out.named_at]
        if kind == SHIM6_PROTOCOL:
            if out.total - out.at < SHIM6_HEADER_SIZE:
                return REWRITE_MALFORMED
            if not data[out.at + 2] & 0x80:
                return REWRITE_OTHER
            return REWRITE_OK if data[out.at + 1] == 0 else REWRITE_MALFORMED
        if kind != NEXT_HOP_BY_HOP and kind != NEXT_ROUTING and kind != NEXT_DESTINATION:
            return REWRITE_OTHER
        status = _skip(data, out)
        if status != REWRITE_OK:
            return status
    return REWRITE_MALFORMED


cdef inline void _set_v6(uint8_t *out, uint32_t total, const shim6_flow_t *flow) noexcept nogil:
    store16(out + 4, <uint16_t>(total - IPV6_SIZE))
    memcpy(out + 8, flow.src, 16)
    memcpy(out + 24, flow.dst, 16)


cdef int64_t shim6_insert(const uint8_t *data, uint32_t size, const shim6_flow_t *flow,
                          uint8_t *out, uint32_t room) noexcept nogil:
    cdef place_t place
    cdef uint8_t kind
    cdef int status = _find_place(data, size, &place)
    cdef uint32_t total
    if status != REWRITE_OK:
        return status
    total = place.total + SHIM6_HEADER_SIZE
    if total > PACKET_MAX:
        return REWRITE_TOO_LARGE
    if total > room:
        return REWRITE_ROOM
    kind = data[place.named_at]
    memmove(out + place.at + SHIM6_HEADER_SIZE, data + place.at, place.total - place.at)
    memmove(out, data, place.at)
    store64(out + place.at, PAYLOAD_BIT | (flow.tag & TAG_MASK))
    out[place.at] = kind
    out[place.named_at] = SHIM6_PROTOCOL
    _set_v6(out, total, flow)
    return total


cdef int64_t shim6_remove(const uint8_t *data, uint32_t size, const shim6_flow_t *flow,
                          uint8_t *out, uint32_t room) noexcept nogil:
    cdef place_t place
    cdef uint8_t kind
    cdef int status = _find_header(data, size, &place)
    cdef uint32_t total
    if status != REWRITE_OK:
        return status
    total = place.total - SHIM6_HEADER_SIZE
    if total > room:
        return REWRITE_ROOM
    kind = data[place.at]
    memmove(out, data, place.at)
    memmove(out + place.at, data + place.at + SHIM6_HEADER_SIZE, total - place.at)
    out[place.named_at] = kind
    _set_v6(out, total, flow)
    return total


cdef int64_t shim6_tag(const uint8_t *data, uint32_t size) noexcept nogil:
    cdef place_t place
    cdef int status = _find_header(data, size, &place)
    if status != REWRITE_OK:
        return status
    return <int64_t>(load64(data + place.at) & TAG_MASK)


cdef struct change_t:          # sums of what was replaced and of what replaces it, not folded
    uint64_t old
    uint64_t new


cdef inline void _put16(uint8_t *field, uint16_t value, change_t *change) noexcept nogil:
    change.old += load16(field)
    change.new += value
    store16(field, value)


cdef inline void _put32(uint8_t *field, uint32_t value, change_t *change) noexcept nogil:
    change.old += load32(field)
    change.new += value
    store32(field, value)


cdef inline void _put_address(uint8_t *field, const uint8_t *address, int version,
                              change_t *change) noexcept nogil:
    cdef uint32_t at
    for at in range(0, 4 if version == 4 else 16, 4):
        _put32(field + at, load32(address + at), change)


cdef inline uint16_t _follow(uint16_t checksum, const change_t *change) noexcept nogil:
    """The checksum after a change, errors kept (RFC 1624 §3, equation 3)."""
    cdef uint32_t kept = (0xffff ^ <uint32_t>checksum) + (0xffff ^ mpcore_fold(change.old))
    return checksum_finish(kept + mpcore_fold(change.new))


cdef void _put_ip(uint8_t *out, int version, uint32_t total, const tcp_rewrite_t *rule,
                  change_t *change) noexcept nogil:
    """Addresses and length into the copied header; IPv4's checksum follows. TCP's is to follow `change`."""
    cdef change_t length
    if rule.fields & REWRITE_SRC:
        _put_address(out + (12 if version == 4 else 8), rule.src, version, change)
    if rule.fields & REWRITE_DST:
        _put_address(out + (16 if version == 4 else 24), rule.dst, version, change)
    if version == 4:
        length = change[0]
        _put16(out + 2, <uint16_t>total, &length)
        store16(out + 10, _follow(load16(out + 10), &length))
    else:
        store16(out + 4, <uint16_t>(total - IPV6_SIZE))


cdef void _put_tcp(uint8_t *tcp, const tcp_rewrite_t *rule, change_t *change) noexcept nogil:
    """All of the copied fixed header but its size and checksum."""
    if rule.fields & REWRITE_SRC_PORT:
        _put16(tcp, rule.src_port, change)
    if rule.fields & REWRITE_DST_PORT:
        _put16(tcp + 2, rule.dst_port, change)
    if rule.fields & REWRITE_WINDOW:
        _put16(tcp + 14, rule.window, change)
    if rule.seq_add:
        _put32(tcp + 4, load32(tcp + 4) + rule.seq_add, change)
    if rule.ack_add:
        _put32(tcp + 8, load32(tcp + 8) + rule.ack_add, change)


cdef void _shift_sack(uint8_t *options, uint32_t size, uint32_t add, change_t *change) noexcept nogil:
    """Move the blocks of SACK options: they are in the numbers that are acknowledged (RFC 2018 §3)."""
    cdef uint32_t at = 0, edge, length, was
    while at < size and options[at] != 0:
        if options[at] == KIND_NOP:
            at += 1
            continue
        if size - at < 2 or options[at + 1] < 2 or options[at + 1] > size - at:
            return
        length = options[at + 1]
        if options[at] == KIND_SACK and length >= 10 and not (length - 2) & 7:
            for edge in range(at + 2, at + length, 4):
                was = load32(options + edge)
                store32(options + edge, was + add)
                # at an odd place the octets of each word are swapped: a factor of 2**8
                change.old += <uint64_t>was << (8 * (edge & 1))
                change.new += <uint64_t><uint32_t>(was + add) << (8 * (edge & 1))
        at += length


cdef void _put_options(uint8_t *tcp, uint32_t header, const tcp_rewrite_t *rule,
                       change_t *change) noexcept nogil:
    """All options anew, into a header that had `header` bytes; `change` has the sum of the old ones."""
    memcpy(tcp + 20, rule.options, rule.options_size)
    change.new += sum_bytes(rule.options, rule.options_size)
    _put16(tcp + 12, <uint16_t>((load16(tcp + 12) & 0x0fff) | ((20 + rule.options_size) << 10)), change)
    # the size in the pseudo-header
    change.old += header
    change.new += 20 + <uint32_t>rule.options_size


cdef int _open_tcp(const uint8_t *data, uint32_t size, ip_t *ip, uint32_t *header) noexcept nogil:
    cdef int status = ip_parse(data, size, ip)
    if status != IP_OK:
        return REWRITE_TRUNCATED if status == IP_TRUNCATED else REWRITE_MALFORMED
    if ip.protocol != PROTOCOL_TCP:
        return REWRITE_OTHER
    if ip.total_size - ip.header_size < 20:
        return REWRITE_TRUNCATED
    header[0] = <uint32_t>(data[ip.header_size + 12] >> 4) * 4
    if header[0] < 20:
        return REWRITE_MALFORMED
    return REWRITE_TRUNCATED if header[0] > ip.total_size - ip.header_size else REWRITE_OK


cdef int64_t tcp_rewrite(const uint8_t *data, uint32_t size, const tcp_rewrite_t *rule,
                         uint8_t *out, uint32_t room) noexcept nogil:
    cdef ip_t ip
    cdef uint32_t header, new_header, total, payload, options_sum = 0
    cdef uint8_t *tcp
    cdef change_t change
    cdef int status = _open_tcp(data, size, &ip, &header)
    if status != REWRITE_OK:
        return status
    if rule.fields & (REWRITE_SRC | REWRITE_DST) and rule.version != ip.version:
        return REWRITE_OTHER
    new_header = 20 + <uint32_t>rule.options_size if rule.fields & REWRITE_OPTIONS else header
    payload = ip.total_size - ip.header_size - header
    total = ip.header_size + new_header + payload
    if total > <uint32_t>(PAYLOAD_MAX if ip.version == 4 else PACKET_MAX):
        return REWRITE_TOO_LARGE
    if total > room:
        return REWRITE_ROOM
    tcp = out + ip.header_size
    change.old = 0
    change.new = 0
    if rule.fields & REWRITE_OPTIONS:
        options_sum = sum_bytes(data + ip.header_size + 20, header - 20)
    memmove(tcp + new_header, data + ip.header_size + header, payload)
    if out != data:
        memcpy(out, data, ip.header_size + min(header, new_header))
    _put_ip(out, ip.version, total, rule, &change)
    _put_tcp(tcp, rule, &change)
    if rule.fields & REWRITE_OPTIONS:
        change.old += options_sum
        _put_options(tcp, header, rule, &change)
    elif rule.ack_add:
        _shift_sack(tcp + 20, header - 20, rule.ack_add, &change)
    store16(tcp + 16, _follow(load16(tcp + 16), &change))
    return total


cdef int checksums_fix(uint8_t *data, uint32_t size) noexcept nogil:
    cdef ip_t ip
    cdef uint32_t length, at
    cdef uint16_t value
    cdef int status = ip_parse(data, size, &ip)
    if status != IP_OK:
        return REWRITE_TRUNCATED if status == IP_TRUNCATED else REWRITE_MALFORMED
    if ip.version == 4:
        store16(data + 10, 0)
        store16(data + 10, checksum_finish(sum_bytes(data, <uint32_t>(data[0] & 0x0f) * 4)))
    at = 16 if ip.protocol == PROTOCOL_TCP else 6
    length = ip.total_size - ip.header_size
    if ip.protocol != PROTOCOL_TCP and ip.protocol != PROTOCOL_UDP:
        return REWRITE_OTHER
    if length < at + 2:
        return REWRITE_TRUNCATED
    at += ip.header_size
    store16(data + at, 0)
    value = checksum_finish(sum_join(sum_pseudo(ip.version, ip.src, ip.dst, ip.protocol, length), 0,
                                     sum_bytes(data + ip.header_size, length)))
    # RFC 768: zero tells that there is none, so the other zero of one's complement is sent.
    store16(data + at, 0xffff if value == 0 and ip.protocol == PROTOCOL_UDP else value)
    return REWRITE_OK


STATUS_NAMES = {
    REWRITE_OK: "ok",
    REWRITE_TRUNCATED: "the packet is cut short",
    REWRITE_MALFORMED: "the packet is malformed or a fragment",
    REWRITE_OTHER: "the packet is not of the protocol or IP version that is to be rewritten",
    REWRITE_ROOM: "the result has no room where it is to go",
    REWRITE_TOO_LARGE: "the result would be larger than an IP packet can be",
}


cdef _raise(int64_t status):
    raise WireError(STATUS_NAMES[status])


cdef bytes _rewritten(object packet, rewriter_t rewrite, const void *what, uint32_t most):
    """The result as bytes; it is at most `most` bytes larger than `packet`."""
    cdef Py_buffer view
    cdef int64_t size
    cdef Py_ssize_t room
    cdef bytes result
    PyObject_GetBuffer(packet, &view, PyBUF_SIMPLE)
    try:
        room = min(view.len, PACKET_MAX) + most
        result = PyBytes_FromStringAndSize(NULL, room)
        size = rewrite(<const uint8_t *>view.buf, <uint32_t>min(view.len, 0xffffffff), what,
                       <uint8_t *>PyBytes_AS_STRING(result), <uint32_t>room)
    finally:
        PyBuffer_Release(&view)
    if size < 0:
        _raise(size)
    return result if size == room else result[:size]


cdef int _rewrite_in_place(bytearray packet, rewriter_t rewrite, const void *what, uint32_t most) except -1:
    """Let `packet` become the result; on an error it stays as it was."""
    cdef Py_ssize_t had = PyByteArray_GET_SIZE(packet)
    cdef int64_t size
    PyByteArray_Resize(packet, had + most)
    size = rewrite(<const uint8_t *>PyByteArray_AS_STRING(packet), <uint32_t>min(had, 0xffffffff), what,
                   <uint8_t *>PyByteArray_AS_STRING(packet), <uint32_t>min(had + most, 0xffffffff))
    PyByteArray_Resize(packet, had if size < 0 else size)
    if size < 0:
        _raise(size)
    return 0


cdef int _take_address(uint8_t *out, bytes address, tuple sizes) except -1:
    if len(address) not in sizes:
        raise ValueError(f"an address of {len(address)} bytes: {' or '.join(map(str, sizes))} are needed")
    memcpy(out, <const char *>address, len(address))
    return 0


@cython.final
cdef class Shim6Flow:
    """What one direction of a Shim6 context does to packets; see `insert` and `remove`.

    `src` and `dst` are the 16-octet addresses that the packet gets; `tag` has 47 bits. Thread-safety: may be
    shared.
    """

    def __cinit__(self, bytes src not None, bytes dst not None, uint64_t tag=0):
        if tag > TAG_MASK:
            raise ValueError("a context tag has 47 bits")
        _take_address(self.flow.src, src, (16,))
        _take_address(self.flow.dst, dst, (16,))
        self.flow.tag = tag

    def insert(self, packet):
        """Return the IPv6 packet with a payload extension header and this flow's addresses. Raises WireError.

        The upper layer's checksum stays as it is: it covers the ULIDs (RFC 5533 §11.1).
        """
        return _rewritten(packet, <rewriter_t>shim6_insert, &self.flow, SHIM6_HEADER_SIZE)

    def remove(self, packet):
        """Return the packet without its payload extension header and with this flow's addresses.

        Raises WireError, also when there is no such header.
        """
        return _rewritten(packet, <rewriter_t>shim6_remove, &self.flow, 0)

    def insert_into(self, bytearray packet not None):
        """As `insert`, in place."""
        _rewrite_in_place(packet, <rewriter_t>shim6_insert, &self.flow, SHIM6_HEADER_SIZE)

    def remove_from(self, bytearray packet not None):
        """As `remove`, in place."""
        _rewrite_in_place(packet, <rewriter_t>shim6_remove, &self.flow, 0)


def context_tag(packet):
    """Return the tag of the packet's Shim6 payload extension header, or None when it has none.

    Raises WireError for a packet that is cut short or malformed.
    """
    cdef Py_buffer view
    cdef int64_t tag
    PyObject_GetBuffer(packet, &view, PyBUF_SIMPLE)
    tag = shim6_tag(<const uint8_t *>view.buf, <uint32_t>min(view.len, 0xffffffff))
    PyBuffer_Release(&view)
    if tag == REWRITE_OTHER:
        return None
    if tag < 0:
        _raise(tag)
    return tag


@cython.final
cdef class TcpRewrite:
    """A change of TCP packets between two sequence number spaces or address pairs; see `apply`.

    What is None stays. `src` and `dst` are raw addresses of the packet's own IP version; `seq_add` and
    `ack_add` are added modulo 2**32, the latter to SACK blocks, too; `options` replace all options and are
    padded with NOP to a multiple of four. Thread-safety: may be shared.
    """

    def __cinit__(self, *, bytes src=None, bytes dst=None, src_port=None, dst_port=None, window=None,
                  seq_add=0, ack_add=0, bytes options=None):
        self.rule.seq_add = <uint32_t>(seq_add & 0xffffffff)
        self.rule.ack_add = <uint32_t>(ack_add & 0xffffffff)
        self._take_addresses(src, dst)
        if src_port is not None:
            self.rule.src_port = src_port
            self.rule.fields |= REWRITE_SRC_PORT
        if dst_port is not None:
            self.rule.dst_port = dst_port
            self.rule.fields |= REWRITE_DST_PORT
        if window is not None:
            self.rule.window = window
            self.rule.fields |= REWRITE_WINDOW
        if options is not None:
            self._take_options(options)

    cdef int _take_addresses(self, bytes src, bytes dst) except -1:
        for address, field in ((src, REWRITE_SRC), (dst, REWRITE_DST)):
            if address is None:
                continue
            _take_address(&self.rule.src[0] if field == REWRITE_SRC else &self.rule.dst[0], address, (4, 16))
            version = 4 if len(address) == 4 else 6
            if self.rule.version not in (0, version):
                raise ValueError("src and dst must be of one IP version")
            self.rule.version = version
            self.rule.fields |= field
        return 0

    cdef int _take_options(self, bytes options) except -1:
        if len(options) > OPTIONS_MAX:
            raise ValueError(f"{len(options)} bytes of options do not fit: TCP has room for {OPTIONS_MAX}")
        memset(self.rule.options, KIND_NOP, OPTIONS_MAX)
        memcpy(self.rule.options, <const char *>options, len(options))
        self.rule.options_size = (len(options) + 3) & ~3
        self.rule.fields |= REWRITE_OPTIONS
        return 0

    def apply(self, packet):
        """Return the packet with the change made, checksums following it. Raises WireError.

        A checksum that was wrong stays wrong. It must be a whole one: a packet that the host left to its
        network card goes through `fix_checksums` first.
        """
        return _rewritten(packet, <rewriter_t>tcp_rewrite, &self.rule, self.rule.options_size)

    def apply_to(self, bytearray packet not None):
        """As `apply`, in place."""
        _rewrite_in_place(packet, <rewriter_t>tcp_rewrite, &self.rule, self.rule.options_size)


def fix_checksums(packet):
    """Compute the checksums of an IP packet in a writable buffer: IPv4's header, and TCP or UDP.

    Raises WireError for another protocol, when only an IPv4 header has been fixed, and for malformed packets.
    """
    cdef Py_buffer view
    cdef int status
    PyObject_GetBuffer(packet, &view, PyBUF_WRITABLE)
    status = checksums_fix(<uint8_t *>view.buf, <uint32_t>min(view.len, 0xffffffff))
    PyBuffer_Release(&view)
    if status < 0:
        _raise(status)
