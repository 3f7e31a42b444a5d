"""Explicit congestion notification of a subflow (RFC 3168)."""

from __future__ import annotations

from mpcore.counters import Counter
from mpcore.wire.values import Sack, Segment, TcpFlag
from tests.helpers.plane import ACK, MS, Plane, peer_seq

MSS = 1420
RTT = 20 * MS
ECT0, CE = 2, 3
ECE, CWR = int(TcpFlag.ECE), int(TcpFlag.CWR)


def send(plane: Plane, segments: int, offset: int = 0) -> list[Segment]:
    """Let the host write full segments; return what went to the network."""
    data = [plane.host(bytes(MSS), seq=offset + index * MSS) for index in range(segments)]
    return [segment for output in data for segment in output.network]


def acknowledge(
    plane: Plane, segments: int, *, flags: int = ACK, first: int = 1, **other: object
) -> list[Segment]:
    """Let the peer acknowledge `segments` full segments at both levels; return what follows."""
    plane.acked = segments * MSS
    return plane.peer(ack=first + segments * MSS, flags=flags, **other).network


def is_marked(segment: Segment) -> bool:
    return segment.tos & CE == ECT0


def test_new_data_alone_takes_marks() -> None:
    """RFC 3168 §6.1.2, §6.1.4, §6.1.5: not pure ACKs, not what is sent again."""
    plane = Plane(ecn=True)
    assert all(is_marked(segment) for segment in send(plane, 3))
    assert [segment.tos for segment in plane.peer(bytes(100)).network] == [0]
    again = plane.advance(2_000 * MS).network
    assert again
    assert all(segment.tos == 0 for segment in again)


def test_without_agreement_nothing_is_marked_and_marks_say_nothing() -> None:
    """RFC 3168 §6.1.1."""
    plane = Plane()
    assert [segment.tos for segment in send(plane, 2)] == [0, 0]
    answer = plane.peer(bytes(100), tos=CE).network
    assert [segment.flags & ECE for segment in answer] == [0]
    before = plane.subflow()["cwnd"]
    acknowledge(plane, 2, flags=ACK | ECE)
    assert plane.subflow()["cwnd"] >= before
    assert plane.counter(Counter.CE_RX) == plane.counter(Counter.ECN_REDUCED) == 0


def test_a_mark_is_echoed_until_the_sender_has_reduced() -> None:
    """RFC 3168 §6.1.3; the socket sees nothing of it."""
    plane = Plane(ecn=True)
    output = plane.peer(bytes(100), tos=CE)
    assert [segment.flags & ECE for segment in output.network] == [ECE]
    assert [(segment.flags & (ECE | CWR), segment.tos) for segment in output.host] == [(0, 0)]
    output = plane.peer(bytes(100), seq=101, tos=ECT0)
    assert [segment.flags & ECE for segment in output.network] == [ECE]
    assert [segment.flags & ECE for segment in send(plane, 1)] == [ECE]
    output = plane.peer(bytes(100), seq=201, flags=ACK | CWR, tos=ECT0)
    assert [segment.flags & ECE for segment in output.network] == [0]
    output = plane.peer(bytes(100), seq=301, flags=ACK | CWR, tos=CE)
    assert [segment.flags & ECE for segment in output.network] == [ECE]
    assert plane.counter(Counter.CE_RX) == 2


def test_a_mark_outside_the_window_is_not_echoed() -> None:
    """RFC 3168 §6.1.5: anybody could have sent it."""
    plane = Plane(ecn=True)
    answer = plane.peer(bytes(100), seq=90_000_000, tos=CE).network
    assert [segment.flags & ECE for segment in answer] == [0]
    assert plane.counter(Counter.CE_RX) == 0


def test_an_echo_halves_the_window_once_a_round_trip_and_is_answered_by_cwr() -> None:
    """RFC 3168 §6.1.2: as for a loss, but nothing is sent again; CWR is on the first new data."""
    plane = Plane(ecn=True)
    send(plane, 10)
    plane.advance(RTT)
    acknowledge(plane, 2, flags=ACK | ECE)
    halved = plane.subflow()["cwnd"]
    assert halved == 5 * MSS
    acknowledge(plane, 4, flags=ACK | ECE)
    assert plane.subflow()["cwnd"] == halved
    assert plane.counter(Counter.ECN_REDUCED) == 1
    assert plane.counter(Counter.SUBFLOW_RETRANSMIT) == 0
    acknowledge(plane, 10, flags=ACK | ECE)
    fresh = send(plane, 3, offset=10 * MSS)
    assert [segment.flags & CWR for segment in fresh] == [CWR, 0, 0]
    acknowledge(plane, 11, flags=ACK)
    acknowledge(plane, 12, flags=ACK | ECE)
    assert plane.counter(Counter.ECN_REDUCED) == 2


def test_a_loss_of_the_same_window_reduces_no_further() -> None:
    """RFC 3168 §6.1.2: one reduction a window, whatever told of the congestion; and the reverse."""
    plane = Plane(ecn=True)
    send(plane, 10)
    plane.advance(RTT)
    acknowledge(plane, 1, flags=ACK | ECE)
    kept = plane.subflow()["ssthresh"]
    holes = Sack(((peer_seq(1 + 2 * MSS), peer_seq(1 + 9 * MSS)),))
    plane.acked = MSS
    plane.peer(ack=1 + MSS, extra=(holes,))
    assert plane.counter(Counter.SUBFLOW_RETRANSMIT) == 1
    assert plane.subflow()["ssthresh"] == kept


def test_a_loss_is_told_by_cwr_and_its_echo_changes_nothing() -> None:
    """RFC 3168 §6.1.2: CWR follows every reduction of the window."""
    plane = Plane(ecn=True)
    send(plane, 10)
    plane.advance(RTT)
    holes = Sack(((peer_seq(1 + MSS), peer_seq(1 + 9 * MSS)),))
    plane.peer(ack=1, extra=(holes,), flags=ACK | ECE)
    acknowledge(plane, 10, flags=ACK | ECE)
    assert plane.counter(Counter.ECN_REDUCED) == 0
    fresh = send(plane, 2, offset=10 * MSS)
    assert [segment.flags & CWR for segment in fresh] == [CWR, 0]


def test_a_timeout_is_told_by_cwr() -> None:
    """RFC 3168 §6.1.2."""
    plane = Plane(ecn=True)
    send(plane, 1)
    plane.advance(1_100 * MS)
    acknowledge(plane, 1)
    assert [segment.flags & CWR for segment in send(plane, 1, offset=MSS)] == [CWR]
