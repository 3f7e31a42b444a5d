"""The Shim6 control core as one object: messages, hints and time in; effects, events and deadlines out.

Sans-IO (RFC 5533, RFC 5534): time is integer nanoseconds passed in, chance an object passed in, and nothing
is sent but by `poll_effect`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mpcore.errors import WireError
from mpcore.shim6.arrival import Arrival, complain
from mpcore.shim6.claims import Claims
from mpcore.shim6.context import Context, ContextKey
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.effects import Effect, Path
from mpcore.shim6.events import Event, PeerError
from mpcore.shim6.heuristic import FlowBook, FlowKey, Heuristic
from mpcore.shim6.identity import Identity, Verifier
from mpcore.shim6.lifecycle import Lifecycle
from mpcore.shim6.locators import Pair
from mpcore.shim6.negotiate import Negotiator
from mpcore.shim6.policy import Cause, PairPolicy
from mpcore.shim6.quote import Quote, find_quoted, read_quote
from mpcore.shim6.reap import Reap
from mpcore.shim6.settings import Shim6Settings
from mpcore.shim6.shared import Shared, Timer, TimerKind
from mpcore.shim6.snapshot import describe
from mpcore.shim6.states import ContextAction, ContextInput, ContextState, step
from mpcore.shim6.tags import RandomSource
from mpcore.shim6.update import Updater
from mpcore.wire.shim6 import (
    I1,
    I2,
    R1,
    R2,
    ErrorCode,
    ErrorMessage,
    I2bis,
    Keepalive,
    Message,
    MessageType,
    Preference,
    Probe,
    R1bis,
    UnknownMessage,
    UpdateAck,
    UpdateRequest,
    find_critical,
    option_offset,
    parse_message,
)

_RECEIVED = {
    I1: Shim6Counter.I1_RX,
    R1: Shim6Counter.R1_RX,
    I2: Shim6Counter.I2_RX,
    R2: Shim6Counter.R2_RX,
    R1bis: Shim6Counter.R1BIS_RX,
    I2bis: Shim6Counter.I2BIS_RX,
    UpdateRequest: Shim6Counter.UPDATE_REQUEST_RX,
    UpdateAck: Shim6Counter.UPDATE_ACK_RX,
    Keepalive: Shim6Counter.KEEPALIVE_RX,
    Probe: Shim6Counter.PROBE_RX,
    ErrorMessage: Shim6Counter.ERROR_RX,
    UnknownMessage: Shim6Counter.UNKNOWN_RX,
}
_TYPE_AT = 2
_UNREACHABLE, _TIME_EXCEEDED, _PARAMETER_PROBLEM = 1, 3, 4
_UNRECOGNISED_NEXT_HEADER = 1
# RFC 5533 §8; code 4 (port) and Packet Too Big (type 2) are the transports' business.
_UNREACHABLE_CODES = frozenset({0, 1, 2, 3, 5, 6})

Tagged = UpdateRequest | UpdateAck | Keepalive | Probe


@dataclass(frozen=True, slots=True)
class IcmpVerdict:
    """What becomes of an ICMPv6 error: `absorb` it, or hand it up.

    With `path` the quoted packet left with these locators: the quote gets back its ULIDs and loses its Shim6
    header, and the MTU of a Packet Too Big 8 octets, before it goes up (RFC 5533 §8).
    """

    absorb: bool
    path: Path | None = None


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
        self._negotiator.on_established = self._updater.refresh
        self._flows = FlowBook(heuristic or Heuristic(), settings.max_flows)

    # Out.

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
        return {counter.mib: self._shared.counters[counter] for counter in Shim6Counter}

    def contexts(self) -> tuple[Context, ...]:
        """Return all contexts, to be looked at only."""
        return tuple(self._shared.contexts)

    def snapshot(self) -> list[dict[str, object]]:
        """Return the contexts as `mpcore show contexts -j` prints them."""
        return [describe(context) for context in self._shared.contexts]

    def find(self, ulid_local: bytes, ulid_peer: bytes, fii: int = 0) -> Context | None:
        """Return a context, to be looked at only."""
        return self._shared.contexts.by_key.get(ContextKey(ulid_local, ulid_peer, fii))

    # In: packets.

    def handle_control(self, source: bytes, destination: bytes, data: bytes, now_ns: int) -> None:
        """Process a control message: `data` from the Shim6 header to the end of the packet."""
        pair = Pair(destination, source)
        if any(len(address) != 16 or address[0] == 0xFF or not any(address) for address in pair):
            self._shared.count(Shim6Counter.BAD_ADDRESS)
            return
        try:
            message = parse_message(data)
        except WireError:
            self._shared.count(Shim6Counter.MALFORMED_RX)
            return
        self._shared.count(_RECEIVED[type(message)])
        arrival = Arrival(pair, message, data, now_ns)
        critical = find_critical(message)
        if critical is not None:
            self._shared.count(Shim6Counter.CRITICAL_OPTION)
            at = option_offset(data, critical.kind) or 0
            complain(self._shared, arrival, ErrorCode.CRITICAL_OPTION, at)
            return
        self._dispatch(arrival, message)

    def handle_payload(self, source: bytes, destination: bytes, tag: int, now_ns: int) -> Path | None:
        """Decide on a packet with a payload header whose context is unknown to the data plane, or watched.

        Returns the path whose ULIDs the packet gets, or None when it is to be dropped (RFC 5533 §12.2).
        """
        pair = Pair(destination, source)
        context = self._shared.contexts.by_tag_local.get(tag)
        state = context.state if context is not None else ContextState.IDLE
        action, _ = step(state, ContextInput.PAYLOAD)
        if context is None or action is ContextAction.SEND_R1BIS:
            self._negotiator.answer_unknown(pair, tag, now_ns)
            return None
        if action is ContextAction.DROP:
            self._shared.count(Shim6Counter.PAYLOAD_REFUSED)
            return None
        if action is not ContextAction.PROCESS:
            self._negotiator.repeat(context, action, now_ns)
        self._note_received(context, now_ns)
        return context.path()

    def handle_icmp(
        self, icmp_type: int, code: int, quoted: bytes, now_ns: int, pointer: int = 0
    ) -> IcmpVerdict:
        """Act on an ICMPv6 error about the packet `quoted`, or say that it goes up (RFC 5533 §8).

        It is never more than a hint: the current pair is probed, and left only when another one answers and
        it does not (RFC 5534 §3.3, §8).
        """
        quote = read_quote(quoted)
        context = find_quoted(self._shared, quote, now_ns) if quote is not None else None
        if quote is None or context is None:
            self._shared.count(Shim6Counter.FOREIGN_ERROR)
            return IcmpVerdict(False)
        if quote.kind == MessageType.I1 and (icmp_type, code) == (
            _PARAMETER_PROBLEM,
            _UNRECOGNISED_NEXT_HEADER,
        ):
            self._negotiator.handle_unsupported(context, now_ns)
            return IcmpVerdict(not self._shared.settings.deliver_all_icmp)
        path = context.path() if quote.tag is not None and quote.kind is None else None
        acted = _is_ours(icmp_type, code, pointer, quote) and self._take_hint(context, now_ns)
        return IcmpVerdict(acted and not self._shared.settings.deliver_all_icmp, path)

    # In: what the data plane sees.

    def note_activity(self, number: int, sent_ns: int | None, received_ns: int | None, now_ns: int) -> None:
        """Tell when payload of a context, with or without header, last left and came, if it did lately."""
        context = self._shared.contexts.by_number.get(number)
        if context is None:
            return
        if sent_ns is not None and (received_ns is None or sent_ns <= received_ns):
            self._note_sent(context, now_ns)
        if received_ns is not None:
            self._note_received(context, now_ns)
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

    def prefer_local_address(self, address: bytes, preference: Preference, now_ns: int) -> None:
        """The operator's wish for an address; BROKEN drains it (RFC 5533 §5.15.3)."""
        if self._shared.addresses.prefer(address, preference):
            self._addresses_changed(address, now_ns)

    def forget_local_address(self, address: bytes, now_ns: int) -> None:
        """The prefix of an address is valid no more: communication with it as a ULID ends (RFC 5533 §1.5)."""
        self._shared.addresses.forget(address)
        self._shared.identities.remove(address)
        for context in self._shared.contexts:
            if context.key.ulid_local == address:
                self._lifecycle.discard(context, "its local ULID is not valid any more")
        self._addresses_changed(address, now_ns)

    def suspect_local_address(self, address: bytes, now_ns: int) -> None:
        """The way out from an address may be broken: its router does not answer, its route is gone."""
        for context in self._shared.contexts:
            if context.pair.local == address:
                self._reap.suspect(context, Cause.LOCAL_FAILURE, now_ns)

    def hint(self, ulid_local: bytes, ulid_peer: bytes, now_ns: int) -> None:
        """Something unproven, such as retransmissions of TCP, says that the current pair may not work."""
        for context in self._shared.contexts.between(Pair(ulid_local, ulid_peer)):
            self._reap.suspect(context, Cause.HINT, now_ns)

    def establish(self, ulid_local: bytes, ulid_peer: bytes, now_ns: int, fii: int = 0) -> Context | None:
        """Begin a context by wish of an operator or program; None when that is not possible now."""
        return self._negotiator.establish(ContextKey(ulid_local, ulid_peer, fii), now_ns)

    def discard(self, ulid_local: bytes, ulid_peer: bytes, fii: int = 0) -> bool:
        """Forget a context by wish of an operator; False when there is none."""
        context = self.find(ulid_local, ulid_peer, fii)
        if context is None:
            return False
        self._lifecycle.discard(context, "on demand")
        return True

    # In: time.

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

    # Dispatch (RFC 5533 §12.4).

    def _dispatch(self, arrival: Arrival, message: Message) -> None:
        match message:
            case I1():
                self._negotiator.handle_i1(arrival, message)
            case R1():
                self._negotiator.handle_r1(arrival, message)
            case I2():
                self._negotiator.handle_i2(arrival, message)
            case R2():
                self._negotiator.handle_r2(arrival, message)
            case R1bis():
                self._negotiator.handle_r1bis(arrival, message)
            case I2bis():
                self._negotiator.handle_i2bis(arrival, message)
            case ErrorMessage():
                self._handle_error(arrival, message)
            case UnknownMessage():
                complain(self._shared, arrival, ErrorCode.UNKNOWN_MESSAGE, _TYPE_AT)
            case UpdateRequest() | UpdateAck() | Keepalive() | Probe():
                self._handle_tagged(arrival, message)

    def _handle_tagged(self, arrival: Arrival, message: Tagged) -> None:
        """Give a message to the context of its tag if its addresses are right, else answer by R1bis."""
        context = self._shared.contexts.by_tag_local.get(message.receiver_tag)
        event = _INPUTS[type(message)]
        state = context.state if context is not None else ContextState.IDLE
        action, _ = step(state, event)
        if context is None or action is ContextAction.SEND_R1BIS or not context.owns(*arrival.pair):
            self._negotiator.answer_unknown(arrival.pair, message.receiver_tag, arrival.now_ns)
            return
        if action is ContextAction.DROP:
            self._shared.count(Shim6Counter.UNEXPECTED)
            return
        if action is not ContextAction.PROCESS:
            self._negotiator.repeat(context, action, arrival.now_ns)
        if action in _PROCESSED:
            self._process(arrival, context, message)

    def _process(self, arrival: Arrival, context: Context, message: Tagged) -> None:
        now_ns = arrival.now_ns
        match message:
            case Keepalive():
                self._reap.keepalive_in(context, now_ns)
            case Probe():
                self._reap.probe_in(context, *arrival.addresses, message, now_ns)
            case UpdateRequest():
                self._note_received(context, now_ns)
                self._updater.handle_request(arrival, context, message)
            case UpdateAck():
                self._note_received(context, now_ns)
                self._updater.handle_ack(context, message)

    def _handle_error(self, arrival: Arrival, message: ErrorMessage) -> None:
        """Find out which of our messages the peer could not process (RFC 5533 §5.14, §12.4)."""
        quote = read_quote(message.packet)
        context = find_quoted(self._shared, quote, arrival.now_ns) if quote is not None else None
        if quote is None or context is None or arrival.pair != quote.pair:
            self._shared.count(Shim6Counter.FOREIGN_ERROR)
            return
        self._shared.events.append(PeerError(*context.key, message.code, message.pointer))
        out_of_step = message.code in (ErrorCode.GENERATION, ErrorCode.LOCATOR_COUNT)
        if out_of_step and self._shared.may_answer(context, arrival.now_ns):
            self._updater.say_all_again(context, arrival.now_ns)

    # Small things.

    def _note_received(self, context: Context, now_ns: int) -> None:
        context.active_ns = now_ns
        self._reap.payload_in(context, now_ns)

    def _note_sent(self, context: Context, now_ns: int) -> None:
        context.active_ns = now_ns
        context.used_pair(context.pair, now_ns)
        self._reap.payload_out(context, now_ns)

    def _take_hint(self, context: Context, now_ns: int) -> bool:
        """Search because of a hint; returns whether there is anything to search among."""
        if context.state is not ContextState.ESTABLISHED:
            return False
        situation = self._reap.explorer.situation(context, Cause.HINT)
        self._reap.suspect(context, Cause.HINT, now_ns)
        return len(situation.locals) * len(situation.peers) > 1

    def _addresses_changed(self, address: bytes, now_ns: int) -> None:
        usable = self._shared.addresses.usable(address)
        for group in self._reap.explorer.groups():
            if address in group.key[0]:
                self._reap.explorer.rearrange(group, now_ns)
        for context in self._shared.contexts:
            if address not in context.local:
                continue
            if not usable and context.pair.local == address:
                self._reap.suspect(context, Cause.LOCAL_FAILURE, now_ns)
            self._updater.refresh(context, now_ns)


_INPUTS = {
    UpdateRequest: ContextInput.UPDATE_REQUEST,
    UpdateAck: ContextInput.UPDATE_ACK,
    Keepalive: ContextInput.KEEPALIVE,
    Probe: ContextInput.PROBE,
}
_PROCESSED = frozenset(
    {
        ContextAction.PROCESS,
        ContextAction.SEND_I2_AND_PROCESS,
        ContextAction.SEND_I2BIS_AND_PROCESS,
    }
)


def _is_ours(icmp_type: int, code: int, pointer: int, quote: Quote) -> bool:
    """Tell whether an ICMPv6 error is about the path and not about the transport (RFC 5533 §8)."""
    if icmp_type == _UNREACHABLE:
        return code in _UNREACHABLE_CODES
    if icmp_type == _PARAMETER_PROBLEM:
        if code == _UNRECOGNISED_NEXT_HEADER and quote.tag is not None:
            return True
        return quote.start <= pointer < quote.end
    return icmp_type == _TIME_EXCEEDED
