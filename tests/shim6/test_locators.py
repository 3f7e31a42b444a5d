"""Locator sets, and the order in which pairs are tried."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.shim6.locators import LocalAddresses, Pair, PeerLocators
from mpcore.shim6.policy import Answer, Candidate, Cause, PairPolicy, PairRecord, Situation, is_routable
from mpcore.wire.shim6 import Locator, LocatorList, LocatorPreferences, Preference, PreferenceFlag
from tests.shim6.world import A1, A2, B1, B2, C1, address

PLAIN = Preference()
BROKEN = Preference(PreferenceFlag.BROKEN)
TRANSIENT = Preference(PreferenceFlag.TRANSIENT)
ULA = bytes.fromhex("fd00") + bytes(13) + b"\x01"
LINK_LOCAL = bytes.fromhex("fe80") + bytes(13) + b"\x01"


def situation(
    locals_: dict[bytes, Preference],
    peers: dict[bytes, Preference],
    cause: Cause = Cause.SEND_TIMEOUT,
    *,
    current: Pair = Pair(A1, B1),  # noqa: B008
    records: dict[Pair, PairRecord] | None = None,
    first: Pair | None = None,
) -> Situation:
    def candidates(owned: dict[bytes, Preference]) -> tuple[Candidate, ...]:
        return tuple(Candidate(one, preference) for one, preference in owned.items())

    return Situation(
        candidates(locals_), candidates(peers), current, Pair(A1, B1), cause, records or {}, first
    )


def order(asked: Situation, seed: int = 0) -> list[Pair]:
    return PairPolicy().order(asked, Random(seed))


# The peer's list.


def test_a_list_replaces_all_and_keeps_what_is_known_of_an_address() -> None:
    """RFC 5533 §5.10."""
    peer = PeerLocators.of_ulid(B1)
    peer.replace(LocatorList(1, (Locator(B1, 1), Locator(B2, 2))))
    assert peer.addresses == (B1, B2)
    entry = peer.get(B2)
    assert entry is not None
    entry.probed = True
    peer.prefer(LocatorPreferences(1, (PLAIN, BROKEN)))
    peer.replace(LocatorList(2, (Locator(B2, 1), Locator(C1, 1))))
    assert B1 not in peer
    assert [(one.address, one.method, one.probed, one.broken) for one in peer] == [
        (B2, 1, True, False),
        (C1, 1, False, False),
    ]


def test_old_generations_are_remembered_but_the_current_one_may_repeat() -> None:
    """RFC 5533 §16.2."""
    peer = PeerLocators.of_ulid(B1)
    for generation in (5, 5, 9):
        peer.replace(LocatorList(generation, (Locator(B1, 1),)))
    assert peer.replaced_before(5)
    assert not peer.replaced_before(9)
    assert not peer.replaced_before(6)


# Our addresses.


def test_what_is_told_of_an_address_joins_wish_and_truth() -> None:
    """RFC 5533 §5.15.3: what does not work here is BROKEN."""
    addresses = LocalAddresses()
    assert addresses.preference(A1).flags == PreferenceFlag.BROKEN
    assert addresses.set_usable(A1, True)
    assert not addresses.set_usable(A1, True)
    assert addresses.prefer(A1, Preference(PreferenceFlag.TRANSIENT, 3, 4))
    assert addresses.usable(A1)
    assert addresses.set_usable(A1, False)
    assert addresses.preference(A1) == Preference(PreferenceFlag.TRANSIENT | PreferenceFlag.BROKEN, 3, 4)
    assert not addresses.usable(A1)
    assert A1 in addresses
    addresses.forget(A1)
    assert A1 not in addresses


# Order.


def test_maximally_distinct_first_failed_last() -> None:
    """RFC 5534 §4.3 leaves the order open; the thesis' finding is that this one finds a pair soonest."""
    third_a, third_b = address(8, 1), address(9, 1)
    found = order(situation(dict.fromkeys((A1, A2, third_a), PLAIN), dict.fromkeys((B1, B2, third_b), PLAIN)))
    shared = [pair.shared(Pair(A1, B1)) for pair in found]
    assert shared == [0] * 4 + [1] * 4 + [2]
    assert len(set(found)) == 9


def test_preferences_order_equals() -> None:
    """RFC 5533 §5.15.3: lower priority first, TRANSIENT later."""
    peers = {B1: PLAIN, B2: Preference(0, 10, 0), C1: Preference(0, 5, 0)}
    assert [pair.peer for pair in order(situation({A1: PLAIN, A2: PLAIN}, peers)) if pair.local == A2] == [
        C1,
        B2,
        B1,  # shares an address with the failed pair
    ]
    peers = {B1: PLAIN, B2: TRANSIENT, C1: PLAIN}
    assert [pair.peer for pair in order(situation({A2: PLAIN}, peers))][:2] == [C1, B2]


