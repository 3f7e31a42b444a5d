"""What keeps Shim6 from passing, in part or in all, and payload on its way all the same (RFC 5533 §15.2)."""

from collections.abc import Callable

from mpcore.shim6.context import Context
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.events import ContextFellBack, ControlBlocked, PayloadBlocked
from mpcore.shim6.exploration import Exploration, Explorer, PathGroup, searches
from mpcore.shim6.locators import Pair
from mpcore.shim6.policy import Cause
from mpcore.shim6.probes import is_usable
from mpcore.shim6.shared import Shared

# Searches in a row, away from pairs that answered probes and carried no payload, before that is believed.
_FUTILE_MAX = 2
_FORGET_AFTER = 10  # Send Timeouts, between two of them
# Longest gaps between probes, before silence of all pairs means that the ULIDs may do as well as any.
_SILENT_AFTER = 3


class PayloadJudge:
    """Sees searches come to nothing, and takes a context back to its ULIDs, where packets have no header.

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

    def judge_round(self, group: PathGroup, now_ns: int) -> None:
        """Every pair of the search under way was probed once more, and none answered.

        Where the peer's host says that it knows Shim6 no more, only packets without header can reach it.
        Where it does not and payload came, Shim6's messages alone may not pass: payload stays where it is.
        The search goes on either way.
        """
        exploration = group.exploration
        if exploration is None or not exploration.order:
            return
        patience_ns = _SILENT_AFTER * self._shared.settings.max_probe_timeout_ns
        if exploration.refused or now_ns - exploration.started_ns >= patience_ns:
            for context in group.members.values():
                if searches(context) and not _is_there(context, exploration):
                    self._fall_back(context, exploration, now_ns)
        leader = exploration.leader
        came = leader.reap.payload_ns >= exploration.started_ns
        if came and not exploration.refused and not exploration.unanswered:
            exploration.unanswered = leader.reap.unanswered = True
            self._shared.count(Shim6Counter.CONTROL_BLOCKED)
            self._shared.events.append(ControlBlocked(*leader.key))

    def _fall_back(self, context: Context, exploration: Exploration, now_ns: int) -> None:
        """Take a context back to its ULIDs, whatever its peer said of them before."""
        context.reap.refused, ulids = exploration.refused, context.key.ulids
        if context.pair == ulids or not self._shared.addresses.usable(ulids.local):
            return
        self._shared.count(Shim6Counter.FELL_BACK)
        self._shared.events.append(ContextFellBack(*context.key, exploration.refused))
        self._move(context, ulids, now_ns)

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
            # Messages of Shim6 want answers too: a context that says nothing else learns nothing of payload.
            return reap.payload_ns < exploration.taken_ns <= reap.said_ns
        if exploration.cause is Cause.PEER_EXPLORES:
            patience_ns = reap.keepalive_timeout_ns * 9 // 10
            used_ns = exploration.started_ns - exploration.taken_ns
            # A peer that speaks and heard nothing on the pair from the beginning would have explored by then.
            heard = used_ns > 2 * reap.keepalive_timeout_ns
            return not heard and min(used_ns, reap.spoke_for_ns(now_ns)) >= patience_ns
        return False


def _is_there(context: Context, exploration: Exploration) -> bool:
    """Tell whether something came from the peer since a search began.

    If its host says that it knows no Shim6, only Shim6's messages count: it may send payload as without.
    """
    reap = context.reap
    heard_ns = reap.message_ns if exploration.refused else max(reap.message_ns, reap.heard_ns)
    return heard_ns >= exploration.started_ns
