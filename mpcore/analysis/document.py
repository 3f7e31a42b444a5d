"""An inspection as one document of plain values, which `mpcore inspect -j` prints.

Times are integer nanoseconds; all but the first count from the first packet of the capture. `from` is 0 for
the host that opened the connection or sent the first I1, else 1.
"""

import ipaddress
from collections.abc import Iterable
from typing import Any

from mpcore.analysis.contexts import Context, Message
from mpcore.analysis.fallback import RULES
from mpcore.analysis.inspection import Inspection
from mpcore.analysis.model import Address, Check, Connection, Direction, Event, Side, Subflow
from mpcore.analysis.reordering import ReorderCost, reorder_costs
from mpcore.wire import shim6
from mpcore.wire.values import ResetReason

Document = dict[str, Any]


def to_document(inspection: Inspection, only: int | None = None) -> Document:
    """Return the whole inspection, or with `only` that connection and no context."""
    start = inspection.first_ns or 0
    connections = [one for one in inspection.tracker.connections if only in (None, one.number)]
    contexts = inspection.contexts.found if only is None else []
    return {
        "file": inspection.path,
        "format": inspection.format,
        "packets": inspection.packets,
        "bytes": inspection.bytes,
        "start_ns": inspection.first_ns,
        "duration_ns": None if inspection.last_ns is None else inspection.last_ns - start,
        "damage": inspection.damage,
        "tcp": _tcp(inspection),
        "connections": [connection_document(one, start) for one in connections],
        "contexts": [context_document(one, start) for one in contexts],
    }


def _tcp(inspection: Inspection) -> Document:
    tracker, contexts = inspection.tracker, inspection.contexts
    return {
        "segments": inspection.segments,
        "plain_connections": tracker.plain,
        "checksums": {str(name): count for name, count in inspection.checksums.items()},
        "skipped": {str(name): count for name, count in inspection.skipped.items()},
        "malformed_mptcp_options": tracker.malformed_options,
        "unreadable_option_areas": tracker.unreadable_options,
        "shim6_malformed": contexts.malformed,
        "shim6_of_unknown_contexts": contexts.unknown,
    }


def connection_document(connection: Connection, start_ns: int) -> Document:
    """Return one connection."""
    ends = connection.ends
    return {
        "number": connection.number,
        "version": connection.version,
        "initiator": ends and format_address(ends[0]),
        "responder": ends and format_address(ends[1]),
        "tokens": [_hex(direction.token, 8) for direction in connection.directions],
        "keys_known": [direction.key is not None for direction in connection.directions],
        "checksum_required": connection.checksum_required,
        "start_captured": connection.start_captured,
        "start_ns": connection.time_ns - start_ns,
        "duration_ns": connection.last_ns - connection.time_ns,
        "fallback": _fallback(connection),
        "end": _end(connection),
        "subflows": [_subflow(one, connection, start_ns) for one in connection.subflows],
        "directions": [_direction(one, number) for number, one in enumerate(connection.directions)],
        "events": [_event(one, start_ns) for one in _events(connection)],
    }


def _fallback(connection: Connection) -> Document | None:
    if connection.fallback is None:
        return None
    reason, packet = connection.fallback
    return {"reason": str(reason), "rule": RULES[reason], "packet": packet}


def _end(connection: Connection) -> str | None:
    if any(event.kind == "fastclose" for event in connection.events):
        return "fastclose"
    fins = [direction.fin is not None for direction in connection.directions]
    return {0: None, 1: "data-fin of one host", 2: "data-fin"}[sum(fins)]


def _events(connection: Connection) -> Iterable[Event]:
    fins = [direction.fin for direction in connection.directions if direction.fin is not None]
    return sorted([*connection.events, *fins], key=lambda event: event.packet)


def _event(event: Event, start_ns: int) -> Document:
    details = {name: _plain(name, value) for name, value in event.details.items()}
    time_ns = event.time_ns - start_ns
    return {
        "event": event.kind,
        "packet": event.packet,
        "time_ns": time_ns,
        "from": event.direction,
        **details,
    }


def _plain(name: str, value: object) -> object:
    if name == "address" and isinstance(value, bytes):
        return str(ipaddress.ip_address(value))
    return str(value) if isinstance(value, Check) else value


