"""The Shim6 control core as one object: messages, hints and time in; effects, events and deadlines out.

Sans-IO (RFC 5533, RFC 5534): time is integer nanoseconds passed in, chance an object passed in, and nothing
is sent but by `poll_effect`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import islice

from mpcore.errors import LocalProtocolError
from mpcore.shim6.claims import Claims
from mpcore.shim6.context import Context, ContextKey
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.dispatch import Dispatcher
from mpcore.shim6.effects import Effect, Path
from mpcore.shim6.events import AddressFormed, AddressTaken, Event, FormEvent, FormingFailed
from mpcore.shim6.heuristic import FlowBook, FlowKey, Heuristic
from mpcore.shim6.icmp import IcmpJudge, IcmpVerdict
from mpcore.shim6.identity import Identity, Verifier
from mpcore.shim6.lifecycle import Lifecycle
from mpcore.shim6.locators import Pair
from mpcore.shim6.negotiate import Negotiator
from mpcore.shim6.policy import Cause, PairPolicy
from mpcore.shim6.reap import Reap
from mpcore.shim6.records import ContextRecord, record_of
from mpcore.shim6.restore import Restorer
from mpcore.shim6.settings import SECOND, Shim6Settings
from mpcore.shim6.shared import Shared, Timer, TimerKind
from mpcore.shim6.snapshot import describe
from mpcore.shim6.states import ContextState
from mpcore.shim6.tags import RandomSource
from mpcore.shim6.update import Updater
from mpcore.wire.shim6 import Preference

FORMING_COUNTERS: dict[type, Shim6Counter] = {
    AddressFormed: Shim6Counter.ADDRESS_FORMED,
    AddressTaken: Shim6Counter.ADDRESS_TAKEN,
    FormingFailed: Shim6Counter.FORMING_FAILED,
}


class Shim6Manager:
    """All contexts of one host. Not thread-safe: one owner calls it."""

    def __init__(
        self,
        settings: Shim6Settings,
        *,
        rng: RandomSource,
        verifier: Verifier,
        policy: PairPolicy | None = None,
        heuristic: Heuristic | None = None,
        in_use: Callable[[ContextKey], bool] = lambda key: False,
    ) -> None:
        """Begin without contexts. `in_use` tells whether a socket may still need one (RFC 5533 §9)."""
        self._shared = Shared(settings, rng, verifier)
        self._shared.in_use = lambda context: in_use(context.key)
        self._reap = Reap(self._shared, policy or PairPolicy())
        self._lifecycle = Lifecycle(self._shared, self._reap)
        claims = Claims(self._shared)
        self._negotiator = Negotiator(self._shared, self._reap, claims, self._lifecycle)
        self._updater = Updater(self._shared, self._reap, claims)
        self._reap.on_moved = self._updater.hurry
        self._negotiator.on_established = self._updater.begin
        self._dispatcher = Dispatcher(self._shared, self._negotiator, self._updater, self._reap)
        self._restorer = Restorer(self._shared, self._reap, self._updater, self._lifecycle)
        self._icmp = IcmpJudge(self._shared, self._negotiator, self._reap)
        self._flows = FlowBook(heuristic or Heuristic(), settings.max_flows)

    # Out.

    @property
    def settings(self) -> Shim6Settings:
        """The settings as they are now."""
        return self._shared.settings

    def poll_effect(self) -> Effect | None:
        """Return the next thing to carry out."""
        return self._shared.effects.popleft() if self._shared.effects else None

    def poll_event(self) -> Event | None:
        """Return the next thing that happened."""
        return self._shared.events.popleft() if self._shared.events else None

    def poll_timeout(self) -> int | None:
        """Return when `handle_timeout` is to be called next."""
        return self._shared.deadlines.first()

    def counters(self) -> dict[str, int]:
        """Return all counters by their MIB names."""
        self._shared.counters[Shim6Counter.LIMIT_FLOWS] = self._flows.evicted
        return {counter.mib: self._shared.counters[counter] for counter in Shim6Counter}

    def contexts(self) -> tuple[Context, ...]:
        """Return all contexts, to be looked at only."""
        return tuple(self._shared.contexts)

    def snapshot(self) -> list[dict[str, object]]:
        """Return the contexts as `mpcore show contexts -j` prints them."""
        return [describe(context) for context in self._shared.contexts]

    def identities(self) -> tuple[Identity, ...]:
        """Return who this host is, by its ULIDs."""
        return self._shared.identities.all()

    def knows_local_address(self, address: bytes) -> bool:
        """Tell whether an address is one of this host's, assigned now or not."""
        return address in self._shared.addresses

    def local_preference(self, address: bytes) -> Preference:
        """Return what peers are told of an address of this host."""
        return self._shared.addresses.preference(address)

    def local_wishes(self) -> dict[bytes, Preference]:
        """Return the operator's wishes by address, as `restore_wishes` takes them."""
        return self._shared.addresses.wishes()

    def find(self, ulid_local: bytes, ulid_peer: bytes, fii: int = 0) -> Context | None:
        """Return a context, to be looked at only."""
        return self._shared.contexts.by_key.get(ContextKey(ulid_local, ulid_peer, fii))

    # Over restarts.

    def watch_changes(self) -> None:
        """Begin to note which contexts change, for `take_changes`."""
        self._shared.touched = dict.fromkeys(self._shared.contexts.by_number)

    @property
    def has_changes(self) -> bool:
        """Whether `take_changes` has something."""
        return bool(self._shared.touched)

    def take_changes(self, limit: int) -> list[tuple[int, ContextRecord | None]]:
        """Return at most `limit` contexts that changed, by number, oldest change first.

        None stands for one that is not established any more, and perhaps never was.
        """
        touched = self._shared.touched or {}
        found = []
        for number in list(islice(touched, limit)):
            del touched[number]
            context = self._shared.contexts.by_number.get(number)
            found.append((number, None if context is None else record_of(context)))
        return found

    def restore(self, records: Iterable[ContextRecord], now_ns: int) -> int:
        """Take in contexts of an earlier life, after identities and addresses; returns how many."""
        return sum(self._restorer.restore(record, now_ns) for record in records)

    def restore_wishes(self, wishes: Mapping[bytes, Preference]) -> None:
        """Take in what the operator wished in an earlier life, before its contexts."""
        for address, wish in wishes.items():
            if address not in self._shared.addresses:
                self._shared.addresses.set_usable(address, False)
            self._shared.addresses.prefer(address, wish)

    # In: packets.

    def handle_control(self, source: bytes, destination: bytes, data: bytes, now_ns: int) -> None:
        """Process a control message: `data` from the Shim6 header to the end of the packet."""
        self._dispatcher.handle_control(source, destination, data, now_ns)

    def handle_payload(self, source: bytes, destination: bytes, tag: int, now_ns: int) -> Path | None:
        """Decide on a packet with a payload header whose context is unknown to the data plane, or watched.

        Returns the path whose ULIDs the packet gets, or None when it is to be dropped (RFC 5533 §12.2).
        """
        return self._dispatcher.handle_payload(source, destination, tag, now_ns)

    def handle_icmp(
        self, icmp_type: int, code: int, quoted: bytes, now_ns: int, pointer: int = 0
    ) -> IcmpVerdict:
        """Act on an ICMPv6 error about the packet `quoted`, or say that it goes up (RFC 5533 §8)."""
        return self._icmp.handle(icmp_type, code, quoted, now_ns, pointer)

    # In: what the data plane sees.

    def note_activity(self, number: int, sent_ns: int | None, received_ns: int | None, now_ns: int) -> None:
        """Tell when payload of a context, with or without header, last left and came, if it did lately."""
        context = self._shared.contexts.by_number.get(number)
        if context is None:
            return
        if sent_ns is not None and (received_ns is None or sent_ns <= received_ns):
            self._note_sent(context, now_ns)
        if received_ns is not None:
            self._reap.note_resumed(context, received_ns)
            context.reap.payload_ns = now_ns
            self._dispatcher.note_received(context, now_ns)
        if sent_ns is not None and received_ns is not None and sent_ns > received_ns:
            self._note_sent(context, now_ns)

    def note_flow(
        self, key: FlowKey, packets: int, octets: int, *, sent: bool, now_ns: int, multipath: bool = False
    ) -> Context | None:
        """Count packets between two ULIDs that have no context; returns the one that this began, if any."""
        if not self._shared.identities.multihomed(key.ulid_local):
            return None
        if not self._flows.note(key, packets, octets, sent=sent, multipath=multipath, now_ns=now_ns):
            return None
        return self._negotiator.establish(ContextKey(key.ulid_local, key.ulid_peer), now_ns)

    def want_fork(self, ulid_local: bytes, ulid_peer: bytes, fii: int, now_ns: int) -> Context | None:
        """Begin the fork that packets between two ULIDs are to leave by, beside their context.

        Returns it; None where the plain context is not established, or no exchange can begin now.
        """
        plain = self.find(ulid_local, ulid_peer)
        if plain is None or plain.state is not ContextState.ESTABLISHED:
            return None
        return self._negotiator.establish(ContextKey(ulid_local, ulid_peer, fii), now_ns)

    # In: this host.

    def set_identity(self, identity: Identity, now_ns: int) -> None:
        """Set or replace the locators of a ULID; peers are told (RFC 5533 §10.1)."""
        self._shared.identities.set(identity)
        for context in self._shared.contexts:
            if context.key.ulid_local == identity.ulid:
                self._updater.refresh(context, now_ns)

    def set_local_address(self, address: bytes, usable: bool, now_ns: int) -> None:
        """An address of this host works now, or does not: assigned, link, DAD (RFC 5534 §3.2, §4.1).

        Contexts with it as a ULID go on. Whoever sends from it searches at once.
        """
        if self._shared.addresses.set_usable(address, usable):
            self._addresses_changed(address, now_ns)
            if usable:
                self._reap.returner.hurry(address, now_ns)

    def prefer_local_address(self, address: bytes, preference: Preference, now_ns: int) -> None:
        """The operator's wish for an address; BROKEN drains it (RFC 5533 §5.15.3)."""
        if self._shared.addresses.prefer(address, preference):
            self._addresses_changed(address, now_ns)
            for context in self._shared.contexts:
                if address in context.local:
                    self._updater.reconsider(context, now_ns)

    def forget_local_address(self, address: bytes, now_ns: int, *, for_good: bool = True) -> None:
        """The prefix of an address is valid no more: communication with it as a ULID ends (RFC 5533 §1.5).

        Unless `for_good`, its identity is kept for the case that it comes back.
        """
        self._shared.addresses.forget(address)
        if for_good:
            self._shared.identities.remove(address)
        for context in self._shared.contexts:
            if context.key.ulid_local == address:
                self._lifecycle.discard(context, "its local ULID is not valid any more")
        self._addresses_changed(address, now_ns)

    def suspect_local_address(
        self, address: bytes, now_ns: int, doubtful: Callable[[bytes], bool] = lambda peer: True
    ) -> None:
        """The way out from an address is broken, to the peers' locators that are `doubtful`, or to all.

        Its router does not answer, its route is gone.
        """
        for context in self._shared.contexts:
            if context.pair.local == address and doubtful(context.pair.peer):
                self._reap.suspect(context, Cause.LOCAL_FAILURE, now_ns)

    def hint(self, ulid_local: bytes, ulid_peer: bytes, now_ns: int) -> None:
        """Something unproven, such as retransmissions of TCP, says that the current pair may not work."""
        for context in self._shared.contexts.between(Pair(ulid_local, ulid_peer)):
            self._reap.suspect(context, Cause.HINT, now_ns)

    def take_doubtful(self) -> set[Pair]:
        """Return the ULIDs of contexts whose transports are to be asked whether they repeat in vain."""
        taken, self._shared.doubtful = self._shared.doubtful, set()
        return taken

    def give_up_waiting(self, ulid_local: bytes, ulid_peer: bytes, now_ns: int) -> None:
        """Transports between these ULIDs repeat in vain: no Send Timeout is waited for (RFC 5534 §3.3)."""
        for context in self._shared.contexts.between(Pair(ulid_local, ulid_peer)):
            self._reap.give_up_waiting(context, now_ns)

    def establish(self, ulid_local: bytes, ulid_peer: bytes, now_ns: int, fii: int = 0) -> Context | None:
        """Begin a context by wish of an operator or program; None when that is not possible now."""
        return self._negotiator.establish(ContextKey(ulid_local, ulid_peer, fii), now_ns)

    def explore(
        self, ulid_local: bytes, ulid_peer: bytes, now_ns: int, fii: int = 0, *, leave: bool = True
    ) -> bool:
        """Search for a pair of locators by wish of an operator; False when no such context is established.

        With `leave` as if the current pair had failed; without, it is tried first and stays if it works.
        """
        context = self.find(ulid_local, ulid_peer, fii)
        if context is None or context.state is not ContextState.ESTABLISHED:
            return False
        self._reap.suspect(context, Cause.DEMAND if leave else Cause.HINT, now_ns)
        return True

    def set_send_timeout(self, send_timeout_ns: int, now_ns: int) -> None:
        """Change the Send Timeout of all contexts, from their next packet on; peers are told (RFC 5534 §5.3).

        LocalProtocolError for less than a second or more than an option can tell.
        """
        if not SECOND <= send_timeout_ns < (1 << 16) * SECOND:
            raise LocalProtocolError("a Send Timeout has 1 to 65535 seconds")
        self._shared.settings = replace(self._shared.settings, send_timeout_ns=send_timeout_ns)
        for context in self._shared.contexts:
            self._updater.refresh(context, now_ns)

    def discard(self, ulid_local: bytes, ulid_peer: bytes, fii: int = 0) -> bool:
        """Forget a context by wish of an operator; False when there is none."""
        context = self.find(ulid_local, ulid_peer, fii)
        if context is None:
            return False
        self._lifecycle.discard(context, "on demand")
        return True

    # In: time.

    def note_kick(self) -> None:
        """Count a TCP socket that the driver told to go on at once with other locators."""
        self._shared.count(Shim6Counter.TCP_KICKED)

    def note_forming(self, event: FormEvent) -> None:
        """Count what became of an address that the driver forms."""
        self._shared.count(FORMING_COUNTERS[type(event)])

    def handle_timeout(self, now_ns: int) -> None:
        """Do what has become due."""
        for timer in self._shared.deadlines.expired(now_ns):
            self._expire(timer, now_ns)

    def _expire(self, timer: Timer, now_ns: int) -> None:
        kind, number = timer
        if kind is TimerKind.UPDATES:
            self._updater.pump(now_ns)
            return
        if kind not in (TimerKind.HANDSHAKE, TimerKind.HOLDDOWN, TimerKind.TEARDOWN, TimerKind.UPDATE):
            self._reap.handle_timeout(kind, number, now_ns)
            return
        context = self._shared.contexts.by_number.get(number)
        if context is None:
            return
        if kind is TimerKind.HANDSHAKE:
            self._negotiator.handle_timeout(context, now_ns)
        elif kind is TimerKind.HOLDDOWN:
            self._lifecycle.handle_holddown(context)
        elif kind is TimerKind.TEARDOWN:
            self._lifecycle.handle_teardown(context, now_ns)
        else:
            self._updater.handle_timeout(context, now_ns)

    def _note_sent(self, context: Context, now_ns: int) -> None:
        context.active_ns = now_ns
        context.reap.note_said(now_ns)
        context.used_pair(context.pair, now_ns)
        self._reap.payload_out(context, now_ns)

    def _addresses_changed(self, address: bytes, now_ns: int) -> None:
        usable = self._shared.addresses.usable(address)
        for group in self._reap.explorer.groups():
            if address in group.key.local:
                self._reap.explorer.rearrange(group, now_ns)
        for context in self._shared.contexts:
            if address not in context.local:
                continue
            if not usable and context.pair.local == address:
                self._reap.suspect(context, Cause.LOCAL_FAILURE, now_ns)
            self._updater.refresh(context, now_ns)
