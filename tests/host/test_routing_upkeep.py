"""Source routing follows routers and routes: real advertisements in a namespace."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mpcore.config import RoutingConfig
from mpcore.host import routing_upkeep
from mpcore.host.netlink import AddressMonitor
from mpcore.host.path_watch import PathWatch
from mpcore.host.router_listener import Advertisement, RouterListener
from mpcore.host.routing_upkeep import RoutingUpkeep
from mpcore.lab.wait import wait_until
from mpcore.wire.router import parse_router_advertisement
from tests.helpers.routers import HIGH, Router, advertisement, link_local, prefix_option, router_header
from tests.host.namespace import drop_privileges, in_namespace, run, set_variable
from tests.host.uplinks import add_uplink

PREFIX = "2001:db8:{}::"
R = [socket.inet_pton(socket.AF_INET6, f"fe80::{number}") for number in range(4)]
SECOND = 1_000_000_000


def add_link() -> None:
    """One uplink whose kernel takes advertisements, and two routers at its other end."""
    add_uplink(1, addresses=False)
    set_variable("net.ipv6.neigh.up1.retrans_time_ms", 100)
    for number in (1, 2):
        run("ip", "addr", "add", f"fe80::{number}/64", "dev", "far1", "nodad")
        set_variable("net.ipv6.conf.far1.accept_ra", 0)
    wait_until(lambda: bool(link_local("up1") and link_local("far1")), "link-local addresses")


class Host:
    """The upkeep in a loop of its own."""

    def __init__(self, monitor: AddressMonitor) -> None:
        self.monitor = monitor
        self.changes = 0
        self.upkeep = RoutingUpkeep(RoutingConfig(), monitor.sources, list, time.monotonic_ns, self.note)
        self.selector = selectors.DefaultSelector()
        self.upkeep.register(self.selector)
        self.paths = PathWatch(time.monotonic_ns)
        self.paths.register(self.selector)
        self.selector.register(monitor.fileno(), selectors.EVENT_READ, self.on_addresses)

    def on_routes(self, new_router: bool) -> None:
        self.upkeep.apply()
        self.note()

    def note(self) -> None:
        self.changes += 1

    def on_addresses(self) -> None:
        self.monitor.read_events()
        self.upkeep.apply()

    def turn(self) -> None:
        for key, _ in self.selector.select(0.02):
            key.data()
        if self.paths.poll_timeout() is not None:
            self.paths.look(self.on_routes)
        due = self.upkeep.poll_timeout()
        if due is not None and due <= time.monotonic_ns():
            self.upkeep.handle_timeout(time.monotonic_ns())

    def wait(self, number: int, router: int) -> None:
        """Wait until packets with an address of a prefix leave by a router."""

        def leaves() -> bool:
            self.turn()
            return f"via fe80::{router} " in way_out(number)

        wait_until(leaves, f"prefix {number} by router {router}: {run('ip', '-6', 'rule')}")


def own(number: int) -> str:
    """The address that the kernel has formed in a prefix, once it can be used."""
    shown = run("ip", "-6", "-o", "addr", "show", "dev", "up1", "-tentative").splitlines()
    found = [line.split()[3].partition("/")[0] for line in shown]
    return next((each for each in found if each.startswith(PREFIX.format(number)[:-1])), "")


def way_out(number: int) -> str:
    return run("ip", "-6", "route", "get", "2001:db8:99::1", "from", own(number)) if own(number) else ""


@contextmanager
def host() -> Iterator[Host]:
    monitor = AddressMonitor(exclude_interfaces=("far1",))
    standing = Host(monitor)
    yield standing
    standing.upkeep.close()
    standing.paths.close()
    monitor.close()


@contextmanager
def two_routers() -> Iterator[tuple[Router, Router]]:
    with Router("far1", "fe80::1") as first, Router("far1", "fe80::2") as second:
        yield first, second


@contextmanager
def a_provider_each() -> Iterator[tuple[Host, Router, Router]]:
    """A host whose packets of either prefix leave by the router that advertises it."""
    add_link()
    with host() as a, two_routers() as (first, second):
        first.advertise(PREFIX.format(1))
        second.advertise(PREFIX.format(2))
        a.wait(1, 1)
        a.wait(2, 2)
        yield a, first, second


@in_namespace
def test_advertisements_give_each_address_its_router() -> None:
    """RFC 8028 §3.1, with addresses that the kernel formed."""
    with a_provider_each() as (a, _, _):
        assert a.changes > 0
        assert a.upkeep.stats()["MpcoreExtRouterHeard"] == 2


@in_namespace
def test_a_router_that_says_goodbye_and_one_that_comes_again() -> None:
    """RFC 4861 §6.3.4: a lifetime of zero ends it as a default router."""
    with a_provider_each() as (a, first, _):
        first.advertise(PREFIX.format(1), router_s=0)
        a.wait(1, 2)
        first.advertise(PREFIX.format(1))
        a.wait(1, 1)
        a.wait(2, 2)


@in_namespace
def test_a_router_whose_lifetime_ends_leaves_its_table() -> None:
    add_link()
    with host() as a, two_routers() as (first, second):
        first.advertise(PREFIX.format(1), router_s=2)
        second.advertise(PREFIX.format(2))
        a.wait(2, 2)
        a.wait(1, 1)
        a.wait(1, 2)


@in_namespace
def test_a_prefix_that_moves_to_another_router() -> None:
    add_link()
    with host() as a, two_routers() as (first, second):
        first.advertise(PREFIX.format(1))
        second.advertise(PREFIX.format(2))
        a.wait(1, 1)
        second.advertise(PREFIX.format(1))
        first.advertise(PREFIX.format(1), preferred=0, valid=0)
        a.wait(1, 2)


@in_namespace
def test_of_two_routers_of_a_prefix_the_preferred_one_is_taken() -> None:
    """RFC 4191 §2.1; the third one makes it a choice."""
    add_link()
    run("ip", "addr", "add", "fe80::3/64", "dev", "far1", "nodad")
    with host() as a, two_routers() as (first, second), Router("far1", "fe80::3") as third:
        third.advertise(PREFIX.format(3))
        first.advertise(PREFIX.format(1))
        second.advertise(PREFIX.format(1), preference=HIGH)
        a.wait(1, 2)
        second.advertise(PREFIX.format(1))
        a.wait(1, 1)
        a.wait(3, 3)


@in_namespace
def test_routers_of_before_are_asked_to_speak() -> None:
    """Addresses and default routes are there already when a daemon starts; who advertised what is not."""
    add_link()
    with two_routers() as (first, second), asked() as questions:
        first.advertise(PREFIX.format(1))
        second.advertise(PREFIX.format(2))
        wait_until(lambda: bool(own(1) and own(2)), "addresses")
        with host() as a:
            a.upkeep.apply()
            wait_until(lambda: a.turn() or has_come(questions), "a solicitation")
            first.advertise(PREFIX.format(1))
            second.advertise(PREFIX.format(2))
            a.wait(1, 1)
            a.wait(2, 2)
            assert a.upkeep._solicitor is not None
            assert a.upkeep._solicitor.poll_timeout() is None, "all have spoken"


@contextmanager
def asked() -> Iterator[socket.socket]:
    """What hears router solicitations at the far end."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.setblocking(False)
        group = socket.inet_pton(socket.AF_INET6, "ff02::2")
        index = socket.if_nametoindex("far1").to_bytes(4, "little")
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + index)
        yield sock


