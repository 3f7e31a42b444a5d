"""A subflow's life: joining, leaving, closing in every order (RFC 9293 §3.6, RFC 8684 §3.2, §3.3.3)."""

from __future__ import annotations

import pytest

from mpcore.actions import Direction
from mpcore.counters import Counter
from mpcore.wire.values import Dss, MpJoinAck, MpTcpRst
from tests.helpers.checkers import ack, field, flags, has, lacks, payload, seq, source
from tests.helpers.plane import (
    ACK,
    FIN,
    ISN_REMOTE,
    LOCAL,
    MS,
    RST,
    SECOND,
    Plane,
    fill_queue,
    peer_seq,
)

DATA = bytes(range(256)) * 4
HMAC = bytes(range(20))


# Joining.


def test_the_third_ack_of_a_join_is_repeated_until_the_fourth() -> None:
    """RFC 8684 §3.2: and no data is sent before it."""
    plane = Plane()
    plane.join(hmac=HMAC)
    plane.step().to_network(flags("."), field(MpJoinAck, hmac=HMAC))
    assert plane.subflow(1)["state"] == "pre-established"
    output = plane.host(DATA)
    assert {segment.src_port for segment in output.network} == {plane.paths[0].local_port}
    assert plane.advance(1100 * MS).any_to_network(field(MpJoinAck, hmac=HMAC))
    output = plane.peer(path=1)
    assert ("subflow established", 1, 0) in output.events
    assert plane.subflow(1)["state"] == "established"


def test_a_join_that_is_never_answered_is_given_up() -> None:
    plane = Plane()
    plane.join(hmac=HMAC)
    plane.step()
    output = plane.advance(200 * SECOND)
    assert ("subflow closed", 1, 2) in output.events


def test_a_repeated_third_ack_draws_the_fourth_again() -> None:
    """RFC 8684 §3.2."""
    plane = Plane()
    plane.join()
    plane.step()
    output = plane.peer(path=1, options=(MpJoinAck(HMAC),))
    output.to_network(flags("."), has(Dss), lacks(MpTcpRst))


def test_a_join_may_be_answered_by_data() -> None:
    plane = Plane()
    plane.join(hmac=HMAC)
    plane.step()
    mapping = Dss(data_seq=plane.dss(DATA, seq=1, data=0).data_seq, subflow_seq=1, data_len=100)
    assert plane.peer(DATA[:100], path=1, options=(mapping,)).data() == DATA[:100]
    assert plane.subflow(1)["state"] == "established"


# Closing.


def two_paths() -> Plane:
    plane = Plane()
    plane.join()
    plane.peer(path=1)
    return plane


@pytest.mark.parametrize("why", ["left", "complete"])
def test_a_fin_that_finds_no_room_in_the_queue_is_sent_later(why: str) -> None:
    """RFC 8684 §3.3.3, §3.4: nothing else would bring the connection back here."""
    plane = two_paths()
    if why == "complete":
        plane.host(flags=FIN | ACK)
        plane.acked = 1
        plane.peer(options=(plane.dss(b"", seq=1, data=0, fin=True),))
    else:
        plane.engine.close_subflow(plane.handle, 0)
    fill_queue(plane)
    if why == "complete":
        plane.give(Direction.FROM_HOST, plane.host_segment(seq=1, ack=1), settle=False)
    assert plane.engine.run_pump(plane.now_ns), "it says that it could not do all"
    plane.engine.poll_transmit()
    assert not plane.engine.run_pump(plane.now_ns)
    output = plane.step()
    ports = [segment.src_port for segment in output.network if segment.flags & FIN]
    assert ports == [path.local_port for path in plane.paths[: 2 if why == "complete" else 1]]


def test_a_subflow_to_be_left_carries_nothing_new_and_ends() -> None:
    plane = two_paths()
    plane.engine.close_subflow(plane.handle, 1, None)
    output = plane.step()
    output.to_network(flags("F."), source(LOCAL, plane.paths[1].local_port), has(Dss))
    output = plane.host(DATA)
    assert {segment.src_port for segment in output.network} == {plane.paths[0].local_port}
    output = plane.peer(path=1, flags=FIN | ACK, ack=2)
    output.to_network(flags("."))
    assert plane.subflow(1)["state"] == "time-wait"
    assert ("subflow closed", 1, 0) in plane.advance(3 * SECOND).events


def test_a_joining_subflow_to_be_left_is_reset() -> None:
    plane = Plane()
    plane.join(hmac=HMAC)
    plane.step()
    plane.engine.close_subflow(plane.handle, 1, None)
    plane.step().to_network(flags("R."), has(MpTcpRst))


