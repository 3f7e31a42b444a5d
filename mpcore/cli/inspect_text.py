"""The document of `mpcore inspect` for people: a block a connection or context, tables within."""

from collections.abc import Iterable, Mapping
from typing import Any

import click

from mpcore.cli.render import format_bytes, format_table

Entry = Mapping[str, Any]
NS_PER_S = 1e9
EVENTS_MAX = 40  # lines of a block; the document has all of them


def format_inspection(document: Entry) -> str:
    """Return all of it."""
    blocks = [format_summary(document)]
    blocks += [format_connection(one) for one in document["connections"]]
    blocks += [format_context(one) for one in document["contexts"]]
    if len(blocks) == 1:
        blocks.append("no MPTCP connection and no Shim6 context")
    return "\n\n".join(blocks)


def format_summary(document: Entry) -> str:
    """Return what there is to say of the file as a whole."""
    tcp = document["tcp"]
    lines = [
        _head("capture", document["file"]),
        f"  {document['format']}, {document['packets']} packets, {format_bytes(document['bytes'])}"
        + (f", {_seconds(document['duration_ns'])}" if document["duration_ns"] is not None else ""),
        f"  {tcp['segments']} TCP segments, {tcp['plain_connections']} connections of plain TCP",
    ]
    if tcp["checksums"]:
        lines.append(f"  TCP checksums: {_counts(tcp['checksums'])}")
        if "offloaded" in tcp["checksums"]:
            lines[-1] += " (left to the network card, no fault)"
    if tcp["skipped"]:
        lines.append(f"  skipped: {_counts(tcp['skipped'])}")
    odd = {name.replace("_", " "): tcp[name] for name in ODDITIES if tcp[name]}
    return "\n".join([*lines, *([f"  odd: {_counts(odd)}"] if odd else [])])


ODDITIES = (
    "malformed_mptcp_options",
    "unreadable_option_areas",
    "shim6_malformed",
    "shim6_of_unknown_contexts",
)


def format_connection(entry: Entry) -> str:
    """Return the block of a connection."""
    tokens = ", ".join(token or "unknown" for token in entry["tokens"])
    lines = [
        _head("connection", str(entry["number"])),
        f"  hosts: {entry['initiator'] or 'unknown'} and {entry['responder'] or 'unknown'}",
        f"  version: {entry['version']}{', with DSS checksums' if entry['checksum_required'] else ''}",
        f"  tokens: {tokens}",
        f"  time: from {_seconds(entry['start_ns'])} for {_seconds(entry['duration_ns'])}",
        f"  multipath: {_multipath(entry)}",
        f"  end: {entry['end'] or 'not in the capture'}",
    ]
    if not entry["start_captured"]:
        lines.append("  the capture began after its first SYN")
    parts = [lines, _table(_subflow_rows(entry)), _table(_direction_rows(entry)), _table(_cost_rows(entry))]
    parts.append(_event_lines(entry))
    return "\n\n".join("\n".join(part) for part in parts if part)


def _multipath(entry: Entry) -> str:
    fallback = entry["fallback"]
    if fallback is not None:
        return f"no: {fallback['reason']} (packet {fallback['packet']}, {fallback['rule']})"
    subflows = entry["subflows"]
    count = sum(subflow["established"] for subflow in subflows)
    return f"{count} of {len(subflows)} subflows established"


def _subflow_rows(entry: Entry) -> Iterable[tuple[str, ...]]:
    yield ("subflow", "from", "to", "verified", "sent", "share", "received", "share", "again", "ended")
    for one in entry["subflows"]:
        there, back = one["sides"]
        yield (
            f"{one['number']}{' backup' if there['backup'] or back['backup'] else ''}",
            one["initiator"],
            one["responder"],
            _verified(one),
            format_bytes(there["data_bytes"]),
            _percent(there["data_share"]),
            format_bytes(back["data_bytes"]),
            _percent(back["data_share"]),
            str(there["retransmitted_segments"] + back["retransmitted_segments"]),
            _ended(one),
        )


def _verified(subflow: Entry) -> str:
    """Return how token and HMACs of a join turned out (RFC 8684 §3.2)."""
    if subflow["kind"] == "first":
        return "-"
    names = {"token_verified": "token", "synack_hmac": "SYN/ACK", "ack_hmac": "ACK"}
    wrong = [name for key, name in names.items() if subflow[key] == "wrong"]
    if wrong:
        return f"{' and '.join(wrong)} WRONG"
    right = [name for key, name in names.items() if subflow[key] == "right"]
    return ", ".join(right) or "unknown"


