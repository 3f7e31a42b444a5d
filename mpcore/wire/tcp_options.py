"""TCP options as values, and lists of them between bytes and values (RFC 9293 §3.1, RFC 7323, RFC 2018)."""

import struct
from typing import TypeAlias

from mpcore.errors import WireError
from mpcore.value import value
from mpcore.wire.constants import OptionKind
from mpcore.wire.mptcp_codec import emit_body, parse_body
from mpcore.wire.mptcp_options import MptcpOption

OPTIONS_MAX = 40


@value
class MaxSegmentSize:
    """Largest payload in bytes that the sender takes in a segment (RFC 9293 §3.7.1)."""

    value: int


@value
class WindowScale:
    """Shift of all windows but a SYN's (RFC 7323 §2); above 14 as received, to be used as 14."""

    shift: int


@value
class SackPermitted:
    """The sender takes SACK (RFC 2018 §2)."""


@value
class Timestamps:
    """Timestamp of the sender and the one it echoes (RFC 7323 §3)."""

    value: int
    echo: int


@value
class Sack:
    """One to four blocks of (first sequence number, one past the last) that have arrived (RFC 2018 §3)."""

    blocks: tuple[tuple[int, int], ...]


@value
class UnknownOption:
    """An option of another kind, or with a length its kind cannot have; `data` is after kind and length."""

    kind: int
    data: bytes


TcpOption: TypeAlias = (
    MaxSegmentSize | WindowScale | SackPermitted | Timestamps | Sack | UnknownOption | MptcpOption
)


def parse_options(data: bytes) -> tuple[TcpOption, ...]:
    """Return the options of a TCP header in their order, without padding; all after END is ignored.

    WireError for an option whose length is below two or goes beyond the end.
    """
    found: list[TcpOption] = []
    at = 0
    while at < len(data) and data[at] != OptionKind.END:
        if data[at] == OptionKind.NOP:
            at += 1
            continue
        size = data[at + 1] if at + 1 < len(data) else 0
        if not 2 <= size <= len(data) - at:
            raise WireError(f"the TCP option of kind {data[at]} at octet {at} has an impossible length")
        found.append(_parse_option(data[at], data[at + 2 : at + size]))
        at += size
    return tuple(found)


def _parse_option(kind: int, data: bytes) -> TcpOption:
    match kind, len(data):
        case OptionKind.MPTCP, _:
            return parse_body(data)
        case OptionKind.TIMESTAMPS, 8:
            return Timestamps(*struct.unpack(">II", data))
        case OptionKind.MAX_SEGMENT_SIZE, 2:
            return MaxSegmentSize(int.from_bytes(data, "big"))
        case OptionKind.WINDOW_SCALE, 1:
            return WindowScale(data[0])
        case OptionKind.SACK_PERMITTED, 0:
            return SackPermitted()
        case OptionKind.SACK, 8 | 16 | 24 | 32:
            return Sack(tuple(struct.iter_unpack(">II", data)))
    return UnknownOption(kind, data)


def emit_options(options: tuple[TcpOption, ...]) -> bytes:
    """Return the options in order, padded with NOP to a multiple of four; WireError above 40 bytes."""
    data = b"".join(map(emit_option, options))
    if len(data) > OPTIONS_MAX:
        raise WireError(f"the options take {len(data)} bytes, but a TCP header has room for {OPTIONS_MAX}")
    return data + bytes([OptionKind.NOP]) * (-len(data) % 4)


def emit_option(option: TcpOption) -> bytes:
    """Return one option without padding; WireError for a field out of range or more than 40 bytes."""
    try:
        kind, data = _emit_option(option)
        if len(data) > OPTIONS_MAX - 2:
            raise WireError(f"an option takes {len(data) + 2} bytes; a TCP header has room for {OPTIONS_MAX}")
        return struct.pack(">BB", kind, len(data) + 2) + data
    except struct.error as error:
        raise WireError(f"{option} has a field that does not fit: {error}") from error


def _emit_option(option: TcpOption) -> tuple[int, bytes]:
    match option:
        case Timestamps(value, echo):
            return OptionKind.TIMESTAMPS, struct.pack(">II", value, echo)
        case MaxSegmentSize(value):
            return OptionKind.MAX_SEGMENT_SIZE, struct.pack(">H", value)
        case WindowScale(shift):
            return OptionKind.WINDOW_SCALE, struct.pack(">B", shift)
        case SackPermitted():
            return OptionKind.SACK_PERMITTED, b""
        case Sack(blocks):
            if not 1 <= len(blocks) <= 4:
                raise WireError(f"SACK has one to four blocks, not {len(blocks)}")
            return OptionKind.SACK, b"".join(struct.pack(">II", *block) for block in blocks)
        case UnknownOption(kind, data):
            if kind in (OptionKind.END, OptionKind.NOP):
                raise WireError("END and NOP are padding, not options")
            return kind, data
        case _:
            return OptionKind.MPTCP, emit_body(option)
