"""The sans-IO endpoint of Shim6: data plane, control core and heuristic of one host, for a driver.

The contract is that of `mpcore.endpoint`: packets, addresses and time go in, packets, events and the next
deadline come out, and nothing here does IO. A driver that runs batches itself calls
`engine.process_batch`, hands each punted packet to `handle_punt`, and calls `settle` after the batch.
"""

import ipaddress
import struct
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from mpcore.actions import Direction, Transmit, Verdict, VerdictKind
from mpcore.counters import Counter, name_counters
from mpcore.errors import CapacityError
from mpcore.shim6.context import Context, ContextKey
from mpcore.shim6.effects import InstallContext, Path, RemoveContext, SendMessage, UpdateContext
from mpcore.shim6.engine import Shim6Engine
from mpcore.shim6.events import Event, FormEvent
from mpcore.shim6.heuristic import FlowKey, Heuristic
from mpcore.shim6.icmp_error import read_error, restore_error
from mpcore.shim6.identity import Identity, Verifier
from mpcore.shim6.locators import Pair
from mpcore.shim6.manager import Shim6Manager
from mpcore.shim6.policy import PairPolicy
from mpcore.shim6.settings import Shim6Settings
from mpcore.shim6.snapshot import describe
from mpcore.shim6.tags import RandomSource
from mpcore.wire.rewrite import context_tag
from mpcore.wire.shim6 import PROTOCOL_SHIM6

EVENTS_MAX = 4096
# Messages of strangers that are looked at for each R1 and R1bis that may be sent: I1, I2, and one more.
MESSAGES_PER_ANSWER = 3
CONTROL_HOP_LIMIT = 64
PACKET_GSO = 4  # as in mpcore/store/packet.pxd
_SOURCE, _DESTINATION = slice(8, 24), slice(24, 40)
_IPV6_SIZE, _EXTENSIONS_MAX = 40, 16
_SKIPPED = frozenset({0, 43, 60})  # hop-by-hop options, routing, destination options

_DROP, _PASS = Verdict(VerdictKind.DROP), Verdict(VerdictKind.PASS)


