"""The status document of `mpcore show -j`: plain dicts, lists, numbers and text."""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from mpcore.actions import Role
from mpcore.connections import Connection
from mpcore.engine import Engine
from mpcore.mptcp.flow import FlowKey


def format_endpoint(address: bytes, port: int) -> str:
    """Return address and port as ss prints them: 10.0.0.1:80, [2001:db8::1]:80."""
    text = str(ipaddress.ip_address(address))
    return f"[{text}]:{port}" if len(address) == 16 else f"{text}:{port}"


def document(
    engine: Engine,
    connections: Iterable[Connection],
    addresses: Mapping[bytes, tuple[str, bool]],
    fallen_back: list[dict[str, Any]],
    counters: dict[str, int],
) -> dict[str, Any]:
    """Return the whole document; `fallen_back` are entries of connections that left."""
    described = [_connection(engine, connection) for connection in connections]
    return {
        "connections": [entry for entry in described if entry is not None] + fallen_back,
        "contexts": [],
        "paths": [
            {"local": str(ipaddress.ip_address(address)), "interface": interface, "backup": backup}
            for address, (interface, backup) in addresses.items()
        ],
        "counters": counters,
    }


def merge(*documents: Mapping[str, Any]) -> dict[str, Any]:
    """Return one document of those of several endpoints of a host; a path is named once."""
    paths = {path["local"]: path for document in reversed(documents) for path in document["paths"]}
    return {
        "connections": [entry for document in documents for entry in document["connections"]],
        "contexts": [entry for document in documents for entry in document["contexts"]],
        "paths": list(paths.values()),
        "counters": {name: value for document in documents for name, value in document["counters"].items()},
    }


def fallen_back(connection: Connection) -> dict[str, Any]:
    """Return the entry of a connection that goes on as plain TCP, as it was when it left."""
    return {**_head(connection), "state": "tcp", "bytes_sent": 0, "bytes_received": 0, "subflows": []}


def never_begun(key: FlowKey, reason: str) -> dict[str, Any]:
    """Return the entry of a connection that became plain TCP in its handshake: it has no token."""
    _, local, local_port, remote, remote_port = key
    return {
        "token": None,
        "role": None,
        "local": format_endpoint(local, local_port),
        "remote": format_endpoint(remote, remote_port),
        "fallback": reason,
        "state": "tcp",
        "bytes_sent": 0,
        "bytes_received": 0,
        "subflows": [],
    }


def _head(connection: Connection) -> dict[str, Any]:
    opened = connection.opened
    return {
        "token": f"{connection.token:08x}",
        "role": "client" if opened.role is Role.CLIENT else "server",
        "local": format_endpoint(opened.local, opened.local_port),
        "remote": format_endpoint(opened.remote, opened.remote_port),
        "fallback": connection.fallback,
    }


def _connection(engine: Engine, connection: Connection) -> dict[str, Any] | None:
    seen = engine.describe(connection.handle)
    if seen is None:
        return None
    return {
        **_head(connection),
        "state": _state(seen),
        "bytes_sent": seen["bytes_sent"],
        "bytes_received": seen["bytes_received"],
        "bytes_queued": seen["bytes_queued"],
        "bytes_in_flight": seen["bytes_in_flight"],
        "send_window": seen["send_window"],
        "receive_window": seen["receive_window"],
        "checksum": seen["checksum"],
        "reorder": seen["reorder"],
        "subflows": [_subflow(subflow) for subflow in seen["subflows"]],
    }


def _state(seen: Mapping[str, Any]) -> str:
    """Return the connection-level state by the names of RFC 8684 appendix D."""
    if not seen["established"]:
        return "M_SYN_RCVD_SENT"
    ours, theirs = seen["host_fin"], seen["peer_fin"]
    if ours and theirs:
        return "M_TIME_WAIT" if seen["fin_acked"] else "M_CLOSING"
    if ours:
        return "M_FIN_WAIT_2" if seen["fin_acked"] else "M_FIN_WAIT_1"
    return "M_CLOSE_WAIT" if theirs else "M_ESTABLISHED"


def _subflow(seen: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "path_index": seen["path_index"],
        "local": format_endpoint(seen["local"], seen["local_port"]),
        "remote": format_endpoint(seen["remote"], seen["remote_port"]),
        "state": seen["state"],
        "backup": seen["backup"],
        "suspect": seen["suspect"],
        "ecn": seen["ecn"],
        "srtt_us": seen["srtt_ns"] // 1000,
        "cwnd_bytes": seen["cwnd"],
        "inflight_bytes": seen["inflight"],
        "mss_bytes": seen["mss"],
        "bytes_sent": seen["bytes_sent"],
        "bytes_received": seen["bytes_received"],
        "local_id": seen["local_id"],
        "remote_id": seen["remote_id"],
    }
