"""Packets that make a TCP of this host retransmit at once when its context took other locators.

TCP counts silence as congestion and doubles its timer: after a search for a working pair it would wait as
long again. RFC 6069 has a cure that Linux knows, for IPv6 too: a Destination Unreachable, code 0, about the
first segment that is not acknowledged tells that the path was gone and not full, takes one doubling back, and
retransmits when the shorter timer has passed. It needs the exact sequence number, which the socket itself
tells in its answer to a segment that it does not expect (RFC 9293 §3.10.7.4).
"""

from dataclasses import dataclass

from mpcore.shim6.locators import Pair
from mpcore.shim6.own_errors import TcpFlow, unreachable
from mpcore.shim6.segment import segment_of
from mpcore.wire.unexpected import unexpected_segments

BACKOFF_MAX = 15
_IPV6_SIZE, _TCP_SIZE, _TCP_PROTOCOL = 40, 20, 6
_LENGTH, _NEXT_HEADER = slice(4, 6), 6  # of the IPv6 header
_OFFSET = 12  # of the TCP header


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
    if len(packet) < _IPV6_SIZE + _TCP_SIZE or packet[_NEXT_HEADER] != _TCP_PROTOCOL:
        return None
    if int.from_bytes(packet[_LENGTH]) != 4 * (packet[_IPV6_SIZE + _OFFSET] >> 4):
        return None
    return segment_of(packet)


def kicks(socket: Backoff, next_seq: int) -> list[bytes]:
    """Return the errors that take every doubling back.

    The SYN counts as an octet that was acknowledged at the end that connected and at the other not, hence two
    numbers for each; one that is not the first unacknowledged one changes nothing.
    """
    first = [(next_seq - socket.outstanding - syn) & 0xFFFFFFFF for syn in (0, 1)]
    return [unreachable(socket.flow, seq) for seq in first for _ in range(min(socket.doublings, BACKOFF_MAX))]
