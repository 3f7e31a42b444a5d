"""Marks in place of losses, end to end (RFC 3168), on links that mark what finds a long queue."""

from __future__ import annotations

import pytest

from mpcore.counters import Counter
from mpcore.endpoint import Endpoint
from mpcore.sim import LinkPlan, LinkSettings, TcpSettings, TransferResult, run_transfer
from tests.helpers.pair import MS
from tests.sim.test_carriers import holding

ECN = TcpSettings(ecn=True)
MARKING = LinkSettings(rate_bps=20_000_000, delay_ns=10 * MS, queue_bytes=200_000, mark_bytes=50_000)
CE = 3


def transfer(*, client: TcpSettings = ECN, server: TcpSettings = ECN, **changes: object) -> TransferResult:
    return run_transfer(
        [LinkPlan(settings=MARKING), LinkPlan(settings=MARKING)],
        client_endpoint=holding(),
        server_endpoint=holding(),
        client_tcp=client,
        server_tcp=server,
        **{"up_bytes": 6_000_000, **changes},  # type: ignore[arg-type]
    )


def counter(result: TransferResult, node: str, which: Counter) -> int:
    endpoint = result.network.nodes[node].endpoint
    assert isinstance(endpoint, Endpoint)
    return endpoint.counters()[which.mib]


@pytest.mark.parametrize("carriers", [False, True])
def test_marks_take_the_place_of_losses_on_every_subflow(carriers: bool) -> None:
    """RFC 3168 §1: the queue stays short, nothing is lost, nothing is sent again, and the rate is kept."""
    result = transfer(carriers=carriers)
    assert result.ok
    assert result.up.goodput_bps > 0.8 * 40_000_000
    for name in ("link0>", "link1>"):
        assert result.links[name].marked > 0
        assert result.links[name].dropped_queue == 0
    assert counter(result, "server", Counter.CE_RX) == sum(pipe.marked for pipe in result.links.values())
    assert counter(result, "client", Counter.ECN_REDUCED) > 1
    assert counter(result, "client", Counter.SUBFLOW_RETRANSMIT) == 0


@pytest.mark.parametrize(("client", "server"), [(TcpSettings(), ECN), (ECN, TcpSettings())])
def test_one_socket_without_ecn_is_enough_to_have_none(client: TcpSettings, server: TcpSettings) -> None:
    """RFC 3168 §6.1.1."""
    result = transfer(client=client, server=server)
    assert result.ok
    assert sum(pipe.marked for pipe in result.links.values()) == 0
    assert counter(result, "server", Counter.CE_RX) == 0
