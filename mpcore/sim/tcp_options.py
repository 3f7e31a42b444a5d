"""The TCP options of the model host: what it offers, what both sides agreed on, what each segment carries."""

from __future__ import annotations

from mpcore.sim.packets import RST, SYN
from mpcore.sim.rng import Random
from mpcore.sim.tcp_receiver import Receiver
from mpcore.sim.tcp_sender import SEQUENCE_SPAN
from mpcore.sim.tcp_settings import TcpSettings
from mpcore.wire.values import (
    MaxSegmentSize,
    Sack,
    SackPermitted,
    Segment,
    TcpOption,
    Timestamps,
    WindowScale,
)

_NS_PER_MS = 1_000_000
_MAX_SCALE = 14  # RFC 7323 §2.3
_DEFAULT_MSS = 536  # RFC 9293 §3.7.1
_TIMESTAMP_BYTES = 12


class Options:
    """The state of one connection's options: an offer before the peer's SYN, an agreement after it."""

    def __init__(self, settings: TcpSettings, rng: Random, *, ipv6: bool) -> None:
        self.announced_mss = settings.mtu - (60 if ipv6 else 40)
        self.mss = _DEFAULT_MSS  # payload of a full segment that we send
        self.local_scale = settings.window_scale or 0
        self.peer_scale = 0
        self.timestamps = settings.timestamps
        self._scaling = settings.window_scale is not None
        self._sack = settings.sack
        self._base = rng.getrandbits(32)
        self._recent = 0  # the peer's stamp that we echo (RFC 7323 §4.3)

    def agree(self, syn: Segment) -> None:
        """Take what the peer's SYN offers: only what both sides want is used."""
        size, scale, stamp = syn.find(MaxSegmentSize), syn.find(WindowScale), syn.find(Timestamps)
        self._sack = self._sack and syn.find(SackPermitted) is not None
        self.timestamps = self.timestamps and stamp is not None
        self._recent = stamp.value if stamp is not None else 0
        self._scaling = self._scaling and scale is not None
        self.local_scale = self.local_scale if self._scaling else 0
        self.peer_scale = min(scale.shift, _MAX_SCALE) if scale is not None and self._scaling else 0
        segment = min(_DEFAULT_MSS if size is None else size.value, self.announced_mss)
        self.mss = segment - (_TIMESTAMP_BYTES if self.timestamps else 0)

    def outdated(self, stamp: Timestamps) -> bool:
        """Return whether a stamp is older than the newest one seen in order (PAWS, RFC 7323 §5)."""
        return (stamp.value - self._recent) % SEQUENCE_SPAN >= SEQUENCE_SPAN // 2

    def note(self, stamp: Timestamps) -> None:
        """Echo this stamp from now on."""
        self._recent = stamp.value

    def round_trip_ns(self, stamp: Timestamps, now_ns: int) -> int:
        """Return how long ago the echoed stamp was ours."""
        return (self._now(now_ns) - stamp.echo) % SEQUENCE_SPAN * _NS_PER_MS

    def of_segment(self, flags: int, receiver: Receiver | None, now_ns: int) -> tuple[TcpOption, ...]:
        """Return the options of a segment with these flags; the holes that `receiver` has are reported."""
        stamps = (Timestamps(self._now(now_ns), self._recent),) if self.timestamps else ()
        if flags & SYN:
            return (*self._of_syn(), *stamps)
        blocks = receiver.sack_blocks() if receiver is not None and self._sack and not flags & RST else ()
        return (*stamps, Sack(blocks)) if blocks else stamps

    def _of_syn(self) -> tuple[TcpOption, ...]:
        sack = (SackPermitted(),) if self._sack else ()
        scale = (WindowScale(self.local_scale),) if self._scaling else ()
        return (MaxSegmentSize(self.announced_mss), *sack, *scale)

    def _now(self, now_ns: int) -> int:
        """Return the timestamp clock: a tick is a millisecond from a random start, as in Linux."""
        return (self._base + now_ns // _NS_PER_MS) % SEQUENCE_SPAN
