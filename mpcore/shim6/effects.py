"""What the control core has decided, for the endpoint to carry out; plain values, 16-octet addresses."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Send a control message: `data` begins with the Shim6 header, whose checksum is done."""

    source: bytes
    destination: bytes
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """What a data plane needs to know of one context; `number` names it on this host.

    `tag_peer` is None while payload can only be received. `sending`: packets between the ULIDs leave with the
    locators and the peer's tag, unless the locators are the ULIDs (RFC 5533 §11). `watched`: an exchange is
    under way, and packets with the payload header are shown to `Shim6Manager.handle_payload`, some a second.
    """

    number: int
    ulid_local: bytes
    ulid_peer: bytes
    fii: int
    tag_local: int
    tag_peer: int | None
    locator_local: bytes
    locator_peer: bytes
    sending: bool
    watched: bool


@dataclass(frozen=True, slots=True)
class InstallContext:
    """A context that payload may use from now on."""

    path: Path


@dataclass(frozen=True, slots=True)
class UpdateContext:
    """An installed context changed: tags, locators or state."""

    path: Path


@dataclass(frozen=True, slots=True)
class RemoveContext:
    """An installed context is gone; packets with its tag are unknown again."""

    number: int
    tag_local: int


Effect: TypeAlias = SendMessage | InstallContext | UpdateContext | RemoveContext
