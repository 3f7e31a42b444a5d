"""Programs for the model hosts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum

from mpcore.sim.clock import Clock
from mpcore.sim.rng import Random
from mpcore.sim.tcp_app import App, Socket

_CHUNK_BYTES = 65536


class Close(Enum):
    """When a program says that it will write no more."""

    WHEN_SENT = "when sent"  # at once behind its last byte
    AFTER_PEER = "after peer"  # not before the peer has


@dataclass(slots=True)
class Received:
    """What a program has read."""

    size: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    longest_stall_ns: int = 0  # between two reads


class Transfer(App):
    """Sends `size` bytes drawn from `rng`, and reads and hashes what comes.

    With `read_after_ns` nothing is read before that time, so that the window closes; then `read_bytes` at a
    time, every `read_interval_ns`, when these are given.
    """

    def __init__(
        self,
        clock: Clock,
        rng: Random,
        size: int,
        *,
        close: Close = Close.WHEN_SENT,
        read_after_ns: int = 0,
        read_bytes: int = 1 << 30,
        read_interval_ns: int = 0,
    ) -> None:
        self.size = size
        self.received = Received()
        self.sent_hash = hashlib.sha256()
        self.received_hash = hashlib.sha256()
        self.established_ns: int | None = None
        self.ended = False
        self.closed = False
        self.error: str | None = None
        self._clock = clock
        self._rng = rng
        self._close = close
        self._read_after_ns = read_after_ns
        self._read_bytes = read_bytes
        self._read_interval_ns = read_interval_ns
        self._read_waits = False
        self._made = 0
        self._pending = b""

    @property
    def sent_all(self) -> bool:
        """Whether the socket has taken every byte."""
        return self._made == self.size and not self._pending

    def on_established(self, socket: Socket) -> None:
        """Begin to write."""
        self.established_ns = self._clock.now_ns
        self.on_writable(socket)

    def on_writable(self, socket: Socket) -> None:
        """Write until the socket is full."""
        while not self.sent_all:
            if not self._pending:
                self._make()
            taken = socket.write(self._pending)
            self._pending = self._pending[taken:]
            if not taken:
                return
        if self._close is Close.WHEN_SENT or self.ended:
            socket.shutdown()

    def on_readable(self, socket: Socket) -> None:
        """Read now, or when the program's pace allows."""
        now_ns = self._clock.now_ns
        if self._read_waits:
            return
        if now_ns >= self._read_after_ns and not self._read_interval_ns:
            self._read(socket)
        else:
            self._read_waits = True
            when_ns = max(self._read_after_ns, now_ns + self._read_interval_ns)
            self._clock.call_at(when_ns, lambda: self._paced_read(socket))

    def on_end(self, socket: Socket) -> None:
        """Close as well, when this program waits for the other."""
        self.ended = True
        if self.sent_all:
            socket.shutdown()

    def on_closed(self, socket: Socket, error: str | None) -> None:
        """Note how it ended."""
        self.closed = True
        self.error = error

    def _make(self) -> None:
        size = min(_CHUNK_BYTES, self.size - self._made)
        self._pending = self._rng.randbytes(size)
        self._made += size
        self.sent_hash.update(self._pending)

    def _paced_read(self, socket: Socket) -> None:
        self._read_waits = False
        self._read(socket)
        if socket.readable:
            self.on_readable(socket)

    def _read(self, socket: Socket) -> None:
        data = socket.read(self._read_bytes)
        if not data:
            return
        now_ns, got = self._clock.now_ns, self.received
        if got.last_ns is not None:
            got.longest_stall_ns = max(got.longest_stall_ns, now_ns - got.last_ns)
        got.first_ns = now_ns if got.first_ns is None else got.first_ns
        got.last_ns = now_ns
        got.size += len(data)
        self.received_hash.update(data)
