"""The two ways to time that all benchmarks share: the fastest round counts.

So a busy machine disturbs a few rounds and not the result. Both put into `extra_info` what the report shows:
ns_per_packet, packets_per_s and, with a size, GB_per_s. With --benchmark-disable everything runs once.
"""

import time
from collections.abc import Callable
from itertools import repeat
from typing import Any, TypeVar

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
    name: str | None = None,
) -> None:
    """Time `function`, which handles `packets` packets of `size` bytes in all, and was tried before.

    It is called as often as fills a round, which is shorter than a time slice. `group` is the line of the
    report, `name` who it is there where the parameters of the test do not say it.
    """
    iterations = 1
    if not benchmark.disabled:
        start = time.perf_counter()
        function()
        iterations = max(1, int(ROUND_S / max(1e-9, time.perf_counter() - start)))
    rounds(
        benchmark,
        group,
        function,
        rounds=ROUNDS,
        iterations=iterations,
        packets=packets,
        size=size,
        name=name,
    )


def rounds(
    benchmark: BenchmarkFixture,
    group: str,
    function: Callable[..., object],
    *,
    packets: int,
    size: int = 0,
    name: str | None = None,
    warmup_rounds: int = 1,
    **pedantic: Any,
) -> None:
    """Time `function` as `benchmark.pedantic` does with these options; all else as in `measure`."""
    benchmark.group = group
    if name is not None:
        benchmark.extra_info["name"] = name
    benchmark.pedantic(function, warmup_rounds=warmup_rounds, **pedantic)  # type: ignore[no-untyped-call]
    if benchmark.stats is None:
        return
    seconds = benchmark.stats.stats.min
    benchmark.extra_info["ns_per_packet"] = round(seconds * 1e9 / packets, 1)
    benchmark.extra_info["packets_per_s"] = round(packets / seconds)
    if size:
        benchmark.extra_info["GB_per_s"] = round(size / seconds / 1e9, 2)
