"""Segments and their options between bytes and values (RFC 9293 §3.1, RFC 7323, RFC 2018).

The control plane reads and writes a handful of packets for each connection: in Python that took a quarter of
its time.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from mpcore.wire.bits cimport load16, load32, store16, store32
from mpcore.wire.checksum cimport checksum_finish, sum_bytes, sum_join, sum_pseudo
from mpcore.wire.ip cimport IP_FRAGMENT, IP_OK, IP_TRUNCATED, PROTOCOL_TCP, ip_emit, ip_parse, ip_t
from mpcore.wire.tcp cimport (
    KIND_END, KIND_MPTCP, KIND_MSS, KIND_NOP, KIND_SACK, KIND_SACK_PERMITTED, KIND_TIMESTAMP, KIND_WSCALE,
    TCP_OPTIONS_MAX, tcp_checksum_ok,
)

from mpcore.errors import WireError
from mpcore.wire.mptcp_codec import emit_body, parse_body
from mpcore.wire.segment import Segment
from mpcore.wire.tcp_options import (
    MaxSegmentSize,
    Sack,
    SackPermitted,
    Timestamps,
    UnknownOption,
    WindowScale,
)

cdef enum:
    OPTION_MAX = 255           # what the length octet of one can state
    TCP_SIZE = 20              # of a TCP header without options
    IPV6_SIZE = 40
    IPV4_PAYLOAD_MAX = 65515
    IPV6_PAYLOAD_MAX = 65535


# --- options

cdef tuple read_options(const uint8_t *data, Py_ssize_t end):
    cdef Py_ssize_t at = 0
    cdef uint8_t size
    cdef list found = []
    while at < end and data[at] != KIND_END:
        if data[at] == KIND_NOP:
            at += 1
            continue
        size = data[at + 1] if at + 1 < end else 0
        if size < 2 or size > end - at:
            raise WireError(f"the TCP option of kind {data[at]} at octet {at} has an impossible length")
        found.append(read_option(data[at], data + at + 2, size - 2))
        at += size
    return tuple(found)


cdef object read_option(uint8_t kind, const uint8_t *data, int size):
    """Return the value of one option; `data` is what follows kind and length."""
    if kind == KIND_MPTCP:
        return parse_body(octets(data, size))
    if kind == KIND_TIMESTAMP and size == 8:
        return Timestamps(load32(data), load32(data + 4))
    if kind == KIND_MSS and size == 2:
        return MaxSegmentSize(load16(data))
    if kind == KIND_WSCALE and size == 1:
        return WindowScale(data[0])
    if kind == KIND_SACK_PERMITTED and size == 0:
        return SackPermitted()
    if kind == KIND_SACK and 8 <= size <= 32 and size % 8 == 0:
        return Sack(tuple([(load32(data + at), load32(data + at + 4)) for at in range(0, size, 8)]))
    return UnknownOption(kind, octets(data, size))


cdef inline bytes octets(const uint8_t *data, Py_ssize_t size):
    return PyBytes_FromStringAndSize(<const char *>data, size)


cdef int write_option(uint8_t *out, object option) except -1:
    """Write one option of at most OPTION_MAX octets and return its size."""
    cdef type kind = type(option)
    cdef int size
    if kind is Timestamps:
        size = 10
        store32(out + 2, option.value)
        store32(out + 6, option.echo)
        out[0] = KIND_TIMESTAMP
    elif kind is MaxSegmentSize:
        size = 4
        store16(out + 2, option.value)
        out[0] = KIND_MSS
    elif kind is WindowScale:
        size = 3
        out[2] = option.shift
        out[0] = KIND_WSCALE
    elif kind is SackPermitted:
        size = 2
        out[0] = KIND_SACK_PERMITTED
    elif kind is Sack:
        size = write_sack(out, option.blocks)
    elif kind is UnknownOption:
        if option.kind in (KIND_END, KIND_NOP):
            raise WireError("END and NOP are padding, not options")
        size = write_body(out, option.data)
        out[0] = option.kind
    else:
        size = write_body(out, emit_body(option))
        out[0] = KIND_MPTCP
    out[1] = <uint8_t>size
    return size


cdef int write_sack(uint8_t *out, tuple blocks) except -1:
    cdef int at = 2
    if not 1 <= len(blocks) <= 4:
        raise WireError(f"SACK has one to four blocks, not {len(blocks)}")
    for start, end in blocks:
        store32(out + at, start)
        store32(out + at + 4, end)
        at += 8
    out[0] = KIND_SACK
    return at


cdef int write_body(uint8_t *out, bytes body) except -1:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    if size > TCP_OPTIONS_MAX - 2:
        raise WireError(f"an option takes {size + 2} bytes; a TCP header has room for {TCP_OPTIONS_MAX}")
    memcpy(out + 2, PyBytes_AS_STRING(body), size)
    return <int>size + 2


def parse_options(bytes data not None):
    """Return the options of a TCP header in their order, without padding; all after END is ignored.

    WireError for an option whose length is below two or goes beyond the end.
    """
    return read_options(<const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


def emit_option(option):
    """Return one option without padding; WireError for a field out of range or more than 40 bytes."""
    cdef uint8_t[OPTION_MAX] out
    try:
        return octets(out, write_option(out, option))
    except (OverflowError, TypeError) as error:
        raise WireError(f"{option} has a field that does not fit: {error}") from error


def emit_options(options):
    """Return the options in order, padded with NOP to a multiple of four; WireError above 40 bytes."""
    cdef uint8_t[TCP_OPTIONS_MAX + OPTION_MAX] out
    cdef int size = 0
    cdef int whole
    for option in options:
        try:
            size += write_option(out + size, option)
        except (OverflowError, TypeError) as error:
            raise WireError(f"{option} has a field that does not fit: {error}") from error
        if size > TCP_OPTIONS_MAX:
            raise WireError(f"the options take {size} bytes, but a TCP header has room for {TCP_OPTIONS_MAX}")
    whole = (size + 3) & ~3
    memset(out + size, KIND_NOP, whole - size)
    return octets(out, whole)


# --- segments

cdef int find_tcp(bytes data, ip_t *ip) except -1:
    """Find the TCP segment of a packet; WireError when there is none."""
    cdef int status = ip_parse(<const uint8_t *>PyBytes_AS_STRING(data), <uint32_t>PyBytes_GET_SIZE(data), ip)
    if status == IP_FRAGMENT:
        raise WireError("a fragment of an IP packet")
    if status == IP_TRUNCATED:
        raise WireError(f"an IP packet is cut short at {len(data)} bytes")
    if status != IP_OK:
        raise WireError("neither a whole IPv4 nor a whole IPv6 packet")
    if ip.protocol != PROTOCOL_TCP:
        raise WireError(f"IP protocol {ip.protocol} is not TCP")
    return 0


def parse_segment(bytes data not None):
    """Return the segment in an IP packet; bytes beyond the packet's own length are ignored.

    Checksums are not verified: a packet of the local host may not have one yet. WireError for anything that
    is not a whole, well-formed TCP segment.
    """
    cdef ip_t ip
    cdef const uint8_t *tcp
    cdef Py_ssize_t size, header, address
    find_tcp(data, &ip)
    tcp = <const uint8_t *>PyBytes_AS_STRING(data) + ip.header_size
    size = ip.total_size - ip.header_size
    if size < TCP_SIZE:
        raise WireError("a TCP header is cut short")
    header = (tcp[12] >> 4) * 4
    if not TCP_SIZE <= header <= size:
        raise WireError(f"a TCP segment of {size} bytes states a header of {header}")
    address = 4 if ip.version == 4 else 16
    return Segment(
        ip.version,
        octets(ip.src, address),
        octets(ip.dst, address),
        load16(tcp),
        load16(tcp + 2),
        load32(tcp + 4),
        load32(tcp + 8),
        tcp[13],
        load16(tcp + 14),
        read_options(tcp + TCP_SIZE, header - TCP_SIZE),
        octets(tcp + header, size - header),
        load16(tcp + 18),
        ip.ttl,
        ip.tos,
    )


def is_intact(bytes data not None):
    """Tell whether the TCP checksum in an IP packet holds. WireError as `parse_segment`."""
    cdef ip_t ip
    find_tcp(data, &ip)
    return bool(tcp_checksum_ok(ip.version, ip.src, ip.dst,
                                <const uint8_t *>PyBytes_AS_STRING(data) + ip.header_size,
                                ip.total_size - ip.header_size))


def emit_segment(segment):
    """Return the IP packet with all lengths and checksums right; WireError for a field that does not fit."""
    return emit_packet(segment, emit_options(segment.options))


def emit_packet(segment, bytes options not None):
    """Return the packet of `segment` with these options, padded to a multiple of four, instead of its own.

    WireError as `emit_segment`.
    """
    cdef bytes src = segment.src
    cdef bytes dst = segment.dst
    cdef bytes payload = segment.payload
    cdef int version = {4: 4, 6: 6}.get(segment.version, 0)
    cdef Py_ssize_t address = 4 if version == 4 else 16
    cdef Py_ssize_t size = TCP_SIZE + PyBytes_GET_SIZE(options) + PyBytes_GET_SIZE(payload)
    cdef bytes packet
    cdef uint8_t *tcp
    cdef uint32_t start
    if not version or len(src) != address or len(dst) != address:
        raise WireError(f"IPv{segment.version} with addresses {src.hex()} and {dst.hex()}")
    if len(options) > TCP_OPTIONS_MAX or len(options) % 4:
        raise WireError(f"{len(options)} bytes of options do not fit: TCP has room for {TCP_OPTIONS_MAX}")
    if size > (IPV4_PAYLOAD_MAX if version == 4 else IPV6_PAYLOAD_MAX):
        raise WireError(f"a segment of {size} bytes does not fit into an IP packet")
    start = TCP_SIZE if version == 4 else IPV6_SIZE
    packet = PyBytes_FromStringAndSize(NULL, start + size)
    tcp = <uint8_t *>PyBytes_AS_STRING(packet) + start
    try:
        ip_emit(tcp - start, version, <const uint8_t *>PyBytes_AS_STRING(src),
                <const uint8_t *>PyBytes_AS_STRING(dst), PROTOCOL_TCP, segment.ttl, segment.tos,
                <uint32_t>size)
        write_header(tcp, segment, options)
    except (OverflowError, TypeError) as error:
        raise WireError(f"a field of the header does not fit: {error}") from error
    memcpy(tcp + size - PyBytes_GET_SIZE(payload), PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
    store16(tcp + 16, checksum_finish(sum_join(
        sum_pseudo(version, <const uint8_t *>PyBytes_AS_STRING(src), <const uint8_t *>PyBytes_AS_STRING(dst),
                   PROTOCOL_TCP, <uint32_t>size),
        0, sum_bytes(tcp, size))))
    return packet


cdef int write_header(uint8_t *tcp, object segment, bytes options) except -1:
    """Write a TCP header without its checksum."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(options)
    store16(tcp, segment.src_port)
    store16(tcp + 2, segment.dst_port)
    store32(tcp + 4, segment.seq)
    store32(tcp + 8, segment.ack)
    tcp[12] = <uint8_t>((TCP_SIZE + size) << 2)
    tcp[13] = segment.flags
    store16(tcp + 14, segment.window)
    store16(tcp + 16, 0)
    store16(tcp + 18, segment.urgent)
    memcpy(tcp + TCP_SIZE, PyBytes_AS_STRING(options), size)
    return 0
