"""What the daemon does for `mpcore shim6 …`, by requests on its control socket.

Methods: `shim6_show` {context}, `shim6_remove` {context | all}, `shim6_explore` {context, leave},
`shim6_establish` {local, peer, fii}, `shim6_set` {send_timeout_s}, `shim6_prefer` {address, broken,
transient, priority, weight}, `shim6_identities`, `shim6_log` {reset}. A context is named by its tag, by
LOCAL-PEER, or by either ULID.
"""

import ipaddress
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from mpcore.errors import LocalProtocolError
from mpcore.host.control_handlers import Handler
from mpcore.host.control_protocol import INVALID_PARAMS, NOT_FOUND, REFUSED, ControlError
from mpcore.host.shim6_log import Shim6Log
from mpcore.shim6.context import Context
from mpcore.shim6.settings import SECOND
from mpcore.shim6.snapshot import describe, describe_identity, text_of
from mpcore.shim6_endpoint import Shim6Endpoint
from mpcore.wire.shim6 import Preference, PreferenceFlag

Octet = Annotated[int, msgspec.Meta(ge=0, le=255)]
T = TypeVar("T")


class _Params(msgspec.Struct, forbid_unknown_fields=True):
    """Parameters of a request: another key is an error."""


class _Show(_Params):
    context: str


class _Remove(_Params):
    context: str | None = None
    all: bool = False


class _Explore(_Params):
    context: str
    leave: bool = True


class _Establish(_Params):
    local: str
    peer: str
    fii: Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)] = 0


class _Set(_Params):
    send_timeout_s: Annotated[float, msgspec.Meta(ge=1, le=65535)]


class _Prefer(_Params):
    address: str
    broken: bool = False
    transient: bool = False
    priority: Octet = 0
    weight: Octet = 0


class _Log(_Params):
    reset: bool = False


class Shim6Handlers:
    """The handlers of one endpoint.

    Args:
        endpoint: what is commanded
        history: what explorations cost
        clock: the driver's clock, in nanoseconds
        work: called after a change, to send what it made necessary
    """

    def __init__(
        self,
        endpoint: Shim6Endpoint,
        history: Shim6Log,
        clock: Callable[[], int],
        work: Callable[[], None] = lambda: None,
    ) -> None:
        self._endpoint = endpoint
        self._log = history
        self._clock = clock
        self._work = work

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers by method."""
        return {
            "shim6_show": self._show,
            "shim6_remove": self._remove,
            "shim6_explore": self._explore,
            "shim6_establish": self._establish,
            "shim6_set": self._set,
            "shim6_prefer": self._prefer,
            "shim6_identities": self._identities,
            "shim6_log": self._history,
        }

    def _show(self, params: Mapping[str, Any]) -> object:
        return self._endpoint.describe(self._find(_convert(params, _Show).context))

    def _remove(self, params: Mapping[str, Any]) -> object:
        wanted = _convert(params, _Remove)
        if wanted.all == (wanted.context is not None):
            raise ControlError(INVALID_PARAMS, "name a context, or say all")
        contexts = self._endpoint.manager.contexts()
        if wanted.context is not None:
            contexts = (self._find(wanted.context),)
        for context in contexts:
            self._endpoint.discard(*context.key)
        self._finish()
        return {"removed": len(contexts)}

    def _explore(self, params: Mapping[str, Any]) -> object:
        wanted = _convert(params, _Explore)
        context = self._find(wanted.context)
        key = context.key
        begun = self._endpoint.manager.explore(
            key.ulid_local, key.ulid_peer, self._clock(), key.fii, leave=wanted.leave
        )
        if not begun:
            raise ControlError(REFUSED, f"the context is {context.state}, only an established one explores")
        self._finish()
        return describe(context)

    def _establish(self, params: Mapping[str, Any]) -> object:
        wanted = _convert(params, _Establish)
        local, peer = _address(wanted.local), _address(wanted.peer)
        context = self._endpoint.establish(local, peer, self._clock(), wanted.fii)
        if context is None:
            raise ControlError(
                REFUSED,
                f"no context between {wanted.local} and {wanted.peer} now: the first must be an address of"
                " this host and the second one of another, which is left alone for a while after a failure",
            )
        self._finish()
        return describe(context)

    def _set(self, params: Mapping[str, Any]) -> object:
        wanted = _convert(params, _Set)
        try:
            self._endpoint.manager.set_send_timeout(round(wanted.send_timeout_s * SECOND), self._clock())
        except LocalProtocolError as error:
            raise ControlError(INVALID_PARAMS, str(error)) from None
        self._finish()
        return {"send_timeout_s": self._endpoint.manager.settings.send_timeout_ns / SECOND}

    def _prefer(self, params: Mapping[str, Any]) -> object:
        wanted = _convert(params, _Prefer)
        address, manager = _address(wanted.address), self._endpoint.manager
        if not manager.knows_local_address(address):
            raise ControlError(NOT_FOUND, f"{wanted.address} is no address of this host that Shim6 knows")
        flags = PreferenceFlag.BROKEN if wanted.broken else PreferenceFlag(0)
        if wanted.transient:
            flags |= PreferenceFlag.TRANSIENT
        manager.prefer_local_address(
            address, Preference(flags, wanted.priority, wanted.weight), self._clock()
        )
        self._finish()
        return {"address": text_of(address)} | {
            name: getattr(wanted, name) for name in ("broken", "transient", "priority", "weight")
        }

    def _identities(self, params: Mapping[str, Any]) -> object:
        _convert(params, _Params)
        manager = self._endpoint.manager
        return {"identities": [describe_identity(one, manager) for one in manager.identities()]}

    def _history(self, params: Mapping[str, Any]) -> object:
        wanted = _convert(params, _Log)
        entries = self._log.entries(self._clock(), reset=wanted.reset)
        for entry in entries:
            for name in ("ulids", "pair"):
                entry[name] = [text_of(address) for address in entry[name]]
        return {"explorations": entries}

    def _find(self, text: str) -> Context:
        found = [context for context in self._endpoint.manager.contexts() if text in _names_of(context)]
        if not found:
            raise ControlError(NOT_FOUND, f"no context {text!r}; 'mpcore shim6 list' lists them")
        if len(found) > 1:
            tags = ", ".join(f"{context.tag_local:012x}" for context in found[:10])
            raise ControlError(REFUSED, f"{text!r} means several contexts; name one by its tag: {tags}")
        return found[0]

    def _finish(self) -> None:
        self._endpoint.settle(self._clock())
        self._work()


def _names_of(context: Context) -> tuple[str, ...]:
    local, peer = text_of(context.key.ulid_local), text_of(context.key.ulid_peer)
    return f"{context.tag_local:012x}", f"{local}-{peer}", local, peer


def _convert(params: Mapping[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(dict(params), kind)
    except msgspec.ValidationError as error:
        raise ControlError(INVALID_PARAMS, str(error)) from None


def _address(text: str) -> bytes:
    try:
        return ipaddress.IPv6Address(text).packed
    except ValueError:
        raise ControlError(INVALID_PARAMS, f"{text!r} is no IPv6 address") from None
