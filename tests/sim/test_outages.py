"""A path that is silent for a while, or for long, is used again when it answers."""

from __future__ import annotations

import pytest

from mpcore.mptcp.failures import LAST_PAUSE_NS
from mpcore.sim import LinkPlan, LinkSettings
from mpcore.wire.values import MpJoinSyn
from tests.helpers.pair import MS, SECOND, Pair
from tests.sim.test_mptcp import mptcp

LINK = LinkPlan(settings=LinkSettings(rate_bps=20_000_000, delay_ns=10 * MS, queue_bytes=100_000))
ALL, ONE_LINK = 4, 1  # subflows; the others cross from one link to the other
SIZE = 8000  # enough for every path
JOIN_NS = 15 * SECOND  # that a join without an answer takes


class Talk:
    """A program that says something every second over two links."""

    def __init__(self) -> None:
        self.world = Pair((LINK, LINK), client_endpoint=mptcp, server_endpoint=mptcp)
        self.socket, _ = self.world.open()
        self.said = 0

    def go_on(self, duration_ns: int) -> None:
        end_ns = self.world.clock.now_ns + duration_ns
        while self.world.clock.now_ns < end_ns:
            self.socket.write(bytes(SIZE))
            self.said += SIZE
            self.world.run_for(SECOND)

    def in_use(self) -> int:
        """How many of the client's subflows are relied on: each address with each of the peer's is one."""
        endpoint = self.world.client.endpoint
        assert endpoint is not None
        (connection,) = endpoint.snapshot()["connections"]  # type: ignore[attr-defined]
        return sum(not each["suspect"] for each in connection["subflows"])


@pytest.mark.parametrize("link", ["link0", "link1"])
@pytest.mark.parametrize("outage_s", [5, 45, 120], ids=["short", "middling", "just before it is given up"])
def test_a_path_that_was_silent_is_in_use_within_seconds(link: str, outage_s: int) -> None:
    """RFC 6298 §5.5 alone would let up to a minute pass before it is asked."""
    talk = Talk()
    talk.go_on(2 * SECOND)
    assert talk.in_use() == ALL
    talk.world.network.link(link).cut()
    talk.go_on(outage_s * SECOND)
    assert talk.in_use() == ONE_LINK
    talk.world.network.link(link).restore()
    talk.go_on(4 * SECOND)
    assert talk.in_use() == ALL
    assert len(talk.world.server_app.received) >= talk.said - SIZE


@pytest.mark.parametrize("link", ["link0", "link1"])
@pytest.mark.parametrize("outage_s", [200, 500])
def test_a_path_that_was_given_up_is_joined_again(link: str, outage_s: int) -> None:
    talk = Talk()
    talk.go_on(2 * SECOND)
    talk.world.network.link(link).cut()
    talk.go_on(outage_s * SECOND)
    assert talk.in_use() == ONE_LINK
    talk.world.network.link(link).restore()
    talk.go_on(LAST_PAUSE_NS + JOIN_NS)
    assert talk.in_use() == ALL
    assert len(talk.world.server_app.received) >= talk.said - SIZE


def test_joins_of_a_path_that_stays_dead_are_few() -> None:
    talk = Talk()
    talk.go_on(2 * SECOND)
    talk.world.network.link("link1").cut()
    talk.go_on(300 * SECOND)
    joins = sum(bool(segment.find(MpJoinSyn)) for segment in talk.world.sent("link1>"))
    talk.go_on(600 * SECOND)
    later = sum(bool(segment.find(MpJoinSyn)) for segment in talk.world.sent("link1>"))
    assert 0 < later - joins <= 2 * 4 * 600 // 100, "two pairs that begin there, four packets a join"
