"""The model host: its sockets, and what a kernel answers to segments that belong to none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from mpcore.errors import CapacityError, WireError
from mpcore.sim.clock import Clock
from mpcore.sim.packets import ACK, FIN, RST, SEQUENCE_MASK, SYN, Flow, checksums_ok
from mpcore.sim.rng import Random
from mpcore.sim.tcp_app import App
from mpcore.sim.tcp_connection import Environment, TcpConnection
from mpcore.sim.tcp_settings import TcpSettings
from mpcore.wire.values import Segment, emit_segment, parse_segment

Output = Callable[[bytes, int], None]
Listener = Callable[[TcpConnection], App]

_FIRST_PORT = 32768  # Linux's ephemeral range ends before the ports that mpcore joins from
_LAST_PORT = 60999


class HostTcp:
    """Stands for the kernel's TCP of one machine.

    `output(packet, gso_bytes)` gets every packet that it sends; a payload above gso_bytes is a super-packet
    that the network interface will cut. `deliver` takes the packets that arrive.
    """

    def __init__(
        self, clock: Clock, rng: Random, output: Output, settings: TcpSettings | None = None
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.connections: dict[Flow, TcpConnection] = {}
        self.settings = settings or TcpSettings()
        self._listeners: dict[int, Listener] = {}
        self._next_port = rng.randrange(_FIRST_PORT, _LAST_PORT + 1)
        self._output = output
        self._env = Environment(
            clock=clock,
            rng=rng,
            settings=self.settings,
            counters=self.counters,
            output=output,
            forget=self._forget,
        )

    def listen(self, port: int, listener: Listener) -> None:
        """Accept connections to `port`, on any address; `listener` gives each the program that uses it."""
        self._listeners[port] = listener

    def connect(self, local: bytes, remote: bytes, port: int, app: App) -> TcpConnection:
        """Open a connection; the answer comes as `app.on_established`."""
        flow = Flow(local, self._free_port(local, remote, port), remote, port)
        connection = TcpConnection(flow, app, self._env)
        self.connections[flow] = connection
        connection.open()
        return connection

    def deliver(self, data: bytes) -> None:
        """Take a packet from the network, or one that was injected as if it came from there."""
        if not checksums_ok(data):
            self.counters["bad_checksums"] += 1
            return
        try:
            segment = parse_segment(data)
        except WireError:
            self.counters["unreadable"] += 1
            return
        self.counters["segments_received"] += 1
        flow = Flow(segment.dst, segment.dst_port, segment.src, segment.src_port)
        if flow in self.connections:
            self.connections[flow].handle(segment)
        elif segment.flags & (SYN | ACK | RST) == SYN and segment.dst_port in self._listeners:
            self._accept(flow, segment)
        elif not segment.flags & RST:
            self._refuse(segment)

    def _accept(self, flow: Flow, segment: Segment) -> None:
        connection = TcpConnection(flow, App(), self._env)
        self.connections[flow] = connection
        connection.app = self._listeners[segment.dst_port](connection)
        connection.accept(segment)

    def _refuse(self, segment: Segment) -> None:
        """Answer with a RST (RFC 9293 §3.10.7.1)."""
        self.counters["resets_sent"] += 1
        length = len(segment.payload) + bool(segment.flags & SYN) + bool(segment.flags & FIN)
        if segment.flags & ACK:
            flags, seq, ack = RST, segment.ack, 0
        else:
            flags, seq, ack = RST | ACK, 0, (segment.seq + length) & SEQUENCE_MASK
        reset = Segment(
            segment.version,
            segment.dst,
            segment.src,
            segment.dst_port,
            segment.src_port,
            seq,
            ack,
            flags,
            0,
            (),
            b"",
        )
        self._output(emit_segment(reset), self.settings.mtu)

    def _forget(self, flow: Flow) -> None:
        self.connections.pop(flow, None)

    def _free_port(self, local: bytes, remote: bytes, port: int) -> int:
        for _ in range(_FIRST_PORT, _LAST_PORT + 1):
            chosen = self._next_port
            self._next_port = chosen + 1 if chosen < _LAST_PORT else _FIRST_PORT
            if Flow(local, chosen, remote, port) not in self.connections:
                return chosen
        raise CapacityError("no free port is left for another connection to this peer; close some first")
