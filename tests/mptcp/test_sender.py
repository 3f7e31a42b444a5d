"""A subflow's sender: acknowledgement, loss, recovery, timers (RFC 6298, 6675, 8985, 6937, 2883, 3522)."""

from __future__ import annotations

from typing import Any

import pytest

from mpcore.counters import Counter
from mpcore.wire.values import Sack, Segment, Timestamps
from tests.helpers.checkers import ack, field, flags, lacks, matches, payload, payload_size, seq
from tests.helpers.plane import (
    IDSN_LOCAL,
    ISN_LOCAL,
    ISN_REMOTE,
    MS,
    SECOND,
    TS_LOCAL,
    Output,
    Plane,
    fill_queue,
    peer_seq,
)

MSS = 1420  # payload of a full segment: 1460 less all options
RTT = 20 * MS
DATA = bytes(range(256)) * 8


def in_flight(plane: Plane, segments: int, *, seed: int = 0) -> int:
    """Let the host write full segments, all of which go out; return the subflow offset of the first."""
    first = 1 + plane.state["bytes_in_flight"] + plane.state["bytes_sent"]
    for index in range(segments):
        output = plane.host(bytes([(seed + index) % 251]) * MSS, seq=first - 1 + index * MSS)
        assert output.any_to_network(seq(peer_seq(first + index * MSS)), payload_size(MSS)), index
    return first


def acked(plane: Plane, offset: int, *blocks: tuple[int, int], echo: int | None = None) -> Output:
    """Acknowledge up to a subflow offset, at both levels, with SACK blocks of offsets."""
    plane.acked = offset - 1
    sacks = (Sack(tuple((peer_seq(start), peer_seq(end)) for start, end in blocks)),) if blocks else ()
    stamp = TS_LOCAL + (plane.now_ns - SECOND) // MS if echo is None else echo
    return plane.peer(ack=offset, extra=sacks, echo=stamp)


def warm(plane: Plane, rounds: int = 3) -> int:
    """Measure some round trips; return the next subflow offset."""
    offset = 1
    for index in range(rounds):
        in_flight(plane, 2, seed=index)
        offset += 2 * MSS
        plane.advance(RTT)
        acked(plane, offset)
    return offset


def grown(plane: Plane) -> int:
    """Fill the first window, which doubles it; return the next subflow offset."""
    first = warm(plane)
    in_flight(plane, 10)
    plane.advance(RTT)
    first += 10 * MSS
    acked(plane, first)
    return first


def resent(output: Output, offset: int) -> bool:
    return output.any_to_network(seq(peer_seq(offset)), payload_size(MSS))


# The timer.


