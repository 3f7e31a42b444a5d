"""Worlds: nodes joined by links, all on one clock, all chance from one seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mpcore.sim import rng
from mpcore.sim.clock import Clock, SimulationError
from mpcore.sim.link import Link, LinkSettings, Pipe, Receive
from mpcore.sim.middlebox import Middlebox
from mpcore.sim.node import Interface, Node
from mpcore.sim.packets import addresses
from mpcore.sim.tcp_settings import TcpSettings
from mpcore.sim.trace import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkPlan:
    """A link of a topology: its two directions, what stands on it, and whether the hosts prefer others."""

    settings: LinkSettings = field(default_factory=LinkSettings)
    reverse: LinkSettings | None = None  # the way back; None: the same
    middleboxes: Sequence[Middlebox] = ()  # in the order from the client (side A)
    backup: bool = False


class Router:
    """Forwards by destination address, in no time."""

    def __init__(self) -> None:
        self.dropped = 0
        self._routes: dict[bytes, Receive] = {}

    def add_route(self, address: bytes, send: Receive) -> None:
        """Send packets to `address` this way."""
        self._routes[address] = send

    def receive(self, data: bytes) -> None:
        """Forward a packet; without a route it is lost."""
        send = self._routes.get(addresses(data)[1])
        if send is None:
            self.dropped += 1
        else:
            send(data)


class Network:
    """Nodes and links; `run` makes time pass.

    With `record` every packet is kept in `trace`, about three kilobytes for each on its way.
    """

    def __init__(self, seed: int = 0, *, record: bool = True) -> None:
        self.seed = seed
        self.clock = Clock()
        self.trace = Trace(self.clock, record=record)
        self.nodes: dict[str, Node] = {}
        self.links: dict[str, Link] = {}

    def add_node(self, name: str, settings: TcpSettings | None = None) -> Node:
        """Make a machine."""
        chance = rng.stream(self.seed, f"host {name}")
        node = Node(name, clock=self.clock, rng=chance, trace=self.trace, settings=settings)
        self.nodes[name] = node
        return node

    def add_link(self, name: str, plan: LinkPlan, receive_a: Receive, receive_b: Receive) -> Link:
        """Make a link; what arrives at its ends goes to the two functions."""
        to_b = self._pipe(f"{name}>", plan.settings, receive_b)
        to_a = self._pipe(f"{name}<", plan.reverse or plan.settings, receive_a)
        link = Link(name, to_b, to_a, tuple(plan.middleboxes))
        self.links[name] = link
        return link

    def connect(self, name: str, plan: LinkPlan, a: tuple[Node, bytes], b: tuple[Node, bytes]) -> Link:
        """Join two nodes by a link, each with an interface of that name and the address given."""
        (node_a, address_a), (node_b, address_b) = a, b
        link = self.add_link(name, plan, node_a.receive, node_b.receive)
        node_a.add_interface(Interface(name, address_a, link.send_from_a, {address_b}, plan.backup))
        node_b.add_interface(Interface(name, address_b, link.send_from_b, {address_a}, plan.backup))
        return link

    def link(self, name: str) -> Link:
        """Return a link by name."""
        if name not in self.links:
            raise SimulationError(f"no link '{name}'; there are {', '.join(self.links) or 'none'}")
        return self.links[name]

    def run(self, until_ns: int | None = None, stop: Callable[[], bool] | None = None) -> bool:
        """Run to `until_ns`, until nothing is left to do, or until `stop()`; returns whether that was so."""
        return self.clock.run(until_ns, stop)

    def _pipe(self, name: str, settings: LinkSettings, receive: Receive) -> Pipe:
        chance = rng.stream(self.seed, f"link {name}")
        return Pipe(name, settings, clock=self.clock, rng=chance, trace=self.trace, receive=receive)


def host_address(network: int, host: int, *, ipv6: bool = False) -> bytes:
    """Return 10.<network>.0.<host>, or its like below fd00::/8."""
    if ipv6:
        return bytes((0xFD, 0, 0, 0, 0, 0, 0, network)) + host.to_bytes(8, "big")
    return bytes((10, network, 0, host))


def two_hosts(
    plans: Sequence[LinkPlan],
    *,
    seed: int = 0,
    ipv6: bool = False,
    client: TcpSettings | None = None,
    server: TcpSettings | None = None,
) -> Network:
    """Return nodes "client" and "server" joined by "link0", "link1", ..., with addresses on each."""
    network = Network(seed)
    a, b = network.add_node("client", client), network.add_node("server", server)
    for index, plan in enumerate(plans):
        addresses_here = (host_address(index, 1, ipv6=ipv6), host_address(index, 2, ipv6=ipv6))
        network.connect(f"link{index}", plan, (a, addresses_here[0]), (b, addresses_here[1]))
    return network


def shared_bottleneck(
    plans: Sequence[LinkPlan],
    bottleneck: LinkPlan,
    *,
    seed: int = 0,
    ipv6: bool = False,
    client: TcpSettings | None = None,
    server: TcpSettings | None = None,
) -> Network:
    """Return a client with several links to a router, and one link "bottleneck" from there to the server."""
    network = Network(seed)
    a, b = network.add_node("client", client), network.add_node("server", server)
    router = Router()
    server_address = host_address(200, 2, ipv6=ipv6)
    shared = network.add_link("bottleneck", bottleneck, router.receive, b.receive)
    b.add_interface(Interface("bottleneck", server_address, shared.send_from_b))
    router.add_route(server_address, shared.send_from_a)
    for index, plan in enumerate(plans):
        name, address = f"link{index}", host_address(index, 1, ipv6=ipv6)
        access = network.add_link(name, plan, a.receive, router.receive)
        a.add_interface(Interface(name, address, access.send_from_a, backup=plan.backup))
        router.add_route(address, access.send_from_b)
    return network