def _subflow(subflow: Subflow, connection: Connection, start_ns: int) -> Document:
    total = [direction.data.total for direction in connection.directions]
    return {
        "number": subflow.number,
        "kind": "join" if subflow.joined else "first",
        "initiator": format_address(subflow.ends[0]),
        "responder": format_address(subflow.ends[1]),
        "opened_by": subflow.direction,
        "start_ns": subflow.time_ns - start_ns,
        "established": subflow.established,
        "token": _hex(subflow.token, 8),
        "token_verified": _check(subflow.token_check),
        "synack_hmac": _check(subflow.synack_check),
        "ack_hmac": _check(subflow.ack_check),
        "sides": [_side(subflow, number, total[subflow.direction ^ number]) for number in (0, 1)],
    }


def _side(subflow: Subflow, number: int, total: int) -> Document:
    side: Side = subflow.sides[number]
    return {
        "from": subflow.direction ^ number,
        "address_id": side.address_id,
        "backup": side.backup,
        "packets": side.packets,
        "segments": side.segments,
        "bytes": side.sent.total,
        "data_bytes": side.mapped.total,
        "data_share": _share(side.mapped.total, total),
        "retransmitted_segments": side.retransmitted_segments,
        "retransmitted_bytes": side.retransmitted_bytes,
        "late_segments": side.late_segments,
        "fin_packet": side.fin,
        "reset_packet": side.reset,
        "reset_reason": _reset_reason(side.reset_reason),
    }


def _reset_reason(reason: int | None) -> str | None:
    """Return the reason of an MP_TCPRST (RFC 8684 §3.6) in words."""
    if reason is None:
        return None
    known = reason in set(ResetReason)
    return ResetReason(reason).name.lower().replace("_", " ") if known else f"reason {reason}"


def _direction(direction: Direction, number: int) -> Document:
    return {
        "from": number,
        "bytes": direction.data.total,
        "mappings": direction.mappings,
        "missed_bytes": direction.missed_bytes,
        "reinjected_bytes": direction.reinjected_bytes,
        "unmapped_bytes": direction.unmapped_bytes,
        "unmapped_packet": direction.unmapped_packet,
        "data_acked": direction.acked,
        "dss_checksums": {str(check): count for check, count in direction.checksums.items()},
        "pieces": direction.pieces,
        "out_of_order_pieces": direction.early_pieces,
        "out_of_order_bytes": direction.early_bytes,
        "out_of_order_share": _share(direction.early_pieces, direction.pieces),
        "reordering": [_cost(cost) for cost in reorder_costs(direction)],
    }


def _cost(cost: ReorderCost) -> Document:
    return {
        "algorithm": cost.algorithm,
        "inserts": cost.inserts,
        "hits": cost.hits,
        "hit_rate": None if cost.hit_rate is None else round(cost.hit_rate, 4),
        "steps": cost.steps,
        "max_nodes": cost.max_nodes,
        "max_bytes": cost.max_bytes,
    }


def context_document(context: Context, start_ns: int) -> Document:
    """Return one Shim6 context. Tags are secrets of a kind, but a capture has them anyway."""
    carried = [
        {"from": sender, "src": _ip(src), "dst": _ip(dst), "packets": count,
         "bytes": context.payload_bytes[sender, src, dst]}
        for (sender, src, dst), count in context.packets.items()
    ]  # fmt: skip
    return {
        "number": context.number,
        "ulids": [_ip(one) for one in context.ulids],
        "instance": context.instance,
        "start_ns": context.time_ns - start_ns,
        "established": context.established,
        "tags": [_hex(tag, 12) for tag in context.tags],
        "locators": [[_ip(one) for one in locators] for locators in context.locators],
        "messages": [_message(one, start_ns) for one in context.messages],
        "payload": carried,
    }


def _message(message: Message, start_ns: int) -> Document:
    document = {
        "message": type(message.value).__name__,
        "packet": message.packet,
        "time_ns": message.time_ns - start_ns,
        "from": message.sender,
        "src": _ip(message.src),
        "dst": _ip(message.dst),
    }
    if isinstance(message.value, shim6.Probe):
        state = message.value.state
        document["state"] = shim6.ReachabilityState(state).name.lower() if state < 3 else str(state)
        document["sent"], document["received"] = len(message.value.sent), len(message.value.received)
    locators = shim6.find_option(message.value, shim6.LocatorList)
    if locators is not None:
        document["locators"] = [_ip(one.address) for one in locators.locators]
    return document


def format_address(address: Address) -> str:
    """Return `10.0.0.1:80` or `[2001:db8::1]:80`."""
    host = _ip(address[0])
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"


def _ip(address: bytes) -> str:
    return str(ipaddress.ip_address(address))


def _hex(value: int | None, digits: int) -> str | None:
    return None if value is None else f"{value:0{digits}x}"


def _check(check: Check | None) -> str | None:
    return None if check is None else str(check)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
