"""What happened to contexts, for people and for programs that embed the core.

Addresses are 16 raw octets, times nanoseconds. Context tags are left out: who knows one can speak for a peer
(RFC 5533 §16.2).
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class ContextEstablished:
    """A context can be used; `recovered` when the peer had lost it."""

    ulid_local: bytes
    ulid_peer: bytes
    fii: int
    initiator: bool
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class ContextFailed:
    """The exchange came to nothing; the pair of ULIDs is left alone for a while (RFC 5533 §7.8)."""

    ulid_local: bytes
    ulid_peer: bytes
    fii: int
    reason: str


@dataclass(frozen=True, slots=True)
class ContextRemoved:
    """A context that could be used is gone from this host."""

    ulid_local: bytes
    ulid_peer: bytes
    fii: int
    reason: str


@dataclass(frozen=True, slots=True)
class PathChanged:
    """The context's packets take other locators: transports may want to adapt (RFC 5533 §15.1)."""

    ulid_local: bytes
    ulid_peer: bytes
    fii: int
    old_local: bytes
    old_peer: bytes
    new_local: bytes
    new_peer: bytes


@dataclass(frozen=True, slots=True)
class ExplorationStarted:
    """The search for a working pair of locators to one peer began, on behalf of `contexts` contexts."""

    ulid_local: bytes
    ulid_peer: bytes
    cause: str
    contexts: int


@dataclass(frozen=True, slots=True)
class ExplorationFinished:
    """It found one: `local` and `peer`, after this time and this many probes."""

    ulid_local: bytes
    ulid_peer: bytes
    local: bytes
    peer: bytes
    duration_ns: int
    probes: int


@dataclass(frozen=True, slots=True)
class PayloadResumed:
    """Payload comes again after an exploration; `stall_ns` is the time without any.

    As exact as a driver sees packets: those between ULIDs are only sampled.
    """

    ulid_local: bytes
    ulid_peer: bytes
    fii: int
    stall_ns: int


@dataclass(frozen=True, slots=True)
class PayloadBlocked:
    """Probes pass from `local` to `peer` and back, payload behind a Shim6 header does not.

    A firewall may be the reason (RFC 5533 §15.2); the context goes back to its ULIDs where they can be used.
    """

    ulid_local: bytes
    ulid_peer: bytes
    fii: int
    local: bytes
    peer: bytes


@dataclass(frozen=True, slots=True)
class ControlBlocked:
    """Payload comes from the peer, and no pair brings an answer to a probe.

    Something seems to drop protocol 140 at least towards the peer. Payload stays on its pair.
    """

    ulid_local: bytes
    ulid_peer: bytes
    fii: int


@dataclass(frozen=True, slots=True)
class ContextFellBack:
    """No pair brings an answer to a probe: payload goes between the ULIDs, as without Shim6.

    `refused`: the peer's host says that it does not know Shim6, which it did.
    """

    ulid_local: bytes
    ulid_peer: bytes
    fii: int
    refused: bool


@dataclass(frozen=True, slots=True)
class PeerUpdated:
    """The peer changed its locators or their preferences."""

    ulid_local: bytes
    ulid_peer: bytes
    fii: int
    locators: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PeerError:
    """The peer could not process one of our messages (RFC 5533 §5.14)."""

    ulid_local: bytes
    ulid_peer: bytes
    fii: int
    code: int
    pointer: int


@dataclass(frozen=True, slots=True)
class AddressFormed:
    """This host has formed an address, and no other host has it (RFC 3972 §4)."""

    address: bytes
    interface: str
    collisions: int


@dataclass(frozen=True, slots=True)
class AddressTaken:
    """Another host has an address that this one formed; the next has another collision count."""

    address: bytes
    interface: str
    collisions: int


@dataclass(frozen=True, slots=True)
class FormingFailed:
    """No address is formed for a prefix any more, until the operator asks for it."""

    prefix: str
    interface: str
    reason: str


FormEvent: TypeAlias = AddressFormed | AddressTaken | FormingFailed

Event: TypeAlias = (
    ContextEstablished
    | ContextFailed
    | ContextRemoved
    | PathChanged
    | ExplorationStarted
    | ExplorationFinished
    | PayloadResumed
    | PayloadBlocked
    | ControlBlocked
    | ContextFellBack
    | PeerUpdated
    | PeerError
    | FormEvent
)
