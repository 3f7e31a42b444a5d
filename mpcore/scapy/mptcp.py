# ruff: noqa: RUF012 - Scapy wants the fields of a layer as a list in its class.
"""MPTCP options for Scapy: RFC 8684 (version 1), and the forms that only RFC 6824 (version 0) has.

`MPTCPOption(bytes)` gives the class that the subtype and the length call for; what fits none, as an unknown
subtype, is an `MPTCPMalformed` with the same bytes. Field names are those of the figures, in camelCase.

What is left out is computed when the packet is built: `length`; the token, the HMACs of MP_JOIN and ADD_ADDR
and the key of MP_FASTCLOSE's kind from the keys that the fields `…Key` give, which take no room on the wire;
`dataLevelLength` and, with `checksummed`, the checksum of a mapping from the payload of the TCP segment that
the option stands in (or from `data`). An MP_JOIN does not tell its version: with `version=0` its token and
HMACs are those of RFC 6824, by SHA-1.
"""

from typing import Any

from scapy.fields import (
    BitField,
    ByteEnumField,
    ByteField,
    ConditionalField,
    FieldListField,
    FlagsField,
    IntField,
    ShortField,
    StrField,
    StrFixedLenField,
    XIntField,
    XLongField,
    XShortField,
)
from scapy.packet import Packet

from mpcore.errors import WireError
from mpcore.mptcp import keys, secrets
from mpcore.scapy.fields import AddressField, SequenceField, is_set, off_wire
from mpcore.wire import mptcp_options as values
from mpcore.wire.checksum import dss_checksum
from mpcore.wire.mptcp_codec import parse_mptcp_option

__all__ = [
    "MPTCPDSS",
    "MPTCPAddAddr",
    "MPTCPAddAddrV0",
    "MPTCPCapable",
    "MPTCPCapableV0",
    "MPTCPExperimental",
    "MPTCPFail",
    "MPTCPFastclose",
    "MPTCPJoinAck",
    "MPTCPJoinSyn",
    "MPTCPJoinSynAck",
    "MPTCPMalformed",
    "MPTCPOption",
    "MPTCPPrio",
    "MPTCPRemoveAddr",
    "MPTCPReset",
]

KIND = 30
JOIN_INPUT = ("senderKey", "receiverKey", "senderNonce", "receiverNonce")  # of the HMAC of an MP_JOIN
RESET_REASONS = {
    0: "unspecified",
    1: "MPTCP-specific error",
    2: "lack of resources",
    3: "administratively prohibited",
    4: "too much outstanding data",
    5: "unacceptable performance",
    6: "middlebox interference",
}


