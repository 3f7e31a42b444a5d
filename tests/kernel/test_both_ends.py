"""mpcore on both hosts, programs with plain TCP sockets: the kernels' MPTCP has no part in it."""

import pytest

from mpcore.lab.topology import Lab
from tests.kernel.support import (
    Daemon,
    connect,
    exchange_both,
    link_bytes,
    sizes,
    versions,
    wait_for_nothing,
)

pytestmark = pytest.mark.kernel

MEGABYTES_50 = 50_000_000


@versions
@sizes
def test_every_size_arrives_both_ways(
    hosts: Lab, daemon: Daemon, peer: Daemon, version: int, upload: int, download: int
) -> None:
    daemon.mark()
    peer.mark()
    exchange_both(connect(hosts, version=version), upload, download)
    assert daemon.moved()["MPTcpExtMPCapableSYNACKRX"] == 1
    assert peer.moved()["MPTcpExtMPCapableACKRX"] == 1
    assert "MpcoreExtLeft" not in daemon.moved()
    assert "MpcoreExtLeft" not in peer.moved()


@versions
def test_a_long_transfer_uses_both_links(hosts: Lab, daemon: Daemon, peer: Daemon, version: int) -> None:
    peer.mark()
    before = link_bytes(hosts)
    exchange_both(connect(hosts, version=version), MEGABYTES_50, MEGABYTES_50)
    carried = [after - earlier for earlier, after in zip(before, link_bytes(hosts), strict=True)]
    assert min(carried) > MEGABYTES_50 // 5, carried
    assert peer.moved()["MPTcpExtMPJoinAckRx"] >= 1


def test_nothing_stays_behind(hosts: Lab, daemon: Daemon, peer: Daemon) -> None:
    """RFC 8684 §3.3.3: a connection that both sides closed is over, for the programs' sockets too."""
    exchange_both(connect(hosts), 200_000, 200_000)
    exchange_both(connect(hosts, to_a=True), 200_000, 200_000)
    wait_for_nothing(daemon, peer)


def test_joins_end_with_their_connection(hosts: Lab, daemon: Daemon, peer: Daemon) -> None:
    """RFC 8684 §3.2: the peer has no token any more that a later join could name."""
    wait_for_nothing(daemon, peer)
    daemon.mark()
    peer.mark()
    for _ in range(3):
        exchange_both(connect(hosts), 500_000, 500_000)
    wait_for_nothing(daemon, peer)
    assert "MPTcpExtMPJoinNoTokenFound" not in peer.moved()
    assert daemon.moved()["MPTcpExtMPJoinSynTx"] == peer.moved()["MPTcpExtMPJoinSynRx"]
