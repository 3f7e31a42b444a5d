"""Source routing: each address leaves by its own interface, and nothing stays behind."""

import socket

import pytest

from mpcore.config import RoutingConfig
from mpcore.errors import HostError
from mpcore.host.netlink import AddressMonitor, LocalAddress
from mpcore.host.routes import Route, routes
from mpcore.host.routing import SourceRouting
from mpcore.host.rtnetlink import RouteSocket
from mpcore.lab.wait import wait_until
from tests.helpers.routers import link_local
from tests.host.namespace import drop_privileges, in_namespace, run
from tests.host.uplinks import add_uplink

FAMILIES = ("-4", "-6")
FAR = {"-4": "192.0.2.1", "-6": "2001:db8:ffff::1"}


def standing() -> list[str]:
    listed = [("rule",), ("route", "show", "table", "all")]
    return [run("ip", family, *words) for family in FAMILIES for words in listed]


def usable() -> list[LocalAddress]:
    monitor = AddressMonitor()
    found = monitor.addresses()
    monitor.close()
    return found


def way_out(family: str, number: int) -> str:
    source = f"10.{number}.0.2" if family == "-4" else f"2001:db8:{number}::2"
    return run("ip", family, "route", "get", FAR[family], "from", source)


@in_namespace
def test_each_address_leaves_through_its_interface_and_removal_leaves_nothing() -> None:
    for number in (1, 2):
        add_uplink(number, gateway=True)
    before = standing()
    routing = SourceRouting(RoutingConfig())
    routing.apply(usable())
    for family in FAMILIES:
        for number in (1, 2):
            assert f"dev up{number}" in way_out(family, number)
        assert run("ip", family, "rule").count("5200:") == 2
    routing.remove()
    assert standing() == before


@in_namespace
def test_applying_again_changes_nothing_and_follows_the_main_table() -> None:
    for number in (1, 2):
        add_uplink(number, gateway=True)
    routing = SourceRouting(RoutingConfig())
    routing.apply(usable())
    once = standing()
    routing.apply(usable())
    assert standing() == once
    run("ip", "route", "replace", "default", "via", "10.2.0.9", "metric", "102")
    run("ip", "route", "add", "198.51.100.0/24", "via", "10.2.0.8")
    routing.apply(usable())
    assert "via 10.2.0.9" in way_out("-4", 2)
    table = run("ip", "route", "show", "table", "5201")
    assert "198.51.100.0/24 via 10.2.0.8" in table
    assert "via 10.2.0.1 " not in table


@in_namespace
def test_an_address_that_goes_takes_its_table_along_and_the_others_keep_theirs() -> None:
    for number in (1, 2, 3):
        add_uplink(number, gateway=True)
    routing = SourceRouting(RoutingConfig(table_base=300, priority=77))
    routing.apply(usable())
    rules = run("ip", "-4", "rule").splitlines()
    run("ip", "addr", "del", "10.1.0.2/24", "dev", "up1")
    routing.apply(usable())
    assert run("ip", "-4", "rule").splitlines() == [rule for rule in rules if "10.1.0.2" not in rule]
    assert run("ip", "-4", "route", "show", "table", "300") == ""
    run("ip", "addr", "add", "10.1.0.3/24", "dev", "up1")
    routing.apply(usable())
    assert "from 10.1.0.3 lookup 300" in run("ip", "-4", "rule")


@in_namespace
def test_a_multipath_default_route_is_split_by_interface() -> None:
    for number in (1, 2):
        add_uplink(number)
    hops = [word for n in (1, 2) for word in ("nexthop", "via", f"10.{n}.0.1", "dev", f"up{n}")]
    run("ip", "route", "add", "default", *hops)
    SourceRouting(RoutingConfig()).apply(usable())
    for number in (1, 2):
        assert f"via 10.{number}.0.1 dev up{number}" in way_out("-4", number)


@in_namespace
def test_leftovers_of_another_run_are_known_and_foreign_rules_stay() -> None:
    for number in (1, 2):
        add_uplink(number, gateway=True)
    run("ip", "rule", "add", "from", "10.1.0.2", "lookup", "main", "priority", "5200")
    before = standing()
    SourceRouting(RoutingConfig(table_base=900)).apply(usable())
    assert standing() != before
    later = SourceRouting(RoutingConfig())
    later.clean_leftovers()
    assert standing() == before
    later.clean_leftovers()
    assert standing() == before


