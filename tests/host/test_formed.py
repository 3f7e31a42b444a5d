"""Formed addresses on the real kernel, in a namespace whose other end plays router and neighbour."""

import json
import select
import socket
import time
from collections.abc import Iterator

import pytest

from mpcore.errors import HostError
from mpcore.host.formed import FormedAddresses
from mpcore.host.prefix_watch import AddressChanged, LinkChanged, PrefixHeard, PrefixWatch
from mpcore.host.solicit import RouterSolicitor
from mpcore.shim6.advertised import FOREVER_S
from mpcore.shim6.forming import AddressState, DropAddress, PutAddress
from tests.helpers.routers import L_FLAG, Router
from tests.host.namespace import in_namespace, run, set_variable
from tests.host.uplinks import add_uplink

TEXT = "2001:db8:1::88"
ADDRESS = socket.inet_pton(socket.AF_INET6, TEXT)
DEADLINE_S = 20.0


def changes(watch: PrefixWatch) -> Iterator[object]:
    """Yield what the kernel says, as long as it says something in time."""
    poller = select.poll()
    poller.register(watch.fileno(), select.POLLIN)
    until = time.monotonic() + DEADLINE_S
    while poller.poll(max(until - time.monotonic(), 0) * 1000):
        yield from watch.read()
    pytest.fail(f"nothing more within {DEADLINE_S:g} s")


def wait_for(watch: PrefixWatch, wanted: object) -> None:
    next(change for change in changes(watch) if change == wanted)


def next_state(watch: PrefixWatch) -> AddressState:
    """The next word about ADDRESS that is not "tentative"."""
    found = (change for change in changes(watch) if isinstance(change, AddressChanged))
    return next(
        change.state
        for change in found
        if change.address == ADDRESS and change.state is not AddressState.TENTATIVE
    )


def assigned() -> list[dict[str, object]]:
    """What `ip` says of ADDRESS."""
    (entry,) = json.loads(run("ip", "-j", "-6", "address", "show", "dev", "up1"))
    return [one for one in entry["addr_info"] if one.get("local") == TEXT]


def put(preferred: int = 300, valid: int = 600, *, route: bool = False) -> None:
    FormedAddresses().put(PutAddress(ADDRESS, "up1", preferred, valid, route))


def loaded() -> PrefixWatch:
    """Make an uplink that is up, and watch it; detection of duplicates takes a tenth of its usual time."""
    set_variable("net.ipv6.conf.default.router_solicitation_delay", 0)
    add_uplink(1, addresses=False)
    set_variable("net.ipv6.neigh.up1.retrans_time_ms", 100)
    # both ends are this host's
    set_variable("net.ipv6.conf.up1.accept_ra_from_local", 1)
    watch = PrefixWatch(lambda name: name == "up1")
    first = watch.load()
    if LinkChanged("up1", True) not in first:
        wait_for(watch, LinkChanged("up1", True))
    return watch


@in_namespace
def test_a_prefix_is_heard_with_its_lifetimes_and_found_again_later() -> None:
    watch = loaded()
    heard = PrefixHeard(ADDRESS[:8], "up1", 600, 1200)
    with Router("far1") as router:
        router.advertise("2001:db8:1::", flags=L_FLAG)
        router.advertise("2001:db8:1::")
        assert next(change for change in changes(watch) if isinstance(change, PrefixHeard)) == heard
    again = [change for change in PrefixWatch().load() if isinstance(change, PrefixHeard)]
    assert [(change.prefix, change.interface) for change in again] == [(heard.prefix, "up1")]
    assert 590 <= again[0].preferred_s <= 600
    assert 1190 <= again[0].valid_s <= 1200


