"""Shim6 codecs: round trips, totality, what is refused, and agreement with the parser of the data path."""

import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mpcore.errors import WireError
from mpcore.wire import shim6_header
from mpcore.wire.checksum import checksum
from mpcore.wire.shim6 import (
    I1,
    I2,
    MESSAGE_MAX,
    PROTOCOL_SHIM6,
    R1,
    R2,
    TAG_MAX,
    CgaParameterData,
    CgaSignature,
    ErrorMessage,
    ForkedInstance,
    I2bis,
    Keepalive,
    KeepaliveTimeout,
    Locator,
    LocatorList,
    LocatorPreferences,
    Message,
    MessageType,
    PayloadHeader,
    Preference,
    Probe,
    ProbeEntry,
    R1bis,
    ResponderValidator,
    UlidPair,
    UnknownMessage,
    UnknownOption,
    UpdateAck,
    UpdateRequest,
    emit_message,
    emit_payload_header,
    find_critical,
    find_option,
    option_offset,
    options_of,
    parse_message,
    parse_payload_header,
)
from tests.helpers.strategies import mutations, raw, u8, u16, u32

ADDRESS = bytes.fromhex("20010db8000000000000000000000001")
tags = st.integers(0, TAG_MAX)
addresses = raw(16)


def lists(items: st.SearchStrategy[Any], size: int) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(items, max_size=size).map(tuple)


def preferences(element_len: int) -> st.SearchStrategy[LocatorPreferences]:
    element = st.builds(Preference, *(u8,) * element_len)
    return st.builds(LocatorPreferences, u32, lists(element, 6), st.just(element_len))


validators = st.builds(ResponderValidator, st.binary(max_size=40))
identity = [st.builds(UlidPair, addresses, addresses), st.builds(ForkedInstance, u32)]
locators = [
    st.builds(LocatorList, u32, lists(st.builds(Locator, addresses, u8), 9)),
    st.sampled_from([1, 2, 3]).flatmap(preferences),
    st.builds(CgaParameterData, st.binary(max_size=60)),
    st.builds(CgaSignature, st.binary(max_size=60)),
    st.builds(KeepaliveTimeout, u16),
]
unknown = st.builds(UnknownOption, st.integers(11, 0x7FFF), st.binary(max_size=20), st.booleans())


