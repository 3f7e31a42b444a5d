"""Rewriting: the place of Shim6's header, inverse operations, and checksums against full computation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.errors import WireError
from mpcore.wire.packet import Packet
from mpcore.wire.rewrite import Shim6Flow, TcpRewrite, context_tag, fix_checksums
from mpcore.wire.values import (
    Sack,
    Segment,
    Timestamps,
    emit_options,
    emit_segment,
    parse_segment,
)
from tests.helpers.reference import internet_checksum
from tests.helpers.strategies import mutations, option_lists, raw, segments, u16, u32

ULIDS = bytes(range(16)), bytes(range(16, 32))
LOCATORS = bytes(range(32, 48)), bytes(range(48, 64))
TAG = 0x123456789ABC & (2**47 - 1)
OUT = Shim6Flow(*LOCATORS, TAG)
BACK = Shim6Flow(*ULIDS)

HOP_BY_HOP, ROUTING, FRAGMENT, ESP, DESTINATION, TCP, SHIM6 = 0, 43, 44, 50, 60, 6, 140
of_v6 = segments().filter(lambda segment: segment.version == 6)


def chain(*kinds: int, upper: bytes = b"upper layer") -> bytes:
    """An IPv6 packet with these headers, each of 8 octets, the last kind being `upper`'s."""
    body = b""
    for following in kinds[1:]:
        body += bytes([following, 0, 0, 0, 0, 0, 0, 0])
    body += upper
    return b"\x60\0\0\0" + len(body).to_bytes(2, "big") + bytes([kinds[0], 64]) + b"".join(ULIDS) + body


