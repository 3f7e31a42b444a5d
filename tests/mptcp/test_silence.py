"""A path that falls silent while another answers: when its data goes elsewhere (RFC 8684 §3.3.6)."""

from __future__ import annotations

import pytest

from mpcore.counters import Counter
from tests.helpers.plane import MS, Output, Plane

MSS = 1420
RTT = 20 * MS
EXPECTED = 2 * RTT + 20 * MS  # of a path with this round trip, without jitter, and a host's own
PATIENCE = 4 * RTT + 50 * MS


class TwoPaths:
    """A connection whose two paths have a measured round trip, and what each has in flight."""

    def __init__(self, rounds: int = 20) -> None:
        self.plane = Plane(scheduler="round-robin")
        self.plane.join()
        self.plane.peer(path=1)
        self.written = 0
        for _ in range(rounds):  # in 20 the round trip comes to vary no more
            self.write(2)
            self.plane.advance(RTT)
            self.answer(0)
            self.answer(1)
        assert all(self.plane.subflow(path)["snd_una"] == self.sent(path) for path in (0, 1))

    def write(self, segments: int) -> None:
        """Let the host write full segments, which the paths take in turn."""
        for _ in range(segments):
            self.plane.host(bytes([self.written % 251]) * MSS, seq=self.written * MSS)
            self.written += 1

    def sent(self, path: int) -> int:
        """Return the subflow offset after the last byte sent on a path."""
        return int(self.plane.subflow(path)["snd_nxt"])

    def answer(self, path: int) -> Output:
        """Acknowledge all that was sent on a path; at the data level what is known on both."""
        una = [self.plane.subflow(each)["snd_una"] for each in (0, 1)]
        una[path] = self.sent(path)
        if una == [self.sent(0), self.sent(1)]:
            self.plane.acked = self.written * MSS
        return self.plane.peer(path=path, ack=self.sent(path))

    def carried(self, path: int, output: Output) -> list[bytes]:
        """Return the data that went out on a path."""
        port = self.plane.paths[path].local_port
        return [each.payload for each in output.network if each.src_port == port and each.payload]


def test_a_path_that_is_late_while_another_answers_is_suspected() -> None:
    """RFC 8684 §3.3.6: its data goes elsewhere, long before its timer; its window is not reduced."""
    paths = TwoPaths()
    paths.write(8)
    before = paths.plane.subflow(0)
    paths.plane.advance(EXPECTED - 10 * MS)
    assert paths.answer(1).network == []
    output = paths.plane.advance(15 * MS)
    assert len(set(paths.carried(1, output))) == 4
    after = paths.plane.subflow(0)
    assert after["suspect"]
    assert (after["cwnd"], after["ssthresh"]) == (before["cwnd"], before["ssthresh"])
    assert paths.plane.counter(Counter.SUBFLOW_STALE) == 1
    assert paths.plane.counter(Counter.REINJECTED) == 4
    assert paths.plane.counter(Counter.SUBFLOW_TIMEOUT) == 0


def test_it_is_taken_back_with_its_first_answer() -> None:
    paths = TwoPaths()
    paths.write(8)
    paths.plane.advance(EXPECTED - 10 * MS)
    paths.answer(1)
    paths.plane.advance(15 * MS)
    assert paths.plane.subflow(0)["suspect"]
    paths.answer(0)
    assert not paths.plane.subflow(0)["suspect"]
    assert paths.plane.counter(Counter.SUBFLOW_RECOVER) == 1


@pytest.mark.parametrize("heard_ms", [None, 20])
def test_a_pause_of_all_paths_makes_none_suspect(heard_ms: int | None) -> None:
    """Nothing from any, or from another only before the second half of the wait: a host may have paused."""
    paths = TwoPaths()
    paths.write(8)
    if heard_ms is not None:
        paths.plane.advance(heard_ms * MS)
        paths.answer(1)
    paths.plane.advance(EXPECTED + 10 * MS - (heard_ms or 0) * MS)
    assert not any(paths.plane.subflow(path)["suspect"] for path in (0, 1))
    paths.answer(0)
    paths.answer(1)
    assert paths.plane.counter(Counter.SUBFLOW_STALE) == 0


def test_an_idle_path_is_asked() -> None:
    """It may be idle for want of what the late one carries; one segment tells."""
    paths = TwoPaths()
    paths.write(8)
    paths.plane.advance(RTT)
    paths.answer(1)
    output = paths.plane.advance(EXPECTED - RTT + 5 * MS)
    assert len(paths.carried(1, output)) == 1
    assert not paths.plane.subflow(0)["suspect"]
    paths.answer(1)
    output = paths.plane.advance(10 * MS)
    assert paths.plane.subflow(0)["suspect"]
    assert len(set(paths.carried(1, output))) == 4


def test_without_such_a_sign_it_takes_longer() -> None:
    paths = TwoPaths()
    paths.write(8)
    output = paths.plane.advance(RTT)
    paths.answer(1)
    # the answer to a tail loss probe, sent after two round trips, is waited for as well
    output = paths.plane.advance(2 * RTT + 5 * MS + PATIENCE - RTT)
    assert paths.plane.subflow(0)["suspect"]
    assert len(set(paths.carried(1, output))) == 4
    assert paths.plane.counter(Counter.SUBFLOW_TIMEOUT) == 0


def test_the_ack_of_a_single_segment_may_be_withheld() -> None:
    """RFC 9293 §3.8.6.3: for half a second; only of every second full segment one is due."""
    paths = TwoPaths()
    paths.write(2)
    for _ in range(8):
        paths.plane.advance(EXPECTED // 6)
        paths.answer(1)
    assert not paths.plane.subflow(0)["suspect"]
    assert paths.plane.counter(Counter.SUBFLOW_STALE) == 0


def test_the_first_window_is_waited_for() -> None:
    """The handshake does not tell how long it takes on a slow link."""
    paths = TwoPaths(rounds=2)
    paths.write(8)
    for _ in range(4):
        paths.plane.advance(EXPECTED // 3)
        paths.answer(1)
    assert paths.plane.counter(Counter.SUBFLOW_STALE) == 0
