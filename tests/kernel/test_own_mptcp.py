"""Programs of mpcore's host that speak MPTCP themselves: their connections and joins are their kernel's."""

import pytest

from mpcore.lab.topology import Lab
from mpcore.wire.values import MpJoinSyn, TcpFlag
from tests.helpers.netns import nstat_delta
from tests.kernel.forger import forging
from tests.kernel.support import Daemon, connect, exchange_both

pytestmark = pytest.mark.kernel

JOIN_PORT = 5555
STRANGE_TOKEN = 0xDEADBEEF


@pytest.fixture(autouse=True)
def endpoints(hosts: Lab) -> None:
    """Let the kernel of host `a` join from its second address."""
    hosts.a.ip("mptcp", "endpoint", "flush")
    hosts.a.ip("mptcp", "endpoint", "add", *second_address(hosts), "subflow")


def second_address(hosts: Lab) -> tuple[str, ...]:
    """Return the words by which `ip mptcp` knows the second address of host `a`."""
    second = hosts.links[1]
    return second.address(hosts.a), "dev", second.interface


def test_they_are_left_alone(hosts: Lab, daemon: Daemon) -> None:
    in_a, in_b = nstat_delta(hosts.a), nstat_delta(hosts.b)
    daemon.mark()
    exchange_both(connect(hosts, client_mptcp=True, server_mptcp=True), 3_000_001, 3_000_001)
    assert in_a()["MPTcpExtMPCapableSYNACKRX"] == in_b()["MPTcpExtMPCapableACKRX"] == 1
    assert in_a()["MPTcpExtMPJoinSynAckRx"] == in_b()["MPTcpExtMPJoinAckRx"] >= 1
    moved = daemon.moved()
    # how far the peer's own joins have come is not the test's to know
    seen = moved["MpcoreExtPacketsFromHost"] + moved.get("MpcoreExtPacketsFromNetwork", 0)
    assert moved["MpcoreExtLeft"] == seen
    assert daemon.connections() == []


def test_joins_with_tokens_that_mpcore_does_not_know_are_the_kernels(hosts: Lab, daemon: Daemon) -> None:
    """RFC 8684 §3.2: only who has all tokens may call one unknown."""
    hosts.a.ip("mptcp", "endpoint", "add", *second_address(hosts), "signal", "port", str(JOIN_PORT))
    exchange_both(connect(hosts, client_mptcp=True, server_mptcp=True), 1000, 1000)
    moved = nstat_delta(hosts.a)
    daemon.mark()
    with forging(hosts, JOIN_PORT) as forger:
        forger.send(1000, 0, TcpFlag.SYN.value, MpJoinSyn(STRANGE_TOKEN, 1, 2))
        assert forger.hear().flags & TcpFlag.RST
    assert moved()["MPTcpExtMPJoinNoTokenFound"] == 1
    assert "MPTcpExtMPJoinNoTokenFound" not in daemon.moved()
