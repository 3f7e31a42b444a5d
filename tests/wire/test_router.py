"""Router advertisements: what a host has to refuse, and what it understands (RFC 4861, RFC 4191)."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.errors import WireError
from mpcore.wire.router import (
    FOREVER_S,
    AdvertisedPrefix,
    Preference,
    RouterAdvertisement,
    parse_router_advertisement,
)
from tests.helpers.routers import HIGH, LOW, MEDIUM, RESERVED, prefix_option, router_header

ROUTER = socket.inet_pton(socket.AF_INET6, "fe80::1")
MTU_OPTION = struct.pack(">BBHI", 5, 1, 0, 1500)


def packed(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


def parse(message: bytes, source: bytes = ROUTER, hop_limit: int = 255) -> RouterAdvertisement:
    return parse_router_advertisement(message, source, hop_limit)


def route_option(text: str, bits: int, preference: int, lifetime_s: int, words: int = 3) -> bytes:
    """A Route Information option (RFC 4191 §2.3) of so many words of 8 octets."""
    head = struct.pack(">BBBBI", 24, words, bits, preference << 3, lifetime_s)
    return head + packed(text)[: 8 * (words - 1)]


def test_what_a_router_says() -> None:
    message = router_header(1800, HIGH) + MTU_OPTION
    message += prefix_option("2001:db8:1::", 1200)
    message += prefix_option("2001:db8:2::", FOREVER_S, flags=0, bits=48)
    assert parse(message) == RouterAdvertisement(
        1800,
        Preference.HIGH,
        (
            AdvertisedPrefix(packed("2001:db8:1::"), 64, 1200),
            AdvertisedPrefix(packed("2001:db8:2::"), 48, FOREVER_S),
        ),
    )


@pytest.mark.parametrize(
    ("message", "source", "hops"),
    [
        (router_header(), "fe80::1", 254),
        (router_header(), "fe80::1", -1),
        (router_header(), "2001:db8::1", 255),
        (router_header(), "::", 255),
        (router_header(), "fec0::1", 255),
        (router_header()[:15], "fe80::1", 255),
        (b"", "fe80::1", 255),
        (b"\x85" + router_header()[1:], "fe80::1", 255),
        (b"\x86\x01" + router_header()[2:], "fe80::1", 255),
        (router_header() + b"\5\0\0\0\0\0\0\0", "fe80::1", 255),
        (router_header() + b"\5", "fe80::1", 255),
        (router_header() + prefix_option("2001:db8::", 9)[:-1], "fe80::1", 255),
        (router_header() + prefix_option("2001:db8::", 9) + b"\5\2\0\0\0\0\0\0", "fe80::1", 255),
    ],
)
def test_what_no_router_may_send_is_refused_whole(message: bytes, source: str, hops: int) -> None:
    """RFC 4861 §6.1.2: hop limit, source, code, length, and options without or with too much of it."""
    with pytest.raises(WireError):
        parse(message, packed(source), hops)


@pytest.mark.parametrize("source", ["fe80::1", "febf:ffff::1"])
def test_all_of_fe80_10_is_link_local(source: str) -> None:
    parse(router_header(), packed(source))


@pytest.mark.parametrize(
    ("bits", "lifetime", "preference"),
    [
        (MEDIUM, 1800, Preference.MEDIUM),
        (HIGH, 1800, Preference.HIGH),
        (LOW, 1800, Preference.LOW),
        (RESERVED, 1800, Preference.MEDIUM),
        (HIGH, 0, Preference.MEDIUM),
    ],
)
def test_preferences(bits: int, lifetime: int, preference: Preference) -> None:
    """RFC 4191 §2.2: the reserved one is the usual one, and who is no default router has none."""
    assert parse(router_header(lifetime, bits)).preference is preference


@pytest.mark.parametrize("words", [1, 2, 3])
def test_a_route_option_for_everything_overrides_the_header(words: int) -> None:
    """RFC 4191 §3.1."""
    said = parse(router_header(1800, LOW) + route_option("::", 0, HIGH, 60, words))
    assert (said.lifetime_s, said.preference) == (60, Preference.HIGH)


@pytest.mark.parametrize(
    "option", [route_option("2001:db8::", 64, HIGH, 60), route_option("::", 0, RESERVED, 60)]
)
def test_other_route_options_say_nothing_of_the_default_router(option: bytes) -> None:
    """RFC 4191 §2.3: one with the reserved preference is ignored."""
    assert parse(router_header(1800, LOW) + option) == parse(router_header(1800, LOW))


@pytest.mark.parametrize(
    "option",
    [
        prefix_option("fe80::", 600, bits=64),
        prefix_option("2001:db8::", 600, bits=129),
        prefix_option("2001:db8::", 600, bits=0),
        b"\3\1" + bytes(6),
    ],
)
def test_prefixes_that_say_nothing_are_passed_over(option: bytes) -> None:
    """RFC 4861 §4.6.2: a link-local prefix is ignored."""
    good = prefix_option("2001:db8:1::", 60)
    assert len(parse(router_header() + option + good).prefixes) == 1


def test_bits_behind_the_prefix_do_not_count() -> None:
    (prefix,) = parse(router_header() + prefix_option("2001:db8:1::5", 600, bits=60)).prefixes
    assert prefix == AdvertisedPrefix(packed("2001:db8:1::"), 60, 600)
    assert packed("2001:db8:1:f::9") in prefix
    assert packed("2001:db8:1:10::9") not in prefix


PARTS = st.one_of(
    st.builds(prefix_option, st.just("2001:db8:1::"), st.integers(0, FOREVER_S), bits=st.integers(0, 255)),
    st.builds(
        route_option, st.just("::"), st.integers(0, 255), st.integers(0, 3), st.integers(0, FOREVER_S),
        st.integers(1, 3),
    ),
    st.just(MTU_OPTION),
    st.binary(max_size=40),
)  # fmt: skip
MESSAGES = st.builds(
    lambda head, parts, end: (head + b"".join(parts))[: end or None],
    st.just(router_header()) | st.binary(max_size=20),
    st.lists(PARTS, max_size=6),
    st.integers(0, 200),
)


@given(MESSAGES, st.binary(min_size=16, max_size=16) | st.just(ROUTER), st.just(255) | st.integers(-1, 255))
def test_no_octets_do_harm(message: bytes, source: bytes, hops: int) -> None:
    with suppress(WireError):
        said = parse(message, source, hops)
        assert hops == 255
        assert len(said.prefixes) <= len(message) // 32
        assert all(len(each.prefix) == 16 and 0 < each.bits <= 128 for each in said.prefixes)
        assert all(each.prefix in each for each in said.prefixes)


@given(st.lists(PARTS, max_size=4), st.integers(0, 300))
def test_a_cut_is_refused_or_leaves_whole_options(parts: list[bytes], end: int) -> None:
    """What is understood of a message that was cut is the beginning of what is understood of all."""
    whole = router_header() + b"".join(parts)
    with suppress(WireError):
        everything = parse(whole).prefixes
        with suppress(WireError):
            assert parse(whole[:end]).prefixes == everything[: len(parse(whole[:end]).prefixes)]
