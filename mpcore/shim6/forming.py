"""What the former of addresses and its driver say to each other."""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TypeAlias

from mpcore.shim6.cga_parameters import CgaParameters
from mpcore.shim6.settings import SECOND


class Kind(StrEnum):
    """What is formed: a CGA for each prefix, a set of HBAs, or a set that a key signs further CGAs for."""

    CGA = "cga"
    HBA = "hba"
    BOTH = "hba+cga"

    @property
    def signs(self) -> bool:
        """Whether it takes a key."""
        return self is not Kind.HBA

    @property
    def has_set(self) -> bool:
        """Whether it takes a set."""
        return self is not Kind.CGA


class AddressState(Enum):
    """What the kernel says of an address; TAKEN: another host has it."""

    TENTATIVE = "tentative"
    READY = "ready"
    TAKEN = "taken"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormSettings:
    """How addresses are formed.

    `settle_ns` is the time that a set waits for more prefixes to come: routers advertise to all hosts every
    three seconds at most (RFC 4861 §10). `limit` is how many prefixes count.
    """

    kind: Kind
    sec: int = 0
    settle_ns: int = 4 * SECOND
    limit: int = 8


@dataclass(frozen=True, slots=True)
class PutAddress:
    """Assign an address, or give it other lifetimes, in seconds; `route`: its prefix is on the link."""

    address: bytes
    interface: str
    preferred_s: int
    valid_s: int
    route: bool


@dataclass(frozen=True, slots=True)
class DropAddress:
    """Take an address from its interface."""

    address: bytes
    interface: str


@dataclass(frozen=True, slots=True)
class ForgetAddress:
    """An address is this host's no more: communication with it as a ULID ends (RFC 5533 §1.5)."""

    address: bytes


@dataclass(frozen=True, slots=True)
class StoreUnit:
    """Keep a structure under a number, so that the next daemon forms the same addresses."""

    number: int
    parameters: CgaParameters


@dataclass(frozen=True, slots=True)
class UnstoreUnit:
    """Keep it no longer."""

    number: int


@dataclass(frozen=True, slots=True)
class SearchModifier:
    """Search a modifier from `start` on by which Hash2 over it and `tail` has the zeros of `sec`.

    It takes the place of any earlier search; the answer names its `number`.
    """

    number: int
    start: bytes
    tail: bytes
    sec: int


FormEffect: TypeAlias = PutAddress | DropAddress | ForgetAddress | StoreUnit | UnstoreUnit | SearchModifier
