"""Keys, tokens and HMACs (RFC 8684 §3.1, §3.2, §3.4.1)."""

import hashlib
import hmac
import random

from hypothesis import given
from hypothesis import strategies as st

from mpcore.mptcp import keys

KEYS = st.integers(0, 2**64 - 1)
NONCES = st.integers(0, 2**32 - 1)


@given(KEYS)
def test_token_and_idsn_are_the_two_ends_of_sha256(key: int) -> None:
    """RFC 8684 §3.1: token is the most significant 32 bits, IDSN the least significant 64."""
    digest = hashlib.sha256(key.to_bytes(8, "big")).digest()
    assert keys.token(key).to_bytes(4) == digest[:4]
    assert keys.idsn(key).to_bytes(8) == digest[24:]


def test_token_of_a_known_key() -> None:
    """SHA-256 of eight zero octets begins with af5570f5."""
    assert keys.token(0) == 0xAF5570F5


def test_hmac_is_that_of_rfc_4231_construction() -> None:
    """RFC 8684 §3.2 over RFC 2104; the Linux kernel's own test of its MPTCP HMAC has this vector."""
    key_a, key_b = int.from_bytes(b"0b0b0b0b"), int.from_bytes(b"0b0b0b0b")
    nonce_a, nonce_b = int.from_bytes(b"4869"), int.from_bytes(b"2054")
    found = keys.join_hmac(key_a, key_b, nonce_a, nonce_b)
    assert found.hex() == "8385e24fb4235ac37556b6b886db106284a1da671699f46db1f235ec622dcafa"


@given(KEYS, KEYS, NONCES, NONCES)
def test_each_side_computes_what_the_other_sends(key_a: int, key_b: int, nonce_a: int, nonce_b: int) -> None:
    """RFC 8684 §3.2, Figure 8: the sender's key and nonce come first."""
    message = nonce_b.to_bytes(4) + nonce_a.to_bytes(4)
    expected = hmac.new(key_b.to_bytes(8) + key_a.to_bytes(8), message, hashlib.sha256).digest()
    assert keys.join_hmac(key_b, key_a, nonce_b, nonce_a) == expected


@given(KEYS, KEYS, st.integers(0, 255), st.binary(min_size=4, max_size=4), st.integers(0, 65535))
def test_add_addr_hmac_is_the_last_eight_octets(
    key_a: int, key_b: int, number: int, address: bytes, port: int
) -> None:
    """RFC 8684 §3.4.1: id, address and port, the port 0 where absent."""
    message = bytes([number]) + address + port.to_bytes(2)
    whole = hmac.new(key_a.to_bytes(8) + key_b.to_bytes(8), message, hashlib.sha256).digest()
    assert keys.add_addr_hmac(key_a, key_b, number, address, port or None) == whole[24:]


def test_new_key_is_never_zero_and_avoids_taken_tokens() -> None:
    """RFC 8684 §3.1: a token must be unique on the host."""
    first = random.Random(7).randrange(1, 1 << 64)
    taken = {keys.token(first)}
    key = keys.new_key(random.Random(7), taken.__contains__)
    assert key is not None
    assert key not in (0, first)


def test_new_key_gives_up_when_all_tokens_are_taken() -> None:
    """RFC 8684 §3.1: then the connection is plain TCP."""
    assert keys.new_key(random.Random(1), lambda token: True) is None
