"""Shim6 headers between bytes and values (RFC 5533 §5, RFC 5534 §5).

The fixed part of most messages is a table: which field is where. Probe and Error have functions of their own.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mpcore.errors import WireError
from mpcore.wire.checksum import checksum
from mpcore.wire.shim6_constants import (
    MESSAGE_MAX,
    NO_NEXT_HEADER,
    PAYLOAD_HEADER_SIZE,
    PROBES_MAX,
    TAG_MAX,
    MessageType,
    OptionType,
    ReachabilityState,
)
from mpcore.wire.shim6_messages import (
    I1,
    I2,
    R1,
    R2,
    ErrorMessage,
    I2bis,
    Keepalive,
    Message,
    PayloadHeader,
    Probe,
    ProbeEntry,
    R1bis,
    UnknownMessage,
    UpdateAck,
    UpdateRequest,
)
from mpcore.wire.shim6_option_codec import emit_options, parse_options, walk_options

_PROBE_START = 16
_PROBE_ENTRY = struct.Struct(">16s16sII")
_ERROR_START = 8

_IDENTITY = {OptionType.ULID_PAIR, OptionType.FORKED_INSTANCE}
_LOCATORS = {
    OptionType.LOCATOR_LIST,
    OptionType.LOCATOR_PREFERENCES,
    OptionType.CGA_PARAMETERS,
    OptionType.CGA_SIGNATURE,
    OptionType.KEEPALIVE_TIMEOUT,
}


@dataclass(frozen=True, slots=True)
class _Layout:
    """The fixed part of a message: `fields` are (name, offset, octets); 6 octets are a context tag."""

    kind: MessageType
    make: Callable[..., Message]
    size: int
    fields: tuple[tuple[str, int, int], ...]
    options: frozenset[int]


def _layout(
    kind: MessageType,
    make: Callable[..., Message],
    size: int,
    fields: Mapping[str, tuple[int, int]],
    options: set[OptionType] | None = None,
) -> _Layout:
    placed = tuple((name, *place) for name, place in fields.items())
    return _Layout(kind, make, size, placed, frozenset(options or ()))


# RFC 5533 §5.4 to §5.11, RFC 5534 §5.1; the options of each are those that its section lists.
_LAYOUTS = (
    _layout(MessageType.I1, I1, 16, {"initiator_tag": (6, 6), "initiator_nonce": (12, 4)}, _IDENTITY),
    _layout(
        MessageType.R1,
        R1,
        16,
        {"initiator_nonce": (8, 4), "responder_nonce": (12, 4)},
        {OptionType.RESPONDER_VALIDATOR},
    ),
    _layout(
        MessageType.I2,
        I2,
        24,
        {"initiator_tag": (6, 6), "initiator_nonce": (12, 4), "responder_nonce": (16, 4)},
        {OptionType.RESPONDER_VALIDATOR} | _IDENTITY | _LOCATORS,
    ),
    _layout(MessageType.R2, R2, 16, {"responder_tag": (6, 6), "initiator_nonce": (12, 4)}, _LOCATORS),
    _layout(
        MessageType.R1BIS,
        R1bis,
        16,
        {"packet_tag": (6, 6), "responder_nonce": (12, 4)},
        {OptionType.RESPONDER_VALIDATOR},
    ),
    _layout(
        MessageType.I2BIS,
        I2bis,
        32,
        # 49 reserved bits stand between the responder's nonce and the packet tag.
        {
            "initiator_tag": (6, 6),
            "initiator_nonce": (12, 4),
            "responder_nonce": (16, 4),
            "packet_tag": (26, 6),
        },
        {OptionType.RESPONDER_VALIDATOR} | _IDENTITY | _LOCATORS,
    ),
    _layout(
        MessageType.UPDATE_REQUEST,
        UpdateRequest,
        16,
        {"receiver_tag": (6, 6), "request_nonce": (12, 4)},
        _LOCATORS,
    ),
    _layout(MessageType.UPDATE_ACK, UpdateAck, 16, {"receiver_tag": (6, 6), "request_nonce": (12, 4)}),
    _layout(MessageType.KEEPALIVE, Keepalive, 16, {"receiver_tag": (6, 6)}),
)
_BY_KIND: dict[int, _Layout] = {layout.kind: layout for layout in _LAYOUTS}
_BY_CLASS: dict[object, _Layout] = {layout.make: layout for layout in _LAYOUTS}


def parse_payload_header(data: bytes) -> PayloadHeader:
    """Return the payload extension header that `data` begins with; WireError when it is none."""
    if len(data) < PAYLOAD_HEADER_SIZE or not data[2] & 0x80 or data[1] != 0:
        raise WireError(f"{data[:8].hex() or 'nothing'} is no Shim6 payload extension header")
    return PayloadHeader(data[0], int.from_bytes(data[2:8], "big") & TAG_MAX)


def emit_payload_header(header: PayloadHeader) -> bytes:
    """Return the 8 octets of a payload extension header; WireError for a field that does not fit."""
    if not 0 <= header.next_header <= 0xFF:
        raise WireError(f"a next header has 8 bits; {header.next_header} does not fit")
    tag = int.from_bytes(_emit_field(header.receiver_tag, 6), "big")
    return bytes([header.next_header, 0]) + (tag | 1 << 47).to_bytes(6, "big")


def parse_message(data: bytes) -> Message:
    """Return the control message that `data` begins with; what follows its header is ignored.

    WireError when it has to be dropped without an answer (RFC 5533 §12.3): a payload header, a message of HIP
    (bit S), a wrong checksum or a length that does not fit. A type that is unknown gives an `UnknownMessage`.
    """
    data = _header_of(data)
    kind = data[2]
    if kind == MessageType.PROBE:
        return _parse_probe(data)
    if kind == MessageType.ERROR:
        return _parse_error(data)
    layout = _BY_KIND.get(kind)
    if layout is None:
        return UnknownMessage(kind, data[3] >> 1, data[6:])
    _require_room(data, layout.size)
    values = {name: _field(data, at, size) for name, at, size in layout.fields}
    return layout.make(**values, options=parse_options(data, layout.size, layout.options))


def _header_of(data: bytes) -> bytes:
    """Return the octets that Hdr Ext Len delimits, once all that every message must fulfil holds."""
    size = 8 * (data[1] + 1) if len(data) >= 8 else 8
    if len(data) < size:
        raise WireError(f"a Shim6 header of {size} octets does not fit into {len(data)}")
    if data[2] & 0x80:
        raise WireError("this is a Shim6 payload extension header, not a control message")
    if data[3] & 1:
        raise WireError("bit S is set: a message of HIP, not of Shim6")
    # RFC 5533 §5.3: no pseudo-header, and nothing that follows the header.
    if checksum(data[:size]) != 0:
        raise WireError("the checksum of the Shim6 message is wrong")
    return bytes(data[:size])


def _require_room(data: bytes, size: int) -> None:
    if len(data) < size:
        raise WireError(f"message {MessageType(data[2]).name} has at least {size} octets, not {len(data)}")


def _field(data: bytes, at: int, size: int) -> int:
    value = int.from_bytes(data[at : at + size], "big")
    # The bit in front of a tag is reserved; a peer may set it (RFC 5533 §5.4).
    return value & TAG_MAX if size == 6 else value


def _parse_probe(data: bytes) -> Probe:
    _require_room(data, _PROBE_START + _PROBE_ENTRY.size)
    received, sent, state = data[12] >> 4, data[12] & 0x0F, data[13] >> 6
    if sent == 0:
        raise WireError("a Probe has to describe itself: the number of sent probes is 0")
    if state not in ReachabilityState.__members__.values():
        raise WireError(f"{state} is no state of reachability")
    end = _PROBE_START + _PROBE_ENTRY.size * (sent + received)
    _require_room(data, end)
    entries = [ProbeEntry(*fields) for fields in _PROBE_ENTRY.iter_unpack(data[_PROBE_START:end])]
    tag = _field(data, 6, 6)
    return Probe(tag, state, tuple(entries[:sent]), tuple(entries[sent:]), parse_options(data, end, ()))


def _parse_error(data: bytes) -> ErrorMessage:
    _require_room(data, _ERROR_START + 8)
    return ErrorMessage(data[3] >> 1, int.from_bytes(data[6:8], "big"), _quoted(data[_ERROR_START:]))


def _quoted(packet: bytes) -> bytes:
    """Return the packet in error without the zeros behind it: its own header tells where it ends."""
    if len(packet) < 40 or packet[0] >> 4 != 6:
        return packet
    return packet[: 40 + int.from_bytes(packet[4:6], "big")]


def emit_message(message: Message) -> bytes:
    """Return the message with its length and checksum.

    WireError for a field that does not fit, options that do not belong into it, and more than 1240 octets
    (RFC 5533 §5.1), except that an Error quotes as much as fits.
    """
    try:
        kind, code, body = _emit_body(message)
    except struct.error as error:
        raise WireError(f"{message} has a field that does not fit: {error}") from error
    if not (0 <= kind <= 0x7F and 0 <= code <= 0x7F):
        raise WireError(f"type {kind} and code {code} have 7 bits each")
    size = 6 + len(body)
    if size % 8 or size > MESSAGE_MAX:
        raise WireError(f"a control message has a multiple of 8 and at most {MESSAGE_MAX} octets, not {size}")
    head = bytes([NO_NEXT_HEADER, size // 8 - 1, kind, code << 1])
    return head + checksum(head + bytes(2) + body).to_bytes(2, "big") + body


def _emit_body(message: Message) -> tuple[int, int, bytes]:
    """Return (type, type-specific bits, what follows the checksum)."""
    match message:
        case Probe():
            return MessageType.PROBE, 0, _emit_probe(message)
        case ErrorMessage(code, pointer, packet):
            return MessageType.ERROR, code, struct.pack(">H", pointer) + _quote(packet)
        case UnknownMessage(kind, code, body):
            if kind in MessageType.__members__.values():
                raise WireError(f"type {kind} is not unknown")
            return kind, code, body
    layout = _BY_CLASS[type(message)]
    fixed = bytearray(layout.size)
    for name, at, size in layout.fields:
        fixed[at : at + size] = _emit_field(getattr(message, name), size)
    return layout.kind, 0, bytes(fixed[6:]) + emit_options(message.options, layout.options)


def _emit_field(value: int, size: int) -> bytes:
    if not 0 <= value <= (TAG_MAX if size == 6 else (1 << 8 * size) - 1):
        raise WireError(f"{value} does not fit into {47 if size == 6 else 8 * size} bits")
    return value.to_bytes(size, "big")


def _emit_probe(message: Probe) -> bytes:
    sent, received = len(message.sent), len(message.received)
    if not 1 <= sent <= PROBES_MAX or received > PROBES_MAX:
        raise WireError(f"a Probe lists 1 to 15 sent and up to 15 received probes, not {sent} and {received}")
    if message.state not in ReachabilityState.__members__.values():
        raise WireError(f"{message.state} is no state of reachability")
    head = _emit_field(message.receiver_tag, 6) + bytes([received << 4 | sent, message.state << 6, 0, 0])
    entries = [_emit_entry(entry) for entry in (*message.sent, *message.received)]
    return head + b"".join(entries) + emit_options(message.options, ())


def _emit_entry(entry: ProbeEntry) -> bytes:
    for address in (entry.source, entry.destination):
        if len(address) != 16:
            raise WireError(f"an address of a probe has 16 octets, not {len(address)}")
    return _PROBE_ENTRY.pack(entry.source, entry.destination, entry.nonce, entry.data)


def _quote(packet: bytes) -> bytes:
    """Return as much of the packet as fits, with zeros up to a multiple of 8 and at least 8 octets."""
    packet = packet[: MESSAGE_MAX - _ERROR_START]
    return packet + bytes(max(8 - len(packet), -len(packet) % 8))


def option_offset(data: bytes, kind: int) -> int | None:
    """Return where the first option of this type begins in a message that was parsed, or None.

    In octets from the Shim6 header on: what the Pointer of an Error is made from (RFC 5533 §5.14).
    """
    data = data[: 8 * (data[1] + 1)]
    if data[2] == MessageType.PROBE:
        start = _PROBE_START + _PROBE_ENTRY.size * ((data[12] >> 4) + (data[12] & 0x0F))
    elif data[2] in _BY_KIND:
        start = _BY_KIND[data[2]].size
    else:
        return None
    return next((at for at, found, _, _ in walk_options(data, start) if found == kind), None)
