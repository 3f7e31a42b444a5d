"""Rules of TCP that span its sender and its receiver; docs/transport.md lists all, with their tests."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mpcore.actions import Direction
from mpcore.counters import Counter
from mpcore.wire.values import Sack
from tests.helpers.checkers import ack, field, flags, lacks, payload_size, seq
from tests.helpers.plane import ACK, FIN, ISN_REMOTE, MS, SECOND, Output, Plane, peer_seq
from tests.mptcp.test_sender import MSS, RTT, acked, grown, in_flight, resent, warm

PIECE = bytes(100)


def batch(plane: Plane, *numbers: int) -> Output:
    """Give segments of the peer at these subflow offsets in one batch; return what follows."""
    for number in numbers:
        plane.give(Direction.FROM_NETWORK, plane.peer_segment(PIECE, seq=number), settle=False)
    return plane.step()


# Acknowledging (RFC 9293 §3.8.6.3, RFC 5681 §4.2).


def test_data_that_nobody_answers_is_acknowledged_without_delay() -> None:
    """RFC 9293 §3.8.6.3: within half a second at most; nothing waits for a second segment here."""
    Plane().peer(PIECE).to_network(flags("."), ack(ISN_REMOTE + 101))


def test_what_arrives_together_is_acknowledged_together() -> None:
    """RFC 5681 §4.2 asks for an ACK of every second segment as far as they are looked at one by one."""
    plane = Plane()
    batch(plane, 1, 101, 201, 301).to_network(ack(ISN_REMOTE + 401), lacks(Sack))


def test_a_segment_out_of_order_is_answered_at_once() -> None:
    """RFC 5681 §4.2, RFC 2018 §4."""
    plane = Plane()
    at = ISN_REMOTE
    batch(plane, 201).to_network(ack(at + 1), field(Sack, blocks=((at + 201, at + 301),)))


def test_a_segment_that_fills_a_gap_is_answered_at_once() -> None:
    """RFC 5681 §4.2: all or a part of it."""
    plane = Plane()
    at = ISN_REMOTE
    batch(plane, 301)
    batch(plane, 1).to_network(ack(at + 101), field(Sack, blocks=((at + 301, at + 401),)))
    batch(plane, 101, 201).to_network(ack(at + 401), lacks(Sack))


def acks_of(output: Output, number: int) -> int:
    return sum(segment.ack == (ISN_REMOTE + number) % (1 << 32) for segment in output.network)


def test_a_peer_without_sack_can_count_duplicates() -> None:
    """RFC 5681 §3.2: an ACK for each segment out of order, though they arrive together."""
    plane = Plane(sack=False)
    assert acks_of(batch(plane, 101, 201, 301), 1) == 3
    assert acks_of(batch(plane, *range(401, 4401, 100)), 1) == 8
    assert acks_of(batch(plane, 5001, 1), 4401) == 1


def test_duplicates_are_not_lost_to_data_that_goes_the_other_way() -> None:
    """RFC 5681 §2: an ACK with data is no duplicate."""
    plane = Plane(sack=False)
    for number in (101, 201, 301):
        plane.give(Direction.FROM_NETWORK, plane.peer_segment(PIECE, seq=number), settle=False)
    output = plane.host(bytes(MSS))
    assert sum(not segment.payload for segment in output.network) == 3


# Windows that are closed.


def test_a_closed_window_is_asked_for_ever_more_slowly() -> None:
    """RFC 9293 §3.8.6.1: at the data level, by old numbers, for as long as there are answers."""
    plane = Plane(window=1000, establish=False)
    plane.host()
    plane.peer(window=0)
    plane.host(bytes(1500))
    assert plane.state["bytes_queued"] == 500
    plane.acked = 1000
    plane.peer(ack=1001, window=0)
    times: list[int] = []
    for _ in range(2000):
        for segment in plane.advance(100 * MS).network:
            assert not segment.payload
            times.append(plane.now_ns // MS)
            plane.peer(ack=1001, window=0)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(gaps) > 4
    assert gaps[0] < gaps[1] < gaps[2] <= gaps[-1] <= 66 * SECOND // MS
    plane.peer(ack=1001, window=1000).to_network(seq(peer_seq(1001)), payload_size(500))


def test_a_smaller_window_of_one_path_is_probed_by_a_segment() -> None:
    """RFC 8684 §3.3.5 with RFC 9293 §3.8.6.1: a middlebox's window, below the connection's."""
    plane = Plane()
    path = plane.join(window=1000)
    plane.engine.set_backup(plane.handle, 0, True, False)
    plane.host(bytes(MSS))
    plane.host(bytes(MSS), seq=MSS)
    assert plane.subflow(path)["inflight"] == MSS
    assert plane.subflow(0)["inflight"] == 0
    plane.acked = MSS
    plane.peer(path=path, ack=1 + MSS)
    assert plane.subflow(path)["snd_nxt"] == 1 + 2 * MSS


def test_a_peer_that_drops_data_of_its_closed_window_is_not_given_up() -> None:
    """RFC 9293 §3.8.6.1 (MUST-37): it shrank the window (SHLD-14), and answers every repeat."""
    plane = Plane()
    in_flight(plane, 1)
    for _ in range(1500):
        if plane.advance(SECOND).network:
            plane.peer(window=0)
    assert plane.subflow()["state"] == "established"
    acked(plane, 1 + MSS)
    assert plane.state["bytes_in_flight"] == 0


# Timers.


def test_an_ack_for_new_data_starts_the_timer_anew() -> None:
    """RFC 6298 §5.3."""
    plane = Plane(sack=False)
    first = warm(plane)
    in_flight(plane, 3)
    plane.advance(150 * MS)
    acked(plane, first + MSS)
    plane.advance(150 * MS)
    assert plane.counter(Counter.SUBFLOW_TIMEOUT) == 0
    plane.advance(100 * MS)
    assert plane.counter(Counter.SUBFLOW_TIMEOUT) == 1


def test_all_acknowledged_turns_the_timer_off() -> None:
    """RFC 6298 §5.2."""
    plane = Plane()
    first = warm(plane)
    in_flight(plane, 3)
    plane.advance(RTT)
    acked(plane, first + 3 * MSS)
    plane.advance(10 * SECOND)
    assert plane.counter(Counter.SUBFLOW_TIMEOUT) == 0


def test_on_a_long_path_the_probe_takes_the_turn_of_the_timer() -> None:
    """RFC 8985 §7.2: twice the round trip is later than the timer here."""
    plane = Plane()
    first = 1
    for index in range(12):
        in_flight(plane, 2, seed=index)
        first += 2 * MSS
        plane.advance(250 * MS)
        acked(plane, first)
    assert plane.subflow()["rto_ns"] < 500 * MS
    in_flight(plane, 3)
    assert resent(plane.advance(plane.subflow()["rto_ns"] + MS), first + 2 * MSS)
    assert plane.counter(Counter.SUBFLOW_TAIL_PROBE) == 1
    assert plane.counter(Counter.SUBFLOW_TIMEOUT) == 0
    plane.advance(SECOND)
    assert plane.counter(Counter.SUBFLOW_TIMEOUT) >= 1


@pytest.mark.parametrize("what", ["DATA_FIN", "window", "data"])
def test_no_timer_grows_beyond_a_minute(what: str) -> None:
    """RFC 6298 §5.5 allows a limit of 60 s at least; a path's and the stream's are the same."""
    plane = Plane()
    in_flight(plane, 1)
    plane.advance(900 * MS)
    acked(plane, 1 + MSS)
    assert plane.subflow()["rto_ns"] == 2700 * MS
    window = 0 if what == "window" else 8192
    if what == "window":
        plane = Plane(window=0, establish=False)
        plane.host()
        plane.peer(window=0)
        plane.engine.poll_transmit()
    plane.host(bytes(MSS), seq=0 if what == "window" else MSS, flags=FIN | ACK if what == "DATA_FIN" else ACK)
    times = []
    for _ in range(900):
        output = plane.advance(SECOND)
        if plane.gone or not plane.state["subflows"]:
            break
        if output.network:
            times.append(plane.now_ns)
            plane.peer(ack=plane.subflow()["snd_nxt"], window=window)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert 50 * SECOND < max(gaps) <= 61 * SECOND


# RACK and PRR.


def test_a_repeat_without_cause_widens_the_window_for_reordering() -> None:
    """RFC 8985 §6.2 step 4: by a quarter of the least round trip for each round trip with a D-SACK."""
    plane = Plane()
    first = warm(plane)
    in_flight(plane, 6)
    plane.advance(RTT)
    assert resent(acked(plane, first, (first + MSS, first + 4 * MSS)), first)
    acked(plane, first + 6 * MSS)
    acked(plane, first + 6 * MSS, (first, first + MSS))
    first += 6 * MSS
    in_flight(plane, 6)
    plane.advance(RTT)
    assert not resent(acked(plane, first, (first + MSS, first + 4 * MSS)), first)
    assert not resent(plane.advance(RTT // 4 + MS), first), "a quarter was enough before"
    assert resent(plane.advance(RTT // 4), first)


def test_prr_sends_no_more_than_was_delivered_below_the_threshold() -> None:
    """RFC 6937 §3.1: one segment more than what this ACK told, when half the window is lost."""
    plane = Plane()
    first = warm(plane)
    in_flight(plane, 10)
    plane.advance(RTT)
    output = acked(plane, first, (first + 7 * MSS, first + 10 * MSS))
    assert sum(len(segment.payload) == MSS for segment in output.network) <= 4


@pytest.mark.parametrize("lost", [1, 2])
def test_prr_halves_over_the_round_trip(lost: int) -> None:
    """RFC 6937 §3.1: in proportion, about one segment for two delivered."""
    plane = Plane()
    first = warm(plane)
    window = plane.subflow()["cwnd"] // MSS
    in_flight(plane, window)
    for index in range(10):
        plane.host(bytes(MSS), seq=first - 1 + (window + index) * MSS)
    plane.advance(RTT)
    sent = 0
    for index in range(lost + 3, window + 1):
        output = acked(plane, first, (first + lost * MSS, first + index * MSS))
        sent += sum(bool(segment.payload) for segment in output.network)
    assert window // 2 - 2 <= sent <= window // 2 + 1


# What an attacker may cause.


def test_challenges_are_counted_by_the_second() -> None:
    """RFC 5961 §7: the budget comes back."""
    plane = Plane()
    answers = []
    for _ in range(3):
        outputs = [plane.peer(seq=1 << 30, payload=b"x", options=()) for _ in range(50)]
        answers.append(sum(len(output.network) for output in outputs))
        plane.advance(SECOND)
    assert answers == [10, 10, 10]


def test_an_idle_window_falls_to_the_initial_one_and_no_lower() -> None:
    """RFC 5681 §4.1: RW = min(IW, cwnd)."""
    plane = Plane()
    first = grown(plane)
    assert plane.subflow()["cwnd"] == 20 * MSS
    plane.advance(60 * SECOND)
    output = plane.host(bytes(MSS), seq=first - 1)
    assert output.any_to_network(seq(peer_seq(first)), payload_size(MSS))
    assert plane.subflow()["cwnd"] == 10 * MSS
    timed_out = Plane()
    in_flight(timed_out, 4)
    timed_out.advance(1100 * MS)
    acked(timed_out, 1 + 4 * MSS)
    small = timed_out.subflow()["cwnd"]
    assert small < 10 * MSS
    timed_out.advance(60 * SECOND)
    in_flight(timed_out, 1)
    assert timed_out.subflow()["cwnd"] == small
