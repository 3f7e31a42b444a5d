"""Which pair of locators to try first, and which of those that work to take. Subclass to decide otherwise.

A policy sees plain values and keeps no state, so one serves all contexts. What it returns is checked by the
core: pairs that are not the context's are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from mpcore.shim6.locators import Pair
from mpcore.shim6.tags import RandomSource
from mpcore.wire.shim6 import Preference, PreferenceFlag

_DOUBLINGS_MAX = 6  # of a pair's rest: an hour, when the first is a minute
_TRANSIENT = int(PreferenceFlag.TRANSIENT)


class Cause(StrEnum):
    """Why an exploration begins; what is known of the current pair differs."""

    SEND_TIMEOUT = "send-timeout"  # payload was not answered
    LOCAL_FAILURE = "local-failure"  # an address, link or route of this host is gone
    WITHDRAWN = "withdrawn"  # the peer took the locator away or calls it broken
    HINT = "hint"  # somebody on the network says so, who may be lying (RFC 5534 §3.3)
    PEER_EXPLORES = "peer-explores"  # the peer does not hear this host
    DEMAND = "demand"  # the operator wants another
    PREFERENCE = "preference"  # the current pair works, another is liked more


@dataclass(frozen=True, slots=True)
class Candidate:
    """One locator that may be used, and how much its owner likes it."""

    address: bytes
    preference: Preference


@dataclass(slots=True)
class PairRecord:
    """What explorations learnt of a pair, in nanoseconds; None when never.

    Until `rests_until_ns` a pair that failed is not gone back to for being liked more: one that fails again
    and again would be worse than none. `blocked`: probes pass, payload with the Shim6 header does not.
    """

    answered_ns: int | None = None
    failed_ns: int | None = None
    delay_ns: int | None = None  # from the probe to the first report of it
    rests_until_ns: int = 0
    failures: int = 0
    blocked: bool = False

    def fail(self, now_ns: int, rest_ns: int) -> None:
        """Note a failure: the rest doubles when the last failure is not long ago."""
        last_rest_ns = rest_ns << min(max(self.failures - 1, 0), _DOUBLINGS_MAX)
        recent = self.failed_ns is not None and now_ns - self.failed_ns < 2 * last_rest_ns
        self.failures = self.failures + 1 if recent else 1
        self.failed_ns = now_ns
        self.rests_until_ns = now_ns + (rest_ns << min(self.failures - 1, _DOUBLINGS_MAX))

    @property
    def known_bad(self) -> bool:
        """Whether the last that is known of the pair is a failure."""
        return self.failed_ns is not None and (self.answered_ns is None or self.answered_ns < self.failed_ns)


@dataclass(frozen=True, slots=True)
class Situation:
    """What a policy decides on; `current` is the pair that payload takes, `ulids` the context's identifiers.

    `first`, when given, is the pair that the peer's own probe makes most likely to work (RFC 5534 App. A).
    `resting` are pairs that failed lately, `blocked` those of them on which payload does not pass.
    """

    locals: tuple[Candidate, ...]
    peers: tuple[Candidate, ...]
    current: Pair
    ulids: Pair
    cause: Cause
    records: Mapping[Pair, PairRecord]
    first: Pair | None = None
    resting: frozenset[Pair] = frozenset()
    blocked: frozenset[Pair] = frozenset()

    def offers(self, pair: Pair) -> bool:
        """Tell whether both locators of a pair may be used."""
        return any(one.address == pair.local for one in self.locals) and any(
            one.address == pair.peer for one in self.peers
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A pair on which a probe is known to have arrived; `delay_ns` from the probe to its first report."""

    pair: Pair
    delay_ns: int


