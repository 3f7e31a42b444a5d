"""TCP options as values (RFC 9293 §3.1, RFC 7323, RFC 2018)."""

from typing import TypeAlias

from mpcore.value import value
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
