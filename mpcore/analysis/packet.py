"""From a captured frame to the TCP segment in it, as far as the capture goes.

Unlike `mpcore.wire`, this forgives: a packet that the capture cut short still has the lengths of its headers,
and a super-packet may state no length at all.
"""

import struct
from enum import StrEnum
from typing import NamedTuple

from mpcore.analysis.capture import Frame

ETHERNET, RAW_LINKS, LINUX_COOKED, LINUX_COOKED_2 = 1, {12, 14, 101, 228, 229}, 113, 276
LOOPBACK_LINKS = {0, 108}
VLANS = {b"\x81\x00", b"\x88\xa8", b"\x91\x00"}
TCP, SHIM6, FRAGMENT, AUTHENTICATION = 6, 140, 44, 51
EXTENSIONS = {0, 43, FRAGMENT, AUTHENTICATION, 60}
EXTENSIONS_MAX = 16

_TCP = struct.Struct(">HHIIBBHHH")


class Skip(StrEnum):
    """Why a frame is not looked into."""

    LINK = "unknown link type"
    PROTOCOL = "not TCP"
    FRAGMENT = "fragment"
    CUT = "cut within its headers"
    MALFORMED = "malformed"


class Packet(NamedTuple):
    """One TCP segment.

    `segment` is what the capture has of it, `payload_size` what the wire had, in bytes.
    """

    number: int
    time_ns: int
    src: bytes
    dst: bytes
    src_port: int
    dst_port: int
    seq: int
    ack: int
    flags: int
    window: int
    checksum: int
    header_size: int
    payload_size: int
    segment: bytes

    @property
    def options(self) -> bytes:
        """The area of the options."""
        return self.segment[20 : self.header_size]

    @property
    def payload(self) -> bytes:
        """What there is of the payload."""
        return self.segment[self.header_size : self.header_size + self.payload_size]

    @property
    def complete(self) -> bool:
        """Whether the capture has all of the segment."""
        return len(self.segment) >= self.header_size + self.payload_size


class Shim6Packet(NamedTuple):
    """An IPv6 packet with a Shim6 header: addresses, and all from that header on."""

    number: int
    time_ns: int
    src: bytes
    dst: bytes
    data: bytes
    size: int  # of all from the header on, on the wire


def parse_frame(number: int, frame: Frame) -> Packet | Shim6Packet | Skip:
    """Return what the frame holds, or why nothing here."""
    data = frame.data
    at = _network_offset(frame.link_type, data)
    if at is None:
        return Skip.LINK
    version = data[at] >> 4 if at < len(data) else 0
    if version == 4:
        return _parse_v4(number, frame, at)
    return _parse_v6(number, frame, at) if version == 6 else Skip.PROTOCOL


def _network_offset(link_type: int, data: bytes) -> int | None:
    """Return where the network header begins; None for an unknown link type."""
    if link_type == ETHERNET:
        at = 12
        while data[at : at + 2] in VLANS:
            at += 4
        return at + 2
    if link_type in RAW_LINKS:
        return 0
    if link_type == LINUX_COOKED:
        return 16
    if link_type == LINUX_COOKED_2:
        return 20
    return 4 if link_type in LOOPBACK_LINKS else None


def _parse_v4(number: int, frame: Frame, at: int) -> Packet | Skip:
    data = frame.data
    if len(data) - at < 20:
        return Skip.CUT
    if data[at + 9] != TCP:
        return Skip.PROTOCOL
    if (data[at + 6] << 8 | data[at + 7]) & 0x3FFF:
        return Skip.FRAGMENT
    header = (data[at] & 0x0F) * 4
    # A super-packet beyond 64 KB states 0 (BIG TCP): then the frame's length is all there is.
    total = data[at + 2] << 8 | data[at + 3] or frame.size - at
    if not 20 <= header <= total:
        return Skip.MALFORMED
    src, dst = data[at + 12 : at + 16], data[at + 16 : at + 20]
    return parse_tcp(number, frame.time_ns, src, dst, data[at + header : at + total], total - header)


def _parse_v6(number: int, frame: Frame, at: int) -> Packet | Shim6Packet | Skip:
    data = frame.data
    if len(data) - at < 40:
        return Skip.CUT
    src, dst = data[at + 8 : at + 24], data[at + 24 : at + 40]
    following, here = data[at + 6], at + 40
    end = here + (data[at + 4] << 8 | data[at + 5]) if data[at + 4 : at + 6] != b"\0\0" else frame.size
    for _ in range(EXTENSIONS_MAX):
        if following == TCP:
            return parse_tcp(number, frame.time_ns, src, dst, data[here:end], end - here)
        if following == SHIM6:
            return Shim6Packet(number, frame.time_ns, src, dst, data[here:end], end - here)
        if following not in EXTENSIONS:
            return Skip.PROTOCOL
        if len(data) - here < 8:
            return Skip.CUT
        if following == FRAGMENT and (data[here + 2] << 8 | data[here + 3]) & 0xFFF9:
            return Skip.FRAGMENT
        size = 8 * (data[here + 1] + 1)
        if following == AUTHENTICATION:
            size = 4 * (data[here + 1] + 2)
        elif following == FRAGMENT:
            size = 8
        following, here = data[here], here + size
    return Skip.MALFORMED


def parse_tcp(number: int, time_ns: int, src: bytes, dst: bytes, segment: bytes, size: int) -> Packet | Skip:
    """Return the segment of `size` bytes, of which the capture has `segment`, or why there is none."""
    if len(segment) < 20:
        return Skip.MALFORMED if size < 20 else Skip.CUT
    src_port, dst_port, seq, ack, offset, flags, window, checksum, _ = _TCP.unpack_from(segment)
    header = (offset >> 4) * 4
    if not 20 <= header <= size:
        return Skip.MALFORMED
    if len(segment) < header:
        return Skip.CUT
    return Packet(
        number, time_ns, src, dst, src_port, dst_port, seq, ack, flags, window,
        checksum, header, size - header, segment,
    )  # fmt: skip
