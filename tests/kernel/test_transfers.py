"""mpcore on one host, the kernel's MPTCP on the other: all arrives, by all paths, and nothing stays."""

from collections.abc import Iterator

import pytest

from mpcore.lab.topology import Lab
from tests.helpers.netns import nstat_delta
from tests.kernel.support import (
    Daemon,
    connect,
    exchange_both,
    fallbacks,
    kernel_peer,
    link_bytes,
    roles,
    sizes,
    versions,
    wait_for_nothing,
    wait_until,
)

pytestmark = pytest.mark.kernel

MEGABYTES_50 = 50_000_000


@pytest.fixture
def checksums(hosts: Lab) -> Iterator[None]:
    hosts.b.sysctl("net.mptcp.checksum_enabled", 1)
    yield
    hosts.b.sysctl("net.mptcp.checksum_enabled", 0)


def handshakes(to_a: bool) -> str:
    """The kernel's counter of handshakes that ended well, in the role that mpcore leaves to it."""
    return "MPTcpExtMPCapableSYNACKRX" if to_a else "MPTcpExtMPCapableACKRX"


def joins(to_a: bool) -> str:
    return "MPTcpExtMPJoinSynAckRx" if to_a else "MPTcpExtMPJoinAckRx"


@roles
@versions
@sizes
def test_every_size_arrives_both_ways(
    hosts: Lab, daemon: Daemon, to_a: bool, version: int, upload: int, download: int
) -> None:
    moved = nstat_delta(hosts.b)
    exchange_both(connect(hosts, version=version, **kernel_peer(to_a)), upload, download)
    assert moved()[handshakes(to_a)] == 1
    assert fallbacks(moved()) == {}


@pytest.mark.parametrize(("version", "to_a"), [(4, False), (6, True)])
def test_a_long_transfer_uses_both_links(hosts: Lab, daemon: Daemon, to_a: bool, version: int) -> None:
    moved = nstat_delta(hosts.b)
    before = link_bytes(hosts)
    exchange_both(connect(hosts, version=version, **kernel_peer(to_a)), MEGABYTES_50, MEGABYTES_50)
    carried = [after - earlier for earlier, after in zip(before, link_bytes(hosts), strict=True)]
    assert min(carried) > MEGABYTES_50 // 5, carried
    assert moved()[joins(to_a)] >= 1
    assert fallbacks(moved()) == {}


@roles
@versions
def test_checksums_that_the_kernel_wants(
    hosts: Lab, daemon: Daemon, checksums: None, to_a: bool, version: int
) -> None:
    moved = nstat_delta(hosts.b)
    pair = connect(hosts, version=version, **kernel_peer(to_a))
    # Only data shows the client's key to the server, and with it the connection.
    pair.client.sendall(b"x")
    assert pair.server.recv(1) == b"x"
    wait_until(lambda: bool(daemon.connections()), "the connection")
    assert all(each["checksum"] for each in daemon.connections() if each["state"] == "M_ESTABLISHED")
    exchange_both(pair, 2_000_003, 2_000_003)
    assert fallbacks(moved()) == {}
    assert moved()[joins(to_a)] >= 1


@roles
def test_nothing_stays_behind(hosts: Lab, daemon: Daemon, to_a: bool) -> None:
    """RFC 8684 §3.3.3: a connection that both sides closed is over, for the programs' sockets too."""
    exchange_both(connect(hosts, **kernel_peer(to_a)), 200_000, 200_000)
    wait_for_nothing(daemon)


def test_joins_end_with_their_connection(hosts: Lab, daemon: Daemon) -> None:
    """RFC 8684 §3.2: the peer has no token any more that a later join could name."""
    wait_for_nothing(daemon)
    moved = nstat_delta(hosts.b)
    daemon.mark()
    for _ in range(3):
        exchange_both(connect(hosts, **kernel_peer(False)), 500_000, 500_000)
    wait_for_nothing(daemon)
    assert "MPTcpExtMPJoinNoTokenFound" not in moved()
    assert moved()["MPTcpExtMPJoinSynRx"] == daemon.moved()["MPTcpExtMPJoinSynTx"]
