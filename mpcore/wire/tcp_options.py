"""TCP options as values, and lists of them between bytes and values (RFC 9293 §3.1, RFC 7323, RFC 2018)."""

import struct
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

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


_END, _NOP, _MPTCP = OptionKind.END.value, OptionKind.NOP.value, OptionKind.MPTCP.value
_WORDS = struct.Struct(">II")


def parse_options(data: bytes) -> tuple[TcpOption, ...]:
    """Return the options of a TCP header in their order, without padding; all after END is ignored.

    WireError for an option whose length is below two or goes beyond the end.
    """
    found: list[TcpOption] = []
    at, end = 0, len(data)
    while at < end and (kind := data[at]) != _END:
        if kind == _NOP:
            at += 1
            continue
        size = data[at + 1] if at + 1 < end else 0
        if not 2 <= size <= end - at:
            raise WireError(f"the TCP option of kind {kind} at octet {at} has an impossible length")
        found.append(_parse_option(kind, data[at + 2 : at + size]))
        at += size
    return tuple(found)


def _parse_option(kind: int, data: bytes) -> TcpOption:
    if kind == _MPTCP:
        return parse_body(data)
    parser = _PARSERS.get((kind, len(data)))
    return UnknownOption(kind, data) if parser is None else parser(data)


def _parse_sack(data: bytes) -> Sack:
    return Sack(tuple(_WORDS.iter_unpack(data)))


# By kind and length of the data.
_PARSERS: dict[tuple[int, int], Callable[[bytes], TcpOption]] = {
    (OptionKind.TIMESTAMPS.value, 8): lambda data: Timestamps(*_WORDS.unpack(data)),
    (OptionKind.MAX_SEGMENT_SIZE.value, 2): lambda data: MaxSegmentSize(int.from_bytes(data)),
    (OptionKind.WINDOW_SCALE.value, 1): lambda data: WindowScale(data[0]),
    (OptionKind.SACK_PERMITTED.value, 0): lambda data: SackPermitted(),
    **{(OptionKind.SACK.value, 8 * blocks): _parse_sack for blocks in range(1, 5)},
}


def emit_options(options: Iterable[TcpOption]) -> bytes:
    """Return the options in order, padded with NOP to a multiple of four; WireError above 40 bytes."""
    data = b"".join(map(emit_option, options))
    if len(data) > OPTIONS_MAX:
        raise WireError(f"the options take {len(data)} bytes, but a TCP header has room for {OPTIONS_MAX}")
    return data + b"\x01" * (-len(data) % 4)


def emit_option(option: TcpOption) -> bytes:
    """Return one option without padding; WireError for a field out of range or more than 40 bytes."""
    try:
        data = _EMITTERS.get(type(option), _emit_mptcp)(option)
    except struct.error as error:
        raise WireError(f"{option} has a field that does not fit: {error}") from error
    if len(data) > OPTIONS_MAX:
        raise WireError(f"an option takes {len(data)} bytes; a TCP header has room for {OPTIONS_MAX}")
    return data


def _emit_mptcp(option: MptcpOption) -> bytes:
    body = emit_body(option)
    return struct.pack(">BB", _MPTCP, len(body) + 2) + body


def _emit_sack(option: Sack) -> bytes:
    if not 1 <= len(option.blocks) <= 4:
        raise WireError(f"SACK has one to four blocks, not {len(option.blocks)}")
    data = b"".join(_WORDS.pack(*block) for block in option.blocks)
    return struct.pack(">BB", OptionKind.SACK, len(data) + 2) + data


def _emit_unknown(option: UnknownOption) -> bytes:
    if option.kind in (_END, _NOP):
        raise WireError("END and NOP are padding, not options")
    if len(option.data) > OPTIONS_MAX - 2:
        raise WireError(f"an option of {len(option.data) + 2} bytes; a TCP header has room for {OPTIONS_MAX}")
    return struct.pack(">BB", option.kind, len(option.data) + 2) + option.data


_EMITTERS: dict[type[Any], Callable[[Any], bytes]] = {
    Timestamps: lambda option: struct.pack(">BBII", OptionKind.TIMESTAMPS, 10, option.value, option.echo),
    MaxSegmentSize: lambda option: struct.pack(">BBH", OptionKind.MAX_SEGMENT_SIZE, 4, option.value),
    WindowScale: lambda option: struct.pack(">BBB", OptionKind.WINDOW_SCALE, 3, option.shift),
    SackPermitted: lambda option: struct.pack(">BB", OptionKind.SACK_PERMITTED, 2),
    Sack: _emit_sack,
    UnknownOption: _emit_unknown,
}
