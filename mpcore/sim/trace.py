"""What happened, in order: every packet with its virtual time; as text, as a digest, as a capture file."""

from __future__ import annotations

import hashlib
import ipaddress
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields

from mpcore.errors import WireError
from mpcore.sim.clock import Clock
from mpcore.wire.values import Segment, parse_segment

# pcap with nanosecond times; link type RAW: the packet begins with its IP header.
_PCAP_MAGIC_NS = 0xA1B23C4D
_PCAP_LINKTYPE_RAW = 101
_PCAP_SNAPLEN = 262144

_FLAG_LETTERS = (
    (0x02, "S"),
    (0x01, "F"),
    (0x04, "R"),
    (0x08, "P"),
    (0x10, "."),
    (0x20, "U"),
    (0x40, "E"),
    (0x80, "C"),
)


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the trace: a packet at a place, or an event there (then `packet` is its text in bytes)."""

    time_ns: int
    place: str
    kind: str
    packet: bytes

    def text(self) -> str:
        """Return the canonical line of this record."""
        body = self.packet.decode() if self.kind == "event" else describe(self.packet)
        return f"{self.time_ns:>15} {self.place:<24} {self.kind:<10} {body}"


class Trace:
    """Collects records; the same world gives the same bytes. Without `record` it stays empty."""

    def __init__(self, clock: Clock, *, record: bool = True) -> None:
        self.records: list[Record] = []
        self._clock = clock
        self._record = record

    def packet(self, place: str, kind: str, data: bytes) -> None:
        """Record that `data` was seen at `place`; `kind` says what became of it ("send", "loss", ...)."""
        if self._record:
            self.records.append(Record(self._clock.now_ns, place, kind, data))

    def event(self, place: str, text: str) -> None:
        """Record something that is not a packet."""
        if self._record:
            self.records.append(Record(self._clock.now_ns, place, "event", text.encode()))

    def of(self, kind: str, place: str = "") -> list[Record]:
        """Return the records of `kind` whose place begins with `place`."""
        return [record for record in self.records if record.kind == kind and record.place.startswith(place)]

    def segments(self, kind: str, place: str = "") -> Iterator[Segment]:
        """Yield the packets of `kind` at `place`, parsed."""
        return (parse_segment(record.packet) for record in self.of(kind, place))

    def text(self) -> str:
        """Return the whole trace, one record a line."""
        return "".join(record.text() + "\n" for record in self.records)

    def digest(self) -> str:
        """Return the SHA-256 of every record to the byte, in hex."""
        digest = hashlib.sha256()
        for record in self.records:
            digest.update(f"{record.time_ns} {record.place} {record.kind} {len(record.packet)}\n".encode())
            digest.update(record.packet)
        return digest.hexdigest()

    def pcap(self, kind: str = "send", place: str = "") -> bytes:
        """Return a capture file of the packets of `kind` at places that begin with `place`."""
        out = [struct.pack("<IHHiIII", _PCAP_MAGIC_NS, 2, 4, 0, 0, _PCAP_SNAPLEN, _PCAP_LINKTYPE_RAW)]
        for record in self.of(kind, place):
            seconds, nanoseconds = divmod(record.time_ns, 1_000_000_000)
            size = len(record.packet)
            out += (struct.pack("<IIII", seconds, nanoseconds, size, size), record.packet)
        return b"".join(out)


def describe(data: bytes) -> str:
    """Return a packet as one line of text; the payload as its length and CRC-32."""
    try:
        segment = parse_segment(data)
    except WireError as error:
        return f"unreadable ({error}) {data[:64].hex()}"
    flags = "".join(letter for bit, letter in _FLAG_LETTERS if segment.flags & bit)
    options = " ".join(_describe_option(option) for option in segment.options)
    payload = f"{len(segment.payload)}/{zlib.crc32(segment.payload):08x}" if segment.payload else "0"
    ends = f"{_end(segment.src, segment.src_port)} > {_end(segment.dst, segment.dst_port)}"
    return (
        f"{ends} [{flags}] seq {segment.seq} ack {segment.ack} win {segment.window} [{options}] len {payload}"
    )


def _end(address: bytes, port: int) -> str:
    text = str(ipaddress.ip_address(address))
    return f"[{text}]:{port}" if len(address) == 16 else f"{text}:{port}"


def _describe_option(option: object) -> str:
    """Return an option's name and the fields it has, in the order of their declaration."""
    values = ((field.name, getattr(option, field.name)) for field in fields(option))  # type: ignore[arg-type]
    shown = (f"{name}={_plain(value)}" for name, value in values if value is not None)
    return f"{type(option).__name__}({','.join(shown)})"


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value).replace(" ", "")
