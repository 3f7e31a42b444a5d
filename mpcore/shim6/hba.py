"""Hash-based addresses (RFC 5535): sets of addresses, one a prefix, that vouch for each other without a key.

All members share modifier, key, collision count and extensions; only the subnet prefix differs. A set with a
public key is a set of CGAs as well, and its owner can sign for further locators.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Address

from mpcore.errors import LocalProtocolError
from mpcore.shim6.cga import (
    FindModifier,
    IsTaken,
    Random,
    address_of,
    find_modifier,
    require_address,
    tail_of,
    too_many_collisions,
    verify_cga,
)
from mpcore.shim6.cga_errors import VerificationError
from mpcore.shim6.cga_parameters import (
    COLLISIONS_MAX,
    MODIFIER_SIZE,
    CgaParameters,
    multi_prefix_of,
)
from mpcore.shim6.cga_size import require_room
from mpcore.shim6.prefixes import (
    PREFIX_SIZE,
    MultiPrefix,
    emit_multi_prefix,
    format_prefix,
    is_routable,
    prefix_of,
)

EXTENDED_MODIFIER_SIZE = 48
"""Octets of the random number that stands in for a key: 384 bits (RFC 5535 §6)."""

_RSA_ENCRYPTION = bytes.fromhex("300d06092a864886f70d0101010500")  # AlgorithmIdentifier, parameters NULL
_EXPONENT = 65537  # RFC 5535 says nothing of it; receivers take the whole as opaque


@dataclass(frozen=True, slots=True)
class HbaSet:
    """A set: `parameters` as for the first prefix, and the addresses in the order of the prefixes."""

    addresses: tuple[bytes, ...]
    parameters: CgaParameters


def draft_hba_set(
    prefixes: Sequence[bytes], rng: Random, *, public_key: bytes | None = None
) -> CgaParameters:
    """Return the structure of a new set of Sec 0; for others a search begins at its modifier (RFC 5535 §6).

    LocalProtocolError for prefixes that cannot be in a set or are too many for Shim6's messages.
    """
    _require_prefixes(prefixes)
    extension = emit_multi_prefix(MultiPrefix(tuple(prefixes), public_key is not None))
    start, key = rng.randbytes(MODIFIER_SIZE), public_key
    if key is None:
        key = encode_extended_modifier(rng.randbytes(EXTENDED_MODIFIER_SIZE))
    draft = CgaParameters(start, prefixes[0], 0, key, extension)
    require_room(draft, len(prefixes), signed=public_key is not None)
    return draft


def make_hba_set(
    prefixes: Sequence[bytes],
    sec: int,
    rng: Random,
    *,
    public_key: bytes | None = None,
    is_taken: IsTaken = lambda address: False,
    find: FindModifier = find_modifier,
) -> HbaSet:
    """Return a new set for prefixes of 8 octets each (RFC 5535 §6); with a key in DER, also a set of CGAs.

    LocalProtocolError for prefixes that cannot be in a set or are too many for Shim6's messages,
    GenerationError after three collisions or when no modifier is found. An address that is taken changes all
    addresses: they share the collision count.
    """
    draft = draft_hba_set(prefixes, rng, public_key=public_key)
    modifier = find(draft.modifier, tail_of(draft), sec)
    for collisions in range(COLLISIONS_MAX + 1):
        parameters = replace(draft, modifier=modifier, collisions=collisions)
        addresses = tuple(address_of(replace(parameters, prefix=prefix), sec) for prefix in prefixes)
        if not any(is_taken(address) for address in addresses):
            return HbaSet(addresses, parameters)
    raise too_many_collisions()


def _require_prefixes(prefixes: Sequence[bytes]) -> None:
    if not prefixes:
        raise LocalProtocolError("a set of hash-based addresses needs a prefix at least")
    for prefix in prefixes:
        if len(prefix) != PREFIX_SIZE:
            raise LocalProtocolError(f"a prefix has 8 octets, not {len(prefix)}")
        if not is_routable(prefix + bytes(7) + b"\x02"):
            raise LocalProtocolError(f"{format_prefix(prefix)} is no prefix of global or site-wide unicast")
    if len(set(prefixes)) < len(prefixes):
        raise LocalProtocolError("a prefix occurs twice in the set")


def encode_extended_modifier(octets: bytes) -> bytes:
    """Return a random number as the RSA key of a SubjectPublicKeyInfo in DER (RFC 5535 §6, step 2)."""
    rsa_key = _der(0x30, _der_integer(int.from_bytes(octets, "big")) + _der_integer(_EXPONENT))
    return _der(0x30, _RSA_ENCRYPTION + _der(0x03, b"\x00" + rsa_key))


def _der_integer(value: int) -> bytes:
    # One octet more where the top bit is set: DER integers have a sign.
    return _der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _der(tag: int, contents: bytes) -> bytes:
    return bytes([tag, len(contents)]) + contents  # the short form of a length: below 128


def members_of(parameters: CgaParameters, sec: int) -> tuple[bytes, ...]:
    """Return the addresses of the set that a structure describes; VerificationError when it is of none."""
    prefixes = _set_of(parameters).prefixes
    return tuple(address_of(replace(parameters, prefix=prefix), sec) for prefix in prefixes)


def verify_hba(address: bytes, parameters: CgaParameters) -> None:
    """Return when the address belongs to the set (RFC 5535 §7.2), else raise VerificationError.

    The structure may be the one of any member. That the prefix is in the set is not enough: the whole address
    has to be the hash.
    """
    require_address(address)
    prefix = prefix_of(address)
    if prefix not in _set_of(parameters).prefixes:
        raise VerificationError(f"the prefix of {IPv6Address(address)} is not in the set")
    verify_cga(address, replace(parameters, prefix=prefix))


def _set_of(parameters: CgaParameters) -> MultiPrefix:
    found = multi_prefix_of(parameters)
    if found is None:
        raise VerificationError("the parameters have no Multi-Prefix extension, so they describe no set")
    return found
