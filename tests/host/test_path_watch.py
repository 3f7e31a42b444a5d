"""News of routes and rules: what counts, what is our own, and that a storm is looked at seldom."""

import errno
import select
import selectors

import pytest

from mpcore.config import RoutingConfig
from mpcore.errors import HostError
from mpcore.host.netlink import AddressMonitor
from mpcore.host.path_watch import INTERVAL_NS, MESSAGES_MAX, SHARE, PathWatch
from mpcore.host.routing import SourceRouting
from mpcore.host.rtnetlink import Message
from tests.host.namespace import in_namespace, run
from tests.host.uplinks import add_uplink

SECOND = 1_000_000_000


class World:
    """A watch on a clock of the test's, and a loop for it."""

    def __init__(self) -> None:
        self.now_ns = SECOND
        self.watch = PathWatch(lambda: self.now_ns)
        self.selector = selectors.DefaultSelector()
        self.watch.register(self.selector)
        self.looks: list[bool] = []

    def turn(self) -> None:
        """Do what is ready and due now."""
        for key, _ in self.selector.select(0):
            key.data()
        due = self.watch.poll_timeout()
        if due is not None and due <= self.now_ns:
            self.watch.look(self.looks.append)

    def settle(self) -> None:
        """Let all that waits be read, and begin afresh."""
        for _ in range(20):
            self.turn()
            self.now_ns += SECOND
        self.looks.clear()


@in_namespace
def test_a_route_or_rule_is_news_at_once() -> None:
    add_uplink(1)
    world = World()
    changes = [
        (("route", "add", "default", "via", "10.1.0.1"), True),
        (("route", "replace", "default", "via", "10.1.0.9"), True),
        (("route", "add", "198.51.100.0/24", "via", "10.1.0.1"), False),
        (("-6", "route", "add", "default", "via", "2001:db8:1::1"), True),
        (("-6", "route", "del", "default"), True),
        (("rule", "add", "from", "10.1.0.2", "lookup", "77"), False),
        (("-6", "rule", "add", "from", "2001:db8:1::2", "lookup", "77"), False),
    ]
    for command, routers in changes:
        world.settle()
        run("ip", *command)
        world.turn()
        assert world.looks == [routers], command


@in_namespace
def test_our_own_routes_and_rules_are_no_news() -> None:
    """They follow from news: to take them for such would never end."""
    for number in (1, 2):
        add_uplink(number, gateway=True)
    world = World()
    monitor = AddressMonitor()
    routing = SourceRouting(RoutingConfig())
    world.settle()
    routing.apply(monitor.addresses())
    routing.remove()
    assert select.select([world.watch._socket], [], [], 0)[0], "they were heard"
    for _ in range(20):
        world.turn()
        assert world.watch.poll_timeout() is None
    assert not select.select([world.watch._socket], [], [], 0)[0]
    assert world.looks == []


@in_namespace
def test_a_storm_is_looked_at_seldom() -> None:
    add_uplink(1)
    world = World()
    world.settle()
    count = 20 * MESSAGES_MAX
    batch = "".join(
        f"route add 198.{18 + n // 65536}.{n // 256 % 256}.{n % 256}/32 dev up1\n" for n in range(count)
    )
    run("ip", "-batch", "-", stdin=batch)
    turns = 0
    while world.looks == [] or world.selector.select(0) or world.watch.poll_timeout() is not None:
        turns += 1
        world.turn()
        world.now_ns += INTERVAL_NS // 10
        assert turns < 10_000
    assert 1 <= len(world.looks) <= 3
    assert len(run("ip", "route", "show", "dev", "up1").splitlines()) > count


@in_namespace
def test_what_takes_long_is_done_seldom() -> None:
    add_uplink(1)
    world = World()
    world.settle()

    def slow(_: bool) -> None:
        world.now_ns += SECOND

    run("ip", "route", "add", "default", "via", "10.1.0.1")
    for key, _ in world.selector.select(0):
        key.data()
    world.watch.look(slow)
    run("ip", "route", "del", "default")
    for key, _ in world.selector.select(0):
        key.data()
    assert world.watch.poll_timeout() == world.now_ns + SHARE * SECOND


@in_namespace
def test_lost_events_may_have_been_anything() -> None:
    world = World()
    world.settle()
    outcomes = [OSError(errno.ENOBUFS, "no buffer space"), BlockingIOError()]

    def receive() -> list[Message]:
        raise outcomes.pop(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.watch._socket, "receive", receive)
        world.watch.handle_ready()
        assert world.watch.poll_timeout() is not None
        outcomes.append(OSError(errno.EBADF, "bad file descriptor"))
        with pytest.raises(HostError, match="route events"):
            world.watch.look(world.looks.append)
    outcomes.append(BlockingIOError())
    world.turn()
    assert world.looks == [True]
