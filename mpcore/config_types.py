"""What the sections of the configuration are made of: limits of values, rules, and how a section behaves."""

import ipaddress
import re
from typing import Annotated

import msgspec

SECOND_NS = 1_000_000_000
MIB = 1 << 20

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 24)]
BufferBytes = Annotated[int, msgspec.Meta(ge=64 << 10, le=1 << 30)]
MemoryBytes = Annotated[int, msgspec.Meta(ge=MIB, le=1 << 40)]
Mark = Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFFFF)]
Seconds = Annotated[float, msgspec.Meta(ge=0.001, le=86400.0)]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ExcludeRule:
    """Connections that stay plain TCP: by remote network, by port of either side, or by both.

    Attributes:
        network: the remote addresses meant; None means every one
        port: local or remote TCP port (with a network: the remote one); None means every one
    """

    __slots__ = ("network", "port")

    def __init__(self, network: Network | None = None, port: int | None = None) -> None:
        if network is None and port is None:
            raise ValueError("an exclude rule needs a network or a port")
        self.network = network
        self.port = port

    @classmethod
    def parse(cls, text: str) -> "ExcludeRule":
        """Return the rule that `22`, `10.0.0.0/8`, `10.0.0.1:22` or `[2001:db8::1]:443` stands for.

        Raises:
            ValueError: `text` is none of these
        """
        bracketed = re.fullmatch(r"\[(?P<host>[^\]]*)\](?::(?P<port>\d+))?", text)
        plain = re.fullmatch(r"(?P<host>[^:]*):(?P<port>\d+)", text)
        match = bracketed or plain
        try:
            if text.isascii() and text.isdecimal():
                return cls(port=_port(text))
            if match is None:
                return cls(network=ipaddress.ip_network(text))
            port = match["port"]
            return cls(ipaddress.ip_network(match["host"]), None if port is None else _port(port))
        except ValueError as error:
            raise ValueError(f"{text!r} is no port, address, network or address:port ({error})") from None

    def matches(self, remote: bytes, local_port: int, remote_port: int) -> bool:
        """Tell whether a connection with the packed address `remote` and these ports is meant."""
        if self.network is None:
            return self.port in (local_port, remote_port)
        if self.port is not None and self.port != remote_port:
            return False
        return ipaddress.ip_address(remote) in self.network

    def __str__(self) -> str:
        if self.network is None:
            return str(self.port)
        if self.port is None:
            return str(self.network)
        return f"[{self.network}]:{self.port}" if self.network.version == 6 else f"{self.network}:{self.port}"

    def __repr__(self) -> str:
        return f"ExcludeRule.parse({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExcludeRule):
            return NotImplemented
        return (self.network, self.port) == (other.network, other.port)

    def __hash__(self) -> int:
        return hash((self.network, self.port))


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise ValueError(f"port {port} is outside 1..65535")
    return port


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all sections share: immutable, keywords only, an unknown key is an error."""
