"""Marks of congested routers between mpcore and the kernel, which both obey (RFC 3168)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mpcore.lab.settings import LinkSettings
from mpcore.lab.topology import Lab
from tests.helpers.netns import needs_root, nstat_delta
from tests.kernel.support import connect, exchange_both, kernel_peer, roles, running, wait_until

pytestmark = pytest.mark.kernel

MARKING = LinkSettings(rate_mbit=100, delay_ms=2, mark=0.01)
BYTES = 4_000_000
# Both sides ask for ECN in the way of RFC 3168, which newer kernels no longer do by default.
ECN = ("net.ipv4.tcp_ecn=1",)


@pytest.fixture(scope="module")
def marking() -> Iterator[Lab]:
    """Two emulated links that mark one packet of a hundred."""
    needs_root()
    with Lab((MARKING, MARKING), netem=False) as standing:
        for host in (standing.a, standing.b):
            host.run(["sysctl", "-qw", *ECN])
        standing.b.mptcp_endpoint(standing.links[1].address(standing.b), "link2", "signal")
        yield standing


@roles
def test_marks_are_echoed_and_obeyed_by_both_sides(marking: Lab, tmp_path: Path, to_a: bool) -> None:
    """RFC 3168 §6.1.2, §6.1.3: the kernel's counters witness both directions."""
    with running(marking.a, tmp_path) as daemon:
        moved = nstat_delta(marking.b)
        pair = connect(marking, **kernel_peer(to_a))
        wait_until(lambda: daemon.subflows() == 2, "the second subflow")
        assert all(each["ecn"] for each in daemon.connections()[0]["subflows"])
        exchange_both(pair, BYTES, BYTES)
        ours, theirs = daemon.counters(), moved()
    assert ours["MpcoreExtCeRx"] > 0
    assert theirs["TcpExtTCPDeliveredCE"] > 0, "the kernel believes that its marked data arrived marked"
    assert theirs["IpExtInCEPkts"] > 0
    assert ours["MpcoreExtEcnReduced"] > 0
