"""How connections share: equal ones equally (Jain's index), several subflows as one TCP (RFC 6356 §1)."""

from __future__ import annotations

from random import Random
from statistics import mean

import pytest

from mpcore.config import load_config
from mpcore.endpoint import Endpoint
from mpcore.sim import CompetitionResult, Contender, LinkPlan, LinkSettings, TcpSettings, compete, jain_index
from mpcore.sim.scenario import EndpointFactory
from tests.helpers.pair import MS, SECOND

PACKET = 1500
SOCKET = TcpSettings(send_buffer_bytes=1 << 21, receive_buffer_bytes=1 << 21)


def using(control: str) -> EndpointFactory:
    return lambda rng, now_ns: _endpoint(control, rng, now_ns)


def _endpoint(control: str, rng: Random, now_ns: int) -> Endpoint:
    return Endpoint(load_config(None, [f"mptcp.congestion={control}"]), rng=rng, now_ns=now_ns)


def contender(control: str, rtt_ms: int, *over: int) -> Contender:
    """Half of the delay is in the access link, whose jitter keeps flows from losing in step."""
    return Contender(
        over=over or (0,),
        access=LinkPlan(settings=LinkSettings(delay_ns=rtt_ms * MS // 4, jitter_ns=MS)),
        client_endpoint=using(control),
        server_endpoint=using(control),
        tcp=SOCKET,
    )


def bottleneck(rtt_ms: int, packets: int) -> LinkPlan:
    """`packets` fit into a round trip, and as many again into the queue."""
    return LinkPlan(
        settings=LinkSettings(
            rate_bps=packets * PACKET * 8 * 1000 // rtt_ms,
            delay_ns=rtt_ms * MS // 4,
            queue_bytes=packets * PACKET,
        )
    )


def run(
    rtt_ms: int, packets: list[int], contenders: list[Contender], *, rounds: int, seed: int
) -> CompetitionResult:
    """Compete for `rounds` round trips after a hundred others; the bottlenecks must have been used."""
    result = compete(
        [bottleneck(rtt_ms, each) for each in packets],
        contenders,
        seed=seed,
        start_within_ns=5 * rtt_ms * MS,
        warm_ns=100 * rtt_ms * MS,
        measure_ns=rounds * rtt_ms * MS,
    )
    capacity = sum(packets) * 1420 * 8 * 1000 // rtt_ms
    assert 0.97 * capacity < sum(result.goodput_bps) < 1.03 * capacity
    return result


def equal_flows(control: str, rtt_ms: int, seed: int, rounds: int) -> float:
    """Return Jain's index of three flows with a window of eight packets each, and as many in the queue."""
    result = run(rtt_ms, [24], [contender(control, rtt_ms)] * 3, rounds=rounds, seed=seed)
    return jain_index(result.goodput_bps)


@pytest.mark.parametrize(("rtt_ms", "seed"), [(10, 1), (50, 2)])
@pytest.mark.parametrize("control", ["reno", "cubic"])
def test_equal_flows_share_equally(control: str, rtt_ms: int, seed: int) -> None:
    """Each run by itself, long enough for many losses."""
    assert equal_flows(control, rtt_ms, seed, rounds=400) >= 0.95


def equal_connections(rtt_ms: int, seed: int, *over: int) -> float:
    """Return Jain's index of three connections of two subflows each, by the default congestion control.

    Each subflow has a window of eight packets.
    """
    bottlenecks = [48] if len(set(over)) == 1 else [24, 24]
    result = run(rtt_ms, bottlenecks, [contender("lia", rtt_ms, *over)] * 3, rounds=400, seed=seed)
    return jain_index(result.goodput_bps)


def test_equal_connections_of_two_subflows_share_equally() -> None:
    """RFC 6356 §1: coupled subflows of one take no more than those of another."""
    assert equal_connections(10, 1, 0, 0) >= 0.95


@pytest.mark.full
@pytest.mark.parametrize("over", [(0, 0), (0, 1)], ids=["one bottleneck", "two"])
def test_equal_connections_of_two_subflows_share_equally_at_length(over: tuple[int, int]) -> None:
    indices = [equal_connections(rtt_ms, seed, *over) for rtt_ms, seed in [(10, 1), (50, 1), (50, 2)]]
    assert mean(indices) >= 0.95, indices
    assert min(indices) >= 0.9, indices


@pytest.mark.full
@pytest.mark.parametrize("rtt_ms", [10, 50, 200])
@pytest.mark.parametrize("control", ["reno", "cubic"])
def test_equal_flows_share_equally_at_length(control: str, rtt_ms: int) -> None:
    indices = [equal_flows(control, rtt_ms, seed, rounds=700) for seed in range(1, 6)]
    assert mean(indices) >= 0.95, indices
    assert min(indices) >= 0.9, indices


def two_subflows_to_one_tcp(control: str, seeds: range, rounds: int) -> float:
    """Return the goodput of two subflows through a bottleneck over that of the plain flow beside them."""
    both = [contender(control, 40, 0, 0), contender("reno", 40)]
    results = [run(40, [24], both, rounds=rounds, seed=seed).goodput_bps for seed in seeds]
    return sum(ours for ours, _ in results) / sum(theirs for _, theirs in results)


def test_two_subflows_through_one_bottleneck_take_the_share_of_one_tcp() -> None:
    """RFC 6356 §1, goal 2. Few losses decide in so short a time; --full shows the mean closer to 1."""
    assert 0.7 < two_subflows_to_one_tcp("lia", range(1, 5), rounds=300) < 1.4


@pytest.mark.full
@pytest.mark.parametrize(("control", "least", "most"), [("lia", 0.8, 1.25), ("reno", 1.6, 2.4)])
def test_coupled_subflows_take_one_share_and_others_two(control: str, least: float, most: float) -> None:
    """RFC 6356 §1."""
    assert least < two_subflows_to_one_tcp(control, range(1, 7), rounds=1000) < most


@pytest.mark.parametrize("packets", [[16, 16], [24, 12]], ids=["equal", "unequal"])
def test_two_bottlenecks_give_at_least_what_the_better_one_gives(packets: list[int]) -> None:
    """RFC 6356 §1, goal 1: one path would get half of the better link beside the flow that is there."""
    rivals = [contender("reno", 40, 0), contender("reno", 40, 1)]
    ours = [
        run(40, packets, [contender("lia", 40, 0, 1), *rivals], rounds=200, seed=seed).goodput_bps[0]
        for seed in range(1, 5)  # few losses decide in each
    ]
    best = max(packets) * 1420 * 8 * 1000 // 40 / 2
    assert mean(ours) > 0.95 * best, ours
    assert mean(ours) < 1.5 * best, "and it leaves the rivals theirs"


def test_plain_hosts_compete_too_and_a_seed_repeats() -> None:
    plan = bottleneck(20, 20)

    def once(seed: int) -> CompetitionResult:
        pairs = [Contender(), Contender(over=(0, 0))]
        return compete([plan], pairs, seed=seed, warm_ns=SECOND // 5, measure_ns=SECOND)

    first, again, other = once(1), once(1), once(2)
    assert first.goodput_bps == again.goodput_bps != other.goodput_bps
    assert min(first.goodput_bps) > 0
    assert first.bottlenecks[0].dropped_queue > 0
    assert first.network.trace.records == []


@pytest.mark.parametrize(
    ("shares", "index"), [([1, 1, 1], 1.0), ([3, 0, 0], 1 / 3), ([2, 1], 0.9), ([], 1.0), ([0, 0], 1.0)]
)
def test_jains_index(shares: list[float], index: float) -> None:
    assert jain_index(shares) == pytest.approx(index)
