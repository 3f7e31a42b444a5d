"""Prefixes and their lifetimes, as RFC 4862 §5.5.3 wants them taken."""

import pytest

from mpcore.shim6.advertised import FOREVER_S, NEVER_NS, PrefixTable
from mpcore.shim6.prefixes import parse_prefix
from mpcore.shim6.settings import SECOND

P = [parse_prefix(f"2001:db8:{number}::/64") for number in range(4)]
HOUR = 3600


def table(limit: int = 3) -> PrefixTable:
    return PrefixTable(limit)


def lifetimes(known: PrefixTable, prefix: bytes, now_s: int) -> tuple[int, int]:
    entry = known.get(prefix)
    assert entry is not None
    return entry.remaining(now_s * SECOND)


def test_a_prefix_has_the_lifetimes_that_its_router_says() -> None:
    known = table()
    assert known.advertise(P[0], "up1", 600, 1200, 0) is not None
    assert lifetimes(known, P[0], 100) == (500, 1100)
    assert lifetimes(known, P[0], 700) == (0, 500)
    assert not known.expire(1199 * SECOND)
    assert [entry.prefix for entry in known.expire(1200 * SECOND)] == [P[0]]
    assert P[0] not in known


@pytest.mark.parametrize(
    ("prefix", "preferred", "valid"),
    [
        (P[0], 2, 1),  # §5.5.3 c
        (P[0], 0, 0),  # d: none to be formed
        (parse_prefix("fe80::/64"), 1, 1),  # b
        (parse_prefix("ff02::/64"), 1, 1),
        (bytes(8), 1, 1),
    ],
)
def test_what_makes_no_sense_is_ignored(prefix: bytes, preferred: int, valid: int) -> None:
    known = table()
    assert known.advertise(prefix, "up1", preferred, valid, 0) is None
    assert not list(known)


@pytest.mark.parametrize(
    ("left", "said", "then"),
    [
        (HOUR, 2 * HOUR + 1, 2 * HOUR + 1),  # e 1: above two hours
        (HOUR, HOUR + 5, HOUR + 5),  # e 1: above what is left
        (HOUR, 10, HOUR),  # e 2: what is left is below two hours
        (5 * HOUR, 10, 2 * HOUR),  # e 3
        (5 * HOUR, 0, 2 * HOUR),
    ],
)
def test_a_forged_advertisement_ends_no_address(left: int, said: int, then: int) -> None:
    """RFC 4862 §5.5.3 e; the preferred lifetime is always that of the advertisement."""
    known = table()
    known.advertise(P[0], "up1", left, left, 0)
    known.advertise(P[0], "up1", 0, said, 0)
    assert lifetimes(known, P[0], 0) == (0, then)


def test_a_lifetime_can_be_without_end() -> None:
    known = table()
    known.advertise(P[0], "up1", 10, FOREVER_S, 0)
    assert lifetimes(known, P[0], 11) == (0, FOREVER_S)
    assert known.poll_timeout() == NEVER_NS


def test_what_the_administrator_names_is_for_ever_and_routers_do_not_change_it() -> None:
    known = table()
    known.add_fixed(P[0], "up1")
    assert known.advertise(P[0], "up1", 0, 10, 0) is None
    assert lifetimes(known, P[0], 10**6) == (FOREVER_S, FOREVER_S)


def test_prefixes_are_bounded_and_the_first_ones_stay() -> None:
    known = table(2)
    for prefix in P:
        known.advertise(prefix, "up1", 10, 10, 0)
    assert [entry.prefix for entry in known] == P[:2]
    assert known.refused == 2


def test_the_kernel_is_told_only_of_lifetimes_that_differ() -> None:
    known = table()
    entry = known.advertise(P[0], "up1", 600, 1200, 0)
    assert entry is not None
    ends = entry.preferred_until, entry.valid_until
    assert not entry.differs(*ends, SECOND)
    known.advertise(P[0], "up1", 600, 1200, 9 * SECOND)
    assert not entry.differs(*ends, 9 * SECOND)
    known.advertise(P[0], "up1", 600, 1200, 11 * SECOND)
    assert entry.differs(*ends, 11 * SECOND)
    known.advertise(P[0], "up1", 0, 1200, 12 * SECOND)
    assert entry.differs(entry.preferred_until + 60 * SECOND, entry.valid_until, 12 * SECOND)
