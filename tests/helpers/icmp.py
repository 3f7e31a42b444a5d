"""ICMP errors as routers make them."""

from __future__ import annotations

from mpcore.wire.checksum import checksum

UNREACHABLE, TOO_BIG = {4: (3, 1), 6: (1, 0)}, {4: (3, 4), 6: (2, 0)}


def icmp_error(version: int, packet: bytes, mtu: int | None = None, *, quoted: int = 28) -> bytes:
    """Return the message about `packet`: too big for a next hop of `mtu` octets, or undeliverable when None.

    `quoted` bytes of the packet are repeated, or as many as IPv6 needs to show the ports.
    """
    kind, code = (UNREACHABLE if mtu is None else TOO_BIG)[version]
    told = (mtu or 0).to_bytes(4, "big")
    message = bytes((kind, code, 0, 0)) + told + packet[: quoted if version == 4 else quoted + 20]
    if version == 6:
        return message
    return message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
