"""A machine: programs on a model host TCP, an optional endpoint below it, and interfaces with policy routing.

The endpoint stands where NFQUEUE stands in the kernel: it sees every packet of the host before it is cut to
segments and routed, and every packet of the network before the host does.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mpcore.actions import Direction, Transmit, Verdict, VerdictKind
from mpcore.errors import WireError
from mpcore.sim.clock import Clock, SimulationError, Timer
from mpcore.sim.host_tcp import HostTcp
from mpcore.sim.packets import Flow, addresses, flow_from_source, segment_super_packet
from mpcore.sim.rng import Random
from mpcore.sim.tcp_settings import TcpSettings
from mpcore.sim.trace import Trace

_LARGEST_HEADERS = 120  # IPv6 and TCP with all options


class SansIo(Protocol):
    """What a node asks of an endpoint; `mpcore.endpoint.Endpoint` is one."""

    def handle_packet(
        self, direction: Direction, data: bytes, now_ns: int, carrier: int | None = None
    ) -> Verdict:
        """Decide what becomes of a packet; `carrier` is the id of one that may be put on HOLD."""

    def flush(self, now_ns: int) -> None:
        """Finish a batch: no further packet waits."""

    def poll_transmit(self) -> Sequence[Transmit]:
        """Return the packets to send now."""

    def poll_timeout(self) -> int | None:
        """Return when handle_timeout wants to be called."""

    def handle_timeout(self, now_ns: int) -> None:
        """Do what is due."""

    def poll_event(self) -> object | None:
        """Return the next event, or None."""

    def add_local_address(self, address: bytes, *, interface: str, now_ns: int, backup: bool = False) -> None:
        """Take note of an address of this host."""

    def remove_local_address(self, address: bytes, now_ns: int) -> None:
        """Forget an address of this host."""


@dataclass(slots=True)
class Interface:
    """An address with a way out."""

    name: str
    address: bytes
    send: Callable[[bytes], None]
    reaches: set[bytes] = field(default_factory=set)  # addresses on the link; an empty set reaches all
    backup: bool = False
    up: bool = True


class Node:
    """One machine of the simulated world."""

    def __init__(
        self, name: str, *, clock: Clock, rng: Random, trace: Trace, settings: TcpSettings | None = None
    ) -> None:
        self.name = name
        self.interfaces: list[Interface] = []
        self.endpoint: SansIo | None = None
        self.events: list[tuple[int, object]] = []
        self.counters: Counter[str] = Counter()
        self.host = HostTcp(clock, rng, self._from_host, settings)
        self._clock = clock
        self._trace = trace
        self._inbox: deque[tuple[Direction, bytes, int]] = deque()
        self._busy = False
        self._flush_due = False  # the endpoint has worked since its last flush
        self._flush_waits = False
        self._left: set[Flow] = set()
        self.carriers = False  # offer super-packets to the endpoint, as a driver with NFQUEUE does
        self._held: dict[int, int] = {}  # carriers on hold, with the size the host cuts them to
        self._next_carrier = 0
        self._timer = Timer(clock, self._on_timeout)

    def set_endpoint(self, endpoint: SansIo) -> None:
        """Put an endpoint below the host; interfaces added before and after are made known to it."""
        self.endpoint = endpoint
        for interface in self.interfaces:
            self._announce(interface)
        self._pump()

    def add_interface(self, interface: Interface) -> None:
        """Give the node an address with a way out."""
        self.interfaces.append(interface)
        self._announce(interface)
        self._pump()

    def interface_down(self, name: str) -> None:
        """Take an interface's address away, as the kernel tells by netlink."""
        interface = self._interface(name)
        interface.up = False
        if self.endpoint is not None:
            self.endpoint.remove_local_address(interface.address, self._clock.now_ns)
            self._pump()

    def interface_up(self, name: str) -> None:
        """Give it back."""
        interface = self._interface(name)
        interface.up = True
        self._announce(interface)
        self._pump()

    def receive(self, data: bytes) -> None:
        """Take a packet from a link."""
        try:
            destination = addresses(data)[1]
        except WireError:
            self.counters["unreadable"] += 1
            return
        if not any(interface.address == destination and interface.up for interface in self.interfaces):
            self.counters["not_for_us"] += 1
            return
        self._inbox.append((Direction.FROM_NETWORK, data, 0))
        self._pump()

    # Packets between host, endpoint and interfaces.

    def _from_host(self, data: bytes, gso_bytes: int) -> None:
        self._inbox.append((Direction.FROM_HOST, data, gso_bytes))
        self._pump()

    def _pump(self) -> None:
        """Take packets one after the other: what a packet causes waits its turn behind it."""
        if self._busy:
            return
        self._busy = True
        try:
            self._drain()
            while self._inbox:
                self._handle(*self._inbox.popleft())
                self._drain()
        finally:
            self._busy = False
        self._schedule()

    def _handle(self, direction: Direction, data: bytes, gso_bytes: int) -> None:
        if self.endpoint is None or self._bypassed(direction, data):
            self._deliver(direction, data, gso_bytes)
            return
        self._trace.packet(f"{self.name}/endpoint", direction.name.lower(), data)
        self._flush_due = True
        verdict = self._decide(direction, data, gso_bytes)
        self.counters[verdict.kind.name.lower()] += 1
        if verdict.kind is VerdictKind.LEAVE:
            self._left.add(self._flow(direction, data))
        if verdict.kind is VerdictKind.REWRITE:
            if verdict.data is None:
                raise SimulationError(f"{self.name}: the verdict REWRITE came without a packet")
            self._deliver(direction, verdict.data, gso_bytes)
        elif verdict.kind in (VerdictKind.PASS, VerdictKind.LEAVE):
            self._deliver(direction, data, gso_bytes)
        elif verdict.kind is VerdictKind.HOLD and gso_bytes and self._next_carrier in self._held:
            return
        elif verdict.kind is not VerdictKind.DROP:
            raise SimulationError(f"{self.name}: an endpoint does not give the verdict {verdict.kind.name}")

    def _decide(self, direction: Direction, data: bytes, gso_bytes: int) -> Verdict:
        """Ask the endpoint; a super-packet is offered as a carrier and kept while the verdict is HOLD."""
        assert self.endpoint is not None
        if not self.carriers or not gso_bytes or len(data) <= gso_bytes + _LARGEST_HEADERS:
            verdict = self.endpoint.handle_packet(direction, data, self._clock.now_ns)
            if verdict.kind is VerdictKind.HOLD:
                raise SimulationError(f"{self.name}: the verdict HOLD came for a packet that was not offered")
            return verdict
        self._next_carrier += 1
        verdict = self.endpoint.handle_packet(direction, data, self._clock.now_ns, self._next_carrier)
        if verdict.kind is VerdictKind.HOLD:
            self._held[self._next_carrier] = gso_bytes
        return verdict

    def _release(self, transmit: Transmit) -> None:
        """Let a packet on hold go, with the content that it got."""
        assert transmit.carrier is not None
        gso_bytes = self._held.pop(transmit.carrier)
        if transmit.data:
            self.counters["carried"] += 1
            for packet in segment_super_packet(transmit.data, gso_bytes):
                self._route(packet)

    def _deliver(self, direction: Direction, data: bytes, gso_bytes: int) -> None:
        if direction is Direction.FROM_NETWORK:
            self._to_host(data)
            return
        for packet in segment_super_packet(data, gso_bytes):
            self._route(packet)

    def _drain(self) -> None:
        """Send what the endpoint wants sent and collect its events."""
        if self.endpoint is None:
            return
        for transmit in self.endpoint.poll_transmit():
            if transmit.carrier is not None:
                self._release(transmit)
            elif transmit.to_host:
                self.counters["injected"] += 1
                self._to_host(transmit.data)
            else:
                self.counters["transmitted"] += 1
                self._check_source(transmit)
                self._route(transmit.data)
        while (event := self.endpoint.poll_event()) is not None:
            self.events.append((self._clock.now_ns, event))
            self._trace.event(f"{self.name}/endpoint", repr(event))

    def _to_host(self, data: bytes) -> None:
        self._trace.packet(f"{self.name}/host", "deliver", data)
        self.host.deliver(data)

    def _check_source(self, transmit: Transmit) -> None:
        """A raw socket is bound to one address; a packet with another one is a mistake of the endpoint."""
        if addresses(transmit.data)[0] != transmit.local:
            raise SimulationError(
                f"{self.name}: a packet's source is not the address that it is to be sent from"
            )

    def _route(self, data: bytes) -> None:
        """Choose the interface by source address; among several, or none, by destination."""
        source, destination = addresses(data)
        up = [interface for interface in self.interfaces if interface.up]
        candidates = [interface for interface in up if interface.address == source]
        reaching = [
            interface for interface in candidates if not interface.reaches or destination in interface.reaches
        ]
        chosen = (reaching or candidates)[:1]
        if chosen:
            chosen[0].send(data)
        else:
            self.counters["no_route"] += 1

    # Flows that the endpoint has left to the kernel.

    def _bypassed(self, direction: Direction, data: bytes) -> bool:
        if not self._left or self._flow(direction, data) not in self._left:
            return False
        self.counters["bypassed"] += 1
        return True

    def _flow(self, direction: Direction, data: bytes) -> Flow:
        flow = flow_from_source(data)
        return flow if direction is Direction.FROM_HOST else flow.reversed()

    # Time.

    def _schedule(self) -> None:
        """Set the timer by the endpoint's wish, and flush once what waits at this instant is done."""
        if self.endpoint is None:
            return
        if self._flush_due and not self._flush_waits:
            self._flush_waits = True
            self._clock.call_later(0, self._flush)
        self._timer.set(self.endpoint.poll_timeout())

    def _flush(self) -> None:
        if self.endpoint is None:
            return
        self._flush_due = self._flush_waits = False
        self.endpoint.flush(self._clock.now_ns)
        self._pump()

    def _on_timeout(self) -> None:
        if self.endpoint is None:
            return
        now_ns = self._clock.now_ns
        self._flush_due = True
        self.endpoint.handle_timeout(now_ns)
        wish = self.endpoint.poll_timeout()
        if wish is not None and wish <= now_ns:
            raise SimulationError(
                f"{self.name}: handle_timeout({now_ns}) left a timeout at {wish}, not later"
            )
        self._pump()

    def _announce(self, interface: Interface) -> None:
        if self.endpoint is not None:
            self.endpoint.add_local_address(
                interface.address,
                interface=interface.name,
                now_ns=self._clock.now_ns,
                backup=interface.backup,
            )

    def _interface(self, name: str) -> Interface:
        for interface in self.interfaces:
            if interface.name == name:
                return interface
        names = ", ".join(interface.name for interface in self.interfaces)
        raise SimulationError(f"{self.name} has no interface '{name}'; it has {names or 'none'}")
