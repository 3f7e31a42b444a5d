"""What both ends of the control socket share: error codes, limits, messages, exceptions.

JSON-RPC 2.0, one object a line. Requests: `show` {what}, `explain` {connection}, `stop`, `subscribe`, and
those of `shim6_handlers`. After `subscribe`, each event comes as a notification `event`; `lost` {count} tells
a slow reader what it missed.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from mpcore.errors import HostError, MpcoreError

LINE_BYTES_MAX = 64 << 10

# JSON-RPC 2.0, section 5.1; the last two are in the range left to applications.
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
REFUSED = -32000
NOT_FOUND = -32001


class ControlError(MpcoreError):
    """A request that the daemon answers with an error; `code` is a JSON-RPC error code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class DaemonAbsentError(HostError):
    """No daemon listens on the control socket, or it went away."""


class NotPermittedError(HostError):
    """The caller may not do this; root or a capability is needed."""


class Request(msgspec.Struct):
    """One line from a client; without an id it wants no reply."""

    method: str
    params: dict[str, Any] = {}
    id: int | str | msgspec.UnsetType | None = msgspec.UNSET


def encode_result(request_id: object, result: object) -> bytes:
    """Return the line that answers a request; TypeError where `result` is nothing that JSON can hold."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": request_id, "result": result}) + b"\n"


def encode_error(request_id: object, code: int, message: str) -> bytes:
    """Return the line that refuses a request; its id is None where it could not be read."""
    error = {"code": code, "message": message}
    return msgspec.json.encode({"jsonrpc": "2.0", "id": request_id, "error": error}) + b"\n"


def encode_notification(method: str, params: Mapping[str, Any]) -> bytes:
    """Return a line that answers nothing."""
    return msgspec.json.encode({"jsonrpc": "2.0", "method": method, "params": params}) + b"\n"
