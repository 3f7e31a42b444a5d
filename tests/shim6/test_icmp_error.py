"""ICMPv6 errors get the ULIDs back, and nothing else changes (RFC 5533 §8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.shim6.icmp_error import read_error, restore_error
from mpcore.wire.rewrite import Shim6Flow
from tests.helpers.shim6 import HOP_BY_HOP, ROUTING, TCP, icmp6, icmp6_ok, packet
from tests.shim6.world import A1, A2, B1, B2, C1

UNREACHABLE, TOO_BIG, TIME_EXCEEDED, PROBLEM = 1, 2, 3, 4
TAG = 0x1234_5678_9ABC
ORIGINAL = packet(A1, B1, TCP, upper=bytes(range(100)))
SENT = Shim6Flow(A2, B2, TAG).insert(ORIGINAL)


def error(kind: int, value: int, quote: bytes, code: int = 0) -> bytes:
    return icmp6(C1, A2, bytes([kind, code, 0, 0]) + value.to_bytes(4) + quote)


def restored(data: bytes) -> bytes:
    result = restore_error(data, A1, B1)
    assert result is not None
    assert icmp6_ok(result)
    assert result[8:40] == data[8:40]
    assert len(result) == 40 + int.from_bytes(result[4:6])
    return result


def test_the_quote_is_the_packet_that_the_transport_sent() -> None:
    # RFC 5533 §8, figure 9
    assert restored(error(UNREACHABLE, 0, SENT))[48:] == ORIGINAL


@pytest.mark.parametrize("size", [48, 49, 60, 100])
def test_a_quote_cut_short(size: int) -> None:
    assert restored(error(UNREACHABLE, 0, SENT[:size]))[48:] == ORIGINAL[: size - 8]


def test_behind_routing_headers() -> None:
    original = packet(A1, B1, HOP_BY_HOP, ROUTING, TCP)
    sent = Shim6Flow(A2, B2, TAG).insert(original)
    assert restored(error(TIME_EXCEEDED, 0, sent))[48:] == original


@pytest.mark.parametrize(("mtu", "expected"), [(1500, 1492), (1280, 1272), (7, 0), (2**32 - 1, 2**32 - 9)])
def test_the_mtu_is_8_octets_less(mtu: int, expected: int) -> None:
    # RFC 5533 §8: "the reported MTU must be adjusted to be 8 octets less"
    assert restored(error(TOO_BIG, mtu, SENT))[44:48] == expected.to_bytes(4)


@pytest.mark.parametrize(("pointer", "expected"), [(7, 7), (40, 6), (47, 6), (48, 40), (60, 52)])
def test_pointers_move_with_what_they_point_at(pointer: int, expected: int) -> None:
    assert restored(error(PROBLEM, pointer, SENT))[44:48] == expected.to_bytes(4)


@pytest.mark.parametrize("words", [16, 17, 18])
def test_extensions_stay_where_the_length_says(words: int) -> None:
    # RFC 4884 §4.2, §4.5: the quote has at least 128 octets when extensions follow
    quote = SENT[: 8 * words].ljust(8 * words, b"\0")
    extensions = b"\x20\0\xab\xcd" + bytes(range(12))
    result = restored(error(UNREACHABLE, words << 24, quote + extensions))
    length = result[44]
    assert length == max(16, words - 1)
    assert result[48 : 48 + 8 * length] == ORIGINAL[: 8 * words - 8].ljust(8 * length, b"\0")
    assert result[48 + 8 * length :] == extensions


@pytest.mark.parametrize(
    "data",
    [
        error(UNREACHABLE, 0, ORIGINAL),  # no Shim6 header: nothing to put back
        error(UNREACHABLE, 0, SENT[:47]),
        error(UNREACHABLE, 0, SENT[:39]),
        error(UNREACHABLE, 200 << 24, SENT),  # a length beyond the message
        error(128, 0, SENT),
        error(UNREACHABLE, 0, SENT)[:-1],
        packet(C1, A2, TCP),
        b"",
    ],
)
def test_what_cannot_be_restored_is_left(data: bytes) -> None:
    assert restore_error(data, A1, B1) is None


def test_a_wrong_checksum_stays_wrong() -> None:
    data = bytearray(error(TOO_BIG, 1400, SENT))
    data[-1] ^= 1
    assert restore_error(bytes(data), A1, B1) is None
    assert read_error(bytes(data)) is None


def test_reading() -> None:
    assert read_error(error(PROBLEM, 40, SENT, code=1)) == (PROBLEM, 1, 40, SENT)


@given(st.binary(max_size=300), st.integers(0, 255), st.integers(0, 255))
def test_any_bytes_at_all(quote: bytes, kind: int, words: int) -> None:
    for start in (b"", SENT[:40], SENT[:48]):
        data = error(kind, words << 24, start + quote)
        result = restore_error(data, A1, B1)
        assert result is None or (icmp6_ok(result) and len(result) <= len(data))
    restore_error(quote, A1, B1)
