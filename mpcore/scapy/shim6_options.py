# ruff: noqa: RUF012 - Scapy wants the fields of a layer as a list in its class.
"""Options of Shim6 control messages for Scapy (RFC 5533 §5.15, RFC 5534 §5.3)."""

from collections.abc import Callable
from typing import Any

from scapy.fields import (
    BitField,
    ByteEnumField,
    ByteField,
    FieldLenField,
    FieldListField,
    IP6Field,
    PacketListField,
    ShortField,
    StrFixedLenField,
    StrLenField,
    XIntField,
)
from scapy.packet import Packet, Raw

__all__ = [
    "Shim6OptCgaParameters",
    "Shim6OptCgaSignature",
    "Shim6OptForkedInstance",
    "Shim6OptKeepaliveTimeout",
    "Shim6OptLocatorList",
    "Shim6OptLocatorPreferences",
    "Shim6OptUlidPair",
    "Shim6OptUnknown",
    "Shim6OptValidator",
]

METHODS = {0: "none", 1: "HBA", 2: "CGA"}  # RFC 5533 table 4, not its §17
START = 4  # octets of type and length


def end_padding(length: int) -> int:
    """Return the octets of padding behind contents of this length (RFC 5533 §5.15)."""
    return 7 - (length + 3) % 8


class Shim6Option(Packet):
    """One option: `optType` without the critical bit, `length` of the contents, contents, padding to 8."""

    name = "Shim6 option"

    @classmethod
    def dispatch_hook(cls, _pkt: bytes | None = None, *args: Any, **kargs: Any) -> type[Packet]:
        """Return the class for these bytes."""
        return class_of(_pkt) if _pkt else cls

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes | None]:
        """Have no payload: the next option follows."""
        return b"", s

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in the length and pad."""
        pad = self.getfieldval("pad")
        length = self.getfieldval("length")
        if length is None:
            length = len(pkt) - START - len(pad or b"")
            pkt = pkt[:2] + length.to_bytes(2, "big") + pkt[4:]
        return (pkt if pad is not None else pkt + bytes(end_padding(length))) + pay


def _start(option_type: int) -> list[Any]:
    return [BitField("optType", option_type, 15), BitField("critical", 0, 1), ShortField("length", None)]


def _pad_size(packet: Packet) -> int:
    length = packet.getfieldval("length")
    return 0 if length is None else end_padding(length)


def _computed(kind: Any, name: str, size: Callable[[Packet], int]) -> Any:
    """Return a field of bytes that is computed unless it is given."""
    return kind(name, None, length_from=size)


_PAD = _computed(StrLenField, "pad", _pad_size)


def _contents(name: str, before: int = 0) -> StrLenField:
    return StrLenField(name, b"", length_from=lambda packet: max(0, packet.length - before))


class Shim6OptUnknown(Shim6Option):
    """An option that no RFC here defines."""

    name = "Shim6 unknown option"
    fields_desc = [*_start(0), _contents("data"), _PAD]


class Shim6OptValidator(Shim6Option):
    """Responder Validator (RFC 5533 §5.15.1): opaque, of any length."""

    name = "Shim6 Responder Validator"
    fields_desc = [*_start(1), _contents("validator"), _PAD]


class _InnerPadField(StrLenField):
    """Padding that brings the locators to a multiple of 8, and counts in the length (RFC 5533 §5.15.2)."""

    def i2m(self, pkt: Packet | None, x: Any) -> bytes:
        if x is not None or pkt is None:
            return bytes(x or b"")
        return bytes(7 - len(pkt.verificationMethods) % 8)


class Shim6OptLocatorList(Shim6Option):
    """Locator List (RFC 5533 §5.15.2)."""

    name = "Shim6 Locator List"
    fields_desc = [
        *_start(2),
        XIntField("generation", 0),
        FieldLenField("numLocators", None, fmt="B", count_of="locators"),
        FieldListField(
            "verificationMethods",
            [],
            ByteEnumField("", 0, METHODS),
            count_from=lambda packet: packet.numLocators,
        ),
        _computed(_InnerPadField, "innerPad", lambda packet: 7 - packet.numLocators % 8),
        FieldListField("locators", [], IP6Field("", "::"), count_from=lambda packet: packet.numLocators),
        _PAD,
    ]


class Shim6OptLocatorPreferences(Shim6Option):
    """Locator Preferences (RFC 5533 §5.15.3): elements of `elementLength` octets, in the list's order."""

    name = "Shim6 Locator Preferences"
    fields_desc = [
        *_start(3),
        XIntField("generation", 0),
        ByteField("elementLength", 3),
        _contents("elements", before=5),
        _PAD,
    ]


