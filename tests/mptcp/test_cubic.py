"""CUBIC's window: its stages, and the time that counts for them (RFC 9438)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mpcore.counters import Counter
from tests.helpers.plane import MS, SECOND, Plane
from tests.mptcp.test_sender import MSS, RTT, acked, in_flight


def window(plane: Plane) -> float:
    """Return the congestion window in segments."""
    return float(plane.subflow()["cwnd"]) / MSS


def fill(plane: Plane) -> None:
    """Let the host write until its data waits for the window."""
    while plane.state["bytes_queued"] < MSS:
        written = plane.state["bytes_sent"] + plane.state["bytes_in_flight"] + plane.state["bytes_queued"]
        plane.host(bytes(MSS), seq=written)


def use(plane: Plane, rounds: int, rtt_ns: int = RTT) -> float:
    """Use the whole window for some round trips; return it as it is then."""
    for _ in range(rounds):
        fill(plane)
        plane.advance(rtt_ns)
        acked(plane, plane.subflow()["snd_nxt"])
    return window(plane)


def lose(plane: Plane, rtt_ns: int = RTT) -> int:
    """Lose the first segment of a window and repair it; return its offset."""
    fill(plane)
    first, end = plane.subflow()["snd_una"], plane.subflow()["snd_nxt"]
    plane.advance(rtt_ns)
    acked(plane, first, (first + MSS, end))
    plane.advance(rtt_ns)
    acked(plane, plane.subflow()["snd_nxt"])
    return int(first)


def after_a_loss(segments: int, rtt_ns: int = RTT, **options: bool) -> Plane:
    """Return a plane that has just reduced a window of so many segments, within a few."""
    plane = Plane(congestion="cubic", **options)
    while window(plane) < segments:
        use(plane, 1, rtt_ns)
    before = window(plane)
    lose(plane, rtt_ns)
    assert 0.65 * before <= window(plane) <= 0.75 * before
    return plane


def test_renos_window_grows_by_every_ack() -> None:
    """RFC 5681 §3.1 equation 3, RFC 3465: a segment a round trip, in parts, none of which is lost."""
    plane = Plane(congestion="reno")
    use(plane, 3)
    lose(plane)
    before = window(plane)
    fill(plane)
    first, end = plane.subflow()["snd_una"], plane.subflow()["snd_nxt"]
    plane.advance(RTT)
    grown = []
    for offset in range(first + MSS, end + 1, MSS):
        acked(plane, offset)
        grown.append(window(plane))
    assert all(0 < later - earlier < 1 for earlier, later in pairwise([before, *grown]))
    assert before + 0.8 < grown[-1] <= before + 1


@pytest.mark.parametrize("how", ["pause", "trickle"])
def test_time_in_which_the_window_is_not_used_does_not_count(how: str) -> None:
    """RFC 9438 §4.2, §5.8: after a minute of it the cubic would be far beyond the window."""
    plane = after_a_loss(10)
    use(plane, 10)
    before = window(plane)
    acked(plane, plane.subflow()["snd_nxt"])
    if how == "pause":
        plane.advance(60 * SECOND)
    for _ in range(600 if how == "trickle" else 0):
        first = in_flight(plane, 1)
        plane.advance(RTT)
        acked(plane, first + MSS)
        plane.advance(100 * MS - RTT)
    assert window(plane) <= before
    assert use(plane, 3) < before + 5


def test_after_a_long_pause_a_new_stage_begins() -> None:
    """RFC 5681 §4.1 makes the window small, slow start brings it back; RFC 9438 §4.2 goes on from there."""
    plane = after_a_loss(40)
    threshold = plane.subflow()["ssthresh"] / MSS
    acked(plane, plane.subflow()["snd_nxt"])
    plane.advance(60 * SECOND)
    assert use(plane, 1) <= 20
    assert threshold <= use(plane, 5) < threshold + 5


def test_back_where_the_loss_was_the_window_grows_as_renos() -> None:
    """RFC 9438 §4.3: a segment a round trip, no longer half of one."""
    plane = after_a_loss(20)
    low = window(plane)
    assert use(plane, 10) < low + 8
    before = use(plane, 20)
    assert use(plane, 20) > before + 17


def test_a_reduction_without_cause_leaves_the_stage_as_it_was() -> None:
    """RFC 9438 §4.9.2: the steep part of the cubic goes on."""
    rtt_ns = 300 * MS
    plane = after_a_loss(20, rtt_ns, timestamps=False)
    growth = 0.0
    while growth < 4:
        before = window(plane)
        growth = use(plane, 1, rtt_ns) - before
    first = lose(plane, rtt_ns)
    acked(plane, plane.subflow()["snd_una"], (first, first + MSS))
    assert plane.counter(Counter.SUBFLOW_UNDO) == 1
    assert window(plane) >= before + growth
    before = window(plane)
    assert use(plane, 1, rtt_ns) > before + 3
