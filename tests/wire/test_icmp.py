"""ICMP errors about TCP segments (RFC 792, RFC 1191, RFC 4443)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.errors import WireError
from mpcore.wire.icmp import PLATEAUS, IcmpError, parse_icmp_error
from mpcore.wire.values import Segment, emit_segment
from tests.helpers.icmp import icmp_error

versions = pytest.mark.parametrize("version", [4, 6])


def packet(version: int) -> bytes:
    src, dst = (bytes([number]) * (4 if version == 4 else 16) for number in (10, 20))
    return emit_segment(Segment(version, src, dst, 40000, 80, 0x12345678, 1, 16, 100, (), bytes(1380)))


@versions
@pytest.mark.parametrize("mtu", [1300, None])
def test_an_error_names_the_segment_it_is_about(version: int, mtu: int | None) -> None:
    """The shortest quote of RFC 792 is enough: the ports and the sequence number."""
    whole = packet(version)
    error = parse_icmp_error(version, icmp_error(version, whole, mtu))
    addresses = (bytes([10]) * (4 if version == 4 else 16), bytes([20]) * (4 if version == 4 else 16))
    assert error == IcmpError(mtu, error.code, *addresses, 40000, 80, 0x12345678, len(whole))


def test_an_old_router_that_tells_no_size_means_the_next_plateau() -> None:
    """RFC 1191 §5, §7.1."""
    error = parse_icmp_error(4, icmp_error(4, packet(4), 0))
    assert error.mtu == 1006
    assert all(larger > smaller for larger, smaller in pairwise(PLATEAUS))


@versions
@pytest.mark.parametrize("quoted", [0, 8, 19, 27])
def test_a_quote_that_is_too_short_is_refused(version: int, quoted: int) -> None:
    with pytest.raises(WireError):
        parse_icmp_error(version, icmp_error(version, packet(version), 1300, quoted=quoted))


def test_a_damaged_message_is_refused() -> None:
    message = bytearray(icmp_error(4, packet(4), 1300))
    message[7] ^= 1
    with pytest.raises(WireError, match="checksum"):
        parse_icmp_error(4, bytes(message))


@given(version=st.sampled_from([4, 6]), message=st.binary(max_size=80))
def test_any_bytes_give_an_error_or_are_refused(version: int, message: bytes) -> None:
    try:
        found = parse_icmp_error(version, message)
    except WireError:
        return
    assert 0 <= found.src_port < 1 << 16


@given(version=st.sampled_from([4, 6]), at=st.integers(0, 60), value=st.integers(0, 255))
def test_a_changed_octet_does_no_harm(version: int, at: int, value: int) -> None:
    message = bytearray(icmp_error(version, packet(version), 1300))
    message[at % len(message)] = value
    try:
        parse_icmp_error(version, bytes(message))
    except WireError:
        return