@pytest.mark.parametrize("case", ["one interface", "not managed"])
@in_namespace
def test_nothing_happens_where_it_is_not_needed(case: str) -> None:
    add_uplink(1, gateway=True)
    run("ip", "addr", "add", "10.1.0.7/24", "dev", "up1")
    if case == "not managed":
        add_uplink(2, gateway=True)
    before = standing()
    SourceRouting(RoutingConfig(manage=case != "not managed")).apply(usable())
    assert standing() == before


@in_namespace
def test_an_address_on_an_interface_that_is_gone_does_no_harm() -> None:
    add_uplink(1, gateway=True)
    gone = LocalAddress(bytes([10, 9, 0, 2]), 24, "gone0")
    SourceRouting(RoutingConfig()).apply([*usable(), gone])
    assert "dev up1" in way_out("-4", 1)


@in_namespace
def test_a_refusal_of_the_kernel_says_what_to_do() -> None:
    for number in (1, 2):
        add_uplink(number)
    drop_privileges()
    with pytest.raises(HostError, match=r"routing\.manage=false"):
        SourceRouting(RoutingConfig()).apply(usable())


def add_providers() -> int:
    """Two default routers on one interface, as router advertisements leave them; returns its number."""
    add_uplink(1)
    run("ip", "addr", "add", "2001:db8:2::2/64", "dev", "up1", "nodad")
    wait_until(lambda: bool(link_local("up1") and link_local("far1")), "link-local addresses")
    for number in (1, 2):
        change = ("append", "default", "via", f"fe80::{number}", "dev", "up1", "proto", "ra")
        run("ip", "-6", "route", *change, "metric", "1024")
    return socket.if_nametoindex("up1")


