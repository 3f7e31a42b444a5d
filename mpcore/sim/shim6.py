"""Hosts with Shim6 control cores on a network that loses, repeats and reorders; all chance from one seed.

A data plane of dictionaries stands in for the compiled one: it holds the contexts that the core installs, and
gives packets locators and ULIDs.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mpcore.shim6.context import Context
from mpcore.shim6.effects import InstallContext, Path, RemoveContext, SendMessage, UpdateContext
from mpcore.shim6.events import Event
from mpcore.shim6.heuristic import FlowKey
from mpcore.shim6.identity import Identity
from mpcore.shim6.manager import Shim6Manager
from mpcore.shim6.records import ContextRecord
from mpcore.shim6.settings import Shim6Settings
from mpcore.sim import rng
from mpcore.sim.clock import Clock, Timer
from mpcore.sim.shim6_identity import ToyVerifier, toy_identities
from mpcore.wire.shim6 import PROTOCOL_SHIM6

_TCP = 6
_UNRECOGNISED = 4, 1
_NEXT_HEADER_AT = 6


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet of the simulated network: control when `data`, payload between `ulids` otherwise.

    `tag` is that of the payload header, None without one. `content` is what the program sent. `quoted` makes
    it an ICMPv6 error, type 4 code 1, about the packet in it.
    """

    source: bytes
    destination: bytes
    data: bytes | None = None
    tag: int | None = None
    ulids: tuple[bytes, bytes] | None = None
    content: int = 0
    quoted: bytes | None = None

    def octets(self) -> bytes:
        """Return what a router or host would quote of a packet with a Shim6 header."""
        shim6 = self.data
        if shim6 is None and self.tag is not None:
            shim6 = bytes([_TCP, 0]) + (self.tag | 1 << 47).to_bytes(6)
        assert shim6 is not None
        head = bytes([0x60, 0, 0, 0]) + len(shim6).to_bytes(2) + bytes([PROTOCOL_SHIM6, 64])
        return head + self.source + self.destination + shim6


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudSettings:
    """What happens to packets; probabilities per packet. Jitter of more than their distance reorders them."""

    delay_ns: int = 10_000_000
    jitter_ns: int = 0
    loss: float = 0.0
    duplicate: float = 0.0


class Cloud:
    """The network between all addresses; a way from one to another works unless it was cut."""

    def __init__(self, seed: int = 0, settings: CloudSettings | None = None) -> None:
        self.seed = seed
        self.clock = Clock()
        self.settings = settings or CloudSettings()
        self.nodes: dict[str, Shim6Node] = {}
        self.sent: Counter[str] = Counter()
        self.watch: Callable[[Packet], None] = lambda packet: None
        self.firewall: Callable[[Packet], bool] = lambda packet: False  # true for what it drops
        self._rng = rng.stream(seed, "cloud")
        self._owners: dict[bytes, Shim6Node] = {}
        self._cut: set[tuple[bytes, bytes]] = set()
        self._dead: set[bytes] = set()
        self._digest = hashlib.sha256()

    def add_node(
        self,
        name: str,
        addresses: Sequence[bytes],
        settings: Shim6Settings | None = None,
        identities: Iterable[Identity] | None = None,
    ) -> Shim6Node:
        """Make a host; its addresses are one set of locators unless `identities` say otherwise."""
        known = list(identities) if identities is not None else toy_identities(name, addresses)
        node = Shim6Node(self, name, addresses, settings or Shim6Settings(), known)
        self.nodes[name] = node
        for address in addresses:
            self._owners[address] = node
        return node

    def own(self, address: bytes, node: Shim6Node) -> None:
        """Let packets to an address reach a node."""
        self._owners[address] = node

    def cut(self, source: bytes, destination: bytes) -> None:
        """Lose all packets from one address to another."""
        self._cut.add((source, destination))

    def mend(self, source: bytes, destination: bytes) -> None:
        """Undo `cut`."""
        self._cut.discard((source, destination))

    def kill(self, address: bytes) -> None:
        """Lose all packets from and to an address: its link is gone."""
        self._dead.add(address)

    def revive(self, address: bytes) -> None:
        """Undo `kill`."""
        self._dead.discard(address)

    def send(self, packet: Packet) -> None:
        """Put a packet on its way."""
        self.watch(packet)
        self._digest.update(f"{self.clock.now_ns} {packet}\n".encode())
        ends = (packet.source, packet.destination)
        lost = ends in self._cut or not self._dead.isdisjoint(ends) or packet.destination not in self._owners
        lost = lost or self.firewall(packet)
        copies = 1 + (self._rng.random() < self.settings.duplicate)
        for _ in range(copies):
            if not lost and self._rng.random() >= self.settings.loss:
                self._deliver_later(packet)

    def run(self, seconds: float, stop: Callable[[], bool] | None = None) -> bool:
        """Let time pass; with `stop` until it says so, and return whether it did."""
        return self.clock.run(self.clock.now_ns + round(seconds * 1e9), stop)

    def digest(self) -> str:
        """Return a hash of every packet sent, with its time."""
        return self._digest.hexdigest()

    def _deliver_later(self, packet: Packet) -> None:
        jitter_ns = self.settings.jitter_ns
        delay_ns = self.settings.delay_ns + (self._rng.randrange(0, jitter_ns + 1) if jitter_ns else 0)
        self.clock.call_later(delay_ns, lambda: self._owners[packet.destination].receive(packet))


