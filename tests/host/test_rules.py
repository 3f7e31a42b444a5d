"""The rules: what they say, what they leave behind, and what they do to packets."""

import re
import shutil
import socket
from pathlib import Path

import pytest

from mpcore.config import Config, load_config
from mpcore.errors import HostError
from mpcore.host import iptables, rules
from mpcore.host.flowsets import FlowSets
from mpcore.host.iptables import Iptables, chain_rules, removal_lines
from mpcore.host.nfqueue import NetlinkQueue
from mpcore.host.nft import Nft
from mpcore.host.nft import chain_rules as nft_chain_rules
from mpcore.host.rules import Rules, rule_settings
from mpcore.host.rulesettings import RuleSettings
from tests.host.namespace import in_namespace, run

# Kernel and nft of a machine may know sets of connections or not; these are the rules of one that does not.
pytestmark = pytest.mark.usefixtures("without_flow_sets")

TOOLS = ("iptables", "ip6tables")
OTHERS = "*mangle\n:theirs - [0:0]\n-A OUTPUT -p udp -j theirs\n-A theirs -j MARK --set-mark 7\nCOMMIT\n"


@pytest.fixture
def without_flow_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FlowSets, "available", lambda self, settings: False)


def config(*settings: str) -> Config:
    return load_config(None, settings)


def standing() -> list[str]:
    """The rules and chains of both IP versions. Listing a table is what makes its base chains."""
    return [run(tool, "-w", "-t", table, "-S") for tool in TOOLS for table in ("mangle", "raw")]


def prepare() -> list[str]:
    """Let another program own rules and return what stands."""
    for tool in TOOLS:
        run(f"{tool}-restore", "--noflush", "-w", stdin=OTHERS)
        run(tool, "-w", "-t", "raw", "-A", "OUTPUT", "-p", "udp", "-j", "ACCEPT")
    return standing()


@in_namespace
def test_install_and_remove_leave_other_rules_as_they_were() -> None:
    before = prepare()
    ours = Rules(config())
    ours.install()
    during = standing()
    assert all("MPCORE-OUT" in during[n] and "MPCORE-IN" in during[n] for n in (0, 2))
    assert all("-A OUTPUT -p udp -j theirs" in during[n] for n in (0, 2))
    ours.remove()
    assert standing() == before
    ours.remove()
    assert standing() == before


@in_namespace
def test_installing_over_leftovers_leaves_one_jump_a_chain() -> None:
    before = prepare()
    Rules(config()).install()
    once = standing()
    run("iptables", "-w", "-t", "mangle", "-A", "OUTPUT", "-p", "tcp", "-j", "MPCORE-OUT")
    second = Rules(config())
    second.install()
    assert standing() == once
    assert once[0].count("-j MPCORE-OUT") == 1
    Rules(config()).clean_leftovers()
    assert standing() == before
    Rules(config()).clean_leftovers()
    assert standing() == before


@in_namespace
def test_without_iptables_and_nft_the_error_says_what_to_do() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Iptables, "available", lambda self, queue: False)
        patch.setattr(Nft, "available", lambda self, queue: False)
        with pytest.raises(HostError, match="install iptables"):
            Rules(config()).install()


@in_namespace
def test_a_failed_install_leaves_nothing() -> None:
    before = prepare()

    def fail(settings: RuleSettings) -> list[str]:
        raise HostError("no raw table today")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iptables, "raw_lines", fail)
        with pytest.raises(HostError, match="today"):
            Rules(config()).install()
    assert standing() == before


@in_namespace
def test_without_connection_marks_the_rest_still_works() -> None:
    accepts = Iptables.accepts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Iptables,
            "accepts",
            lambda self, table, rule: "onnmark" not in rule and accepts(self, table, rule),
        )
        Rules(config()).install()
    assert "connmark" not in standing()[0]
    assert "NFQUEUE --queue-num 5200 --queue-bypass" in standing()[0]


@pytest.mark.parametrize("version", [4, 6])
@in_namespace
def test_a_connection_is_queued_and_its_injected_packets_are_not_tracked(version: int) -> None:
    address, family = ("127.0.0.1", socket.AF_INET) if version == 4 else ("::1", socket.AF_INET6)
    Rules(config("queue.number=77", "mptcp.loopback=true")).install()
    with NetlinkQueue(77) as queue, socket.socket(family) as client:
        client.setblocking(False)
        client.connect_ex((address, 9))
        (syn,) = queue.recv(5000)
        assert syn.data[0] >> 4 == version
    saved = run("iptables-save" if version == 4 else "ip6tables-save", "-t", "raw")
    assert "-A OUTPUT -o lo -p tcp -j MPCORE-RAW" in saved
    assert "-j CT --notrack" in saved


@in_namespace
def test_loopback_and_exclusions_are_not_queued() -> None:
    with NetlinkQueue(77) as queue, socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for settings in (
            ("mptcp.loopback=false",),
            ("mptcp.loopback=true", f'mptcp.exclude=["{port}"]'),
            ("mptcp.loopback=true", 'mptcp.exclude=["127.0.0.0/8"]'),
        ):
            Rules(config("queue.number=77", *settings)).install()
            socket.create_connection(server.getsockname(), timeout=5).close()
            assert queue.recv() == []


