"""Tables of `mpcore shim6` for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from mpcore.cli.render import format_microseconds, format_table


def format_context_list(contexts: Sequence[Mapping[str, Any]]) -> str:
    """Return a line for each context of the status document."""
    if not contexts:
        return "no contexts"
    head = ("TAG", "LOCAL", "PEER", "STATE", "REACHABILITY", "LOCATORS")
    return format_table([head, *(_context_row(entry) for entry in contexts)])


def _context_row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    ulids = (entry["ulid_local"], entry["ulid_peer"])
    pair = (entry["current_local"], entry["current_peer"])
    peer = f"{ulids[1]} (fork {entry['fii']})" if entry.get("fii") else ulids[1]
    where = "as they are" if pair == ulids else f"{pair[0]} > {pair[1]}"
    return entry["tag_local"], ulids[0], peer, entry["state"], entry["reap_state"], where


def format_identities(identities: Sequence[Mapping[str, Any]]) -> str:
    """Return a block for each identifier, with a line for each of its locators."""
    if not identities:
        return "no identities: this host has no addresses that shim6.identities or shim6.form name"
    return "\n\n".join(_identity_block(identity) for identity in identities)


def _identity_block(identity: Mapping[str, Any]) -> str:
    sec = "" if identity["sec"] is None else f", Sec {identity['sec']}"
    lines = [f"{identity['ulid']}: {identity['kind']}{sec}"]
    lines += [f"  {locator['address']}{_wishes(locator)}" for locator in identity["locators"]]
    return "\n".join(lines)


def _wishes(locator: Mapping[str, Any]) -> str:
    words = [f"by {locator['method']}"] if locator["method"] else []
    words += [name for name in ("broken", "transient") if locator[name]]
    words += [f"{name} {locator[name]}" for name in ("priority", "weight") if locator[name]]
    return f" ({', '.join(words)})" if words else ""


def format_addresses(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return a line for each formed address, and for each prefix that none is formed for."""
    if not entries:
        return "no addresses are formed: shim6.form is off, or no prefix is known yet"
    head = ("ADDRESS", "INTERFACE", "KIND", "STATE", "COLLISIONS", "PREFERRED", "VALID")
    return format_table([head, *(_address_row(entry) for entry in entries)])


def _address_row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    failed = entry["address"] is None
    return (
        f"{entry['prefix']} (none)" if failed else entry["address"],
        entry["interface"] or "",
        entry["kind"],
        _address_state(entry),
        "" if failed else str(entry["collisions"]),
        _lifetime(entry["preferred_s"]),
        _lifetime(entry["valid_s"]),
    )


def _address_state(entry: Mapping[str, Any]) -> str:
    if entry["state"] == "searching":
        done, usual = (entry[name] / 1e6 for name in ("hashes", "hashes_usual"))
        return f"searching, {done:.1f} of some {usual:.1f} million hashes"
    return entry["state"] if entry["current"] or entry["address"] is None else f"{entry['state']}, old"


def _lifetime(seconds: int | None) -> str:
    return "forever" if seconds is None else f"{seconds} s"


def format_log(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return a line for each exploration."""
    if not entries:
        return "no explorations"
    head = ("AGO", "LOCAL", "PEER", "CAUSE", "TOOK", "PROBES", "SILENCE", "FOUND")
    return format_table([head, *(_log_row(entry) for entry in entries)])


def _log_row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    stall = entry["stall_us"]
    return (
        format_microseconds(entry["age_us"]),
        *entry["ulids"],
        entry["cause"] or "",
        format_microseconds(entry["duration_us"]),
        str(entry["probes"]),
        "" if stall is None else format_microseconds(stall),
        " > ".join(entry["pair"]),
    )
