"""Source routing: each address leaves by its own interface, and nothing stays behind."""

import pytest

from mpcore.config import RoutingConfig
from mpcore.errors import HostError
from mpcore.host.netlink import AddressMonitor, LocalAddress
from mpcore.host.routing import SourceRouting
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