class Shim6Endpoint:
    """Shim6 of one host.

    Args:
        settings: everything that can be set
        rng: source of tags, nonces and seeds: `randbytes`, `getrandbits`, `randrange`
        now_ns: the driver's clock
        verifier: judges what peers say of their addresses
        policy: chooses pairs of locators
        heuristic: tells which conversations deserve a context
        in_use: tells whether a socket may still need a context (RFC 5533 §9)
        moved_by_mptcp: tells whether MPTCP moves a conversation already (RFC 6629 §7.3)
        any_locator: take payload on any addresses, by its tag alone, see `Shim6Engine`

    Thread-safety: one thread at a time.
    """

    def __init__(
        self,
        settings: Shim6Settings,
        *,
        rng: RandomSource,
        now_ns: int,
        verifier: Verifier,
        policy: PairPolicy | None = None,
        heuristic: Heuristic | None = None,
        in_use: Callable[[ContextKey], bool] = lambda key: False,
        moved_by_mptcp: Callable[[FlowKey], bool] = lambda key: False,
        any_locator: bool = False,
    ) -> None:
        self.settings = settings
        self.manager = Shim6Manager(
            settings, rng=rng, verifier=verifier, policy=policy, heuristic=heuristic, in_use=in_use
        )
        self.engine = Shim6Engine(
            max_contexts=settings.max_contexts,
            seed=rng.getrandbits(128).to_bytes(16),
            messages_per_second=MESSAGES_PER_ANSWER * (settings.r1_per_second + settings.r1bis_per_second),
            any_locator=any_locator,
        )
        for fork in settings.forks:
            self.engine.add_fork_rule(fork)
        self._now_ns = now_ns
        self._moved_by_mptcp = moved_by_mptcp
        self._installed: dict[int, Path] = {}
        self._path_changes: dict[int, Path | None] = {}
        self._ulids: set[bytes] = set()
        self._interfaces: dict[bytes, tuple[str, bool]] = {}
        self._transmits: list[Transmit] = []
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)

    # --- packets

    def handle_packet(
        self, direction: Direction, data: bytes, now_ns: int, carrier: int | None = None
    ) -> Verdict:
        """Decide on one packet. `carrier` names a super-packet of the host, which cannot get a header."""
        kind, rewritten = self.engine.process(direction, data, now_ns, 0 if carrier is None else PACKET_GSO)
        if kind == VerdictKind.PUNT:
            verdict = self.handle_punt(direction, data, now_ns)
        else:
            verdict = Verdict(VerdictKind(kind), rewritten)
        self.settle(now_ns)
        return verdict

    def handle_punt(self, direction: int, data: bytes, now_ns: int) -> Verdict:
        """Decide on a packet of the network that the engine has no answer to."""
        at = _shim6_at(data)
        if at is None:
            verdict = self._decide_error(data, now_ns)
        elif data[at + 2] & 0x80:
            verdict = self._decide_payload(data, now_ns)
        else:
            end = _IPV6_SIZE + int.from_bytes(data[4:6])
            self.manager.handle_control(data[_SOURCE], data[_DESTINATION], data[at:end], now_ns)
            verdict = _DROP
        self._carry_out()
        return verdict

    def settle(self, now_ns: int) -> None:
        """Tell the control core what packets have shown; to be called after each batch."""
        self._now_ns = now_ns
        for number, sent_ns, received_ns in self.engine.take_activity():
            self.manager.note_activity(number, sent_ns, received_ns, now_ns)
        for talk in self.engine.take_talks():
            multipath = self._moved_by_mptcp(talk.key)
            for packets, octets, sent in (
                (talk.packets_sent, talk.bytes_sent, True),
                (talk.packets_received, talk.bytes_received, False),
            ):
                if packets:
                    self.manager.note_flow(
                        talk.key, packets, octets, sent=sent, now_ns=now_ns, multipath=multipath
                    )
        self._carry_out()

    def flush(self, now_ns: int) -> None:
        """The same, by the name that a driver knows."""
        self.settle(now_ns)

    def poll_transmit(self) -> list[Transmit]:
        """Take the control messages to be sent, in order."""
        taken, self._transmits = self._transmits, []
        return taken

    def take_path_changes(self) -> dict[int, Path | None]:
        """Return the paths of contexts that changed since the last call, None for those that are gone.

        A driver that keeps packets between ULIDs away from the engine has to know which need rewriting.
        """
        taken, self._path_changes = self._path_changes, {}
        return taken

    def note_activity(self, number: int, *, sent: bool, received: bool, now_ns: int) -> None:
        """Count packets of a context that the driver saw and the engine did not."""
        self._now_ns = now_ns
        self.manager.note_activity(number, now_ns if sent else None, now_ns if received else None, now_ns)
        self._carry_out()

    def note_flow(self, key: FlowKey, packets: int, octets: int, *, sent: bool, now_ns: int) -> None:
        """Count packets of a conversation without context that the driver saw and the engine did not."""
        multipath = self._moved_by_mptcp(key)
        self.manager.note_flow(key, packets, octets, sent=sent, now_ns=now_ns, multipath=multipath)
        self._carry_out()

    def want_fork(self, ulid_local: bytes, ulid_peer: bytes, fii: int, now_ns: int) -> None:
        """Packets between these ULIDs are to leave by a fork, which is made if there is none."""
        self.manager.want_fork(ulid_local, ulid_peer, fii, now_ns)
        self._carry_out()

    # --- time and events

    def poll_timeout(self) -> int | None:
        """Return when handle_timeout is due, None when nothing waits."""
        return self.manager.poll_timeout()

    def handle_timeout(self, now_ns: int) -> None:
        """Do all that is due."""
        self.settle(now_ns)
        self.manager.handle_timeout(now_ns)
        self._carry_out()

    def poll_event(self) -> Event | None:
        """Take the next event; when too many wait, the oldest are lost."""
        return self._events.popleft() if self._events else None

    # --- this host

    def set_identity(self, identity: Identity, now_ns: int) -> None:
        """Set or replace the locators of a ULID."""
        self._ulids.add(identity.ulid)
        self.manager.set_identity(identity, now_ns)
        self._carry_out()

    def add_local_address(
        self, address: bytes, *, interface: str, now_ns: int, backup: bool = False, mtu: int = 1500
    ) -> None:
        """Let packets leave from an address of this host; those of other families are left alone.

        `backup` and `mtu` are for drivers that tell all endpoints the same.
        """
        if len(address) != 16:
            return
        self._interfaces[address] = (interface, backup)
        self.manager.set_local_address(address, True, now_ns)
        self._carry_out()

    def remove_local_address(self, address: bytes, now_ns: int) -> None:
        """An address does not work any more: contexts that use it search for another, as a ULID it stays."""
        if self._interfaces.pop(address, None) is None:
            return
        self.manager.set_local_address(address, False, now_ns)
        self._carry_out()

    def forget_local_address(self, address: bytes, now_ns: int) -> None:
        """An address is this host's no more: what has it as a ULID ends (RFC 5533 §1.5)."""
        self._ulids.discard(address)
        self._interfaces.pop(address, None)
        self.manager.forget_local_address(address, now_ns)
        self._carry_out()

    def expire_local_address(self, address: bytes, now_ns: int) -> None:
        """The lifetime of an address has ended: what has it as a ULID ends too. It may be given anew."""
        self._interfaces.pop(address, None)
        self.manager.forget_local_address(address, now_ns, for_good=False)
        self._carry_out()

    def note_forming(self, event: FormEvent) -> None:
        """Count and tell what became of an address that this host forms."""
        self.manager.note_forming(event)
        self._events.append(event)

    def suspect_interface(
        self, interface: str, now_ns: int, doubtful: Callable[[bytes, bytes], bool] = lambda local, peer: True
    ) -> None:
        """The way out by an interface is broken: who sends from its addresses on a doubtful pair searches."""
        for address, (name, _) in list(self._interfaces.items()):
            if name == interface:
                self.manager.suspect_local_address(address, now_ns, partial(doubtful, address))
        self._carry_out()

    def take_doubtful(self) -> set[Pair]:
        """Return the ULIDs between which answers are owed: does TCP repeat in vain there?"""
        return self.manager.take_doubtful()

    def give_up_waiting(self, ulid_local: bytes, ulid_peer: bytes, now_ns: int) -> None:
        """TCP between these ULIDs repeats in vain: no Send Timeout is waited for (RFC 5534 §3.3)."""
        self.manager.give_up_waiting(ulid_local, ulid_peer, now_ns)
        self._carry_out()

    def ulids(self) -> set[bytes]:
        """Return the addresses of this host that contexts can be made for."""
        return set(self._ulids)

    def ulids_in_use(self) -> set[bytes]:
        """Return the addresses of this host that contexts have as ULIDs."""
        return {path.ulid_local for path in self._installed.values()}

    def establish(self, ulid_local: bytes, ulid_peer: bytes, now_ns: int, fii: int = 0) -> Context | None:
        """Begin a context on demand; None when that is not possible now."""
        context = self.manager.establish(ulid_local, ulid_peer, now_ns, fii)
        self._carry_out()
        return context

    def discard(self, ulid_local: bytes, ulid_peer: bytes, fii: int = 0) -> bool:
        """Forget a context on demand; False when there is none."""
        gone = self.manager.discard(ulid_local, ulid_peer, fii)
        self._carry_out()
        return gone

    # --- looking

    def counters(self) -> dict[str, int]:
        """Return the counters of data plane and control core by their MIB names."""
        plane = name_counters(self.engine.counters())
        return {name: value for name, value in plane.items() if name.startswith("Shim6Ext")} | (
            self.manager.counters()
        )

    def snapshot(self) -> dict[str, Any]:
        """Return this endpoint's part of the status document of `mpcore show -j`."""
        return {
            "connections": [],
            "contexts": [self.describe(context) for context in self.manager.contexts()],
            "paths": [
                {"local": str(ipaddress.IPv6Address(address)), "interface": interface, "backup": backup}
                for address, (interface, backup) in self._interfaces.items()
            ],
            "counters": self.counters(),
        }

    def describe(self, context: Context) -> dict[str, Any]:
        """Return a context as the status document has it: its state, and what it has carried."""
        return {**describe(context), **(self.engine.stats(context.number) or {})}

    # --- decisions

    def _decide_payload(self, data: bytes, now_ns: int) -> Verdict:
        """A payload header: unknown tag, watched context, or other locators (RFC 5533 §12.2)."""
        tag = context_tag(data)
        source, destination = data[_SOURCE], data[_DESTINATION]
        if tag is None:
            return _DROP
        number = self.engine.number_of_tag(tag)
        if number is not None and not self._may_use(self._installed[number], source, destination):
            self.engine.count(Counter.SHIM6_PAYLOAD_STRANGE)
            return _DROP
        path = self.manager.handle_payload(source, destination, tag, now_ns)
        self._carry_out()
        if path is None:
            return _DROP
        self.engine.accept_pair(path.number, source, destination)
        restored = self.engine.restore(path.number, data, now_ns)
        return _DROP if restored is None else Verdict(VerdictKind.REWRITE, restored)

    def _may_use(self, path: Path, source: bytes, destination: bytes) -> bool:
        """Tell whether a packet between these addresses can be a context's.

        RFC 5533 §12.4 asks that of control messages only; of payload it closes the way around ingress filters
        that §16.2 tells of. A peer that keeps to §5.11 sends from no locator that was not acknowledged.
        """
        context = self.manager.find(path.ulid_local, path.ulid_peer, path.fii)
        return context is not None and (path.watched or context.owns(destination, source))

    def _decide_error(self, data: bytes, now_ns: int) -> Verdict:
        """An ICMPv6 error about a packet of a context, or one with a Shim6 header (RFC 5533 §8)."""
        error = read_error(data)
        if error is None:
            return _PASS  # a wrong checksum: for the kernel to count and drop
        verdict = self.manager.handle_icmp(error.type, error.code, error.quote, now_ns, error.pointer)
        if verdict.absorb:
            self.engine.count(Counter.SHIM6_ICMP_ABSORBED)
            return _DROP
        if verdict.path is None:
            return _PASS
        restored = restore_error(data, verdict.path.ulid_local, verdict.path.ulid_peer)
        if restored is None:
            return _PASS
        self.engine.count(Counter.SHIM6_ICMP_MAPPED)
        return Verdict(VerdictKind.REWRITE, restored)

    # --- effects

    def _carry_out(self) -> None:
        while (effect := self.manager.poll_effect()) is not None:
            match effect:
                case SendMessage(source, destination, message):
                    self._transmits.append(Transmit(False, source, _control(source, destination, message)))
                case InstallContext(path):
                    self._install(path)
                case UpdateContext(path):
                    if path.number in self._installed:
                        self._installed[path.number] = path
                        self._path_changes[path.number] = path
                        self.engine.update(path)
                case RemoveContext(number):
                    if self._installed.pop(number, None) is not None:
                        self._path_changes[number] = None
                    self.engine.remove(number)
        while (event := self.manager.poll_event()) is not None:
            self._events.append(event)

    def _install(self, path: Path) -> None:
        try:
            self.engine.install(path)
        except CapacityError:
            return  # its packets go on between the ULIDs, as if the peer knew no Shim6
        self._installed[path.number] = path
        self._path_changes[path.number] = path


def _control(source: bytes, destination: bytes, message: bytes) -> bytes:
    """Return a control message as an IPv6 packet."""
    fixed = struct.pack(">IHBB", 6 << 28, len(message), PROTOCOL_SHIM6, CONTROL_HOP_LIMIT)
    return fixed + source + destination + message


def _shim6_at(data: bytes) -> int | None:
    """Return where the Shim6 header of a packet that the engine has looked at begins, if it has one."""
    kind, at = data[6], _IPV6_SIZE
    for _ in range(_EXTENSIONS_MAX):
        if kind not in _SKIPPED:
            break
        kind, at = data[at], at + 8 * (data[at + 1] + 1)
    return at if kind == PROTOCOL_SHIM6 else None
