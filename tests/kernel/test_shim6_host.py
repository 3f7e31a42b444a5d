"""Shim6 between two daemons on real kernels: sessions keep their addresses and survive a cut."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpcore.host.control_client import ControlClient
from mpcore.host.shim6_rules import ASKED, TABLE
from mpcore.lab.host import Host
from mpcore.lab.wait import wait_until
from tests.helpers.netns import inside
from tests.kernel.shim6_pair import UDP_PORT, Shim6Pair, asks, connect, pings, shim6_pair, swap, talks

pytestmark = pytest.mark.kernel
IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO = 23, 2  # missing in the module socket


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Shim6Pair]:
    with shim6_pair(tmp_path) as made:
        yield made


@pytest.mark.parametrize("towards", ["both", "a", "b"])
def test_tcp_goes_on_when_its_path_is_cut(pair: Shim6Pair, towards: str) -> None:
    """RFC 5533 §1: the addresses that a program sees stay, the locators change."""
    client, server = connect(pair)
    with client, server:
        swap(client, server, bytes(5000))
        wait_until(pair.established, "a context at both ends")
        swap(client, server, bytes(50_000))
        for daemon in (pair.a, pair.b):
            counters = daemon.counters()
            assert counters["Shim6ExtPayloadTX"] == counters["Shim6ExtUntouchedTX"] == 0
        named = {"both": (), "a": (pair.lab.a,), "b": (pair.lab.b,)}[towards]
        pair.lab.links[0].cut(*named)
        swap(client, server, bytes(50_000))
        if towards == "both":
            wait_until(pair.moved, "both hosts to move")
        assert pair.a.counters()["Shim6ExtPayloadTX"] + pair.b.counters()["Shim6ExtPayloadTX"] > 0
        assert client.getpeername()[0] == pair.ulid_b


def test_tcp_that_waits_is_told_of_the_new_path(pair: Shim6Pair) -> None:
    """RFC 6069 §4: a path that was gone is no congestion, so what doubled the timer is taken back."""
    client, server = connect(pair)
    with client, server:
        swap(client, server, bytes(5000))
        wait_until(pair.established, "a context at both ends")
        pair.lab.links[0].cut()
        client.sendall(b"into the cut")
        wait_until(lambda: pair.a.counters()["Shim6ExtTcpKicked"] > 0, "the sender to be told")
        assert server.recv(100) == b"into the cut"
        swap(client, server, bytes(5000))


def test_tcp_is_told_too_when_the_new_path_is_that_of_its_addresses(pair: Shim6Pair) -> None:
    """RFC 6069 §4: its answer has no header then, and is seen all the same."""
    first, second = pair.lab.links
    client, server = connect(pair)
    with client, server:
        swap(client, server, bytes(5000))
        wait_until(pair.established, "a context at both ends")
        first.cut()
        swap(client, server, bytes(5000))
        wait_until(pair.moved, "both hosts to move")
        second.cut()
        first.restore()
        kicked = pair.a.counters()["Shim6ExtTcpKicked"]
        client.sendall(b"into the cut")
        wait_until(lambda: pair.a.counters()["Shim6ExtTcpKicked"] > kicked, "the sender to be told")
        assert server.recv(100) == b"into the cut"
        swap(client, server, bytes(5000))
        assert pair.context_at_a()["current_local"] == pair.ulid_a
        wait_until(lambda: not asked(pair.lab.a), "the kernel to show no more answers")


def test_what_leaves_after_a_change_fits_at_once(pair: Shim6Pair) -> None:
    """RFC 5533 §8, RFC 8201 §4: the 8 octets of the header are known before a packet of full size is sent."""
    client, server = connect(pair)
    with client, server, inside(pair.lab.a), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams:
        datagrams.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO)
        datagrams.bind((pair.ulid_a, 0))
        datagrams.connect((pair.ulid_b, UDP_PORT))
        swap(client, server, bytes(5000))
        wait_until(pair.established, "a context at both ends")
        before = [segment_size(each) for each in (client, server)]
        with ControlClient(str(pair.a.control)) as control:
            control.call("shim6_explore", context=pair.context_at_a()["tag_local"], leave=True)
        wait_until(pair.moved, "both hosts to move")
        for each, size in zip((client, server), before, strict=True):
            wait_until(lambda each=each, size=size: segment_size(each) == size - 8, "smaller segments")  # type: ignore[misc]
        for size in (before[0], 50_000):
            swap(client, server, bytes(size))
        with pytest.raises(OSError, match="too long"):
            datagrams.send(bytes(1500 - 48))
        datagrams.send(bytes(1492 - 48))
        for daemon in (pair.a, pair.b):
            assert daemon.counters()["Shim6ExtIcmpMapped"] == 0


@pytest.mark.parametrize("towards", ["both", "a", "b"])
def test_udp_and_ping_go_on_beside_tcp(pair: Shim6Pair, towards: str) -> None:
    """RFC 5533 §1: every transport between the ULIDs, by one context."""
    client, server = connect(pair)
    with client, server, talks(pair) as (asker, listener, pinger):
        swap(client, server, bytes(5000))
        assert asks(asker, listener, b"before")
        assert pings(pinger, b"before")
        wait_until(pair.established, "a context at both ends")
        pair.lab.links[0].cut(*{"both": (), "a": (pair.lab.a,), "b": (pair.lab.b,)}[towards])
        assert not asks(asker, listener, b"into the cut")
        wait_until(lambda: asks(asker, listener, b"after"), "UDP to go on")
        wait_until(lambda: pings(pinger, b"after"), "ping to go on")
        swap(client, server, bytes(5000))
        if towards == "both":
            wait_until(pair.moved, "both hosts to move")
        assert asks(asker, listener, b"moved")
        assert pings(pinger, b"moved")
        # Each fragment has a header of its own, and is put together behind it.
        wait_until(lambda: asks(asker, listener, bytes(range(256)) * 16), "a datagram in fragments")
        assert asker.getpeername()[0] == client.getpeername()[0] == pair.ulid_b


def segment_size(sock: socket.socket) -> int:
    """Return the payload of a full segment of a TCP connection now, in octets."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)


def asked(host: Host) -> bool:
    """Tell whether short segments between any ULIDs of a host are shown to its daemon."""
    return "elements" in host.run(["nft", "list", "set", "ip6", TABLE, ASKED]).stdout
