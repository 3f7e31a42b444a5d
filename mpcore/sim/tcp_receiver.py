"""The receiving half of the model host's TCP: order, window, holes. Offsets are those of tcp_sender."""

from __future__ import annotations

import bisect

from mpcore.sim.tcp_sender import SEQUENCE_SPAN
from mpcore.sim.tcp_settings import TcpSettings

_MAX_SACK_BLOCKS = 3  # what fits beside timestamps (RFC 2018 §3)
_MAX_UNSCALED_WINDOW = 0xFFFF


class Receiver:
    """Bytes from the peer, in order for the program, and pieces that came too early."""

    def __init__(self, irs: int, settings: TcpSettings) -> None:
        self.irs = irs  # the peer's initial sequence number
        self.next = 1  # next offset expected; the SYN has been taken
        self.acknowledged = 1  # `next` as the last segment that we sent reported it
        self.edge = 1  # right edge of the window as advertised; it never moves left
        self.finished = False  # the FIN is here and everything before it
        self.scale = 0  # of the windows that we advertise
        self._settings = settings
        self._ready = bytearray()
        self._early: list[tuple[int, bytes]] = []  # sorted by offset; may overlap
        self._fin: int | None = None

    @property
    def readable(self) -> int:
        """Bytes that read() would return."""
        return len(self._ready)

    @property
    def has_holes(self) -> bool:
        """Whether something came too early and still waits."""
        return bool(self._early)

    def acceptable(self, offset: int, length: int) -> bool:
        """Return whether a segment touches the window (RFC 9293 §3.10.7.4, first check).

        An empty segment that another one overtook is fine, as in Linux; a probe for the window is not, and
        draws an ACK.
        """
        if length == 0:
            return self.acknowledged <= offset <= max(self.edge, self.next)
        return offset < max(self.edge, self.next) and offset + length > self.next

    def accept(self, offset: int, payload: bytes, fin: bool) -> int:
        """Take a segment; returns how many bytes came into order."""
        before = self.next
        if fin and offset + len(payload) <= self.edge:
            self._fin = offset + len(payload)
        payload = payload[: max(self.edge - offset, 0)]
        if payload and offset + len(payload) > self.next:
            self._keep((offset, payload))
        while self._early and self._early[0][0] <= self.next:
            start, piece = self._early.pop(0)
            fresh = piece[self.next - start :]
            self._ready += fresh
            self.next += len(fresh)
        moved = self.next - before
        if self._fin == self.next and not self.finished:
            self.finished = True
            self.next += 1
        return moved

    def read(self, size: int) -> bytes:
        """Take up to `size` bytes out."""
        data = bytes(self._ready[:size])
        del self._ready[:size]
        return data

    def window_field(self, *, scaled: bool = True) -> int:
        """Return the window for the next segment and remember what it promises."""
        scale = self.scale if scaled else 0
        field = -(-(self._free_edge() - self.next) >> scale)
        field = min(max(field, 0), _MAX_UNSCALED_WINDOW)
        self.edge = max(self.edge, self.next + (field << scale))
        return field

    def update_due(self, mss: int) -> bool:
        """Return whether the peer should hear of room: the window at least doubles, by a segment or more."""
        offered = max(self.edge - self.next, 0)
        possible = min(self._free_edge() - self.next, _MAX_UNSCALED_WINDOW << self.scale)
        return possible >= 2 * offered and possible - offered >= min(
            mss, self._settings.receive_buffer_bytes // 2
        )

    def sack_blocks(self) -> tuple[tuple[int, int], ...]:
        """Return the first holes' far sides as wire sequence numbers, at most three blocks."""
        blocks: list[list[int]] = []
        for start, piece in self._early:
            if blocks and start <= blocks[-1][1]:
                blocks[-1][1] = max(blocks[-1][1], start + len(piece))
            else:
                blocks.append([start, start + len(piece)])
        return tuple((self._wire(left), self._wire(right)) for left, right in blocks[:_MAX_SACK_BLOCKS])

    def wire_ack(self) -> int:
        """Return the acknowledgement number for the next segment."""
        self.acknowledged = self.next
        return self._wire(self.next)

    def _keep(self, piece: tuple[int, bytes]) -> None:
        index = bisect.bisect_left(self._early, piece)
        if self._early[index : index + 1] != [piece]:
            self._early.insert(index, piece)

    def _free_edge(self) -> int:
        """Return where the window could end; not moved for less than a useful step (RFC 9293 §3.8.6.2.2)."""
        free = max(self._settings.receive_buffer_bytes - len(self._ready), 0)
        possible = self.next + free
        step = min(self._settings.mtu, self._settings.receive_buffer_bytes // 2)
        return max(self.edge, self.next, possible if possible - self.edge >= step else self.edge)

    def _wire(self, offset: int) -> int:
        return (self.irs + offset) % SEQUENCE_SPAN
