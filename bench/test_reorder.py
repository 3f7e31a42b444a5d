"""Cost of the reordering algorithms over subflows and burst sizes: ns a segment, steps and hit rate.

A generated receiver's trace: a scheduler hands bursts of consecutive segments to subflows at random, each
subflow keeps its order and has a delay of its own, and now and then one stalls as it does while it repairs a
loss.
"""

import random
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mpcore.store.reorder import ALGORITHMS, ReorderQueue

SEGMENTS = 16384
SEGMENT_BYTES = 1400
STALLS = 0.002  # share of bursts
FIRST = 2**64 - SEGMENTS * SEGMENT_BYTES // 2  # the numbers wrap in the middle of the trace
LAST = (FIRST + SEGMENTS * SEGMENT_BYTES) % 2**64


@dataclass(frozen=True)
class Trace:
    starts: npt.NDArray[np.uint64]
    ends: npt.NDArray[np.uint64]
    subflows: npt.NDArray[np.uint8]


@cache
def trace(subflows: int, burst: int) -> Trace:
    """Return the segments in order of arrival at the connection level."""
    rng = random.Random(subflows * 1000 + burst)
    delay = [rng.uniform(0, 2 * subflows) for _ in range(subflows)]
    ready = [0.0] * subflows
    arrivals: list[tuple[float, int, int]] = []
    for number in range(SEGMENTS // burst):
        subflow = rng.randrange(subflows)
        stall = 10 * subflows if rng.random() < STALLS else 0
        ready[subflow] = max(ready[subflow], number + delay[subflow] + rng.random() + stall)
        arrivals.append((ready[subflow], number, subflow))
    arrivals.sort()
    order = [(number * burst + i, subflow) for _, number, subflow in arrivals for i in range(burst)]
    starts = np.array([(FIRST + index * SEGMENT_BYTES) % 2**64 for index, _ in order], dtype=np.uint64)
    ends = starts + np.uint64(SEGMENT_BYTES)
    return Trace(starts, ends, np.array([subflow for _, subflow in order], dtype=np.uint8))


def receive(queue: ReorderQueue, segments: Trace) -> int:
    return queue.receive_many(FIRST, segments.starts, segments.ends, segments.subflows)


@cache
def most_bytes(subflows: int, burst: int) -> int:
    """Return the most bytes that were ever out of order, by a model that knows nothing of queues."""
    waiting: set[int] = set()
    expected, most = FIRST, 0
    for start in trace(subflows, burst).starts.tolist():
        waiting.add(start)
        while expected in waiting:
            waiting.remove(expected)
            expected = (expected + SEGMENT_BYTES) % 2**64
        most = max(most, len(waiting))
    return most * SEGMENT_BYTES


@pytest.mark.parametrize("burst", [1, 8, 64])
@pytest.mark.parametrize("subflows", [2, 4, 8, 16, 32])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_receive(benchmark: BenchmarkFixture, algorithm: str, subflows: int, burst: int) -> None:
    segments = trace(subflows, burst)
    queue = ReorderQueue(algorithm, SEGMENTS)
    assert receive(queue, segments) == LAST
    stats = queue.stats()
    assert (stats["nodes"], stats["bytes"], stats["duplicates"]) == (0, 0, 0)
    assert stats["max_bytes"] == most_bytes(subflows, burst)

    benchmark.group = f"{subflows} subflows, bursts of {burst}"
    benchmark.extra_info["out_of_order"] = round(stats["inserts"] / SEGMENTS, 3)
    benchmark.extra_info["hit_rate"] = round(stats["hits"] / max(1, stats["inserts"]), 3)
    benchmark.extra_info["steps_per_insert"] = round(stats["steps"] / max(1, stats["inserts"]), 2)
    benchmark.extra_info["max_nodes"] = stats["max_nodes"]
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        receive,
        setup=lambda: ((ReorderQueue(algorithm, SEGMENTS), segments), {}),
        rounds=5,
        warmup_rounds=1,
    )
    if benchmark.stats is not None:
        benchmark.extra_info["ns_per_segment"] = round(benchmark.stats.stats.min * 1e9 / SEGMENTS, 1)
