"""Frames of all link types down to their segment, as far as the capture goes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.analysis.capture import Frame
from mpcore.analysis.checksums import TcpChecksum, judge_checksum
from mpcore.analysis.packet import Packet, Shim6Packet, Skip, parse_frame
from mpcore.wire.checksum import sum_of
from mpcore.wire.values import MpPrio, Segment, emit_segment

V4 = Segment(4, b"\x0a\0\0\1", b"\x0a\0\0\2", 5, 6, 7, 8, 0x10, 9, (MpPrio(True),), b"payload")
V6 = Segment(6, b"\xfd" + bytes(15), b"\xfe" + bytes(15), 5, 6, 7, 8, 0x10, 9, (MpPrio(True),), b"payload")
ETHERTYPE = {4: b"\x08\x00", 6: b"\x86\xdd"}


def parsed(link_type: int, data: bytes, size: int | None = None) -> Packet | Shim6Packet | Skip:
    return parse_frame(1, Frame(1, link_type, 0, data, len(data) if size is None else size))


@pytest.mark.parametrize("segment", [V4, V6], ids=["v4", "v6"])
@pytest.mark.parametrize(
    ("link_type", "prefix"),
    [
        (1, bytes(12)),
        (1, bytes(12) + b"\x81\x00\0\5"),
        (1, bytes(12) + b"\x88\xa8\0\5\x81\x00\0\6"),
        (113, bytes(14)),
        (276, bytes(20)),
        (0, b"\2\0\0\0"),
        (108, b"\0\0\0\2"),
        (101, b""),
        (228, b""),
        (12, b""),
    ],
)
def test_every_link_type(segment: Segment, link_type: int, prefix: bytes) -> None:
    ethertype = ETHERTYPE[segment.version] if link_type in (1, 113) else b""
    packet = parsed(link_type, prefix + ethertype + emit_segment(segment))
    assert isinstance(packet, Packet)
    assert (packet.src, packet.dst, packet.src_port, packet.dst_port) == (segment.src, segment.dst, 5, 6)
    assert (packet.seq, packet.ack, packet.flags, packet.window) == (7, 8, 0x10, 9)
    assert (packet.payload, packet.payload_size, packet.complete) == (b"payload", 7, True)
    assert packet.options[:3] == b"\x1e\x03\x51"


def test_padding_of_the_link_is_not_payload() -> None:
    packet = parsed(101, emit_segment(V4) + bytes(20))
    assert isinstance(packet, Packet)
    assert packet.payload == b"payload"


def test_a_cut_packet_still_has_its_length() -> None:
    packet = parsed(101, emit_segment(V4)[:-3], 100)
    assert isinstance(packet, Packet)
    assert (packet.payload, packet.payload_size, packet.complete) == (b"payl", 7, False)
    assert judge_checksum(packet) is TcpChecksum.UNKNOWN


@pytest.mark.parametrize("segment", [V4, V6], ids=["v4", "v6"])
def test_a_super_packet_without_a_length_has_the_frame_s(segment: Segment) -> None:
    data = bytearray(emit_segment(segment))
    at = 2 if segment.version == 4 else 4
    data[at : at + 2] = bytes(2)
    packet = parsed(101, bytes(data))
    assert isinstance(packet, Packet)
    assert packet.payload_size == 7


@pytest.mark.parametrize("extensions", [[0], [60], [43], [44], [51], [0, 60, 43, 44, 60]])
def test_ipv6_extension_headers_are_walked(extensions: list[int]) -> None:
    data = emit_segment(V6)
    headers = b"".join(bytes([following, 0]) + bytes(6) for following in [*extensions[1:], 6])
    size = struct.pack(">H", len(headers) + len(data) - 40)
    packet = parsed(101, data[:4] + size + bytes([extensions[0]]) + data[7:40] + headers + data[40:])
    assert isinstance(packet, Packet)
    assert packet.payload == b"payload"


def test_what_is_no_whole_segment_is_skipped_with_a_reason() -> None:
    v4, v6 = emit_segment(V4), emit_segment(V6)
    assert parsed(147, v4) is Skip.LINK
    assert parsed(1, bytes(12) + b"\x08\x06" + bytes(28)) is Skip.PROTOCOL
    assert parsed(101, v4[:9] + b"\x11" + v4[10:]) is Skip.PROTOCOL
    assert parsed(101, v4[:6] + b"\x20\0" + v4[8:]) is Skip.FRAGMENT
    assert parsed(101, v4[:15]) is Skip.CUT
    assert parsed(101, v4[:30]) is Skip.CUT
    assert parsed(101, v4[:42]) is Skip.CUT
    assert parsed(101, b"\x41" + v4[1:]) is Skip.MALFORMED
    assert parsed(101, v4[:32] + b"\xf0" + v4[33:]) is Skip.MALFORMED
    assert parsed(101, v6[:6] + bytes([44]) + v6[7:40] + b"\x06\0\0\x09" + v6[44:]) is Skip.FRAGMENT
    assert parsed(101, v6[:30]) is Skip.CUT
    assert parsed(101, v6[:6] + bytes([0]) + v6[7:40]) is Skip.CUT
    assert parsed(101, v6[:6] + bytes([17]) + v6[7:]) is Skip.PROTOCOL


def test_a_shim6_header_is_recognised() -> None:
    v6 = emit_segment(V6)
    packet = parsed(101, v6[:6] + bytes([140]) + v6[7:])
    assert isinstance(packet, Shim6Packet)
    assert (packet.data, packet.size) == (v6[40:], len(v6) - 40)


@given(
    st.sampled_from([0, 1, 12, 101, 108, 113, 228, 276]),
    st.binary(max_size=120),
    st.sampled_from([b"", b"\x45", b"\x60"]),
)
def test_any_bytes_are_a_packet_or_a_reason(link_type: int, data: bytes, start: bytes) -> None:
    packet = parsed(link_type, start + data)
    assert isinstance(packet, Packet | Shim6Packet | Skip)
    if isinstance(packet, Packet):
        judge_checksum(packet)


def judged(checksum: int | None) -> TcpChecksum:
    data = bytearray(emit_segment(V4))
    if checksum is not None:
        data[36:38] = checksum.to_bytes(2, "big")
    packet = parsed(101, bytes(data))
    assert isinstance(packet, Packet)
    return judge_checksum(packet)


def test_checksums_left_to_the_card_are_no_fault() -> None:
    size = len(emit_segment(V4)) - 20
    pseudo = V4.src + V4.dst + bytes([0, 6]) + struct.pack(">H", size)
    assert judged(None) is TcpChecksum.RIGHT
    assert judged(sum_of(pseudo)) is TcpChecksum.OFFLOADED
    assert judged(sum_of(pseudo) ^ 1) is TcpChecksum.WRONG
