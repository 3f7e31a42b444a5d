"""Validators: how a responder knows its own R1 and R1bis without keeping state (RFC 5533 §7.10, §7.17)."""

import hmac
from hashlib import blake2s

from mpcore.shim6.tags import RandomSource

VALIDATOR_SIZE = 16

_SECRET_SIZE = 32
_PERIODS_PER_LIFETIME = 3
_PERIODS_PER_SECRET = 60
_NONCE_MASK = 0xFFFFFFFF
# What the validator is for, so that one of R1 is never one of R1bis.
_FOR_R1 = b"\x01"
_FOR_R1BIS = b"\x02"


class Responder:
    """Makes and checks validators: BLAKE2s with a key (RFC 7693), over all that the answer must repeat.

    The responder nonce counts periods of a third of the lifetime from a random start, so its age shows
    without state. The Initiator Nonce is not covered: RFC 5533 §7.11 lets it change between I1 and I2. The
    secret changes every 60 periods; the one before is kept (RFC 5533 §16.2).
    """

    def __init__(self, rng: RandomSource, lifetime_ns: int) -> None:
        self._rng = rng
        self._period_ns = max(1, lifetime_ns // _PERIODS_PER_LIFETIME)
        self._start = rng.getrandbits(32)
        self._secrets: dict[int, bytes] = {}

    def nonce(self, now_ns: int) -> int:
        """Return the responder nonce of this moment."""
        return (self._start + now_ns // self._period_ns) & _NONCE_MASK

    def is_recent(self, nonce: int, now_ns: int) -> bool:
        """Tell whether a nonce is at most the lifetime old, or a part of a period more."""
        return (self.nonce(now_ns) - nonce) & _NONCE_MASK <= _PERIODS_PER_LIFETIME

    def for_r1(
        self,
        nonce: int,
        tag: int,
        ulids: tuple[bytes, bytes],
        locators: tuple[bytes, bytes],
        fii: int,
        now_ns: int,
    ) -> bytes:
        """Return the validator of an R1 (RFC 5533 §7.10.1).

        `tag`, `ulids` and `locators` are the initiator's tag and the (source, destination) of its I1 or I2.
        """
        what = (tag.to_bytes(6), *ulids, *locators, fii.to_bytes(4))
        return self._digest(_FOR_R1, nonce, b"".join(what), now_ns)

    def for_r1bis(self, nonce: int, tag: int, locators: tuple[bytes, bytes], now_ns: int) -> bytes:
        """Return the validator of an R1bis for a packet with this tag and addresses (RFC 5533 §7.17.1)."""
        return self._digest(_FOR_R1BIS, nonce, tag.to_bytes(6) + b"".join(locators), now_ns)

    def _digest(self, purpose: bytes, nonce: int, what: bytes, now_ns: int) -> bytes:
        message = purpose + nonce.to_bytes(4) + what
        return blake2s(message, key=self._secret(nonce, now_ns), digest_size=VALIDATOR_SIZE).digest()

    def _secret(self, nonce: int, now_ns: int) -> bytes:
        """Return the secret that was in use when `nonce` was."""
        period = now_ns // self._period_ns
        age = min((self.nonce(now_ns) - nonce) & _NONCE_MASK, _PERIODS_PER_LIFETIME)
        index = (period - age) // _PERIODS_PER_SECRET
        for old in [known for known in self._secrets if known < period // _PERIODS_PER_SECRET - 1]:
            del self._secrets[old]
        if index not in self._secrets:
            self._secrets[index] = self._rng.randbytes(_SECRET_SIZE)
        return self._secrets[index]


def equal(received: bytes, expected: bytes) -> bool:
    """Compare in a time that tells nothing about the first difference."""
    return hmac.compare_digest(received, expected)
