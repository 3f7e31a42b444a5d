"""ICMPv6 errors that a daemon sends to its own kernel, about packets that were or could be sent (RFC 4443).

The source is the peer, as if its network had answered; programs see none of them, except those that ask for
errors by IPV6_RECVERR on their TCP socket.
"""

import struct
from dataclasses import dataclass

from mpcore.wire.checksum import checksum
from mpcore.wire.values import TcpFlag

_IPV6 = struct.Struct(">IHBB16s16s")
_TCP = struct.Struct(">HHIIBBHHH")
_ERROR = struct.Struct(">BBHI")
_TCP_PROTOCOL, _ICMPV6, _HOP_LIMIT = 6, 58, 64
_UNREACHABLE, _NO_ROUTE, _TOO_BIG = 1, 0, 2
_PRIVATE_MESSAGE = bytes([200, 0, 0, 0, 0, 0, 0, 0])  # RFC 4443 §2.1: for experiments, so nobody waits for it


@dataclass(frozen=True, slots=True)
class TcpFlow:
    """A TCP connection of this host."""

    local: bytes
    local_port: int
    peer: bytes
    peer_port: int


def unreachable(flow: TcpFlow, seq: int) -> bytes:
    """Return a Destination Unreachable, no route, about a segment of this host (RFC 4443 §3.1)."""
    return _error(_UNREACHABLE, _NO_ROUTE, flow.local, flow.peer, _TCP_PROTOCOL, _segment(flow, seq))


def segment_too_big(flow: TcpFlow, seq: int, mtu: int) -> bytes:
    """Return a Packet Too Big about a segment, for the socket that sent it (RFC 4443 §3.2).

    `mtu` is in octets; Linux believes it about any number between those that wait for an acknowledgement.
    """
    return _error(_TOO_BIG, mtu, flow.local, flow.peer, _TCP_PROTOCOL, _segment(flow, seq))


def too_big(local: bytes, peer: bytes, mtu: int) -> bytes:
    """Return a Packet Too Big for all packets between two addresses.

    It quotes an ICMPv6 message: of those Linux keeps the MTU for the destination, and asks no socket.
    """
    return _error(_TOO_BIG, mtu, local, peer, _ICMPV6, _PRIVATE_MESSAGE)


def _segment(flow: TcpFlow, seq: int) -> bytes:
    return _TCP.pack(flow.local_port, flow.peer_port, seq, 0, 5 << 4, TcpFlag.ACK.value, 0, 0, 0)


def _error(kind: int, value: int, local: bytes, peer: bytes, protocol: int, upper: bytes) -> bytes:
    """Return an error from `peer` that quotes a packet from `local`; `value` is the code, or the MTU."""
    quote = _IPV6.pack(6 << 28, len(upper), protocol, _HOP_LIMIT, local, peer) + upper
    code, parameter = (0, value) if kind == _TOO_BIG else (value, 0)
    body = _ERROR.pack(kind, code, 0, parameter) + quote
    pseudo = peer + local + struct.pack(">II", len(body), _ICMPV6)
    body = _ERROR.pack(kind, code, checksum(pseudo + body), parameter) + quote
    return _IPV6.pack(6 << 28, len(body), _ICMPV6, _HOP_LIMIT, peer, local) + body
