"""Which way a forked context likes (RFC 5533 §4.2), by the rules of `[[shim6.forks]]`.

The API by which a transport would ask for a fork is not defined (§4.3). Packets say it themselves, by their
DSCP or mark, and the data plane finds the fork that they are to leave by. Where that goes is this host's
wish alone: peers are told the same preferences for all contexts.
"""

from collections.abc import Collection
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

from mpcore.config import ForkRule
from mpcore.shim6.policy import Candidate


class Forks:
    """The rules by Forked Instance Identifier."""

    def __init__(self, rules: Collection[ForkRule] = ()) -> None:
        self._rules = {rule.fii: rule for rule in rules}

    def rank_locals(self, fii: int, candidates: list[Candidate]) -> list[Candidate]:
        """Return this host's locators with the preferences that a context has for them."""
        rule = self._rules.get(fii)
        return candidates if rule is None else _liked(rule.local_prefixes, candidates)

    def rank_peers(self, fii: int, candidates: list[Candidate]) -> list[Candidate]:
        """Return the peer's locators with the preferences that a context has for them."""
        rule = self._rules.get(fii)
        return candidates if rule is None else _liked(rule.peer_prefixes, candidates)


def _liked(prefixes: Collection[IPv6Network], candidates: list[Candidate]) -> list[Candidate]:
    """Put the locators of `prefixes` in front, and leave the order within both parts to their owners."""
    liked = [_is_within(prefixes, candidate.address) for candidate in candidates]
    if not any(liked):
        return candidates
    behind = 1 + max(candidate.preference.priority for candidate in candidates)
    return [
        candidate if is_liked else _put_back(candidate, behind)
        for candidate, is_liked in zip(candidates, liked, strict=True)
    ]


def _put_back(candidate: Candidate, by: int) -> Candidate:
    preference = replace(candidate.preference, priority=candidate.preference.priority + by)
    return replace(candidate, preference=preference)


def _is_within(prefixes: Collection[IPv6Network], address: bytes) -> bool:
    return any(IPv6Address(address) in prefix for prefix in prefixes)
