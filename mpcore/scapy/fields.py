"""Scapy fields that several layers here share."""

import ipaddress
import struct
from collections.abc import Callable
from typing import Any

from scapy.fields import ConditionalField, Field
from scapy.packet import Packet
from scapy.volatile import RandIP, RandIP6

Condition = Callable[[Packet], bool]


def is_set(packet: Packet, name: str) -> bool:
    """Tell whether a field has a value, without asking whether it is shown."""
    return packet.getfieldval(name) is not None


class OffWireField(Field[Any, Any]):
    """Something a packet is computed from, such as a key; it takes no room on the wire."""

    def __init__(self, name: str) -> None:
        super().__init__(name, None)

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:
        """Add nothing."""
        return s

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, Any]:
        """Take nothing."""
        return s, None


def off_wire(name: str) -> ConditionalField:
    """Return an off-wire field that is shown only where it has a value."""
    return ConditionalField(OffWireField(name), lambda packet: is_set(packet, name))


class SequenceField(Field[int, int]):
    """A sequence number of 8 octets where `wide` says so, else its lower 4."""

    __slots__ = ["wide"]

    def __init__(self, name: str, wide: Condition) -> None:
        super().__init__(name, 0)
        self.wide = wide

    def addfield(self, pkt: Packet, s: bytes, val: int | None) -> bytes:
        """Append the octets."""
        number = int(val or 0)
        return s + (struct.pack(">Q", number) if self.wide(pkt) else struct.pack(">I", number & 0xFFFFFFFF))

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, int]:
        """Take the octets."""
        size = 8 if self.wide(pkt) else 4
        return s[size:], int.from_bytes(s[:size], "big")

    def i2repr(self, pkt: Packet | None, x: int) -> str:
        """Return the number in hex."""
        return hex(x)


class AddressField(Field[str, bytes]):
    """An IPv4 or IPv6 address as text; `size` tells how many octets there are to dissect."""

    __slots__ = ["size"]

    def __init__(self, name: str, default: str, size: Callable[[Packet], int]) -> None:
        super().__init__(name, default)
        self.size = size

    def any2i(self, pkt: Packet | None, x: Any) -> str:
        """Take text, raw octets or an address object."""
        return str(ipaddress.ip_address(x)) if isinstance(x, bytes) else str(x)

    def i2m(self, pkt: Packet | None, x: str | None) -> bytes:
        """Return the raw octets."""
        return ipaddress.ip_address(str(x or self.default)).packed

    def addfield(self, pkt: Packet, s: bytes, val: str | None) -> bytes:
        """Append the octets."""
        return s + self.i2m(pkt, val)

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, str]:
        """Take as many octets as the packet says."""
        size = self.size(pkt)
        return s[size:], str(ipaddress.ip_address(s[:size]))

    def randval(self) -> Any:
        """Return an address for `fuzz`."""
        return RandIP6() if ":" in str(self.default) else RandIP()
