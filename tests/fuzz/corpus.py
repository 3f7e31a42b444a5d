"""Packets to begin from, and their mutants: the same ones for the same seed."""

import random
from collections.abc import Iterator

from mpcore.wire.values import (
    OPTIONS_MAX,
    MaxSegmentSize,
    Sack,
    SackPermitted,
    Segment,
    TcpOption,
    Timestamps,
    WindowScale,
    emit_option,
    emit_segment,
)
from tests.vectors.mptcp_options import CANONICAL, MALFORMED

SYN_OPTIONS = (MaxSegmentSize(1460), SackPermitted(), Timestamps(1, 0), WindowScale(7))
SACKED = (Timestamps(1, 2), Sack(((10, 20), (30, 40))))
INTERESTING = (0, 1, 2, 3, 4, 8, 10, 12, 20, 24, 30, 0x1F, 0x20, 0x3F, 0x40, 0x60, 0x7F, 0x80, 0xFE, 0xFF)


def packets() -> list[bytes]:
    """Return a packet for every option vector, plain ones and ones with IPv6 extension headers."""
    sets: list[tuple[TcpOption, ...]] = [(), SYN_OPTIONS, SACKED]
    sets += [(value,) for _, _, value in CANONICAL + MALFORMED]
    sets += [
        (Timestamps(1, 2), value) for _, _, value in CANONICAL if len(emit_option(value)) <= OPTIONS_MAX - 10
    ]
    made = [emit_segment(_segment(version, options)) for version in (4, 6) for options in sets]
    return made + [_extended(packet) for packet in made if packet[0] >> 4 == 6]


def _segment(version: int, options: tuple[TcpOption, ...]) -> Segment:
    size = 4 if version == 4 else 16
    return Segment(version, bytes(size), b"\1" * size, 80, 40000, 1, 2, 0x18, 512, options, b"payload")


def _extended(packet: bytes) -> bytes:
    """Return the IPv6 packet with a hop-by-hop, a fragment and a destination header put in (RFC 8200 §4)."""
    chain = bytes([44, 1]) + bytes(14) + bytes([60, 0]) + bytes(6) + bytes([packet[6], 0]) + bytes(6)
    size = int.from_bytes(packet[4:6], "big") + len(chain)
    return packet[:4] + size.to_bytes(2, "big") + b"\0" + packet[7:40] + chain + packet[40:]


def mutants(seed: int, count: int) -> Iterator[bytes]:
    """Return `count` packets that differ from the corpus in a few octets, their length or both."""
    rng = random.Random(seed)
    originals = packets()
    for _ in range(count):
        data = bytearray(rng.choice(originals))
        for _ in range(rng.randrange(5)):
            at = rng.randrange(len(data))
            data[at] = rng.choice(INTERESTING) if rng.random() < 0.5 else rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        yield bytes(data)