def _ended(subflow: Entry) -> str:
    for side in subflow["sides"]:
        if side["reset_packet"] is not None:
            what = "reset" if subflow["established"] else "refused"
            return f"{what}: {side['reset_reason']}" if side["reset_reason"] else what
    fins = sum(side["fin_packet"] is not None for side in subflow["sides"])
    if fins:
        return "FIN" if fins == 2 else "FIN of one host"
    return "-" if subflow["established"] else "never established"


def _direction_rows(entry: Entry) -> Iterable[tuple[str, ...]]:
    yield (
        "data",
        "bytes",
        "mappings",
        "out of order",
        "reinjected",
        "unmapped",
        "not captured",
        "DSS checksums",
    )
    for one in entry["directions"]:
        early, share = one["out_of_order_pieces"], one["out_of_order_share"]
        yield (
            _ARROWS[one["from"]],
            format_bytes(one["bytes"]),
            str(one["mappings"]),
            f"{early} of {one['pieces']} ({_percent(share)})" if one["pieces"] else "-",
            format_bytes(one["reinjected_bytes"]),
            format_bytes(one["unmapped_bytes"]),
            format_bytes(one["missed_bytes"]),
            _counts(one["dss_checksums"]) or "-",
        )


_ARROWS = ("there", "back")


def _cost_rows(entry: Entry) -> list[tuple[str, ...]]:
    """Return what the reordering algorithms would have cost, where there was anything to reorder."""
    rows: list[tuple[str, ...]] = [
        ("reordering", "direction", "inserts", "hits", "steps", "elements", "most bytes")
    ]
    for direction in entry["directions"]:
        for cost in direction["reordering"]:
            if cost["inserts"]:
                rows.append(
                    (
                        cost["algorithm"],
                        _ARROWS[direction["from"]],
                        str(cost["inserts"]),
                        f"{cost['hits']} ({_percent(cost['hit_rate'])})",
                        str(cost["steps"]),
                        str(cost["max_nodes"]),
                        format_bytes(cost["max_bytes"]),
                    )
                )
    return rows if len(rows) > 1 else []


def _event_lines(entry: Entry) -> list[str]:
    return _limited([f"  {_seconds(one['time_ns'])}  {_event(one)}" for one in entry["events"]])


def _event(event: Entry) -> str:
    known = {"event", "packet", "time_ns", "from"}
    details = [
        f"{name.replace('_', ' ')} {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in event.items()
        if name not in known and value is not None
    ]
    return (
        f"packet {event['packet']}, {_ARROWS[event['from']]}: {event['event']} {', '.join(details)}".rstrip()
    )


def format_context(entry: Entry) -> str:
    """Return the block of a Shim6 context."""
    lines = [
        _head("context", str(entry["number"])),
        f"  ULIDs: {' and '.join(entry['ulids'])}",
        f"  state: {'established' if entry['established'] else 'not established in the capture'}",
        f"  tags: {', '.join(tag or 'unknown' for tag in entry['tags'])}",
    ]
    if entry["instance"]:
        lines.insert(2, f"  forked instance: {entry['instance']}")
    lines += [
        f"  locators of {ulid}: {', '.join(locators)}"
        for ulid, locators in zip(entry["ulids"], entry["locators"], strict=True)
        if locators
    ]
    rows = [("payload", "from", "to", "packets", "bytes")]
    rows += [
        (_ARROWS[one["from"]], one["src"], one["dst"], str(one["packets"]), format_bytes(one["bytes"]))
        for one in entry["payload"]
    ]
    parts = [lines, _table(rows) if len(rows) > 1 else [], _message_lines(entry)]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _message_lines(entry: Entry) -> list[str]:
    lines = []
    for one in entry["messages"]:
        state = f" ({one['state']})" if "state" in one else ""
        lines.append(
            f"  {_seconds(one['time_ns'])}  packet {one['packet']}, {_ARROWS[one['from']]}: "
            f"{one['message']}{state}, {one['src']} to {one['dst']}"
        )
    return _limited(lines)


def _limited(lines: list[str]) -> list[str]:
    more = len(lines) - EVENTS_MAX
    return lines if more <= 0 else [*lines[:EVENTS_MAX], f"  … and {more} more: see -j"]


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    rows = list(rows)
    return [f"  {line}" for line in format_table(rows).splitlines()] if len(rows) > 1 else []


def _head(kind: str, name: str) -> str:
    return f"{click.style(kind, bold=True)}: {name}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _seconds(time_ns: int) -> str:
    return f"{time_ns / NS_PER_S:.6f} s"
