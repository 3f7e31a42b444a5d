"""Packets that the benchmarks handle, all with right checksums."""

from mpcore.wire.batch import PacketBatch
from mpcore.wire.values import Dss, Segment, Timestamps, emit_segment

BATCH = 256
OPTIONS = (Timestamps(0x11223344, 0x55667788), Dss(data_ack=5, data_seq=7, subflow_seq=1, data_len=1388))
V4 = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
V6 = bytes([0x20, 1, 0xD, 0xB8, *range(12)]), bytes([0x20, 1, 0xD, 0xB8, *range(1, 13)])
LOCATORS = bytes([0x20, 1, 0xD, 0xB8, *range(2, 14)]), bytes([0x20, 1, 0xD, 0xB8, *range(3, 15)])


def tcp(version: int, size: int) -> bytes:
    """Return a packet of exactly `size` bytes with the usual options of an MPTCP data segment."""
    src, dst = V4 if version == 4 else V6
    empty = Segment(version, src, dst, 40000, 443, 1000, 2000, 0x18, 512, OPTIONS)
    payload = bytes(at * 7 & 0xFF for at in range(size - len(emit_segment(empty))))
    return emit_segment(Segment(version, src, dst, 40000, 443, 1000, 2000, 0x18, 512, OPTIONS, payload))


def batch(packet: bytes) -> PacketBatch:
    """Return many copies of it, each in a place of its own."""
    return PacketBatch.of([packet] * BATCH)
