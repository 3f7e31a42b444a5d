"""TCP checksums of a capture: right, left to the network card, or wrong."""

from enum import StrEnum

from mpcore.analysis.packet import Packet
from mpcore.wire.checksum import sum_of
from mpcore.wire.tcp import checksum_ok

TCP = 6


class TcpChecksum(StrEnum):
    """What a checksum field holds."""

    RIGHT = "right"
    OFFLOADED = "offloaded"  # only the sum of the pseudo-header: the card, or nobody, was to complete it
    WRONG = "wrong"
    UNKNOWN = "unknown"  # the capture has not all of the segment


def judge_checksum(packet: Packet) -> TcpChecksum:
    """Judge the checksum of a segment (RFC 9293 §3.1).

    A packet captured on the host that sends it has not met its network card yet; this is no fault.
    """
    if not packet.complete:
        return TcpChecksum.UNKNOWN
    if checksum_ok(packet.src, packet.dst, packet.segment):
        return TcpChecksum.RIGHT
    size = packet.header_size + packet.payload_size
    pseudo = packet.src + packet.dst + size.to_bytes(4, "big") + TCP.to_bytes(4, "big")
    # With and without the length: a super-packet leaves it to whoever cuts it up.
    bare = packet.src + packet.dst + TCP.to_bytes(4, "big")
    partial = packet.checksum in (sum_of(pseudo), sum_of(bare))
    return TcpChecksum.OFFLOADED if partial else TcpChecksum.WRONG
