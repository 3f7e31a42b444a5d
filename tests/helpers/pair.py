"""Two hosts on one clock, for tests that talk step by step; with or without endpoints."""

from __future__ import annotations

from collections.abc import Sequence

from mpcore.sim import LinkPlan, LinkSettings, TcpSettings, rng, two_hosts
from mpcore.sim.node import Node
from mpcore.sim.scenario import EndpointFactory
from mpcore.sim.tcp_app import App, Socket
from mpcore.sim.tcp_connection import TcpConnection
from mpcore.wire.values import Segment

PORT = 80
MS = 1_000_000
SECOND = 1_000_000_000
LINK = LinkPlan(settings=LinkSettings(rate_bps=100_000_000, delay_ns=5 * MS))


class Recorder(App):
    """A program without a will: it notes what happens and reads at once, unless told to pause."""

    def __init__(self, *, paused: bool = False) -> None:
        self.received = bytearray()
        self.paused = paused
        self.established = False
        self.ended = False
        self.closed = False
        self.error: str | None = None

    def on_established(self, socket: Socket) -> None:
        self.established = True

    def on_readable(self, socket: Socket) -> None:
        if not self.paused:
            self.received += socket.read()

    def on_end(self, socket: Socket) -> None:
        self.ended = True

    def on_closed(self, socket: Socket, error: str | None) -> None:
        self.closed = True
        self.error = error


class Pair:
    """A client and a server; `open()` connects them, `run_for` lets time pass."""

    def __init__(
        self,
        plans: Sequence[LinkPlan] = (LINK,),
        *,
        seed: int = 0,
        client_endpoint: EndpointFactory | None = None,
        server_endpoint: EndpointFactory | None = None,
        client_tcp: TcpSettings | None = None,
        server_tcp: TcpSettings | None = None,
        server_paused: bool = False,
        ipv6: bool = False,
    ) -> None:
        self.network = two_hosts(plans, seed=seed, ipv6=ipv6, client=client_tcp, server=server_tcp)
        self.clock = self.network.clock
        self.trace = self.network.trace
        self.client: Node = self.network.nodes["client"]
        self.server: Node = self.network.nodes["server"]
        self._place(self.client, client_endpoint)
        self._place(self.server, server_endpoint)
        self.client_app = Recorder()
        self.server_app = Recorder(paused=server_paused)
        self.server_socket: TcpConnection | None = None
        self.server.host.listen(PORT, self._accept)
        self.client_socket: TcpConnection | None = None

    def connect(self) -> TcpConnection:
        """Send the client's SYN; time does not pass."""
        local, remote = self.client.interfaces[0].address, self.server.interfaces[0].address
        self.client_socket = self.client.host.connect(local, remote, PORT, self.client_app)
        return self.client_socket

    def open(self) -> tuple[TcpConnection, TcpConnection]:
        """Connect, and return both sockets once both sides are established."""
        client = self.connect()
        done = self.network.run(
            self.clock.now_ns + 60 * SECOND,
            lambda: self.client_app.established and self.server_app.established,
        )
        assert done, f"no connection: {self.client_app.error}, {self.server_app.error}\n{self.trace.text()}"
        assert self.server_socket is not None
        return client, self.server_socket

    def run_for(self, duration_ns: int) -> None:
        """Let time pass."""
        self.network.run(self.clock.now_ns + duration_ns)

    def sent(self, place: str = "link") -> list[Segment]:
        """Return what was put on links (or one pipe, such as "link0>"), parsed."""
        return list(self.trace.segments("send", place))

    def _place(self, node: Node, factory: EndpointFactory | None) -> None:
        if factory is not None:
            node.set_endpoint(
                factory(rng.stream(self.network.seed, f"endpoint {node.name}"), self.clock.now_ns)
            )

    def _accept(self, connection: TcpConnection) -> Recorder:
        self.server_socket = connection
        return self.server_app
