"""Updates of locators and preferences, ours to the peer and the peer's to us (RFC 5533 §10)."""

from mpcore.shim6.arrival import Arrival
from mpcore.shim6.claims import Claims, learn, own_options
from mpcore.shim6.context import Context
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.events import PeerUpdated
from mpcore.shim6.locators import Pair
from mpcore.shim6.policy import Cause
from mpcore.shim6.probes import is_usable
from mpcore.shim6.rates import RateLimit
from mpcore.shim6.reap import Reap
from mpcore.shim6.reap_states import ReapState
from mpcore.shim6.shared import Shared, TimerKind
from mpcore.shim6.states import ContextState
from mpcore.wire.shim6 import (
    KeepaliveTimeout,
    LocatorList,
    LocatorPreferences,
    Shim6Option,
    UpdateAck,
    UpdateRequest,
    find_option,
)

_HOST = 0
_DOUBLINGS_MAX = 16


class Updater:
    """Keeps what the peers know of this host's locators up to date, and takes in what they say of theirs."""

    def __init__(self, shared: Shared, reap: Reap, claims: Claims) -> None:
        self._shared = shared
        self._reap = reap
        self._claims = claims
        self._limit = RateLimit(shared.settings.updates_per_second)
        self._waiting: dict[int, None] = {}

    def refresh(self, context: Context, now_ns: int) -> None:
        """Tell the peer what has changed since it was last told, if anything has.

        A request under way is abandoned: the new one, with a nonce of its own, says all that is not
        acknowledged (RFC 5533 §10.3). While a context is not established, its exchange will tell.
        """
        claim = self._shared.identities.claim(context.key.ulid_local)
        local = context.local
        if claim.parameters is None or context.state is not ContextState.ESTABLISHED:
            return
        if claim.locators.generation != local.generation:
            local.locators = claim.locators.locators
            local.generation = claim.locators.generation
            self._reap.regroup(context, now_ns)
        keepalive = self._shared.settings.keepalive_seconds
        news = (local.generation, self._shared.addresses.preferences(local.addresses), keepalive)
        update = context.update
        if news == local.last_told:
            update.news = None
            self._stop(context)
        elif news != update.news:
            update.news = news
            update.nonce = self._shared.rng.getrandbits(32)
            update.tries = 0
            self._queue(context, now_ns)

    def begin(self, context: Context, now_ns: int) -> None:
        """A context was established, recovered or restored: tell, and heed, what is known by now.

        What an exchange says of locators means the same as in an update (RFC 5533 §5.15.3, §10.4).
        """
        self.refresh(context, now_ns)
        self.reconsider(context, now_ns)

    def hurry(self, context: Context, now_ns: int) -> None:
        """A pair was found: repeat a request at once that was lost on the one before."""
        if context.update.news is not None:
            context.update.tries = 0
            self._queue(context, now_ns)

    def say_all_again(self, context: Context, now_ns: int) -> None:
        """The peer has another list than we thought (RFC 5533 §5.14, codes 3 and 4): send it whole."""
        context.local.told_generation = None
        context.update.news = None
        self.refresh(context, now_ns)

    def handle_request(self, arrival: Arrival, context: Context, message: UpdateRequest) -> None:
        """Take in what the peer says, and acknowledge it (RFC 5533 §10.4)."""
        if context.update.was_superseded(message.request_nonce):
            # A copy that came late, or was sent again by somebody: what it says is not true any more.
            self._shared.count(Shim6Counter.REPLAYED_UPDATE)
            return
        locators = find_option(message, LocatorList)
        if locators is not None and context.peer.replaced_before(locators.generation):
            self._shared.count(Shim6Counter.OLD_GENERATION)
            return
        claim = self._claims.judge(arrival, context.key.ulid_peer, context.peer)
        if claim is None or not self._shared.may_answer(context, arrival.now_ns):
            return
        self._shared.touch(context)
        broken = {one.address for one in context.peer if one.broken}
        if learn(context, claim):
            self._reap.regroup(context, arrival.now_ns)
        for address in sorted(broken):
            locator = context.peer.get(address)
            if locator is not None and not locator.broken:
                self._reap.returner.hurry(address, arrival.now_ns)
        self._reap.set_keepalive_timeout(context, claim.keepalive_seconds)
        if context.tag_peer is not None:
            self._shared.send(arrival.pair, UpdateAck(context.tag_peer, message.request_nonce))
            self._reap.payload_out(context, arrival.now_ns)
        if not context.update.is_latest(message.request_nonce):
            context.update.answered.append(message.request_nonce)
            self._shared.events.append(PeerUpdated(*context.key, context.peer.addresses))
            self.reconsider(context, arrival.now_ns)

    def reconsider(self, context: Context, now_ns: int) -> None:
        """Look for another pair where news of locators ask for one; it is probed before it is used."""
        if context.state is not ContextState.ESTABLISHED:
            return
        explorer = self._reap.explorer
        situation = explorer.situation(context, Cause.PREFERENCE, now_ns)
        if not is_usable(context, context.pair, self._shared.addresses):
            if situation.locals and situation.peers:
                self._reap.suspect(context, Cause.WITHDRAWN, now_ns)
        elif explorer.policy.wants_another(situation, self._shared.rng):
            self._reap.suspect(context, Cause.PREFERENCE, now_ns)
        else:
            self._reap.returner.consider(context, now_ns, situation)

    def handle_ack(self, context: Context, message: UpdateAck, now_ns: int) -> None:
        """The peer has the update, if this is about the last one (RFC 5533 §10.5).

        If not, it has heeded one that was abandoned, or is of before an exchange or a restart of this host.
        Nothing tells a peer the order of requests (§10.3): only saying it all once more, later, mends that.
        """
        update = context.update
        is_last = message.request_nonce == update.nonce
        if update.news is not None and is_last:
            _, preferences, keepalive = update.news
            context.local.note_told(preferences, keepalive)
            update.news = None
            self._stop(context)
        else:
            self._shared.count(Shim6Counter.WRONG_NONCE)
            update.again = update.again or not is_last
        if update.again and update.news is None:
            context.local.doubt_told()
            wait_ns = 2 * self._shared.settings.update_timeout_ns
            self._shared.deadlines.arm((TimerKind.UPDATE, context.number), now_ns + wait_ns)
        self._shared.touch(context)

    def handle_timeout(self, context: Context, now_ns: int) -> None:
        """No acknowledgement: again, for as long as the context lives (RFC 5533 §10.2)."""
        if context.update.news is None:
            context.update.again = False
            self.refresh(context, now_ns)
        else:
            self._queue(context, now_ns)

    def pump(self, now_ns: int) -> None:
        """Send the requests that wait, as many as the host's rate allows."""
        while self._waiting:
            if self._limit.next_ns(now_ns) > now_ns:
                self._shared.deadlines.arm((TimerKind.UPDATES, _HOST), self._limit.next_ns(now_ns))
                return
            number = next(iter(self._waiting))
            del self._waiting[number]
            context = self._shared.contexts.by_number.get(number)
            if context is not None and context.update.news is not None:
                self._send(context, now_ns)

    def _queue(self, context: Context, now_ns: int) -> None:
        self._waiting.setdefault(context.number, None)
        self.pump(now_ns)

    def _stop(self, context: Context) -> None:
        self._waiting.pop(context.number, None)
        self._shared.deadlines.cancel((TimerKind.UPDATE, context.number))

    def _send(self, context: Context, now_ns: int) -> None:
        if context.state is not ContextState.ESTABLISHED or context.tag_peer is None:
            return
        pair = self._pair_for(context)
        if pair is not None:
            self._limit.take(now_ns)
            message = UpdateRequest(context.tag_peer, context.update.nonce, self._options(context))
            if self._shared.send(pair, message):
                # Until it is acknowledged the peer may have what it had, or this.
                context.local.doubt_told()
                self._shared.touch(context)
                context.used_pair(pair, now_ns)
                self._reap.payload_out(context, now_ns)
        doublings = min(context.update.tries, _DOUBLINGS_MAX)
        settings = self._shared.settings
        wait_ns = min(settings.update_timeout_ns << doublings, settings.update_timeout_max_ns)
        if pair is not None:
            context.update.tries += 1
        self._shared.deadlines.arm((TimerKind.UPDATE, context.number), now_ns + self._shared.around(wait_ns))

    def _pair_for(self, context: Context) -> Pair | None:
        """Return what a request is sent on, or None to wait for the exploration under way.

        From an address that the peer knows: it answers others by R1bis. When none of those is left, that is
        what is wanted, because the recovery that follows tells it the new ones (RFC 5533 §7.18).
        """
        usable = self._shared.addresses.usable
        known = [address for address in context.local.sources if usable(address)]
        if context.reap.state is not ReapState.OPERATIONAL and known:
            return None
        if context.pair.local in known:
            return context.pair
        sources = known or [address for address in context.local.addresses if usable(address)]
        return Pair(sources[0], context.pair.peer) if sources else None

    def _options(self, context: Context) -> tuple[Shim6Option, ...]:
        """Return list, preferences and Keepalive Timeout; without what the peer has."""
        local = context.local
        options: list[Shim6Option] = []
        preferences = self._shared.addresses.preferences(local.addresses)
        if local.told_generation != local.generation:
            options = own_options(self._shared, context, None)
        elif local.told != preferences:
            options.append(LocatorPreferences(local.generation, preferences))
        # Said although it may be the default: without the option the peer keeps what it has.
        keepalive = self._shared.settings.keepalive_seconds
        if local.told_keepalive != keepalive:
            options.append(KeepaliveTimeout(keepalive))
        return tuple(options)
