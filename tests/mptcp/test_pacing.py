"""Pacing: a window leaves over its round trip, at Linux's factors, and costs nobody anything."""

from __future__ import annotations

import pytest

from mpcore.wire.values import Segment
from tests.helpers.plane import MS, Plane
from tests.mptcp.test_sender import MSS, RTT, acked, resent, warm

SLOW_START_BURST = 3  # what two milliseconds hold at the pace of warm(), and the one after that


def give(plane: Plane, segments: int, *, first: int) -> list[int]:
    """Let the host write full segments at once; return how many left in each millisecond from then on."""
    sent = 0
    for index in range(segments):
        output = plane.host(bytes(MSS), seq=first - 1 + index * MSS)
        sent += _full(output.network)
    counts = [sent]
    while sum(counts) < segments and len(counts) < 100:
        counts.append(_full(plane.advance(MS).network))
    return counts


def _full(segments: list[Segment]) -> int:
    return sum(len(segment.payload) == MSS for segment in segments)


@pytest.mark.parametrize("paced", [False, True])
def test_a_window_leaves_over_half_a_round_trip_in_slow_start(paced: bool) -> None:
    """Twice the window a round trip, so that it can double in one (RFC 5681 §3.1)."""
    plane = Plane(pacing=paced)
    first = warm(plane)
    counts = give(plane, 10, first=first)
    assert counts == ([SLOW_START_BURST] + [1] * 7 if paced else [10])
    assert plane.subflow()["inflight"] == 10 * MSS


def test_after_slow_start_it_leaves_over_five_sixths_of_one() -> None:
    plane = Plane(pacing=True)
    first = warm(plane)
    give(plane, 10, first=first)
    acked(plane, first, (first + MSS, first + 4 * MSS))
    plane.advance(MS)
    first += 10 * MSS
    acked(plane, first)
    plane.advance(RTT)
    state = plane.subflow()
    window = state["cwnd"] // MSS
    assert state["ssthresh"] == state["cwnd"]
    counts = give(plane, window, first=first)
    gap_ms = state["srtt_ns"] * 100 / (120 * window) / MS
    assert counts[0] == 2
    assert (window - 3) * gap_ms <= len(counts) - 1 <= (window - 2) * gap_ms + 1


def test_the_first_window_leaves_at_once() -> None:
    """RFC 6928 §2: without a round trip there is no pace."""
    assert give(Plane(pacing=True), 10, first=1) == [10]


def test_what_is_lost_is_sent_again_at_once() -> None:
    """RFC 6675 §5 step 4.3."""
    plane = Plane(pacing=True)
    first = warm(plane)
    give(plane, 10, first=first)
    plane.advance(RTT)
    assert resent(acked(plane, first, (first + MSS, first + 4 * MSS)), first)


def test_many_repairs_keep_the_pace() -> None:
    """A burst of them would be lost where the first copies were; PRR allows six here (RFC 6937 §3.1)."""
    plane = Plane(pacing=True)
    first = warm(plane)
    give(plane, 10, first=first)
    plane.advance(RTT)
    at_once = _full(acked(plane, first, (first + 5 * MSS, first + 10 * MSS)).network)
    later = [_full(plane.advance(MS).network) for _ in range(10)]
    assert 1 <= at_once <= 3
    assert max(later) == 1
    assert at_once + sum(later) == 5


def test_no_timer_stays_behind() -> None:
    plane = Plane(pacing=True)
    first = warm(plane)
    give(plane, 10, first=first)
    plane.advance(RTT)
    acked(plane, first + 10 * MSS)
    assert plane.engine.next_timeout() is None


def two_paths(scheduler: str, *, far_rtt: int) -> tuple[Plane, int]:
    """Return a plane whose second path has been measured too, and the next stream offset."""
    plane = Plane(pacing=True, scheduler=scheduler)
    plane.join()
    next_data = 0
    for path, rtt in ((0, RTT), (1, far_rtt)):
        plane.engine.set_backup(plane.handle, 1 - path, True, False)
        plane.host(bytes(MSS), seq=next_data)
        plane.advance(rtt)
        next_data += MSS
        plane.acked = next_data
        plane.peer(ack=1 + MSS, path=path)
        plane.engine.set_backup(plane.handle, 1 - path, False, False)
    return plane, next_data


@pytest.mark.parametrize(
    ("scheduler", "far_rtt", "spread"),
    [("lowest-rtt", 3 * RTT, False), ("lowest-rtt", RTT, True), ("round-robin", 3 * RTT, True)],
)
def test_the_pace_of_one_path_gives_way_to_another(scheduler: str, far_rtt: int, spread: bool) -> None:
    """RFC 8684 §3.3.8 leaves the choice open: a millisecond's wait for the near path beats the far one."""
    plane, next_data = two_paths(scheduler, far_rtt=far_rtt)
    for index in range(8):
        plane.host(bytes(MSS), seq=next_data + index * MSS)
    assert (plane.subflow(1)["inflight"] > 0) is spread
    plane.advance(RTT // 2)
    assert plane.state["bytes_queued"] == 0
    assert plane.subflow(0)["inflight"] + plane.subflow(1)["inflight"] == 8 * MSS
