"""What a capture tells of MPTCP connections: the objects that `tracker` fills and `document` prints.

A connection has two directions, 0 from the host that opened it and 1 back; a subflow too has two sides, 0
from the host that sent its SYN. `Subflow.direction` tells which is which. Data sequence numbers are kept as
signed offsets from the first one of their direction, so that nothing here wraps.
"""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from mpcore.analysis.ranges import Ranges

Address = tuple[bytes, int]  # raw address, port
MISSED = 255


class Check(StrEnum):
    """How a secret or a checksum turned out."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"  # what it takes to verify is not in the capture


class Fallback(StrEnum):
    """Why a connection that offered MPTCP is plain TCP, or has become it (RFC 8684 §3.7)."""

    SYN_REPEATED = "the SYN was repeated without MP_CAPABLE"
    SYN_ACK = "the SYN/ACK has no MP_CAPABLE"
    THIRD_ACK = "the third ACK has no MP_CAPABLE"
    NO_DSS = "data came without DSS"
    CHECKSUM = "a DSS checksum failed: MP_FAIL"
    INFINITE = "an infinite mapping"


@dataclass(slots=True)
class Event:
    """Something that happened once: which packet, when, from which host (a direction), and its details."""

    kind: str
    packet: int
    time_ns: int
    direction: int
    details: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Mapping:
    """Bytes of a subflow and their place in the connection (RFC 8684 §3.3.1).

    `position` is the subflow sequence number relative to the ISN, unwrapped; `offset` the place in the
    direction; `size` the bytes of payload; `data_len` the length on the wire, which counts a DATA_FIN.
    """

    position: int
    offset: int
    size: int
    data_len: int
    checksum: int | None = None


@dataclass(slots=True)
class Side:
    """One side of a subflow: what one host sent on it. Positions count from 1, the first byte of data."""

    isn: int | None = None
    nonce: int | None = None
    address_id: int | None = None
    backup: bool = False
    packets: int = 0
    segments: int = 0  # with payload
    position: int = 0  # of the latest segment
    sent: Ranges = field(default_factory=Ranges)
    mapped: Ranges = field(default_factory=Ranges)  # in offsets of the direction
    mappings: list[Mapping] = field(default_factory=list)
    retransmitted_segments: int = 0
    retransmitted_bytes: int = 0
    late_segments: int = 0
    fin: int | None = None  # the packet
    reset: int | None = None
    reset_reason: int | None = None


@dataclass(slots=True)
class Subflow:
    """One TCP connection of an MPTCP connection; `ends` are its initiator's and its responder's address."""

    number: int
    ends: tuple[Address, Address]
    joined: bool
    first_packet: int
    time_ns: int
    direction: int = 0  # which direction of the connection side 0 is
    token: int | None = None
    token_check: Check | None = None
    synack_check: Check | None = None
    ack_check: Check | None = None
    syn_seen: bool = False
    established: bool = False
    sides: tuple[Side, Side] = field(default_factory=lambda: (Side(), Side()))


@dataclass(slots=True)
class Direction:
    """One direction of a connection; `first` is the data sequence number at offset 0.

    The arrays tell of the pieces of data that were new to their subflow, in the order of the capture: start
    and end offset, subflow, time. A piece of subflow `MISSED` stands for what the capture has not.
    """

    key: int | None = None
    token: int | None = None
    first: int | None = None
    data: Ranges = field(default_factory=Ranges)
    expected: int = 0  # the next offset in order
    missed_bytes: int = 0  # acknowledged, but not in the capture
    reinjected_bytes: int = 0
    unmapped_bytes: int = 0
    unmapped_packet: int | None = None
    mappings: int = 0
    pieces: int = 0
    early_pieces: int = 0  # out of order: an earlier one was missing
    early_bytes: int = 0
    acked: int | None = None  # highest offset that the other host acknowledged
    fin: Event | None = None
    checksums: Counter[Check] = field(default_factory=Counter)
    starts: "array[int]" = field(default_factory=lambda: array("q"))
    ends: "array[int]" = field(default_factory=lambda: array("q"))
    subflows: "array[int]" = field(default_factory=lambda: array("B"))
    times: "array[int]" = field(default_factory=lambda: array("q"))

    @property
    def fin_offset(self) -> int | None:
        """The offset of the DATA_FIN, which is one past the last byte; None as long as there is none."""
        offset = None if self.fin is None else self.fin.details["offset"]
        return offset if isinstance(offset, int) else None

    def note(self, start: int, end: int, subflow: int, time_ns: int) -> None:
        """Add a piece to the arrays."""
        self.starts.append(start)
        self.ends.append(end)
        self.subflows.append(subflow)
        self.times.append(time_ns)


@dataclass(slots=True)
class Connection:
    """An MPTCP connection, or one that wanted to be; `version` is that of MP_CAPABLE."""

    number: int
    time_ns: int
    version: int = 1
    ends: tuple[Address, Address] | None = None
    start_captured: bool = False
    checksum_required: bool = False
    offered: bool = False  # MP_CAPABLE in the SYN
    accepted: bool | None = None  # MP_CAPABLE in the SYN/ACK; None where there is none to see
    answered: int | None = None  # the packet of the first SYN/ACK
    fallback: tuple[Fallback, int] | None = None
    third_ack: int | None = None  # the packet, where it has neither MP_CAPABLE nor DSS
    infinite: int | None = None
    failed: int | None = None
    last_ns: int = 0
    subflows: list[Subflow] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    directions: tuple[Direction, Direction] = field(default_factory=lambda: (Direction(), Direction()))
