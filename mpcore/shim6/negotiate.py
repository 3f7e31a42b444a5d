"""Establishment and recovery of contexts: I1, R1, I2, R2, R1bis, I2bis (RFC 5533 §7)."""

from collections.abc import Callable

from mpcore.shim6.arrival import Arrival
from mpcore.shim6.claims import Claims, learn
from mpcore.shim6.context import Context, ContextKey, Update
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.events import ContextEstablished
from mpcore.shim6.exchange import ExchangeSender
from mpcore.shim6.lifecycle import Lifecycle
from mpcore.shim6.locators import Pair
from mpcore.shim6.policy import is_routable
from mpcore.shim6.reap import Reap
from mpcore.shim6.responder import Responder, equal
from mpcore.shim6.shared import Shared, TimerKind
from mpcore.shim6.states import HALF_OPEN, HAS_PEER_TAG, HELD, ContextAction, ContextInput, ContextState, step
from mpcore.wire.shim6 import (
    I1,
    I2,
    R1,
    R2,
    ForkedInstance,
    I2bis,
    R1bis,
    ResponderValidator,
    UlidPair,
    find_option,
)


class Negotiator:
    """Answers the messages of exchanges and begins them; the table of `states` says what follows what."""

    def __init__(self, shared: Shared, reap: Reap, claims: Claims, lifecycle: Lifecycle) -> None:
        self._shared = shared
        self._reap = reap
        self._claims = claims
        self._lifecycle = lifecycle
        self.on_established: Callable[[Context, int], None] = lambda context, now_ns: None
        self._responder = Responder(shared.rng, shared.settings.validator_lifetime_ns)
        self._sender = ExchangeSender(shared, reap, self._responder)

    # What this host wants.

    def establish(self, key: ContextKey, now_ns: int, pair: Pair | None = None) -> Context | None:
        """Begin an exchange for a context, by default between its ULIDs (RFC 5533 §7.7).

        Returns the context, new or not, or None when there can be none, there is no room, or the peer is left
        alone after an earlier failure (RFC 5533 §7.8).
        """
        if not self._concerns_us(key.ulid_local, key.ulid_peer):
            return None
        context = self._shared.contexts.by_key.get(key)
        if context is not None:
            return None if context.state in HELD else context
        if self._lifecycle.is_held(key.ulid_peer, now_ns):
            return None
        context = self._lifecycle.create(key, pair or key.ulids, now_ns)
        if context is not None:
            _, context.state = step(ContextState.IDLE, ContextInput.START)
            self._sender.i1(context, now_ns)
        return context

    # What peers send.

    def handle_i1(self, arrival: Arrival, message: I1) -> None:
        """Answer an I1, mostly without keeping anything of it (RFC 5533 §7.9)."""
        key = self._key_of(arrival)
        if key is None:
            return
        context = self._shared.contexts.by_key.get(key)
        state = context.state if context is not None else ContextState.IDLE
        event = ContextInput.I1
        if context is not None and state is ContextState.ESTABLISHED:
            known = arrival.pair.peer in context.peer and context.tag_peer == message.initiator_tag
            event = ContextInput.I1_REPEATED if known else ContextInput.I1
        action, _ = step(state, event)
        if action is ContextAction.SEND_R1:
            if not self._refuses(context):
                self._sender.r1(arrival, message, key)
        elif context is not None and self._shared.may_answer(context, arrival.now_ns):
            context.handshake.heard = True
            self._sender.r2(context, arrival, message.initiator_nonce)

    def handle_r1(self, arrival: Arrival, message: R1) -> None:
        """Go on with I2 (RFC 5533 §7.11)."""
        context = self._shared.contexts.with_nonce(message.initiator_nonce)
        if context is None:
            self._shared.count(Shim6Counter.NO_CONTEXT)
            return
        handshake = context.handshake
        action, state = step(context.state, ContextInput.R1)
        validator = find_option(message, ResponderValidator)
        if action is not ContextAction.SEND_I2:
            self._shared.count(Shim6Counter.UNEXPECTED)
        elif arrival.pair != handshake.pair and not context.owns(*arrival.pair):
            self._shared.count(Shim6Counter.STRANGE_LOCATOR)
        elif validator is None:
            self._shared.count(Shim6Counter.NO_VALIDATOR)
        else:
            handshake.pair = arrival.pair
            handshake.responder_nonce = message.responder_nonce
            handshake.validator = validator.validator
            handshake.tries = 0
            context.state = state
            self._shared.publish(context)
            self._sender.i2(context, arrival.now_ns)

    def handle_i2(self, arrival: Arrival, message: I2) -> None:
        """Check that the I2 repeats an R1 of ours, and accept it (RFC 5533 §7.13)."""
        key = self._key_of(arrival)
        if key is None:
            return
        now_ns, nonce, ulids = arrival.now_ns, message.responder_nonce, (key.ulid_peer, key.ulid_local)
        validator = self._validator_of(arrival, nonce)
        if validator is None:
            return
        expected = self._responder.for_r1(
            nonce, message.initiator_tag, ulids, arrival.addresses, key.fii, now_ns
        )
        if not equal(validator, expected):
            self._shared.count(Shim6Counter.WRONG_VALIDATOR)
            return
        self._accept(arrival, key, message, ContextInput.I2)

    def handle_i2bis(self, arrival: Arrival, message: I2bis) -> None:
        """Check that the I2bis repeats an R1bis of ours, and accept it (RFC 5533 §7.20)."""
        key = self._key_of(arrival)
        if key is None:
            return
        validator = self._validator_of(arrival, message.responder_nonce)
        if validator is None:
            return
        expected = self._responder.for_r1bis(
            message.responder_nonce, message.packet_tag, arrival.addresses, arrival.now_ns
        )
        if not equal(validator, expected):
            self._shared.count(Shim6Counter.WRONG_VALIDATOR)
            return
        self._accept(arrival, key, message, ContextInput.I2BIS)

    def handle_r2(self, arrival: Arrival, message: R2) -> None:
        """Complete an exchange (RFC 5533 §7.16)."""
        context = self._shared.contexts.with_nonce(message.initiator_nonce)
        if context is None:
            self._shared.count(Shim6Counter.NO_CONTEXT)
            return
        action, state = step(context.state, ContextInput.R2)
        if action is not ContextAction.LEARN:
            self._shared.count(Shim6Counter.UNEXPECTED)
            return
        if arrival.pair != context.handshake.pair:
            self._shared.count(Shim6Counter.STRANGE_LOCATOR)
            return
        claim = self._claims.judge(arrival, context.key.ulid_peer, context.peer)
        if claim is None:
            return
        learn(context, claim)
        context.peer.begin_history()
        self._reap.begin_keepalive_timeout(context, claim.keepalive_seconds)
        self._shared.contexts.set_tag_peer(context, message.responder_tag)
        self._establish(context, state, arrival, initiator=True)

    def handle_r1bis(self, arrival: Arrival, message: R1bis) -> None:
        """The peer has no context for a packet of ours: make it again (RFC 5533 §7.18)."""
        found = self._shared.contexts.with_tag_peer(message.packet_tag)
        lifetime_ns = self._shared.settings.recent_pair_ns
        found = tuple(one for one in found if one.expects(arrival.pair, arrival.now_ns, lifetime_ns))
        validator = find_option(message, ResponderValidator)
        if not found:
            self._shared.count(Shim6Counter.NO_CONTEXT)
            return
        context = found[0]
        action, state = step(context.state, ContextInput.R1BIS)
        if action is not ContextAction.SEND_I2BIS:
            self._shared.count(Shim6Counter.UNEXPECTED)
        elif validator is None:
            self._shared.count(Shim6Counter.NO_VALIDATOR)
        else:
            self._begin(context, arrival.pair, arrival.now_ns)
            context.handshake.responder_nonce = message.responder_nonce
            context.handshake.validator = validator.validator
            context.handshake.packet_tag = message.packet_tag
            context.handshake.recovering = True
            context.state = state
            self._shared.publish(context)
            self._sender.i2bis(context, arrival.now_ns)

    def answer_unknown(self, pair: Pair, tag: int, now_ns: int) -> None:
        """Answer a packet whose tag has no context here, without keeping anything (RFC 5533 §7.17)."""
        self._shared.count(Shim6Counter.UNKNOWN_TAG)
        self._sender.r1bis(pair, tag, now_ns)

    def repeat(self, context: Context, action: ContextAction, now_ns: int) -> None:
        """Send I2 or I2bis once more because the peer shows that it is established (RFC 5533 §12.2)."""
        if not self._shared.may_answer(context, now_ns):
            return
        if action in (ContextAction.SEND_I2, ContextAction.SEND_I2_AND_PROCESS):
            self._sender.i2(context, now_ns, arm=False)
        else:
            self._sender.i2bis(context, now_ns, arm=False)

    def handle_unsupported(self, context: Context, now_ns: int) -> None:
        """A router or the peer says that it does not know Shim6 (RFC 5533 §7.8)."""
        action, state = step(context.state, ContextInput.UNSUPPORTED)
        if action is ContextAction.HOLD:
            self._lifecycle.hold(context, state, now_ns)

    def handle_timeout(self, context: Context, now_ns: int) -> None:
        """The answer to the last message of an exchange is late."""
        settings, handshake = self._shared.settings, context.handshake
        retries_max = {
            ContextState.I1_SENT: settings.i1_retries_max,
            ContextState.I2_SENT: settings.i2_retries_max,
            ContextState.I2BIS_SENT: settings.i2bis_retries_max,
        }.get(context.state)
        if retries_max is None:
            return
        late = handshake.tries > retries_max
        action, state = step(context.state, ContextInput.EXHAUSTED if late else ContextInput.TIMEOUT)
        if now_ns - handshake.started_ns > settings.half_open_max_ns or action is ContextAction.HOLD:
            self._lifecycle.hold(context, ContextState.E_FAILED, now_ns)
        elif action is ContextAction.SEND_I2:
            self._sender.i2(context, now_ns)
        elif action is ContextAction.SEND_I2BIS:
            self._sender.i2bis(context, now_ns)
        elif state is context.state:
            self._sender.i1(context, now_ns)
        else:
            self._fall_back(context, state, now_ns)

    # Steps.

    def _key_of(self, arrival: Arrival) -> ContextKey | None:
        """Return what context an initiator means, if it can be one of this host's (RFC 5533 §12.4)."""
        ulids = find_option(arrival.message, UlidPair)
        instance = find_option(arrival.message, ForkedInstance)
        # The sender of the option is the peer.
        local, peer = (ulids.receiver, ulids.sender) if ulids is not None else arrival.pair
        if not self._concerns_us(local, peer):
            self._shared.count(Shim6Counter.NOT_OUR_ULID)
            return None
        return ContextKey(local, peer, instance.identifier if instance is not None else 0)

    def _concerns_us(self, ulid_local: bytes, ulid_peer: bytes) -> bool:
        """Tell whether there can be a context between two ULIDs: one of ours and one of another host."""
        addresses = self._shared.addresses
        return ulid_local in addresses and ulid_peer not in addresses and is_routable(ulid_peer)

    def _refuses(self, context: Context | None) -> bool:
        """Tell whether a peer may not begin a context here; one that this host began is its to recover."""
        if self._shared.settings.respond or (context is not None and context.state not in HELD):
            return False
        self._shared.count(Shim6Counter.UNEXPECTED)
        return True

    def _validator_of(self, arrival: Arrival, nonce: int) -> bytes | None:
        """Return the validator of an I2 or I2bis; what is cheap to check is checked first."""
        option = find_option(arrival.message, ResponderValidator)
        if option is None:
            self._shared.count(Shim6Counter.NO_VALIDATOR)
            return None
        if not self._responder.is_recent(nonce, arrival.now_ns):
            self._shared.count(Shim6Counter.STALE_NONCE)
            return None
        return option.validator

    def _accept(self, arrival: Arrival, key: ContextKey, message: I2 | I2bis, event: ContextInput) -> None:
        """Make or change the context of an initiator whose validator is right, and answer by R2."""
        context = self._shared.contexts.by_key.get(key)
        if context is not None and context.state in HELD:
            context = None  # as in IDLE; its record goes when the new one comes
        if self._refuses(context):
            return
        known = context.peer if context is not None else None
        claim = self._claims.judge(arrival, key.ulid_peer, known)
        if claim is None:
            return
        listed = claim.locators.locators if claim.locators is not None else ()
        source = arrival.pair.peer
        if (
            context is not None
            and source not in context.peer
            and all(source != one.address for one in listed)
        ):
            self._shared.count(Shim6Counter.STRANGE_LOCATOR)
            return
        if context is None:
            avoid = message.packet_tag if isinstance(message, I2bis) else None
            context = self._lifecycle.create(key, arrival.pair, arrival.now_ns, avoid=avoid)
            if context is None:
                return
        if not self._shared.may_answer(context, arrival.now_ns):
            return
        _, state = step(context.state, event)
        generation = claim.locators.generation if claim.locators is not None else context.peer.generation
        # RFC 5533 §7.14: it was answered before. A late copy must not undo an update either.
        is_replay = (
            context.state is ContextState.ESTABLISHED
            and context.tag_peer == message.initiator_tag
            and (context.peer.generation == generation or context.peer.replaced_before(generation))
        )
        if not is_replay:
            learn(context, claim)
            context.peer.begin_history()
            self._reap.begin_keepalive_timeout(context, claim.keepalive_seconds)
            self._shared.contexts.set_tag_peer(context, message.initiator_tag)
        self._sender.r2(context, arrival, message.initiator_nonce)
        if is_replay:
            return
        if state is ContextState.ESTABLISHED:
            self._establish(context, state, arrival, initiator=False)
        else:
            self._resolve_confusion(context, arrival.now_ns)
            self._shared.publish(context)

    def _establish(self, context: Context, state: ContextState, arrival: Arrival, *, initiator: bool) -> None:
        """Enter ESTABLISHED, or begin anew in it: the exchange has just worked on the pair of `arrival`."""
        now_ns, recovered = arrival.now_ns, context.handshake.recovering
        context.state = state
        context.initiator = initiator
        context.active_ns = now_ns
        context.handshake.recovering = False
        context.reap.blocked = None
        context.update = Update()
        self._shared.deadlines.cancel((TimerKind.HANDSHAKE, context.number))
        self._shared.deadlines.cancel((TimerKind.UPDATE, context.number))
        self._resolve_confusion(context, now_ns)
        context.located = context.owns(*arrival.pair)
        self._reap.detach(context)
        self._reap.attach(context, arrival.pair, now_ns)
        self._shared.touch(context)
        self._shared.count(Shim6Counter.RECOVERED if recovered else Shim6Counter.ESTABLISHED)
        self._shared.events.append(ContextEstablished(*context.key, initiator, recovered))
        self._lifecycle.note_established(context)
        self._reap.payload_in(context, now_ns)
        if not initiator:
            self._reap.payload_out(context, now_ns)  # R2
        self.on_established(context, now_ns)

    def _resolve_confusion(self, context: Context, now_ns: int) -> None:
        """Give up other contexts that the peer has lost: it uses their tag for this one (RFC 5533 §7.15)."""
        if context.tag_peer is None:
            return
        for other in self._shared.contexts.with_tag_peer(context.tag_peer):
            common = any(address in context.peer for address in other.peer.addresses)
            if other is context or other.state not in HAS_PEER_TAG or not common:
                continue
            self._shared.count(Shim6Counter.CONFUSED)
            if now_ns - other.active_ns < self._shared.settings.quiescence_ns:
                self._begin(other, other.pair, now_ns)
                self._fall_back(other, ContextState.I1_SENT, now_ns)
            else:
                self._lifecycle.discard(other, "its tag belongs to another context of the peer")

    def _begin(self, context: Context, pair: Pair, now_ns: int) -> None:
        """Prepare an exchange on `pair`, with a nonce of its own."""
        context.handshake.pair = pair
        context.handshake.tries = 0
        if context.state not in HALF_OPEN:
            context.handshake.started_ns = now_ns
        self._shared.contexts.set_nonce(context, self._lifecycle.new_nonce())

    def _fall_back(self, context: Context, state: ContextState, now_ns: int) -> None:
        """Go back to I1; what was known of the peer's tag is of no use any more (RFC 5533 §7.12, §7.19)."""
        context.state = state
        context.handshake.tries = 0
        context.handshake.recovering = False
        self._shared.contexts.set_tag_peer(context, None)
        self._lifecycle.suspend(context)
        self._sender.i1(context, now_ns)
