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
    """What explorations learnt of a pair, in nanoseconds; None when never."""

    answered_ns: int | None = None
    failed_ns: int | None = None
    delay_ns: int | None = None  # from the probe to the first report of it

    @property
    def known_bad(self) -> bool:
        """Whether the last that is known of the pair is a failure."""
        return self.failed_ns is not None and (self.answered_ns is None or self.answered_ns < self.failed_ns)


@dataclass(frozen=True, slots=True)
class Situation:
    """What a policy decides on; `current` is the pair that payload takes, `ulids` the context's identifiers.

    `first`, when given, is the pair that the peer's own probe makes most likely to work (RFC 5534 App. A).
    """

    locals: tuple[Candidate, ...]
    peers: tuple[Candidate, ...]
    current: Pair
    ulids: Pair
    cause: Cause
    records: Mapping[Pair, PairRecord]
    first: Pair | None = None


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
        if situation.cause is Cause.PREFERENCE:
            return liked
        is_current = pair == situation.current
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
        transient = (local.flags | peer.flags) & PreferenceFlag.TRANSIENT
        return (
            int(_is_local(pair.local) != _is_local(pair.peer)),
            peer.priority,
            local.priority,
            int(bool(transient)),
            int(pair != situation.ulids),
        )

    def wants_another(self, situation: Situation, rng: RandomSource) -> bool:
        """Tell whether preferences alone are a reason to look for another pair than the current one."""
        locals_ = {candidate.address: candidate.preference for candidate in situation.locals}
        peers = {candidate.address: candidate.preference for candidate in situation.peers}
        current = situation.current
        if current.local not in locals_ or current.peer not in peers:
            return True
        # The ULIDs need no header, which alone is no reason to move.
        here = self.liking(current, locals_[current.local], peers[current.peer], situation)[:-1]
        return any(
            self.liking(pair, locals_[pair.local], peers[pair.peer], situation)[:-1] < here
            for pair in self.order(situation, rng)
        )

    def choose(self, situation: Situation, answers: Sequence[Answer], order: Sequence[Pair]) -> Pair:
        """Return the pair to use, of those that work: the current one, else that of the lowest delay.

        When preferences were the reason to look, the most liked one. `order` is that of the exploration.
        """
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
