"""The sending half of the model host's TCP: buffer, window, what goes next.

Positions are offsets: 0 is the SYN, 1 the first byte, and the FIN stands behind the last one. They never
wrap; sequence numbers exist only on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpcore.sim.tcp_settings import TcpSettings

SEQUENCE_SPAN = 1 << 32
_HALF_SPAN = 1 << 31


def expand(sequence: int, initial: int, near: int) -> int:
    """Return the offset of a wire sequence number that lies nearest to the offset `near`."""
    return near + (sequence - initial - near + _HALF_SPAN) % SEQUENCE_SPAN - _HALF_SPAN


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one segment carries."""

    offset: int
    payload: bytes
    fin: bool
    last: bool  # nothing that could be sent follows: set PSH

    @property
    def end(self) -> int:
        """Offset behind the chunk."""
        return self.offset + len(self.payload) + self.fin


class Sender:
    """Bytes that the program wrote and the peer has not acknowledged."""

    def __init__(self, isn: int, settings: TcpSettings) -> None:
        self.isn = isn
        self.una = 0  # oldest offset that is not acknowledged
        self.next = 0  # next offset to send; goes back after a timeout
        self.sent = 0  # highest offset ever sent
        self.window_edge = 1  # the peer's window ends here
        self.mss = 536  # RFC 9293 §3.7.1, until the peer says more
        self._settings = settings
        self._buffer = bytearray()
        self._base = 1  # offset of _buffer[0]
        self._fin: int | None = None
        self._newest = (-1, -1)  # (peer's sequence offset, acknowledged offset) of the last window update

    @property
    def room(self) -> int:
        """Bytes that write() would take."""
        return self._settings.send_buffer_bytes - len(self._buffer)

    @property
    def outstanding(self) -> int:
        """Sequence space sent and not acknowledged."""
        return self.next - self.una

    @property
    def end(self) -> int:
        """Offset behind everything that the program has handed over, the FIN included."""
        return self._base + len(self._buffer) + (self._fin is not None)

    @property
    def fin_acked(self) -> bool:
        """Whether the peer has acknowledged the FIN."""
        return self._fin is not None and self.una > self._fin

    def write(self, data: bytes) -> int:
        """Take what fits of `data`; returns how much."""
        taken = data[: self.room]
        self._buffer += taken
        return len(taken)

    def finish(self) -> None:
        """Put a FIN behind the last byte."""
        self._fin = self._base + len(self._buffer)

    def acknowledge(self, offset: int) -> int:
        """Take a cumulative acknowledgement; returns how many offsets are new in it."""
        newly = offset - self.una
        if newly <= 0:
            return 0
        self.una = offset
        self.next = max(self.next, offset)
        released = min(max(offset - self._base, 0), len(self._buffer))
        del self._buffer[:released]
        self._base += released
        return newly

    def update_window(self, peer_offset: int, ack: int, window: int) -> bool:
        """Take the peer's window unless the segment is old (RFC 9293 §3.10.7.4); returns whether it moved."""
        if (peer_offset, ack) < self._newest:
            return False
        self._newest = (peer_offset, ack)
        moved = ack + window != self.window_edge
        self.window_edge = ack + window
        return moved

    def next_chunk(self, congestion_window: int | None) -> Chunk | None:
        """Return what may be sent now, at most a super-packet, or None."""
        available = self._base + len(self._buffer) - self.next
        edge = self.window_edge
        if congestion_window is not None:
            edge = min(edge, self.una + congestion_window)
        size = min(available, edge - self.next, self._super_packet_bytes())
        if 0 < size < available:
            size = self._whole_segments(size, edge)
        fin = self._fin is not None and self.next + size == self._fin and self._fin < self.window_edge
        if size <= 0 and not (fin and size == 0):
            return None
        return self._chunk(self.next, size, fin)

    def first_chunk(self) -> Chunk:
        """Return the first segment that is not acknowledged, whatever the windows say: a retransmission."""
        size = min(self._base + len(self._buffer) - self.una, self.mss)
        return self._chunk(self.una, size, self._fin is not None and self.una + size == self._fin)

    def mark_sent(self, chunk: Chunk) -> bool:
        """Note that a chunk went out; returns whether any of it had been sent before."""
        again = chunk.offset < self.sent
        self.next = max(self.next, chunk.end)
        self.sent = max(self.sent, chunk.end)
        return again

    def rewind(self) -> None:
        """Send everything again from the oldest unacknowledged byte: what a timeout does."""
        self.next = self.una

    def _super_packet_bytes(self) -> int:
        return max(self._settings.super_packet_bytes // self.mss, 1) * self.mss

    def _whole_segments(self, size: int, edge: int) -> int:
        """Cut to whole segments; less than one goes only when nothing is under way (RFC 9293 §3.8.6.2.1)."""
        if size >= self.mss:
            return size - size % self.mss
        return size if self.outstanding == 0 and edge == self.window_edge else 0

    def _chunk(self, offset: int, size: int, fin: bool) -> Chunk:
        start = offset - self._base
        last = offset + size == self._base + len(self._buffer)
        return Chunk(offset, bytes(self._buffer[start : start + size]), fin, last)
