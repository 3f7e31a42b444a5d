"""Going back to a pair that is liked more, once it works again.

RFC 5534 explores when something fails and is silent on what comes after: a conversation would stay on its
backup for as long as it lives. The ULIDs count as liked more than other locators, because they need no header
and leave all packets to the kernel.
"""

from collections.abc import Callable

from mpcore.shim6.context import Context
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.exploration import Explorer, PathGroup
from mpcore.shim6.locators import Pair
from mpcore.shim6.policy import Cause, Situation
from mpcore.shim6.reap_states import ReapState
from mpcore.shim6.shared import Shared, TimerKind
from mpcore.shim6.states import ContextState

Suspect = Callable[[Context, Cause, int], bool]


class Returner:
    """Lets one context of a group search now and then; the others follow what it finds.

    The search is the one that preferences start: the liked pairs are probed first, payload stays where it is
    until one of them answers. A pair rests after each failure, longer each time.
    """

    def __init__(self, shared: Shared, explorer: Explorer, suspect: Suspect) -> None:
        self._shared = shared
        self._explorer = explorer
        self._suspect = suspect

    def consider(self, context: Context, now_ns: int, situation: Situation | None = None) -> None:
        """A context settled on a pair: see later whether a better one works.

        `situation` is that of a search for what is liked more, where the caller has it.
        """
        if not self._shared.settings.return_after_ns or context.state is not ContextState.ESTABLISHED:
            return
        if situation is None or situation.resting:
            situation = self._explorer.situation(context, Cause.PREFERENCE, _FOREVER_NS)
        if self._is_better_off(situation):
            self._arm(self._explorer.group_of(context), now_ns)

    def hurry(self, address: bytes, now_ns: int) -> None:
        """A locator of either side works again: what its pairs did before does not count."""
        settings = self._shared.settings
        for group in self._explorer.groups():
            if address not in group.key.local and address not in group.key.peer:
                continue
            for pair, record in group.records.items():
                if address in pair:
                    record.rests_until_ns = min(record.rests_until_ns, now_ns)
            if settings.return_after_ns:
                self._shared.deadlines.arm((TimerKind.RETURN, group.number), now_ns + settings.settle_ns)

    def hurry_pair(self, context: Context, pair: Pair, now_ns: int) -> None:
        """The peer went to `pair`, so it works in its direction: see whether it does in this one too."""
        group, settings = self._explorer.group_of(context), self._shared.settings
        record = group.record(pair)
        if settings.return_after_ns and not record.blocked:
            record.rests_until_ns = min(record.rests_until_ns, now_ns)
            self._shared.deadlines.arm((TimerKind.RETURN, group.number), now_ns + settings.settle_ns)

    def handle_timeout(self, number: int, now_ns: int) -> None:
        """See whether a context of a group would be better off on another pair, and let it search."""
        group = self._explorer.group_numbered(number)
        if group is None:
            return
        if not any(self._would_move(one, now_ns, later=True) for one in group.members.values()):
            return
        self._arm(group, now_ns)
        ready = next((one for one in group.members.values() if self._may_search(group, one, now_ns)), None)
        if ready is not None:
            self._shared.count(Shim6Counter.RETURN)
            self._suspect(ready, Cause.PREFERENCE, now_ns)

    def _may_search(self, group: PathGroup, context: Context, now_ns: int) -> bool:
        """Tell whether a context is in use, content, and has a better pair that does not rest."""
        return (
            group.exploration is None
            and context.reap.state is ReapState.OPERATIONAL
            and now_ns - context.active_ns <= self._shared.settings.return_after_ns
            and self._would_move(context, now_ns)
        )

    def _would_move(self, context: Context, now_ns: int, *, later: bool = False) -> bool:
        """Tell whether a better pair may be tried; with `later` also one that rests now."""
        if context.state is not ContextState.ESTABLISHED:
            return False
        when_ns = _FOREVER_NS if later else now_ns
        return self._is_better_off(self._explorer.situation(context, Cause.PREFERENCE, when_ns))

    def _is_better_off(self, situation: Situation) -> bool:
        return self._explorer.policy.wants_another(situation, self._shared.rng, returning=True)

    def _arm(self, group: PathGroup, now_ns: int) -> None:
        timer = (TimerKind.RETURN, group.number)
        if not self._shared.deadlines.armed(timer):
            after_ns = self._shared.settings.return_after_ns
            self._shared.deadlines.arm(
                timer, now_ns + after_ns + self._shared.rng.randrange(0, after_ns // 4)
            )


_FOREVER_NS = 1 << 62