def kinds_of(packet: bytes) -> list[int]:
    """The types of all headers of eight octets behind the IPv6 header, and of what follows them."""
    at, kinds = 40, [packet[6]]
    while kinds[-1] in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, SHIM6):
        kinds.append(packet[at])
        at += 8
    return kinds


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # RFC 5533 §4.6
        ((TCP,), (SHIM6, TCP)),
        ((HOP_BY_HOP, TCP), (HOP_BY_HOP, SHIM6, TCP)),
        ((ROUTING, TCP), (ROUTING, SHIM6, TCP)),
        ((DESTINATION, TCP), (SHIM6, DESTINATION, TCP)),
        ((DESTINATION, ROUTING, TCP), (DESTINATION, ROUTING, SHIM6, TCP)),
        (
            (HOP_BY_HOP, DESTINATION, ROUTING, DESTINATION, TCP),
            (HOP_BY_HOP, DESTINATION, ROUTING, SHIM6, DESTINATION, TCP),
        ),
        ((FRAGMENT, TCP), (SHIM6, FRAGMENT, TCP)),
        ((HOP_BY_HOP, FRAGMENT, DESTINATION, TCP), (HOP_BY_HOP, SHIM6, FRAGMENT, DESTINATION, TCP)),
        ((ESP,), (SHIM6, ESP)),
    ],
)
def test_the_place_in_the_chain(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    packet = chain(*before)
    result = OUT.insert(packet)
    assert tuple(kinds_of(result)) == after
    assert result[8:40] == b"".join(LOCATORS)
    assert len(result) == len(packet) + 8 == 40 + int.from_bytes(result[4:6], "big")
    assert BACK.remove(result) == packet


def test_the_header_octet_by_octet() -> None:
    # RFC 5533 §5.2: next header, length 0, P and 47 bits of tag
    assert OUT.insert(chain(TCP))[40:48] == bytes([TCP, 0]) + (2**47 | TAG).to_bytes(6, "big")


@given(of_v6, raw(16), raw(16), st.integers(0, 2**47 - 1))
def test_removing_undoes_inserting(segment: Segment, src: bytes, dst: bytes, tag: int) -> None:
    data = emit_segment(segment)
    shimmed = Shim6Flow(src, dst, tag).insert(data + b"padding")
    assert context_tag(shimmed) == tag
    assert shimmed[8:40] == src + dst
    assert Shim6Flow(segment.src, segment.dst).remove(shimmed) == data


@given(of_v6)
def test_in_place_is_the_same(segment: Segment) -> None:
    data = emit_segment(segment)
    packet = bytearray(data)
    OUT.insert_into(packet)
    assert packet == OUT.insert(data)
    BACK.remove_from(packet)
    assert packet == BACK.remove(OUT.insert(data))


@given(of_v6.map(emit_segment).map(OUT.insert).flatmap(mutations) | st.binary(max_size=100))
def test_hostile_bytes_give_a_packet_or_a_wire_error(data: bytes) -> None:
    for rewrite in (OUT.insert, BACK.remove, TcpRewrite(seq_add=1, options=bytes(40)).apply, context_tag):
        try:
            rewrite(data)
        except WireError:
            continue
    packet = bytearray(data)
    try:
        OUT.insert_into(packet)
    except WireError:
        assert packet == data


def test_what_is_no_payload_header_is_not_taken_for_one() -> None:
    control = bytearray(OUT.insert(chain(TCP)))
    control[42] &= 0x7F  # RFC 5533 §5.1: P is zero in control messages
    assert context_tag(control) is None
    with pytest.raises(WireError, match="not of the protocol"):
        BACK.remove(control)
    long = bytearray(OUT.insert(chain(TCP)))
    long[41] = 1
    with pytest.raises(WireError, match="malformed"):
        BACK.remove(long)
    # behind a fragment header it is not ours to find
    assert context_tag(chain(FRAGMENT, SHIM6, upper=bytes([TCP, 0, 0x80, 0, 0, 0, 0, 1]))) is None
    with pytest.raises(WireError, match="not of the protocol"):
        OUT.insert(emit_segment(Segment(4, bytes(4), bytes(4), 1, 2, 3, 4, 0, 0)))


def test_the_largest_packet() -> None:
    room = 0xFFFF - 8
    assert len(OUT.insert(chain(TCP, upper=bytes(room)))) == 40 + 0xFFFF
    with pytest.raises(WireError, match="larger than"):
        OUT.insert(chain(TCP, upper=bytes(room + 1)))
    with pytest.raises(WireError, match="cut short"):
        OUT.insert(chain(TCP)[:-1])


def test_a_chain_without_end_is_refused() -> None:
    with pytest.raises(WireError, match="malformed"):
        OUT.insert(chain(*[HOP_BY_HOP] * 20, TCP))


@pytest.mark.parametrize("arguments", [(b"", ULIDS[0]), (ULIDS[0], bytes(4)), (*ULIDS, 2**47)])
def test_a_flow_is_checked(arguments: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match=r"16 are needed|47 bits"):
        Shim6Flow(*arguments)


@st.composite
def changes(draw: st.DrawFn) -> tuple[Segment, Segment, TcpRewrite]:
    """A segment, what it is to become, and the rule for it."""
    segment = draw(segments())
    size = len(segment.src)
    fields = {"src": raw(size), "dst": raw(size), "src_port": u16, "dst_port": u16, "window": u16}
    given_ones = {name: draw(value) for name, value in fields.items() if draw(st.booleans())}
    options = draw(option_lists) if draw(st.booleans()) else None
    seq_add, ack_add = draw(st.just(0) | u32), draw(st.just(0) | u32)
    expected = {name: getattr(segment, name) for name in Segment.__slots__} | given_ones
    expected["seq"] = (segment.seq + seq_add) % 2**32
    expected["ack"] = (segment.ack + ack_add) % 2**32
    expected["options"] = tuple(shifted(option, ack_add) for option in segment.options)
    if options is not None:
        expected["options"] = options
        given_ones["options"] = emit_options(options)
    return segment, Segment(**expected), TcpRewrite(**given_ones, seq_add=seq_add, ack_add=ack_add)


def shifted(option: object, add: int) -> object:
    # RFC 2018 §3: blocks are in the numbers that are acknowledged
    if not isinstance(option, Sack):
        return option
    return Sack(tuple(((start + add) % 2**32, (end + add) % 2**32) for start, end in option.blocks))


@given(changes())
def test_a_rewrite_is_what_emitting_anew_gives(change: tuple[Segment, Segment, TcpRewrite]) -> None:
    segment, expected, rule = change
    data = emit_segment(segment)
    result = rule.apply(data)
    assert parse_segment(result) == expected
    assert Packet.parse(result).checksum_ok()
    if expected.version == 4:
        assert internet_checksum(result[:20]) == 0
    packet = bytearray(data)
    rule.apply_to(packet)
    assert packet == result


@given(changes(), st.integers(1, 0xFFFE))
def test_damage_stays_visible(change: tuple[Segment, Segment, TcpRewrite], damage: int) -> None:
    # RFC 1624 §3: the checksum follows the change alone
    segment, _, rule = change
    data = bytearray(emit_segment(segment))
    at = (20 if segment.version == 4 else 40) + 16
    wrong = (int.from_bytes(data[at : at + 2], "big") + damage) % 0xFFFF
    data[at : at + 2] = wrong.to_bytes(2, "big")
    assert not Packet.parse(rule.apply(data)).checksum_ok()


def test_sack_at_an_odd_place_keeps_the_checksum() -> None:
    blocks = Sack(((2**32 - 5, 7), (100, 2**31)))
    segment = Segment(4, bytes(4), bytes(4), 1, 2, 3, 4, 0x10, 5, (), b"odd")
    for shift in range(4):
        options = b"\x01" * shift + emit_options((blocks,))[:18]
        data = TcpRewrite(options=options).apply(emit_segment(segment))
        result = Packet.parse(TcpRewrite(ack_add=0x01020304).apply(data))
        assert result.sack == ((0x010202FF, 0x0102030B), (0x01020368, 0x81020304))
        assert result.checksum_ok()


def test_options_that_need_room_and_options_that_give_it_back() -> None:
    segment = Segment(6, *ULIDS, 1, 2, 3, 4, 0x10, 5, (Timestamps(1, 2),), b"payload")
    packet = bytearray(emit_segment(segment))
    for options in (bytes([1]) * 40, b"", bytes([1]) * 3):
        TcpRewrite(options=options).apply_to(packet)
        assert Packet.parse(packet).payload == b"payload"
        assert len(packet) == 40 + 20 + (len(options) + 3) // 4 * 4 + 7
        assert Packet.parse(packet).checksum_ok()


def test_a_rule_is_checked() -> None:
    with pytest.raises(ValueError, match="one IP version"):
        TcpRewrite(src=bytes(4), dst=bytes(16))
    with pytest.raises(ValueError, match="room for 40"):
        TcpRewrite(options=bytes(41))
    with pytest.raises(ValueError, match="4 or 16"):
        TcpRewrite(src=bytes(5))
    with pytest.raises(OverflowError):
        TcpRewrite(src_port=65536)
    packet = emit_segment(Segment(6, *ULIDS, 1, 2, 3, 4, 0, 0))
    with pytest.raises(WireError, match="IP version"):
        TcpRewrite(src=bytes(4)).apply(packet)
    with pytest.raises(WireError, match="not of the protocol"):
        TcpRewrite().apply(chain(17))
    full = emit_segment(Segment(4, bytes(4), bytes(4), 1, 2, 3, 4, 0, 0, (), bytes(0xFFFF - 40)))
    with pytest.raises(WireError, match="larger than"):
        TcpRewrite(options=bytes(4)).apply(full)


@given(segments())
def test_checksums_are_fixed(segment: Segment) -> None:
    data = emit_segment(segment)
    at = (20 if segment.version == 4 else 40) + 16
    packet = bytearray(data)
    packet[at : at + 2] = b"xx"
    if segment.version == 4:
        packet[10:12] = b"yy"
    fix_checksums(packet)
    assert packet == data


def test_udp_never_gets_the_checksum_that_means_none() -> None:
    # RFC 768: all of it sums up to 0xffff, whose complement is zero
    body = bytes.fromhex("0000000000080000")
    rest = 0xFFFF - sum(divmod(17 + 8 + 8, 0x10000))
    src = rest.to_bytes(2, "big") + bytes(2)
    packet = bytearray(bytes.fromhex("4500001c0000000040110000") + src + bytes(4) + body)
    fix_checksums(packet)
    assert packet[26:28] == b"\xff\xff"
    assert internet_checksum(bytes(packet[:20])) == 0


def test_other_protocols_and_constant_buffers_are_refused() -> None:
    with pytest.raises(WireError, match="not of the protocol"):
        fix_checksums(bytearray(chain(ESP)))
    with pytest.raises(BufferError):
        fix_checksums(emit_segment(Segment(6, *ULIDS, 1, 2, 3, 4, 0, 0)))
    with pytest.raises(WireError, match="cut short"):
        fix_checksums(bytearray(chain(17, upper=b"short")))
