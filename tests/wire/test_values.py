from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcore.errors import WireError
from mpcore.wire import tcp
from mpcore.wire.values import (
    AddAddr,
    Dss,
    MalformedMptcp,
    MaxSegmentSize,
    MpCapable,
    MpExperimental,
    MpFail,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MpPrio,
    MptcpOption,
    MpTcpRst,
    MpV0Option,
    RemoveAddr,
    Sack,
    SackPermitted,
    Segment,
    TcpOption,
    Timestamps,
    UnknownOption,
    WindowScale,
    emit_option,
    emit_options,
    emit_segment,
    parse_mptcp_option,
    parse_options,
    parse_segment,
)
from tests.helpers.strategies import (
    mptcp_options,
    mutations,
    option_bytes,
    option_lists,
    segments,
    tcp_options,
)
from tests.vectors.mptcp_options import CANONICAL, MALFORMED, RESERVED

PLAIN = Segment(4, b"\x0a\0\0\1", b"\x0a\0\0\2", 1, 2, 3, 4, 0x10, 5)


@pytest.mark.parametrize(("name", "text", "value"), CANONICAL)
def test_canonical_vectors(name: str, text: str, value: MptcpOption) -> None:
    assert parse_mptcp_option(bytes.fromhex(text)) == value
    assert emit_option(value).hex() == text.replace(" ", "")


@pytest.mark.parametrize(("name", "text", "value"), RESERVED)
def test_reserved_bits_are_ignored_and_sent_as_zero(name: str, text: str, value: MptcpOption) -> None:
    assert parse_mptcp_option(bytes.fromhex(text)) == value
    assert parse_mptcp_option(emit_option(value)) == value
    assert emit_option(value) != bytes.fromhex(text)


@pytest.mark.parametrize(("name", "text", "value"), MALFORMED)
def test_malformed_vectors(name: str, text: str, value: MptcpOption) -> None:
    # RFC 8684 §3: an option of unknown subtype or wrong length is ignored, not an error.
    assert parse_mptcp_option(bytes.fromhex(text)) == value
    assert emit_option(value) == bytes.fromhex(text)


@given(mptcp_options)
def test_mptcp_options_round_trip(option: MptcpOption) -> None:
    assert parse_mptcp_option(emit_option(option)) == option


@given(tcp_options)
def test_tcp_options_round_trip(option: TcpOption) -> None:
    data = emit_option(option)
    assert data[1] == len(data)
    assert parse_options(data) == (option,)


@given(option_lists)
def test_option_lists_round_trip(options: tuple[TcpOption, ...]) -> None:
    data = emit_options(options)
    assert len(data) % 4 == 0
    assert parse_options(data) == options
    assert emit_options(parse_options(data)) == data


@given(segments())
def test_segments_round_trip(segment: Segment) -> None:
    data = emit_segment(segment)
    assert parse_segment(data) == segment
    assert parse_segment(data + b"link-layer padding") == segment
    assert emit_segment(parse_segment(data)) == data
    assert tcp.checksum_ok(segment.src, segment.dst, data[20 if segment.version == 4 else 40 :])


@given(st.binary(max_size=120) | segments().map(emit_segment).flatmap(mutations))
@settings(max_examples=300)
def test_any_bytes_give_a_segment_or_a_wire_error(data: bytes) -> None:
    try:
        segment = parse_segment(data)
    except WireError:
        return
    assert parse_segment(emit_segment(segment)) == segment


@given(st.binary(max_size=48) | option_bytes())
@settings(max_examples=300)
def test_any_bytes_give_options_or_a_wire_error(data: bytes) -> None:
    try:
        options = parse_options(data)
    except WireError:
        return
    emitted = b"".join(emit_option(option) for option in options)
    assert len(emitted) <= len(data)
    assert parse_options(emitted) == options


@given(st.binary(max_size=38))
def test_any_mptcp_body_gives_a_value(body: bytes) -> None:
    option = parse_mptcp_option(bytes([30, 2 + len(body)]) + body)
    assert parse_mptcp_option(emit_option(option)) == option


@pytest.mark.parametrize("text", ["", "1e", "1e00", "1e03", "1f0351", "1e035100", "1e0451"])
def test_one_option_is_exactly_one_of_kind_30(text: str) -> None:
    with pytest.raises(WireError, match="kind 30"):
        parse_mptcp_option(bytes.fromhex(text))


