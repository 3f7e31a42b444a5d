"""What happened, for `mpcore monitor` and for programs that embed the core.

`token` is the local token of the connection (RFC 8684 §3.1), addresses are 4 or 16 raw octets.
"""

import ipaddress
import re
from dataclasses import fields
from typing import TYPE_CHECKING

from mpcore.value import value

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@value
class ConnectionCreated:
    """The MP_CAPABLE handshake succeeded; `role` is "client" or "server"."""

    token: int
    role: str
    local: bytes
    local_port: int
    remote: bytes
    remote_port: int


@value
class ConnectionEstablished:
    """The peer has shown that it holds both keys: joins may follow (RFC 8684 §3.1)."""

    token: int


@value
class ConnectionFellBack:
    """The connection goes on as plain TCP (RFC 8684 §3.7); `token` is None before a key was drawn."""

    token: int | None
    reason: str


@value
class ConnectionClosed:
    """The connection is over and its token is free."""

    token: int


@value
class SubflowEstablished:
    """A subflow can carry data."""

    token: int
    local: bytes
    remote: bytes
    local_id: int
    remote_id: int
    backup: bool
    local_port: int = 0
    remote_port: int = 0


@value
class SubflowClosed:
    """A subflow ended, or never came about."""

    token: int
    local: bytes
    remote: bytes
    local_id: int
    remote_id: int
    backup: bool
    reason: str
    local_port: int = 0
    remote_port: int = 0


@value
class AddressAnnounced:
    """The peer announced an address by ADD_ADDR."""

    token: int
    address: bytes
    address_id: int
    port: int


@value
class AddressRemoved:
    """The peer withdrew an address by REMOVE_ADDR."""

    token: int
    address_id: int


@value
class PriorityChanged:
    """The peer changed the priority of a subflow by MP_PRIO."""

    token: int
    path_index: int
    backup: bool


Event = (
    ConnectionCreated
    | ConnectionEstablished
    | ConnectionFellBack
    | ConnectionClosed
    | SubflowEstablished
    | SubflowClosed
    | AddressAnnounced
    | AddressRemoved
    | PriorityChanged
)


def to_dict(event: "DataclassInstance") -> dict[str, object]:
    """Return an event, of MPTCP or of Shim6, as JSON-ready values: its name as `event`, then its fields.

    Addresses become text.
    """
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    return {"event": _name(type(event)), **{name: _json_ready(value) for name, value in values.items()}}


def _name(kind: type) -> str:
    """Return the class name in lower case with dashes, such as "subflow-closed"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()


def _json_ready(value: object) -> object:
    if isinstance(value, tuple):
        return [_json_ready(item) for item in value]
    return str(ipaddress.ip_address(value)) if isinstance(value, bytes) else value
