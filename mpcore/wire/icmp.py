"""ICMP errors about TCP segments (RFC 792, RFC 1191, RFC 4443): what a router or host could not deliver."""

import struct
from dataclasses import dataclass

from mpcore.errors import WireError
from mpcore.wire.checksum import checksum

PROTOCOL_TCP = 6
UNREACHABLE_4, UNREACHABLE_6, TOO_BIG_6 = 3, 1, 2
FRAGMENTATION_NEEDED = 4  # code of UNREACHABLE_4
HEADER_BYTES = 8
QUOTED_TCP_BYTES = 8  # ports and sequence number: what every router quotes
# Sizes to try where an old router does not tell its own (RFC 1191 §7.1).
PLATEAUS = (32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296)


@dataclass(frozen=True, slots=True)
class IcmpError:
    """A segment that did not arrive; addresses and ports are those of its header.

    `mtu` is what the next hop takes, in octets, when the packet was too big for it; None when there was no
    way at all. `size` is what the packet says of its own length.
    """

    mtu: int | None
    code: int
    src: bytes
    dst: bytes
    src_port: int
    dst_port: int
    seq: int
    size: int


def parse_icmp_error(version: int, message: bytes) -> IcmpError:
    """Return the error in an ICMP message of IP `version`, which begins at its type.

    Raises:
        WireError: damaged, of another kind, or not about TCP
    """
    if len(message) < HEADER_BYTES:
        raise WireError("an ICMP message is cut short")
    kind, code = message[0], message[1]
    if version == 4 and kind == UNREACHABLE_4:
        # the kernel verifies those of IPv6 before it hands them out (RFC 3542 §3.1)
        if checksum(message):
            raise WireError("the checksum of an ICMP message is wrong")
        quote = _parse_quote_4(message[HEADER_BYTES:])
        told = int.from_bytes(message[6:8], "big") or _next_plateau(quote[4])
        mtu = told if code == FRAGMENTATION_NEEDED else None
    elif version == 6 and kind in (UNREACHABLE_6, TOO_BIG_6):
        quote = _parse_quote_6(message[HEADER_BYTES:])
        mtu = int.from_bytes(message[4:8], "big") if kind == TOO_BIG_6 else None
    else:
        raise WireError(f"ICMP type {kind} of IPv{version} is no error that TCP acts on")
    src, dst, ports, seq, size = quote
    return IcmpError(mtu, code, src, dst, ports[0], ports[1], seq, size)


_Quote = tuple[bytes, bytes, tuple[int, int], int, int]


def _parse_quote_4(data: bytes) -> _Quote:
    if len(data) < 20 or data[0] >> 4 != 4:
        raise WireError("an ICMP error quotes no IPv4 packet")
    at = (data[0] & 0x0F) * 4
    if at < 20 or data[9] != PROTOCOL_TCP or int.from_bytes(data[6:8], "big") & 0x1FFF:
        raise WireError("an ICMP error quotes no TCP segment")
    return data[12:16], data[16:20], *_parse_tcp(data[at:]), int.from_bytes(data[2:4], "big")


def _parse_quote_6(data: bytes) -> _Quote:
    """Read the quoted packet; ours have no extension headers."""
    if len(data) < 40 or data[0] >> 4 != 6 or data[6] != PROTOCOL_TCP:
        raise WireError("an ICMPv6 error quotes no plain TCP segment")
    return data[8:24], data[24:40], *_parse_tcp(data[40:]), 40 + int.from_bytes(data[4:6], "big")


def _parse_tcp(data: bytes) -> tuple[tuple[int, int], int]:
    if len(data) < QUOTED_TCP_BYTES:
        raise WireError("an ICMP error quotes too little of a TCP header")
    src_port, dst_port, seq = struct.unpack_from(">HHI", data)
    return (src_port, dst_port), seq


def _next_plateau(size: int) -> int:
    return next((plateau for plateau in PLATEAUS if plateau < size), PLATEAUS[-1])