@in_namespace
def test_an_address_without_duplicate_gets_ready_with_its_lifetimes() -> None:
    watch = loaded()
    put()
    assert next_state(watch) is AddressState.READY
    (entry,) = assigned()
    assert entry["dynamic"]
    assert 290 <= int(str(entry["preferred_life_time"])) <= 300
    assert 590 <= int(str(entry["valid_life_time"])) <= 600
    assert "2001:db8:1::" not in run("ip", "-6", "route"), "what is on the link the router says"

    put(0, 900)
    assert next_state(watch) is AddressState.READY
    (entry,) = assigned()
    assert entry["deprecated"]
    assert int(str(entry["valid_life_time"])) > 890

    FormedAddresses().drop(DropAddress(ADDRESS, "up1"))
    assert next_state(watch) is AddressState.GONE
    FormedAddresses().drop(DropAddress(ADDRESS, "up1"))
    FormedAddresses().drop(DropAddress(ADDRESS, "gone1"))


@pytest.mark.parametrize("valid", [600, FOREVER_S])
@in_namespace
def test_an_address_that_a_neighbour_has_is_taken(valid: int) -> None:
    """RFC 4862 §5.4: the kernel keeps such an address without end, and deletes one with a lifetime."""
    watch = loaded()
    run("ip", "address", "add", f"{TEXT}/64", "dev", "far1", "nodad")
    put(valid, valid)
    assert next_state(watch) is AddressState.TAKEN
    FormedAddresses().drop(DropAddress(ADDRESS, "up1"))
    assert not assigned()


@in_namespace
def test_an_address_goes_with_its_link() -> None:
    watch = loaded()
    put()
    assert next_state(watch) is AddressState.READY
    run("ip", "link", "set", "up1", "down")
    assert next_state(watch) is AddressState.GONE
    with pytest.raises(HostError, match=f"{TEXT} cannot be assigned to gone1"):
        FormedAddresses().put(PutAddress(ADDRESS, "gone1", 1, 1, False))


@in_namespace
def test_a_prefix_that_no_router_says_is_on_the_link_gets_a_route() -> None:
    watch = loaded()
    put(FOREVER_S, FOREVER_S, route=True)
    assert next_state(watch) is AddressState.READY
    assert "2001:db8:1::/64 dev up1 proto kernel" in run("ip", "-6", "route")


@in_namespace
def test_leftovers_of_a_killed_daemon_go_and_nothing_else() -> None:
    loaded()
    put()
    run("ip", "address", "add", "2001:db8:1::99/64", "dev", "up1", "nodad")
    before = run("ip", "-6", "address", "show", "dev", "lo")
    FormedAddresses().clean_leftovers()
    assert not assigned()
    assert "2001:db8:1::99" in run("ip", "-6", "address", "show", "dev", "up1")
    assert run("ip", "-6", "address", "show", "dev", "lo") == before


@in_namespace
def test_routers_are_asked_three_times_unless_one_speaks() -> None:
    set_variable("net.ipv6.conf.default.router_solicitations", 0)
    watch = loaded()
    found = (change for change in changes(watch) if isinstance(change, AddressChanged))
    next(change for change in found if change.state is AddressState.READY)
    far = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    far.setsockopt(socket.IPPROTO_ICMPV6, 1, b"\xff" * 16 + b"\xdf" + b"\xff" * 15)  # solicitations alone
    far.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"far1")
    join = socket.inet_pton(socket.AF_INET6, "ff02::2") + socket.if_nametoindex("far1").to_bytes(4, "little")
    far.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, join)
    far.settimeout(DEADLINE_S)
    solicitor = RouterSolicitor()
    assert solicitor.poll_timeout() is None
    solicitor.begin("up1")
    solicitor.begin("gone1")
    for second in range(0, 40, 2):
        solicitor.handle_timeout(second * 1_000_000_000)
    assert solicitor.poll_timeout() is None
    for _ in range(3):
        data, (hops,), _, _ = far.recvmsg(100, 100)
        assert data[:1] == b"\x85"
        assert int.from_bytes(hops[2], "little") == 255
    solicitor.begin("up1")
    solicitor.heard("up1")
    assert solicitor.poll_timeout() is None
    solicitor.close()
