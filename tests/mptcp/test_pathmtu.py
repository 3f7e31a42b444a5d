"""The segment size of a subflow's path, told by routers or found by silence (RFC 1191, 8201, 4821, 5927)."""

from __future__ import annotations

import pytest

from mpcore.counters import Counter
from mpcore.wire.values import Dss, Sack, Segment
from tests.helpers.plane import MS, SECOND, TS_LOCAL, Plane, peer_seq

MSS = 1420
MTU, SMALLER = 1300, 1300 - 40 - 40
SMALL = 1280 - 40 - 40  # what is tried where routers say nothing


def send(plane: Plane, segments: int, offset: int = 0) -> list[Segment]:
    """Let the host write full segments; return what went to the network."""
    data = [plane.host(bytes([index]) * MSS, seq=offset + index * MSS) for index in range(segments)]
    return [segment for output in data for segment in output.network]


def too_big(plane: Plane, offset: int = 1, mtu: int = MTU, path: int = 0) -> bool:
    return plane.engine.too_big(plane.handle, path, peer_seq(offset), mtu, plane.now_ns)


def test_what_was_too_big_is_cut_and_sent_again_without_touching_the_window() -> None:
    """RFC 1191 §6.4; each piece brings the mapping that it was sent with (RFC 8684 §3.3.1)."""
    plane = Plane()
    send(plane, 3)
    window = plane.subflow()["cwnd"]
    assert too_big(plane)
    again = plane.step().network
    assert [len(segment.payload) for segment in again] == [SMALLER, MSS - SMALLER] * 3
    assert b"".join(segment.payload for segment in again) == b"".join(bytes([i]) * MSS for i in range(3))
    for index, segment in enumerate(again):
        mapping = segment.find(Dss)
        assert mapping is not None
        assert (mapping.subflow_seq, mapping.data_len) == (1 + index // 2 * MSS, MSS)
    assert plane.subflow()["mss"] == SMALLER
    assert plane.subflow()["cwnd"] == window
    assert plane.engine.faults(plane.handle) == []
    plane.acked = 3 * MSS
    plane.peer(ack=1 + 3 * MSS)
    assert plane.state["bytes_in_flight"] == 0
    assert [len(segment.payload) for segment in plane.host(bytes(MSS), seq=3 * MSS).network] == [
        SMALLER,
        MSS - SMALLER,
    ]
    assert plane.counter(Counter.MTU_REDUCED) == 1


def test_other_subflows_keep_their_size() -> None:
    plane = Plane()
    plane.join()
    send(plane, 1)
    assert too_big(plane)
    assert plane.subflow(1)["mss"] == MSS


@pytest.mark.parametrize("offset", [0, -MSS, 1 + 2 * MSS, 1 << 30])
def test_a_message_about_nothing_in_flight_is_ignored(offset: int) -> None:
    """RFC 5927 §4.1: who cannot see our packets can only guess."""
    plane = Plane()
    send(plane, 2)
    assert not too_big(plane, offset)
    assert plane.subflow()["mss"] == MSS


def test_a_message_cannot_make_segments_larger_or_tiny() -> None:
    """RFC 1191 §3, RFC 5927 §7.3: never up, and not below what every path takes."""
    plane = Plane()
    send(plane, 1)
    assert not too_big(plane, mtu=9000)
    assert too_big(plane, mtu=68)
    assert plane.subflow()["mss"] == 552 - 80
    plane.step()
    assert not too_big(plane, mtu=68)


def test_segments_that_are_lost_or_kept_apart_are_cut_without_confusion() -> None:
    """Records of every kind: in flight, presumed lost, copied from the stream, sent in place of others."""
    plane = Plane()
    warm(plane)
    plane.join()
    send(plane, 6, offset=2 * MSS)
    plane.advance(1100 * MS)
    assert plane.counter(Counter.REINJECTED) > 0
    for path in (1, 0):
        first = plane.paths[path].isn_local + plane.subflow(path)["snd_una"]
        assert plane.engine.too_big(plane.handle, path, first % (1 << 32), 1000, plane.now_ns)
        assert plane.engine.faults(plane.handle) == []
    plane.advance(1000 * MS)
    assert plane.engine.faults(plane.handle) == []


def warm(plane: Plane) -> None:
    """Measure a round trip with two segments."""
    send(plane, 2)
    plane.advance(20 * MS)
    plane.acked = 2 * MSS
    plane.peer(ack=1 + 2 * MSS)


class Hole:
    """A path that swallows segments of more than `limit` bytes, and a peer that acknowledges the others."""

    def __init__(self, plane: Plane, limit: int) -> None:
        self.plane = plane
        self.limit = limit
        self.pieces: dict[int, int] = {}  # what arrived: first offset, and the offset after the last

    def run(self, duration_ns: int, step_ns: int = 10 * MS) -> None:
        plane = self.plane
        for _ in range(duration_ns // step_ns):
            self.take(plane.advance(step_ns).network)
            upto = 1 + plane.acked
            while upto in self.pieces:
                upto = self.pieces[upto]
            if upto > 1 + plane.acked:
                plane.acked = upto - 1
                stamp = TS_LOCAL + (plane.now_ns - SECOND) // MS
                self.take(plane.peer(ack=upto, echo=stamp).network)

    def carry(self, segments: list[Segment]) -> None:
        """Let them through; all that the plane has is acknowledged within a second."""
        self.take(segments)
        self.run(1000 * MS)
        assert self.plane.state["bytes_in_flight"] == 0

    def take(self, segments: list[Segment]) -> None:
        for segment in segments:
            if 0 < len(segment.payload) <= self.limit:
                start = (segment.seq - peer_seq(0)) % (1 << 32)
                self.pieces[start] = max(self.pieces.get(start, 0), start + len(segment.payload))


def test_small_segments_are_tried_where_large_ones_are_lost_in_silence() -> None:
    """RFC 4821 §7.7: the size is found without a word of the router."""
    plane = Plane()
    warm(plane)
    hole = Hole(plane, 1300)
    hole.take(send(plane, 4, offset=2 * MSS))
    hole.run(5000 * MS)
    hole.take(send(plane, 4, offset=6 * MSS))
    hole.run(5000 * MS)
    assert plane.state["bytes_in_flight"] == 0
    assert plane.subflow()["mss"] == SMALL
    assert plane.counter(Counter.MTU_REDUCED) == 2
    assert plane.engine.faults(plane.handle) == []


def test_a_path_that_was_dead_for_a_while_gets_its_size_back() -> None:
    plane = Plane()
    warm(plane)
    hole = Hole(plane, 0)
    send(plane, 4, offset=2 * MSS)
    hole.run(3000 * MS)
    assert plane.subflow()["mss"] == SMALL
    hole.limit = MSS
    hole.run(20_000 * MS)
    hole.carry(send(plane, 4, offset=6 * MSS))
    assert plane.subflow()["mss"] == MSS
    assert plane.counter(Counter.MTU_REDUCED) == 1


# Larger again (RFC 1191 §6.3, RFC 4821 §7).


def lowered() -> Plane:
    """Return a plane whose path took less than a full segment ten minutes ago."""
    plane = Plane()
    warm(plane)
    send(plane, 1, offset=2 * MSS)
    assert too_big(plane, 1 + 2 * MSS)
    plane.step()
    answer(plane, 3 * MSS)
    plane.advance(599 * SECOND)
    assert sizes(send(plane, 1, offset=3 * MSS)) == [SMALLER, MSS - SMALLER]
    answer(plane, 4 * MSS)
    plane.advance(2 * SECOND)
    return plane


def answer(plane: Plane, upto: int, *blocks: tuple[int, int]) -> list[Segment]:
    """Acknowledge bytes of the stream a round trip later; return what follows."""
    plane.advance(20 * MS)
    plane.acked = upto
    edges = tuple((peer_seq(1 + start), peer_seq(1 + end)) for start, end in blocks)
    sacks = (Sack(edges),) if blocks else ()
    stamp = TS_LOCAL + (plane.now_ns - SECOND) // MS
    return plane.peer(ack=1 + upto, extra=sacks, echo=stamp).network


def sizes(segments: list[Segment]) -> list[int]:
    return [len(segment.payload) for segment in segments if segment.payload]


def test_one_large_segment_is_tried_after_ten_minutes() -> None:
    """RFC 1191 §6.3: not before."""
    plane = lowered()
    assert sizes(send(plane, 2, offset=4 * MSS)) == [MSS, SMALLER, MSS - SMALLER]
    answer(plane, 6 * MSS)
    assert plane.subflow()["mss"] == MSS
    assert sizes(send(plane, 2, offset=6 * MSS)) == [MSS, MSS]
    assert plane.counter(Counter.MTU_REDUCED) == 1


def test_a_large_segment_that_is_lost_alone_is_no_congestion() -> None:
    """RFC 4821 §7.6.2: it is cut and sent again, and the next attempt is ten minutes later."""
    plane = lowered()
    window = plane.subflow()["cwnd"]
    send(plane, 2, offset=4 * MSS)
    answer(plane, 4 * MSS, (5 * MSS, 6 * MSS))
    assert sizes(plane.advance(10 * MS).network) == [SMALLER, MSS - SMALLER]
    assert plane.engine.faults(plane.handle) == []
    answer(plane, 6 * MSS)
    assert plane.subflow()["cwnd"] == window
    assert plane.counter(Counter.FAST_RECOVERY) == 0
    assert sizes(send(plane, 1, offset=6 * MSS)) == [SMALLER, MSS - SMALLER]
    answer(plane, 7 * MSS)
    plane.advance(601 * SECOND)
    assert sizes(send(plane, 1, offset=7 * MSS)) == [MSS]


def test_a_large_segment_that_is_lost_as_the_last_is_probed_for_in_pieces() -> None:
    """RFC 4821 §7.6.2 with RFC 8985 §7.3."""
    plane = lowered()
    send(plane, 1, offset=4 * MSS)
    assert set(sizes(plane.advance(150 * MS).network)) == {SMALLER, MSS - SMALLER}
    assert plane.counter(Counter.SUBFLOW_TIMEOUT) == 0
    assert plane.engine.faults(plane.handle) == []
    answer(plane, 5 * MSS)
    assert plane.subflow()["mss"] == SMALLER


def test_a_router_may_refuse_the_large_segment_too() -> None:
    plane = lowered()
    send(plane, 1, offset=4 * MSS)
    assert too_big(plane, 1 + 4 * MSS)
    assert sizes(plane.step().network) == [SMALLER, MSS - SMALLER]
    assert plane.subflow()["mss"] == SMALLER
    assert plane.engine.faults(plane.handle) == []


def test_where_routers_say_nothing_a_larger_size_is_tried_too() -> None:
    """RFC 4821 §7.4: after the small size was confirmed and the path has changed."""
    plane = Plane()
    warm(plane)
    hole = Hole(plane, 1300)
    for turn in range(2):
        hole.take(send(plane, 4, offset=(2 + 4 * turn) * MSS))
        hole.run(5000 * MS)
    assert plane.subflow()["mss"] == SMALL
    plane.advance(600 * SECOND)
    hole.carry(send(plane, 2, offset=10 * MSS))
    assert plane.subflow()["mss"] == SMALL
    hole.limit = MSS
    plane.advance(600 * SECOND)
    hole.carry(send(plane, 2, offset=12 * MSS))
    assert plane.subflow()["mss"] == MSS
