"""How contexts come, are held back after a failure, and go (RFC 5533 §7.8, §9)."""

from mpcore.errors import CapacityError
from mpcore.shim6.context import Context, ContextKey, Handshake
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.events import ContextFailed, ContextRemoved
from mpcore.shim6.locators import LocalLocators, Pair, PeerLocators
from mpcore.shim6.reap import Reap
from mpcore.shim6.shared import Shared, TimerKind
from mpcore.shim6.states import HALF_OPEN, HELD, ContextState

_NOT_ITS_OWN = (TimerKind.EXPLORATION, TimerKind.RETURN, TimerKind.PROBES, TimerKind.UPDATES)
_PER_CONTEXT = tuple(kind for kind in TimerKind if kind not in _NOT_ITS_OWN)
_NO_ANSWER = "no answer: the peer does not know Shim6, or something on the way drops protocol 140"
_ONE_WAY = "the peer is heard but does not answer: protocol 140 seems to pass in one direction only"
_NO_SUPPORT = "the peer does not know Shim6"
_NO_FORKS = "no answer: the peer may not know forked contexts"


class Lifecycle:
    """Makes, holds and discards contexts, within the limits."""

    def __init__(self, shared: Shared, reap: Reap) -> None:
        self._shared = shared
        self._reap = reap
        self._held_until_ns: dict[bytes, int] = {}

    def create(self, key: ContextKey, pair: Pair, now_ns: int, *, avoid: int | None = None) -> Context | None:
        """Return a new context in IDLE, or None when there is no room. A held one of the same key goes."""
        shared = self._shared
        held = shared.contexts.by_key.get(key)
        if held is not None:
            self.discard(held, "the peer began an exchange")
        if (
            len(shared.contexts) >= shared.settings.max_contexts
            or shared.contexts.of_prefix(key.ulid_peer) >= shared.settings.max_contexts_per_prefix
        ):
            shared.count(Shim6Counter.LIMIT_CONTEXTS)
            return None
        try:
            tag = shared.tags.draw(avoid)
        except CapacityError:
            shared.count(Shim6Counter.LIMIT_CONTEXTS)
            return None
        claim = shared.identities.claim(key.ulid_local)
        context = Context(
            number=shared.contexts.next_number(),
            key=key,
            state=ContextState.IDLE,
            tag_local=tag,
            pair=pair,
            local=LocalLocators(
                claim.locators.locators, claim.locators.generation, frozenset((key.ulid_local, pair.local))
            ),
            peer=PeerLocators.of_ulid(key.ulid_peer),
            handshake=Handshake(pair, self.new_nonce(), now_ns),
            created_ns=now_ns,
            active_ns=now_ns,
        )
        shared.contexts.add(context)
        self._arm_teardown(context)
        return context

    def new_nonce(self) -> int:
        """Return an initiator nonce that no exchange has."""
        while True:
            nonce = self._shared.rng.getrandbits(32)
            if not self._shared.contexts.has_nonce(nonce):
                return nonce

    def is_held(self, ulid_peer: bytes, now_ns: int) -> bool:
        """Tell whether a peer is left alone after a failure."""
        until_ns = self._held_until_ns.get(ulid_peer)
        if until_ns is not None and until_ns <= now_ns:
            del self._held_until_ns[ulid_peer]
            return False
        return until_ns is not None

    def hold(self, context: Context, state: ContextState, now_ns: int) -> None:
        """Remember that an exchange failed, in E-FAILED or NO-SUPPORT, and do not try again for a while."""
        settings = self._shared.settings
        unsupported = state is ContextState.NO_SUPPORT
        time_ns = settings.icmp_holddown_ns if unsupported else settings.no_r1_holddown_ns
        self.suspend(context)
        self._cancel(context)
        self._shared.contexts.set_tag_peer(context, None)
        context.state = state
        peer, until_ns = context.key.ulid_peer, now_ns + time_ns
        context.handshake.held_until_ns = until_ns
        if not context.key.fii:
            # Another ULID of this host may have found out more, and for longer.
            self._held_until_ns[peer] = max(until_ns, self._held_until_ns.get(peer, 0))
        self._shared.deadlines.arm((TimerKind.HOLDDOWN, context.number), now_ns + time_ns)
        self._shared.count(Shim6Counter.FAILED)
        reason = _NO_SUPPORT if unsupported else _ONE_WAY if context.handshake.heard else _NO_ANSWER
        if context.key.fii and reason is _NO_ANSWER:
            reason = _NO_FORKS
        context.handshake.failure = reason
        self._shared.events.append(ContextFailed(*context.key, reason))

    def handle_holddown(self, context: Context) -> None:
        """The time to leave a peer alone is over."""
        if context.state in HELD:
            self.discard(context, "hold-down is over")

    def handle_teardown(self, context: Context, now_ns: int) -> None:
        """Discard a context that has been quiet for long and that no socket may use (RFC 5533 §9)."""
        if context.state in HELD:
            return
        if context.state in HALF_OPEN:
            context.active_ns = now_ns  # its exchange has an end of its own
        # A packet without header may belong to a fork: it counts for all contexts of its ULIDs.
        for other in self._shared.contexts.between(context.key.ulids):
            if not other.key.fii:
                context.active_ns = max(context.active_ns, other.active_ns)
        if now_ns - context.active_ns < self._shared.settings.quiescence_ns:
            self._arm_teardown(context)
        elif self._shared.in_use(context):
            context.active_ns = now_ns
            self._arm_teardown(context)
        else:
            self.discard(context, "quiet")

    def note_established(self, context: Context) -> None:
        """A context can be used: whatever held its peer back is over."""
        self._held_until_ns.pop(context.key.ulid_peer, None)
        self._arm_teardown(context)

    def suspend(self, context: Context) -> None:
        """Take a context out of the data plane and out of REAP; its exchange may go on."""
        self._reap.detach(context)
        self._shared.deadlines.cancel((TimerKind.UPDATE, context.number))
        self._shared.withdraw(context)

    def discard(self, context: Context, reason: str) -> None:
        """Forget a context; the peer is not told (RFC 5533 §9)."""
        usable = context.installed is not None
        peer = context.key.ulid_peer
        if context.state in HELD and self._held_until_ns.get(peer) == context.handshake.held_until_ns:
            del self._held_until_ns[peer]
        self.suspend(context)
        self._cancel(context)
        self._shared.contexts.remove(context)
        self._shared.tags.release(context.tag_local)
        if usable:
            self._shared.count(Shim6Counter.DISCARDED)
            self._shared.events.append(ContextRemoved(*context.key, reason))

    def _arm_teardown(self, context: Context) -> None:
        due_ns = context.active_ns + self._shared.settings.quiescence_ns
        self._shared.deadlines.arm((TimerKind.TEARDOWN, context.number), due_ns)

    def _cancel(self, context: Context) -> None:
        for kind in _PER_CONTEXT:
            self._shared.deadlines.cancel((kind, context.number))
