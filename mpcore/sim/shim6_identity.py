"""Identities for simulations: what HBA and CGA prove by hashes and signatures, a plain list says here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mpcore.shim6.identity import Identity
from mpcore.wire.shim6 import Locator, LocatorList, VerificationMethod

_MARK = b"toy "
_OWNER_SIZE = 8
_ADDRESS_SIZE = 16


def toy_identities(
    owner: str, addresses: Sequence[bytes], method: VerificationMethod = VerificationMethod.HBA
) -> list[Identity]:
    """Return an identity for each address of one host, with all of them as locators."""
    parameters = _MARK + _owner(owner) + b"".join(addresses)
    locators = tuple(Locator(address, method) for address in addresses)

    def sign(claimed: LocatorList) -> bytes:
        return _signature(_owner(owner), claimed)

    return [Identity(address, locators, parameters, sign) for address in addresses]


def toy_identity(
    owner: str, ulid: bytes, addresses: Sequence[bytes], locators: Sequence[Locator]
) -> Identity:
    """Return an identity whose parameters name `addresses`, with these locators."""
    parameters = _MARK + _owner(owner) + b"".join(addresses)
    return Identity(ulid, tuple(locators), parameters, lambda claimed: _signature(_owner(owner), claimed))


class ToyVerifier:
    """Believes parameters that name the ULID, HBA locators that they name, and signatures of their owner."""

    def __init__(self) -> None:
        self.calls = 0

    def owns(self, ulid: bytes, parameters: bytes) -> bool:
        """Tell whether the parameters name the ULID."""
        return parameters.startswith(_MARK) and ulid in _addresses(parameters)

    def refused(
        self, ulid: bytes, locators: LocatorList, parameters: bytes, signature: bytes | None
    ) -> int | None:
        """Return the index of the first locator that is neither named nor signed for."""
        self.calls += 1
        named = _addresses(parameters)
        owner = parameters[len(_MARK) : len(_MARK) + _OWNER_SIZE]
        signed = signature is not None and signature == _signature(owner, locators)
        for index, locator in enumerate(locators.locators):
            by_hash = locator.method == VerificationMethod.HBA and locator.address in named
            if not by_hash and not (locator.method == VerificationMethod.CGA and signed):
                return index
        return None


def _owner(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:_OWNER_SIZE]


def _addresses(parameters: bytes) -> list[bytes]:
    rest = parameters[len(_MARK) + _OWNER_SIZE :]
    return [rest[at : at + _ADDRESS_SIZE] for at in range(0, len(rest), _ADDRESS_SIZE)]


def _signature(owner: bytes, claimed: LocatorList) -> bytes:
    signed = [one.address for one in claimed.locators if one.method == VerificationMethod.CGA]
    return hashlib.sha256(owner + claimed.generation.to_bytes(4) + b"".join(signed)).digest()
