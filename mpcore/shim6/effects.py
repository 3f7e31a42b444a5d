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
    locators and the peer's tag, unless the locators are the ULIDs (RFC 5533 §11); those of a fork also then,
    or the peer would take them for the plain context's, and answer by that. `watched`: an exchange is
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

    @property
    def rewrites(self) -> bool:
        """Whether packets leave with the header (RFC 5533 §11)."""
        moved = (self.locator_local, self.locator_peer) != (self.ulid_local, self.ulid_peer)
        return self.sending and self.tag_peer is not None and (moved or self.fii != 0)


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