class Shim6OptCgaParameters(Shim6Option):
    """CGA Parameter Data Structure (RFC 5533 §5.15.4, RFC 3972 §3)."""

    name = "Shim6 CGA PDS"
    fields_desc = [
        *_start(4),
        StrFixedLenField("modifier", bytes(16), 16),
        StrFixedLenField("subnetPrefix", bytes(8), 8),
        ByteField("collisionCount", 0),
        _contents("publicKeyAndExtensions", before=25),
        _PAD,
    ]


class Shim6OptCgaSignature(Shim6Option):
    """CGA Signature (RFC 5533 §5.15.5)."""

    name = "Shim6 CGA Signature"
    fields_desc = [*_start(5), _contents("signature"), _PAD]


class Shim6OptUlidPair(Shim6Option):
    """ULID Pair (RFC 5533 §5.15.6), as the sender of the message sees it."""

    name = "Shim6 ULID Pair"
    fields_desc = [
        *_start(6),
        XIntField("reserved", 0),
        IP6Field("senderUlid", "::"),
        IP6Field("receiverUlid", "::"),
        _PAD,
    ]


class Shim6OptForkedInstance(Shim6Option):
    """Forked Instance Identifier (RFC 5533 §5.15.7)."""

    name = "Shim6 Forked Instance Identifier"
    fields_desc = [*_start(7), XIntField("forkedInstanceIdentifier", 0), _PAD]


class Shim6OptKeepaliveTimeout(Shim6Option):
    """Keepalive Timeout in seconds (RFC 5534 §5.3)."""

    name = "Shim6 Keepalive Timeout"
    fields_desc = [*_start(10), ShortField("reserved", 0), ShortField("keepaliveTimeout", 15), _PAD]


_CLASSES: dict[int, type[Shim6Option]] = {
    1: Shim6OptValidator,
    2: Shim6OptLocatorList,
    3: Shim6OptLocatorPreferences,
    4: Shim6OptCgaParameters,
    5: Shim6OptCgaSignature,
    6: Shim6OptUlidPair,
    7: Shim6OptForkedInstance,
    10: Shim6OptKeepaliveTimeout,
}
_LENGTH_MIN = {3: 5, 4: 25}
_LENGTH = {6: 36, 7: 4, 10: 4}


def class_of(data: bytes) -> type[Shim6Option]:
    """Return the class for one option; `Shim6OptUnknown` too where the length does not suit the type."""
    option_type = int.from_bytes(data[:2], "big") >> 1
    contents = data[START : START + int.from_bytes(data[2:START], "big")]
    length = len(contents)
    if option_type == 2:
        count = contents[4] if length > 4 else 0
        wanted = 5 + count + (7 - count % 8) + 16 * count
    else:
        wanted = _LENGTH.get(option_type, max(length, _LENGTH_MIN.get(option_type, 0)))
    return _CLASSES.get(option_type, Shim6OptUnknown) if length == wanted else Shim6OptUnknown


class OptionsField(PacketListField):
    """The options of a message, `size` octets; what is cut short stays as raw bytes at the end."""

    def __init__(self, size: Callable[[Packet], int]) -> None:
        super().__init__("options", [], Shim6Option, length_from=size)

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, Any]:
        """Take the options, each within its own length."""
        size = max(0, self.length_from(pkt)) if self.length_from else 0
        data, rest = s[:size], s[size:]
        found: list[Packet] = []
        while data:
            length = int.from_bytes(data[2:START], "big")
            total = START + length + end_padding(length)
            whole = len(data) >= START and total <= len(data)
            found.append(Shim6Option(data[:total]) if whole else Raw(data))
            data = data[total:] if whole else b""
        return rest, found
