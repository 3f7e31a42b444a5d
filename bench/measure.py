"""One way to time for all benchmarks: short rounds, the fastest counts, numbers for each packet beside it."""

import time
from collections.abc import Callable

from pytest_benchmark.fixture import BenchmarkFixture

ROUND_S = 0.004
ROUNDS = 15


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
    seconds = benchmark.stats.stats.min
    benchmark.extra_info["ns_per_packet"] = round(seconds * 1e9 / packets, 1)
    benchmark.extra_info["packets_per_s"] = round(packets / seconds)
    if size:
        benchmark.extra_info["GB_per_s"] = round(size / seconds / 1e9, 2)
