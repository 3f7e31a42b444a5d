"""The host's super-packets as carriers: same bytes, same rules, fewer packets (RFC 8684 §3.3.1)."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from mpcore.config import load_config
from mpcore.endpoint import Endpoint
from mpcore.sim import LinkPlan, LinkSettings, TransferResult, cut, run_transfer
from mpcore.wire.values import Dss
from tests.helpers.pair import MS, SECOND

FAST = LinkSettings(rate_bps=50_000_000, delay_ns=5 * MS, queue_bytes=200_000)
LOSSY = replace(FAST, loss=0.01, reorder=0.01, reorder_ns=3 * MS, duplicate=0.005)
SIZE = 3_000_001


def holding(*settings: str):  # type: ignore[no-untyped-def]
    """Return a factory of endpoints that hold carriers."""

    def make(rng: Random, now_ns: int) -> Endpoint:
        endpoint = Endpoint(load_config(None, settings), rng=rng, now_ns=now_ns)
        endpoint.engine.hold_carriers(1000)
        return endpoint

    return make


def transfer(link: LinkSettings, *settings: str, **changes: object) -> TransferResult:
    return run_transfer(
        [LinkPlan(settings=link), LinkPlan(settings=link)],
        client_endpoint=holding(*settings),
        server_endpoint=holding(*settings),
        carriers=True,
        **{"up_bytes": SIZE, "down_bytes": SIZE // 3, **changes},  # type: ignore[arg-type]
    )


def carried(result: TransferResult) -> int:
    return result.network.nodes["client"].counters["carried"]


def assert_nothing_held(result: TransferResult) -> None:
    for node in result.network.nodes.values():
        assert not node._held, "a packet of the host was neither sent nor dropped"


@pytest.mark.parametrize("settings", [(), ("mptcp.checksum=true",), ("mptcp.scheduler=round-robin",)])
@pytest.mark.parametrize("link", [FAST, LOSSY], ids=["clean", "lossy"])
def test_bytes_arrive_whole_in_carriers(link: LinkSettings, settings: tuple[str, ...]) -> None:
    result = transfer(link, *settings)
    assert result.ok
    assert carried(result) > 20
    assert_nothing_held(result)


def test_most_data_travels_in_carriers() -> None:
    result = transfer(FAST, down_bytes=0)
    assert result.ok
    assert carried(result) * 20_000 > SIZE
    assert result.network.nodes["client"].counters["transmitted"] < SIZE // 1420 // 2


def test_carriers_end_with_their_link() -> None:
    """What a dead path swallowed is sent again elsewhere, whatever carried it (RFC 8684 §3.3.6)."""
    result = transfer(FAST, script=[(300 * MS, cut("link0"))], limit_ns=60 * SECOND)
    assert result.ok
    assert_nothing_held(result)


def test_segments_of_a_carrier_repeat_one_mapping() -> None:
    """RFC 8684 §3.3.1: a mapping may span segments; a repeat, also of one segment, declares the same one."""
    result = transfer(LOSSY, down_bytes=0)
    assert result.ok
    mappings: dict[tuple[bytes, int, int], int] = {}
    spanning = 0
    for segment in result.network.trace.segments("send", "link"):
        option = segment.find(Dss)
        if option is None or option.data_seq is None or not segment.payload:
            continue
        key = (segment.src, segment.src_port, option.subflow_seq or 0)
        assert mappings.setdefault(key, option.data_len or 0) == option.data_len
        spanning += option.data_len > len(segment.payload)
    assert spanning > 100