class MPTCPOption(Packet):
    """One option of kind 30, with its kind and length octets."""

    name = "MPTCP"

    @classmethod
    def dispatch_hook(cls, _pkt: bytes | None = None, *args: Any, **kargs: Any) -> type[Packet]:
        """Return the class for these bytes."""
        return class_of(_pkt) if _pkt else cls

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes | None]:
        """Have no payload: what follows belongs to the list of options."""
        return b"", s

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in the length."""
        if len(pkt) > 1 and self.getfieldval("length") is None:
            pkt = pkt[:1] + bytes([min(255, len(pkt))]) + pkt[2:]
        return pkt + pay


def _start(subtype: int) -> list[Any]:
    return [ByteField("kind", KIND), ByteField("length", None), BitField("subtype", subtype, 4)]


def _in_form(name: str, minimum: int) -> Any:
    """Return the condition of a field: the length reaches `minimum`, or, without a length, it has a value."""

    def present(packet: Packet) -> bool:
        length = packet.getfieldval("length")
        return is_set(packet, name) if length is None else bool(length >= minimum)

    return present


def _optional(kind: Any, name: str, minimum: int) -> ConditionalField:
    return ConditionalField(kind(name, None), _in_form(name, minimum))


class MPTCPCapable(MPTCPOption):
    """MP_CAPABLE (RFC 8684 §3.1): length 4 in a SYN, 12 in a SYN/ACK, 20 in an ACK, 22 or 24 with data."""

    name = "MPTCP MP_CAPABLE"
    fields_desc = [
        *_start(0),
        BitField("version", 1, 4),
        FlagsField("flags", 0x01, 8, "HGFEDCBA"),
        _optional(XLongField, "senderKey", 12),
        _optional(XLongField, "receiverKey", 20),
        _optional(ShortField, "dataLevelLength", 22),
        _optional(XShortField, "checksum", 24),
    ]

    def mysummary(self) -> str:
        """Return one line."""
        return self.sprintf("MP_CAPABLE v%version% flags=%flags%")


class MPTCPCapableV0(MPTCPOption):
    """MP_CAPABLE of version 0 (RFC 6824 §3.1): a key in the SYN already, length 12; 20 in the third ACK."""

    name = "MPTCP MP_CAPABLE version 0"
    fields_desc = [
        *_start(0),
        BitField("version", 0, 4),
        FlagsField("flags", 0x01, 8, "HGFEDCBA"),
        XLongField("senderKey", 0),
        _optional(XLongField, "receiverKey", 20),
    ]


class MPTCPJoinSyn(MPTCPOption):
    """MP_JOIN of a SYN (RFC 8684 §3.2); `receiverKey` gives the token."""

    name = "MPTCP MP_JOIN SYN"
    fields_desc = [
        *_start(1),
        BitField("reserved", 0, 3),
        BitField("backup", 0, 1),
        ByteField("addressId", 0),
        XIntField("receiverToken", None),
        XIntField("senderNonce", 0),
        off_wire("receiverKey"),
        off_wire("version"),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Compute the token."""
        if not is_set(self, "receiverToken") and is_set(self, "receiverKey"):
            token = secrets.token(_version(self), self.receiverKey)
            pkt = pkt[:4] + token.to_bytes(4, "big") + pkt[8:]
        return super().post_build(pkt, pay)

    def mysummary(self) -> str:
        """Return one line."""
        return self.sprintf("MP_JOIN SYN token=%receiverToken% id=%addressId%")


