"""What the sets of the kernel are told of contexts, and what is made of counters; sets are dictionaries."""

import errno
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest

from mpcore.errors import HostError
from mpcore.host import shim6_watch
from mpcore.host.nftables import Change, Count
from mpcore.host.shim6_rules import (
    ASKED,
    CONTEXTS,
    OTHERS,
    REWRITING,
    TALKS,
    ULIDS,
    forked_set,
    wanted_set,
)  # fmt: skip
from mpcore.host.shim6_watch import KernelView, Seen
from mpcore.shim6.effects import Path
from mpcore.shim6.heuristic import FlowKey
from mpcore.shim6.locators import Pair

A1, A2, B1, B2 = (bytes([0x20, 1, *bytes(13), last]) for last in (1, 2, 3, 4))
TCP = 6
FII = 3


class FakeSets:
    """Sets of keys with counters, which refuse what the kernel would refuse."""

    def __init__(self, table: str) -> None:
        self.sets: dict[str, dict[bytes, list[int]]] = {
            name: {}
            for name in (ULIDS, ASKED, CONTEXTS, REWRITING, TALKS, OTHERS, forked_set(FII), wanted_set(FII))
        }
        self.fails: OSError | None = None
        self.closed = False

    def change(self, changes: Collection[Change]) -> None:
        if self.fails is not None:
            raise self.fails
        for change in changes:
            assert (change.key in self.sets[change.name]) is not change.present
            if change.present:
                self.sets[change.name][change.key] = [0, 0]
            else:
                del self.sets[change.name][change.key]

    def counts(self, name: str) -> Iterator[Count]:
        if self.fails is not None:
            raise self.fails
        for key, (packets, octets) in self.sets[name].items():
            yield Count(key, packets, octets)

    def add(self, name: str, key: bytes, packets: int, octets: int = 0) -> None:
        counter = self.sets[name].setdefault(key, [0, 0])
        counter[0] += packets
        counter[1] += octets

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def view(monkeypatch: pytest.MonkeyPatch) -> KernelView:
    monkeypatch.setattr(shim6_watch, "NftSets", FakeSets)
    made = KernelView([FII])
    made.set_ulids([A1])
    return made


def sets_of(view: KernelView) -> FakeSets:
    sets: Any = view._sets
    assert isinstance(sets, FakeSets)
    return sets


def path(number: int = 1, **changes: Any) -> Path:
    fields: dict[str, Any] = {
        "number": number,
        "ulid_local": A1,
        "ulid_peer": B1,
        "fii": 0,
        "tag_local": 1,
        "tag_peer": 2,
        "locator_local": A1,
        "locator_peer": B1,
        "sending": True,
        "watched": False,
    }
    return Path(**(fields | changes))


MOVED = {"locator_local": A2, "locator_peer": B2}


def ported(source: bytes, destination: bytes, sport: int, dport: int) -> bytes:
    ports = sport.to_bytes(2) + bytes(2) + dport.to_bytes(2) + bytes(2)
    return source + destination + bytes([TCP, 0, 0, 0]) + ports


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        (MOVED, True),
        ({"locator_local": A2}, True),
        (MOVED | {"sending": False}, False),
        (MOVED | {"tag_peer": None}, False),
        ({"fii": FII}, True),  # or the peer would count it for the plain context
        ({"fii": FII, "tag_peer": None}, False),
    ],
)
def test_a_context_rewrites_on_other_locators_only(changes: dict[str, Any], expected: bool) -> None:
    """RFC 5533 §11: on the ULIDs packets stay as they are."""
    assert path(**changes).rewrites is expected


def test_only_what_moved_is_queued(view: KernelView) -> None:
    sets = sets_of(view)
    view.set_paths({1: path()})
    assert set(sets.sets[CONTEXTS]) == {A1 + B1, B1 + A1}
    assert not sets.sets[REWRITING]
    view.set_paths({1: path(**MOVED)})
    view.set_paths({1: path(locator_local=A2)})  # still on others: nothing changes in the kernel
    assert set(sets.sets[REWRITING]) == {A1 + B1}
    view.set_paths({1: path()})
    assert not sets.sets[REWRITING]
    view.set_paths({1: None})
    assert not sets.sets[CONTEXTS]
    assert len(view) == 0


