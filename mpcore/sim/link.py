"""A link: two pipes, each with a rate, a delay and its own misfortunes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from mpcore.sim.clock import Clock
from mpcore.sim.middlebox import Middlebox, Side
from mpcore.sim.packets import with_ce
from mpcore.sim.rng import Random
from mpcore.sim.trace import Trace

Receive = Callable[[bytes], None]

_NS_PER_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """What one direction of a link does to packets. Probabilities are per packet, in [0, 1]."""

    rate_bps: int | None = None  # bits a second; None sends in no time
    delay_ns: int = 0
    jitter_ns: int = 0  # most extra delay, uniform; alone it never reorders
    loss: float = 0.0
    reorder: float = 0.0  # share of packets held back by reorder_ns, so that later ones overtake them
    reorder_ns: int = 1_000_000
    duplicate: float = 0.0
    queue_bytes: int | None = None  # bytes that may wait for the rate, the packet being sent included
    mark_bytes: int | None = None  # more than this waiting: packets whose senders take marks are marked CE
    mtu: int = 1500


@dataclass(slots=True)
class PipeStatistics:
    """Packets by their fate.

    Once nothing is under way: sent + duplicated == delivered + lost + dropped_queue + dropped_mtu +
    dropped_down.
    """

    sent: int = 0
    sent_bytes: int = 0
    delivered: int = 0
    delivered_bytes: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0  # held back; counted among the delivered as well
    marked: int = 0  # with CE (RFC 3168); counted among the delivered as well
    dropped_queue: int = 0
    dropped_mtu: int = 0
    dropped_down: int = 0


class Pipe:
    """One direction: the far end's `receive` gets what survives."""

    def __init__(
        self,
        name: str,
        settings: LinkSettings,
        *,
        clock: Clock,
        rng: Random,
        trace: Trace,
        receive: Receive,
    ) -> None:
        self.name = name
        self.settings = settings
        self.up = True
        self.statistics = PipeStatistics()
        self._clock = clock
        self._rng = rng
        self._trace = trace
        self._receive = receive
        self._waiting: deque[tuple[int, int]] = deque()  # (time the last bit leaves, size)
        self._waiting_bytes = 0
        self._last_arrival_ns = 0

    def send(self, data: bytes) -> None:
        """Put a packet on the wire."""
        self.statistics.sent += 1
        self.statistics.sent_bytes += len(data)
        self._trace.packet(self.name, "send", data)
        if not self.up:
            self.statistics.dropped_down += 1
            self._trace.packet(self.name, "drop-down", data)
        elif len(data) > self.settings.mtu:
            self.statistics.dropped_mtu += 1
            self._trace.packet(self.name, "drop-mtu", data)
        else:
            self._enqueue(data)

    def _enqueue(self, data: bytes) -> None:
        leaves_ns = self._serialise(len(data))
        if leaves_ns is None:
            self.statistics.dropped_queue += 1
            self._trace.packet(self.name, "drop-queue", data)
        elif self._chance(self.settings.loss):
            self.statistics.lost += 1
            self._trace.packet(self.name, "loss", data)
        else:
            self._travel(self._mark(data), leaves_ns)

    def _serialise(self, size: int) -> int | None:
        """Return when the last bit of a packet leaves, or None when the queue has no room for it."""
        now_ns = self._clock.now_ns
        while self._waiting and self._waiting[0][0] <= now_ns:
            self._waiting_bytes -= self._waiting.popleft()[1]
        limit = self.settings.queue_bytes
        if limit is not None and self._waiting and self._waiting_bytes + size > limit:
            return None
        if self.settings.rate_bps is None:
            return now_ns
        free_ns = self._waiting[-1][0] if self._waiting else now_ns
        leaves_ns = free_ns + size * 8 * _NS_PER_SECOND // self.settings.rate_bps
        self._waiting.append((leaves_ns, size))
        self._waiting_bytes += size
        return leaves_ns

    def _mark(self, data: bytes) -> bytes:
        """Return the packet, marked when the queue is long and its sender takes marks (RFC 3168 §5)."""
        threshold = self.settings.mark_bytes
        if threshold is None or self._waiting_bytes <= threshold:
            return data
        marked = with_ce(data)
        self.statistics.marked += marked is not data
        return marked

    def _travel(self, data: bytes, leaves_ns: int) -> None:
        arrives_ns = leaves_ns + self.settings.delay_ns
        if self.settings.jitter_ns:
            arrives_ns += self._rng.randrange(self.settings.jitter_ns + 1)
        if self._chance(self.settings.reorder):
            self.statistics.reordered += 1
            arrives_ns += self.settings.reorder_ns
        else:
            arrives_ns = self._last_arrival_ns = max(arrives_ns, self._last_arrival_ns)
        copies = 2 if self._chance(self.settings.duplicate) else 1
        self.statistics.duplicated += copies - 1
        for _ in range(copies):
            self._clock.call_at(arrives_ns, lambda: self._arrive(data))

    def _arrive(self, data: bytes) -> None:
        if not self.up:
            self.statistics.dropped_down += 1
            self._trace.packet(self.name, "drop-down", data)
            return
        self.statistics.delivered += 1
        self.statistics.delivered_bytes += len(data)
        self._trace.packet(self.name, "receive", data)
        self._receive(data)

    def _chance(self, probability: float) -> bool:
        """Draw only where chance plays, so that a lossless pipe uses none of its stream."""
        return probability > 0 and self._rng.random() < probability


class Link:
    """Two pipes between sides A and B, with middleboxes at the entry of both."""

    def __init__(self, name: str, to_b: Pipe, to_a: Pipe, middleboxes: tuple[Middlebox, ...] = ()) -> None:
        self.name = name
        self.to_b = to_b
        self.to_a = to_a
        self._middleboxes = middleboxes

    def send_from_a(self, data: bytes) -> None:
        """Send from side A, through the middleboxes in their order."""
        self._through(Side.A, 0, data)

    def send_from_b(self, data: bytes) -> None:
        """Send from side B, through the middleboxes in the opposite order."""
        self._through(Side.B, 0, data)

    def cut(self) -> None:
        """Lose everything that enters or arrives from now on, both ways."""
        self.to_a.up = self.to_b.up = False

    def restore(self) -> None:
        """Carry packets again."""
        self.to_a.up = self.to_b.up = True

    def _through(self, side: Side, index: int, data: bytes) -> None:
        if index == len(self._middleboxes):
            (self.to_b if side is Side.A else self.to_a).send(data)
            return
        box = self._middleboxes[index if side is Side.A else -1 - index]
        box.process(side, data, lambda out: self._through(side, index + 1, out))
