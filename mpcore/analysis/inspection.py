"""A capture from end to end: frames in, connections and contexts out."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from mpcore.analysis.capture import Capture, Frame
from mpcore.analysis.checksums import TcpChecksum, judge_checksum
from mpcore.analysis.contexts import Contexts
from mpcore.analysis.order import in_order
from mpcore.analysis.packet import Packet, Shim6Packet, Skip, parse_frame
from mpcore.analysis.tracker import Tracker

PROGRESS_EVERY = 4096  # packets

Progress = Callable[[int, int], None]  # octets of the file that are done, and in all


@dataclass(slots=True)
class Inspection:
    """What a capture holds. `damage` says where it stops making sense, None where it does not."""

    path: str
    format: str
    packets: int = 0
    bytes: int = 0  # on the wire, link headers included
    first_ns: int | None = None
    last_ns: int | None = None
    segments: int = 0
    skipped: "Counter[Skip]" = field(default_factory=Counter)
    checksums: "Counter[TcpChecksum]" = field(default_factory=Counter)
    tracker: Tracker = field(default_factory=Tracker)
    contexts: Contexts = field(default_factory=Contexts)
    damage: str | None = None

    def take(self, number: int, frame: Frame) -> None:
        """Take the next frame, which has `number` in the file."""
        self.packets += 1
        self.bytes += frame.size
        if self.first_ns is None:
            self.first_ns = frame.time_ns
        self.last_ns = frame.time_ns
        packet = parse_frame(number, frame)
        if isinstance(packet, Shim6Packet):
            inner = self.contexts.take(packet)
            if inner is None:
                return
            packet = inner
        if isinstance(packet, Packet):
            self.segments += 1
            self.checksums[judge_checksum(packet)] += 1
            self.tracker.take(packet)
        else:
            self.skipped[packet] += 1


def inspect(capture: Capture, progress: Progress | None = None) -> Inspection:
    """Read a capture to its end, or to where it is damaged; `progress` hears of long ones now and then."""
    inspection = Inspection(capture.path, capture.format)
    for number, frame in in_order(capture):
        inspection.take(number, frame)
        if progress is not None and inspection.packets % PROGRESS_EVERY == 0:
            progress(capture.position, capture.size)
    inspection.tracker.finish()
    inspection.damage = capture.damage
    return inspection
