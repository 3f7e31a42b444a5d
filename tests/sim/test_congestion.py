"""Congestion controls over emulated links: use, coupling, growth after a loss (RFC 6356, 9438, 9406)."""

from __future__ import annotations

from random import Random

import pytest

from mpcore.config import load_config
from mpcore.endpoint import Endpoint, connections_of
from mpcore.sim import EndpointFactory, LinkPlan, LinkSettings, TcpSettings, run_transfer
from tests.helpers.pair import MS, SECOND

CONTROLS = ("lia", "reno", "cubic")


def using(control: str, made: list[Endpoint] | None = None) -> EndpointFactory:
    def make(rng: Random, now_ns: int) -> Endpoint:
        endpoint = Endpoint(load_config(None, [f"mptcp.congestion={control}"]), rng=rng, now_ns=now_ns)
        if made is not None:
            made.append(endpoint)
        return endpoint

    return make


def plan(rate_mbit: int, delay_ms: int, queue_ms: int) -> LinkPlan:
    rate = rate_mbit * 1_000_000
    return LinkPlan(
        settings=LinkSettings(rate_bps=rate, delay_ns=delay_ms * MS, queue_bytes=rate // 8 * queue_ms // 1000)
    )


@pytest.mark.parametrize("control", CONTROLS)
def test_two_links_are_filled(control: str) -> None:
    links = [plan(20, 10, 30), plan(20, 10, 30)]
    result = run_transfer(
        links, up_bytes=6_000_000, client_endpoint=using(control), server_endpoint=using(control)
    )
    assert result.ok
    assert result.up.goodput_bps > 0.75 * 40_000_000


@pytest.mark.parametrize("control", CONTROLS)
def test_slow_start_ends_before_the_queue_overflows(control: str) -> None:
    """RFC 9406 §4.2: a rising round trip ends slow start; a deep queue then loses nothing."""
    result = run_transfer(
        [plan(50, 20, 200)],
        up_bytes=4_000_000,
        client_endpoint=using(control),
        server_endpoint=using(control),
    )
    assert result.ok
    assert result.links["link0>"].dropped_queue == 0


@pytest.mark.parametrize("control", CONTROLS)
def test_a_train_of_packets_does_not_end_slow_start(control: str) -> None:
    """RFC 9406 §4.2: what only queues behind itself is no full queue; pacing keeps it from doing so."""
    result = run_transfer(
        [plan(10, 150, 300)],
        up_bytes=2_500_000,
        client_endpoint=using(control),
        server_endpoint=using(control),
        client_tcp=TcpSettings(send_buffer_bytes=1 << 22),
        server_tcp=TcpSettings(receive_buffer_bytes=1 << 22),
    )
    assert result.ok
    assert result.up.goodput_bps > 0.35 * 10_000_000


def test_cubic_regains_its_window_faster_than_reno() -> None:
    """RFC 9438 §4.2: on a long fat path the cubic outgrows one segment a round trip."""
    goodput = {}
    for control in ("reno", "cubic"):
        result = run_transfer(
            [plan(40, 60, 10)],
            up_bytes=25_000_000,
            client_endpoint=using(control),
            server_endpoint=using(control),
            limit_ns=200 * SECOND,
        )
        assert result.ok
        goodput[control] = result.up.goodput_bps
    assert goodput["cubic"] > 1.05 * goodput["reno"]


def test_windows_of_a_connection_are_seen() -> None:
    made: list[Endpoint] = []
    windows: list[int] = []
    result = run_transfer(
        [plan(20, 10, 30), plan(20, 10, 30)],
        up_bytes=2_000_000,
        client_endpoint=using("lia", made),
        server_endpoint=using("lia"),
        script=[(400 * MS, lambda network: windows.extend(_windows(made[0])))],
    )
    assert result.ok
    assert len(windows) >= 2
    assert all(window >= 2 * 1420 for window in windows)


def _windows(endpoint: Endpoint) -> list[int]:
    (connection,) = connections_of(endpoint)
    described = endpoint.engine.describe(connection.handle)
    assert described is not None
    return [subflow["cwnd"] for subflow in described["subflows"]]
