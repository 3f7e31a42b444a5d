"""Text for people: blocks as `wg show` prints them, event lines as `ip mptcp monitor` does.

Everything here is a function of one entry of the status document (see `mpcore show -j`) or of one event.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import click

from mpcore.counters import Counter
from mpcore.host.control_handlers import format_token
from mpcore.shim6.counters import Shim6Counter

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

EVENT_WORDS = {
    "connection-created": "CREATED",
    "connection-established": "ESTABLISHED",
    "connection-fell-back": "FELL_BACK",
    "connection-closed": "CLOSED",
    "subflow-established": "SF_ESTABLISHED",
    "subflow-closed": "SF_CLOSED",
    "address-announced": "ANNOUNCED",
    "address-removed": "REMOVED",
    "priority-changed": "SF_PRIO",
    "context-established": "CTX_ESTAB",
    "context-failed": "CTX_FAILED",
    "context-fell-back": "CTX_FELL_BACK",
    "context-removed": "CTX_REMOVED",
    "path-changed": "CTX_MOVED",
    "exploration-started": "EXPLORING",
    "exploration-finished": "EXPLORED",
    "payload-resumed": "RESUMED",
    "payload-blocked": "CTX_BLOCKED",
    "control-blocked": "CTL_BLOCKED",
    "peer-updated": "PEER_UPDATED",
    "peer-error": "PEER_ERROR",
}
EVENT_WORD_WIDTH = 14
# Names of `ip mptcp monitor`, in its order; an announced address is one of the peer's.
EVENT_KEYS = {
    "token": "token",
    "remote_id": "remid",
    "address_id": "remid",
    "local_id": "locid",
    "local": "saddr",
    "remote": "daddr",
    "address": "daddr",
    "local_port": "sport",
    "remote_port": "dport",
    "port": "dport",
    "backup": "backup",
}

_MEANINGS: dict[str, str] = {
    **{counter.mib: counter.meaning for counter in Counter},
    **{counter.mib: counter.meaning for counter in Shim6Counter},
}


def format_bytes(count: int) -> str:
    """Return a size with its unit: 1460 B, 1.21 MiB."""
    value, unit = float(count), UNITS[0]
    for unit in UNITS:
        if value < 1024 or unit == UNITS[-1]:
            break
        value /= 1024
    return f"{count} B" if unit == UNITS[0] else f"{value:.2f} {unit}"


def format_microseconds(microseconds: int) -> str:
    """Return a duration with its unit: 180 us, 12.5 ms, 1.20 s."""
    if microseconds < 1000:
        return f"{microseconds} us"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.1f} ms"
    return f"{microseconds / 1_000_000:.2f} s"


def format_connection(entry: Mapping[str, Any]) -> str:
    """Return the block of a connection and, indented below it, of its subflows."""
    lines = [_header("connection", format_token(entry["token"]))]
    fallback = entry.get("fallback")
    lines += _lines(
        "  ",
        [
            ("role", entry.get("role")),
            ("state", entry.get("state")),
            ("multipath", f"no: {fallback}" if fallback else None),
            ("local", entry["local"]),
            ("remote", entry["remote"]),
            ("transfer", _transfer(entry)),
        ],
    )
    for subflow in entry.get("subflows", []):
        lines += ["", *_subflow_lines(subflow)]
    return "\n".join(lines)


def _subflow_lines(subflow: Mapping[str, Any]) -> list[str]:
    state = f"{subflow.get('state')}, backup" if subflow.get("backup") else subflow.get("state")
    srtt, window = subflow.get("srtt_us"), subflow.get("cwnd_bytes")
    return [
        "  " + _header("subflow", f"{subflow['path_index']}"),
        *_lines(
            "    ",
            [
                ("local", subflow["local"]),
                ("remote", subflow["remote"]),
                ("state", state),
                ("round trip", format_microseconds(srtt) if srtt else None),
                ("window", format_bytes(window) if window is not None else None),
                ("transfer", _transfer(subflow)),
            ],
        ),
    ]


def _transfer(entry: Mapping[str, Any]) -> str:
    received, sent = entry.get("bytes_received", 0), entry.get("bytes_sent", 0)
    return f"{format_bytes(received)} received, {format_bytes(sent)} sent"


def format_context(entry: Mapping[str, Any]) -> str:
    """Return the block of a Shim6 context (RFC 5533)."""
    head = _header("context", f"{entry['ulid_local']} {entry['ulid_peer']}")
    return "\n".join([head, *_other_lines(entry, ("ulid_local", "ulid_peer"))])


def format_path(entry: Mapping[str, Any]) -> str:
    """Return the block of a path, whatever it tells about itself."""
    key = next(iter(entry), None)
    head = _header("path", _value(str(key), entry[key]) if key is not None else "")
    return "\n".join([head, *_other_lines(entry, (key,))])


def format_counters(counters: Mapping[str, int]) -> str:
    """Return the counters that have moved, one a line, each with its meaning."""
    moved = {name: value for name, value in counters.items() if value}
    if not moved:
        return "all counters are zero"
    name_width = max(map(len, moved))
    value_width = max(len(str(value)) for value in moved.values())
    return "\n".join(
        f"{name:<{name_width}}  {value:>{value_width}}  {_meaning(name)}".rstrip()
        for name, value in moved.items()
    )


def _meaning(name: str) -> str:
    return _MEANINGS.get(name, "")


def format_event(event: Mapping[str, Any]) -> str:
    """Return an event as a line in the style of `ip mptcp monitor`."""
    name = str(event.get("event"))
    word = EVENT_WORDS.get(name, name.upper().replace("-", "_"))
    known = [key for key in EVENT_KEYS if key in event]
    other = [key for key in event if key not in EVENT_KEYS and key != "event"]
    pairs = [_event_pair(key, event[key]) for key in known + other if event[key] is not None]
    return " ".join([f"[{word:>{EVENT_WORD_WIDTH}}]", *pairs])


def _event_pair(key: str, value: object) -> str:
    name = EVENT_KEYS.get(key, key)
    if name in ("saddr", "daddr"):
        name += "6" if ":" in str(value) else "4"
    if name == "token":
        return f"token={format_token(value)}"
    if isinstance(value, bool):
        return f"{name}={value:d}"
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return f'{name}="{text}"' if " " in text else f"{name}={text}"


def format_table(rows: Iterable[tuple[str, ...]]) -> str:
    """Return rows with their columns aligned, the last as wide as it is."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return "\n".join("  ".join(row).rstrip() for row in padded)


def _header(kind: str, name: str) -> str:
    return f"{click.style(kind, bold=True)}: {name}"


def _lines(indent: str, pairs: Iterable[tuple[str, object]]) -> list[str]:
    return [f"{indent}{key}: {value}" for key, value in pairs if value is not None]


def _other_lines(entry: Mapping[str, Any], left_out: tuple[str | None, ...]) -> list[str]:
    shown = {key: value for key, value in entry.items() if key not in left_out and value is not None}
    return _lines("  ", [(_label(key), _value(key, value)) for key, value in shown.items()])


def _label(key: str) -> str:
    return key.removesuffix("_us").removesuffix("_bytes").replace("_", " ")


def _value(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and key.endswith("_us"):
        return format_microseconds(value)
    if isinstance(value, int) and (key.endswith("_bytes") or key.startswith("bytes_")):
        return format_bytes(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
