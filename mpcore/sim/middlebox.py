"""Middleboxes on a link: the ways in which networks are known to damage TCP options and segments.

Each looks at packets from one side, or both, and emits none, one or several in their place. What cannot be
parsed goes through untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Protocol, get_args

from mpcore.errors import WireError
from mpcore.sim.packets import ACK, FIN, PSH, RST, SEQUENCE_MASK, SYN, Flow, cut_segment
from mpcore.wire.values import (
    MptcpOption,
    Sack,
    Segment,
    TcpOption,
    UnknownOption,
    emit_segment,
    parse_segment,
)

Emit = Callable[[bytes], None]
Matches = Callable[[Segment], bool]

MPTCP_OPTIONS: tuple[type, ...] = get_args(MptcpOption)


class Side(Enum):
    """The end of the link that a packet comes from."""

    A = "a"
    B = "b"


class Middlebox(Protocol):
    """A stage of a link."""

    def process(self, side: Side, data: bytes, emit: Emit) -> None:
        """Take a packet that entered at `side` and emit what goes on, now or at a later packet."""


class SegmentBox:
    """Changes parsed segments that match, from one side or from both (None), after the first N."""

    def __init__(self, *, side: Side | None = None, matches: Matches | None = None, after: int = 0) -> None:
        self.touched = 0
        self._side = side
        self._matches = matches
        self._after = after
        self._seen = 0

    def process(self, side: Side, data: bytes, emit: Emit) -> None:
        """Emit what `change` makes of the packet."""
        try:
            segment = parse_segment(data)
        except WireError:
            emit(data)
            return
        if not self._selected(side, segment):
            emit(data)
            return
        for out in self.change(side, segment):
            emit(data if out is segment else emit_segment(out))

    def change(self, side: Side, segment: Segment) -> list[Segment]:
        """Return the segments that go on in place of `segment`."""
        raise NotImplementedError

    def _selected(self, side: Side, segment: Segment) -> bool:
        if self._side not in (None, side) or (self._matches is not None and not self._matches(segment)):
            return False
        self._seen += 1
        if self._seen <= self._after:
            return False
        self.touched += 1
        return True


def on_syn(segment: Segment) -> bool:
    """Match SYN and SYN/ACK."""
    return bool(segment.flags & SYN)


def on_data(segment: Segment) -> bool:
    """Match segments with payload."""
    return bool(segment.payload)


def after_syn(segment: Segment) -> bool:
    """Match everything but SYN and SYN/ACK."""
    return not segment.flags & SYN


class StripOptions(SegmentBox):
    """Removes options of the given types; without `types`, all of MPTCP's (RFC 8684 §6)."""

    def __init__(
        self,
        types: tuple[type, ...] = MPTCP_OPTIONS,
        *,
        side: Side | None = None,
        matches: Matches | None = None,
        after: int = 0,
    ) -> None:
        super().__init__(side=side, matches=matches, after=after)
        self._types = types

    def change(self, side: Side, segment: Segment) -> list[Segment]:
        """Leave out the options."""
        kept = tuple(option for option in segment.options if not isinstance(option, self._types))
        return [segment if len(kept) == len(segment.options) else replace(segment, options=kept)]


def strip_unknown_options(*, side: Side | None = None) -> StripOptions:
    """Return a box that knows neither MPTCP nor anything else that is not in RFC 9293 and RFC 7323."""
    return StripOptions((*MPTCP_OPTIONS, UnknownOption), side=side)


class Drop(SegmentBox):
    """Loses what matches, such as SYNs with an option it does not know."""

    def change(self, side: Side, segment: Segment) -> list[Segment]:
        """Emit nothing."""
        return []


class Duplicate(SegmentBox):
    """Sends what matches twice."""

    def change(self, side: Side, segment: Segment) -> list[Segment]:
        """Emit the segment and its copy."""
        return [segment, segment]


class ModifyPayload(SegmentBox):
    """Changes one byte of the payload and repairs the TCP checksum, as an application-level gateway would."""

    def __init__(
        self, *, side: Side | None = None, offset: int = 0, after: int = 0, limit: int | None = None
    ) -> None:
        super().__init__(side=side, matches=on_data, after=after)
        self._offset = offset
        self._limit = limit

    def change(self, side: Side, segment: Segment) -> list[Segment]:
        """Turn over one byte, in at most `limit` segments."""
        if self._limit is not None and self.touched > self._limit:
            return [segment]
        at = min(self._offset, len(segment.payload) - 1)
        changed = bytes((segment.payload[at] ^ 0xFF,))
        return [replace(segment, payload=segment.payload[:at] + changed + segment.payload[at + 1 :])]


