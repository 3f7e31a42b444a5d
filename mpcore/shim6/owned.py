"""Addresses of this host that prove each other, and the identities that follow from all of them together.

A parameter structure stands for one address (RFC 3972) or for a set (RFC 5535). The members of a set vouch
for each other by their hashes; what has a key also signs for the addresses of all others.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from mpcore.shim6.cga_parameters import CgaParameters, emit_parameters, multi_prefix_of
from mpcore.shim6.cga_size import largest_message
from mpcore.shim6.identity import Identity
from mpcore.shim6.prefixes import prefix_of
from mpcore.wire.shim6 import MESSAGE_MAX, Locator, LocatorList, VerificationMethod

Sign = Callable[[LocatorList], bytes]


@dataclass(frozen=True, slots=True)
class Owned:
    """What one structure gives: `addresses` of it that peers may be told of, and how to sign for more."""

    addresses: tuple[bytes, ...]
    parameters: CgaParameters
    sign: Sign | None


def identities_of(owned: Sequence[Owned], announced: Sequence[bytes] | None = None) -> list[Identity]:
    """Return an identity for each address.

    The addresses of a set are each other's locators by HBA. What has a key signs for `announced` too, which
    are all addresses where nobody names them; as many as a control message has room for (RFC 5533 §5.1). A
    CGA without its key has no locator but itself.
    """
    if announced is None:
        announced = [address for one in owned for address in one.addresses]
    return [identity for one in owned for identity in _identities(one, announced)]


def _identities(owned: Owned, announced: Sequence[bytes]) -> Iterator[Identity]:
    is_set = multi_prefix_of(owned.parameters) is not None
    if not is_set and owned.sign is None:
        yield from map(Identity, owned.addresses)
        return
    method = VerificationMethod.HBA if is_set else VerificationMethod.CGA
    locators = [Locator(address, method) for address in owned.addresses]
    if owned.sign is not None:
        others = dict.fromkeys(address for address in announced if address not in owned.addresses)
        locators += [Locator(address, VerificationMethod.CGA) for address in others]
    count = max(_room(owned.parameters, len(locators), owned.sign is not None), len(owned.addresses))
    for address in owned.addresses:
        structure = emit_parameters(replace(owned.parameters, prefix=prefix_of(address)))
        yield Identity(address, tuple(locators[:count]), structure, owned.sign)


def _room(parameters: CgaParameters, count: int, signed: bool) -> int:
    """Return how many of `count` locators a message with the structure has room for."""
    while count and largest_message(parameters, count, signed=signed) > MESSAGE_MAX:
        count -= 1
    return count
