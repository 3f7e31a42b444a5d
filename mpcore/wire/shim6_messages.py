"""Shim6 control messages and the payload extension header as values (RFC 5533 §5.2 to §5.14, RFC 5534 §5).

Context tags have 47 bits, nonces 32; addresses are 16 raw bytes. Fields keep the names of the RFC: the
*receiver* tag is the one that the receiver of the message allocated, the *packet* tag the one of the packet
that had no context.
"""

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from mpcore.wire.shim6_options import Shim6Option, UnknownOption

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PayloadHeader:
    """Payload extension header (RFC 5533 §5.2): `next_header` follows in the packet of this context."""

    next_header: int
    receiver_tag: int


@dataclass(frozen=True, slots=True)
class I1:
    """I1 (RFC 5533 §5.4) opens the exchange."""

    initiator_tag: int
    initiator_nonce: int
    options: tuple[Shim6Option, ...] = ()


@dataclass(frozen=True, slots=True)
class R1:
    """R1 (RFC 5533 §5.5), sent without keeping any state."""

    initiator_nonce: int
    responder_nonce: int
    options: tuple[Shim6Option, ...] = ()


@dataclass(frozen=True, slots=True)
class I2:
    """I2 (RFC 5533 §5.6)."""

    initiator_tag: int
    initiator_nonce: int
    responder_nonce: int
    options: tuple[Shim6Option, ...] = ()


@dataclass(frozen=True, slots=True)
class R2:
    """R2 (RFC 5533 §5.7), the answer to I2, I2bis or a crossing I1, whose nonce it repeats."""

    responder_tag: int
    initiator_nonce: int
    options: tuple[Shim6Option, ...] = ()


@dataclass(frozen=True, slots=True)
class R1bis:
    """R1bis (RFC 5533 §5.8): there is no context for `packet_tag` here."""

    packet_tag: int
    responder_nonce: int
    options: tuple[Shim6Option, ...] = ()


@dataclass(frozen=True, slots=True)
class I2bis:
    """I2bis (RFC 5533 §5.9) makes a lost context again."""

    initiator_tag: int
    initiator_nonce: int
    responder_nonce: int
    packet_tag: int
    options: tuple[Shim6Option, ...] = ()


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """Update Request (RFC 5533 §5.10)."""

    receiver_tag: int
    request_nonce: int
    options: tuple[Shim6Option, ...] = ()


@dataclass(frozen=True, slots=True)
class UpdateAck:
    """Update Acknowledgement (RFC 5533 §5.11)."""

    receiver_tag: int
    request_nonce: int
    options: tuple[Shim6Option, ...] = ()


@dataclass(frozen=True, slots=True)
class Keepalive:
    """Keepalive (RFC 5534 §5.1); it has no nonce."""

    receiver_tag: int
    options: tuple[Shim6Option, ...] = ()


@dataclass(frozen=True, slots=True)
class ProbeEntry:
    """One probe, sent or received, in a Probe; `data` has 32 bits and is copied back unchanged."""

    source: bytes
    destination: bytes
    nonce: int
    data: int = 0


@dataclass(frozen=True, slots=True)
class Probe:
    """Probe (RFC 5534 §5.2).

    `state` is a `ReachabilityState`; `sent` has 1 to 15 entries, the first about this very packet, and
    `received` at most 15.
    """

    receiver_tag: int
    state: int
    sent: tuple[ProbeEntry, ...]
    received: tuple[ProbeEntry, ...] = ()
    options: tuple[Shim6Option, ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """Error (RFC 5533 §5.14).

    `packet` is the packet in error from its IPv6 header on, as much as fits; `pointer` is an offset in it.
    """

    code: int
    pointer: int
    packet: bytes


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A message of a type that this implementation does not know; it is answered by Error 0.

    `code` is the seven type-specific bits of octet 3, `body` what follows the checksum.
    """

    kind: int
    code: int
    body: bytes


Message: TypeAlias = (
    I1
    | R1
    | I2
    | R2
    | R1bis
    | I2bis
    | UpdateRequest
    | UpdateAck
    | Keepalive
    | Probe
    | ErrorMessage
    | UnknownMessage
)


def options_of(message: Message) -> tuple[Shim6Option, ...]:
    """Return the options of a message, none for one whose kind has no options."""
    return () if isinstance(message, (ErrorMessage, UnknownMessage)) else message.options


def find_option(message: Message, kind: type[T]) -> T | None:
    """Return the option of this class, or None; a message that was parsed has at most one."""
    for option in options_of(message):
        if isinstance(option, kind):
            return option
    return None


def find_critical(message: Message) -> UnknownOption | None:
    """Return the first option that forbids to process the message (RFC 5533 §5.15), or None.

    To be asked before anything of the message is acted on; the answer is Error 1, pointing to the option.
    """
    for option in options_of(message):
        if isinstance(option, UnknownOption) and option.critical:
            return option
    return None
