"""Options of Shim6 control messages as values (RFC 5533 §5.15).

Addresses are 16 raw bytes, tags and nonces ints. A value that was parsed is well formed; whether its locators
may be used is the business of `mpcore.shim6`. Reserved bits are ignored on receipt and sent as zero.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class ResponderValidator:
    """Responder Validator (§5.15.1): opaque to all but its author, copied bit by bit, of any length."""

    validator: bytes


@dataclass(frozen=True, slots=True)
class Locator:
    """One entry of a locator list; `method` is a `VerificationMethod` or a number that is none."""

    address: bytes
    method: int


@dataclass(frozen=True, slots=True)
class LocatorList:
    """Locator List (§5.15.2): all locators of the sender, in an order that preferences refer to."""

    generation: int
    locators: tuple[Locator, ...]


@dataclass(frozen=True, slots=True)
class Preference:
    """What the sender says of one locator: `PreferenceFlag`s, and priority and weight as in DNS SRV."""

    flags: int = 0
    priority: int = 0
    weight: int = 0


@dataclass(frozen=True, slots=True)
class LocatorPreferences:
    """Locator Preferences (§5.15.3), one element a locator of the list of this `generation`.

    `element_len` is 1 (flags only), 2 (and priority) or 3 (and weight); of longer elements the first three
    octets are kept, as the RFC promises that they mean the same.
    """

    generation: int
    elements: tuple[Preference, ...]
    element_len: int = 3


@dataclass(frozen=True, slots=True)
class CgaParameterData:
    """CGA Parameter Data Structure (§5.15.4), which `mpcore.shim6.cga` parses and verifies."""

    data: bytes


@dataclass(frozen=True, slots=True)
class CgaSignature:
    """CGA Signature (§5.15.5)."""

    signature: bytes


@dataclass(frozen=True, slots=True)
class UlidPair:
    """ULID pair (§5.15.6); `sender` is the sender of this message, so a receiver finds itself second."""

    sender: bytes
    receiver: bytes


@dataclass(frozen=True, slots=True)
class ForkedInstance:
    """Forked Instance Identifier (§5.15.7)."""

    identifier: int


@dataclass(frozen=True, slots=True)
class KeepaliveTimeout:
    """Keepalive Timeout (RFC 5534 §5.3): what the receiver should use, in seconds."""

    seconds: int


@dataclass(frozen=True, slots=True)
class UnknownOption:
    """An option that this message does not define: ignored, unless `critical` (§5.15).

    One that is critical forbids to process any part of the message.
    """

    kind: int
    data: bytes
    critical: bool = False


Shim6Option: TypeAlias = (
    ResponderValidator
    | LocatorList
    | LocatorPreferences
    | CgaParameterData
    | CgaSignature
    | UlidPair
    | ForkedInstance
    | KeepaliveTimeout
    | UnknownOption
)
