"""Links against arithmetic."""

import math

import pytest

from mpcore.sim import rng
from mpcore.sim.clock import Clock
from mpcore.sim.link import Link, LinkSettings, Pipe, PipeStatistics
from mpcore.sim.trace import Trace

PACKET = bytes(1000)


class Bench:
    """One pipe, and what comes out of it with the time."""

    def __init__(self, seed: int = 1, **settings: float | None) -> None:
        self.clock = Clock()
        self.out: list[tuple[int, bytes]] = []
        self.pipe = Pipe(
            "pipe",
            LinkSettings(**settings),  # type: ignore[arg-type]
            clock=self.clock,
            rng=rng.stream(seed, "pipe"),
            trace=Trace(self.clock),
            receive=lambda data: self.out.append((self.clock.now_ns, data)),
        )

    @property
    def statistics(self) -> PipeStatistics:
        return self.pipe.statistics

    def send(self, count: int, *, gap_ns: int = 0) -> None:
        for index in range(count):
            data = index.to_bytes(4, "big") + PACKET[4:]
            self.clock.call_at(index * gap_ns, lambda data=data: self.pipe.send(data))
        self.clock.run()

    def order(self) -> list[int]:
        return [int.from_bytes(data[:4], "big") for _, data in self.out]


def conserved(statistics: PipeStatistics) -> bool:
    fates = (
        statistics.delivered
        + statistics.lost
        + statistics.dropped_queue
        + statistics.dropped_mtu
        + statistics.dropped_down
    )
    return statistics.sent + statistics.duplicated == fates


def test_rate_and_delay_are_exact() -> None:
    bench = Bench(rate_bps=8_000_000, delay_ns=7_000_000)
    bench.send(3)
    assert [time for time, _ in bench.out] == [8_000_000, 9_000_000, 10_000_000]


def test_without_a_rate_only_the_delay_counts() -> None:
    bench = Bench(delay_ns=5)
    bench.send(3)
    assert [time for time, _ in bench.out] == [5, 5, 5]
    assert bench.order() == [0, 1, 2]


def test_the_queue_limit_counts_bytes_waiting() -> None:
    bench = Bench(rate_bps=8_000_000, queue_bytes=3000)
    bench.send(5)
    assert bench.order() == [0, 1, 2]
    assert bench.statistics.dropped_queue == 2


def test_the_queue_drains_with_time() -> None:
    bench = Bench(rate_bps=8_000_000, queue_bytes=1000)
    bench.send(5, gap_ns=1_000_000)
    assert bench.statistics.delivered == 5


def test_a_packet_above_the_mtu_is_dropped() -> None:
    bench = Bench(mtu=999)
    bench.send(1)
    assert (bench.statistics.dropped_mtu, bench.out) == (1, [])


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5])
@pytest.mark.parametrize(
    ("setting", "counter"), [("loss", "lost"), ("duplicate", "duplicated"), ("reorder", "reordered")]
)
def test_chance_meets_its_probability(setting: str, counter: str, share: float) -> None:
    count = 4000
    bench = Bench(**{setting: share})
    bench.send(count)
    deviation = math.sqrt(count * share * (1 - share))
    assert abs(getattr(bench.statistics, counter) - count * share) < 4 * deviation
    assert conserved(bench.statistics)


def test_held_back_packets_are_overtaken() -> None:
    bench = Bench(reorder=0.1, reorder_ns=5_000_000)
    bench.send(200, gap_ns=1_000_000)
    assert sorted(bench.order()) == list(range(200))
    assert bench.order() != list(range(200))


def test_jitter_alone_never_reorders() -> None:
    bench = Bench(delay_ns=1_000_000, jitter_ns=10_000_000)
    bench.send(500, gap_ns=100_000)
    assert bench.order() == list(range(500))
    delays = [time - index * 100_000 for index, (time, _) in enumerate(bench.out)]
    assert min(delays) >= 1_000_000
    assert max(delays) <= 11_000_000 + 10_000_000


def test_a_cut_loses_what_is_under_way_and_what_comes() -> None:
    bench = Bench(delay_ns=10)
    link = Link("link", bench.pipe, bench.pipe)
    bench.clock.call_at(0, lambda: bench.pipe.send(PACKET))
    bench.clock.call_at(5, link.cut)
    bench.clock.call_at(6, lambda: bench.pipe.send(PACKET))
    bench.clock.call_at(20, link.restore)
    bench.clock.call_at(21, lambda: bench.pipe.send(PACKET))
    bench.clock.run()
    assert [time for time, _ in bench.out] == [31]
    assert bench.statistics.dropped_down == 2
    assert conserved(bench.statistics)


def test_the_same_seed_gives_the_same_fates_and_another_seed_others() -> None:
    orders = []
    for seed in (1, 1, 2):
        bench = Bench(seed, loss=0.3, duplicate=0.2, reorder=0.2)
        bench.send(100, gap_ns=1000)
        orders.append(bench.order())
    assert orders[0] == orders[1] != orders[2]
