"""A TCP segment in its IP packet as a value (RFC 791, RFC 8200, RFC 9293)."""

import struct
from typing import TypeVar

from mpcore.errors import WireError
from mpcore.value import value
from mpcore.wire.checksum import tcp_checksum
from mpcore.wire.ip import emit_header
from mpcore.wire.tcp import checksum_ok
from mpcore.wire.tcp_options import TcpOption, emit_options, parse_options

PROTOCOL_TCP = 6
EXTENSIONS_MAX = 16
_ADDRESS_SIZES = {4: 4, 6: 16}
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION = 0, 43, 44, 51, 60

OptionT = TypeVar("OptionT")


@value
class Segment:
    """An IP packet that holds one TCP segment.

    `src` and `dst` are raw addresses of 4 or 16 bytes by `version`; `seq` and `ack` are 32 bits; `flags` are
    those of `TcpFlag`; `window` is as on the wire, unscaled. IP options and extension headers are not kept.
    """

    version: int
    src: bytes
    dst: bytes
    src_port: int
    dst_port: int
    seq: int
    ack: int
    flags: int
    window: int
    options: tuple[TcpOption, ...] = ()
    payload: bytes = b""
    urgent: int = 0
    ttl: int = 64
    tos: int = 0

    def find(self, kind: type[OptionT]) -> OptionT | None:
        """Return the first option of this class, or None."""
        for option in self.options:
            if isinstance(option, kind):
                return option
        return None


def parse_segment(data: bytes) -> Segment:
    """Return the segment in an IP packet; bytes beyond the packet's own length are ignored.

    Checksums are not verified: a packet of the local host may not have one yet. WireError for anything that
    is not a whole, well-formed TCP segment.
    """
    header, packet = _parse_ip(data)
    return _parse_tcp(4 if len(header.src) == 4 else 6, header, packet)


def is_intact(data: bytes) -> bool:
    """Tell whether the TCP checksum in an IP packet holds. WireError as `parse_segment`."""
    header, packet = _parse_ip(data)
    return checksum_ok(header.src, header.dst, packet)


@value
class _Header:
    src: bytes
    dst: bytes
    ttl: int
    tos: int


def _parse_ip(data: bytes) -> tuple[_Header, bytes]:
    version = data[0] >> 4 if data else 0
    if version == 4:
        return _parse_v4(data)
    if version == 6:
        return _parse_v6(data)
    raise WireError("neither an IPv4 nor an IPv6 packet")


def _parse_v4(data: bytes) -> tuple[_Header, bytes]:
    if len(data) < 20:
        raise WireError("an IPv4 header is cut short")
    size, total = (data[0] & 0x0F) * 4, int.from_bytes(data[2:4], "big")
    if size < 20 or not size <= total <= len(data):
        raise WireError(f"an IPv4 packet of {len(data)} bytes states header {size} and total {total}")
    if int.from_bytes(data[6:8], "big") & 0x3FFF:
        raise WireError("a fragment of an IPv4 packet")
    if data[9] != PROTOCOL_TCP:
        raise WireError(f"IP protocol {data[9]} is not TCP")
    return _Header(data[12:16], data[16:20], data[8], data[1]), data[size:total]


def _parse_v6(data: bytes) -> tuple[_Header, bytes]:
    if len(data) < 40:
        raise WireError("an IPv6 header is cut short")
    total = 40 + int.from_bytes(data[4:6], "big")
    if total > len(data):
        raise WireError(f"an IPv6 packet of {len(data)} bytes states {total}")
    protocol, packet = _skip_extensions(data[6], data[40:total])
    if protocol != PROTOCOL_TCP:
        raise WireError(f"IP protocol {protocol} is not TCP")
    tos = int.from_bytes(data[:2], "big") >> 4 & 0xFF
    return _Header(data[8:24], data[24:40], data[7], tos), packet


def _skip_extensions(following: int, data: bytes) -> tuple[int, bytes]:
    """Return the upper-layer protocol and its bytes behind the extension headers (RFC 8200 §4)."""
    for _ in range(EXTENSIONS_MAX):
        if following not in (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION):
            return following, data
        if len(data) < 8:
            raise WireError("an IPv6 extension header is cut short")
        size = {FRAGMENT: 8, AUTHENTICATION: 4 * (data[1] + 2)}.get(following, 8 * (data[1] + 1))
        if size > len(data):
            raise WireError("an IPv6 extension header goes beyond its packet")
        if following == FRAGMENT and int.from_bytes(data[2:4], "big") & 0xFFF9:
            raise WireError("a fragment of an IPv6 packet")
        if following == ROUTING and data[3]:
            raise WireError("an IPv6 packet that has not reached its last destination (RFC 8200 §4.4)")
        following, data = data[0], data[size:]
    raise WireError(f"more than {EXTENSIONS_MAX - 1} IPv6 extension headers")


def _parse_tcp(version: int, ip: _Header, data: bytes) -> Segment:
    if len(data) < 20:
        raise WireError("a TCP header is cut short")
    src_port, dst_port, seq, ack, offset, flags, window, _, urgent = struct.unpack_from(">HHIIBBHHH", data)
    size = (offset >> 4) * 4
    if not 20 <= size <= len(data):
        raise WireError(f"a TCP segment of {len(data)} bytes states a header of {size}")
    return Segment(
        version=version,
        src=ip.src,
        dst=ip.dst,
        src_port=src_port,
        dst_port=dst_port,
        seq=seq,
        ack=ack,
        flags=flags,
        window=window,
        options=parse_options(data[20:size]),
        payload=data[size:],
        urgent=urgent,
        ttl=ip.ttl,
        tos=ip.tos,
    )


def emit_segment(segment: Segment) -> bytes:
    """Return the IP packet with all lengths and checksums right; WireError for a field that does not fit."""
    return emit_packet(segment, emit_options(segment.options))


def emit_packet(segment: Segment, options: bytes) -> bytes:
    """Return the packet of `segment` with these options, padded to a multiple of four, instead of its own.

    WireError as `emit_segment`.
    """
    size = _ADDRESS_SIZES.get(segment.version)
    if size is None or len(segment.src) != size or len(segment.dst) != size:
        raise WireError(f"IPv{segment.version} with addresses {segment.src.hex()} and {segment.dst.hex()}")
    tcp = _emit_tcp(segment, options)
    try:
        ip = emit_header(segment.src, segment.dst, PROTOCOL_TCP, len(tcp), ttl=segment.ttl, tos=segment.tos)
    except (ValueError, OverflowError) as error:
        raise WireError(f"a field of the IP header does not fit: {error}") from error
    return ip + tcp


def _emit_tcp(segment: Segment, options: bytes) -> bytes:
    try:
        start = struct.pack(
            ">HHIIBBH",
            segment.src_port,
            segment.dst_port,
            segment.seq,
            segment.ack,
            (20 + len(options)) << 2,
            segment.flags,
            segment.window,
        )
        urgent = struct.pack(">H", segment.urgent)
    except struct.error as error:
        raise WireError(f"a field of the TCP header does not fit: {error}") from error
    rest = urgent + options + segment.payload
    checksum = tcp_checksum(segment.src, segment.dst, start + b"\0\0" + rest)
    return start + checksum.to_bytes(2, "big") + rest