def test_a_context_that_moved_takes_all_of_it_back_at_its_end(view: KernelView) -> None:
    view.set_paths({1: path(**MOVED)})
    view.set_paths({1: None})
    view.set_paths({7: None})  # one that the kernel never had
    assert not sets_of(view).sets[REWRITING]
    assert not sets_of(view).sets[CONTEXTS]


def test_all_packets_of_a_fork_are_queued_and_none_is_counted(view: KernelView) -> None:
    """RFC 5533 §4.2: without a header nothing would tell a fork from the plain context."""
    sets = sets_of(view)
    view.set_paths({1: path(), 2: path(2, fii=FII)})
    assert set(sets.sets[forked_set(FII)]) == {A1 + B1}
    assert not sets.sets[REWRITING]
    view.set_paths({2: path(2, fii=FII, **MOVED)})
    assert set(sets.sets[forked_set(FII)]) == {A1 + B1}
    sets.add(CONTEXTS, A1 + B1, 1)
    assert list(view.activity()) == [(1, True, False)]
    view.set_paths({2: None})
    assert not sets.sets[forked_set(FII)]
    assert set(sets.sets[CONTEXTS]) == {A1 + B1, B1 + A1}


def test_a_fork_is_wanted_while_packets_for_it_go_another_way(view: KernelView) -> None:
    sets = sets_of(view)
    assert list(view.wanted_forks()) == []
    sets.add(wanted_set(FII), A1 + B1, 2)
    assert list(view.wanted_forks()) == [(Pair(A1, B1), FII)]
    assert list(view.wanted_forks()) == []
    sets.add(wanted_set(FII), A1 + B1, 1)
    assert list(view.wanted_forks()) == [(Pair(A1, B1), FII)]
    del sets.sets[wanted_set(FII)][A1 + B1]  # it has expired, and comes anew
    assert list(view.wanted_forks()) == []
    sets.add(wanted_set(FII), A1 + B1, 3)
    assert list(view.wanted_forks()) == [(Pair(A1, B1), FII)]


def test_a_context_in_place_of_another_keeps_its_set_elements(view: KernelView) -> None:
    """Both changes come together when a context was made anew between two looks."""
    view.set_paths({1: path()})
    view.set_paths({1: None, 2: path(2, **MOVED)})
    assert set(sets_of(view).sets[CONTEXTS]) == {A1 + B1, B1 + A1}
    sets_of(view).add(CONTEXTS, B1 + A1, 1)
    assert list(view.activity()) == [(2, False, True)]


def test_packets_are_told_once_with_their_direction(view: KernelView) -> None:
    sets = sets_of(view)
    view.set_paths({1: path(), 2: path(2, ulid_peer=B2)})
    assert list(view.activity()) == []
    sets.add(CONTEXTS, A1 + B1, 5)
    sets.add(CONTEXTS, A1 + B2, 1)
    sets.add(CONTEXTS, B2 + A1, 1)
    assert list(view.activity()) == [(1, True, False), (2, True, True)]
    assert list(view.activity()) == []
    sets.add(CONTEXTS, B1 + A1, 1)
    assert list(view.activity()) == [(1, False, True)]


def test_counters_of_nobody_are_left_alone(view: KernelView) -> None:
    sets_of(view).add(CONTEXTS, B2 + B1, 5)
    assert list(view.activity()) == []


