"""Arrivals of segments at a connection: from a model of a receiver, from the simulator, and recorded.

A trace is in order of arrival at the connection level: what counts for a reordering queue is which subflow
brings which range of data sequence numbers, and when.
"""

import random
import tempfile
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mpcore.analysis.capture import Capture
from mpcore.analysis.inspection import inspect
from mpcore.analysis.model import MISSED
from mpcore.config import Config
from mpcore.endpoint import Endpoint
from mpcore.sim import LinkPlan, LinkSettings, run_transfer

RECORDED = Path(__file__).parent / "traces"
SEGMENT_BYTES = 1400
STALLS = 0.002  # share of bursts


@dataclass(frozen=True)
class Trace:
    """Segments [starts, ends) with the subflow that brought each; `first` is the number expected before."""

    first: int
    starts: npt.NDArray[np.uint64]
    ends: npt.NDArray[np.uint64]
    subflows: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def rows(self) -> list[tuple[int, int, int]]:
        """The segments as Python integers, made once: every peer gets them for nothing."""
        return list(zip(self.starts.tolist(), self.ends.tolist(), self.subflows.tolist(), strict=True))

    @cached_property
    def last(self) -> int:
        """The number that is expected once everything has come."""
        return max(self.rows, key=lambda row: (row[1] - self.first) % 2**64)[1]

    @property
    def size(self) -> int:
        """The bytes from the first number to the last."""
        return (self.last - self.first) % 2**64

    def ordered(self) -> "Trace":
        """Return the same segments in the order of their data."""
        order = np.argsort(self.starts - np.uint64(self.first), kind="stable")
        return Trace(self.first, self.starts[order], self.ends[order], self.subflows[order])


Arrival = tuple[int, int]  # number of a burst, subflow that brings it


def arrivals(subflows: int, burst: int, bursts: int, spread: int) -> list[Arrival]:
    """Return bursts of consecutive data in the order in which they arrive.

    A scheduler hands the first `spread` of them to subflows at random, one a unit of time, the others to one
    alone; each subflow keeps its order, has a delay of its own, and now and then stalls as it does while it
    repairs a loss.
    """
    rng = random.Random(subflows * 1000 + burst)
    delay = [rng.uniform(0, 2 * subflows) for _ in range(subflows)]
    ready = [0.0] * subflows
    found: list[tuple[float, int, int]] = []
    for number in range(bursts):
        subflow = rng.randrange(subflows) if number < spread else 0
        stall = 10 * subflows if rng.random() < STALLS else 0
        ready[subflow] = max(ready[subflow], number + delay[subflow] + rng.random() + stall)
        found.append((ready[subflow], number, subflow))
    return [(number, subflow) for _, number, subflow in sorted(found)]


def early_share(order: list[Arrival]) -> float:
    """Return the share of bursts that arrive before one that precedes them."""
    waiting: set[int] = set()
    expected = early = 0
    for number, _ in order:
        if number != expected:
            early += 1
            waiting.add(number)
            continue
        expected += 1
        while expected in waiting:
            waiting.remove(expected)
            expected += 1
    return early / len(order)


def spread_for(subflows: int, burst: int, bursts: int, early: float) -> int:
    """Return how many bursts have to be spread to make that share of all early."""
    low, high = 0, bursts
    while low < high:
        middle = (low + high) // 2
        if early_share(arrivals(subflows, burst, bursts, middle)) < early:
            low = middle + 1
        else:
            high = middle
    return high


@cache
def modelled(subflows: int, burst: int, early: float | None = None, segments: int = 8192) -> Trace:
    """Return the segments that `arrivals` bring; the numbers wrap in the middle.

    Without `early` all data is spread, so that more subflows also mean more disorder; with it, as much as
    makes this share early whatever their number.
    """
    bursts = segments // burst
    spread = bursts if early is None else spread_for(subflows, burst, bursts, early)
    first = 2**64 - segments * SEGMENT_BYTES // 2
    order = [
        (number * burst + i, subflow)
        for number, subflow in arrivals(subflows, burst, bursts, spread)
        for i in range(burst)
    ]
    starts = np.array([(first + index * SEGMENT_BYTES) % 2**64 for index, _ in order], dtype=np.uint64)
    return Trace(
        first,
        starts,
        starts + np.uint64(SEGMENT_BYTES),
        np.array([subflow for _, subflow in order], dtype=np.uint8),
    )


@cache
def simulated(links: int = 4) -> Trace:
    """Return what a server receives in the simulator over links of different delay that lose."""
    plans = [
        LinkPlan(settings=LinkSettings(rate_bps=20_000_000, delay_ns=(5 + 15 * i) * 1_000_000, loss=0.002))
        for i in range(links)
    ]

    def endpoint(rng: random.Random, now_ns: int) -> Endpoint:
        return Endpoint(Config(), rng=rng, now_ns=now_ns)

    result = run_transfer(
        plans, up_bytes=1_500_000, client_endpoint=endpoint, server_endpoint=endpoint, seed=7
    )
    assert result.ok
    with tempfile.NamedTemporaryFile() as file:
        file.write(result.network.trace.pcap("receive"))
        file.flush()
        return captured(file.name)


def captured(path: str | Path) -> Trace:
    """Return the arrivals of a capture's largest direction; what a subflow sent again is not in it."""
    with Capture(path) as capture:
        inspection = inspect(capture)
    directions = [way for connection in inspection.tracker.connections for way in connection.directions]
    most = max(directions, key=lambda way: way.pieces)
    subflows = np.array(most.subflows, dtype=np.uint8)
    seen = subflows != MISSED
    starts, ends = (np.array(column, dtype=np.int64)[seen] for column in (most.starts, most.ends))
    low = int(starts.min())
    return Trace(0, (starts - low).astype(np.uint64), (ends - low).astype(np.uint64), subflows[seen])


@cache
def recorded(name: str) -> Trace:
    """Return a trace of the folder `traces`, made by `record_trace.py`."""
    columns = np.load(RECORDED / f"{name}.npz")
    starts = columns["starts"].astype(np.uint64)
    return Trace(0, starts, starts + columns["sizes"], columns["subflows"])
