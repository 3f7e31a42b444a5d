"""Schedulers: where data goes when the program gives less than the paths could carry."""

from __future__ import annotations

from random import Random

from mpcore.config import load_config
from mpcore.endpoint import Endpoint
from mpcore.sim import LinkPlan, LinkSettings, TcpSettings, run_transfer
from tests.helpers.pair import MS, SECOND


def endpoint(rng: Random, now_ns: int) -> Endpoint:
    return Endpoint(load_config(None, ["mptcp.path_manager=fullmesh"]), rng=rng, now_ns=now_ns)


def test_a_path_that_once_had_a_queue_is_used_again() -> None:
    """Its smoothed round trip is old news: one link must not fill its queue while the other one idles."""
    link = LinkSettings(rate_bps=20_000_000, delay_ns=MS, queue_bytes=400_000)
    result = run_transfer(
        [LinkPlan(settings=link), LinkPlan(settings=link)],
        up_bytes=6_000_000,
        client_endpoint=endpoint,
        server_endpoint=endpoint,
        client_tcp=TcpSettings(send_buffer_bytes=100_000),
        limit_ns=60 * SECOND,
    )
    assert result.ok
    assert result.up.goodput_bps > 1.6 * link.rate_bps
    carried = [result.links[f"link{index}>"].delivered_bytes for index in (0, 1)]
    assert min(carried) > 0.3 * sum(carried)