def test_conversations_are_told_by_ports_in_this_hosts_view(view: KernelView) -> None:
    sets = sets_of(view)
    sets.add(TALKS, ported(A1, B1, 1000, 80), 2, 300)
    sets.add(TALKS, ported(B1, A1, 80, 1000), 1, 60)
    sets.add(OTHERS, B1 + A1 + bytes([58, 0, 0, 0]), 1, 104)
    key = FlowKey(A1, B1, TCP, 1000, 80)
    assert list(view.talks()) == [
        Seen(key, 2, 300, True),
        Seen(key, 1, 60, False),
        Seen(FlowKey(A1, B1, 58, 0, 0), 1, 104, False),
    ]
    assert list(view.talks()) == []
    sets.add(TALKS, ported(A1, B1, 1000, 80), 1, 40)
    assert list(view.talks()) == [Seen(key, 1, 40, True)]


def test_a_conversation_that_expired_counts_from_nothing(view: KernelView) -> None:
    sets, key = sets_of(view), ported(A1, B1, 1000, 80)
    sets.add(TALKS, key, 9, 900)
    list(view.talks())
    sets.sets[TALKS][key] = [2, 120]
    assert [(seen.packets, seen.octets) for seen in view.talks()] == [(2, 120)]
    del sets.sets[TALKS][key]
    assert list(view.talks()) == []
    sets.add(TALKS, key, 3, 130)
    assert [(seen.packets, seen.octets) for seen in view.talks()] == [(3, 130)]


def test_identifiers_come_and_go(view: KernelView) -> None:
    view.set_ulids([A1, A2])
    view.set_ulids([A2])
    assert set(sets_of(view).sets[ULIDS]) == {A2}


def flush(view: KernelView) -> None:
    sets_of(view).fails = OSError(errno.ENOENT, "no such set")


@pytest.mark.parametrize(
    "notice",
    [
        lambda view: view.set_paths({1: path()}),
        lambda view: view.set_ulids([A2]),
        lambda view: view.show_acks([Pair(A1, B1)]),
        lambda view: list(view.activity()),
        lambda view: list(view.talks()),
        lambda view: list(view.wanted_forks()),
    ],
)
def test_a_flushed_ruleset_is_told_once(view: KernelView, notice: Callable[[KernelView], None]) -> None:
    flush(view)
    with pytest.raises(HostError, match="flush the nft ruleset"):
        notice(view)
    assert view.lost
    view.set_paths({1: None})
    assert list(view.activity()) == list(view.talks()) == []
    view.close()
    assert sets_of(view).closed


def test_new_sets_get_all_that_the_lost_ones_held_or_should_have(view: KernelView) -> None:
    view.set_paths({1: path(), 2: path(2, ulid_peer=B2, locator_peer=B2), 3: path(3, ulid_local=A2)})
    sets_of(view).add(CONTEXTS, A1 + B2, 9)
    assert list(view.activity()) == [(2, True, False)]
    flush(view)
    with pytest.raises(HostError):
        view.set_paths({1: path(**MOVED)})
    view.set_paths({3: None})
    view.set_ulids([A1, A2])
    view.show_acks([Pair(A1, B1)])
    sets_of(view).__init__("new")  # type: ignore[misc]
    view.tell_again()
    sets = sets_of(view).sets
    assert {name: set(sets[name]) for name in (ULIDS, ASKED, CONTEXTS, REWRITING)} == {
        ULIDS: {A1, A2},
        ASKED: {A1 + B1},
        CONTEXTS: {A1 + B1, B1 + A1, A1 + B2, B2 + A1},
        REWRITING: {A1 + B1},
    }
    assert list(view.activity()) == []
    sets_of(view).add(CONTEXTS, A1 + B2, 9)
    assert list(view.activity()) == [(2, True, False)]
    view.set_paths({1: None, 2: None})


def test_what_cannot_be_told_again_is_still_lost(view: KernelView) -> None:
    flush(view)
    for _ in range(2):
        with pytest.raises(HostError):
            view.tell_again()
        assert view.lost


def test_only_the_sockets_that_are_asked_are_listened_to(view: KernelView) -> None:
    first, second = Pair(A1, B1), Pair(A1, B2)
    view.show_acks([first])
    view.show_acks([first, second])
    view.show_acks([second])
    assert set(sets_of(view).sets[ASKED]) == {A1 + B2}
    view.show_acks([])
    assert not sets_of(view).sets[ASKED]
