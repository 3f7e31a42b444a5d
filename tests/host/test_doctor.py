"""The doctor: sound on this host, and a remedy for whatever is missing."""

import pytest

from mpcore.config import load_config
from mpcore.errors import HostError
from mpcore.host import doctor
from mpcore.host.doctor import Finding, diagnose
from mpcore.host.flowsets import FlowSets
from mpcore.host.iptables import Iptables
from mpcore.host.nft import Nft
from mpcore.lab.wait import wait_until
from tests.helpers.routers import link_local
from tests.host.namespace import drop_privileges, in_namespace, run, set_variable
from tests.host.uplinks import add_uplink


def findings(*settings: str) -> dict[str, Finding]:
    return {finding.name: finding for finding in diagnose(load_config(None, settings))}


@in_namespace
def test_a_host_with_two_uplinks_lacks_nothing_and_nothing_changes() -> None:
    add_uplink(1)
    add_uplink(2)
    run("iptables", "-w", "-t", "mangle", "-S")
    run("iptables", "-w", "-t", "raw", "-S")
    before = run("iptables-save", "-t", "mangle").splitlines()[1:-1], run("ip", "rule")
    found = findings()
    assert [finding for finding in found.values() if not finding.ok] == []
    assert "up1, up2" in found["addresses"].detail
    assert "with super-packets" in found["packet queue"].detail
    assert (run("iptables-save", "-t", "mangle").splitlines()[1:-1], run("ip", "rule")) == before
    assert run("cat", "/proc/net/netfilter/nfnetlink_queue") == ""


@in_namespace
def test_each_failure_names_its_remedy() -> None:
    add_uplink(1)
    set_variable("net.ipv4.conf.all.rp_filter", 1)

    def refuse(*arguments: object, **options: object) -> object:
        raise HostError("not today")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Iptables, "accepts", lambda *arguments: False)
        patch.setattr(Nft, "available", lambda *arguments: False)
        patch.setattr(FlowSets, "available", lambda *arguments: False)
        for name in ("NetlinkQueue", "RawSender", "RouteSocket"):
            patch.setattr(doctor, name, refuse)
        found = findings("routing.manage=false")
    failed = {name: finding.remedy for name, finding in found.items() if not finding.ok}
    assert failed.pop("raw socket IPv4") == doctor.AS_ROOT
    assert {name: remedy.split()[0] for name, remedy in failed.items()} == {
        "packet queue": "modprobe",
        "queue rule IPv4": "apt",
        "queue rule IPv6": "apt",
        "connection marks": "modprobe",
        "Shim6": "apt",
        "raw socket IPv6": "sysctl",
        "policy routing": "use",
        "addresses": "connect",
        "rp_filter": "sysctl",
    }
    assert all(not finding.remedy for finding in found.values() if finding.ok)
    optional = {name for name, finding in found.items() if not finding.needed}
    assert optional == {"connection marks", "Shim6", "addresses", "rp_filter"}


@in_namespace
@pytest.mark.parametrize("enabled", [False, True])
def test_shim6_needs_nft_only_where_it_is_on(enabled: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mpcore.host.shim6_rules.succeeds", lambda *arguments: False)
        found = findings(f"shim6.enabled={str(enabled).lower()}")["Shim6"]
    assert not found.ok
    assert "needs nft" in found.detail
    assert found.needed == enabled


@in_namespace
def test_without_privileges_every_remedy_is_to_be_root() -> None:
    drop_privileges()
    found = findings()
    assert not found["capabilities"].ok
    assert {finding.remedy for finding in found.values() if not finding.ok} == {doctor.AS_ROOT}


@in_namespace
def test_interfaces_that_hear_no_router_are_named() -> None:
    add_uplink(1)
    add_uplink(2)
    only = 'shim6.form_interfaces=["up1", "up2"]'
    assert "formed addresses" not in findings(only)
    heard = findings("shim6.form=hba", only)["formed addresses"]
    assert (heard.ok, heard.detail) == (True, "hba, from router advertisements on up1, up2")
    set_variable("net.ipv6.conf.up1.forwarding", 1)
    set_variable("net.ipv6.conf.up2.accept_ra", 0)
    deaf = findings("shim6.form=hba", only)["formed addresses"]
    assert not deaf.ok
    assert not deaf.needed
    assert deaf.detail == "hba, from router advertisements on no interface, not heard on up1, up2"
    assert deaf.remedy.startswith("sysctl -w net.ipv6.conf.INTERFACE.accept_ra=2")
    set_variable("net.ipv6.conf.up1.accept_ra", 2)
    named = findings("shim6.form=hba", only, 'shim6.form_prefixes=["2001:db8:2::/64@up2"]')
    assert named["formed addresses"].ok


@in_namespace
def test_interfaces_with_several_providers_are_named() -> None:
    add_uplink(1)
    run("ip", "addr", "add", "2001:db8:2::2/64", "dev", "up1", "nodad")
    assert findings()["providers"].detail == "no interface has several default routers of IPv6"
    wait_until(lambda: bool(link_local("up1")), "a link-local address")
    for number in (1, 2):
        run("ip", "-6", "route", "append", "default", "via", f"fe80::{number}", "dev", "up1")
    found = findings()
    assert found["providers"].ok
    assert found["providers"].detail.startswith("up1: fe80::1, fe80::2; packets leave by those")
    assert found["addresses"].ok, "two providers are two paths"
    alone = findings("routing.manage=false")["providers"]
    assert not alone.ok
    assert not alone.needed
    assert alone.remedy.startswith("routing.manage=true")
    run("ip", "-6", "route", "append", "default", "via", "2001:db8:1::1", "dev", "up1")
    assert "not known" in findings()["providers"].detail
