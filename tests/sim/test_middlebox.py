"""Middleboxes: what they do to packets, and that plain TCP lives with it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from mpcore.sim import run_transfer
from mpcore.sim.middlebox import (
    Coalesce,
    Drop,
    Duplicate,
    Middlebox,
    ModifyPayload,
    Nat,
    RewriteIsn,
    Side,
    Split,
    StripOptions,
    after_syn,
    on_data,
    on_syn,
    strip_unknown_options,
)
from mpcore.sim.packets import cut_segment
from mpcore.wire.values import (
    Dss,
    MaxSegmentSize,
    MpCapable,
    Sack,
    Segment,
    UnknownOption,
    emit_segment,
)
from tests.helpers.checkers import ack, expect, has, lacks, option, payload, seq, source
from tests.helpers.pair import LINK, SECOND, Pair

A, B = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
DSS = Dss(data_ack=5, data_seq=9, subflow_seq=1, data_len=6)


def segment(**changes: object) -> Segment:
    usual = Segment(
        version=4, src=A, dst=B, src_port=1000, dst_port=80, seq=100, ack=200, flags=0x10, window=512
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def through(box: Middlebox, *packets: Segment | bytes, side: Side = Side.A) -> list[bytes]:
    """Return what a box makes of packets."""
    out: list[bytes] = []
    for packet in packets:
        box.process(side, packet if isinstance(packet, bytes) else emit_segment(packet), out.append)
    return out


def test_mptcp_options_are_stripped_and_others_kept() -> None:
    syn = segment(flags=0x02, ack=0, options=(MaxSegmentSize(1460), MpCapable(), UnknownOption(253, b"x")))
    [out] = through(StripOptions(), syn)
    expect(out, lacks(MpCapable), has(MaxSegmentSize, UnknownOption))
    [out] = through(strip_unknown_options(), syn)
    expect(out, lacks(MpCapable, UnknownOption), has(MaxSegmentSize))


@pytest.mark.parametrize(
    ("matches", "stripped"),
    [(on_syn, [True, False, False]), (on_data, [False, True, False]), (after_syn, [False, True, True])],
)
def test_stripping_selects_by_kind_of_segment(
    matches: Callable[[Segment], bool], stripped: list[bool]
) -> None:
    packets = (
        segment(flags=0x12, options=(DSS,)),
        segment(payload=b"abcdef", options=(DSS,)),
        segment(options=(DSS,)),
    )
    outs = through(StripOptions(matches=matches), *packets)
    assert [not expect(out).options for out in outs] == stripped


def test_stripping_selects_by_side_and_begins_late() -> None:
    box = StripOptions(side=Side.B, after=2)
    packets = [segment(options=(DSS,))] * 4
    assert [bool(expect(out).options) for out in through(box, *packets, side=Side.A)] == [True] * 4
    outs = through(box, *packets, side=Side.B)
    assert [bool(expect(out).options) for out in outs] == [True, True, False, False]
    assert box.touched == 2


def test_splitting_repeats_options_and_keeps_fin_for_the_last() -> None:
    first, last = through(Split(4), segment(payload=b"abcdef", flags=0x19, options=(DSS,)))
    expect(first, payload(b"abcd"), seq(100), option(DSS))
    assert expect(first).flags == 0x10
    expect(last, payload(b"ef"), seq(104), option(DSS))
    assert expect(last).flags == 0x19


def test_coalescing_joins_neighbours_and_keeps_the_first_options() -> None:
    second = replace(DSS, subflow_seq=7)
    box = Coalesce(100)
    outs = through(
        box,
        segment(payload=b"abcdef", options=(DSS,)),
        segment(payload=b"ghi", seq=106, ack=300, options=(second,)),
    )
    assert len(outs) == box.joined == 1
    expect(outs[0], payload(b"abcdefghi"), seq(100), ack(300), option(DSS), lacks(MpCapable))


def test_coalescing_leaves_gaps_and_pure_acks_alone() -> None:
    outs = through(Coalesce(100), segment(payload=b"abc"), segment(payload=b"xyz", seq=110), segment(seq=113))
    assert [expect(out).payload for out in outs] == [b"abc", b"xyz", b""]


def test_initial_sequence_numbers_are_shifted_in_both_directions() -> None:
    box = RewriteIsn({Side.A: 1000, Side.B: -300})
    [out] = through(box, segment(options=(Sack(((500, 600),)),)))
    expect(out, seq(1100), ack(500), option(Sack(((800, 900),))))
    [out] = through(box, segment(), side=Side.B)
    expect(out, seq(100 - 300), ack(200 - 1000))


def test_a_payload_changes_by_one_byte_and_keeps_a_right_checksum() -> None:
    box = ModifyPayload(offset=2, limit=1)
    first, second = through(box, segment(payload=b"abcdef"), segment(payload=b"abcdef"))
    expect(first, payload(b"ab\x9cdef"))
    expect(second, payload(b"abcdef"))


def test_dropping_and_duplicating() -> None:
    packet = segment(payload=b"x")
    assert through(Drop(matches=on_data), packet) == []
    assert through(Duplicate(), packet) == [emit_segment(packet)] * 2


def test_what_is_no_tcp_goes_through() -> None:
    for box in (StripOptions(), Coalesce(9), RewriteIsn({}), Nat(B)):
        assert through(box, b"junk") == [b"junk"]


def test_cutting_a_segment_wraps_its_sequence_number() -> None:
    pieces = cut_segment(segment(seq=2**32 - 2, payload=b"abcdef"), 3)
    assert [(piece.seq, piece.payload) for piece in pieces] == [(2**32 - 2, b"abc"), (1, b"def")]


BOXES: dict[str, Callable[[], Middlebox]] = {
    "strip unknown": strip_unknown_options,
    "split": lambda: Split(500),
    "coalesce": lambda: Coalesce(1400),
    "isn": lambda: RewriteIsn({Side.A: 12345, Side.B: 2**31}),
    "duplicate": Duplicate,
    "nat": lambda: Nat(bytes((192, 0, 2, 1))),
}


@pytest.mark.parametrize("name", BOXES)
def test_plain_tcp_lives_with_it(name: str) -> None:
    plan = replace(LINK, middleboxes=(BOXES[name](),))
    if name == "nat":
        pair = Pair([plan])
        pair.server.interfaces[0].reaches.clear()
        client, server = pair.open()
        expect(pair.sent()[0], source(bytes((192, 0, 2, 1)), 20000))
        client.write(bytes(10_000))
        server.write(bytes(10_000))
        pair.run_for(SECOND)
        assert len(pair.server_app.received) == len(pair.client_app.received) == 10_000
        return
    result = run_transfer([plan], up_bytes=50_000, down_bytes=50_000)
    assert result.ok, result.errors


def test_a_changed_payload_shows_in_the_hash() -> None:
    result = run_transfer(
        [replace(LINK, middleboxes=(ModifyPayload(limit=1, side=Side.A),))], up_bytes=50_000
    )
    assert result.finished
    assert not result.up.intact
    assert result.down.intact


def test_boxes_apply_in_their_order_from_each_side() -> None:
    strip_syn = StripOptions((MaxSegmentSize,), side=Side.A)
    plan = replace(LINK, middleboxes=(strip_syn, Split(100)))
    pair = Pair([plan])
    client, server = pair.open()
    assert client.sender.mss > server.sender.mss == 536 - 12
