"""A seeded byte stream, cheap to make, no two pieces equal, so that a hash finds any misplaced byte."""

import hashlib
import random
from collections.abc import Iterator

CHUNK_BYTES = 1 << 16
_BASE_BYTES = 1 << 21
_STRIDE = 7919


def pattern(seed: int, size: int) -> Iterator[bytes]:
    """Yield the first `size` bytes of stream `seed` in chunks of at most 64 KB."""
    base = random.Random(seed).randbytes(_BASE_BYTES)
    for index in range(-(-size // CHUNK_BYTES)):
        start = index * _STRIDE % (_BASE_BYTES - CHUNK_BYTES)
        chunk = index.to_bytes(8, "big") + base[start : start + CHUNK_BYTES - 8]
        yield chunk[: size - index * CHUNK_BYTES]


def pattern_sha256(seed: int, size: int) -> str:
    """Return the SHA-256, in hexadecimal, of the first `size` bytes of stream `seed`."""
    digest = hashlib.sha256()
    for chunk in pattern(seed, size):
        digest.update(chunk)
    return digest.hexdigest()
