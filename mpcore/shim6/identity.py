"""Who this host is to a peer, and how a peer's claims are judged: the two things that are passed in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mpcore.shim6.tags import RandomSource
from mpcore.wire.shim6 import Locator, LocatorList, VerificationMethod


@dataclass(frozen=True, slots=True)
class Identity:
    """A ULID of this host with the locators that belong to it.

    `parameters` is the CGA parameter data structure; without it the address is neither CGA nor HBA, and its
    only locator is itself. `sign` signs a list for a CGA; it is needed when a locator's method is CGA.
    """

    ulid: bytes
    locators: tuple[Locator, ...] = ()
    parameters: bytes | None = None
    sign: Callable[[LocatorList], bytes] | None = None

    @property
    def multihomed(self) -> bool:
        """Whether a context could do anything for this ULID (RFC 5535 §3)."""
        return self.parameters is not None and len(self.locators) > 1


@dataclass(frozen=True, slots=True)
class LocalClaim:
    """What a peer is told of a ULID. The list is the same for all contexts, so it is signed once."""

    locators: LocatorList
    parameters: bytes | None
    signature: bytes | None


class Identities:
    """The identities of this host by ULID."""

    def __init__(self, rng: RandomSource) -> None:
        self._rng = rng
        self._known: dict[bytes, tuple[Identity, LocalClaim]] = {}

    def __contains__(self, ulid: object) -> bool:
        return ulid in self._known

    def set(self, identity: Identity) -> None:
        """Set or replace the identity of a ULID; its list gets a random generation (RFC 5533 §10.1)."""
        self._set(identity, self._rng.getrandbits(32))

    def renumber(self, ulid: bytes, generation: int) -> None:
        """Give the list of a ULID a generation that peers have it under already."""
        identity, claim = self._known[ulid]
        if claim.locators.generation != generation:
            self._set(identity, generation)

    def _set(self, identity: Identity, generation: int) -> None:
        locators = identity.locators if identity.parameters is not None else (Locator(identity.ulid, 0),)
        claimed = LocatorList(generation, locators)
        needs_signature = any(locator.method == VerificationMethod.CGA for locator in locators)
        signature = identity.sign(claimed) if needs_signature and identity.sign is not None else None
        self._known[identity.ulid] = (identity, LocalClaim(claimed, identity.parameters, signature))

    def all(self) -> tuple[Identity, ...]:
        """Return all identities, in the order in which they were set."""
        return tuple(identity for identity, _ in self._known.values())

    def remove(self, ulid: bytes) -> None:
        """Forget an identity."""
        self._known.pop(ulid, None)

    def multihomed(self, ulid: bytes) -> bool:
        """Tell whether a context could do anything for a ULID."""
        return ulid in self._known and self._known[ulid][0].multihomed

    def claim(self, ulid: bytes) -> LocalClaim:
        """Return what a peer is told of a ULID; one without identity has no locator but itself."""
        if ulid not in self._known:
            return LocalClaim(LocatorList(0, (Locator(ulid, 0),)), None, None)
        return self._known[ulid][1]


class Verifier(Protocol):
    """Judges what a peer says of its addresses (RFC 5533 §7.2)."""

    def owns(self, ulid: bytes, parameters: bytes) -> bool:
        """Tell whether a parameter data structure is the one of this ULID."""

    def refused(
        self, ulid: bytes, locators: LocatorList, parameters: bytes, signature: bytes | None
    ) -> int | None:
        """Return the index of the first locator that is not this ULID's to use; None when all are.

        Called only when the parameters are the ULID's.
        """