def options(*listed: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Return some of the options that a message defines, once each, among others that it does not."""
    chosen = st.tuples(*(st.none() | option for option in listed), st.none() | unknown, st.none() | unknown)
    return chosen.flatmap(lambda some: st.permutations([one for one in some if one is not None])).map(tuple)


entries = st.builds(ProbeEntry, addresses, addresses, u32, u32)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(I1, tags, u32, options(*identity)),
    st.builds(R1, u32, u32, options(validators)),
    st.builds(I2, tags, u32, u32, options(validators, *identity, *locators)),
    st.builds(R2, tags, u32, options(*locators)),
    st.builds(R1bis, tags, u32, options(validators)),
    st.builds(I2bis, tags, u32, u32, tags, options(validators, *identity, *locators)),
    st.builds(UpdateRequest, tags, u32, options(*locators)),
    st.builds(UpdateAck, tags, u32, options()),
    st.builds(Keepalive, tags, options()),
    st.builds(
        Probe,
        tags,
        st.integers(0, 2),
        st.lists(entries, min_size=1, max_size=15).map(tuple),
        lists(entries, 15),
        options().filter(lambda some: not some),
    ),
    st.builds(ErrorMessage, st.integers(0, 127), u16, raw(8) | raw(64) | raw(1232)),
    st.builds(
        UnknownMessage, st.integers(69, 127) | st.integers(7, 63), st.integers(0, 127), raw(2) | raw(42)
    ),
)


def with_checksum(data: bytes) -> bytes:
    """Return the message with octets 4 and 5 made right for its own length."""
    size = min(len(data), 8 * (data[1] + 1))
    zeroed = data[:4] + bytes(2) + data[6:]
    return zeroed[:4] + checksum(zeroed[:size]).to_bytes(2, "big") + zeroed[6:]


def patched(data: bytes, at: int, octets: bytes) -> bytes:
    return with_checksum(data[:at] + octets + data[at + len(octets) :])


@given(messages)
def test_round_trip(message: Message) -> None:
    if isinstance(message, ErrorMessage):
        message = replace(message, packet=b"\0" + message.packet[1:])  # not IPv6, so nothing tells its length
    data = emit_message(message)
    assert len(data) % 8 == 0
    assert len(data) <= MESSAGE_MAX
    assert parse_message(data) == message
    assert parse_message(data + b"what follows") == message


@given(st.integers(0, 255), tags)
def test_round_trip_of_payload_headers(next_header: int, tag: int) -> None:
    data = emit_payload_header(PayloadHeader(next_header, tag))
    assert data == shim6_header.emit_payload(next_header, tag)
    assert parse_payload_header(data) == PayloadHeader(next_header, tag)


def agree(data: bytes) -> None:
    """Parse in Python and in C: whatever Python takes, C takes, with the same meaning."""
    found = shim6_header.describe(data)
    try:
        message = parse_message(data)
    except WireError:
        try:
            header = parse_payload_header(data)
        except WireError:
            assert not found.get("is_payload")
            return
        assert (found["is_payload"], found["next_header"], found["tag"], found["size"]) == (
            True, header.next_header, header.receiver_tag, 8,
        )  # fmt: skip
        return
    assert (found["status"], found["is_payload"]) == ("ok", False)
    assert found["tag"] == next(
        (getattr(message, field.name) for field in fields(message) if field.name.endswith("_tag")), None
    )
    assert parse_message(emit_message(message)) == message


@given(st.binary(max_size=120) | st.binary(min_size=8, max_size=120).map(with_checksum))
@example(b"")
def test_parsing_is_total(data: bytes) -> None:
    agree(data)


@given(st.data())
def test_parsing_of_damaged_messages_is_total(data: st.DataObject) -> None:
    damaged = data.draw(mutations(emit_message(data.draw(messages))))
    agree(damaged)
    if len(damaged) >= 8:
        agree(with_checksum(damaged))


@given(messages, st.data())
def test_every_single_bit_counts(message: Message, data: st.DataObject) -> None:
    """But those of Hdr Ext Len, which may leave a message whose checksum is right by chance."""
    octets = bytearray(emit_message(message))
    at = data.draw(st.integers(2, len(octets) - 1) | st.just(0))
    octets[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(WireError):
        parse_message(bytes(octets))


@given(messages, st.data())
def test_every_cut_is_refused(message: Message, data: st.DataObject) -> None:
    octets = emit_message(message)
    cut = octets[: data.draw(st.integers(0, len(octets) - 1))]
    with pytest.raises(WireError):
        parse_message(cut)
    assert shim6_header.describe(cut) == {"status": "truncated"}


@pytest.mark.parametrize("at", [3, 6])
def test_reserved_bits_are_ignored(at: int) -> None:
    """RFC 5533 §5.4: Reserved1 (without bit S), and R in front of the tag."""
    data = emit_message(I1(5, 6))
    set_ = patched(data, at, bytes([data[at] | (0xFE if at == 3 else 0x80)]))
    assert set_ != data
    assert parse_message(set_) == I1(5, 6)
    assert shim6_header.describe(set_)["tag"] == 5


def test_reserved_fields_are_ignored() -> None:
    """RFC 5533 §5.5, §5.6, §5.9 and §5.15.6, RFC 5534 §5.1 to §5.3."""
    assert parse_message(patched(emit_message(R1(1, 2)), 6, b"\xff\xff")) == R1(1, 2)
    assert parse_message(patched(emit_message(I2(1, 2, 3)), 20, b"\xff" * 4)) == I2(1, 2, 3)
    assert parse_message(patched(emit_message(I2bis(1, 2, 3, 4)), 20, b"\xff" * 6 + b"\x80")) == I2bis(
        1, 2, 3, 4
    )
    assert parse_message(patched(emit_message(Keepalive(1)), 12, b"\xff" * 4)) == Keepalive(1)
    probe = Probe(1, 1, (ProbeEntry(ADDRESS, ADDRESS, 1),))
    assert parse_message(patched(emit_message(probe), 13, b"\x7f\xff\xff")) == probe
    pair = I1(1, 2, (UlidPair(ADDRESS, ADDRESS),))
    assert parse_message(patched(emit_message(pair), 20, b"\xff" * 4)) == pair
    timeout = R2(1, 2, (KeepaliveTimeout(9),))
    assert parse_message(patched(emit_message(timeout), 20, b"\xff\xff")) == timeout


def test_padding_is_not_looked_at() -> None:
    """RFC 5533 §5.15."""
    message = R1(1, 2, (ResponderValidator(b"x"),))
    assert parse_message(patched(emit_message(message), 21, b"\xff" * 3)) == message


def test_a_message_of_hip_is_dropped() -> None:
    """RFC 5533 §5.3: bit S."""
    data = patched(emit_message(I1(5, 6)), 3, b"\x01")
    with pytest.raises(WireError, match="HIP"):
        parse_message(data)
    assert shim6_header.describe(data) == {"status": "malformed"}


def test_a_payload_header_is_no_message() -> None:
    """RFC 5533 §5.2 and §12: P = 1 is payload."""
    with pytest.raises(WireError, match="not a control message"):
        parse_message(emit_payload_header(PayloadHeader(6, 1)))


def test_the_checksum_covers_no_more_than_the_header() -> None:
    """RFC 5533 §5.3: what follows is not part of it, and neither is a pseudo-header."""
    data = emit_message(Keepalive(1))
    assert checksum(data) == 0
    assert parse_message(data + bytes(range(256))) == Keepalive(1)
    wrong = data[:4] + bytes([data[4] ^ 1]) + data[5:]
    with pytest.raises(WireError, match="checksum"):
        parse_message(wrong)
    assert shim6_header.describe(wrong) == {"status": "checksum"}


@pytest.mark.parametrize(
    ("kind", "size"),
    [(1, 8), (2, 8), (3, 16), (4, 8), (5, 8), (6, 24), (64, 8), (65, 8), (66, 8), (67, 48), (68, 8)],
)
def test_the_least_length_of_each_message(kind: int, size: int) -> None:
    """RFC 5533 §5.4 to §5.14, RFC 5534 §5.1 and §5.2."""
    data = with_checksum(bytes([59, size // 8 - 1, kind, 0]) + bytes(size - 4))
    with pytest.raises(WireError, match="at least"):
        parse_message(data)
    assert shim6_header.describe(data) == {"status": "malformed"}


LISTED: dict[type, set[type]] = {
    I1: {UlidPair, ForkedInstance},
    R1: {ResponderValidator},
    R1bis: {ResponderValidator},
    R2: {LocatorList, LocatorPreferences, CgaParameterData, CgaSignature, KeepaliveTimeout},
    UpdateAck: set(),
    Keepalive: set(),
}
LISTED[UpdateRequest] = LISTED[R2]
LISTED[I2] = LISTED[I2bis] = LISTED[R2] | LISTED[R1] | LISTED[I1]
SAMPLES: list[Any] = [
    ResponderValidator(b"v"),
    LocatorList(1, ()),
    LocatorPreferences(1, ()),
    CgaParameterData(b"p"),
    CgaSignature(b"s"),
    UlidPair(ADDRESS, ADDRESS),
    ForkedInstance(1),
    KeepaliveTimeout(1),
]


@pytest.mark.parametrize("make", LISTED, ids=lambda make: make.__name__)
@pytest.mark.parametrize("option", SAMPLES, ids=lambda option: type(option).__name__)
def test_options_of_each_message(make: Callable[..., Message], option: Any) -> None:
    """RFC 5533 §5.4 to §5.11, RFC 5534 §5.3; elsewhere an option counts as unknown (RFC 5533 §5.15)."""
    numbers = (1,) * (len(fields(make)) - 1)  # type: ignore[arg-type]
    if type(option) in LISTED[make]:  # type: ignore[index]
        message = make(*numbers, options=(option,))
        assert find_option(parse_message(emit_message(message)), type(option)) == option
        return
    with pytest.raises(WireError, match="does not belong"):
        emit_message(make(*numbers, options=(option,)))
    carrier = emit_message(I2(1, 1, 1, (option,)))[24:]
    bare = emit_message(make(*numbers))
    for critical in (0, 1):
        data = bare + carrier[:1] + bytes([carrier[1] | critical]) + carrier[2:]
        message = parse_message(patched(data, 1, bytes([len(data) // 8 - 1])))
        (found,) = options_of(message)
        assert isinstance(found, UnknownOption)
        assert (find_critical(message) is found) is bool(critical)


def test_a_critical_option_is_found_behind_others() -> None:
    """RFC 5533 §5.15: nothing of such a message may be processed; Error 1 points to the option."""
    critical = UnknownOption(0x123, b"?", critical=True)
    message = I2(1, 2, 3, (ResponderValidator(b"v" * 9), UnknownOption(0x122, b""), critical))
    data = emit_message(message)
    assert find_critical(parse_message(data)) == critical
    assert option_offset(data, 0x123) == 24 + 16 + 8
    assert data[48:50] == bytes.fromhex("0247")
    assert option_offset(data, 0x124) is None
    probe = Probe(1, 1, (ProbeEntry(ADDRESS, ADDRESS, 1),) * 2, (), (critical,))
    assert option_offset(emit_message(probe), 0x123) == 16 + 80
    assert option_offset(emit_message(ErrorMessage(0, 0, b"")), 1) is None
    assert find_critical(ErrorMessage(0, 0, b"")) is None


def test_a_known_option_that_is_critical_is_just_known() -> None:
    data = emit_message(I1(1, 2, (ForkedInstance(7),)))
    assert parse_message(patched(data, 17, b"\x0f")) == I1(1, 2, (ForkedInstance(7),))


def test_an_option_that_repeats_is_refused() -> None:
    twice = (ForkedInstance(1), ForkedInstance(1))
    with pytest.raises(WireError, match="FORKED_INSTANCE occurs twice"):
        emit_message(I1(1, 2, twice))
    once = emit_message(I1(1, 2, twice[:1]))
    with pytest.raises(WireError, match="FORKED_INSTANCE occurs twice"):
        parse_message(patched(once + once[16:], 1, b"\x03"))


@pytest.mark.parametrize(
    ("option", "what"),
    [
        ("0004 0004 00000001", "at least 5"),
        ("0004 000b 00000001 00 000000000000 00", "does not have 11"),
        ("0004 000d 00000001 00 00000000000000 00 00000000000000", "does not have 13"),
        ("0004 000c 00000001 01 01 000000000000", "1 locators"),
        ("0004 000c 00000001 ff ffffffffffffff", "255 locators"),
        ("0006 0004 00000001", "at least 5"),
        ("0006 0005 00000001 00 00000000000000", "elements of 0"),
        ("0006 0006 00000001 02 00 000000000000", "elements of 2"),
        ("000c 0004 00000000", "36 octets"),
        ("000e 0003 000000 00", "4 octets"),
        ("000e 0005 0000000000 00000000000000", "4 octets"),
        ("0014 0002 000f 0000", "4 octets"),
        ("0010 0005 00000000", "past the end"),
        ("0010 ffff 00000000", "past the end"),
    ],
)
def test_malformed_options(option: str, what: str) -> None:
    octets = bytes.fromhex(option)
    data = bytes([59, 2 + len(octets) // 8, 3, 0]) + bytes(20) + octets
    with pytest.raises(WireError, match=what):
        parse_message(with_checksum(data))


def test_preferences_of_longer_elements() -> None:
    """RFC 5533 §5.15.3: the first three octets mean the same in any element that is longer."""
    octets = bytes.fromhex("0006 000f 00000001 05 0102030405 0607080900 0000000000")
    data = with_checksum(bytes([59, 4, 4, 0]) + bytes(12) + octets)
    (option,) = options_of(parse_message(data))
    assert option == LocatorPreferences(1, (Preference(1, 2, 3), Preference(6, 7, 8)), 3)


@pytest.mark.parametrize(
    "message",
    [
        I1(TAG_MAX + 1, 0),
        I1(-1, 0),
        I1(0, 1 << 32),
        I2bis(1, 2, 3, TAG_MAX + 1),
        Keepalive(0, (UnknownOption(0x8000, b""),)),
        Keepalive(0, (UnknownOption(1, bytes(0x10000)),)),
        Keepalive(0, (UnknownOption(1, bytes(1300)),)),
        I1(0, 0, (UnknownOption(7, b"1234"),)),
        I1(0, 0, (UlidPair(b"short", ADDRESS),)),
        I1(0, 0, (ForkedInstance(1 << 32),)),
        R2(0, 0, (KeepaliveTimeout(65536),)),
        R2(0, 0, (LocatorList(1 << 32, ()),)),
        R2(0, 0, (LocatorList(1, (Locator(b"", 1),)),)),
        R2(0, 0, (LocatorList(1, (Locator(ADDRESS, 256),)),)),
        R2(0, 0, (LocatorList(1, (Locator(ADDRESS, 1),) * 256),)),
        R2(0, 0, (LocatorPreferences(1, (), 4),)),
        R2(0, 0, (LocatorPreferences(1, (), 0),)),
        R2(0, 0, (LocatorPreferences(1, (Preference(0, 1),), 1),)),
        R2(0, 0, (LocatorPreferences(1, (Preference(256),), 1),)),
        Probe(0, 0, ()),
        Probe(0, 3, (ProbeEntry(ADDRESS, ADDRESS, 1),)),
        Probe(0, 0, (ProbeEntry(ADDRESS, ADDRESS, 1),) * 16),
        Probe(0, 0, (ProbeEntry(ADDRESS, ADDRESS, 1),), (ProbeEntry(ADDRESS, ADDRESS, 1),) * 16),
        Probe(0, 0, (ProbeEntry(ADDRESS, b"", 1),)),
        Probe(0, 0, (ProbeEntry(ADDRESS, ADDRESS, -1),)),
        ErrorMessage(128, 0, b""),
        ErrorMessage(0, 65536, b""),
        UnknownMessage(67, 0, bytes(10)),
        UnknownMessage(128, 0, bytes(10)),
        UnknownMessage(60, 0, bytes(9)),
    ],
)
def test_what_has_no_form_in_bytes(message: Message) -> None:
    with pytest.raises(WireError):
        emit_message(message)


def test_probes_that_say_nothing_are_refused() -> None:
    """RFC 5534 §5.2: one sent probe at least, as many entries as counted, and a state that exists."""
    data = emit_message(Probe(1, 1, (ProbeEntry(ADDRESS, ADDRESS, 1),)))
    for at, octets, what in (
        (12, b"\x10", "sent probes is 0"),
        (12, b"\x02", "at least"),
        (13, b"\xc0", "state"),
    ):
        with pytest.raises(WireError, match=what):
            parse_message(patched(data, at, octets))


def test_the_longest_probe_fits() -> None:
    """RFC 5534 §5.2: 15 sent and 15 received make 1216 octets."""
    entry = ProbeEntry(ADDRESS, ADDRESS, 1)
    assert len(emit_message(Probe(1, 2, (entry,) * 15, (entry,) * 15))) == 1216 <= MESSAGE_MAX


@given(st.binary(max_size=1400))
def test_an_error_quotes_as_much_as_fits(payload: bytes) -> None:
    """RFC 5533 §5.14: the packet from its IPv6 header, which tells the receiver where the zeros begin."""
    packet = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + b"\x8c\x40" + ADDRESS * 2 + payload
    data = emit_message(ErrorMessage(2, 77, packet))
    assert len(data) <= MESSAGE_MAX
    assert parse_message(data) == ErrorMessage(2, 77, packet[: MESSAGE_MAX - 8])


def test_an_unknown_message_is_no_error() -> None:
    """RFC 5533 §12.3: it is answered by Error 0, so it has to be told from garbage."""
    data = with_checksum(bytes([59, 0, 9, 0x0E, 0, 0, 1, 2]))
    assert parse_message(data) == UnknownMessage(9, 7, b"\x01\x02")
    assert shim6_header.describe(data)["tag"] is None


def test_the_header_of_the_data_path() -> None:
    data = emit_payload_header(PayloadHeader(17, 0x123456789ABC))
    assert shim6_header.describe(data + b"datagram") == {
        "status": "ok",
        "next_header": 17,
        "is_payload": True,
        "type": 0,
        "code": 0,
        "size": 8,
        "tag": 0x123456789ABC,
    }
    assert shim6_header.describe(data[:7]) == {"status": "truncated"}
    assert shim6_header.describe(bytes([17, 1, 0x80]) + bytes(13)) == {"status": "malformed"}
    with pytest.raises(ValueError, match="47 bits"):
        shim6_header.emit_payload(6, TAG_MAX + 1)


def test_the_numbers_in_c_are_the_same() -> None:
    root = Path(__file__).parents[2]
    header = (root / "mpcore/wire/shim6_header.pxd").read_text()
    body = (root / "pyx/wire/shim6_header.pyx").read_text()
    named = dict(re.findall(r"^    (\w+) = (\d+)\b", header + body, re.M))
    assert int(named["PROTOCOL_SHIM6"]) == PROTOCOL_SHIM6 == 140
    assert {name: int(named[name]) for name in MessageType.__members__} == dict(MessageType.__members__)