class PairPolicy:
    """Distinct pairs first, the failed one last; among equals the owners' preferences (RFC 5534 §4.3)."""

    def order(self, situation: Situation, rng: RandomSource) -> list[Pair]:
        """Return all pairs that make sense, in the order in which they are probed.

        Ties are broken by weights as in DNS SRV (RFC 5533 §5.15.3).
        """
        locals_ = {candidate.address: candidate.preference for candidate in situation.locals}
        peers = {candidate.address: candidate.preference for candidate in situation.peers}
        pairs = [Pair(local, peer) for local in locals_ for peer in peers if _possible(local, peer)]
        ranks = {pair: self.rank(pair, locals_[pair.local], peers[pair.peer], situation) for pair in pairs}
        weights = {pair: (locals_[pair.local].weight + 1) * (peers[pair.peer].weight + 1) for pair in pairs}
        ordered: list[Pair] = []
        for _, equals in groupby(sorted(pairs, key=ranks.__getitem__), key=ranks.__getitem__):
            ordered += _draw(list(equals), weights, rng)
        return ordered

    def rank(self, pair: Pair, local: Preference, peer: Preference, situation: Situation) -> tuple[int, ...]:
        """Return the sort key of a pair; lower is probed earlier."""
        liked = self.liking(pair, local, peer, situation)
        is_current = pair == situation.current
        if situation.cause is Cause.PREFERENCE:
            return (int(pair in situation.resting), *liked, int(not is_current))
        if situation.cause is Cause.HINT:
            # A lie must not move traffic: the pair in use gets the first chance to show that it works.
            place = 0 if is_current else 1
        else:
            place = 2 if is_current else 0 if pair == situation.first else 1
        record = situation.records.get(pair)
        return (place, pair.shared(situation.current), int(record is not None and record.known_bad), *liked)

    def liking(
        self, pair: Pair, local: Preference, peer: Preference, situation: Situation
    ) -> tuple[int, ...]:
        """Return the part of the sort key that does not depend on failures."""
        return (
            int(_is_local(pair.local) != _is_local(pair.peer)),
            peer.priority,
            local.priority,
            int((local.flags | peer.flags) & _TRANSIENT != 0),
            int(pair != situation.ulids),
        )

    def wants_another(self, situation: Situation, rng: RandomSource, *, returning: bool = False) -> bool:
        """Tell whether preferences alone are a reason to look for another pair than the current one.

        When `returning` from a pair that a failure has led to, the ULIDs are reason enough.
        """
        locals_ = {candidate.address: candidate.preference for candidate in situation.locals}
        peers = {candidate.address: candidate.preference for candidate in situation.peers}
        current = situation.current
        if current.local not in locals_ or current.peer not in peers:
            return True
        # The ULIDs need no header, which alone is no reason to leave a pair that the peer's lists led to.
        end = None if returning else -1
        here = self.liking(current, locals_[current.local], peers[current.peer], situation)[:end]
        better = {
            pair
            for pair in (Pair(local, peer) for local in locals_ for peer in peers)
            if pair not in situation.resting
            and self.liking(pair, locals_[pair.local], peers[pair.peer], situation)[:end] < here
        }
        return bool(better) and not better.isdisjoint(self.order(situation, rng))

    def choose(self, situation: Situation, answers: Sequence[Answer], order: Sequence[Pair]) -> Pair:
        """Return the pair to use, of those that work: the current one, else that of the lowest delay.

        When preferences were the reason to look, the most liked one; `order` is that of the search. Where
        payload passes on none of them, the ULIDs: it goes on as without Shim6.
        """
        if situation.offers(situation.ulids):
            answers = [answer for answer in answers if answer.pair not in situation.blocked]
            if not answers:
                return situation.ulids
        pairs = [answer.pair for answer in answers]
        if situation.cause is Cause.PREFERENCE:
            return min(pairs, key=lambda pair: order.index(pair) if pair in order else len(order))
        if situation.current in pairs:
            return situation.current
        return min(answers, key=lambda answer: answer.delay_ns).pair


def _draw(pairs: list[Pair], weights: Mapping[Pair, int], rng: RandomSource) -> list[Pair]:
    """Return equally good pairs in an order in which heavier ones tend to come first."""
    drawn = []
    while len(pairs) > 1:
        ticket = rng.randrange(0, sum(weights[pair] for pair in pairs))
        for pair in pairs:
            ticket -= weights[pair]
            if ticket < 0:
                break
        pairs.remove(pair)
        drawn.append(pair)
    return drawn + pairs


def _possible(local: bytes, peer: bytes) -> bool:
    """Tell whether a pair may be used at all: unicast beyond the link on both sides (RFC 5534 §3.1, §4.3)."""
    return is_routable(local) and is_routable(peer)


def is_routable(address: bytes) -> bool:
    """Tell whether an address is unicast of more than link-local scope."""
    if len(address) != 16 or address[0] == 0xFF or (address[:15] == bytes(15) and address[15] <= 1):
        return False
    return not (address[0] == 0xFE and address[1] & 0xC0 == 0x80)


def _is_local(address: bytes) -> bool:
    """Tell whether an address is a unique local one (RFC 4193 §3.1): it fits badly with a global one."""
    return address[0] & 0xFE == 0xFC
