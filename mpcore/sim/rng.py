"""Seeded randomness: each user of chance has a named stream of its own, so that adding one moves no other."""

from __future__ import annotations

from random import Random

__all__ = ["Random", "stream"]


def stream(seed: int, name: str) -> Random:
    """Return the random stream `name` of the world `seed`.

    Seeding with text goes through SHA-512 in the standard library, not through `hash()`, so PYTHONHASHSEED
    has no say.
    """
    return Random(f"mpcore/{seed}/{name}")
