"""Capture files made to measure: what the readers under test have to read."""

import struct
from collections.abc import Iterable, Sequence

from mpcore.analysis.capture import Frame

NS_PER_S = 1_000_000_000
SNAP_LENGTH = 0x40000


def pcap(
    frames: Iterable[Frame], *, order: str = "<", nanoseconds: bool = False, link_type: int = 1
) -> bytes:
    """Return a pcap file; all frames are taken to have `link_type`."""
    magic, scale = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
    blocks = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, SNAP_LENGTH, link_type)]
    for frame in frames:
        seconds, fraction = divmod(frame.time_ns, NS_PER_S)
        blocks.append(struct.pack(order + "IIII", seconds, fraction // scale, len(frame.data), frame.size))
        blocks.append(frame.data)
    return b"".join(blocks)


def pcapng(frames: Sequence[Frame], *, order: str = "<", resolution: int = 9) -> bytes:
    """Return a pcapng file of one section whose time stamps count in 10 to the power of -`resolution`."""
    blocks = [block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)]
    option = struct.pack(order + "HHB3xI", 9, 1, resolution, 0)
    link_types = {frame.interface: frame.link_type for frame in frames}
    for number in range(max(link_types, default=-1) + 1):
        head = struct.pack(order + "HHI", link_types.get(number, 1), 0, SNAP_LENGTH)
        blocks.append(block(1, head + option, order))
    for frame in frames:
        stamp = frame.time_ns * 10**resolution // NS_PER_S
        head = (frame.interface, stamp >> 32, stamp & 0xFFFFFFFF, len(frame.data), frame.size)
        blocks.append(block(6, struct.pack(order + "IIIII", *head) + frame.data, order))
    return b"".join(blocks)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """Return one block of pcapng."""
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size
