"""Headers and checksums against Scapy, an implementation of other hands."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings

from mpcore.wire.values import MaxSegmentSize, SackPermitted, Segment, Timestamps, WindowScale, emit_segment
from tests.helpers.strategies import segments

inet = pytest.importorskip("scapy.layers.inet", reason="Scapy is not installed")
inet6 = pytest.importorskip("scapy.layers.inet6", reason="Scapy is not installed")


def dissect(data: bytes) -> tuple[Any, Any]:
    packet = inet.IP(data) if data[0] >> 4 == 4 else inet6.IPv6(data)
    return packet, packet[inet.TCP]


@given(segments())
@settings(max_examples=100, deadline=None)
def test_scapy_reads_what_was_emitted(segment: Segment) -> None:
    packet, tcp = dissect(emit_segment(segment))
    ttl, tos = (packet.ttl, packet.tos) if segment.version == 4 else (packet.hlim, packet.tc)
    assert (packet.version, ttl, tos) == (segment.version, segment.ttl, segment.tos)
    assert ipaddress.ip_address(packet.src).packed == segment.src
    assert ipaddress.ip_address(packet.dst).packed == segment.dst
    assert (tcp.sport, tcp.dport, tcp.seq, tcp.ack) == (
        segment.src_port,
        segment.dst_port,
        segment.seq,
        segment.ack,
    )
    assert (int(tcp.flags) & 0xFF, tcp.window, tcp.urgptr) == (segment.flags, segment.window, segment.urgent)
    assert bytes(tcp.payload) == segment.payload


@given(segments())
@settings(max_examples=100, deadline=None)
def test_scapy_computes_the_same_checksums(segment: Segment) -> None:
    data = emit_segment(segment)
    start = 20 if segment.version == 4 else 40
    pseudo = inet.IP if segment.version == 4 else inet6.IPv6
    packet = pseudo(data[:start])
    blank = data[start : start + 16] + b"\0\0" + data[start + 18 :]
    checksum = inet.in4_chksum if segment.version == 4 else inet6.in6_chksum
    assert checksum(6, packet, blank) == int.from_bytes(data[start + 16 : start + 18], "big")
    if segment.version == 4:
        rebuilt = inet.IP(data[:start])
        wanted = rebuilt.chksum
        del rebuilt.chksum
        assert inet.IP(bytes(rebuilt)).chksum == wanted


def test_scapy_reads_the_options_of_a_syn() -> None:
    options = (MaxSegmentSize(1460), SackPermitted(), Timestamps(1, 2), WindowScale(7))
    segment = Segment(4, b"\x0a\0\0\1", b"\x0a\0\0\2", 1, 2, 3, 0, 0x02, 5, options)
    _, tcp = dissect(emit_segment(segment))
    assert dict(tcp.options) | {"MSS": 1460, "SAckOK": b"", "Timestamp": (1, 2), "WScale": 7} == dict(
        tcp.options
    )
