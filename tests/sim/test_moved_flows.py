"""What an endpoint says of a flow: whether it is part of a multipath connection."""

from random import Random

from mpcore.config import Config
from mpcore.endpoint import Endpoint
from mpcore.sim import LinkPlan, LinkSettings, run_transfer
from mpcore.sim.network import Network
from mpcore.wire.values import MpCapable, TcpFlag
from tests.helpers.pair import MS

LINK = LinkPlan(settings=LinkSettings(rate_bps=20_000_000, delay_ns=10 * MS))
SIZE = 500_000


def moved_flows(network: Network, endpoint: Endpoint) -> list[bool]:
    """Return for each flow that the client opened whether its endpoint says that MPTCP moves it."""
    syns = [each for each in network.trace.segments("send", "link") if each.flags == TcpFlag.SYN]
    flows = {(syn.src, syn.src_port, syn.dst, syn.dst_port) for syn in syns}
    assert not any(endpoint.moves(*flow[2:], *flow[:2]) for flow in flows)
    return [endpoint.moves(*flow) for flow in flows]


def asked_in_a_transfer(server_mptcp: bool) -> list[bool]:
    made: list[Endpoint] = []
    said: list[list[bool]] = []

    def endpoint(rng: Random, now_ns: int) -> Endpoint:
        made.append(Endpoint(Config(), rng=rng, now_ns=now_ns))
        return made[-1]

    result = run_transfer(
        (LINK, LINK),
        up_bytes=SIZE,
        client_endpoint=endpoint,
        server_endpoint=endpoint if server_mptcp else None,
        script=[(100 * MS, lambda network: said.append(moved_flows(network, made[0])))],
    )
    assert result.ok
    assert any(segment.find(MpCapable) for segment in result.network.trace.segments("send", "link"))
    return said[0]


def test_every_subflow_of_a_multipath_connection_is_moved_already() -> None:
    """RFC 6629 §7.3: what MPTCP moves, another layer is to leave alone."""
    assert asked_in_a_transfer(server_mptcp=True) == [True] * 4


def test_a_connection_that_fell_back_is_not() -> None:
    assert asked_in_a_transfer(server_mptcp=False) == [False]