def packed(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


def advertisers(interface: int, address: bytes) -> list[bytes]:
    """Router N advertises prefix N."""
    number = address[5]
    return [packed(f"fe80::{number}")] if number in (1, 2) else []


def unchosen(far: str = FAR["-6"]) -> tuple[str, str]:
    """By which router, and from which address, a program sends that has chosen no source."""
    words = run("ip", "-6", "route", "get", far).split()
    return words[words.index("via") + 1], words[words.index("src") + 1]


@in_namespace
def test_each_address_leaves_by_the_router_of_its_provider() -> None:
    """RFC 8028 §3.1, on one interface."""
    index = add_providers()
    before = standing()
    routing = SourceRouting(RoutingConfig(), advertisers)
    routing.apply(usable())
    for number in (1, 2):
        assert f"via fe80::{number} dev up1" in way_out("-6", number)
    assert routing.default_routers == {(index, packed("fe80::1")), (index, packed("fe80::2"))}
    assert run("ip", "-4", "rule").count("proto 177") == 0
    once = standing()
    routing.apply(usable())
    assert standing() == once
    SourceRouting(RoutingConfig()).clean_leftovers()
    assert standing() == before


@pytest.mark.parametrize("number", [1, 2])
@in_namespace
def test_a_program_that_chooses_no_source_gets_one_that_fits_its_router(number: int) -> None:
    """RFC 6724 §5 rule 5.5 in effect: the kernel chooses the source, by its rules, and the router by that."""
    add_providers()
    far = f"2001:db8:{number}:8000::1"  # most alike to the address of that prefix (rule 8)
    SourceRouting(RoutingConfig(), advertisers).apply(usable())
    assert unchosen(far) == (f"fe80::{number}", f"2001:db8:{number}::2")
    assert "dev up1 proto kernel" in run("ip", "-6", "route", "get", f"2001:db8:{3 - number}::99")


@in_namespace
def test_a_second_interface_keeps_what_the_main_table_sends_by_it() -> None:
    """Its routes are as good as they were for packets without a source, and each source has its way."""
    add_providers()
    add_uplink(3)
    wait_until(lambda: bool(link_local("up3") and link_local("far3")), "link-local addresses")
    run("ip", "-6", "route", "add", "default", "via", "fe80::3", "dev", "up3", "metric", "2000")
    run("ip", "-6", "route", "add", "2001:db8:77::/48", "via", "fe80::3", "dev", "up3")
    SourceRouting(RoutingConfig(), advertisers).apply(usable())
    assert unchosen()[0] in ("fe80::1", "fe80::2")
    assert unchosen("2001:db8:77::1") == ("fe80::3", "2001:db8:3::2")
    assert "via fe80::3 dev up3" in way_out("-6", 3)
    for number in (1, 2):
        assert f"via fe80::{number} dev up1" in way_out("-6", number)


@in_namespace
def test_where_another_interface_is_preferred_packets_without_a_source_leave_by_it() -> None:
    add_providers()
    add_uplink(3)
    wait_until(lambda: bool(link_local("up3") and link_local("far3")), "link-local addresses")
    run("ip", "-6", "route", "add", "default", "via", "fe80::3", "dev", "up3", "metric", "100")
    SourceRouting(RoutingConfig(), advertisers).apply(usable())
    assert unchosen() == ("fe80::3", "2001:db8:3::2")
    assert "via fe80::2 dev up1" in way_out("-6", 2)


@in_namespace
def test_a_router_that_went_leaves_the_tables() -> None:
    add_providers()
    routing = SourceRouting(RoutingConfig(), advertisers)
    before = standing()
    routing.apply(usable())
    run("ip", "-6", "route", "del", "default", "via", "fe80::1", "dev", "up1")
    routing.apply(usable())
    assert "via fe80::2" in way_out("-6", 1), "no default router has advertised its prefix: any will do"
    assert "proto 177" not in "".join(standing())
    again = ("append", "default", "via", "fe80::1", "dev", "up1", "proto", "ra", "metric", "1024")
    run("ip", "-6", "route", *again)
    routing.apply(usable())
    assert "via fe80::1" in way_out("-6", 1)
    routing.remove()
    assert sorted("".join(standing()).split()) == sorted("".join(before).split())


@in_namespace
def test_several_routers_of_one_provider_are_taken_in_their_order() -> None:
    add_providers()
    run("ip", "-6", "route", "append", "default", "via", "fe80::3", "dev", "up1", "metric", "1024")
    better = [packed("fe80::3"), packed("fe80::1")]
    SourceRouting(RoutingConfig(), lambda index, address: better).apply(usable())
    lines = run("ip", "-6", "route", "show", "table", "5200").splitlines()
    defaults = [line.split()[2:] for line in lines if line.startswith("default")]
    assert [(words[0], words[words.index("metric") + 1]) for words in defaults] == [
        ("fe80::3", "1024"),
        ("fe80::1", "1025"),
    ]


@in_namespace
def test_a_route_whose_time_is_over_is_not_copied() -> None:
    """The kernel takes no notice of it and removes it up to half a minute later."""
    add_providers()
    run("ip", "-6", "route", "del", "default", "via", "fe80::1", "dev", "up1")
    route = ("default", "via", "fe80::1", "dev", "up1", "metric", "1023")
    run("ip", "-6", "route", "append", *route, "expires", "1")
    with RouteSocket() as kernel:
        wait_until(lambda: len(defaults_of(kernel)) == 1, "the end of the route")
    routing = SourceRouting(RoutingConfig(), advertisers)
    routing.apply(usable())
    assert "via fe80::2" in way_out("-6", 1)
    assert len(routing.default_routers) == 1


def defaults_of(kernel: RouteSocket) -> list[Route]:
    return [route for route in routes(kernel, socket.AF_INET6) if route.is_default and route.gateway]


@in_namespace
def test_rules_of_others_that_look_like_ours_stay() -> None:
    add_providers()
    run("ip", "-6", "rule", "add", "lookup", "main", "suppress_prefixlength", "0", "priority", "32765")
    before = standing()
    routing = SourceRouting(RoutingConfig(), advertisers)
    routing.apply(usable())
    assert unchosen("2001:db8:2:8000::1") == ("fe80::2", "2001:db8:2::2")
    routing.remove()
    assert standing() == before