class Split(SegmentBox):
    """Cuts payloads into pieces of at most `size` bytes, each with all options, as offloading does."""

    def __init__(self, size: int, *, side: Side | None = None) -> None:
        super().__init__(side=side, matches=lambda segment: len(segment.payload) > size)
        self._size = size

    def change(self, side: Side, segment: Segment) -> list[Segment]:
        """Emit the pieces."""
        return cut_segment(segment, self._size)


class RewriteIsn:
    """Shifts the sequence numbers of every flow, as firewalls that randomise initial sequence numbers do.

    RFC 8684 §3.3.1 counts subflow sequence numbers from the initial one for this reason.
    """

    def __init__(self, shift: dict[Side, int]) -> None:
        self._shift = {side: shift.get(side, 0) for side in Side}

    def process(self, side: Side, data: bytes, emit: Emit) -> None:
        """Shift what `side` sends, and take the other side's shift out of its acknowledgements."""
        try:
            segment = parse_segment(data)
        except WireError:
            emit(data)
            return
        own, others = self._shift[side], self._shift[Side.B if side is Side.A else Side.A]
        options = tuple(_shift_sack(option, -others) for option in segment.options)
        ack = _add(segment.ack, -others) if segment.flags & ACK else segment.ack
        emit(emit_segment(replace(segment, seq=_add(segment.seq, own), ack=ack, options=options)))


def _add(sequence: int, shift: int) -> int:
    return (sequence + shift) & SEQUENCE_MASK


def _shift_sack(option: TcpOption, shift: int) -> TcpOption:
    if not isinstance(option, Sack):
        return option
    return Sack(tuple((_add(left, shift), _add(right, shift)) for left, right in option.blocks))


class Coalesce:
    """Joins a data segment with its successor, keeping the options of the first alone (RFC 8684 §3.3.1, §6).

    A segment is held until the next packet of its direction, so the last one of a burst must be followed by
    something; retransmission sees to that.
    """

    def __init__(self, max_payload: int, *, side: Side | None = None) -> None:
        self.joined = 0
        self._max_payload = max_payload
        self._side = side
        self._held: dict[tuple[Side, Flow], Segment] = {}

    def process(self, side: Side, data: bytes, emit: Emit) -> None:
        """Hold a data segment, or send it on with its successor."""
        try:
            segment = parse_segment(data)
        except WireError:
            emit(data)
            return
        key = (side, Flow(segment.src, segment.src_port, segment.dst, segment.dst_port))
        held = self._held.pop(key, None)
        if held is not None:
            if self._joins(held, segment):
                self.joined += 1
                emit(emit_segment(_joined(held, segment)))
                return
            emit(emit_segment(held))
        if self._side in (None, side) and segment.payload and not segment.flags & (SYN | FIN | RST | PSH):
            self._held[key] = segment
        else:
            emit(data)

    def _joins(self, held: Segment, segment: Segment) -> bool:
        size = len(held.payload) + len(segment.payload)
        follows = segment.seq == _add(held.seq, len(held.payload))
        return (
            follows
            and bool(segment.payload)
            and size <= self._max_payload
            and not segment.flags & (SYN | RST)
        )


def _joined(first: Segment, second: Segment) -> Segment:
    return replace(
        first,
        payload=first.payload + second.payload,
        flags=first.flags | second.flags,
        ack=second.ack,
        window=second.window,
    )


class Nat:
    """Gives the hosts behind side A one public address, and ports in the order of their first packet."""

    def __init__(self, public: bytes, *, first_port: int = 20000) -> None:
        self._public = public
        self._next_port = first_port
        self._outside: dict[tuple[bytes, int], int] = {}
        self._inside: dict[int, tuple[bytes, int]] = {}

    def process(self, side: Side, data: bytes, emit: Emit) -> None:
        """Translate the source going out, the destination coming in; unknown inbound packets are lost."""
        try:
            segment = parse_segment(data)
        except WireError:
            emit(data)
            return
        if side is Side.A:
            port = self._port_of(segment.src, segment.src_port)
            emit(emit_segment(replace(segment, src=self._public, src_port=port)))
        elif segment.dst_port in self._inside:
            address, port = self._inside[segment.dst_port]
            emit(emit_segment(replace(segment, dst=address, dst_port=port)))

    def _port_of(self, address: bytes, port: int) -> int:
        if (address, port) not in self._outside:
            self._outside[address, port] = self._next_port
            self._inside[self._next_port] = (address, port)
            self._next_port += 1
        return self._outside[address, port]
