"""What the rules of every backend depend on."""

from collections.abc import Iterator
from dataclasses import dataclass

from mpcore.config import ExcludeRule


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """What the rules depend on: queue number, the marks (distinct bits), loopback traffic, exclusions."""

    queue: int
    mark_seen: int
    mark_leave: int
    mark_taken: int
    loopback: bool
    exclusions: tuple[ExcludeRule, ...]


def excluded_lines(exclusion: ExcludeRule, remote: str) -> Iterator[str]:
    """Yield the matches, in the language of nft, for excluded traffic; `remote` is saddr or daddr.

    With a network, the port is the remote one; alone, it is that of either side.
    """
    if exclusion.network is None:
        yield f"tcp sport {exclusion.port}"
        yield f"tcp dport {exclusion.port}"
        return
    address = f"{'ip' if exclusion.network.version == 4 else 'ip6'} {remote} {exclusion.network}"
    port = "" if exclusion.port is None else f" tcp {remote[0]}port {exclusion.port}"
    yield f"{address}{port}"
