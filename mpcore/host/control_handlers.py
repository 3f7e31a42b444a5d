"""What the daemon answers on its control socket, as a function of its status document."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mpcore.host.control_protocol import INVALID_PARAMS, NOT_FOUND, REFUSED, ControlError

SECTIONS = ("connections", "contexts", "paths", "counters")

# Of `mpcore shim6`; what answers them is in `shim6_handlers` and `forming_handlers`.
SHIM6_METHODS = (
    "shim6_show",
    "shim6_remove",
    "shim6_explore",
    "shim6_establish",
    "shim6_set",
    "shim6_prefer",
    "shim6_identities",
    "shim6_log",
    "shim6_addresses",
    "shim6_renew",
)

Handler = Callable[[Mapping[str, Any]], object]


def build_handlers(snapshot: Callable[[], Mapping[str, Any]], stop: Callable[[], None]) -> dict[str, Handler]:
    """Return the handlers of a daemon whose state is the document `snapshot()`; `stop` asks it to end.

    Those of Shim6 are refused, until others are laid over them.
    """

    def show(params: Mapping[str, Any]) -> object:
        what = params.get("what")
        document = snapshot()
        if what is None:
            return document
        if what not in SECTIONS:
            raise ControlError(INVALID_PARAMS, f"show knows {', '.join(SECTIONS)}, not {what!r}")
        return {what: document.get(what, {} if what == "counters" else [])}

    def explain(params: Mapping[str, Any]) -> object:
        return find_connection(snapshot().get("connections", []), str(params.get("connection", "")))

    def end(params: Mapping[str, Any]) -> object:
        stop()
        return {"stopping": True}

    def refuse(params: Mapping[str, Any]) -> object:
        raise ControlError(REFUSED, "Shim6 is off: set shim6.enabled to true and start the daemon again")

    return {"show": show, "explain": explain, "stop": end, **dict.fromkeys(SHIM6_METHODS, refuse)}


def find_connection(connections: Sequence[dict[str, Any]], text: str) -> dict[str, Any]:
    """Return the one connection that `text` names.

    Args:
        connections: the list of that name in the status document
        text: its token in hexadecimal, `LOCAL-REMOTE`, or either end, an end being `ADDRESS:PORT`

    Raises:
        ControlError: there is none, or more than one
    """
    found = [entry for entry in connections if text in _names_of(entry)]
    if not found:
        raise ControlError(NOT_FOUND, f"no connection {text!r}; 'mpcore show connections' lists them")
    if len(found) > 1:
        tokens = ", ".join(format_token(entry["token"]) for entry in found)
        raise ControlError(REFUSED, f"{text!r} means several connections; name one by its token: {tokens}")
    return found[0]


def _names_of(entry: Mapping[str, Any]) -> tuple[str, ...]:
    token = format_token(entry["token"])
    local, remote = entry["local"], entry["remote"]
    return token, f"0x{token}", str(entry["token"]), f"{local}-{remote}", local, remote


def format_token(token: object) -> str:
    """Return a token as `ip mptcp` prints it: eight hexadecimal digits; "-" for none."""
    if token is None:
        return "-"
    return f"{token:08x}" if isinstance(token, int) else str(token)