class MPTCPJoinSynAck(MPTCPOption):
    """MP_JOIN of a SYN/ACK (RFC 8684 §3.2); both keys and the nonce of the SYN give the HMAC."""

    name = "MPTCP MP_JOIN SYN/ACK"
    fields_desc = [
        *_start(1),
        BitField("reserved", 0, 3),
        BitField("backup", 0, 1),
        ByteField("addressId", 0),
        StrFixedLenField("senderTruncatedHmac", None, 8),
        XIntField("senderNonce", 0),
        off_wire("senderKey"),
        off_wire("receiverKey"),
        off_wire("receiverNonce"),
        off_wire("version"),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Compute the HMAC."""
        if not is_set(self, "senderTruncatedHmac") and _has(self, *JOIN_INPUT):
            pkt = pkt[:4] + _join_hmac(self)[: secrets.SYNACK_SIZE] + pkt[12:]
        return super().post_build(pkt, pay)


class MPTCPJoinAck(MPTCPOption):
    """MP_JOIN of the third ACK (RFC 8684 §3.2); both keys and both nonces give the HMAC."""

    name = "MPTCP MP_JOIN ACK"
    fields_desc = [
        *_start(1),
        BitField("reserved", 0, 12),
        StrFixedLenField("senderHmac", None, 20),
        off_wire("senderKey"),
        off_wire("receiverKey"),
        off_wire("senderNonce"),
        off_wire("receiverNonce"),
        off_wire("version"),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Compute the HMAC."""
        if not is_set(self, "senderHmac") and _has(self, *JOIN_INPUT):
            pkt = pkt[:4] + _join_hmac(self)[: secrets.ACK_SIZE]
        return super().post_build(pkt, pay)


def _has(packet: Packet, *names: str) -> bool:
    return all(is_set(packet, name) for name in names)


def _version(packet: Packet) -> int:
    version = packet.getfieldval("version")
    return 1 if version is None else int(version)


def _join_hmac(packet: Packet) -> bytes:
    return secrets.join_hmac(_version(packet), *(packet.getfieldval(name) for name in JOIN_INPUT))


def _flag(letter: str) -> Any:
    return lambda packet: bool(getattr(packet.flags, letter))


def _dss_checksum_present(packet: Packet) -> bool:
    if not packet.flags.M:
        return False
    length = packet.getfieldval("length")
    if length is None:
        return is_set(packet, "checksum") or bool(packet.getfieldval("checksummed"))
    flags = packet.flags
    ack = (8 if flags.a else 4) if flags.A else 0
    return bool(length >= 4 + ack + (8 if flags.m else 4) + 8)


class MPTCPDSS(MPTCPOption):
    """DSS (RFC 8684 §3.3). Flags A and M say what there is, a and m that it has 8 octets, F DATA_FIN.

    `dataSeq` may be given with 64 bits where 32 are sent: the checksum covers all of them. `checksummed` asks
    for a checksum that is computed.
    """

    name = "MPTCP DSS"
    fields_desc = [
        *_start(2),
        BitField("reserved", 0, 7),
        FlagsField("flags", 0, 5, "AaMmF"),
        ConditionalField(SequenceField("dataAck", _flag("a")), _flag("A")),
        ConditionalField(SequenceField("dataSeq", _flag("m")), _flag("M")),
        ConditionalField(IntField("subflowSeq", 0), _flag("M")),
        ConditionalField(ShortField("dataLevelLength", None), _flag("M")),
        ConditionalField(XShortField("checksum", None), _dss_checksum_present),
        off_wire("checksummed"),
        off_wire("data"),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Compute the length of the mapping and its checksum."""
        if self.flags.M:
            data = self.getfieldval("data") or b""
            has_checksum = _dss_checksum_present(self)
            at = len(pkt) - (4 if has_checksum else 2)
            size = self.getfieldval("dataLevelLength")
            if size is None:
                size = (len(data) + bool(self.flags.F)) & 0xFFFF
                pkt = pkt[:at] + size.to_bytes(2, "big") + pkt[at + 2 :]
            if has_checksum and not is_set(self, "checksum"):
                sum_ = dss_checksum(self.getfieldval("dataSeq"), self.getfieldval("subflowSeq"), size, data)
                pkt = pkt[:-2] + sum_.to_bytes(2, "big")
        return super().post_build(pkt, pay)

    def needs_payload(self) -> bool:
        """Tell whether building asks for the payload of the segment."""
        size, checksum = is_set(self, "dataLevelLength"), is_set(self, "checksum")
        return bool(self.flags.M) and not is_set(self, "data") and not (size and checksum)

    def mysummary(self) -> str:
        """Return one line."""
        return self.sprintf("DSS %flags%")


def _address_size(packet: Packet) -> int:
    length = packet.getfieldval("length") or 0
    return 16 if length >= 20 and (packet.echo or length >= 28) else 4


def _has_port(packet: Packet) -> bool:
    length = packet.getfieldval("length")
    return is_set(packet, "port") if length is None else length % 4 == 2


class MPTCPAddAddr(MPTCPOption):
    """ADD_ADDR (RFC 8684 §3.4.1); both keys give the HMAC, and an echo has none."""

    name = "MPTCP ADD_ADDR"
    fields_desc = [
        *_start(3),
        BitField("reserved", 0, 3),
        BitField("echo", 0, 1),
        ByteField("addressId", 0),
        AddressField("address", "192.0.2.1", _address_size),
        ConditionalField(ShortField("port", None), _has_port),
        ConditionalField(StrFixedLenField("truncatedHmac", None, 8), lambda packet: not packet.echo),
        off_wire("senderKey"),
        off_wire("receiverKey"),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Compute the HMAC."""
        if not self.echo and not is_set(self, "truncatedHmac") and _has(self, "senderKey", "receiverKey"):
            address = self.get_field("address").i2m(self, self.getfieldval("address"))
            port = self.getfieldval("port")
            hmac = keys.add_addr_hmac(self.senderKey, self.receiverKey, self.addressId, address, port)
            pkt = pkt[:-8] + hmac
        return super().post_build(pkt, pay)

    def mysummary(self) -> str:
        """Return one line."""
        return self.sprintf("ADD_ADDR %address% id=%addressId%")


class MPTCPAddAddrV0(MPTCPOption):
    """ADD_ADDR of version 0 (RFC 6824 §3.4.1): the IP version, and no HMAC."""

    name = "MPTCP ADD_ADDR version 0"
    fields_desc = [
        *_start(3),
        BitField("ipVer", 4, 4),
        ByteField("addressId", 0),
        AddressField("address", "192.0.2.1", lambda packet: 16 if packet.ipVer == 6 else 4),
        ConditionalField(ShortField("port", None), _has_port),
    ]


class MPTCPRemoveAddr(MPTCPOption):
    """REMOVE_ADDR (RFC 8684 §3.4.2)."""

    name = "MPTCP REMOVE_ADDR"
    fields_desc = [
        *_start(4),
        BitField("reserved", 0, 4),
        FieldListField("addressIds", [], ByteField("", 0), length_from=lambda packet: packet.length - 3),
    ]


class MPTCPPrio(MPTCPOption):
    """MP_PRIO (RFC 8684 §3.3.8); only version 0 has an `addressId`."""

    name = "MPTCP MP_PRIO"
    fields_desc = [
        *_start(5),
        BitField("reserved", 0, 3),
        BitField("backup", 0, 1),
        _optional(ByteField, "addressId", 4),
    ]


class MPTCPFail(MPTCPOption):
    """MP_FAIL (RFC 8684 §3.7)."""

    name = "MPTCP MP_FAIL"
    fields_desc = [*_start(6), BitField("reserved", 0, 12), XLongField("dataSeq", 0)]


class MPTCPFastclose(MPTCPOption):
    """MP_FASTCLOSE (RFC 8684 §3.5)."""

    name = "MPTCP MP_FASTCLOSE"
    fields_desc = [*_start(7), BitField("reserved", 0, 12), XLongField("receiverKey", 0)]


class MPTCPReset(MPTCPOption):
    """MP_TCPRST (RFC 8684 §3.6); flag T says that the cause may pass."""

    name = "MPTCP MP_TCPRST"
    fields_desc = [*_start(8), FlagsField("flags", 0, 4, "TWVU"), ByteEnumField("reason", 0, RESET_REASONS)]


class MPTCPExperimental(MPTCPOption):
    """An option for private experiments (RFC 8684 §8)."""

    name = "MPTCP experimental"
    fields_desc = [*_start(15), BitField("reserved", 0, 4), StrField("data", b"")]


class MPTCPMalformed(MPTCPOption):
    """Bytes that are no option of either version; `octets` is all after the kind, and nothing is computed."""

    name = "MPTCP malformed"
    fields_desc = [ByteField("kind", KIND), StrField("octets", b"\x02")]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Leave the bytes as they are."""
        return pkt + pay


_CLASSES: dict[type[values.MptcpOption], type[MPTCPOption]] = {
    values.MpCapable: MPTCPCapable,
    values.MpJoinSyn: MPTCPJoinSyn,
    values.MpJoinSynAck: MPTCPJoinSynAck,
    values.MpJoinAck: MPTCPJoinAck,
    values.Dss: MPTCPDSS,
    values.AddAddr: MPTCPAddAddr,
    values.RemoveAddr: MPTCPRemoveAddr,
    values.MpPrio: MPTCPPrio,
    values.MpFail: MPTCPFail,
    values.MpFastclose: MPTCPFastclose,
    values.MpTcpRst: MPTCPReset,
    values.MpExperimental: MPTCPExperimental,
    values.MalformedMptcp: MPTCPMalformed,
}
_V0_CLASSES = {0: MPTCPCapableV0, 3: MPTCPAddAddrV0}


def class_of(data: bytes) -> type[MPTCPOption]:
    """Return the class for the bytes of one option, kind and length included; never fails."""
    try:
        value = parse_mptcp_option(data)
    except WireError:
        return MPTCPMalformed
    if isinstance(value, values.MpV0Option):
        return _V0_CLASSES[value.subtype]
    return _CLASSES[type(value)]
