"""The messages of an exchange as this host sends them (RFC 5533 §7.7, §7.10, §7.11, §7.14, §7.17, §7.18)."""

from mpcore.shim6.arrival import Arrival
from mpcore.shim6.claims import note_said, own_options
from mpcore.shim6.context import Context, ContextKey
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.locators import Pair
from mpcore.shim6.rates import RateLimit
from mpcore.shim6.reap import Reap
from mpcore.shim6.responder import Responder
from mpcore.shim6.shared import Shared, TimerKind
from mpcore.wire.shim6 import (
    I1,
    I2,
    R1,
    R2,
    ForkedInstance,
    I2bis,
    R1bis,
    ResponderValidator,
    Shim6Option,
    UlidPair,
)


class ExchangeSender:
    """Sends the messages and starts their retransmission timers; R1 and R1bis leave no trace here."""

    def __init__(self, shared: Shared, reap: Reap, responder: Responder) -> None:
        self._shared = shared
        self._reap = reap
        self._responder = responder
        self._r1_limit = RateLimit(shared.settings.r1_per_second)
        self._r1bis_limit = RateLimit(shared.settings.r1bis_per_second)

    def i1(self, context: Context, now_ns: int) -> None:
        """Ask for an exchange (RFC 5533 §7.7)."""
        nonce = context.handshake.initiator_nonce
        message = I1(context.tag_local, nonce, tuple(self._identification(context)))
        self._shared.send(context.handshake.pair, message)
        self._arm(context, self._shared.settings.i1_timeout_ns, now_ns)

    def r1(self, arrival: Arrival, message: I1, key: ContextKey) -> None:
        """Answer an I1 (RFC 5533 §7.10)."""
        now_ns = arrival.now_ns
        if not self._r1_limit.take(now_ns):
            self._shared.count(Shim6Counter.LIMIT_R1)
            return
        nonce = self._responder.nonce(now_ns)
        ulids = (key.ulid_peer, key.ulid_local)
        validator = self._responder.for_r1(
            nonce, message.initiator_tag, ulids, arrival.addresses, key.fii, now_ns
        )
        self._shared.send(arrival.pair, R1(message.initiator_nonce, nonce, (ResponderValidator(validator),)))

    def r1bis(self, pair: Pair, tag: int, now_ns: int) -> None:
        """Answer a packet whose tag has no context here (RFC 5533 §7.17)."""
        if not self._r1bis_limit.take(now_ns):
            self._shared.count(Shim6Counter.LIMIT_R1BIS)
            return
        nonce = self._responder.nonce(now_ns)
        validator = self._responder.for_r1bis(nonce, tag, (pair.peer, pair.local), now_ns)
        self._shared.send(pair, R1bis(tag, nonce, (ResponderValidator(validator),)))

    def i2(self, context: Context, now_ns: int, *, arm: bool = True) -> None:
        """Repeat what R1 gave, and tell all there is to know of this host (RFC 5533 §7.11)."""
        handshake = context.handshake
        note_said(self._shared, context)
        options = self._proof(context)
        message = I2(context.tag_local, handshake.initiator_nonce, handshake.responder_nonce, options)
        self._shared.send(handshake.pair, message)
        if arm:
            self._arm(context, self._shared.settings.i2_timeout_ns, now_ns)

    def i2bis(self, context: Context, now_ns: int, *, arm: bool = True) -> None:
        """Repeat what R1bis gave, and tell all there is to know of this host (RFC 5533 §7.18)."""
        handshake = context.handshake
        note_said(self._shared, context)
        message = I2bis(
            context.tag_local,
            handshake.initiator_nonce,
            handshake.responder_nonce,
            handshake.packet_tag,
            self._proof(context),
        )
        self._shared.send(handshake.pair, message)
        if arm:
            self._arm(context, self._shared.settings.i2bis_timeout_ns, now_ns)

    def r2(self, context: Context, arrival: Arrival, nonce: int) -> None:
        """Answer I2, I2bis or a crossing I1; never repeated by itself (RFC 5533 §7.14)."""
        note_said(self._shared, context)
        options = own_options(self._shared, context, self._reap.keepalive_seconds)
        self._shared.send(arrival.pair, R2(context.tag_local, nonce, tuple(options)))

    def _identification(self, context: Context) -> list[Shim6Option]:
        """Return the options that name the context where the addresses do not (RFC 5533 §7.7)."""
        options: list[Shim6Option] = []
        if context.handshake.pair != context.key.ulids:
            options.append(UlidPair(*context.key.ulids))
        if context.key.fii:
            options.append(ForkedInstance(context.key.fii))
        return options

    def _proof(self, context: Context) -> tuple[Shim6Option, ...]:
        return (
            ResponderValidator(context.handshake.validator),
            *self._identification(context),
            *own_options(self._shared, context, self._reap.keepalive_seconds),
        )

    def _arm(self, context: Context, timeout_ns: int, now_ns: int) -> None:
        """Start the retransmission timer; the jitter comes after the doubling (RFC 5533 §14)."""
        wait_ns = self._shared.around(timeout_ns << context.handshake.tries)
        context.handshake.tries += 1
        self._shared.deadlines.arm((TimerKind.HANDSHAKE, context.number), now_ns + wait_ns)
