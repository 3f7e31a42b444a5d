"""Exclusions of `mptcp.exclude`: remote addresses and ports whose traffic never enters the queue."""

import ipaddress
from dataclasses import dataclass

from mpcore.errors import ConfigError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Traffic with a remote address in `network` and with `port` on either side; None stands for any."""

    network: Network | None
    port: int | None

    def covers(self, version: int) -> bool:
        """Return whether packets of this IP version can match."""
        return self.network is None or self.network.version == version


def parse_exclusion(text: str) -> Exclusion:
    """Read "22", "10.0.0.0/8", "2001:db8::/32", "10.0.0.1:22" or "[2001:db8::1]:443". Raises ConfigError."""
    try:
        if text.isdecimal():
            return Exclusion(None, parse_port(text))
        if text.startswith("["):
            address, _, port = text[1:].partition("]:")
            return Exclusion(ipaddress.IPv6Network(address, strict=False), parse_port(port))
        if text.count(":") == 1:
            address, _, port = text.partition(":")
            return Exclusion(ipaddress.IPv4Network(address, strict=False), parse_port(port))
        return Exclusion(ipaddress.ip_network(text, strict=False), None)
    except ValueError as error:
        raise ConfigError(
            f"mptcp.exclude: {text!r} is neither a port, an address, a network nor ADDRESS:PORT "
            "(IPv6 with a port: [ADDRESS]:PORT)"
        ) from error


def parse_port(text: str) -> int:
    """Return a port number. Raises ValueError."""
    port = int(text)
    if not 0 < port <= 0xFFFF:
        raise ValueError("a port lies in 1…65535")
    return port
