"""Packets of several interfaces in one order: capture programs write each interface's in bursts."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain

from mpcore.analysis.capture import Capture, Frame

# How far apart in the file two packets may be that belong side by side.
FRAMES_MAX = 1 << 16
BYTES_MAX = 1 << 26

Numbered = tuple[int, Frame]


def in_order(capture: Capture) -> Iterator[Numbered]:
    """Return the packets with their numbers in the file, those of several interfaces merged by time.

    Packets of one interface keep the order of the file: stamps may come from different clocks of one machine.
    """
    numbered = enumerate(capture, start=1)
    first = next(numbered, None)
    if first is None:
        return iter(())
    everything = chain((first,), numbered)
    return everything if capture.interfaces == 1 else merge(everything)


def merge(frames: Iterable[Numbered], frames_max: int = FRAMES_MAX) -> Iterator[Numbered]:
    """Merge by time what is not more than `frames_max` packets, or 64 MiB, apart."""
    waiting: list[tuple[int, int, Frame]] = []
    latest: defaultdict[int, int] = defaultdict(int)
    held = 0
    for number, frame in frames:
        time_ns = latest[frame.interface] = max(latest[frame.interface], frame.time_ns)
        heapq.heappush(waiting, (time_ns, number, frame))
        held += len(frame.data)
        while len(waiting) > frames_max or held > BYTES_MAX:
            _, first, chosen = heapq.heappop(waiting)
            held -= len(chosen.data)
            yield first, chosen
    while waiting:
        _, first, chosen = heapq.heappop(waiting)
        yield first, chosen
