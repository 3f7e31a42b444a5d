"""Option 30 among Scapy's TCP options: `("MPTCP", packet)`, dissected and built byte for byte."""

from typing import Any

from scapy.layers.inet import TCP, TCPOptions, TCPOptionsField
from scapy.packet import Packet

from mpcore.scapy.mptcp import KIND, MPTCPDSS, MPTCPOption

__all__ = [
    "mptcp_options",
]

NAME = "MPTCP"
END, NOP = 0, 1


class MPTCPOptionsField(TCPOptionsField):
    """The list of TCP options, in which an MPTCP option is a packet.

    To build, the value may be bytes too: what follows kind and length.
    """

    __slots__ = ()

    def m2i(self, pkt: Packet | None, x: bytes) -> Any:
        """Return the options in these bytes; an option cut short or without sense keeps its bytes."""
        found: list[tuple[Any, Any]] = []
        start = at = 0
        while at < len(x) and x[at] != END:
            # As Scapy does: an impossible length counts as two.
            size = 1 if x[at] == NOP else max((2, *x[at + 1 : at + 2]))
            if x[at] == KIND:
                found += self._plain(pkt, x[start:at])
                found.append((NAME, MPTCPOption(x[at : at + size])))
                start = at + size
            at += size
        return found + self._plain(pkt, x[start:])

    def _plain(self, pkt: Packet | None, x: bytes) -> list[tuple[Any, Any]]:
        return list(super().m2i(pkt, x))  # type: ignore[no-untyped-call]

    def i2m(self, pkt: Packet | None, x: Any) -> bytes:
        """Return the options, padded with END to a multiple of four."""
        data = b"".join(self._build(pkt, option) for option in x or ())
        return data + bytes(-len(data) % 4)

    def do_copy(self, x: Any) -> Any:
        """Copy the packets too, so that Scapy notices when one of them is changed."""
        if not isinstance(x, list):
            return super().do_copy(x)
        return [(name, value.copy() if isinstance(value, Packet) else value) for name, value in x]

    def _build(self, pkt: Packet | None, option: tuple[Any, Any]) -> bytes:
        value = option[1]
        if isinstance(value, MPTCPOption):
            return bytes(_with_payload(value, pkt))
        data: bytes = super().i2m(pkt, [option])  # type: ignore[no-untyped-call]
        if not data or data[0] in (END, NOP):
            return data[:1]
        return data[: data[1]]  # without the padding


def _with_payload(option: MPTCPOption, pkt: Packet | None) -> MPTCPOption:
    """Give a DSS whose mapping is to be computed the payload of its segment."""
    if pkt is None or not isinstance(option, MPTCPDSS) or not option.needs_payload():
        return option
    option = option.copy()
    option.data = bytes(pkt.payload)
    return option


def mptcp_options(packet: Packet) -> list[MPTCPOption]:
    """Return the MPTCP options of a packet, in order; none without TCP."""
    options = packet[TCP].options if TCP in packet else ()
    return [value for _, value in options or () if isinstance(value, MPTCPOption)]


def bind() -> None:
    """Let Scapy's TCP layer know option 30."""
    TCPOptions[0][KIND] = (NAME, None)
    TCPOptions[1][NAME] = KIND
    field = next(field for field in TCP.fields_desc if field.name == "options")
    # The same object stays, with another class: Scapy keeps it in its caches, and TCPerror shares it.
    field.__class__ = MPTCPOptionsField


bind()