def has_come(sock: socket.socket) -> bool:
    try:
        return sock.recv(2048)[0] == 133
    except BlockingIOError:
        return False


@in_namespace
def test_a_single_router_is_not_asked_and_makes_no_rule() -> None:
    add_link()
    with host() as a, Router("far1", "fe80::1") as first:
        first.advertise(PREFIX.format(1))
        wait_until(lambda: a.turn() or bool(own(1)), "an address")
        a.upkeep.apply()
        assert a.upkeep._asked == set()
        assert "proto 177" not in run("ip", "-6", "rule")


@in_namespace
def test_a_route_that_an_administrator_changes_is_followed() -> None:
    add_uplink(1, gateway=True)
    add_uplink(2, gateway=True)
    monitor = AddressMonitor()
    a = Host(monitor)
    a.upkeep.apply()
    run("ip", "route", "replace", "default", "via", "10.2.0.9", "metric", "102")
    wait_until(
        lambda: a.turn() or "via 10.2.0.9" in run("ip", "route", "get", "192.0.2.1", "from", "10.2.0.2"),
        "the table of the address",
    )


@in_namespace
def test_the_listener_hears_who_says_what() -> None:
    add_link()
    listener = RouterListener()
    with Router("far1", "fe80::1") as near, Router("far1", "fe80::2", hops=64) as distant:
        near.advertise(PREFIX.format(1))
        distant.advertise(PREFIX.format(2))
        heard: list[Advertisement] = []
        wait_until(lambda: heard.extend(listener.read()) or len(heard) == 2, "two advertisements")
    up1 = socket.if_nametoindex("up1")
    found = [(each.interface, each.source, each.hop_limit) for each in heard]
    assert found == [(up1, R[1], 255), (up1, R[2], 64)]
    assert heard[0].message[4:] == advertisement(PREFIX.format(1), 600, 1200)[4:]
    assert parse_router_advertisement(heard[0].message, R[1], 255).lifetime_s == 1800
    listener.close()


