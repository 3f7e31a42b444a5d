"""Capture files, pcap and pcapng, as packets; damage ends the reading and is told, it does not raise.

pcap as libpcap writes it (both byte orders, microseconds and nanoseconds); pcapng with any
number of sections and interfaces (draft-ietf-opsawg-pcapng). Either may be compressed by gzip.
"""

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from mpcore.errors import MpcoreError

PCAP_MAGICS = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
SECTION, INTERFACE, OLD_PACKET, SIMPLE_PACKET, PACKET = 0x0A0D0D0A, 1, 2, 3, 6
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
GZIP_MAGIC = b"\x1f\x8b"
ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
OPTION_RESOLUTION, OPTION_OFFSET = 9, 14
NS_PER_S = 1_000_000_000

# More than any capture program writes: a larger figure is damage, and is not allocated.
PACKET_BYTES_MAX = 1 << 20
BLOCK_BYTES_MAX = 1 << 24
INTERFACES_MAX = 4096


class CaptureError(MpcoreError):
    """A file that is no capture, or damage in one; the message says where."""


class Frame(NamedTuple):
    """A packet as it was captured, link header included; `size` is its length on the wire, in bytes."""

    time_ns: int
    link_type: int
    interface: int
    data: bytes
    size: int


class Capture:
    """An open capture; iterate it once, then ask `damage`. A context manager.

    `position` and `size` are octets of the file, for those who show progress. Raises CaptureError when the
    file does not begin as a capture, OSError when it cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self.size = Path(path).stat().st_size
        self._raw: IO[bytes] = Path(path).open("rb")  # noqa: SIM115 - closed by `close`
        try:
            self._file: IO[bytes] = self._open()
            self.format = self._recognise()
        except BaseException:
            self._raw.close()
            raise
        self.damage: str | None = None
        self._interfaces: list[_Interface] = []

    def __enter__(self) -> "Capture":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    @property
    def position(self) -> int:
        """Octets of the file that have been read."""
        return self._raw.tell()

    @property
    def interfaces(self) -> int:
        """How many interfaces have been described so far, in the present section."""
        return len(self._interfaces) or 1

    def __iter__(self) -> Iterator[Frame]:
        if self.format == "pcap":
            frames = _read_pcap(self._file)
        else:
            frames = _read_pcapng(self._file, self._interfaces)
        number = 0
        try:
            for number, frame in enumerate(frames, start=1):  # noqa: B007 - named in the message below
                yield frame
        except (CaptureError, EOFError, OSError, zlib.error) as error:
            self.damage = f"{self.path} makes no sense after packet {number}: {error}"

    def _open(self) -> IO[bytes]:
        start = self._raw.read(2)
        self._raw.seek(0)
        if not start:
            raise CaptureError(f"{self.path} is empty")
        if start != GZIP_MAGIC:
            return self._raw
        return gzip.open(self._raw)  # type: ignore[return-value]

    def _recognise(self) -> str:
        try:
            start = self._file.read(4)
            self._file.seek(0)
        except (EOFError, OSError, zlib.error) as error:
            raise CaptureError(f"{self.path} is damaged from its beginning: {error}") from error
        if start in PCAP_MAGICS:
            return "pcap"
        if start == PCAPNG_MAGIC:
            return "pcapng"
        raise CaptureError(f"{self.path} is no capture: it begins neither as pcap nor as pcapng")


def _exactly(file: IO[bytes], size: int, what: str) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise CaptureError(f"the file ends within {what}")
    return data


def _read_pcap(file: IO[bytes]) -> Iterator[Frame]:
    start = _exactly(file, 24, "its header")
    order, scale = PCAP_MAGICS[start[:4]]
    # The upper half of the last field tells of the frame check sequence.
    link_type = struct.unpack(order + "I", start[20:])[0] & 0xFFFF
    unpack = struct.Struct(order + "IIII").unpack
    while head := file.read(16):
        if len(head) < 16:
            raise CaptureError("the file ends within the header of a packet")
        seconds, fraction, captured, size = unpack(head)
        if captured > PACKET_BYTES_MAX:
            raise CaptureError(f"the next packet states {captured} bytes")
        data = _exactly(file, captured, "a packet")
        yield Frame(seconds * NS_PER_S + fraction * scale, link_type, 0, data, size)


class _Interface(NamedTuple):
    link_type: int
    snap_length: int
    per_second: int  # units of its time stamps
    offset_s: int


def _read_pcapng(file: IO[bytes], interfaces: list[_Interface]) -> Iterator[Frame]:
    order = "<"
    while head := file.read(8):
        if len(head) < 8:
            raise CaptureError("the file ends within the header of a block")
        if head[:4] == PCAPNG_MAGIC:
            order = _read_section(file, head)
            interfaces.clear()
            continue
        kind, total = struct.unpack(order + "II", head)
        body = _read_body(file, order, total)
        if kind == PACKET:
            yield _parse_packet(order, body, interfaces)
        elif kind == INTERFACE:
            if len(interfaces) >= INTERFACES_MAX:
                raise CaptureError(f"there are more than {INTERFACES_MAX} interfaces")
            interfaces.append(_parse_interface(order, body))
        elif kind == SIMPLE_PACKET:
            yield _parse_simple(order, body, interfaces)
        elif kind == OLD_PACKET:
            yield _parse_old_packet(order, body, interfaces)


def _read_section(file: IO[bytes], head: bytes) -> str:
    """Skip the rest of a section header and return the byte order of the section."""
    order = ORDERS.get(_exactly(file, 4, "a section header"))
    if order is None:
        raise CaptureError("a section has no byte order")
    (total,) = struct.unpack(order + "I", head[4:])
    _read_body(file, order, total, had=12)
    return order


def _read_body(file: IO[bytes], order: str, total: int, had: int = 8) -> bytes:
    if total < had + 4 or total % 4 or total > BLOCK_BYTES_MAX:
        raise CaptureError(f"the next block states {total} bytes")
    rest = _exactly(file, total - had, "a block")
    if struct.unpack(order + "I", rest[-4:])[0] != total:
        raise CaptureError(f"the lengths at both ends of a block of {total} bytes differ")
    return rest[:-4]


def _parse_interface(order: str, body: bytes) -> _Interface:
    if len(body) < 8:
        raise CaptureError("the description of an interface is cut short")
    link_type, snap_length = struct.unpack_from(order + "HxxI", body)
    per_second, offset_s, at = 1_000_000, 0, 8
    while len(body) - at >= 4:
        code, size = struct.unpack_from(order + "HH", body, at)
        value = body[at + 4 : at + 4 + size]
        if code == OPTION_RESOLUTION and size == 1:
            per_second = 1 << (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        elif code == OPTION_OFFSET and len(value) == 8:
            (offset_s,) = struct.unpack(order + "q", value)
        at += 4 + size + -size % 4
    return _Interface(link_type, snap_length, per_second, offset_s)


def _interface(interfaces: list[_Interface], number: int) -> _Interface:
    if number >= len(interfaces):
        raise CaptureError(f"a packet names interface {number}, which is not described")
    return interfaces[number]


def _parse_packet(order: str, body: bytes, interfaces: list[_Interface]) -> Frame:
    if len(body) < 20:
        raise CaptureError("a packet block is cut short")
    number, high, low, captured, size = struct.unpack_from(order + "IIIII", body)
    return _stamped(_interface(interfaces, number), number, high, low, body[20:], captured, size)


def _parse_old_packet(order: str, body: bytes, interfaces: list[_Interface]) -> Frame:
    if len(body) < 20:
        raise CaptureError("a packet block is cut short")
    number, _, high, low, captured, size = struct.unpack_from(order + "HHIIII", body)
    return _stamped(_interface(interfaces, number), number, high, low, body[20:], captured, size)


def _stamped(
    interface: _Interface, number: int, high: int, low: int, data: bytes, captured: int, size: int
) -> Frame:
    if captured > len(data):
        raise CaptureError(f"a packet of {captured} bytes stands in a block with room for {len(data)}")
    stamp = (high << 32 | low) * NS_PER_S // interface.per_second + interface.offset_s * NS_PER_S
    return Frame(stamp, interface.link_type, number, data[:captured], size)


def _parse_simple(order: str, body: bytes, interfaces: list[_Interface]) -> Frame:
    if len(body) < 4:
        raise CaptureError("a packet block is cut short")
    interface = _interface(interfaces, 0)
    (size,) = struct.unpack_from(order + "I", body)
    captured = min(size, len(body) - 4, interface.snap_length or size)
    return Frame(0, interface.link_type, 0, body[4 : 4 + captured], size)
