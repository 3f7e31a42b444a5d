"""When a subflow's ACK leaves: with the answer of a program that has answered before, else at once."""

from __future__ import annotations

from typing import Any

import pytest

from mpcore.wire.values import Timestamps
from tests.helpers.checkers import ack, field, flags, payload_size
from tests.helpers.plane import ACK, FIN, ISN_REMOTE, MS, TS_REMOTE, Plane
from tests.mptcp.test_sender import MSS

CE, CWR = 3, 0x80  # of the IP header, of TCP's
ASK, ANSWER = bytes(100), bytes(50)
DELAY = 25 * MS


def talking(**options: Any) -> Plane:
    """A plane whose program has answered the peer's first 100 octets after a millisecond."""
    plane = Plane(**options)
    plane.peer(ASK)
    plane.advance(MS)
    plane.host(ANSWER, ack=100).to_network(ack(ISN_REMOTE + 101), payload_size(50))
    return plane


def asked(plane: Plane, **changes: Any) -> list[int]:
    """Give the peer's next 100 octets; return the sizes of what leaves for it at once."""
    output = plane.peer(ASK, **{"seq": 101, "ack": 51, **changes})
    return [len(segment.payload) for segment in output.network]


def test_an_ack_waits_for_the_answer_where_there_was_one_before() -> None:
    """RFC 9293 §3.8.6.3."""
    plane = talking()
    assert asked(plane) == []
    plane.advance(MS)
    plane.host(ANSWER, seq=50, ack=200).to_network(ack(ISN_REMOTE + 201), payload_size(50))
    later = plane.advance(2 * DELAY).network
    assert all(segment.payload for segment in later), "no ACK follows, but a probe for the answer's"


def test_an_ack_waits_25_ms_at_most() -> None:
    """RFC 9293 §3.8.6.3: less than half a second; RFC 5681 §4.2."""
    plane = talking()
    assert asked(plane) == []
    assert plane.advance(DELAY - 1).network == []
    plane.advance(1).to_network(flags("."), ack(ISN_REMOTE + 201), payload_size(0))


def test_after_a_wait_in_vain_acks_leave_at_once_until_the_next_answer() -> None:
    plane = talking()
    asked(plane)
    plane.advance(DELAY)
    assert asked(plane, seq=201) == [0]
    plane.advance(MS)
    plane.host(ANSWER, seq=50, ack=300)
    assert asked(plane, seq=301, ack=101) == []


def test_an_answer_that_took_longer_is_none() -> None:
    plane = Plane()
    plane.peer(ASK)
    plane.advance(DELAY)
    plane.host(ANSWER, ack=100)
    assert asked(plane) == [0]


def test_a_long_answer_is_one_by_its_beginning() -> None:
    plane = talking()
    plane.peer(seq=101, ack=51)
    plane.advance(2 * DELAY)
    plane.host(ANSWER, seq=50, ack=100)
    assert asked(plane, ack=101) == []


def test_data_that_is_sent_again_is_no_answer() -> None:
    plane, twin = Plane(), Plane()
    twin.host(ANSWER)
    waited_ms = next(ms for ms in range(5000) if twin.advance(MS).network)
    plane.host(ANSWER)
    plane.advance((waited_ms - 10) * MS)
    plane.peer(ASK)
    again = plane.advance(20 * MS).network
    assert [len(segment.payload) for segment in again] == [0, 50], "a question, and the octets by the timer"
    assert asked(plane) == [0]


def test_data_that_was_sent_before_any_came_is_no_answer() -> None:
    plane = Plane()
    plane.host(ANSWER)
    plane.peer(ASK, ack=51)
    assert asked(plane) == [0]


def test_the_first_data_of_a_subflow_is_acknowledged_at_once() -> None:
    """RFC 8684 §3.1: it ends the handshake; there is nothing that it could be an answer to."""
    plane = talking()
    plane.join()
    plane.step()
    assert asked(plane, path=1, seq=1, ack=1, data=100) == [0]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"payload": bytes(MSS)}, id="a full segment"),
        pytest.param({"seq": 301}, id="beyond a gap"),
        pytest.param({"flags": ACK | FIN}, id="the subflow's end"),
        pytest.param({"seq": 1}, id="a repeat"),
    ],
)
def test_what_is_acknowledged_at_once(changes: dict[str, Any]) -> None:
    """RFC 5681 §4.2, RFC 9293 §3.10.7.4."""
    plane = talking()
    payload = changes.pop("payload", ASK)
    output = plane.peer(payload, **{"seq": 101, "ack": 51, **changes})
    assert [len(segment.payload) for segment in output.network] == [0]


@pytest.mark.parametrize("changes", [{"tos": CE}, {"flags": ACK | CWR}], ids=["CE", "CWR"])
def test_marks_and_their_answers_are_acknowledged_at_once(changes: dict[str, Any]) -> None:
    """RFC 3168 §6.1.3; the sender of CWR may have a window of one segment."""
    assert asked(talking(ecn=True), **changes) == [0]


def test_a_second_segment_is_acknowledged_at_once() -> None:
    """RFC 5681 §4.2: at least every second one."""
    plane = talking()
    assert asked(plane) == []
    assert asked(plane, seq=201) == [0]
    assert plane.advance(2 * DELAY).network == []


def test_a_segment_that_fills_a_gap_does_not_wait() -> None:
    """RFC 5681 §4.2."""
    plane = talking()
    assert asked(plane, seq=301) == [0]
    assert asked(plane) == [0], "a part of it"


def test_the_sockets_ack_takes_the_one_that_waits_along() -> None:
    """Its DATA_ACK leaves at once: one packet for both."""
    plane = talking()
    assert asked(plane) == []
    plane.host(seq=50, ack=200).to_network(flags("."), ack(ISN_REMOTE + 201))
    assert plane.advance(2 * DELAY).network == []


def test_an_ack_that_waited_echoes_the_stamp_of_what_it_is_for() -> None:
    """RFC 7323 §4.3: the sender's round trip includes the wait."""
    plane = talking()
    asked(plane, ts=TS_REMOTE + 50)
    plane.peer(seq=201, ack=51, ts=TS_REMOTE + 60)
    plane.advance(DELAY).to_network(field(Timestamps, echo=TS_REMOTE + 50))
    plane.peer(seq=201, ack=51, ts=TS_REMOTE + 70)
    assert asked(plane, seq=201, ts=TS_REMOTE + 80) == [0]
