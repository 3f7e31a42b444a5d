"""What the simulator needs to know of a packet without the whole of the wire layer.

The checksum test is deliberately not that of mpcore.wire: a model host that judged packets with the code that
wrote them would accept its mistakes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from mpcore.errors import WireError
from mpcore.wire.values import Segment, TcpFlag, emit_segment, parse_segment

# Plain numbers: combining members of an IntFlag costs more than parsing the packet.
FIN, SYN, RST = int(TcpFlag.FIN), int(TcpFlag.SYN), int(TcpFlag.RST)
PSH, ACK = int(TcpFlag.PSH), int(TcpFlag.ACK)
ECE, CWR = int(TcpFlag.ECE), int(TcpFlag.CWR)

IPPROTO_TCP = 6
SEQUENCE_MASK = 0xFFFFFFFF
ECN_MASK = 3


class Flow(NamedTuple):
    """The four values that name a TCP flow, as seen by one side."""

    local: bytes
    local_port: int
    remote: bytes
    remote_port: int

    def reversed(self) -> Flow:
        """Return the same flow as the other side names it."""
        return Flow(self.remote, self.remote_port, self.local, self.local_port)


class _Layout(NamedTuple):
    """Where things lie in a packet."""

    header_bytes: int  # of the network layer
    total_bytes: int
    src: bytes
    dst: bytes


def _layout(data: bytes) -> _Layout:
    """Return the layout of an IPv4 packet or an IPv6 one without extension headers; WireError for others."""
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= 20 and data[9] == IPPROTO_TCP:
        layout = _Layout((data[0] & 15) * 4, int.from_bytes(data[2:4], "big"), data[12:16], data[16:20])
    elif version == 6 and len(data) >= 40 and data[6] == IPPROTO_TCP:
        layout = _Layout(40, 40 + int.from_bytes(data[4:6], "big"), data[8:24], data[24:40])
    else:
        raise WireError("not a TCP packet that the simulator can carry")
    if layout.total_bytes > len(data) or layout.header_bytes + 20 > layout.total_bytes:
        raise WireError("packet is shorter than its header says")
    return layout


def flow_from_source(data: bytes) -> Flow:
    """Return the flow of a packet with its sender as local side; WireError when it is not TCP."""
    at = _layout(data)
    start = at.header_bytes
    src_port = int.from_bytes(data[start : start + 2], "big")
    return Flow(at.src, src_port, at.dst, int.from_bytes(data[start + 2 : start + 4], "big"))


def addresses(data: bytes) -> tuple[bytes, bytes]:
    """Return source and destination address of a packet: TCP, or anything over IPv6."""
    if len(data) >= 40 and data[0] >> 4 == 6:
        return data[8:24], data[24:40]
    at = _layout(data)
    return at.src, at.dst


def checksums_ok(data: bytes) -> bool:
    """Return whether the TCP checksum, and for IPv4 that of the header, is right.

    65536 is 1 modulo 65535, so the one's complement sum of 16-bit words (RFC 1071) is the number mod 65535.
    """
    try:
        at = _layout(data)
    except WireError:
        return False
    if data[0] >> 4 == 4 and _sum16(data[: at.header_bytes]) != 0:
        return False
    segment = data[at.header_bytes : at.total_bytes]
    pseudo = at.src + at.dst + len(segment).to_bytes(4, "big") + IPPROTO_TCP.to_bytes(4, "big")
    return _sum16(pseudo + segment) == 0


def _sum16(data: bytes) -> int:
    padded = data if len(data) % 2 == 0 else data + b"\0"
    return int.from_bytes(padded, "big") % 0xFFFF


def with_ce(data: bytes) -> bytes:
    """Return the packet as a congested router marks it (RFC 3168 §5); itself when its sender takes none.

    A packet that is marked already is returned as it is too.
    """
    version_4 = data[0] >> 4 == 4
    field = data[1] if version_4 else data[1] >> 4
    if field & ECN_MASK in (0, ECN_MASK):
        return data
    packet = bytearray(data)
    packet[1] |= ECN_MASK if version_4 else ECN_MASK << 4
    if version_4:
        packet[10:12] = bytes(2)
        packet[10:12] = (0xFFFF - _sum16(bytes(packet[: (data[0] & 15) * 4]))).to_bytes(2, "big")
    return bytes(packet)


def segment_super_packet(data: bytes, gso_bytes: int) -> list[bytes]:
    """Cut a packet into ones of at most `gso_bytes` of payload, as a network interface does.

    What is not TCP to an interface stays whole: other protocols, and TCP behind an extension header.
    """
    try:
        _layout(data)
    except WireError:
        return [data]
    segment = parse_segment(data)
    if len(segment.payload) <= gso_bytes:
        return [data]
    return [emit_segment(piece) for piece in cut_segment(segment, gso_bytes)]


def cut_segment(segment: Segment, size: int) -> list[Segment]:
    """Cut a segment into ones of at most `size` bytes; all repeat the options, the last keeps FIN and PSH."""
    return [_piece(segment, start, size) for start in range(0, len(segment.payload), size)]


def _piece(segment: Segment, start: int, size: int) -> Segment:
    payload = segment.payload[start : start + size]
    last = start + len(payload) == len(segment.payload)
    flags = segment.flags if last else segment.flags & ~(FIN | PSH)
    return replace(segment, seq=(segment.seq + start) & SEQUENCE_MASK, flags=flags, payload=payload)
