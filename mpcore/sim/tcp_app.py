"""What a program does with a connection of the model host."""

from __future__ import annotations

from typing import Protocol


class Socket(Protocol):
    """What a program may do with its connection."""

    @property
    def readable(self) -> int:
        """Bytes that read() would return."""

    def write(self, data: bytes) -> int:
        """Hand over bytes; returns how many were taken."""

    def read(self, size: int = ...) -> bytes:
        """Take up to `size` bytes of what has come."""

    def shutdown(self) -> None:
        """Write no more."""

    def abort(self) -> None:
        """Forget everything and reset the peer."""


class App:
    """A program; every method is optional."""

    def on_established(self, socket: Socket) -> None:
        """The handshake is over."""

    def on_readable(self, socket: Socket) -> None:
        """Bytes may be read."""

    def on_writable(self, socket: Socket) -> None:
        """The send buffer has room again."""

    def on_end(self, socket: Socket) -> None:
        """The peer will send no more; what is readable may still be read."""

    def on_closed(self, socket: Socket, error: str | None) -> None:
        """The connection is gone: None after an orderly end, else "reset" or "timed out"."""