def test_a_pair_that_failed_lately_comes_later_until_it_answers() -> None:
    bad = {Pair(A2, B2): PairRecord(answered_ns=5, failed_ns=9)}
    good = {Pair(A2, B2): PairRecord(answered_ns=9, failed_ns=5)}
    peers = {B1: PLAIN, B2: PLAIN, C1: PLAIN}
    for seed in range(8):
        assert order(situation({A1: PLAIN, A2: PLAIN}, peers, records=bad), seed)[0] == (A2, C1)
    firsts = {order(situation({A1: PLAIN, A2: PLAIN}, peers, records=good), seed)[0] for seed in range(20)}
    assert firsts == {(A2, B2), (A2, C1)}


def test_weights_share_what_priorities_leave_equal() -> None:
    """RFC 5533 §5.15.3, as in DNS SRV."""
    asked = situation({A2: PLAIN}, {B2: Preference(0, 0, 0), C1: Preference(0, 0, 3)})
    first = [order(asked, seed)[0].peer for seed in range(400)]
    assert 0.7 < first.count(C1) / 400 < 0.9


def test_a_hint_tries_the_current_pair_first() -> None:
    """RFC 5534 §3.3."""
    asked = situation({A1: PLAIN, A2: PLAIN}, {B1: PLAIN, B2: PLAIN}, Cause.HINT)
    assert order(asked)[0] == (A1, B1)


def test_the_way_that_the_peers_probe_came_is_tried_first() -> None:
    """RFC 5534 App. A, example 4."""
    asked = situation({A1: PLAIN, A2: PLAIN}, {B1: PLAIN, B2: PLAIN}, Cause.PEER_EXPLORES, first=Pair(A1, B2))
    assert order(asked)[0] == (A1, B2)


def test_pairs_beyond_the_rules_are_left_out() -> None:
    """RFC 5534 §3.1, §4.3: no link-local, multicast or unspecified address; ULA with global comes last."""
    found = order(situation({A1: PLAIN, LINK_LOCAL: PLAIN, ULA: PLAIN}, {B2: PLAIN, bytes(16): PLAIN}))
    assert found == [(A1, B2), (ULA, B2)] or found == [(ULA, B2), (A1, B2)]
    assert order(situation({A1: PLAIN, ULA: PLAIN}, {B2: PLAIN}, current=Pair(C1, C1)))[0] == (A1, B2)
    assert [is_routable(one) for one in (A1, ULA, LINK_LOCAL, bytes(16), b"\xff" + bytes(15), b"")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip


@given(
    locals_=st.dictionaries(st.sampled_from([A1, A2, ULA]), st.builds(Preference, st.integers(0, 3))),
    peers=st.dictionaries(st.sampled_from([B1, B2, C1]), st.builds(Preference, st.integers(0, 3))),
    cause=st.sampled_from(Cause),
    seed=st.integers(0, 99),
)
def test_every_pair_is_tried_once(
    locals_: dict[bytes, Preference], peers: dict[bytes, Preference], cause: Cause, seed: int
) -> None:
    found = order(situation(locals_, peers, cause), seed)
    assert sorted(found) == sorted(Pair(local, peer) for local in locals_ for peer in peers)


# Choice.


@pytest.mark.parametrize(
    ("cause", "answers", "chosen"),
    [
        (Cause.SEND_TIMEOUT, [(A2, B2, 9), (A1, B1, 50)], (A1, B1)),
        (Cause.SEND_TIMEOUT, [(A2, B2, 9), (A1, B2, 5)], (A1, B2)),
        (Cause.PREFERENCE, [(A1, B1, 5), (A2, B2, 50)], (A2, B2)),
    ],
)
def test_the_current_pair_then_the_lowest_delay(
    cause: Cause, answers: list[tuple[bytes, bytes, int]], chosen: tuple[bytes, bytes]
) -> None:
    asked = situation({A1: Preference(0, 9), A2: PLAIN}, {B1: PLAIN, B2: PLAIN}, cause)
    known = [Answer(Pair(local, peer), delay_ns) for local, peer, delay_ns in answers]
    assert PairPolicy().choose(asked, known, order(asked)) == chosen


def test_only_a_better_liked_pair_is_a_reason_to_move() -> None:
    policy, chance = PairPolicy(), Random(0)
    equal = situation({A1: PLAIN, A2: PLAIN}, {B1: PLAIN, B2: PLAIN}, Cause.PREFERENCE, current=Pair(A2, B2))
    assert not policy.wants_another(equal, chance)
    worse = situation({A1: PLAIN}, {B1: Preference(0, 1), B2: PLAIN}, Cause.PREFERENCE)
    assert policy.wants_another(worse, chance)
    gone = situation({A2: PLAIN}, {B1: PLAIN}, Cause.PREFERENCE)
    assert policy.wants_another(gone, chance)
