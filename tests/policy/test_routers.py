"""Which routers a source address may leave by (RFC 8028 §3.1)."""

from __future__ import annotations

import socket
from random import Random

import pytest

from mpcore.policy.routers import NEVER_NS, PREFIXES_MAX, ROUTERS_MAX, SECOND_NS, RouterTable
from mpcore.wire.router import FOREVER_S, AdvertisedPrefix, Preference, RouterAdvertisement

UP1, UP2 = 1, 2


def packed(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


R = [packed(f"fe80::{number}") for number in range(64)]
OWN = [packed(f"2001:db8:{number}::7") for number in range(4)]


def says(
    *numbers: int, valid_s: int = 600, lifetime_s: int = 1800, preference: Preference = Preference.MEDIUM
) -> RouterAdvertisement:
    prefixes = tuple(AdvertisedPrefix(packed(f"2001:db8:{n}::"), 64, valid_s) for n in numbers)
    return RouterAdvertisement(lifetime_s, preference, prefixes)


def test_each_source_leaves_by_the_router_that_advertises_its_prefix() -> None:
    """RFC 8028 §3.1."""
    table = RouterTable()
    assert table.handle_advertisement(UP1, R[1], says(1), 0)
    assert table.handle_advertisement(UP1, R[2], says(2), 0)
    assert table.advertisers(UP1, OWN[1]) == [R[1]]
    assert table.advertisers(UP1, OWN[2]) == [R[2]]
    assert table.advertisers(UP1, OWN[3]) == []
    assert table.advertisers(UP2, OWN[1]) == []


def test_of_several_the_preferred_one_comes_first_then_who_was_heard_first() -> None:
    """RFC 4191 §2.1."""
    table = RouterTable()
    for number, preference in ((1, Preference.LOW), (2, Preference.MEDIUM), (3, Preference.HIGH)):
        table.handle_advertisement(UP1, R[number], says(1, preference=preference), 0)
    table.handle_advertisement(UP1, R[4], says(1), 0)
    assert table.advertisers(UP1, OWN[1]) == [R[3], R[2], R[4], R[1]]
    assert table.handle_advertisement(UP1, R[1], says(1, preference=Preference.HIGH), 0)
    assert table.advertisers(UP1, OWN[1]) == [R[1], R[3], R[2], R[4]]


def test_the_preference_never_outweighs_the_prefix() -> None:
    """RFC 8028 §3.1: regardless of the default router preference."""
    table = RouterTable()
    table.handle_advertisement(UP1, R[1], says(1, preference=Preference.LOW), 0)
    table.handle_advertisement(UP1, R[2], says(2, preference=Preference.HIGH), 0)
    assert table.advertisers(UP1, OWN[1]) == [R[1]]


def test_what_is_said_again_changes_nothing_but_how_long_it_holds() -> None:
    table = RouterTable()
    table.handle_advertisement(UP1, R[1], says(1), 0)
    assert not table.handle_advertisement(UP1, R[1], says(1), 100 * SECOND_NS)
    assert table.poll_timeout() == 700 * SECOND_NS
    assert not table.handle_timeout(650 * SECOND_NS)
    assert table.advertisers(UP1, OWN[1]) == [R[1]]


def test_a_prefix_counts_while_it_is_valid() -> None:
    table = RouterTable()
    table.handle_advertisement(UP1, R[1], says(1, valid_s=600), 0)
    table.handle_advertisement(UP1, R[1], says(2, valid_s=FOREVER_S), 0)
    assert table.handle_timeout(600 * SECOND_NS)
    assert table.advertisers(UP1, OWN[1]) == []
    assert table.advertisers(UP1, OWN[2]) == [R[1]]


def test_a_router_takes_a_prefix_back_by_a_lifetime_of_zero() -> None:
    table = RouterTable()
    table.handle_advertisement(UP1, R[1], says(1, 2), 0)
    assert table.handle_advertisement(UP1, R[1], says(1, valid_s=0), 0)
    assert table.advertisers(UP1, OWN[1]) == []
    assert table.advertisers(UP1, OWN[2]) == [R[1]], "one that is not named stays (RFC 4861 §6.3.4)"


def test_the_end_of_a_router_is_told_once_its_route_has_gone() -> None:
    """The kernel's route ends with the lifetime, so the choice is made anew a little later."""
    table = RouterTable()
    table.handle_advertisement(
        UP1, R[1], says(1, valid_s=FOREVER_S, lifetime_s=30, preference=Preference.HIGH), 0
    )
    table.handle_advertisement(UP1, R[2], says(1, valid_s=FOREVER_S, lifetime_s=1800), 0)
    assert table.poll_timeout() == 31 * SECOND_NS
    assert table.handle_timeout(31 * SECOND_NS)
    assert table.advertisers(UP1, OWN[1]) == [R[1], R[2]], "an administrator may still route by it"
    assert table.poll_timeout() == 1801 * SECOND_NS


def test_who_is_nobodys_router_and_says_nothing_is_forgotten() -> None:
    table = RouterTable()
    assert not table.handle_advertisement(UP1, R[1], says(lifetime_s=0), 0)
    assert not table.knows(UP1, R[1])
    table.handle_advertisement(UP1, R[1], says(1, lifetime_s=9, valid_s=9), 0)
    assert table.knows(UP1, R[1])
    table.handle_timeout(10 * SECOND_NS)
    assert not table.knows(UP1, R[1])
    assert table.poll_timeout() is None


def test_what_never_ends_needs_no_timer() -> None:
    table = RouterTable()
    table.handle_advertisement(UP1, R[1], says(1, valid_s=FOREVER_S, lifetime_s=0), 0)
    assert table.poll_timeout() is None
    assert not table.handle_timeout(NEVER_NS - 1)
    assert table.advertisers(UP1, OWN[1]) == [R[1]]


def test_a_flood_of_routers_is_bounded_and_does_not_push_out_default_routers() -> None:
    table = RouterTable()
    table.handle_advertisement(UP1, R[0], says(1, valid_s=FOREVER_S), 0)
    for router in R[1:]:
        table.handle_advertisement(UP1, router, says(2, valid_s=FOREVER_S), 0, {(UP1, R[0]), (UP2, R[1])})
        assert len(table.advertisers(UP1, OWN[2])) < ROUTERS_MAX
    assert table.advertisers(UP1, OWN[1]) == [R[0]]
    everyone = {(UP1, router) for router in R}
    assert table.refused == 0
    for router in R:
        table.handle_advertisement(UP1, router, says(2), 0, everyone)
    assert table.refused > 0
    table.handle_advertisement(UP2, R[1], says(3), 0)
    assert table.advertisers(UP2, OWN[3]) == [R[1]], "each link has its own"


def test_a_flood_of_prefixes_is_bounded() -> None:
    table = RouterTable()
    table.handle_advertisement(UP1, R[1], says(1), 0)
    table.handle_advertisement(UP1, R[1], says(*range(2, 100)), 0)
    assert table.refused == 99 - PREFIXES_MAX
    assert table.advertisers(UP1, OWN[1]) == [R[1]]


@pytest.mark.parametrize("seed", range(3))
def test_after_any_history_the_table_tells_what_holds(seed: int) -> None:
    """Against a plain record of who said what, and until when."""
    rng, table, now = Random(seed), RouterTable(), 0
    record: dict[tuple[int, bytes, int], int] = {}
    for _ in range(1000):
        now += rng.randrange(5) * SECOND_NS
        table.handle_timeout(now)
        link, router, number = rng.choice((UP1, UP2)), R[rng.randrange(4)], rng.randrange(4)
        valid_s, lifetime_s = rng.choice((0, 3, 20)), rng.choice((0, 9))
        said = says(number, valid_s=valid_s, lifetime_s=lifetime_s)
        table.handle_advertisement(link, router, said, now)
        record[link, router, number] = now + valid_s * SECOND_NS
        for asked, own in enumerate(OWN):
            expected = {key[1] for key, until in record.items() if key[::2] == (link, asked) and until > now}
            assert set(table.advertisers(link, own)) == expected
        due = table.poll_timeout()
        assert due is None or due > now
