"""The address monitor: which addresses count, and every change as an event."""

import errno
import select
import socket

import pytest

from mpcore.errors import HostError
from mpcore.host.netlink import (
    AddressAdded,
    AddressMonitor,
    AddressRemoved,
    LinkDown,
    LinkUp,
    LocalAddress,
    NetworkEvent,
)
from mpcore.host.rtnetlink import Message, parse_attributes, parse_messages
from tests.host.namespace import in_namespace, run
from tests.host.uplinks import add_uplink

FOUR = LocalAddress(bytes([10, 1, 0, 2]), 24, "up1")
SIX = LocalAddress(socket.inet_pton(socket.AF_INET6, "2001:db8:1::2"), 64, "up1")


def next_events(monitor: AddressMonitor) -> list[NetworkEvent]:
    """The events after the next change that counts; fails when none comes."""
    poller = select.poll()
    poller.register(monitor.fileno(), select.POLLIN)
    while poller.poll(5000):
        events = monitor.read_events()
        if events:
            return events
    pytest.fail("no event within 5 s")


@in_namespace
def test_only_usable_global_addresses_count() -> None:
    add_uplink(1)
    add_uplink(2, addresses=False)
    run("ip", "addr", "add", "169.254.1.1/16", "dev", "up1")
    run("ip", "addr", "add", "192.0.2.7", "peer", "192.0.2.8/32", "dev", "up1")
    run("ip", "addr", "add", "198.51.100.1/24", "dev", "lo")
    run("ip", "addr", "add", "2001:db8:2::9/64", "dev", "up2", "nodad", "preferred_lft", "0")
    run("ip", "link", "add", "idle", "type", "veth", "peer", "name", "far-idle")
    run("ip", "addr", "add", "10.7.0.1/24", "dev", "idle")
    monitor = AddressMonitor()
    assert monitor.addresses() == [FOUR, LocalAddress(bytes([192, 0, 2, 7]), 32, "up1"), SIX]
    assert AddressMonitor(exclude_interfaces=["up1"]).addresses() == []


@in_namespace
def test_a_tentative_address_counts_once_it_is_verified() -> None:
    name = add_uplink(1, addresses=False)
    monitor = AddressMonitor()
    run("ip", "addr", "add", "2001:db8:1::2/64", "dev", name)
    assert AddressAdded(SIX) not in monitor.read_events()
    assert next_events(monitor) == [AddressAdded(SIX)]


@in_namespace
def test_addresses_and_links_come_and_go() -> None:
    monitor = AddressMonitor()
    assert monitor.read_events() == []
    name = add_uplink(1)
    assert next_events(monitor) == [
        LinkUp("far1"),
        LinkUp("up1"),
        AddressAdded(FOUR),
        AddressAdded(SIX),
    ]
    run("ip", "addr", "del", "10.1.0.2/24", "dev", name)
    assert next_events(monitor) == [AddressRemoved(FOUR)]
    run("ip", "addr", "add", "10.1.0.2/24", "dev", name)
    assert next_events(monitor) == [AddressAdded(FOUR)]
    run("ip", "link", "set", "far1", "down")
    assert set(next_events(monitor)) == {
        LinkDown("far1"),
        LinkDown("up1"),
        AddressRemoved(FOUR),
        AddressRemoved(SIX),
    }
    assert monitor.addresses() == []
    run("ip", "link", "set", "far1", "up")
    assert set(next_events(monitor)) >= {LinkUp("up1"), AddressAdded(FOUR)}
    run("ip", "link", "del", name)
    events = next_events(monitor)
    assert LinkDown("up1") in events
    assert AddressRemoved(FOUR) in events
    monitor.close()
    assert monitor.fileno() == -1


@in_namespace
def test_an_address_whose_lifetime_ends_is_told_from_one_that_is_taken_away() -> None:
    """RFC 4862 §5.5.4: the kernel takes it away by itself."""
    name = add_uplink(1, addresses=False)
    monitor = AddressMonitor()
    brief, taken = "2001:db8:1::2", "2001:db8:1::3"
    lifetimes = {
        brief: ("valid_lft", "2", "preferred_lft", "1"),
        taken: ("valid_lft", "90", "preferred_lft", "9"),
    }
    for address, words in lifetimes.items():
        run("ip", "addr", "add", f"{address}/64", "dev", name, "nodad", *words)
    run("ip", "addr", "del", f"{taken}/64", "dev", name)
    poller = select.poll()
    poller.register(monitor.fileno(), select.POLLIN)
    expired: set[bytes] = set()
    while not expired:
        assert poller.poll(30_000), "the lifetime did not end"
        monitor.read_events()
        expired = monitor.take_expired()
    assert expired == {SIX.address}
    assert monitor.take_expired() == set()


@in_namespace
def test_lost_events_lead_to_a_fresh_look() -> None:
    monitor = AddressMonitor()
    add_uplink(1)

    def lost() -> list[Message]:
        raise OSError(errno.ENOBUFS, "no buffer space")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monitor._socket, "events", lost)
        assert AddressAdded(FOUR) in monitor.read_events()
    with pytest.MonkeyPatch.context() as patch:
        monitor.close()
        with pytest.raises(HostError, match="cannot be read"):
            monitor.read_events()


@pytest.mark.parametrize(
    "data",
    [b"", b"short", bytes(16), b"\xff" * 40, b"\x03\0\1\0xxxx", b"\x09\0\1\0xxxx", b"\x11\0\0\0" + bytes(12)],
)
def test_nonsense_is_no_message_and_no_attribute(data: bytes) -> None:
    assert list(parse_messages(data)) == []
    assert parse_attributes(data) == {}
