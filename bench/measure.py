"""One way to time for all benchmarks: many rounds shorter than a time slice, of which the fastest counts.

So a busy machine disturbs a few rounds and not the result.
"""

import time
from collections.abc import Callable
from itertools import repeat
from typing import TypeVar

from pytest_benchmark.fixture import BenchmarkFixture

ROUND_S = 0.0004
ROUNDS = 150
CALLS = 100

T = TypeVar("T")


def calls(function: Callable[[T], object], argument: T) -> Callable[[], None]:
    """Return a function that makes CALLS calls in a loop that costs little; `packets` is CALLS then."""

    def loop() -> None:
        for _ in repeat(None, CALLS):
            function(argument)

    return loop


def measure(
    benchmark: BenchmarkFixture,
    group: str,
    function: Callable[[], object],
    *,
    packets: int = 1,
    size: int = 0,
) -> None:
    """Time `function`, which handles `packets` packets of `size` bytes in all, and was tried before.

    `extra_info` gets ns_per_packet, packets_per_s and, with a size, GB_per_s. With --benchmark-disable the
    function runs once.
    """
    benchmark.group = group
    if benchmark.disabled:
        benchmark(function)
        return
    start = time.perf_counter()
    function()
    iterations = max(1, int(ROUND_S / max(1e-9, time.perf_counter() - start)))
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        function, rounds=ROUNDS, iterations=iterations, warmup_rounds=1
    )
    describe(benchmark, packets, size)


def describe(benchmark: BenchmarkFixture, packets: int, size: int = 0) -> None:
    """Put the numbers for each packet into `extra_info`."""
    assert benchmark.stats is not None
    seconds = benchmark.stats.stats.min
    benchmark.extra_info["ns_per_packet"] = round(seconds * 1e9 / packets, 1)
    benchmark.extra_info["packets_per_s"] = round(packets / seconds)
    if size:
        benchmark.extra_info["GB_per_s"] = round(size / seconds / 1e9, 2)