class Shim6Node:
    """One host: a control core, a small data plane, and programs that talk between ULIDs."""

    def __init__(
        self,
        cloud: Cloud,
        name: str,
        addresses: Sequence[bytes],
        settings: Shim6Settings,
        identities: Sequence[Identity],
    ) -> None:
        self.name = name
        self.addresses = list(addresses)
        self.settings = settings
        self.identities = list(identities)
        self.events: list[tuple[int, Event]] = []
        self.received: list[tuple[int, int]] = []  # (time, content)
        self.on_payload: Callable[[Packet], None] = lambda packet: None
        self.restarts = 0
        self.flow_octets = 0  # size of a packet for the heuristic; 0: contexts come by wish only
        self.paths: dict[tuple[bytes, bytes], Path] = {}  # of plain contexts
        self.forks: dict[tuple[bytes, bytes, int], Path] = {}
        self.up = True
        self.knows_shim6 = True
        self.says_so = True  # where it knows none: by ICMPv6 errors
        self._cloud = cloud
        self._by_tag: dict[int, Path] = {}
        self._timer = Timer(cloud.clock, self._expire)
        self.manager = self._new_manager()
        self.drain()

    @property
    def now_ns(self) -> int:
        """The time of the world."""
        return self._cloud.clock.now_ns

    def restart(self, records: Iterable[ContextRecord] = ()) -> None:
        """Crash, and come back knowing nothing but the own addresses and `records`."""
        self.restarts += 1
        self.paths.clear()
        self.forks.clear()
        self._by_tag.clear()
        self.manager = self._new_manager()
        self.manager.restore(records, self.now_ns)
        self.drain()

    def lose_shim6(self, *, says_so: bool = True) -> None:
        """Become a host without Shim6, which answers its header by ICMPv6 errors, or not at all."""
        self.restart()
        self.knows_shim6, self.says_so = False, says_so

    def establish(self, local: bytes, peer: bytes, fii: int = 0) -> Context | None:
        """Ask for a context."""
        context = self.manager.establish(local, peer, self.now_ns, fii)
        self.drain()
        return context

    def say(self, local: bytes, peer: bytes, content: int = 0, fii: int = 0) -> None:
        """Let a program send a packet between two ULIDs, by a fork if there is one."""
        fork = self.forks.get((local, peer, fii))
        path = fork if fork is not None and fork.rewrites else self.paths.get((local, peer))
        if path is None or not path.rewrites:
            self._cloud.send(Packet(local, peer, ulids=(local, peer), content=content))
        else:
            self._cloud.send(
                Packet(path.locator_local, path.locator_peer, None, path.tag_peer, None, content)
            )
        if path is not None:
            self.manager.note_activity(path.number, self.now_ns, None, self.now_ns)
        else:
            self._note_flow(local, peer, sent=True)
        if fii and (local, peer, fii) not in self.forks:
            self.manager.want_fork(local, peer, fii, self.now_ns)
        self.drain()

    def receive(self, packet: Packet) -> None:
        """Take a packet from the network."""
        if not self.up:
            return
        if packet.quoted is not None:
            self.manager.handle_icmp(*_UNRECOGNISED, packet.quoted, self.now_ns, _NEXT_HEADER_AT)
        elif not self.knows_shim6 and (packet.data is not None or packet.tag is not None):
            if self.says_so:
                self._cloud.send(Packet(packet.destination, packet.source, quoted=packet.octets()))
        elif packet.data is not None:
            self.manager.handle_control(packet.source, packet.destination, packet.data, self.now_ns)
        elif packet.tag is not None:
            self._receive_shimmed(packet, packet.tag)
        else:
            self._receive_plain(packet)
        self.drain()

    def drain(self) -> None:
        """Carry out what the core decided, and set its timer."""
        while (effect := self.manager.poll_effect()) is not None:
            match effect:
                case SendMessage(source, destination, data):
                    self._cloud.send(Packet(source, destination, data))
                case InstallContext(path) | UpdateContext(path):
                    self._install(path)
                case RemoveContext(number, tag):
                    self._remove(number, tag)
        while (event := self.manager.poll_event()) is not None:
            self.events.append((self.now_ns, event))
        self._timer.set(self.manager.poll_timeout())

    def happened(self, kind: type[Event]) -> list[Event]:
        """Return the events of a kind."""
        return [event for _, event in self.events if isinstance(event, kind)]

    def _receive_shimmed(self, packet: Packet, tag: int) -> None:
        path = self._by_tag.get(tag)
        if path is None or path.watched:
            path = self.manager.handle_payload(packet.source, packet.destination, tag, self.now_ns)
        else:
            self.manager.note_activity(path.number, None, self.now_ns, self.now_ns)
        if path is not None:
            self._deliver(packet, path.ulid_local, path.ulid_peer)

    def _receive_plain(self, packet: Packet) -> None:
        path = self.paths.get((packet.destination, packet.source))
        if path is not None:
            self.manager.note_activity(path.number, None, self.now_ns, self.now_ns)
        else:
            self._note_flow(packet.destination, packet.source, sent=False)
        self._deliver(packet, packet.destination, packet.source)

    def _note_flow(self, local: bytes, peer: bytes, *, sent: bool) -> None:
        if self.flow_octets and self.knows_shim6:
            key = FlowKey(local, peer, _TCP, 1, 1)
            self.manager.note_flow(key, 1, self.flow_octets, sent=sent, now_ns=self.now_ns)

    def _deliver(self, packet: Packet, local: bytes, peer: bytes) -> None:
        self.received.append((self.now_ns, packet.content))
        self.on_payload(Packet(peer, local, ulids=(peer, local), content=packet.content))

    def _expire(self) -> None:
        self.manager.handle_timeout(self.now_ns)
        self.drain()

    def _install(self, path: Path) -> None:
        if path.fii == 0:
            self.paths[path.ulid_local, path.ulid_peer] = path
        else:
            self.forks[path.ulid_local, path.ulid_peer, path.fii] = path
        self._by_tag[path.tag_local] = path

    def _remove(self, number: int, tag: int) -> None:
        path = self._by_tag.pop(tag)
        assert path.number == number
        if path.fii == 0:
            del self.paths[path.ulid_local, path.ulid_peer]
        else:
            del self.forks[path.ulid_local, path.ulid_peer, path.fii]

    def _new_manager(self) -> Shim6Manager:
        chance = rng.stream(self._cloud.seed, f"shim6 {self.name} {self.restarts}")
        manager = Shim6Manager(self.settings, rng=chance, verifier=ToyVerifier())
        for address in self.addresses:
            manager.set_local_address(address, True, self.now_ns)
        for identity in self.identities:
            manager.set_identity(identity, self.now_ns)
        return manager
