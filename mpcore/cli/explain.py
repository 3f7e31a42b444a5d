"""`mpcore explain`: why a connection is or is not multipath, and which rule decided."""

from collections.abc import Mapping
from typing import Any

import click

from mpcore.cli.options import control_option, control_path, json_option

DEFAULT_RULE = ("RFC 8684 §3.7", "the connection goes on as plain TCP")

# By the words in `fallback`: the rule that decided, and what it means or what to do about it.
FALLBACK_RULES = {
    "disabled": ("mptcp.enabled, client, server", "the configuration leaves such connections alone"),
    "excluded": ("mptcp.exclude", "a rule of the configuration leaves this connection alone"),
    "loopback": ("mptcp.loopback", "connections within the host gain nothing from several paths"),
    "the program's socket speaks MPTCP itself": ("RFC 8684 §3.1", "the kernel does the work already"),
    "TCP Fast Open": ("RFC 8684 Appendix B", "MP_CAPABLE and a cookie do not fit in one SYN"),
    "TCP MD5 or TCP-AO needs the option room": ("RFC 8684 §6", "a signed segment must not be changed"),
    "data in the SYN": ("RFC 8684 Appendix B.2", "early data has no mapping"),
    "no room for MP_CAPABLE among the TCP options": ("RFC 8684 Appendix A", "TCP has 40 bytes for options"),
    "no free token": ("RFC 8684 §3.1", "tokens collide"),
    "limits.max_connections is reached": ("RFC 8684 §3.1", "no more connections are taken over: raise it"),
    "SYNs with MP_CAPABLE stayed unanswered": (
        "RFC 8684 §3.9.3",
        "a middlebox may drop such SYNs; mptcp.syn_fallback_retries says after how many",
    ),
    "SYNs with MP_CAPABLE to this peer stayed unanswered a while ago": (
        "RFC 8684 §3.9.3",
        "a middlebox dropped them and let a plain one through; mptcp.blackhole_s says how long none is sent",
    ),
    "simultaneous open": ("RFC 8684 §3.1", "both sides are clients, and the keys have no order"),
    "the peer did not offer MP_CAPABLE": ("RFC 8684 §3.1", "the peer, or a middlebox, knows only TCP"),
    "the peer's SYN/ACK has no MP_CAPABLE": (
        "RFC 8684 §3.1",
        "the peer knows only TCP, or a middlebox took the option out of the SYN or of its answer",
    ),
    "the third packet has no MP_CAPABLE": (
        "RFC 8684 §3.1",
        "a middlebox on the way from the peer takes options out after the SYN",
    ),
    "the third packet's MP_CAPABLE has other keys": ("RFC 8684 §3.1", "it must repeat both keys"),
    "the peer's MP_CAPABLE has another version": ("RFC 8684 §3.1", "mpcore speaks version 1 only"),
    "the peer's MP_CAPABLE asks for an unknown algorithm or extension": (
        "RFC 8684 §3.1",
        "bit H (HMAC-SHA256) must be set and bit B must not",
    ),
    "MP_CAPABLE and MP_JOIN in one SYN": ("RFC 8684 §3.1", "a SYN carries one of them"),
    "its SYN was not seen": ("RFC 8684 §3.1", "the connection is older than the daemon"),
    "no DSS after the handshake": (
        "RFC 8684 §3.7",
        "the peer gave MPTCP up, or a middlebox takes options out of all that follows the handshake",
    ),
    "infinite mapping": (
        "RFC 8684 §3.7",
        "the peer maps all that follows at once, as after a failed checksum: both go on as one TCP stream",
    ),
    "DSS checksum failed": (
        "RFC 8684 §3.7",
        "a middlebox changes the payload, and no other subflow is left to send it again on",
    ),
}


@click.command("explain")
@click.argument("connection")
@json_option
@control_option
def explain_command(connection: str, as_json: bool, control: str | None) -> None:
    """Say why CONNECTION is or is not multipath.

    CONNECTION is a token, LOCAL-REMOTE, or either of these ends, an end being ADDRESS:PORT.
    """
    import json

    from mpcore.host.control_client import ControlClient

    with ControlClient(control_path(control)) as client:
        entry = client.call("explain", connection=connection)
    explanation = explain(entry)
    if as_json:
        click.echo(json.dumps({"connection": entry, **explanation}, indent=2))
        return
    click.echo(f"{entry['local']} -> {entry['remote']}")
    click.echo(f"  {explanation['verdict']}")
    click.echo(f"  decided by {explanation['rule']}: {explanation['why']}")


def explain(entry: Mapping[str, Any]) -> dict[str, object]:
    """Return `multipath`, `verdict`, `rule` and `why` for a connection of the status document."""
    fallback = entry.get("fallback")
    if fallback:
        rule, why = FALLBACK_RULES.get(fallback, DEFAULT_RULE)
        return {"multipath": False, "verdict": f"plain TCP: {fallback}", "rule": rule, "why": why}
    subflows = entry.get("subflows", [])
    count = len([subflow for subflow in subflows if subflow.get("state") == "established"])
    if count > 1:
        verdict, rule = f"multipath: {count} subflows are established", "RFC 8684 §3.2"
        why = "each further one proved by its HMAC that it belongs to the same peer"
    elif count == 1:
        verdict, rule = "MPTCP over one subflow", "RFC 8684 §3.2"
        why = "no further one joined: see mptcp.path_manager and the addresses of both hosts"
    else:
        verdict, rule = "MPTCP, with no subflow established now", "RFC 8684 §3.3.3"
        why = "the connection waits mptcp.close_timeout_s for a new one"
    return {"multipath": count > 1, "verdict": verdict, "rule": rule, "why": why}
