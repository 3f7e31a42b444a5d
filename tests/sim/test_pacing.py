"""What pacing is worth where queues are short or paths unlike: fewer losses, and more of the links used."""

from __future__ import annotations

from random import Random

import pytest

from mpcore.config import load_config
from mpcore.endpoint import Endpoint
from mpcore.sim import LinkPlan, LinkSettings, TransferResult, run_transfer
from tests.helpers.pair import MS


def using(pacing: bool):  # type: ignore[no-untyped-def]
    """Return a factory of endpoints that hold super-packets, as the daemon does."""

    def make(rng: Random, now_ns: int) -> Endpoint:
        words = ["mptcp.congestion=reno", f"mptcp.pacing={str(pacing).lower()}"]
        endpoint = Endpoint(load_config(None, words), rng=rng, now_ns=now_ns)
        endpoint.engine.hold_carriers(1000)
        return endpoint

    return make


def plan(rate_mbit: int, delay_ms: int, queue_ms: int) -> LinkPlan:
    rate = rate_mbit * 1_000_000
    return LinkPlan(
        settings=LinkSettings(rate_bps=rate, delay_ns=delay_ms * MS, queue_bytes=rate // 8 * queue_ms // 1000)
    )


def upload(links: list[LinkPlan], size: int, pacing: bool) -> TransferResult:
    result = run_transfer(
        links, up_bytes=size, client_endpoint=using(pacing), server_endpoint=using(True), carriers=True
    )
    assert result.ok
    return result


@pytest.mark.parametrize(
    ("links", "size", "least_mbit"),
    [
        ([plan(50, 10, 5), plan(50, 10, 5)], 8_000_000, 55),
        ([plan(100, 5, 10), plan(20, 30, 10)], 12_000_000, 70),
        ([plan(20, 50, 10), plan(20, 50, 10)], 6_000_000, 14),
    ],
    ids=["short-queues", "unlike-paths", "long-paths"],
)
def test_pacing_uses_more_of_the_links(links: list[LinkPlan], size: int, least_mbit: int) -> None:
    plain, paced = (upload(links, size, pacing).up.goodput_bps for pacing in (False, True))
    print(f"Mbit/s without pacing {plain / 1e6:.1f}, with it {paced / 1e6:.1f}")
    assert paced > max(plain, least_mbit * 1_000_000), (plain, paced)


def test_a_queue_of_half_a_round_trip_loses_nothing_on_unlike_paths() -> None:
    result = upload([plan(100, 5, 50), plan(20, 30, 50)], 6_000_000, pacing=True)
    assert [link.dropped_queue for link in result.links.values()] == [0, 0, 0, 0]
    assert result.up.goodput_bps > 0.8 * 120_000_000
