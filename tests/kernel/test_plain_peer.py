"""A peer without MPTCP: the connection works, and after its handshake mpcore sees no packet of it."""

from collections.abc import Iterator

import pytest

from mpcore.lab.topology import Lab
from tests.kernel.support import Daemon, connect, exchange_both, roles, versions

pytestmark = pytest.mark.kernel

BYTES = 3_000_001
HANDSHAKE = 3  # SYN, SYN/ACK and ACK: all that may enter the queue


@pytest.fixture
def without_mptcp(hosts: Lab) -> Iterator[None]:
    hosts.b.sysctl("net.mptcp.enabled", 0)
    yield
    hosts.b.sysctl("net.mptcp.enabled", 1)


def queued(moved: dict[str, int]) -> int:
    return moved.get("MpcoreExtPacketsFromHost", 0) + moved.get("MpcoreExtPacketsFromNetwork", 0)


@roles
@versions
def test_it_works_and_leaves_the_queue(
    hosts: Lab, daemon: Daemon, without_mptcp: None, to_a: bool, version: int
) -> None:
    """RFC 8684 §3.7: a SYN or SYN/ACK without MP_CAPABLE makes it TCP, for good."""
    daemon.mark()
    exchange_both(connect(hosts, to_a=to_a, version=version), BYTES, BYTES)
    assert queued(daemon.moved()) <= HANDSHAKE
    assert 1 <= daemon.moved()["MpcoreExtLeft"] <= 2  # once in each direction
    assert daemon.connections() == []
