"""Segments that a TCP socket does not expect, and so answers by telling where its numbers stand."""

from mpcore.wire.values import Segment, TcpFlag, emit_segment

DISTANCE = 1 << 31  # of two sequence numbers, of which at most one lies in a window


def unexpected_segments(local: bytes, local_port: int, peer: bytes, peer_port: int) -> list[bytes]:
    """Return packets for the socket at `local`, at least one of which it answers (RFC 9293 §3.10.7.4).

    They have no payload: the one that may lie in its window does no harm. Addresses have 4 or 16 octets.

    Raises:
        WireError: the addresses are of different IP versions, or a port is none
    """
    return [
        emit_segment(
            Segment(
                version=4 if len(local) == 4 else 6,
                src=peer,
                dst=local,
                src_port=peer_port,
                dst_port=local_port,
                seq=seq,
                ack=0,
                flags=TcpFlag.ACK.value,
                window=0,
            )
        )
        for seq in (0, DISTANCE)
    ]
