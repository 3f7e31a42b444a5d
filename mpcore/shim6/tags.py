"""Context tags: 47 random bits, unique on this host, reused as late as possible (RFC 5533 §7.1)."""

from collections import deque
from collections.abc import Container
from typing import Protocol

from mpcore.errors import CapacityError
from mpcore.wire.shim6 import TAG_MAX

_ATTEMPTS = 64
_REMEMBERED_MAX = 4096
_SCANNED_BITS = 16


class RandomSource(Protocol):
    """The part of `random.Random` that the control core uses; on a host it is the system's CSPRNG."""

    def getrandbits(self, k: int, /) -> int:
        """Return an integer of `k` random bits."""

    def randbytes(self, n: int, /) -> bytes:
        """Return `n` random octets."""

    def randrange(self, start: int, stop: int, /) -> int:
        """Return an integer in [start, stop)."""


class TagPool:
    """Draws tags that are neither in use nor recently released.

    `bits` below 47 exists for tests of tag reuse (RFC 5533 Appendix C.4); a host draws all of them, more than
    the 30 that must be unpredictable.
    """

    def __init__(self, rng: RandomSource, in_use: Container[int], bits: int = 47) -> None:
        self._rng = rng
        self._in_use = in_use
        self._bits = min(bits, TAG_MAX.bit_length())
        self._released: deque[int] = deque(maxlen=min(_REMEMBERED_MAX, 1 << self._bits >> 1))

    def draw(self, avoid: int | None = None) -> int:
        """Return a free tag other than `avoid`.

        Raises:
            CapacityError: none is free; with 47 bits this does not happen
        """
        for _ in range(_ATTEMPTS):
            tag = self._rng.getrandbits(self._bits)
            if self._free(tag, avoid) and tag not in self._released:
                return tag
        if self._bits <= _SCANNED_BITS:
            for tag in range(1 << self._bits):
                if self._free(tag, avoid):
                    return tag
        raise CapacityError(f"no context tag of {self._bits} bits is free")

    def release(self, tag: int) -> None:
        """Remember a tag that is not in use any more, to avoid it for a while."""
        self._released.append(tag)

    def _free(self, tag: int, avoid: int | None) -> bool:
        return tag != avoid and tag not in self._in_use
