"""Explorations: one for all contexts whose locators are the same, at a pace that spares the network.

RFC 5534 explores each context by itself. Where contexts share both sets of locators, and so the hosts, one of
them explores for all: a failure makes one exploration and not a thousand, and what it finds serves each.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from mpcore.shim6.context import Context
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.events import ExplorationFinished, ExplorationStarted
from mpcore.shim6.locators import Pair
from mpcore.shim6.policy import Answer, Candidate, Cause, PairPolicy, PairRecord, Situation
from mpcore.shim6.probes import is_usable, make_probe
from mpcore.shim6.rates import RateLimit
from mpcore.shim6.reap_states import ReapState
from mpcore.shim6.settings import Shim6Settings
from mpcore.shim6.shared import Shared, TimerKind
from mpcore.shim6.states import ContextState
from mpcore.shim6.tags import RandomSource

_HOST = 0


class GroupKey(NamedTuple):
    """Both sets of locators; and the peer's ULID where nothing shows that it is the host that has them.

    A list may leave its ULID out (RFC 5533 §5.10) and a key can sign for anything (RFC 5535 §8.1), so a list
    alone could put a stranger among the contexts of another host.
    """

    local: frozenset[bytes]
    peer: frozenset[bytes]
    stranger: bytes | None

    @classmethod
    def of(cls, context: Context) -> "GroupKey":
        """Return the key of a context."""
        ulid = context.key.ulid_peer
        known = context.located and ulid in context.peer
        local, peer = frozenset(context.local.addresses), frozenset(context.peer.addresses)
        return cls(local, peer, None if known else ulid)


@dataclass(slots=True)
class Exploration:
    """One search; `rounds` drives the back-off, and begins at 0 for each search (RFC 5534 §4.3)."""

    cause: Cause
    failed: Pair
    leader: Context
    started_ns: int
    order: list[Pair]
    first: Pair | None = None
    position: int = 0
    rounds: int = 0
    probes: int = 0
    due: int = 0  # probes that wait for the host's rate
    taken_ns: int = 0  # since when payload took the pair that failed
    begun_anew: bool = False  # all pairs were tried, and the last of them had no time yet to be answered
    vain: bool = False  # every pair was tried, and none answered
    unanswered: bool = False  # payload came while every pair was tried in vain
    refused: bool = False  # the peer's host has said that it does not know Shim6

    def next_pair(self) -> Pair:
        """Return the pair to probe now."""
        pair = self.order[self.position]
        self.position += 1
        return pair

    def gap_ns(self, settings: Shim6Settings, rng: RandomSource) -> int:
        """Return the time to the next probe: 0.5 s between the first four, then doubled to 60 s, ± 20 %."""
        doublings = max(0, self.rounds + 1 - settings.initial_probes)
        gap_ns = min(settings.initial_probe_timeout_ns << min(doublings, 16), settings.max_probe_timeout_ns)
        return gap_ns * 4 // 5 + rng.randrange(0, gap_ns * 2 // 5 + 1)


@dataclass(slots=True)
class PathGroup:
    """Contexts with the same locators on both sides, and what is known of the pairs."""

    number: int
    key: GroupKey
    members: dict[int, Context] = field(default_factory=dict)
    records: dict[Pair, PairRecord] = field(default_factory=dict)
    exploration: Exploration | None = None
    hinted_ns: int | None = None

    def record(self, pair: Pair) -> PairRecord:
        """Return what is known of a pair."""
        return self.records.setdefault(pair, PairRecord())

    def answered_since(self, pair: Pair, time_ns: int) -> bool:
        """Tell whether a probe on a pair was answered at this time or later."""
        answered_ns = self.record(pair).answered_ns
        return answered_ns is not None and answered_ns >= time_ns


class Explorer:
    """Runs explorations; the state machines of the contexts tell it when."""

    def __init__(
        self, shared: Shared, policy: PairPolicy, retransmit: Callable[[Context, int], None]
    ) -> None:
        self.policy = policy
        self.on_vain_round: Callable[[PathGroup, int], None] = lambda group, now_ns: None
        self._shared = shared
        self._retransmit = retransmit
        self._groups: dict[int, PathGroup] = {}
        self._by_key: dict[GroupKey, PathGroup] = {}
        self._by_context: dict[int, PathGroup] = {}
        self._next_number = 1
        self._limit = RateLimit(shared.settings.probes_per_second)
        # Both in order of arrival; taken in turn, so that answering cannot starve searching, nor the reverse.
        self._answers: dict[int, Pair | None] = {}
        self._searches: dict[int, None] = {}
        self._answered_last = False

    def join(self, context: Context) -> PathGroup:
        """Put a context into the group of its locators, out of any other."""
        key = GroupKey.of(context)
        group = self._by_context.get(context.number)
        if group is not None and group.key == key:
            return group
        self.leave(context)
        group = self._by_key.get(key)
        if group is None:
            group = self._by_key[key] = self._groups[self._next_number] = PathGroup(self._next_number, key)
            self._next_number += 1
        group.members[context.number] = context
        self._by_context[context.number] = group
        return group

    def leave(self, context: Context) -> None:
        """Take a context out; another one explores in its place, if any has to."""
        self._answers.pop(context.number, None)
        context.reap.unanswered = context.reap.refused = False
        group = self._by_context.pop(context.number, None)
        if group is None:
            return
        del group.members[context.number]
        if not group.members:
            self._end(group)
            self._shared.deadlines.cancel((TimerKind.RETURN, group.number))
            del self._by_key[group.key], self._groups[group.number]
        elif group.exploration is not None and group.exploration.leader is context:
            group.exploration.order = []  # its own; the next makes one when its probe is due
            if not self._replace_leader(group):
                self._end(group)

    def group_of(self, context: Context) -> PathGroup:
        """Return the group of a context."""
        return self._by_context[context.number]

    def groups(self) -> tuple[PathGroup, ...]:
        """Return all groups."""
        return tuple(self._groups.values())

    def group_numbered(self, number: int) -> PathGroup | None:
        """Return a group that a timer is about, None when it is gone."""
        return self._groups.get(number)

    def note_refusal(self, context: Context) -> None:
        """The peer's host, or who speaks for it, says that it does not know Shim6 (RFC 5533 §8)."""
        exploration = self.group_of(context).exploration
        if exploration is not None:
            exploration.refused = True

    def leads(self, context: Context) -> bool:
        """Tell whether a context explores for its group."""
        exploration = self.group_of(context).exploration
        return exploration is not None and exploration.leader is context

    def likes_only(self, context: Context) -> bool:
        """Tell whether the search under way is for a pair that is liked more; one that works is no end."""
        exploration = self.group_of(context).exploration
        return exploration is not None and exploration.cause is Cause.PREFERENCE

    def begin(self, context: Context, cause: Cause, now_ns: int, first: Pair | None = None) -> None:
        """Search a pair for a context, or leave that to the search under way.

        With `first`, the pair on which an answer is sent anyhow, the search itself begins one gap later.
        """
        group = self.group_of(context)
        if group.exploration is not None:
            if self._has_slowed_down(group.exploration) and group.exploration.leader is not context:
                self._begin_anew(group, context, now_ns)
            elif not searches(group.exploration.leader):
                self._hand_over(group, now_ns)
            if group.exploration.leader is not context:
                self._shared.count(Shim6Counter.EXPLORATION_SHARED)
            elif first is None:
                self._want(group, 1, now_ns)
            return
        taken_ns = context.reap.moved_ns
        exploration = Exploration(cause, context.pair, context, now_ns, [], first, taken_ns=taken_ns)
        group.exploration = exploration
        self._reorder(group, now_ns)
        self._shared.count(Shim6Counter.EXPLORATION)
        ulids = context.key.ulids
        self._shared.events.append(ExplorationStarted(*ulids, cause.value, len(group.members)))
        if first is None:
            self._want(group, self._shared.settings.probe_burst, now_ns)
        else:
            exploration.rounds = 1
            self._arm(group, now_ns)

    def probe(self, context: Context, now_ns: int) -> None:
        """Send the next probe of the search that a context leads."""
        if self.leads(context):
            self._want(self.group_of(context), 1, now_ns)

    def answer(self, context: Context, pair: Pair | None, now_ns: int) -> None:
        """Answer a probe on `pair`, or on the context's current one; only the last answer wanted is sent."""
        if context.number in self._answers or self._shared.may_answer(context, now_ns):
            self._answers[context.number] = pair
            self.pump(now_ns)

    def finish(self, context: Context, now_ns: int) -> list[Context]:
        """End the search: `context.pair` works. Returns the other contexts that should take it.

        Those that search and cannot take it go on in a search of their own.
        """
        group = self.group_of(context)
        exploration = group.exploration
        if exploration is None:
            return []
        self._note_failures(group, exploration, context.pair, now_ns)
        self._end(group)
        self._shared.count(Shim6Counter.EXPLORED)
        duration_ns = now_ns - exploration.started_ns
        self._shared.events.append(
            ExplorationFinished(*context.key.ulids, *context.pair, duration_ns, exploration.probes)
        )
        others = [other for other in group.members.values() if other is not context]
        for other in others:
            if searches(other) and not self._may_take(other, context.pair):
                self.begin(other, exploration.cause, now_ns)
        return [other for other in others if self._wants(other, exploration, context.pair, now_ns)]

    def situation(self, context: Context, cause: Cause, now_ns: int, first: Pair | None = None) -> Situation:
        """Return what the policy decides on; a locator that its owner calls broken takes no part."""
        addresses = self._shared.addresses
        locals_ = [
            Candidate(address, addresses.preference(address))
            for address in context.local.sources
            if addresses.usable(address)
        ]
        peers = [Candidate(entry.address, entry.preference) for entry in context.peer if not entry.broken]
        forks, fii = self._shared.forks, context.key.fii
        records = self.group_of(context).records
        resting = frozenset(pair for pair, record in records.items() if record.rests_until_ns > now_ns)
        return Situation(
            tuple(forks.rank_locals(fii, locals_)),
            tuple(forks.rank_peers(fii, peers)),
            context.pair,
            context.key.ulids,
            cause,
            records,
            first,
            resting,
            frozenset(pair for pair in resting if records[pair].blocked),
        )

    def rearrange(self, group: PathGroup, now_ns: int) -> None:
        """Begin the search anew, with fresh patience: the addresses to search among have changed."""
        if group.exploration is not None:
            group.exploration.rounds = 0
            group.exploration.vain = False
            self._reorder(group, now_ns)
            self._want(group, 1, now_ns)

    def handle_timeout(self, number: int, now_ns: int) -> None:
        """The next probe of a group's search is due."""
        group = self._groups.get(number)
        if group is None or group.exploration is None:
            return
        exploration = group.exploration
        is_over = exploration.position >= len(exploration.order)
        if is_over or exploration.begun_anew:
            exploration.begun_anew = False
            exploration.vain = True
            self.on_vain_round(group, now_ns)
        # At the end another context gives it a try: the peer may have trouble with this one alone.
        if is_over or not searches(exploration.leader):
            self._hand_over(group, now_ns)
        if searches(exploration.leader):
            self._retransmit(exploration.leader, now_ns)
        else:
            self._arm(group, now_ns)  # it is being recovered, or the others are

    def pump(self, now_ns: int) -> None:
        """Send the probes that wait, as many as the host's rate allows."""
        while self._answers or self._searches:
            if self._limit.next_ns(now_ns) > now_ns:
                self._shared.count(Shim6Counter.PROBE_DELAYED)
                self._shared.deadlines.arm((TimerKind.PROBES, _HOST), self._limit.next_ns(now_ns))
                return
            if self._answers and not (self._searches and self._answered_last):
                self._answered_last = True
                self._send_answer(now_ns)
            else:
                self._answered_last = False
                self._send_search(now_ns)

    def _send_answer(self, now_ns: int) -> None:
        number = next(iter(self._answers))
        pair = self._answers.pop(number)
        context = self._shared.contexts.by_number.get(number)
        if context is not None and context.state is ContextState.ESTABLISHED:
            self._send(context, pair or context.pair, now_ns)

    def _send_search(self, now_ns: int) -> None:
        number = next(iter(self._searches))
        group = self._groups[number]
        exploration = group.exploration
        del self._searches[number]
        if exploration is None:
            return
        if not searches(exploration.leader):
            self._hand_over(group, now_ns)
        if exploration.position >= len(exploration.order):
            exploration.begun_anew = True
            self._reorder(group, now_ns)
        if exploration.order and searches(exploration.leader):
            self._send(exploration.leader, exploration.next_pair(), now_ns)
            exploration.probes += 1
        exploration.due -= 1
        if exploration.due > 0:
            self._searches[number] = None
        else:
            exploration.rounds += 1
            self._arm(group, now_ns)

    def _send(self, context: Context, pair: Pair, now_ns: int) -> None:
        self._limit.take(now_ns)
        lifetime_ns = self._shared.settings.report_lifetime_ns
        probe = make_probe(context, pair, self._shared.rng, now_ns, lifetime_ns)
        context.used_pair(pair, now_ns)
        self._shared.send(pair, probe)

    def _want(self, group: PathGroup, probes: int, now_ns: int) -> None:
        exploration = group.exploration
        assert exploration is not None
        exploration.due = max(exploration.due, min(probes, max(1, len(exploration.order))))
        self._searches.setdefault(group.number, None)
        self.pump(now_ns)

    def _arm(self, group: PathGroup, now_ns: int) -> None:
        exploration = group.exploration
        assert exploration is not None
        gap_ns = exploration.gap_ns(self._shared.settings, self._shared.rng)
        self._shared.deadlines.arm((TimerKind.EXPLORATION, group.number), now_ns + gap_ns)

    def _reorder(self, group: PathGroup, now_ns: int) -> None:
        exploration = group.exploration
        assert exploration is not None
        situation = self.situation(exploration.leader, exploration.cause, now_ns, exploration.first)
        context = exploration.leader
        order = self.policy.order(situation, self._shared.rng)
        exploration.order = [pair for pair in order if context.owns(*pair)]
        exploration.position = 0

    def _has_slowed_down(self, exploration: Exploration) -> bool:
        return exploration.rounds > self._shared.settings.initial_probes

    def _begin_anew(self, group: PathGroup, context: Context, now_ns: int) -> None:
        """Let a context that has just begun to search lead: what it may use need not be what was tried.

        Back-off counts within one exploration, and this would be its own (RFC 5534 §4.3).
        """
        assert group.exploration is not None
        group.exploration.leader = context
        group.exploration.rounds = 0
        group.exploration.vain = False
        self._reorder(group, now_ns)
        self._arm(group, now_ns)

    def _hand_over(self, group: PathGroup, now_ns: int) -> None:
        """Let another member lead the search, if one can, and begin the order of its pairs."""
        self._replace_leader(group)
        self._reorder(group, now_ns)

    def _replace_leader(self, group: PathGroup) -> bool:
        """Let the next member that needs a pair explore; returns whether there is one."""
        exploration = group.exploration
        assert exploration is not None
        numbers = list(group.members)
        after = exploration.leader.number
        numbers = [number for number in numbers if number > after] + [n for n in numbers if n <= after]
        for number in numbers:
            member = group.members[number]
            if searches(member):
                exploration.leader = member
                return True
        return False

    def _end(self, group: PathGroup) -> None:
        for member in group.members.values():
            member.reap.unanswered = member.reap.refused = False
        group.exploration = None
        self._searches.pop(group.number, None)
        self._shared.deadlines.cancel((TimerKind.EXPLORATION, group.number))

    def _note_failures(self, group: PathGroup, exploration: Exploration, found: Pair, now_ns: int) -> None:
        """Remember what did not work: the pair that was left, or the liked ones that did not answer."""
        if exploration.cause is not Cause.PREFERENCE:
            silent = [exploration.failed]
        else:
            tried = exploration.order[: exploration.position]
            silent = [pair for pair in tried if not group.answered_since(pair, exploration.started_ns)]
        for pair in silent:
            if pair != found:
                group.record(pair).fail(now_ns, self._shared.settings.return_after_ns)

    def _wants(self, context: Context, exploration: Exploration, found: Pair, now_ns: int) -> bool:
        """Tell whether a context should take the pair that another one found.

        One that searches should; one whose traffic is on the failed pair too, unless it has heard from the
        peer since: waiting for its own timeout would only repeat the search. Where nothing had failed, one
        that likes it more.
        """
        if context.state is not ContextState.ESTABLISHED or not self._may_take(context, found):
            return False
        if searches(context):
            return True
        if exploration.cause is Cause.PREFERENCE:
            situation = self.situation(context, exploration.cause, now_ns)
            answers = [Answer(found, 0), Answer(context.pair, 0)]
            order = self.policy.order(situation, self._shared.rng)
            return found in order and self.policy.choose(situation, answers, order) == found != context.pair
        return context.pair == exploration.failed and context.reap.heard_ns < exploration.started_ns

    def _may_take(self, context: Context, pair: Pair) -> bool:
        """Tell whether a pair that another context found is one of this one too (RFC 5533 §7.2, §10.4).

        Locators are the same within a group; what each peer calls broken, and has acknowledged, may not be.
        """
        return is_usable(context, pair, self._shared.addresses) and pair.local in context.local.accepted


def searches(context: Context) -> bool:
    """Tell whether a context needs a pair."""
    return context.state is ContextState.ESTABLISHED and context.reap.state is not ReapState.OPERATIONAL