@pytest.mark.parametrize("reason", [0, 1, 4, 5])
def test_a_subflow_is_reset_with_its_reason(reason: int) -> None:
    """RFC 8684 §3.6."""
    plane = two_paths()
    plane.engine.close_subflow(plane.handle, 1, reason)
    plane.step().to_network(flags("R."), field(MpTcpRst, reason=reason))


def test_the_peers_fin_is_answered_where_others_carry_on() -> None:
    """RFC 8684 §3.3.3: FIN on a subflow ends that subflow."""
    plane = two_paths()
    output = plane.peer(path=1, flags=FIN | ACK)
    assert output.any_to_network(flags("F."), source(LOCAL, plane.paths[1].local_port))
    assert plane.subflow(1)["state"] == "last-ack"
    output = plane.peer(path=1, seq=2, ack=2)
    assert ("subflow closed", 1, 0) in output.events
    assert plane.host(DATA[:10]).network


def test_the_last_subflow_stays_half_open_for_our_data() -> None:
    """RFC 8684 §3.3.3: without DATA_FIN the stream goes on, until another path has come."""
    plane = Plane()
    plane.peer(flags=FIN | ACK)
    assert plane.subflow()["state"] == "close-wait"
    assert plane.host(DATA[:100]).any_to_network(payload(DATA[:100]))
    plane.join()
    output = plane.peer(path=1)
    assert output.any_to_network(flags("F."), source(LOCAL, plane.paths[0].local_port))


def test_both_fins_cross() -> None:
    """RFC 9293 §3.6, figure 13: CLOSING."""
    plane = two_paths()
    plane.engine.close_subflow(plane.handle, 1, None)
    plane.step()
    plane.peer(path=1, flags=FIN | ACK)
    assert plane.subflow(1)["state"] == "closing"
    plane.peer(path=1, seq=2, ack=2)
    assert plane.subflow(1)["state"] == "time-wait"


def test_a_fin_is_repeated_until_acknowledged() -> None:
    plane = two_paths()
    plane.engine.close_subflow(plane.handle, 1, None)
    plane.step()
    assert plane.advance(1100 * MS).any_to_network(flags("F."))


def test_the_wait_begins_anew_when_the_fin_comes_again() -> None:
    """RFC 9293 §3.10.7.4: our last ACK was lost."""
    plane = two_paths()
    plane.engine.close_subflow(plane.handle, 1, None)
    plane.step()
    plane.peer(path=1, flags=FIN | ACK, ack=2)
    plane.advance(1500 * MS)
    plane.peer(path=1, flags=FIN | ACK, ack=2).to_network(flags("."))
    plane.advance(1500 * MS)
    assert plane.subflow(1)["state"] == "time-wait"


def test_data_may_follow_our_fin_from_the_peer() -> None:
    """A half-closed subflow still carries the peer's data."""
    plane = two_paths()
    plane.engine.close_subflow(plane.handle, 1, None)
    plane.step()
    plane.peer(path=1, ack=2)
    assert plane.subflow(1)["state"] == "fin-wait-2"
    assert plane.peer(DATA[:100], path=1, ack=2, data=0).data() == DATA[:100]


# After the end.


def test_the_first_subflows_peer_is_refused_after_its_end() -> None:
    """RFC 9293 §3.10.7.1: our RST may have been lost; the socket must not see such a segment."""
    plane = two_paths()
    plane.engine.close_subflow(plane.handle, 0, 1)
    plane.step()
    output = plane.peer(DATA[:10], ack=1)
    assert output.host == []
    output.to_network(flags("R"), seq(peer_seq(1)), source(LOCAL, plane.paths[0].local_port))
    output = plane.peer(DATA[:10], flags=FIN)
    output.to_network(flags("R."), ack(ISN_REMOTE + 12))
    assert plane.peer(flags=RST).network == []
    assert plane.counter(Counter.PLAIN_RST_TX) == 2


def test_the_socket_keeps_its_ports_after_the_first_subflow_has_ended() -> None:
    """The program still sees the peer of its socket."""
    plane = two_paths()
    plane.engine.remove_subflow(plane.handle, 0)
    plane.step()
    assert plane.host(DATA[:100]).any_to_network(payload(DATA[:100]))
    assert plane.peer(DATA[:100], path=1, data=0).data() == DATA[:100]
    assert plane.counter(Counter.UNKNOWN_FLOW) == 0
