"""Cryptographically generated addresses (RFC 3972): generation and verification.

An address of Sec 0 costs one hash, of Sec 1 about 65,000, of Sec 2 about 4,300 million; other values have no
algorithm here. All is a function of its arguments: randomness is the object `rng`, and a callback tells
whether an address is taken. That Hash1 keeps 59 bits, and of SHA-1, is the choice of RFC 3972.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha1
from typing import Protocol

from mpcore.shim6.cga_errors import GenerationError, VerificationError
from mpcore.shim6.cga_parameters import (
    COLLISIONS_MAX,
    MODIFIER_SIZE,
    CgaParameters,
    emit_parameters,
)
from mpcore.shim6.cga_size import require_room
from mpcore.shim6.prefixes import PREFIX_SIZE, prefix_of

SEC_MAX = 2
"""The largest Sec of RFC 3972 that this code serves; RFC 4982 gives larger ones to other hashes."""

PROGRESS_STEP = 1 << 15
"""Hashes between two calls of a progress callback: some 20 ms."""

# A search that is this many times longer than the expected one has a chance of exp(-32) to happen by itself.
_PATIENCE = 32
_LOCATORS_USUAL = 2  # fewer would leave nothing to choose from
_COMPARED_BITS = 0x1CFF_FFFF_FFFF_FFFF  # all but Sec and the bits u and g (RFC 3972 §5)


class Random(Protocol):
    """The part of `random.Random` that is used."""

    def randbytes(self, n: int, /) -> bytes:
        """Return `n` random octets."""
        ...


Progress = Callable[[int], None]
"""Called with the number of hashes so far; an exception that it raises ends the search."""

Mapper = Callable[[Callable[[int], bytes | None], Iterable[int]], Iterable[bytes | None]]
"""How parts of a search are run, results in order: `map`, or one that spreads them over processes."""

FindModifier = Callable[[bytes, bytes, int], bytes]
"""`find_modifier`, perhaps with progress and mapper bound to it."""

IsTaken = Callable[[bytes], bool]
"""Duplicate address detection: whether another host has this address."""


@dataclass(frozen=True, slots=True)
class Cga:
    """An address of 16 octets with its parameter structure."""

    address: bytes
    parameters: CgaParameters


def hash1(parameters: CgaParameters) -> bytes:
    """Return the leftmost 64 bits of the hash over the structure (RFC 3972 §3)."""
    return sha1(emit_parameters(parameters)).digest()[:8]


def hash2(parameters: CgaParameters) -> bytes:
    """Return the leftmost 112 bits of the hash with prefix and collision count zero (RFC 3972 §3)."""
    zeroed = replace(parameters, prefix=bytes(PREFIX_SIZE), collisions=0)
    return sha1(emit_parameters(zeroed)).digest()[:14]


def address_of(parameters: CgaParameters, sec: int) -> bytes:
    """Return the address that the structure gives for a Sec (RFC 3972 §4, steps 5 to 7)."""
    identifier = int.from_bytes(hash1(parameters), "big") & _COMPARED_BITS | sec << 61
    return parameters.prefix + identifier.to_bytes(8, "big")


def sec_of(address: bytes) -> int:
    """Return Sec, which stands in the address and nowhere else (RFC 3972 §5, step 5)."""
    return address[8] >> 5


def sec_supported(parameters: CgaParameters) -> int:
    """Return the largest Sec, at most 2, whose zeros Hash2 of the structure has."""
    zeros = hash2(parameters)
    return sum(not any(zeros[: 2 * sec]) for sec in range(1, SEC_MAX + 1))


def verify_cga(address: bytes, parameters: CgaParameters) -> None:
    """Return when the address is made from the structure (RFC 3972 §5), else raise VerificationError."""
    require_address(address)
    sec = sec_of(address)
    if parameters.collisions > COLLISIONS_MAX:
        raise VerificationError(f"the collision count {parameters.collisions} is above {COLLISIONS_MAX}")
    if prefix_of(address) != parameters.prefix:
        raise VerificationError("the prefix of the address is not the one of its parameters")
    if (_identifier(hash1(parameters)) ^ _identifier(address[8:])) & _COMPARED_BITS:
        raise VerificationError("the address is not the hash of its parameters")
    if sec > SEC_MAX:
        raise VerificationError(f"Sec {sec} has no algorithm in RFC 3972; only 0 to {SEC_MAX} are known here")
    if sec and any(hash2(parameters)[: 2 * sec]):
        raise VerificationError(f"the parameters lack the {16 * sec} zeros that Sec {sec} promises")


def require_address(address: bytes) -> None:
    """Return when this is 16 octets, else raise VerificationError."""
    if len(address) != 16:
        raise VerificationError(f"an address has 16 octets, not {len(address)}")


def _identifier(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def find_modifier(
    start: bytes, tail: bytes, sec: int, *, progress: Progress | None = None, mapper: Mapper = map
) -> bytes:
    """Return the first modifier from `start` on whose Hash2 begins with 16 * Sec zeros (RFC 3972 §4, 1 to 3).

    `tail` is the public key with the extensions. The search is bounded: GenerationError after 32 times the
    expected number of hashes. What is found does not depend on the mapper.
    """
    if not 0 <= sec <= SEC_MAX:
        raise GenerationError(f"Sec {sec} has no algorithm in RFC 3972; use 0 to {SEC_MAX}")
    first, limit = int.from_bytes(start, "big"), _PATIENCE << 16 * sec
    parts = range(first, first + limit, PROGRESS_STEP)
    for number, found in enumerate(mapper(partial(search_part, tail, sec), parts), 1):
        if found is not None:
            return found
        if progress is not None:
            progress(number * PROGRESS_STEP)
    raise GenerationError(f"no modifier for Sec {sec} in {limit} hashes; try again")


def search_part(tail: bytes, sec: int, first: int) -> bytes | None:
    """Return the first fitting modifier of the `PROGRESS_STEP` ones from `first` on, or None."""
    zeros, tail = bytes(2 * sec), bytes(PREFIX_SIZE + 1) + tail
    for value in range(first, first + PROGRESS_STEP):
        modifier = (value % (1 << 128)).to_bytes(MODIFIER_SIZE, "big")
        if sha1(modifier + tail).digest().startswith(zeros):
            return modifier
    return None


def draft_cga(
    prefix: bytes, public_key: bytes, rng: Random, *, extensions: bytes = b""
) -> CgaParameters:
    """Return the structure of a new address of Sec 0; for others a search begins at its modifier.

    LocalProtocolError for a key that is too large for Shim6's messages.
    """
    draft = CgaParameters(rng.randbytes(MODIFIER_SIZE), prefix, 0, public_key, extensions)
    require_room(draft, _LOCATORS_USUAL, signed=True)
    return draft


def tail_of(parameters: CgaParameters) -> bytes:
    """Return what Hash2 covers beside the modifier: the prefix is not part of it (RFC 3972 §3)."""
    return parameters.public_key + parameters.extensions


def make_cga(
    prefix: bytes,
    public_key: bytes,
    sec: int,
    rng: Random,
    *,
    extensions: bytes = b"",
    is_taken: IsTaken = lambda address: False,
    find: FindModifier = find_modifier,
) -> Cga:
    """Return a new address for the prefix of 8 octets and the key in DER (RFC 3972 §4).

    GenerationError after three collisions, or when no modifier is found; LocalProtocolError for a key that is
    too large for Shim6's messages.
    """
    draft = draft_cga(prefix, public_key, rng, extensions=extensions)
    modifier = find(draft.modifier, tail_of(draft), sec)
    for collisions in range(COLLISIONS_MAX + 1):
        parameters = replace(draft, modifier=modifier, collisions=collisions)
        address = address_of(parameters, sec)
        if not is_taken(address):
            return Cga(address, parameters)
    raise too_many_collisions()


def too_many_collisions() -> GenerationError:
    """Return the error of RFC 3972 §4, step 8."""
    return GenerationError(
        "three addresses in a row are taken by others: look for a duplicate configuration or an attack on"
        " duplicate address detection, then try again"
    )
