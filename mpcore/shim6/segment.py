"""Whose segment a packet of this host is."""

import struct

from mpcore.shim6.own_errors import TcpFlow

_IPV6 = struct.Struct(">IHBB16s16s")
_TCP = struct.Struct(">HHI")
_TCP_PROTOCOL = 6
_SKIPPED = frozenset({0, 60})  # hop-by-hop and destination options (RFC 8200 §4.3, §4.6)


def segment_of(headers: bytes) -> tuple[TcpFlow, int] | None:
    """Return the connection and the first sequence number; None where there is no whole segment header."""
    if len(headers) < _IPV6.size:
        return None
    _, _, kind, _, source, destination = _IPV6.unpack_from(headers)
    at = _IPV6.size
    while kind in _SKIPPED and at + 2 <= len(headers):
        kind, at = headers[at], at + 8 * (headers[at + 1] + 1)
    if kind != _TCP_PROTOCOL or at + _TCP.size > len(headers):
        return None
    source_port, destination_port, seq = _TCP.unpack_from(headers, at)
    return TcpFlow(source, source_port, destination, destination_port), seq
