"""Endpoints for tests of the node: one that passes everything, and one that follows a script."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from mpcore.actions import Direction, Transmit, Verdict, VerdictKind

Handler = Callable[[Direction, bytes, int], Verdict]
PASS = Verdict(VerdictKind.PASS)


class PassThrough:
    """An endpoint that does nothing; `handler` may decide otherwise, and other parts be filled by a test."""

    def __init__(self, rng: Random, now_ns: int, handler: Handler | None = None) -> None:
        self.seen: list[tuple[Direction, bytes, int]] = []
        self.flushes: list[int] = []
        self.timeouts: list[int] = []
        self.deadline: int | None = None
        self.transmits: list[Transmit] = []
        self.events: list[object] = []
        self.addresses: dict[bytes, str] = {}
        self.next_deadline: int | None = None
        self._handler = handler

    def handle_packet(
        self, direction: Direction, data: bytes, now_ns: int, carrier: int | None = None
    ) -> Verdict:
        self.seen.append((direction, data, now_ns))
        return self._handler(direction, data, now_ns) if self._handler else PASS

    def flush(self, now_ns: int) -> None:
        self.flushes.append(now_ns)

    def poll_transmit(self) -> list[Transmit]:
        transmits, self.transmits = self.transmits, []
        return transmits

    def poll_timeout(self) -> int | None:
        return self.deadline

    def handle_timeout(self, now_ns: int) -> None:
        self.timeouts.append(now_ns)
        self.deadline, self.next_deadline = self.next_deadline, None

    def poll_event(self) -> object | None:
        return self.events.pop(0) if self.events else None

    def add_local_address(self, address: bytes, *, interface: str, now_ns: int, backup: bool = False) -> None:
        self.addresses[address] = interface

    def remove_local_address(self, address: bytes, now_ns: int) -> None:
        del self.addresses[address]
