"""Pairs on which probes pass and payload does not: firewalls drop the header of Shim6 (RFC 5533 §15.2)."""

from collections.abc import Callable

from mpcore.shim6.context import Context
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.events import PayloadBlocked
from mpcore.shim6.exploration import Exploration, Explorer
from mpcore.shim6.locators import Pair
from mpcore.shim6.policy import Cause
from mpcore.shim6.probes import is_usable
from mpcore.shim6.shared import Shared

# Searches in a row, away from pairs that answered probes and carried no payload, before that is believed.
_FUTILE_MAX = 2
_FORGET_AFTER = 10  # Send Timeouts, between two of them


class PayloadJudge:
    """Sees searches end for naught, and takes a context back to its ULIDs, where packets have no header.

    RFC 5534 §9 counts on payload and probes to share their fate, so its searches would go on for ever, from
    one pair to the next.
    """

    def __init__(
        self, shared: Shared, explorer: Explorer, move: Callable[[Context, Pair, int], None]
    ) -> None:
        self._shared = shared
        self._explorer = explorer
        self._move = move

    def note_payload(self, context: Context, now_ns: int) -> None:
        """Payload has come: a pair that was blocked and has carried some for long is blocked no more."""
        reap = context.reap
        proven_ns = reap.moved_ns + 2 * self._shared.settings.send_timeout_ns
        if reap.blocked == context.pair and not reap.futile and now_ns > proven_ns:
            reap.blocked = None

    def judge(self, context: Context, exploration: Exploration, now_ns: int) -> None:
        """The search that a context led has ended, on `context.pair`."""
        reap, left = context.reap, exploration.failed
        late_ns = reap.futile_ns + _FORGET_AFTER * self._shared.settings.send_timeout_ns
        if left == context.key.ulids or not self._is_unheard(context, exploration, now_ns):
            reap.futile = 0
            return
        if not reap.futile or now_ns > late_ns:
            reap.futile = 0
            reap.suspects.clear()
        reap.futile, reap.futile_ns = reap.futile + 1, now_ns
        reap.suspects.add(left)
        if reap.futile >= _FUTILE_MAX:
            self._give_up(context, now_ns)

    def _give_up(self, context: Context, now_ns: int) -> None:
        reap, group = context.reap, self._explorer.group_of(context)
        for pair in sorted(reap.suspects):
            record = group.record(pair)
            record.blocked = True
            record.fail(now_ns, self._shared.settings.return_after_ns)
            reap.blocked = pair
            self._shared.count(Shim6Counter.PAYLOAD_BLOCKED)
            self._shared.events.append(PayloadBlocked(*context.key, *pair))
        is_blocked = context.pair in reap.suspects
        reap.suspects.clear()
        if is_blocked and is_usable(context, context.key.ulids, self._shared.addresses):
            self._move(context, context.key.ulids, now_ns)

    def _is_unheard(self, context: Context, exploration: Exploration, now_ns: int) -> bool:
        """Tell whether payload on the pair that was left has brought no payload, or the peer missed it."""
        reap = context.reap
        if exploration.cause is Cause.SEND_TIMEOUT:
            return reap.payload_ns < exploration.taken_ns
        if exploration.cause is Cause.PEER_EXPLORES:
            patience_ns = reap.keepalive_timeout_ns * 9 // 10
            used_ns = exploration.started_ns - exploration.taken_ns
            return min(used_ns, reap.spoke_for_ns(now_ns)) >= patience_ns
        return False