@pytest.mark.parametrize("text", ["02", "0200", "0201", "020505b4", "01011e"])
def test_impossible_option_lengths(text: str) -> None:
    with pytest.raises(WireError, match="impossible length"):
        parse_options(bytes.fromhex(text))


def test_end_hides_the_rest() -> None:
    assert parse_options(bytes.fromhex("0303070002")) == (WindowScale(7),)


def test_a_known_kind_of_wrong_length_is_unknown() -> None:
    assert parse_options(bytes.fromhex("020305")) == (UnknownOption(2, b"\x05"),)


@pytest.mark.parametrize(
    "option",
    [
        MpCapable(version=0),
        MpCapable(version=16),
        MpCapable(flags=256),
        MpCapable(key_receiver=1),
        MpCapable(key_sender=1, data_len=1),
        MpCapable(key_sender=1, key_receiver=2, checksum=1),
        MpCapable(key_sender=1 << 64),
        MpJoinSyn(1 << 32, 0, 0),
        MpJoinSyn(0, 0, -1),
        MpJoinSynAck(bytes(7), 0, 0),
        MpJoinAck(bytes(21)),
        Dss(data_seq=1),
        Dss(subflow_seq=1),
        Dss(data_seq=1, subflow_seq=1),
        Dss(data_ack=1, checksum=1),
        Dss(data_ack=1 << 32, ack64=False),
        AddAddr(1, bytes(5), echo=True),
        AddAddr(1, bytes(4)),
        AddAddr(1, bytes(4), hmac=bytes(7)),
        AddAddr(1, bytes(4), echo=True, hmac=bytes(8)),
        AddAddr(1, bytes(4), port=65536, echo=True),
        RemoveAddr(()),
        RemoveAddr((256,)),
        RemoveAddr(tuple(range(38))),
        MpPrio(True, 256),
        MpFail(-1),
        MpTcpRst(0, 16),
        MpExperimental(b""),
        MpExperimental(b"\xe0"),
        MpV0Option(3, b"\x04"),
        MalformedMptcp(bytes(39)),
        MaxSegmentSize(65536),
        WindowScale(256),
        Timestamps(1 << 32, 0),
        Sack(()),
        Sack(((1, 2),) * 5),
        Sack(((1, 1 << 32),)),
        UnknownOption(0, b""),
        UnknownOption(1, b""),
        UnknownOption(256, b""),
    ],
)
def test_values_without_a_form_in_bytes(option: TcpOption) -> None:
    with pytest.raises(WireError):
        emit_option(option)


def test_options_above_40_bytes() -> None:
    with pytest.raises(WireError, match="room for 40"):
        emit_options((Timestamps(1, 2),) * 4 + (SackPermitted(),))
    assert len(emit_options((Timestamps(1, 2),) * 4)) == 40


@pytest.mark.parametrize(
    "segment",
    [
        replace(PLAIN, version=5),
        replace(PLAIN, version=6),
        replace(PLAIN, dst=bytes(16)),
        replace(PLAIN, src_port=65536),
        replace(PLAIN, seq=-1),
        replace(PLAIN, flags=256),
        replace(PLAIN, window=65536),
        replace(PLAIN, urgent=65536),
        replace(PLAIN, ttl=256),
        replace(PLAIN, tos=-1),
        replace(PLAIN, payload=bytes(65496)),
    ],
)
def test_segments_without_a_form_in_bytes(segment: Segment) -> None:
    with pytest.raises(WireError):
        emit_segment(segment)


def test_the_largest_segment() -> None:
    # A super-packet of the kernel: 65535 bytes in all.
    segment = replace(PLAIN, payload=bytes(65495))
    assert parse_segment(emit_segment(segment)) == segment


def test_protocols_other_than_tcp() -> None:
    data = bytearray(emit_segment(PLAIN))
    data[9] = 17
    with pytest.raises(WireError, match="not TCP"):
        parse_segment(bytes(data))


def test_find() -> None:
    segment = replace(PLAIN, options=(Timestamps(1, 2), Timestamps(3, 4)))
    assert segment.find(Timestamps) == Timestamps(1, 2)
    assert segment.find(Dss) is None
