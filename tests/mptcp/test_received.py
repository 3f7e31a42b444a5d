"""What arrives out of order: which ranges are kept, and how the peer learns of them (RFC 2018)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.actions import Direction
from mpcore.wire.values import Sack, Segment
from tests.helpers.checkers import ack, lacks
from tests.helpers.plane import ISN_REMOTE, Output, Plane

PIECE = 10
DATA = bytes(range(256)) * 40


def segment(plane: Plane, index: int) -> Segment:
    """Return the peer's segment number `index`, each of PIECE octets."""
    return plane.peer_segment(DATA[index * PIECE : (index + 1) * PIECE], seq=1 + index * PIECE)


def batch(plane: Plane, *indexes: int) -> Output:
    """Give segments in one batch; return what follows."""
    for index in indexes:
        plane.give(Direction.FROM_NETWORK, segment(plane, index), settle=False)
    return plane.step()


def shown(output: Output) -> list[tuple[int, int]]:
    """Return the ranges of all blocks, in segments."""
    blocks = [block for each in output.network if (sack := each.find(Sack)) for block in sack.blocks]
    return [(at(start), at(end)) for start, end in blocks]


def at(seq: int) -> int:
    return (seq - ISN_REMOTE - 1) % (1 << 32) // PIECE


def test_what_arrives_together_in_many_ranges_is_shown_in_as_many_acks_as_it_takes() -> None:
    """RFC 2018 §4: a range that no ACK shows is repeated in vain. The newest is first in the last ACK."""
    plane = Plane()
    output = batch(plane, 1, 3, 5, 7, 9)
    assert {*shown(output)} == {(1, 2), (3, 4), (5, 6), (7, 8), (9, 10)}
    assert shown(output)[-2:] == [(9, 10), (7, 8)]
    assert len(output.network) == 3


def test_a_range_that_grew_since_is_shown_before_older_ones() -> None:
    """RFC 2018 §4: the blocks after the first repeat those reported last."""
    plane = Plane()
    batch(plane, 1, 3, 5, 7)
    assert shown(batch(plane, 9)) == [(9, 10), (7, 8)]
    assert shown(batch(plane, 4)) == [(3, 6), (1, 2)]


@pytest.mark.parametrize("ranges", [2, 256])
def test_ranges_wait_for_an_ack_with_room_for_them(ranges: int) -> None:
    """RFC 2018 §4: data of ours that leaves first has room for none."""
    plane = Plane()
    for index in range(ranges):
        plane.give(Direction.FROM_NETWORK, segment(plane, 2 * index + 1), settle=False)
    output = plane.host(bytes(100))
    assert any(each.payload for each in output.network)
    assert shown(output)[-2:] == [(2 * ranges - 1, 2 * ranges), (2 * ranges - 3, 2 * ranges - 2)]


def test_a_flight_with_a_gap_at_every_other_segment_is_kept_whole() -> None:
    """A queue that overflows in slow start: only what was lost has to come again."""
    plane = Plane()
    for index in range(1, 1000, 2):
        plane.give(Direction.FROM_NETWORK, segment(plane, index))
    for index in range(0, 1000, 2):
        output = plane.give(Direction.FROM_NETWORK, segment(plane, index))
        output.to_network(ack(ISN_REMOTE + 1 + (index + 2) * PIECE))
    batch(plane, 1000).to_network(lacks(Sack))


@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=12), max_size=30))
def test_every_order_is_put_right_and_reported_truly(batches: list[list[int]]) -> None:
    """Against a set of what has come: the ACK, the blocks and the socket's data."""
    plane, come, data = Plane(), set[int](), b""
    for indexes in batches:
        output = batch(plane, *indexes)
        come |= {*indexes}
        data += output.data()
        contiguous = next(index for index in range(42) if index not in come)
        assert at(output.network[-1].ack) == contiguous
        for start, end in shown(output):
            assert {*range(start, end)} <= come
        assert data == DATA[: contiguous * PIECE]
    assert plane.engine.faults(plane.handle) == []
