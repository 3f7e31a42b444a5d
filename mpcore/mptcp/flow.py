"""The name of a TCP connection as this host sees it, whichever way a packet goes."""

from mpcore.actions import Direction
from mpcore.wire.values import Segment

# IP version, local address, local port, remote address, remote port
FlowKey = tuple[int, bytes, int, bytes, int]


def flow_key(direction: Direction, segment: Segment) -> FlowKey:
    """Return the key under which both directions of a TCP connection are found."""
    if direction is Direction.FROM_HOST:
        return segment.version, segment.src, segment.src_port, segment.dst, segment.dst_port
    return segment.version, segment.dst, segment.dst_port, segment.src, segment.src_port
