"""What the kernel is told of contexts, and what its counters tell: packets on ULIDs never come to user space.

The kernel counts each packet between the ULIDs of a context, and each conversation that has none
(`mpcore.host.shim6_rules`). Between two looks only the fact of packets is known, not their order: those of
both directions count as sent first, then received, which never makes the host miss an answer. The price is a
Keepalive or two when a conversation ends (RFC 5534 §4.1 allows them).

Sets that cannot be read or changed are taken for lost, as after `nft flush ruleset`. What they are to hold is
known here all the same, so that `tell_again` can fill new ones.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from mpcore.errors import HostError
from mpcore.host.nftables import Change, Count, NftSets
from mpcore.host.shim6_rules import (
    ASKED,
    CONTEXTS,
    OTHERS,
    REWRITING,
    TABLE,
    TALKS,
    ULIDS,
    forked_set,
    wanted_set,
)
from mpcore.shim6.effects import Path
from mpcore.shim6.heuristic import FlowKey
from mpcore.shim6.locators import Pair

_PAIR_SIZE = 32
_PORTED_SIZE = 44  # two addresses, then protocol and two ports, each padded to four octets


@dataclass(frozen=True, slots=True)
class Seen:
    """Packets of one direction of a conversation without context, since the last look."""

    key: FlowKey
    packets: int
    octets: int
    sent: bool


class KernelView:
    """The kernel's sets of one daemon, and what their counters said last.

    `forks` are the identifiers of forked contexts whose packets are looked for. `lost` once the kernel has
    refused something: from then on it is left alone, and HostError is raised once.
    """

    def __init__(self, forks: Collection[int] = ()) -> None:
        self.lost = False
        self._wanted: dict[int, dict[bytes, int]] = {fii: {} for fii in forks}
        self._sets = NftSets(TABLE)
        self._ulids: set[bytes] = set()
        self._asked: set[Pair] = set()
        self._paths: dict[int, Path] = {}
        self._pairs: dict[bytes, tuple[int, bool]] = {}  # as packets have them: context, whether it sends
        self._packets: dict[bytes, int] = {}
        self._talks: dict[str, dict[bytes, tuple[int, int]]] = {TALKS: {}, OTHERS: {}}

    def __len__(self) -> int:
        return len(self._paths)

    def close(self) -> None:
        """Close the socket to the kernel."""
        self._sets.close()

    def set_ulids(self, ulids: Collection[bytes]) -> None:
        """Let conversations from these addresses, and packets of their contexts, be looked at.

        Raises HostError.
        """
        before, self._ulids = self._ulids, set(ulids)
        changes = [Change(ULIDS, ulid, False) for ulid in before - self._ulids]
        self._change([*changes, *(Change(ULIDS, ulid, True) for ulid in self._ulids - before)])

    def set_paths(self, changes: Mapping[int, Path | None]) -> None:
        """Take in what became of contexts; None: it is gone. Raises HostError."""
        wanted: list[Change] = []
        for number, path in changes.items():
            old = self._paths.pop(number, None)
            wanted += self._differences(number, old, path)
            if path is not None:
                self._paths[number] = path
        self._change(wanted)

    def show_acks(self, pairs: Collection[Pair]) -> None:
        """Let segments without payload between these ULIDs, and no others, come to the queue.

        Raises HostError.
        """
        before, self._asked = self._asked, set(pairs)
        changes = [Change(ASKED, pair.local + pair.peer, False) for pair in before - self._asked]
        changes += [Change(ASKED, pair.local + pair.peer, True) for pair in self._asked - before]
        self._change(changes)

    def tell_again(self) -> None:
        """Fill the kernel's sets, which are new and empty. Raises HostError."""
        self.lost = False
        self._packets.clear()
        for counted in self._talks.values():
            counted.clear()
        for wanted in self._wanted.values():
            wanted.clear()
        changes = [Change(ULIDS, ulid, True) for ulid in self._ulids]
        changes += [Change(ASKED, pair.local + pair.peer, True) for pair in self._asked]
        for number, path in self._paths.items():
            changes += self._differences(number, None, path)
        self._change(changes)

    def activity(self) -> Iterator[tuple[int, bool, bool]]:
        """Yield the contexts with packets since the last look: number, sent, received. Raises HostError."""
        news: dict[int, int] = {}
        for count in self._counts(CONTEXTS):
            if count.key not in self._pairs:
                continue
            number, sends = self._pairs[count.key]
            if self._packets.get(count.key, 0) != count.packets:
                self._packets[count.key] = count.packets
                news[number] = news.get(number, 0) | (1 if sends else 2)
        for number, what in news.items():
            yield number, bool(what & 1), bool(what & 2)

    def talks(self) -> Iterator[Seen]:
        """Yield what conversations without context had since the last look. Raises HostError."""
        for name, before in self._talks.items():
            now: dict[bytes, tuple[int, int]] = {}
            for count in self._counts(name):
                now[count.key] = (count.packets, count.octets)
                packets, octets = before.get(count.key, (0, 0))
                if count.packets < packets:
                    packets, octets = 0, 0  # it had expired, and began anew
                if count.packets > packets:
                    yield self._seen(count.key, count.packets - packets, count.octets - octets)
            self._talks[name] = now

    def wanted_forks(self) -> Iterator[tuple[Pair, int]]:
        """Yield ULIDs with packets since the last look that lack the fork which these are to leave by.

        Each with its Forked Instance Identifier. Raises HostError.
        """
        for fii, before in self._wanted.items():
            now = {count.key: count.packets for count in self._counts(wanted_set(fii))}
            self._wanted[fii] = now
            for key, packets in now.items():
                if packets != before.get(key, 0):
                    yield Pair(key[:16], key[16:_PAIR_SIZE]), fii

    def _differences(self, number: int, old: Path | None, new: Path | None) -> Iterator[Change]:
        """Yield what the sets need when a context changes from `old` to `new`."""
        for path, present in ((old, False), (new, True)):
            other = old if present else new
            if path is None:
                continue
            if path.rewrites and not (other is not None and other.rewrites):
                name = forked_set(path.fii) if path.fii else REWRITING
                yield Change(name, path.ulid_local + path.ulid_peer, present)
            if other is not None or path.fii:
                continue  # the ULIDs of a context never change, and all packets of a fork come by the queue
            for key, sends in (
                (path.ulid_local + path.ulid_peer, True),
                (path.ulid_peer + path.ulid_local, False),
            ):
                yield Change(CONTEXTS, key, present)
                self._packets.pop(key, None)
                if present:
                    self._pairs[key] = number, sends
                else:
                    self._pairs.pop(key, None)

    def _seen(self, key: bytes, packets: int, octets: int) -> Seen:
        sent = key[:16] in self._ulids
        local, peer = (key[:16], key[16:32]) if sent else (key[16:32], key[:16])
        ports = (0, 0)
        if len(key) >= _PORTED_SIZE:
            source, destination = int.from_bytes(key[36:38]), int.from_bytes(key[40:42])
            ports = (source, destination) if sent else (destination, source)
        return Seen(FlowKey(local, peer, key[_PAIR_SIZE], *ports), packets, octets, sent)

    def _change(self, changes: Collection[Change]) -> None:
        if self.lost:
            return
        try:
            self._sets.change(changes)
        except OSError as error:
            self.lost = True
            raise HostError(
                f"the kernel's sets of Shim6 cannot be changed ({error}); did somebody flush the nft ruleset?"
            ) from error

    def _counts(self, name: str) -> Iterator[Count]:
        if self.lost:
            return
        try:
            yield from self._sets.counts(name)
        except OSError as error:
            self.lost = True
            raise HostError(
                f"Shim6's counters cannot be read ({error}); did somebody flush the nft ruleset?"
            ) from error
