"""`Packet` against the slow parser of the same packet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.errors import WireError
from mpcore.wire.packet import Packet
from mpcore.wire.values import (
    MptcpOption,
    Sack,
    Segment,
    Timestamps,
    emit_option,
    emit_segment,
    parse_segment,
)
from tests.helpers.strategies import mutations, segments


@given(segments())
def test_every_field_is_what_was_emitted(segment: Segment) -> None:
    data = emit_segment(segment)
    packet = Packet.parse(data + b"link-layer padding")
    assert packet.is_tcp
    assert packet.total_size == len(data)
    for name in (
        "version", "src", "dst", "src_port", "dst_port", "seq", "ack", "flags", "window", "payload", "urgent",
        "ttl", "tos",
    ):  # fmt: skip
        assert getattr(packet, name) == getattr(segment, name), name
    assert packet.options == segment.options
    assert packet.checksum_ok()
    assert packet.protocol == 6


@given(segments())
def test_options_by_name(segment: Segment) -> None:
    packet = Packet.parse(emit_segment(segment))
    times, sack = segment.find(Timestamps), segment.find(Sack)
    assert packet.timestamps == (None if times is None else (times.value, times.echo))
    assert packet.sack == (() if sack is None else sack.blocks)
    of_mptcp = tuple(emit_option(option) for option in segment.options if isinstance(option, MptcpOption))
    assert packet.mptcp == of_mptcp[:4]
    assert packet.is_mptcp == bool(of_mptcp)


@given(segments().map(emit_segment).flatmap(mutations))
def test_hostile_bytes_are_read_as_the_slow_parser_reads_them(data: bytes) -> None:
    try:
        packet = Packet.parse(data)
    except WireError:
        with pytest.raises(WireError):
            parse_segment(data)
        return
    if packet.is_tcp:
        try:
            segment = parse_segment(data)
        except WireError:  # options that cannot be told apart are the slow parser's to refuse
            with pytest.raises(WireError):
                _ = packet.options
            return
        assert (packet.src, packet.seq, packet.payload) == (segment.src, segment.seq, segment.payload)
        assert packet.options == segment.options


@given(st.binary(max_size=120))
def test_any_bytes_give_a_packet_or_a_wire_error(data: bytes) -> None:
    try:
        packet = Packet.parse(data)
    except WireError:
        return
    assert len(packet.payload) <= packet.total_size <= len(data)
    assert repr(packet)


def test_another_protocol_has_ip_fields_only() -> None:
    data = bytes.fromhex("4500001c00000000401100000a0000010a000002") + b"12345678"
    packet = Packet.parse(bytearray(data))
    assert (packet.is_tcp, packet.protocol, packet.payload) == (False, 17, b"12345678")
    assert (packet.src_port, packet.options, packet.option_bytes, packet.mss) == (0, (), b"", None)
    assert not packet.checksum_ok()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "truncated"),
        (b"\x45" + bytes(10), "truncated"),
        (b"\x75" + bytes(40), "malformed"),
        (bytes.fromhex("4500001c00002000401100000a0000010a000002") + bytes(8), "fragment"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why):
        Packet.parse(data)


@pytest.mark.parametrize("thing", [5, None, "text"])
def test_only_bytes_are_taken(thing: object) -> None:
    with pytest.raises(TypeError):
        Packet.parse(thing)  # type: ignore[arg-type]
