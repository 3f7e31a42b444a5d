"""The CGA parameter structure between bytes and values (RFC 3972 §3).

Modifier, subnet prefix, collision count, public key and extensions. The key stays DER here: addresses hash
it, and only signatures look inside.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from mpcore.errors import WireError
from mpcore.shim6.prefixes import MULTI_PREFIX, PREFIX_SIZE, MultiPrefix, parse_multi_prefix

MODIFIER_SIZE = 16
COLLISIONS_MAX = 2
_KEY_AT = MODIFIER_SIZE + PREFIX_SIZE + 1
_DER_SEQUENCE = 0x30
_DER_LONG = 0x80
_EXTENSIONS_KEPT = 256  # read ones: a structure is looked into for each locator of a list


@dataclass(frozen=True, slots=True)
class CgaParameters:
    """One structure; `public_key` is a SubjectPublicKeyInfo in DER, `extensions` all octets behind it.

    The extensions stay bytes because all of them are hashed, known or not (RFC 3972 §5).
    """

    modifier: bytes
    prefix: bytes
    collisions: int
    public_key: bytes
    extensions: bytes = b""


def parse_parameters(data: bytes) -> CgaParameters:
    """Return the structure that `data` is.

    WireError when the key is no DER sequence of a definite, shortest length, or when an extension runs past
    the end or the Multi-Prefix extension repeats. A collision count above 2 is left to verification.
    """
    key_size = _sequence_size(data[_KEY_AT:])
    end = _KEY_AT + key_size
    parameters = CgaParameters(
        modifier=data[:MODIFIER_SIZE],
        prefix=data[MODIFIER_SIZE : MODIFIER_SIZE + PREFIX_SIZE],
        collisions=data[_KEY_AT - 1],
        public_key=data[_KEY_AT:end],
        extensions=data[end:],
    )
    multi_prefix_of(parameters)
    return parameters


def _sequence_size(data: bytes) -> int:
    """Return the octets of the DER sequence that `data` begins with, head included."""
    if len(data) < 2 or data[0] != _DER_SEQUENCE:
        raise WireError("the CGA parameters hold no public key: a DER sequence was expected at octet 25")
    head, size = 2, data[1]
    if size & _DER_LONG:
        count = size & ~_DER_LONG
        size = int.from_bytes(data[2 : 2 + count], "big")
        head += count
        # Two octets count 65535, and DER allows neither leading zeros nor a long form that need not be one.
        if not 1 <= count <= 2 or size < (_DER_LONG, 0x100)[count - 1]:
            raise WireError("the length of the public key is not in DER's shortest form")
    if size > len(data) - head:
        raise WireError(f"a public key of {head + size} octets does not fit into {len(data)}")
    return head + size


def emit_parameters(parameters: CgaParameters) -> bytes:
    """Return the structure as bytes, what Hash1 is made of; WireError for a field of a wrong length."""
    if len(parameters.modifier) != MODIFIER_SIZE or len(parameters.prefix) != PREFIX_SIZE:
        raise WireError("the modifier has 16 octets and the subnet prefix 8")
    if not 0 <= parameters.collisions <= 0xFF:
        raise WireError(f"the collision count has 8 bits; {parameters.collisions} does not fit")
    count = bytes([parameters.collisions])
    return parameters.modifier + parameters.prefix + count + parameters.public_key + parameters.extensions


def walk_extensions(extensions: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, data) of each extension (RFC 4581 §2); WireError for one that runs past the end."""
    at = 0
    while at < len(extensions):
        if len(extensions) - at < 4:
            raise WireError(f"{len(extensions) - at} octets behind the public key are no extension")
        kind, size = struct.unpack_from(">HH", extensions, at)
        at += 4
        if size > len(extensions) - at:
            raise WireError(f"extension {kind} of {size} octets runs past the end of the CGA parameters")
        yield kind, extensions[at : at + size]
        at += size


def multi_prefix_of(parameters: CgaParameters) -> MultiPrefix | None:
    """Return the Multi-Prefix extension, or None; WireError for malformed extensions or two of it."""
    return _multi_prefix_in(parameters.extensions)


@lru_cache(maxsize=_EXTENSIONS_KEPT)
def _multi_prefix_in(extensions: bytes) -> MultiPrefix | None:
    found = [data for kind, data in walk_extensions(extensions) if kind == MULTI_PREFIX]
    if len(found) > 1:
        raise WireError("the CGA parameters have more than one Multi-Prefix extension")
    return parse_multi_prefix(found[0]) if found else None