@in_namespace
def test_what_is_no_advertisement_is_counted_and_changes_nothing() -> None:
    """RFC 4861 §6.1.2."""
    add_link()
    with host() as a, Router("far1", "fe80::1", hops=64) as distant, Router("far1", "fe80::2") as near:
        distant.advertise(PREFIX.format(1))
        near.say(router_header() + bytes(8))
        near.say(router_header()[:12])
        wait_until(lambda: a.turn() or a.upkeep.stats()["MpcoreExtRouterRefused"] >= 2, "the counter")
        assert a.upkeep.poll_timeout() is None


@in_namespace
def test_a_flood_of_routers_is_counted() -> None:
    add_link()
    with host() as a, Router("far1", "fe80::1") as first:
        names = [PREFIX.format(f"{number:x}") for number in range(40)]
        first.say(router_header() + b"".join(prefix_option(name, 600) for name in names))
        wait_until(lambda: a.turn() or a.upkeep.stats()["MpcoreExtRouterLimit"] == 8, "the counter")


class Clock:
    """Time that passes only while something is done."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


@in_namespace
def test_a_table_that_never_rests_is_followed_at_leisure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty times as long as it takes passes before it is applied again."""
    clock, applied = Clock(), []

    class Slow:
        default_routers: frozenset[tuple[int, bytes]] = frozenset()

        def __init__(self, config: RoutingConfig, advertisers: object) -> None:
            pass

        def apply(self, addresses: object, kept: object) -> None:
            applied.append(clock.now)
            clock.now += SECOND

    monkeypatch.setattr(routing_upkeep, "SourceRouting", Slow)
    upkeep = RoutingUpkeep(RoutingConfig(), list, list, clock)
    upkeep.apply()
    upkeep._apply_soon()
    upkeep._apply_soon()
    assert upkeep.poll_timeout() == 21 * SECOND
    clock.now = 21 * SECOND
    upkeep.handle_timeout(clock.now)
    assert applied == [0, 21 * SECOND]
    upkeep.close()


@in_namespace
def test_a_host_that_may_not_hear_goes_on_without(caplog: pytest.LogCaptureFixture) -> None:
    add_uplink(1)
    drop_privileges()
    upkeep = RoutingUpkeep(RoutingConfig(), list, list, lambda: 0)
    upkeep.register(selectors.DefaultSelector())
    upkeep.apply()
    assert upkeep.poll_timeout() is None
    upkeep.close()