EXCLUDE = 'mptcp.exclude=["22", "10.0.0.0/8", "10.0.0.1:80", "2001:db8::/32", "[2001:db8::1]:443"]'


def test_exclusions_of_each_ip_version() -> None:
    settings = rule_settings(config(EXCLUDE))
    out4 = [rule for rule in chain_rules(4, settings, False, "-o", "-d") if rule.endswith("RETURN")]
    assert out4[2:] == [
        "-p tcp --sport 22 -j RETURN",
        "-p tcp --dport 22 -j RETURN",
        "-d 10.0.0.0/8 -j RETURN",
        "-d 10.0.0.1/32 -p tcp --dport 80 -j RETURN",
    ]
    in6 = [rule for rule in chain_rules(6, settings, False, "-i", "-s") if rule.endswith("RETURN")]
    assert in6[4:] == [
        "-s 2001:db8::/32 -j RETURN",
        "-s 2001:db8::1/128 -p tcp --sport 443 -j RETURN",
    ]


def test_the_same_rules_in_nft() -> None:
    assert list(nft_chain_rules(rule_settings(config(EXCLUDE)), "oifname", "daddr")) == [
        "meta l4proto != tcp return",
        "ct mark & 0x20000000 == 0x20000000 return",
        "meta mark & 0x20000000 == 0x20000000 ct mark set ct mark and 0x9fffffff or 0x20000000",
        "meta mark & 0x40000000 == 0x40000000 ct mark set ct mark and 0x9fffffff or 0x40000000",
        "meta mark & 0x10000000 == 0x10000000 return",
        "ct mark & 0x40000000 == 0x40000000 queue num 5200",
        'oifname "lo" return',
        "tcp sport 22 return",
        "tcp dport 22 return",
        "ip daddr 10.0.0.0/8 return",
        "ip daddr 10.0.0.1/32 tcp dport 80 return",
        "ip6 daddr 2001:db8::/32 return",
        "ip6 daddr 2001:db8::1/128 tcp dport 443 return",
        "ct state invalid queue num 5200",
        "queue num 5200 bypass",
    ]


@pytest.mark.skipif(shutil.which("nft") is None, reason="needs the program nft")
@in_namespace
def test_nft_takes_its_rules_and_removing_empties_the_chains() -> None:
    """Where the kernel lacks nft's queue statement, a counter stands in for it."""
    nft, settings = Nft(), rule_settings(config(EXCLUDE))
    with pytest.MonkeyPatch.context() as patch:
        if not nft.available(5200):
            patch.setattr(
                "mpcore.host.nft.chain_rules",
                lambda *arguments: [
                    re.sub(r"queue num \d+( bypass)?", "counter", rule)
                    for rule in nft_chain_rules(*arguments)
                ],
            )
        nft.install(settings)
        once = run("nft", "list", "table", "inet", "mpcore")
        nft.install(settings)
        assert run("nft", "list", "table", "inet", "mpcore") == once
    assert "tcp dport 22 return" in once
    assert "notrack" in once
    assert nft.refuse_orphans(settings)
    during = run("nft", "list", "table", "inet", "mpcore")
    assert "return" not in during
    assert during.count("reject with tcp reset") == 2
    assert not nft.refuse_orphans(settings)
    nft.remove()
    assert "reject" not in run("nft", "list", "table", "inet", "mpcore")


def test_removal_deletes_jumps_before_chains_and_nothing_else() -> None:
    saved = (
        "*raw\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p udp -j ACCEPT\nCOMMIT\n"
        "*mangle\n:OUTPUT ACCEPT [1:2]\n:MPCORE-OLD - [0:0]\n:other - [0:0]\n"
        "-A OUTPUT -p tcp -j MPCORE-OLD\n-A OUTPUT -j other\n-A MPCORE-OLD -j RETURN\nCOMMIT\n"
    )
    assert removal_lines(saved) == [
        "*mangle",
        "-D OUTPUT -p tcp -j MPCORE-OLD",
        "-F MPCORE-OLD",
        "-X MPCORE-OLD",
        "COMMIT",
    ]
    assert removal_lines("") == []


@in_namespace
def test_looking_for_leftovers_makes_no_old_table() -> None:
    """One that is there, even empty, costs every packet of the host."""
    Rules(config()).refuse_orphans()
    Rules(config()).clean_leftovers()
    for version in ("ip", "ip6"):
        assert Path(f"/proc/net/{version}_tables_names").read_text() == ""


def test_settings_come_from_the_configuration() -> None:
    settings = rules.rule_settings(config("queue.number=9", "mptcp.loopback=true"))
    assert (settings.queue, settings.mark_seen, settings.mark_leave) == (9, 0x10000000, 0x20000000)
    assert settings.mark_taken == 0x40000000
    assert settings.loopback
