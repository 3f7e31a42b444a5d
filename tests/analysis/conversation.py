"""MPTCP conversations made by hand: every secret in them is computed apart from the code under test."""

import hashlib
import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from mpcore.analysis.capture import Frame
from mpcore.analysis.inspection import Inspection
from mpcore.analysis.model import Connection
from mpcore.wire.checksum import dss_checksum
from mpcore.wire.values import (
    Dss,
    MpCapable,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    Segment,
    TcpOption,
    emit_segment,
)

KEY_A, KEY_B = 0x0123456789ABCDEF, 0xFEDCBA9876543210
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
RAW_LINK = 101
STEP_NS = 1_000_000


def key_hash(key: int, version: int = 1) -> bytes:
    return (hashlib.sha256 if version else hashlib.sha1)(struct.pack(">Q", key)).digest()


def token(key: int, version: int = 1) -> int:
    return int.from_bytes(key_hash(key, version)[:4], "big")


def first_byte(key: int, version: int = 1) -> int:
    """Return the data sequence number of the first byte: IDSN plus one."""
    return (int.from_bytes(key_hash(key, version)[-8:], "big") + 1) % 2**64


def join_hmac(keys: tuple[int, int], nonces: tuple[int, int], version: int = 1) -> bytes:
    name = "sha256" if version else "sha1"
    return hmac.digest(struct.pack(">QQ", *keys), struct.pack(">II", *nonces), name)


def checksum_of(offset: int, position: int, payload: bytes, key: int) -> int:
    return dss_checksum((first_byte(key) + offset) % 2**64, position, len(payload), payload)


@dataclass
class Wire:
    """A TCP connection between `a` and `b`; what is sent goes into the conversation's frames."""

    frames: list[Frame]
    a: tuple[bytes, int] = (b"\x0a\0\0\x01", 40000)
    b: tuple[bytes, int] = (b"\x0a\0\0\x02", 80)
    isn: tuple[int, int] = (1000, 2000)
    sent: list[int] = field(default_factory=lambda: [1, 1])  # the next position, by side

    def send(
        self, side: int, *options: TcpOption, flags: int = ACK, payload: bytes = b"", at: int | None = None
    ) -> None:
        """Send a segment from side 0 or 1; `at` is its position, by default the next."""
        here, there = (self.a, self.b) if side == 0 else (self.b, self.a)
        position = self.sent[side] if at is None else at
        seq = (self.isn[side] + (0 if flags & SYN else position)) % 2**32
        ack = (self.isn[side ^ 1] + self.sent[side ^ 1]) % 2**32 if flags & ACK else 0
        version = 4 if len(here[0]) == 4 else 6
        segment = Segment(
            version, here[0], there[0], here[1], there[1], seq, ack, flags, 1000, options, payload
        )
        data = emit_segment(segment)
        self.frames.append(Frame(len(self.frames) * STEP_NS, RAW_LINK, 0, data, len(data)))
        if at is None:
            self.sent[side] += len(payload)

    def data(self, side: int, offset: int, payload: bytes, at: int | None = None, **of_dss: Any) -> None:
        """Send payload with the mapping that belongs to `offset`; `of_dss` are changes of its DSS."""
        key = (KEY_A, KEY_B)[side]
        mapping = Dss(
            data_seq=(first_byte(key) + offset) % 2**64,
            subflow_seq=self.sent[side] if at is None else at,
            data_len=len(payload),
        )
        self.send(side, replace(mapping, **of_dss), payload=payload, at=at)


@dataclass
class Conversation:
    """A connection of two hosts with the keys A and B; `first` is its first subflow."""

    frames: list[Frame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.first = Wire(self.frames)

    def open(self, flags: int = 0x01) -> Wire:
        """Shake hands by RFC 8684 §3.1."""
        self.first.send(0, MpCapable(flags=flags), flags=SYN)
        self.first.send(1, MpCapable(flags=flags, key_sender=KEY_B), flags=SYN | ACK)
        self.first.send(0, MpCapable(flags=flags, key_sender=KEY_A, key_receiver=KEY_B))
        return self.first

    def join(self, number: int = 1, *, spoil: str = "", backup: bool = False) -> Wire:
        """Shake hands by RFC 8684 §3.2; `spoil` names the HMAC to be wrong."""
        wire = Wire(self.frames, a=(bytes([10, 0, number, 1]), 41000 + number), isn=(5000, 6000))
        synack = bytes(8) if spoil == "synack" else join_hmac((KEY_B, KEY_A), (8, 7))[:8]
        ack = bytes(20) if spoil == "ack" else join_hmac((KEY_A, KEY_B), (7, 8))[:20]
        wire.send(0, MpJoinSyn(token(KEY_B), 7, number, backup), flags=SYN)
        wire.send(1, MpJoinSynAck(synack, 8, 0), flags=SYN | ACK)
        wire.send(0, MpJoinAck(ack))
        return wire

    def inspected(self) -> Inspection:
        return inspected(self.frames)

    def connection(self) -> Connection:
        """Return the only connection."""
        (connection,) = self.inspected().tracker.connections
        return connection


def inspected(frames: Iterable[Frame]) -> Inspection:
    inspection = Inspection("none", "pcap")
    for number, frame in enumerate(frames, start=1):
        inspection.take(number, frame)
    inspection.tracker.finish()
    return inspection
