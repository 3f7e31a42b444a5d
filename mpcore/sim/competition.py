"""Connections that compete: several pairs of hosts behind shared bottlenecks, and what each of them gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mpcore.sim import rng
from mpcore.sim.apps import Transfer
from mpcore.sim.link import PipeStatistics
from mpcore.sim.network import LinkPlan, Network, Router, host_address
from mpcore.sim.node import Interface, Node
from mpcore.sim.scenario import PORT, EndpointFactory, place_endpoint
from mpcore.sim.tcp_settings import TcpSettings

_NS_PER_SECOND = 1_000_000_000
_ENDLESS_BYTES = 1 << 50
_SERVERS = 200  # third part of their addresses, 10.200.x.y; those of clients are 10.<bottleneck>.x.y


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A client that sends to a server without end, over one bottleneck or several.

    The client has one access link, and one address, for each entry of `over`: the position of the bottleneck
    that it leads to. Twice the same position makes two paths through one bottleneck. Without an endpoint the
    pair speaks plain TCP over the first of them.
    """

    over: Sequence[int] = (0,)
    access: LinkPlan = field(default_factory=LinkPlan)
    client_endpoint: EndpointFactory | None = None
    server_endpoint: EndpointFactory | None = None
    tcp: TcpSettings | None = None


@dataclass(frozen=True, slots=True)
class CompetitionResult:
    """What `compete` reports, in the order of its contenders."""

    goodput_bps: tuple[int, ...]
    bottlenecks: tuple[PipeStatistics, ...]  # towards the servers
    network: Network


def jain_index(shares: Sequence[float]) -> float:
    """Return how evenly `shares` are spread: 1 when all are equal, 1/n when one has everything.

    Jain, Chiu and Hawe, DEC-TR-301 (1984). Without shares, or when all are zero, it is 1.
    """
    squares = len(shares) * sum(share * share for share in shares)
    return sum(shares) ** 2 / squares if squares else 1.0


def compete(
    bottlenecks: Sequence[LinkPlan],
    contenders: Sequence[Contender],
    *,
    seed: int = 0,
    start_within_ns: int = _NS_PER_SECOND,
    warm_ns: int = 5 * _NS_PER_SECOND,
    measure_ns: int = 20 * _NS_PER_SECOND,
) -> CompetitionResult:
    """Let all contenders send at once, and measure what their servers get for `measure_ns` after `warm_ns`.

    Each begins at a time of its own, by chance, within `start_within_ns`. Packets are not recorded.
    """
    network = Network(seed, record=False)
    routers = [Router() for _ in bottlenecks]
    far = Router()  # behind all bottlenecks: answers go back through the one that the address belongs to
    for index, (plan, router) in enumerate(zip(bottlenecks, routers, strict=True)):
        network.add_link(f"bottleneck{index}", plan, router.receive, far.receive)
    starts = rng.stream(seed, "starts")
    apps = []
    for index, contender in enumerate(contenders):
        _place(network, routers, far, index, contender)
        apps.append(_start(network, index, starts.randrange(start_within_ns + 1)))
    network.run(warm_ns)
    before = [app.received.size for app in apps]
    network.run(warm_ns + measure_ns)
    got = [app.received.size - size for app, size in zip(apps, before, strict=True)]
    return CompetitionResult(
        tuple(size * 8 * _NS_PER_SECOND // measure_ns for size in got),
        tuple(network.link(f"bottleneck{index}").to_b.statistics for index in range(len(bottlenecks))),
        network,
    )


def _place(
    network: Network, routers: Sequence[Router], far: Router, index: int, contender: Contender
) -> None:
    """Put a client before its bottlenecks and its server behind them."""
    client = network.add_node(f"client{index}", contender.tcp)
    server = network.add_node(f"server{index}", contender.tcp)
    address = host_address(_SERVERS, index + 1)
    server.add_interface(Interface("far", address, far.receive))
    far.add_route(address, server.receive)
    for path, bottleneck in enumerate(contender.over):
        link = network.link(f"bottleneck{bottleneck}")
        routers[bottleneck].add_route(address, link.send_from_a)
        _give_access(network, routers[bottleneck], client, f"access{index}.{path}", contender.access, path)
        far.add_route(client.interfaces[-1].address, link.send_from_b)
    place_endpoint(network, client, contender.client_endpoint)
    place_endpoint(network, server, contender.server_endpoint)


def _give_access(
    network: Network, router: Router, client: Node, name: str, plan: LinkPlan, path: int
) -> None:
    """Join a client to a bottleneck's router by a link of its own."""
    address = host_address(path, len(network.nodes))
    access = network.add_link(name, plan, client.receive, router.receive)
    client.add_interface(Interface(name, address, access.send_from_a, backup=plan.backup))
    router.add_route(address, access.send_from_b)


def _start(network: Network, index: int, start_ns: int) -> Transfer:
    """Connect a client to its server at `start_ns`; return the program that receives."""
    client, server = network.nodes[f"client{index}"], network.nodes[f"server{index}"]
    sender = Transfer(network.clock, rng.stream(network.seed, f"bytes {index}"), _ENDLESS_BYTES)
    receiver = Transfer(network.clock, rng.stream(network.seed, f"nothing {index}"), 0)
    server.host.listen(PORT, lambda connection: receiver)
    local, remote = client.interfaces[0].address, server.interfaces[0].address
    network.clock.call_at(start_ns, lambda: _connect(client, local, remote, sender))
    return receiver


def _connect(client: Node, local: bytes, remote: bytes, app: Transfer) -> None:
    client.host.connect(local, remote, PORT, app)
