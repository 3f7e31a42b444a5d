# ruff: noqa: RUF012 - Scapy wants the fields of a layer as a list in its class.
"""Shim6 for Scapy: payload extension header and control messages (RFC 5533, RFC 5534), next header 140.

`Shim6(bytes)` gives the class that the P bit and the type call for; an unknown type, or a message too short
for its type, is a `Shim6Unknown`. Lengths and checksums that are left out are computed.

The checksum of what follows a `Shim6Payload` is over the ULIDs, not over the locators in the IPv6 header
(RFC 5533 §4.3): build the packet with the ULIDs and shim it by `to_locators`; `to_ulids` takes it back.
"""

from typing import Any

from scapy.fields import (
    BitEnumField,
    BitField,
    BitFieldLenField,
    ByteEnumField,
    ByteField,
    IP6Field,
    PacketListField,
    ShortField,
    StrLenField,
    XBitField,
    XIntField,
    XShortField,
)
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    _IPv6ExtHdr,
    ipv6nh,
)
from scapy.packet import Packet, Raw, bind_bottom_up, bind_layers, bind_top_down

from mpcore.scapy.shim6_options import OptionsField
from mpcore.wire.checksum import checksum

__all__ = [
    "Shim6",
    "Shim6Error",
    "Shim6I1",
    "Shim6I2",
    "Shim6I2bis",
    "Shim6Keepalive",
    "Shim6Payload",
    "Shim6Probe",
    "Shim6ProbeReport",
    "Shim6R1",
    "Shim6R1bis",
    "Shim6R2",
    "Shim6Unknown",
    "Shim6UpdateAck",
    "Shim6UpdateRequest",
    "to_locators",
    "to_ulids",
]

PROTOCOL = 140
NO_NEXT_HEADER = 59
ERROR_CODES = {
    0: "unknown message type",
    1: "critical option not recognized",
    2: "locator verification failed",
    3: "locator list generation out of sync",
    4: "error in number of locators",
}
REAP_STATES = {0: "operational", 1: "exploring", 2: "inbound ok"}


class Shim6(_IPv6ExtHdr):
    """What both kinds of Shim6 header share: next header, length in units of 8 octets less one, P bit."""

    name = "Shim6"

    @classmethod
    def dispatch_hook(cls, _pkt: bytes | None = None, *args: Any, **kargs: Any) -> type[Packet]:
        """Return the class for these bytes."""
        return class_of(_pkt) if _pkt else cls


class Shim6Payload(Shim6):
    """Payload extension header (RFC 5533 §5.2) in front of what a program sends."""

    name = "Shim6 payload extension header"
    fields_desc = [
        ByteEnumField("nh", NO_NEXT_HEADER, ipv6nh),
        ByteField("len", 0),
        BitField("P", 1, 1),
        XBitField("receiverContextTag", 0, 47),
    ]

    def mysummary(self) -> str:
        """Return one line."""
        return self.sprintf("Shim6 payload tag=%receiverContextTag%")

    def hashret(self) -> bytes:
        """Return what the packet inside has in common with its answer."""
        return bytes(self.payload.hashret())

    def answers(self, other: Packet) -> bool:
        """Tell whether the packet inside answers the one inside `other`."""
        return isinstance(other, Shim6Payload) and bool(self.payload.answers(other.payload))


