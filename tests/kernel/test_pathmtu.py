"""A path with a narrow hop behind a router: segments shrink there and nowhere else (RFC 1191, RFC 8201)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mpcore.lab.commands import run_command
from mpcore.lab.host import Host, delete_namespace
from mpcore.lab.topology import Lab
from tests.helpers.netns import needs_root
from tests.kernel.support import connect, exchange_both, kernel_peer, running, wait_until

pytestmark = pytest.mark.kernel

BYTES = 2_000_000
MTU = 1300
# interface at the host, its network, and the router's way on to the other one
WAYS = {"a": (31, 32), "b": (32, 31)}


class Narrow(Lab):
    """One link between the hosts, and a way through a router whose routes take packets of MTU octets."""

    def __init__(self, version: int) -> None:
        super().__init__((None,))
        self.version = version
        self.router = Host("r", self.a.namespace.replace("-a-", "-r-"))

    def __enter__(self) -> "Narrow":
        super().__enter__()
        run_command(["ip", "netns", "add", self.router.namespace])
        for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.router.sysctl(name, 1)
        for host in self.hosts:
            self._attach(host)
        return self

    def down(self) -> None:
        super().down()
        delete_namespace(self.router.namespace)

    def address(self, network: int, number: int) -> str:
        return f"10.{network}.0.{number}" if self.version == 4 else f"fd{network}::{number}"

    def _attach(self, host: Host) -> None:
        near, far = WAYS[host.name]
        size, port = (24 if self.version == 4 else 64), f"to{host.name}"
        family = f"-{self.version}"
        host.ip("link", "add", "narrow", "type", "veth", "peer", "name", port, "netns", self.router.namespace)
        nodad = [] if self.version == 4 else ["nodad"]
        for where, name, number in ((host, "narrow", 2), (self.router, port, 1)):
            where.ip("addr", "add", f"{self.address(near, number)}/{size}", "dev", name, *nodad)
            where.ip("link", "set", name, "up")
        self.router.ip(family, "route", "add", self.address(near, 2), "dev", port, "mtu", "lock", str(MTU))
        host.ip(family, "route", "add", f"{self.address(far, 0)}/{size}", "via", self.address(near, 1))


@pytest.fixture(params=[4, 6])
def narrow(request: pytest.FixtureRequest) -> Iterator[Narrow]:
    needs_root()
    with Narrow(request.param) as standing:
        standing.b.mptcp_endpoint(standing.address(32, 2), "narrow", "signal")
        yield standing


def test_a_router_that_refuses_large_packets_is_believed(narrow: Narrow, tmp_path: Path) -> None:
    # in turn, so that the path through the router is used however fast the other one is
    with running(narrow.a, tmp_path, "mptcp.scheduler=round-robin") as daemon:
        pair = connect(narrow, version=narrow.version, **kernel_peer(False))
        wait_until(lambda: daemon.subflows() == 2, "the path through the router")
        exchange_both(pair, BYTES, BYTES)
        counters = daemon.counters()
    assert counters["MpcoreExtMtuReduced"] == 1
    assert counters["MpcoreExtIcmpRx"] > 0
