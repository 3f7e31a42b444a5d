"""A whole experiment in one call: build a world, move bytes both ways, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mpcore.sim import rng
from mpcore.sim.apps import Close, Transfer
from mpcore.sim.link import PipeStatistics
from mpcore.sim.network import LinkPlan, Network, two_hosts
from mpcore.sim.node import Node, SansIo
from mpcore.sim.rng import Random
from mpcore.sim.tcp_app import App
from mpcore.sim.tcp_connection import TcpConnection
from mpcore.sim.tcp_settings import TcpSettings

PORT = 5001
_NS_PER_SECOND = 1_000_000_000
_DEFAULT_LIMIT_NS = 600 * _NS_PER_SECOND

EndpointFactory = Callable[[Random, int], SansIo]  # (random source, now in ns)
Action = Callable[[Network], None]


@dataclass(frozen=True, slots=True)
class FlowResult:
    """One direction of a transfer as its receiver saw it."""

    size: int  # bytes that were to be sent
    received: int
    sha256_sent: str
    sha256_received: str
    first_ns: int | None
    last_ns: int | None
    longest_stall_ns: int
    goodput_bps: int  # from the receiver's handshake to its last byte

    @property
    def intact(self) -> bool:
        """Whether every byte arrived, and no other."""
        return self.received == self.size and self.sha256_sent == self.sha256_received


@dataclass(frozen=True, slots=True)
class TransferResult:
    """What `run_transfer` reports; `network` is the world as it ended, with its trace."""

    up: FlowResult  # client to server
    down: FlowResult  # server to client
    finished: bool  # both programs saw the other's end of data within the time limit
    errors: tuple[str, ...]  # how connections failed, if they did
    duration_ns: int  # until both had finished
    client_counters: Mapping[str, int]
    server_counters: Mapping[str, int]
    links: Mapping[str, PipeStatistics]  # "link0>" towards the server, "link0<" towards the client
    events: Mapping[str, Sequence[tuple[int, object]]]
    network: Network

    @property
    def ok(self) -> bool:
        """Whether both directions arrived whole and ended in order."""
        return self.finished and not self.errors and self.up.intact and self.down.intact


def cut(link: str) -> Action:
    """Return the action that cuts a link both ways; hosts are not told."""
    return lambda network: network.link(link).cut()


def restore(link: str) -> Action:
    """Return the action that mends a link."""
    return lambda network: network.link(link).restore()


def interface_down(node: str, interface: str) -> Action:
    """Return the action that takes an interface and its address from a node."""
    return lambda network: network.nodes[node].interface_down(interface)


def interface_up(node: str, interface: str) -> Action:
    """Return the action that gives it back."""
    return lambda network: network.nodes[node].interface_up(interface)


def run_transfer(
    links: Sequence[LinkPlan] = (LinkPlan(),),
    *,
    up_bytes: int = 0,
    down_bytes: int = 0,
    seed: int = 0,
    client_endpoint: EndpointFactory | None = None,
    server_endpoint: EndpointFactory | None = None,
    client_tcp: TcpSettings | None = None,
    server_tcp: TcpSettings | None = None,
    client_close: Close = Close.WHEN_SENT,
    server_close: Close = Close.WHEN_SENT,
    script: Sequence[tuple[int, Action]] = (),
    limit_ns: int = _DEFAULT_LIMIT_NS,
    linger_ns: int = 0,
    ipv6: bool = False,
    carriers: bool = False,
    network: Network | None = None,
) -> TransferResult:
    """Connect a client to a server over `links`, move bytes both ways at once, and say how it went.

    An endpoint factory puts an endpoint below that host; without one it speaks plain TCP over the first link.
    With `carriers` the hosts' super-packets are offered to the endpoints to be sent with other content,
    as a driver with NFQUEUE does. `script` runs actions at times. After both programs have finished the
    world goes on for `linger_ns`, so that closing can be watched. `network` takes the place of `links`
    when the topology is another one.
    """
    world = network or two_hosts(links, seed=seed, ipv6=ipv6, client=client_tcp, server=server_tcp)
    place_endpoint(world, world.nodes["client"], client_endpoint)
    place_endpoint(world, world.nodes["server"], server_endpoint)
    for node in world.nodes.values():
        node.carriers = carriers
    apps = _Pair(world, up_bytes, down_bytes, client_close, server_close)
    for time_ns, action in script:
        world.clock.call_at(time_ns, _bind(action, world))
    finished = world.run(limit_ns, apps.finished)
    duration_ns = world.clock.now_ns
    if finished and linger_ns:
        world.run(duration_ns + linger_ns)
    return _result(world, apps, finished, duration_ns)


class _Pair:
    """The two programs."""

    def __init__(
        self, network: Network, up: int, down: int, client_close: Close, server_close: Close
    ) -> None:
        self.client = Transfer(network.clock, rng.stream(network.seed, "bytes up"), up, close=client_close)
        self.server = Transfer(
            network.clock, rng.stream(network.seed, "bytes down"), down, close=server_close
        )
        self._accepted = False
        client, server = network.nodes["client"], network.nodes["server"]
        server.host.listen(PORT, self._accept)
        local, remote = client.interfaces[0].address, server.interfaces[0].address
        network.clock.call_at(0, lambda: _discard(client.host.connect(local, remote, PORT, self.client)))

    def finished(self) -> bool:
        """Whether both saw the end of the other's data and had theirs taken, or failed."""
        failed = bool(self.client.error or self.server.error)
        return failed or all(app.ended and app.sent_all for app in (self.client, self.server))

    def _accept(self, connection: TcpConnection) -> App:
        """Serve the first connection; another one, such as a join without its option, is left alone."""
        if self._accepted:
            return App()
        self._accepted = True
        return self.server


def _discard(_: object) -> None:
    """Give a callback without a result."""


def _bind(action: Action, network: Network) -> Callable[[], None]:
    return lambda: action(network)


def place_endpoint(network: Network, node: Node, factory: EndpointFactory | None) -> None:
    """Put an endpoint below a node, with a random source of its own; None leaves plain TCP."""
    if factory is not None:
        chance = rng.stream(network.seed, f"endpoint {node.name}")
        node.set_endpoint(factory(chance, network.clock.now_ns))


def _result(network: Network, apps: _Pair, finished: bool, duration_ns: int) -> TransferResult:
    errors = tuple(app.error for app in (apps.client, apps.server) if app.error)
    nodes = network.nodes
    return TransferResult(
        up=_flow_result(apps.client, apps.server),
        down=_flow_result(apps.server, apps.client),
        finished=finished and not errors,
        errors=errors,
        duration_ns=duration_ns,
        client_counters=dict(nodes["client"].host.counters),
        server_counters=dict(nodes["server"].host.counters),
        links={
            pipe.name: pipe.statistics for link in network.links.values() for pipe in (link.to_b, link.to_a)
        },
        events={name: node.events for name, node in nodes.items()},
        network=network,
    )


def _flow_result(sender: Transfer, receiver: Transfer) -> FlowResult:
    got = receiver.received
    took_ns = (got.last_ns or 0) - (receiver.established_ns or 0)
    return FlowResult(
        size=sender.size,
        received=got.size,
        sha256_sent=sender.sent_hash.hexdigest(),
        sha256_received=receiver.received_hash.hexdigest(),
        first_ns=got.first_ns,
        last_ns=got.last_ns,
        longest_stall_ns=got.longest_stall_ns,
        goodput_bps=got.size * 8 * _NS_PER_SECOND // took_ns if took_ns > 0 else 0,
    )
