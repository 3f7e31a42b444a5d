"""Packets that make a TCP of this host retransmit at once when its context took other locators.

TCP counts silence as congestion and doubles its timer: after a search for a working pair it would wait as
long again. RFC 6069 has a cure that Linux knows, for IPv6 too: a Destination Unreachable, code 0, about the
first segment that is not acknowledged tells that the path was gone and not full, takes one doubling back, and
retransmits when the shorter timer has passed. It needs the exact sequence number, which the socket itself
tells in its answer to a segment that it does not expect (RFC 9293 §3.10.7.4).

Programs do not see the error, except those that ask for it by IPV6_RECVERR on their TCP socket.
"""

import struct
from dataclasses import dataclass

from mpcore.shim6.locators import Pair
from mpcore.wire.checksum import checksum
from mpcore.wire.unexpected import unexpected_segments
from mpcore.wire.values import TcpFlag

BACKOFF_MAX = 15
_IPV6 = struct.Struct(">IHBB16s16s")
_TCP = struct.Struct(">HHIIBBHHH")
_TCP_PROTOCOL, _ICMPV6, _HOP_LIMIT = 6, 58, 64
_UNREACHABLE, _NO_ROUTE = 1, 0


@dataclass(frozen=True, slots=True)
class TcpFlow:
    """A TCP connection of this host."""

    local: bytes
    local_port: int
    peer: bytes
    peer_port: int


@dataclass(frozen=True, slots=True)
class Backoff:
    """What a socket tells of itself: how often its timer doubled, and how many octets are outstanding."""

    flow: TcpFlow
    doublings: int
    outstanding: int

    @property
    def pair(self) -> Pair:
        """The ULIDs."""
        return Pair(self.flow.local, self.flow.peer)


def questions(flow: TcpFlow) -> list[bytes]:
    """Return segments for the local socket, at least one of which it answers by where its numbers stand."""
    return unexpected_segments(flow.local, flow.local_port, flow.peer, flow.peer_port)


def read_answer(packet: bytes) -> tuple[TcpFlow, int] | None:
    """Return whose answer an IPv6 packet of this host is, and the next sequence number of the sender.

    None for what is no segment, or one with payload, which can be a retransmission.
    """
    if len(packet) < _IPV6.size + _TCP.size:
        return None
    _, size, kind, _, source, destination = _IPV6.unpack_from(packet)
    source_port, destination_port, seq, _, offset, *_ = _TCP.unpack_from(packet, _IPV6.size)
    if kind != _TCP_PROTOCOL or size != 4 * (offset >> 4):
        return None
    return TcpFlow(source, source_port, destination, destination_port), seq


def kicks(socket: Backoff, next_seq: int) -> list[bytes]:
    """Return the errors that take every doubling back.

    The SYN counts as an octet that was acknowledged at the end that connected and at the other not, hence two
    numbers for each; one that is not the first unacknowledged one changes nothing.
    """
    first = [(next_seq - socket.outstanding - syn) & 0xFFFFFFFF for syn in (0, 1)]
    return [
        _unreachable(socket.flow, seq) for seq in first for _ in range(min(socket.doublings, BACKOFF_MAX))
    ]


def _unreachable(flow: TcpFlow, seq: int) -> bytes:
    """Return a Destination Unreachable, no route, about a segment of this host (RFC 4443 §3.1)."""
    tcp = _TCP.pack(flow.local_port, flow.peer_port, seq, 0, 5 << 4, TcpFlag.ACK.value, 0, 0, 0)
    quote = _IPV6.pack(6 << 28, len(tcp), _TCP_PROTOCOL, _HOP_LIMIT, flow.local, flow.peer) + tcp
    body = struct.pack(">BBHI", _UNREACHABLE, _NO_ROUTE, 0, 0) + quote
    pseudo = flow.peer + flow.local + struct.pack(">II", len(body), _ICMPV6)
    body = body[:2] + struct.pack(">H", checksum(pseudo + body)) + body[4:]
    return _IPV6.pack(6 << 28, len(body), _ICMPV6, _HOP_LIMIT, flow.peer, flow.local) + body