class Shim6Control(Shim6):
    """A control message (RFC 5533 §5.3); `checksum` covers the message alone, without a pseudo-header."""

    name = "Shim6 control message"

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Pad to 8 octets, fill in length and checksum."""
        pkt += bytes(-len(pkt) % 8)
        if self.getfieldval("len") is None:
            pkt = pkt[:1] + bytes([min(255, len(pkt) // 8 - 1)]) + pkt[2:]
        if self.getfieldval("checksum") is None:
            pkt = pkt[:4] + checksum(pkt[:4] + b"\0\0" + pkt[6:]).to_bytes(2, "big") + pkt[6:]
        return pkt + pay

    def hashret(self) -> bytes:
        """Return what a message and its answer have in common beside their addresses."""
        return b"shim6"

    def mysummary(self) -> str:
        """Return one line."""
        return str(self.name)


def _start(message_type: int) -> list[Any]:
    return [
        ByteEnumField("nh", NO_NEXT_HEADER, ipv6nh),
        ByteField("len", None),
        BitField("P", 0, 1),
        BitEnumField("type", message_type, 7, {key: name for name, key in MESSAGE_TYPES.items()}),
        BitField("typeSpecific", 0, 7),
        BitField("S", 0, 1),
        XShortField("checksum", None),
    ]


def _tag(name: str) -> list[Any]:
    return [BitField("R", 0, 1), XBitField(name, 0, 47)]


def _size(packet: Packet) -> int:
    """Return the octets that the length states."""
    units = packet.getfieldval("len")
    return 0 if units is None else 8 * (units + 1)


def _options(fixed: int) -> OptionsField:
    return OptionsField(lambda packet: _size(packet) - fixed)


MESSAGE_TYPES = {
    "I1": 1,
    "R1": 2,
    "I2": 3,
    "R2": 4,
    "R1bis": 5,
    "I2bis": 6,
    "Update Request": 64,
    "Update Acknowledgement": 65,
    "Keepalive": 66,
    "Probe": 67,
    "Error": 68,
}


class Shim6Unknown(Shim6Control):
    """A control message of another type, or too short for its own."""

    name = "Shim6 unknown message"
    fields_desc = [*_start(0), StrLenField("data", b"", length_from=lambda packet: _size(packet) - 6)]


class _Handshake(Shim6Control):
    """A message whose answer is found by a nonce; `_ANSWERS` says which ones it answers, and by which."""

    answered_by_nonce: tuple[tuple[str, str], ...] = ()

    def answers(self, other: Packet) -> bool:
        """Tell whether this message answers `other`."""
        return any(
            type(other).__name__ == name and self.getfieldval(nonce) == other.getfieldval(nonce)
            for name, nonce in self.answered_by_nonce
        )


class Shim6I1(_Handshake):
    """I1 (RFC 5533 §5.4)."""

    name = "Shim6 I1"
    fields_desc = [*_start(1), *_tag("initiatorContextTag"), XIntField("initiatorNonce", 0), _options(16)]


class Shim6R1(_Handshake):
    """R1 (RFC 5533 §5.5)."""

    name = "Shim6 R1"
    answered_by_nonce = (("Shim6I1", "initiatorNonce"),)
    fields_desc = [
        *_start(2),
        ShortField("reserved", 0),
        XIntField("initiatorNonce", 0),
        XIntField("responderNonce", 0),
        _options(16),
    ]


class Shim6I2(_Handshake):
    """I2 (RFC 5533 §5.6)."""

    name = "Shim6 I2"
    answered_by_nonce = (("Shim6R1", "responderNonce"),)
    fields_desc = [
        *_start(3),
        *_tag("initiatorContextTag"),
        XIntField("initiatorNonce", 0),
        XIntField("responderNonce", 0),
        XIntField("reserved", 0),
        _options(24),
    ]


class Shim6R2(_Handshake):
    """R2 (RFC 5533 §5.7); it may answer an I1 too (§7.9)."""

    name = "Shim6 R2"
    answered_by_nonce = tuple((name, "initiatorNonce") for name in ("Shim6I2", "Shim6I2bis", "Shim6I1"))
    fields_desc = [*_start(4), *_tag("responderContextTag"), XIntField("initiatorNonce", 0), _options(16)]


class Shim6R1bis(_Handshake):
    """R1bis (RFC 5533 §5.8): the answer to a packet whose context is unknown."""

    name = "Shim6 R1bis"
    fields_desc = [*_start(5), *_tag("packetContextTag"), XIntField("responderNonce", 0), _options(16)]

    def answers(self, other: Packet) -> bool:
        """Tell whether this message answers `other`."""
        tag = self.getfieldval("packetContextTag")
        named = isinstance(other, Shim6) and "receiverContextTag" in other.fieldtype
        return named and bool(other.getfieldval("receiverContextTag") == tag)


class Shim6I2bis(_Handshake):
    """I2bis (RFC 5533 §5.9)."""

    name = "Shim6 I2bis"
    answered_by_nonce = (("Shim6R1bis", "responderNonce"),)
    fields_desc = [
        *_start(6),
        *_tag("initiatorContextTag"),
        XIntField("initiatorNonce", 0),
        XIntField("responderNonce", 0),
        BitField("reserved", 0, 49),
        XBitField("packetContextTag", 0, 47),
        _options(32),
    ]


class Shim6UpdateRequest(_Handshake):
    """Update Request (RFC 5533 §5.10)."""

    name = "Shim6 Update Request"
    fields_desc = [*_start(64), *_tag("receiverContextTag"), XIntField("requestNonce", 0), _options(16)]


class Shim6UpdateAck(_Handshake):
    """Update Acknowledgement (RFC 5533 §5.11)."""

    name = "Shim6 Update Acknowledgement"
    answered_by_nonce = (("Shim6UpdateRequest", "requestNonce"),)
    fields_desc = [*_start(65), *_tag("receiverContextTag"), XIntField("requestNonce", 0), _options(16)]


class Shim6Keepalive(Shim6Control):
    """Keepalive (RFC 5534 §5.1)."""

    name = "Shim6 Keepalive"
    fields_desc = [*_start(66), *_tag("receiverContextTag"), XIntField("reserved", 0), _options(16)]


class Shim6ProbeReport(Packet):
    """A probe that was sent or received (RFC 5534 §5.2)."""

    name = "Shim6 probe report"
    fields_desc = [
        IP6Field("src", "::"),
        IP6Field("dst", "::"),
        XIntField("nonce", 0),
        XIntField("data", 0),
    ]

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes | None]:
        """Have no payload: the next report follows."""
        return b"", s


REPORT_SIZE = 40


class Shim6Probe(Shim6Control):
    """Probe (RFC 5534 §5.2); the first of `sent` describes this very message."""

    name = "Shim6 Probe"
    fields_desc = [
        *_start(67),
        *_tag("receiverContextTag"),
        BitFieldLenField("precvd", None, 4, count_of="received"),
        BitFieldLenField("psent", None, 4, count_of="sent"),
        BitEnumField("sta", 0, 2, REAP_STATES),
        BitField("reserved", 0, 22),
        PacketListField("sent", [], Shim6ProbeReport, length_from=lambda packet: packet.psent * REPORT_SIZE),
        PacketListField(
            "received", [], Shim6ProbeReport, length_from=lambda packet: packet.precvd * REPORT_SIZE
        ),
        OptionsField(lambda packet: _size(packet) - 16 - REPORT_SIZE * (packet.psent + packet.precvd)),
    ]


class Shim6Error(Shim6Control):
    """Error (RFC 5533 §5.14); `pointer` is an offset in the packet in error, IPv6 header first."""

    name = "Shim6 Error"
    fields_desc = [
        *_start(68)[:4],
        BitEnumField("code", 0, 7, ERROR_CODES),
        *_start(68)[5:],
        ShortField("pointer", 0),
        StrLenField("packetInError", b"", length_from=lambda packet: _size(packet) - 8),
    ]


_CLASSES: dict[int, tuple[type[Shim6Control], int]] = {
    1: (Shim6I1, 16),
    2: (Shim6R1, 16),
    3: (Shim6I2, 24),
    4: (Shim6R2, 16),
    5: (Shim6R1bis, 16),
    6: (Shim6I2bis, 32),
    64: (Shim6UpdateRequest, 16),
    65: (Shim6UpdateAck, 16),
    66: (Shim6Keepalive, 16),
    67: (Shim6Probe, 16),
    68: (Shim6Error, 8),
}


def class_of(data: bytes) -> type[Packet]:
    """Return the class for these bytes; plain bytes where there is not even a header."""
    if len(data) < 8:
        return Raw
    if data[2] & 0x80:
        return Shim6Payload
    kind, minimum = _CLASSES.get(data[2], (Shim6Unknown, 0))
    size = 8 * (data[1] + 1)
    if kind is Shim6Probe and len(data) > 12:
        minimum += REPORT_SIZE * ((data[12] >> 4) + (data[12] & 0x0F))
    return kind if minimum <= min(size, len(data)) else Shim6Unknown


def to_locators(packet: IPv6, tag: int, src: str, dst: str) -> IPv6:
    """Return a packet between ULIDs as it travels between the locators `src` and `dst` (RFC 5533 §4.6).

    The header stands behind those extension headers that routers look at, before all others.
    """
    packet = IPv6(bytes(packet))
    above: Packet = packet
    while above.nh in (0, 43) or (above.nh == 60 and above.payload.nh == 43):
        above = above.payload
    shim = Shim6Payload(nh=above.nh, receiverContextTag=tag) / Raw(bytes(above.payload))
    above.remove_payload()
    above.nh, above.payload = PROTOCOL, shim
    return _readdressed(packet, src, dst)


def to_ulids(packet: IPv6, src: str, dst: str) -> IPv6:
    """Return a packet between locators as the program sees it, between the ULIDs `src` and `dst`."""
    packet = IPv6(bytes(packet))
    shim = packet[Shim6Payload]
    above, following, inner = shim.underlayer, shim.nh, Raw(bytes(shim.payload))
    above.remove_payload()
    above.nh, above.payload = following, inner
    return _readdressed(packet, src, dst)


def _readdressed(packet: IPv6, src: str, dst: str) -> IPv6:
    packet.src, packet.dst, packet.plen = src, dst, None
    return IPv6(bytes(packet))


def bind() -> None:
    """Let Scapy's IPv6 layers know next header 140."""
    ipv6nh[PROTOCOL] = "Shim6"
    every: list[type[Packet]] = [Shim6Payload, Shim6Unknown, *(kind for kind, _ in _CLASSES.values())]
    for lower in (IPv6, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment):
        bind_bottom_up(lower, Shim6, nh=PROTOCOL)
        for kind in every:
            bind_top_down(lower, kind, nh=PROTOCOL)
    for upper, number in ((TCP, 6), (UDP, 17)):
        bind_layers(Shim6Payload, upper, nh=number)


bind()
