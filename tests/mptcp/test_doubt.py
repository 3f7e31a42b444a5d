"""Subflows that do not answer: asked again and again, and relieved by those that join (RFC 8684 §3.3.6)."""

from __future__ import annotations

import pytest

from mpcore.counters import Counter
from tests.helpers.plane import MS, SECOND, Output, Plane

MSS = 1420
HMAC = bytes(range(20))
OTHER = bytes([10, 0, 3, 2])
PATIENCE = 3 * SECOND  # between two questions


def piece(index: int) -> bytes:
    return bytes([index]) * MSS


def measured(plane: Plane, *paths: int) -> None:
    """Let a segment pass on each path, with a round trip of 20 ms."""
    for path in paths:
        data = plane.state["bytes_sent"]
        plane.host(bytes(100), seq=data)
        (used,) = [each for each in plane.state["subflows"] if each["inflight"]]
        assert used["path_index"] == path
        plane.advance(20 * MS)
        plane.acked = data + 100
        plane.peer(path=path, ack=used["snd_nxt"])


def write(plane: Plane, count: int) -> Output:
    """Let the socket write segments, all at once."""
    start = plane.state["bytes_sent"]
    output = Output()
    for index in range(count):
        output.network += plane.host(piece(index), seq=start + index * MSS).network
    return output


def sent_on(plane: Plane, path: int, output: Output) -> list[bytes]:
    """The payloads that left by a path."""
    port = plane.paths[path].local_port
    return [segment.payload for segment in output.network if segment.src_port == port and segment.payload]


# A path that joins.


@pytest.mark.parametrize("silent_ms", [200, 500, 3000], ids=["before the timeout", "after it", "long after"])
@pytest.mark.parametrize("ours", [True, False], ids=["our join", "the peer's"])
def test_a_path_that_joins_takes_over_what_a_silent_one_has_in_flight(silent_ms: int, ours: bool) -> None:
    plane = Plane()
    measured(plane, 0)
    write(plane, 8)
    plane.advance(silent_ms * MS)
    plane.join(hmac=HMAC if ours else None, remote=OTHER)
    output = plane.step()
    output.network += plane.peer(path=1).network
    # the data level's timer may have asked for the oldest of them before
    assert set(sent_on(plane, 1, output)) == {piece(index) for index in range(8)}
    assert len(sent_on(plane, 1, output)) <= 9
    assert plane.subflow(0)["suspect"]


def test_what_is_taken_over_is_held_by_the_dead_path_no_more() -> None:
    plane = Plane()
    measured(plane, 0)
    write(plane, 8)
    plane.advance(500 * MS)
    plane.join(remote=OTHER)
    plane.peer(path=1)
    plane.acked += 8 * MSS
    plane.peer(path=1, ack=1 + 8 * MSS)
    assert plane.state["bytes_in_flight"] == 0
    assert plane.host(piece(9), seq=100 + 8 * MSS).network[0].src_port == plane.paths[1].local_port


def test_a_path_that_joins_leaves_the_data_of_one_that_answers() -> None:
    plane = Plane()
    measured(plane, 0)
    write(plane, 8)
    plane.advance(20 * MS)
    plane.join(remote=OTHER)
    assert sent_on(plane, 1, plane.peer(path=1)) == []
    assert not plane.subflow(0)["suspect"]
    assert plane.counter(Counter.SUBFLOW_STALE) == 0


# Questions.


def two_paths() -> Plane:
    plane = Plane(scheduler="round-robin")
    plane.join(remote=OTHER)
    plane.peer(path=1)
    measured(plane, 0, 1)
    return plane


def answer(plane: Plane, path: int) -> Output:
    """Let a path acknowledge all that it was sent, and the peer all data that the path before it has."""
    return plane.peer(path=path, ack=plane.subflow(path)["snd_nxt"])


def silenced() -> Plane:
    """A connection whose path 1 swallowed a segment, and whose path 0 carried everything."""
    plane = two_paths()
    write(plane, 2)
    plane.advance(20 * MS)
    answer(plane, 0)
    plane.advance(200 * MS)
    assert plane.subflow(1)["suspect"]
    plane.acked = 200 + 2 * MSS
    answer(plane, 0)
    assert plane.state["bytes_in_flight"] == 0
    return plane


def test_a_silent_path_is_asked_every_few_seconds_while_others_carry_on() -> None:
    """Its timer alone would let a minute pass (RFC 6298 §5.5)."""
    plane = silenced()
    last_ns = plane.now_ns
    for _ in range(500):
        output = plane.advance(200 * MS)
        if sent_on(plane, 1, output):
            assert plane.now_ns - last_ns <= PATIENCE + 200 * MS
            last_ns = plane.now_ns
    assert plane.now_ns - last_ns <= PATIENCE + 200 * MS
    answer(plane, 1)
    assert not plane.subflow(1)["suspect"]
    assert plane.counter(Counter.SUBFLOW_RECOVER) == 1
    assert sent_on(plane, 1, plane.advance(100 * SECOND)) == []


def test_questions_keep_no_path_alive_for_ever() -> None:
    """RFC 9293 §3.8.3: it is given up when it would be without them."""
    plane = silenced()
    events = plane.advance(170 * SECOND).events
    assert ("subflow closed", 1, 2) in events


def test_the_last_path_has_its_timer_alone() -> None:
    """RFC 6298 §5.5."""
    plane = Plane()
    measured(plane, 0)
    write(plane, 1)
    output = plane.advance(60 * SECOND)
    repeats = sum(0.2 * (2**n - 1) < 60 for n in range(1, 20))
    assert len(sent_on(plane, 0, output)) <= repeats + 2  # and two early ones: the tail's, the data level's


# Routes.


def test_an_idle_path_that_lost_its_way_is_set_aside_and_asked_by_a_copy_of_the_data() -> None:
    plane = two_paths()
    plane.engine.check_subflow(plane.handle, 1, True, plane.now_ns)
    plane.step()
    assert plane.subflow(1)["suspect"]
    assert plane.advance(60 * SECOND).network == [], "without data nobody needs to know"
    output = write(plane, 4)
    output.network += plane.advance(1).network
    assert sorted(sent_on(plane, 0, output)) == [piece(index) for index in range(4)]
    assert sent_on(plane, 1, output) == [piece(0)]
    plane.acked = 200 + 4 * MSS
    answer(plane, 0)
    assert plane.state["bytes_in_flight"] == 0
    answer(plane, 1)
    assert not plane.subflow(1)["suspect"]


def test_a_path_that_lost_its_way_hands_its_data_on_at_once() -> None:
    plane = two_paths()
    output = write(plane, 4)
    lost = sent_on(plane, 1, output)
    assert lost
    plane.engine.check_subflow(plane.handle, 1, True, plane.now_ns)
    assert set(sent_on(plane, 0, plane.step())) == set(lost)


def test_a_path_that_has_its_way_back_is_asked_at_once() -> None:
    plane = silenced()
    plane.advance(30 * SECOND)
    plane.engine.check_subflow(plane.handle, 1, False, plane.now_ns)
    (sent,) = sent_on(plane, 1, plane.step())
    assert piece(1).startswith(sent)
    answer(plane, 1)
    assert not plane.subflow(1)["suspect"]


def test_the_only_path_is_relied_on_whatever_its_route() -> None:
    plane = Plane()
    plane.engine.check_subflow(plane.handle, 0, True, plane.now_ns)
    plane.step()
    assert not plane.subflow(0)["suspect"]
    assert len(sent_on(plane, 0, write(plane, 1))) == 1
