"""The host's TCP has no reason to send again what mpcore has taken (RFC 8684 §3.3.6)."""

from __future__ import annotations

import pytest

from mpcore.counters import Counter
from mpcore.endpoint import Endpoint
from mpcore.sim import LinkPlan, LinkSettings, run_transfer
from tests.helpers.pair import MS
from tests.sim.test_carriers import holding

SEGMENT = 1420
SIZE = 15_000_000  # more than ten thousand segments
CLEAN = LinkSettings(rate_bps=100_000_000, delay_ns=5 * MS, queue_bytes=200_000)
FAR = LinkSettings(rate_bps=100_000_000, delay_ns=150 * MS, queue_bytes=2_000_000)
LOSSY = LinkSettings(rate_bps=100_000_000, delay_ns=5 * MS, queue_bytes=200_000, loss=0.002)


@pytest.mark.parametrize("link", [CLEAN, LOSSY, FAR], ids=["clean", "lossy", "far"])
def test_less_than_one_segment_of_ten_thousand_is_sent_again_by_the_socket(link: LinkSettings) -> None:
    result = run_transfer(
        [LinkPlan(settings=link), LinkPlan(settings=link)],
        up_bytes=SIZE,
        client_endpoint=holding(),
        server_endpoint=holding(),
        carriers=True,
    )
    assert result.ok
    endpoint = result.network.nodes["client"].endpoint
    assert isinstance(endpoint, Endpoint)
    again = endpoint.counters()[Counter.HOST_RETRANSMIT.mib]
    assert again * 10_000 < SIZE // SEGMENT
