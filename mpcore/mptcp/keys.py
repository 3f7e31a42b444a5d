"""Keys and what is computed from them: token, IDSN, HMACs (RFC 8684 §3.1, §3.2, §3.4.1).

Keys are 64-bit integers, hashed in network byte order. They are secrets: log the token instead.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Protocol

KEY_ATTEMPTS = 4
JOIN_SYNACK_HMAC_SIZE = 8
JOIN_ACK_HMAC_SIZE = 20
ADD_ADDR_HMAC_SIZE = 8


class RandomSource(Protocol):
    """The part of `random.Random` that the cores use."""

    def getrandbits(self, k: int, /) -> int:
        """Return an integer of `k` random bits."""

    def randrange(self, start: int, stop: int, /) -> int:
        """Return an integer in [start, stop)."""


def token(key: int) -> int:
    """Return the connection token of a key: the first 32 bits of its SHA-256 (RFC 8684 §3.1)."""
    return int.from_bytes(_digest(key)[:4])


def idsn(key: int) -> int:
    """Return the initial data sequence number of a key: the last 64 bits of its SHA-256 (RFC 8684 §3.1)."""
    return int.from_bytes(_digest(key)[-8:])


def nonzero(rng: RandomSource, bits: int) -> int:
    """Return a random integer of `bits` bits that is not 0."""
    return rng.randrange(1, 1 << bits)


def new_key(rng: RandomSource, token_in_use: Callable[[int], bool]) -> int | None:
    """Return a key whose token is free, or None when a few attempts found none.

    RFC 8684 §3.1: the token must be unique on this host; without one the connection is plain TCP. A key of 0
    is never drawn, because peers use it to say "none".
    """
    for _ in range(KEY_ATTEMPTS):
        key = nonzero(rng, 64)
        if not token_in_use(token(key)):
            return key
    return None


def join_hmac(key_sender: int, key_receiver: int, nonce_sender: int, nonce_receiver: int) -> bytes:
    """Return the 32-octet HMAC of an MP_JOIN, seen from its sender (RFC 8684 §3.2).

    The SYN/ACK carries its first 8 octets, the third ACK its first 20.
    """
    message = nonce_sender.to_bytes(4) + nonce_receiver.to_bytes(4)
    return _hmac(key_sender, key_receiver, message)


def add_addr_hmac(
    key_sender: int, key_receiver: int, address_id: int, address: bytes, port: int | None
) -> bytes:
    """Return the 8-octet HMAC of an ADD_ADDR: the last octets of the whole (RFC 8684 §3.4.1).

    An absent port counts as 0.
    """
    message = address_id.to_bytes(1) + address + (port or 0).to_bytes(2)
    return _hmac(key_sender, key_receiver, message)[-ADD_ADDR_HMAC_SIZE:]


def hmac_equal(received: bytes, expected: bytes) -> bool:
    """Compare in a time that tells nothing about the first difference."""
    return hmac.compare_digest(received, expected)


def _digest(key: int) -> bytes:
    return hashlib.sha256(key.to_bytes(8)).digest()


def _hmac(key_sender: int, key_receiver: int, message: bytes) -> bytes:
    # RFC 8684 §3.2: the sender's key comes first.
    return hmac.digest(key_sender.to_bytes(8) + key_receiver.to_bytes(8), message, "sha256")
