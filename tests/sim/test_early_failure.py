"""A path that goes before its first data is answered: its handshake has told how long an answer takes."""

from __future__ import annotations

import pytest

from mpcore.sim import LinkPlan, LinkSettings
from mpcore.wire.values import MpJoinAck, MpJoinSynAck
from tests.helpers.pair import MS, SECOND, Pair
from tests.sim.test_mptcp import mptcp

LINK = LinkPlan(settings=LinkSettings(rate_bps=20_000_000, delay_ns=10 * MS, queue_bytes=100_000))
SIZE = 1_000_000


@pytest.mark.parametrize("upload", [True, False])
def test_what_a_fresh_path_swallows_goes_elsewhere_soon(upload: bool) -> None:
    """RFC 6298 §2: the handshake's round trip is the first sample; without it the timer is a second."""
    world = Pair((LINK, LINK), client_endpoint=mptcp, server_endpoint=mptcp)
    client, server = world.open()
    sender, app = (client, world.server_app) if upload else (server, world.client_app)
    sender.write(bytes(SIZE))
    option = MpJoinAck if upload else MpJoinSynAck
    while not any(segment.find(option) for segment in world.sent()):
        world.run_for(MS)
    # the answer to the join is on its way, and the first data follows it
    world.run_for(25 * MS)
    world.network.link("link1").cut()
    before = world.clock.now_ns
    while len(app.received) < SIZE:
        world.run_for(10 * MS)
        assert world.clock.now_ns - before < 20 * SECOND
    assert world.clock.now_ns - before < 800 * MS
