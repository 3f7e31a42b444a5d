"""What the network tells of a path under traffic: neighbours, routes, addresses, links, errors.

The Send Timeout is far longer than a test: nothing here moves because of silence.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mpcore.lab.host import Host
from mpcore.lab.wait import wait_until
from tests.helpers.netns import inside
from tests.kernel.shim6_pair import Shim6Lab, Shim6Pair, asks, connect, has_moved, shim6_pair, swap, talks

pytestmark = pytest.mark.kernel
LONG = "shim6.send_timeout_s=300"
LINK = "link1"
SILENCE = ("-t", "raw", "-i", LINK, "-j", "DROP")  # neighbour discovery too, unlike a link that is cut
# How soon the kernel asks a neighbour again, and gives it up; by default that takes half a minute.
HASTE = {"base_reachable_time_ms": 200, "retrans_time_ms": 50, "delay_first_probe_time": 0}


@contextmanager
def talking(
    folder: Path, *more: str, prepare: Callable[[Shim6Lab], None] = lambda ends: None
) -> Iterator[tuple[Shim6Pair, socket.socket, socket.socket]]:
    """Have two hosts with a context between them, and a TCP connection of that."""
    with shim6_pair(folder, LONG, *more, prepare=prepare) as pair:
        client, server = connect(pair)
        with client, server:
            swap(client, server, bytes(5000))
            wait_until(pair.established, "a context at both ends")
            yield pair, client, server


def hasten(ends: Shim6Lab) -> None:
    """Let the kernel of host `a` ask its neighbours often; those that it knows keep their old time."""
    for name, value in HASTE.items():
        ends.lab.a.sysctl(f"net.ipv6.neigh.{LINK}.{name}", value)


def is_failed(host: Host, address: str) -> bool:
    """Tell whether the kernel has given a neighbour up."""
    return "FAILED" in host.run(["ip", "-6", "neigh", "show", "to", address]).stdout


def test_a_neighbour_that_is_off_moves_nothing(tmp_path: Path) -> None:
    """RFC 5534 §3.3: it says nothing of the way to the peer."""
    with talking(tmp_path, prepare=hasten) as (pair, client, server):
        stranger = pair.lab.links[0].address(pair.lab.a, 6).replace("::1", "::dead")
        with inside(pair.lab.a), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asker:
            asker.sendto(b"", (stranger, 9))
        wait_until(lambda: is_failed(pair.lab.a, stranger), "the kernel to give it up")
        pair.a.counters()  # what came before this request has been read
        swap(client, server, bytes(5000))
        assert pair.a.counters()["Shim6ExtExploration"] == 0
        assert pair.context_at_a()["current_local"] == pair.ulid_a


def test_a_router_that_does_not_answer_is_left(tmp_path: Path) -> None:
    """RFC 5534 §4.1: the next hop of the pair in use is unreachable."""
    with talking(tmp_path, prepare=route_by_router) as (pair, client, server):
        pair.lab.b.run(["ip6tables", "-A", "PREROUTING", *SILENCE])
        swap(client, server, bytes(5000))
        assert pair.moved()
        assert pair.a.counters()["Shim6ExtSendTimeout"] == 0


def route_by_router(ends: Shim6Lab) -> None:
    """Let host `b` be a router for itself: host `a` reaches its ULID by way of it alone."""
    hasten(ends)
    ends.lab.a.ip("-6", "route", "add", ends.ulid_b, "via", link_local(ends.lab.b), "dev", LINK)


def link_local(host: Host) -> str:
    """Return the link-local address of a host on link 1, once it answers for it (RFC 4862 §5.4)."""
    show = ["ip", "-6", "-br", "addr", "show", "dev", LINK, "scope", "link", "-tentative"]
    wait_until(lambda: "fe80:" in host.run(show).stdout, "a link-local address without a duplicate")
    return host.run(show).stdout.split()[2].partition("/")[0]


@pytest.mark.parametrize("event", ["link", "address", "route"])
def test_a_way_out_that_goes_is_left_at_once(tmp_path: Path, event: str) -> None:
    """RFC 5534 §3.2, §4.1: link, address or route of the locator in use; programs keep their addresses."""
    with (
        talking(tmp_path) as (pair, client, server),
        talks(pair) as (asker, listener, _),
    ):
        assert asks(asker, listener, b"before")
        if event == "link":
            pair.lab.links[0].down(pair.lab.a)
        elif event == "address":
            pair.lab.a.ip("addr", "del", f"{pair.ulid_a}/64", "dev", LINK)
        else:
            lose_route(pair)
        wait_until(lambda: asks(asker, listener, b"after"), "UDP to go on")
        swap(client, server, bytes(50_000))
        assert pair.context_at_a()["current_local"] == pair.second_a
        assert client.getsockname()[0] == pair.ulid_a
        assert pair.a.counters()["Shim6ExtSendTimeout"] == 0


def lose_route(pair: Shim6Pair) -> None:
    """Take the route to the peer on link 1 away; the table of the address follows."""
    host = pair.lab.a
    prefix = host.ip("-6", "route", "show", "dev", LINK, "table", "main", "root", "fd77:1::/64").split()[0]
    host.ip("-6", "route", "del", prefix, "dev", LINK, "table", "main")


@pytest.mark.parametrize("towards", ["a", "b", "both"])
def test_a_path_on_which_tcp_repeats_in_vain_is_left(tmp_path: Path, towards: str) -> None:
    """RFC 5534 §3.3: the transport is asked long before the Send Timeout; probes prove what it says."""
    with talking(tmp_path) as (pair, client, server):
        ends = {"a": (pair.lab.a,), "b": (pair.lab.b,), "both": ()}
        pair.lab.links[0].cut(*ends[towards])
        swap(client, server, bytes(50_000))
        assert has_moved(pair.b if towards == "a" else pair.a)
        counters = [daemon.counters() for daemon in (pair.a, pair.b)]
        assert [each["Shim6ExtSendTimeout"] for each in counters] == [0, 0]
        assert sum(each["Shim6ExtRepeatsInVain"] for each in counters) > 0


def test_an_error_from_the_path_leads_away_from_it(tmp_path: Path) -> None:
    """RFC 5533 §8, RFC 5534 §3.3: a hint, which a probe in vain of the pair in use confirms."""
    with talking(tmp_path) as (pair, client, server):
        pair.lab.links[0].cut(pair.lab.b)
        client.sendall(b"into the cut")
        complain(pair, client)
        assert server.recv(100) == b"into the cut"
        assert pair.context_at_a()["current_local"] == pair.second_a
        counters = pair.a.counters()
        assert counters["Shim6ExtSendTimeout"] == 0
        assert counters["Shim6ExtIcmpAbsorbed"] > 0


def complain(pair: Shim6Pair, client: socket.socket) -> None:
    """Send an error of a router on link 1 about a segment of a connection: no route (RFC 4443 §3.1)."""
    source, destination = (socket.inet_pton(socket.AF_INET6, one) for one in (pair.ulid_a, pair.ulid_b))
    ports = client.getsockname()[1].to_bytes(2) + client.getpeername()[1].to_bytes(2)
    quoted = bytes.fromhex("6000000000140640") + source + destination + ports + bytes(16)
    with inside(pair.lab.b):
        router = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    with router:
        router.bind((pair.ulid_b, 0))
        router.sendto(bytes([1, 0, 0, 0, 0, 0, 0, 0]) + quoted, (pair.ulid_a, 0))