def test_the_first_timeout_is_a_second_and_each_doubles() -> None:
    """RFC 6298 §2.1, §5.5."""
    plane = Plane()
    in_flight(plane, 1)
    times = []
    for _ in range(200):
        output = plane.advance(100 * MS)
        if output.any_to_network(seq(peer_seq(1))):
            times.append((plane.now_ns - SECOND) // (100 * MS))
    assert times[:4] == [10, 30, 70, 150]


def test_what_comes_back_was_set_aside_before() -> None:
    """The two counters belong together, on a lone path too."""
    plane = Plane()
    in_flight(plane, 1)
    plane.advance(5 * SECOND)
    assert plane.counter(Counter.SUBFLOW_STALE) == 1
    acked(plane, 1 + MSS)
    assert plane.counter(Counter.SUBFLOW_RECOVER) == 1


def test_a_measured_round_trip_sets_the_timeout_with_a_floor() -> None:
    """RFC 6298 §2.2 to §2.4; the floor is Linux's 200 ms."""
    plane = Plane()
    in_flight(plane, 1)
    plane.advance(RTT)
    acked(plane, 1 + MSS)
    assert plane.subflow()["srtt_ns"] == RTT
    assert plane.subflow()["rto_ns"] == 200 * MS


def test_no_round_trip_is_taken_from_what_was_sent_twice() -> None:
    """Karn's rule, RFC 6298 §3; the doubled timer stays until there is a sample (§5)."""
    plane = Plane(timestamps=False)
    in_flight(plane, 1)
    plane.advance(SECOND + MS)
    acked(plane, 1 + MSS)
    assert plane.subflow()["srtt_ns"] == 0
    in_flight(plane, 1, seed=5)
    assert not resent(plane.advance(1500 * MS), 1 + MSS)
    assert resent(plane.advance(600 * MS), 1 + MSS)


def test_no_round_trip_is_taken_from_what_waited_behind_a_repeat() -> None:
    """RFC 6298 §3: without SACK the ACK of the repeat covers what has arrived long before."""
    plane = Plane(sack=False, timestamps=False)
    first = warm(plane)
    in_flight(plane, 5)
    plane.advance(RTT)
    for _ in range(3):
        acked(plane, first)
    assert plane.counter(Counter.SUBFLOW_RETRANSMIT) == 1
    plane.advance(5 * RTT)
    acked(plane, first + 5 * MSS)
    assert plane.subflow()["srtt_ns"] == RTT


def test_the_least_round_trip_is_that_of_the_last_minutes() -> None:
    """RFC 8985 §6.2: a route that has become longer shows after five minutes at most."""
    plane = Plane()
    offset = warm(plane)
    least = []
    for _ in range(40):
        in_flight(plane, 1)
        stamp = TS_LOCAL + (plane.now_ns - SECOND) // MS
        plane.advance(100 * MS)
        offset += MSS
        acked(plane, offset, echo=stamp)
        least.append(plane.subflow()["min_rtt_ns"])
        plane.advance(10 * SECOND)
    assert least[:14] == [RTT] * 14
    assert least[30:] == [100 * MS] * 10


def test_the_echoed_timestamp_measures_what_was_sent_twice() -> None:
    """RFC 7323 §4.1."""
    plane = Plane()
    in_flight(plane, 1)
    plane.advance(1010 * MS)
    acked(plane, 1 + MSS, echo=TS_LOCAL + 1000)
    assert plane.subflow()["srtt_ns"] == 10 * MS


def test_a_subflow_that_never_answers_is_given_up() -> None:
    """RFC 9293 §3.8.3."""
    plane = Plane()
    in_flight(plane, 1)
    output = plane.advance(700 * SECOND)
    assert ("subflow closed", 0, 2) in output.events


# Loss shown by SACK.


def test_three_sacked_segments_show_a_loss() -> None:
    """RFC 8985 §6.2, RFC 6675 §2."""
    plane = Plane()
    first = warm(plane)
    in_flight(plane, 6)
    plane.advance(RTT)
    assert not resent(acked(plane, first, (first + MSS, first + 2 * MSS)), first)
    assert not resent(acked(plane, first, (first + MSS, first + 3 * MSS)), first)
    output = acked(plane, first, (first + MSS, first + 4 * MSS))
    assert resent(output, first)
    assert plane.counter(Counter.SUBFLOW_RETRANSMIT) == 1
    assert plane.counter(Counter.FAST_RECOVERY) == 1


def test_a_repeat_is_the_very_same_segment() -> None:
    """RFC 8684 §3.3.1: same bytes, same mapping."""
    plane = Plane(checksum=True)
    output = plane.host(DATA[:700])
    original = output.to_network(seq(peer_seq(1)), payload(DATA[:700]))
    again = next(each for each in plane.advance(1100 * MS).network if matches(each, seq(peer_seq(1))))
    assert _without_stamp(again) == _without_stamp(original)


def _without_stamp(segment: Segment) -> tuple[object, ...]:
    options = tuple(option for option in segment.options if not isinstance(option, Timestamps))
    return segment.seq, segment.payload, options


def test_a_lost_repeat_is_sent_again() -> None:
    """RFC 8985 §1: what was sent later and has arrived shows that the repeat is lost too."""
    plane = Plane()
    first = warm(plane)
    in_flight(plane, 6)
    plane.advance(RTT)
    assert resent(acked(plane, first, (first + MSS, first + 4 * MSS)), first)
    later = first + 6 * MSS
    plane.host(bytes(MSS), seq=later - 1)
    plane.advance(MS)
    assert resent(acked(plane, first, (first + MSS, first + 6 * MSS)), later)
    plane.advance(RTT)
    assert resent(acked(plane, first, (first + MSS, first + 7 * MSS)), first)


def test_recovery_halves_the_window_once() -> None:
    """RFC 6937 §3.1 ends at ssthresh; RFC 5681 §3.1 equation 4."""
    plane = Plane()
    first = warm(plane)
    in_flight(plane, 10)
    plane.advance(RTT)
    acked(plane, first, (first + MSS, first + 4 * MSS))
    plane.advance(RTT)
    acked(plane, first + 10 * MSS)
    assert plane.subflow()["cwnd"] == plane.subflow()["ssthresh"] == 5 * MSS


def test_what_is_sacked_belongs_to_the_flight() -> None:
    """RFC 5681 §2, RFC 6675 §5 step 4.2: FlightSize counts all that is not cumulatively acknowledged."""
    plane = Plane()
    first = warm(plane)
    in_flight(plane, 10)
    plane.advance(RTT)
    acked(plane, first, (first + MSS, first + 3 * MSS))
    acked(plane, first, (first + MSS, first + 7 * MSS))
    assert plane.subflow()["ssthresh"] == 5 * MSS


def test_what_piles_up_behind_a_gap_does_not_belong_to_the_window() -> None:
    """A second loss after a long repair reduces the window too, whatever was SACKed meanwhile."""
    plane = Plane()
    first = warm(plane)
    in_flight(plane, 10)
    end = first + 10 * MSS
    plane.advance(RTT)
    acked(plane, first, (first + MSS, end))
    assert plane.subflow()["ssthresh"] == 5 * MSS
    for _ in range(4):
        fresh = plane.subflow()["snd_nxt"]
        plane.host(bytes(10 * MSS), seq=fresh - 1)
        plane.advance(RTT)
        acked(plane, first, (first + MSS, fresh))
    beyond = plane.subflow()["snd_nxt"]
    assert beyond - first > 15 * MSS
    acked(plane, fresh, (fresh + MSS, beyond))
    plane.advance(RTT)
    assert plane.subflow()["ssthresh"] < 5 * MSS


def test_what_is_sacked_belongs_to_the_flight_when_time_shows_a_loss() -> None:
    """RFC 8985 §6.3 with RFC 5681 §3.1 equation 4."""
    plane = Plane()
    first = warm(plane)
    in_flight(plane, 10)
    plane.advance(RTT)
    acked(plane, first + MSS, (first + 8 * MSS, first + 10 * MSS))
    plane.advance(MS)
    assert plane.subflow()["ssthresh"] > 10 * MSS
    plane.advance(SECOND)
    assert plane.subflow()["ssthresh"] == 9 * MSS // 2


@pytest.mark.parametrize(
    ("blocks", "count"),
    [
        ([(2 * MSS, MSS)], 1),  # turned round
        ([(1, 1)], 1),  # empty
        ([(5 * MSS, 1 << 20)], 1),  # beyond what was sent
        ([(-(1 << 20), 3 * MSS)], 1),  # across the acknowledgement
        ([(2 * MSS + 1, 3 * MSS + 1), (1 << 20, 1 << 21)], 1),
    ],
)
def test_blocks_that_make_no_sense_are_ignored(blocks: list[tuple[int, int]], count: int) -> None:
    """RFC 2018 §5: what the sender did not send cannot have arrived."""
    plane = Plane()
    in_flight(plane, 6)
    before = plane.subflow()["inflight"]
    plane.advance(RTT)
    acked(plane, 1, *blocks)
    sane = sum(end - start for start, end in blocks if 1 < start < end < 6 * MSS)
    assert plane.subflow()["inflight"] == before - sane
    assert plane.counter(Counter.SACK_IGNORED) == count


def test_overlapping_blocks_count_once() -> None:
    plane = Plane()
    in_flight(plane, 6)
    plane.advance(RTT)
    at = 1 + MSS
    acked(plane, 1, (at, at + 2 * MSS))
    assert plane.subflow()["inflight"] == 4 * MSS
    acked(plane, 1, (at + MSS, at + 2 * MSS))
    assert plane.subflow()["inflight"] == 4 * MSS
    acked(plane, 1, (at + 10, at + 2 * MSS + 10))
    assert plane.subflow()["inflight"] == 4 * MSS


def test_a_block_that_ends_inside_a_segment_counts_whole_segments() -> None:
    plane = Plane()
    in_flight(plane, 4)
    plane.advance(RTT)
    at = 1 + MSS
    acked(plane, 1, (at, at + MSS + 10))
    assert plane.subflow()["inflight"] == 3 * MSS
    acked(plane, 1, (at, at + 2 * MSS))
    assert plane.subflow()["inflight"] == 2 * MSS


def test_a_receiver_may_drop_what_it_has_sacked() -> None:
    """RFC 2018 §8: after a timeout, when the oldest missing segment was SACKed, nothing counts as SACKed."""
    plane = Plane()
    first = warm(plane)
    in_flight(plane, 4)
    plane.advance(RTT)
    acked(plane, first, (first + MSS, first + 2 * MSS))
    acked(plane, first + MSS)
    output = plane.advance(2 * SECOND)
    assert resent(output, first + MSS)
    assert plane.counter(Counter.SACK_RENEGED) == 1


def test_a_partly_acknowledged_segment_is_repeated_from_there() -> None:
    plane = Plane()
    in_flight(plane, 1)
    acked(plane, 1 + 1000)
    assert plane.subflow()["inflight"] == MSS - 1000
    output = plane.advance(1100 * MS)
    assert output.any_to_network(seq(peer_seq(1001)), payload_size(MSS - 1000))


# Without SACK.


def test_three_duplicate_acks_show_a_loss_to_a_peer_without_sack() -> None:
    """RFC 5681 §3.2, RFC 6582."""
    plane = Plane(sack=False)
    first = warm(plane)
    in_flight(plane, 6)
    plane.advance(RTT)
    assert not resent(acked(plane, first), first)
    assert not resent(acked(plane, first), first)
    assert resent(acked(plane, first), first)
    assert resent(acked(plane, first + MSS), first + MSS)


def test_an_ack_that_came_for_its_data_ack_is_no_duplicate() -> None:
    """RFC 8684 §3.3.6 with RFC 5681 §2: only ACKs that repeat everything count."""
    plane = Plane(sack=False)
    first = warm(plane)
    in_flight(plane, 6)
    for number in range(1, 6):
        plane.acked = first - 1 + number
        assert not resent(plane.peer(ack=first), first)


# Tail loss probes (RFC 8985 §7).


def test_a_lost_tail_is_probed_for_before_the_timeout() -> None:
    plane = Plane()
    warm(plane)
    last = in_flight(plane, 3) + 2 * MSS
    output = plane.advance(2 * RTT + 5 * MS)
    assert resent(output, last)
    assert plane.counter(Counter.SUBFLOW_TAIL_PROBE) == 1
    assert plane.counter(Counter.SUBFLOW_TIMEOUT) == 0


def test_a_probe_shows_what_is_lost_before_it() -> None:
    """RFC 8985 §7.3: its SACK echoes the stamp of what came last in order (RFC 7323 §4.3), an old one."""
    plane = Plane()
    first = warm(plane)
    early = TS_LOCAL + (plane.now_ns - SECOND) // MS
    in_flight(plane, 8)
    last = first + 7 * MSS
    plane.advance(2 * RTT + 5 * MS)
    outputs = [acked(plane, first, (last, last + MSS), echo=early), plane.advance(RTT)]
    assert any(resent(output, first) for output in outputs)
    assert plane.counter(Counter.SUBFLOW_TIMEOUT) == 0


def repeated_alone(plane: Plane) -> tuple[int, tuple[int, int]]:
    """Repeat the first of six segments, the others SACKed, none behind it; return its offset, and theirs."""
    first = grown(plane)
    in_flight(plane, 6)
    others = (first + MSS, first + 6 * MSS)
    plane.advance(RTT)
    assert resent(acked(plane, first, others), first)
    return first, others


def asked_in_silence(plane: Plane, first: int) -> None:
    """Let silence go by until the peer is asked for an answer, which repeats nothing."""
    output = plane.advance(4 * RTT + 60 * MS)
    assert output.any_to_network(payload_size(0))
    assert not resent(output, first)


def test_a_repeat_that_is_lost_alone_is_found_by_asking() -> None:
    """RFC 8985 §3.1: nothing was sent behind it, so no SACK could tell; the answer to a question does."""
    plane = Plane()
    first, others = repeated_alone(plane)
    asked_in_silence(plane, first)
    plane.advance(RTT)
    assert resent(acked(plane, first, others), first)
    assert plane.counter(Counter.SUBFLOW_TIMEOUT) == 0


def test_an_ack_that_crosses_a_question_is_no_answer() -> None:
    plane = Plane()
    first, others = repeated_alone(plane)
    asked_in_silence(plane, first)
    assert not resent(acked(plane, first, others), first)


def test_on_a_path_that_is_heard_of_an_ack_need_not_be_the_answer() -> None:
    """The host's socket asks, and the peer has more to say on the way, by a queue that has grown."""
    plane = Plane()
    first, others = repeated_alone(plane)
    plane.advance(5 * MS)
    asked = plane.host(b"", seq=plane.state["bytes_sent"] + plane.state["bytes_in_flight"] - 1)
    assert asked.any_to_network(payload_size(0))
    plane.advance(RTT + 5 * MS)
    assert not resent(acked(plane, first, others), first)


def test_a_probe_that_repaired_a_loss_counts_as_one() -> None:
    """RFC 8985 §7.4.2."""
    plane = Plane()
    warm(plane)
    in_flight(plane, 9)
    last = in_flight(plane, 1)
    acked(plane, last)
    before = plane.subflow()["cwnd"]
    plane.advance(150 * MS)
    assert plane.counter(Counter.SUBFLOW_TAIL_PROBE) == 1
    acked(plane, last + MSS)
    assert plane.subflow()["cwnd"] >= before
    in_flight(plane, 1)
    acked(plane, last + 2 * MSS)
    assert plane.subflow()["cwnd"] <= before // 2 + 2 * MSS


def test_a_probe_and_the_recovery_that_it_leads_to_reduce_once() -> None:
    """RFC 8985 §7.1: the recovery forgets the probe, whose loss it has dealt with."""
    plane = Plane()
    first = grown(plane)
    in_flight(plane, 20)
    end = first + 20 * MSS
    plane.advance(RTT)
    acked(plane, first + 4 * MSS)
    plane.advance(3 * RTT + 5 * MS)
    assert plane.counter(Counter.SUBFLOW_TAIL_PROBE) == 1
    acked(plane, first + 4 * MSS, (end - MSS, end))
    plane.advance(RTT)
    acked(plane, end)
    assert plane.subflow()["cwnd"] == 8 * MSS
    in_flight(plane, 1)
    plane.advance(RTT)
    acked(plane, end + MSS)
    assert plane.subflow()["cwnd"] >= 8 * MSS


def test_a_timeout_forgets_the_probe_before_it() -> None:
    """RFC 8985 §7.1."""
    plane = Plane()
    first = warm(plane)
    in_flight(plane, 10)
    end = first + 10 * MSS
    plane.advance(450 * MS)
    assert plane.counter(Counter.SUBFLOW_TAIL_PROBE) == 1
    assert plane.counter(Counter.SUBFLOW_TIMEOUT) == 1
    acked(plane, end)
    threshold = plane.subflow()["ssthresh"]
    in_flight(plane, 1)
    plane.advance(RTT)
    acked(plane, end + MSS)
    assert plane.subflow()["ssthresh"] == threshold == 5 * MSS


def test_a_probe_that_finds_no_room_in_the_queue_is_none() -> None:
    """It is not counted and nothing is concluded from it; the timer repeats the data."""
    plane = Plane()
    warm(plane)
    last = in_flight(plane, 3) + 2 * MSS
    fill_queue(plane)
    plane.now_ns = plane.engine.next_timeout() or 0
    plane.engine.run_expire(plane.now_ns)
    plane.engine.run_pump(plane.now_ns)
    assert plane.counter(Counter.SUBFLOW_TAIL_PROBE) == plane.counter(Counter.SUBFLOW_TIMEOUT) == 0
    plane.step()
    assert plane.advance(250 * MS).any_to_network(seq(peer_seq(last - 2 * MSS)))
    assert plane.counter(Counter.SUBFLOW_TIMEOUT) == 1


def test_a_probe_that_arrived_twice_is_no_loss() -> None:
    """RFC 8985 §7.4.2 case 1: told by a D-SACK (RFC 2883)."""
    plane = Plane()
    warm(plane)
    last = in_flight(plane, 1)
    before = plane.subflow()["cwnd"]
    plane.advance(150 * MS)
    acked(plane, last + MSS)
    acked(plane, last + MSS, (last, last + MSS))
    in_flight(plane, 1)
    acked(plane, last + 2 * MSS)
    assert plane.subflow()["cwnd"] >= before


# Taking back.


def test_a_timeout_without_a_loss_is_taken_back() -> None:
    """RFC 3522: the first ACK echoes a time stamp from before the repeat."""
    plane = Plane()
    first = warm(plane)
    in_flight(plane, 8)
    before = plane.subflow()
    early = TS_LOCAL + (plane.now_ns - SECOND) // MS
    plane.advance(400 * MS)
    assert plane.subflow()["cwnd"] <= 2 * MSS
    output = acked(plane, first + 2 * MSS, echo=early)
    assert plane.subflow()["cwnd"] >= before["cwnd"]
    assert plane.subflow()["ssthresh"] == before["ssthresh"]
    assert plane.counter(Counter.SUBFLOW_UNDO) == 1
    assert not any(resent(output, first + index * MSS) for index in range(8))
    assert not plane.subflow()["suspect"]


def test_a_timeout_with_a_loss_is_not_taken_back() -> None:
    plane = Plane()
    first = warm(plane)
    in_flight(plane, 8)
    plane.advance(400 * MS)
    now = TS_LOCAL + (plane.now_ns - SECOND) // MS
    acked(plane, first + MSS, echo=now)
    acked(plane, first + 2 * MSS, echo=TS_LOCAL)
    assert plane.counter(Counter.SUBFLOW_UNDO) == 0


def _timed_out(**options: Any) -> tuple[Plane, int, dict[str, Any]]:
    """Return a plane without time stamps after a timeout of eight segments, with new data waiting."""
    plane = Plane(timestamps=False, **options)
    first = warm(plane)
    in_flight(plane, 8)
    before = plane.subflow()
    assert resent(plane.advance(450 * MS), first)
    for index in range(8, 12):
        plane.host(bytes(MSS), seq=first - 1 + index * MSS)
    return plane, first, before


@pytest.mark.parametrize("sack", [True, False])
def test_a_timeout_without_a_loss_is_taken_back_without_time_stamps(sack: bool) -> None:
    """RFC 5682 §2.1, §3.1: first new data, then the ACK of a first copy, show that all are only late."""
    plane, first, before = _timed_out(sack=sack)
    output = acked(plane, first + MSS)
    assert [segment.seq for segment in output.network] == [peer_seq(first + index * MSS) for index in (8, 9)]
    output = acked(plane, first + 2 * MSS)
    assert plane.counter(Counter.SUBFLOW_UNDO) == 1
    assert plane.subflow()["cwnd"] >= before["cwnd"]
    assert plane.subflow()["ssthresh"] == before["ssthresh"]
    assert plane.counter(Counter.SUBFLOW_RETRANSMIT) == 1 + sack  # SACK lets a tail loss probe go before


def test_a_timeout_with_a_loss_is_recovered_from_without_time_stamps() -> None:
    """RFC 5682 §3.1 step 3a: only the new data arrives, so what was before it is lost."""
    plane, first, _ = _timed_out()
    acked(plane, first + MSS)
    output = acked(plane, first + MSS, (first + 8 * MSS, first + 9 * MSS))
    assert resent(output, first + MSS)
    assert plane.counter(Counter.SUBFLOW_UNDO) == 0


def test_without_new_data_a_timeout_is_recovered_from_at_once() -> None:
    """RFC 5682 §2.1 step 2b: with nothing to learn from, the conventional way."""
    plane = Plane(timestamps=False)
    first = warm(plane)
    in_flight(plane, 8)
    plane.advance(450 * MS)
    assert resent(acked(plane, first + MSS), first + MSS)


def test_a_timeout_whose_first_ack_is_for_everything_is_recovered_from() -> None:
    """RFC 5682 §2.1 step 2a: it says nothing of which copies arrived."""
    plane, first, _ = _timed_out()
    output = acked(plane, first + 8 * MSS)
    assert plane.counter(Counter.SUBFLOW_UNDO) == 0
    assert resent(output, first + 8 * MSS)


def test_a_second_timeout_in_a_row_is_not_doubted() -> None:
    """RFC 5682 §2.1 step 1."""
    plane, first, _ = _timed_out()
    plane.advance(SECOND)
    assert plane.counter(Counter.SUBFLOW_TIMEOUT) >= 2
    output = acked(plane, first + MSS)
    assert output.any_to_network(seq(peer_seq(first + MSS)))


def test_a_recovery_whose_repeats_all_arrived_twice_is_taken_back() -> None:
    """RFC 3708, RFC 2883."""
    plane = Plane(timestamps=False)
    first = warm(plane)
    in_flight(plane, 8)
    before = plane.subflow()["cwnd"]
    plane.advance(RTT)
    assert resent(acked(plane, first, (first + MSS, first + 4 * MSS)), first)
    acked(plane, first + 8 * MSS)
    assert plane.subflow()["cwnd"] < before
    acked(plane, first + 8 * MSS, (first, first + MSS))
    assert plane.subflow()["cwnd"] >= before
    assert plane.counter(Counter.SUBFLOW_UNDO) == 1


def test_a_window_not_used_for_long_begins_anew() -> None:
    """RFC 5681 §4.1."""
    plane = Plane()
    first = warm(plane, 1)
    for _ in range(6):
        count = plane.subflow()["cwnd"] // MSS
        in_flight(plane, count)
        first += count * MSS
        plane.advance(MS)
        acked(plane, first)
    assert plane.subflow()["cwnd"] > 10 * MSS
    plane.advance(10 * SECOND)
    in_flight(plane, 1)
    assert plane.subflow()["cwnd"] == 10 * MSS


def test_every_ack_of_a_full_window_counts() -> None:
    """RFC 7661 §4.1: a window that stopped the sender was used, whatever is in flight when its ACKs come."""
    plane = Plane()
    first = warm(plane)
    window = plane.subflow()["cwnd"] // MSS
    in_flight(plane, window)
    plane.host(bytes(MSS), seq=first - 1 + window * MSS)
    plane.advance(RTT)
    acked(plane, first + (window - 2) * MSS)
    assert plane.subflow()["cwnd"] == (2 * window - 2) * MSS
    acked(plane, first + (window + 1) * MSS)
    assert plane.subflow()["cwnd"] == (2 * window + 1) * MSS


def test_a_window_that_is_not_used_does_not_grow() -> None:
    """RFC 7661 §4.1, RFC 9438 §5.8: its ACKs say nothing about the path."""
    plane = Plane()
    first = warm(plane)
    before = plane.subflow()["cwnd"]
    for index in range(5):
        in_flight(plane, 3)
        plane.advance(RTT)
        acked(plane, first + 3 * (index + 1) * MSS)
    assert plane.subflow()["cwnd"] == before


# The receiver's part.


def test_what_arrives_twice_is_shown_by_a_d_sack() -> None:
    """RFC 2883 §4: first the duplicate, then what is out of order."""
    plane = Plane()
    plane.peer(DATA[:500])
    plane.peer(DATA[1000:1500], seq=1001)
    at = ISN_REMOTE
    plane.peer(DATA[:500]).to_network(
        flags("."), ack(at + 501), field(Sack, blocks=((at + 1, at + 501), (at + 1001, at + 1501)))
    )
    plane.peer(DATA[1100:1200], seq=1101).to_network(
        field(Sack, blocks=((at + 1101, at + 1201), (at + 1001, at + 1501)))
    )
    plane.peer(DATA[500:1000], seq=501).to_network(ack(at + 1501), lacks(Sack))


def test_the_newest_range_is_the_first_block() -> None:
    """RFC 2018 §4."""
    plane = Plane()
    at = ISN_REMOTE
    plane.peer(DATA[:100], seq=101)
    plane.peer(DATA[:100], seq=501).to_network(
        field(Sack, blocks=((at + 501, at + 601), (at + 101, at + 201)))
    )
    plane.peer(DATA[:100], seq=201).to_network(
        field(Sack, blocks=((at + 101, at + 301), (at + 501, at + 601)))
    )
    assert ISN_LOCAL != IDSN_LOCAL


def test_an_ack_that_is_lost_when_all_else_is_sacked_is_asked_for() -> None:
    """RFC 8985 §7.2 allows no tail loss probe in recovery: without this the timer alone would go on.

    What asks is a bare ACK that cannot be acceptable, and must be answered (RFC 9293 §3.10.7.4).
    """
    plane = Plane()
    first = warm(plane)
    in_flight(plane, 6)
    plane.advance(RTT)
    output = acked(plane, first, (first + MSS, first + 6 * MSS))
    plane.advance(RTT)
    assert resent(output, first)
    output = plane.advance(110 * MS)
    output.to_network(flags("."), seq(peer_seq(first - 1)), payload(b""))
    assert plane.counter(Counter.SUBFLOW_TIMEOUT) == 0
    acked(plane, first + 6 * MSS)
    assert plane.advance(3 * SECOND).network == []
