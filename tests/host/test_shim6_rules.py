"""Shim6's rules as text, and the order in which they are put in and taken back; no kernel is asked."""

from dataclasses import replace

import pytest

from mpcore.config import ForkRule
from mpcore.errors import HostError
from mpcore.host import shim6_rules
from mpcore.host.iptables import removal_lines
from mpcore.host.shim6_rules import (
    CHAIN_PREFIX,
    ICMP_ERRORS,
    TABLE,
    Shim6Rules,
    Shim6RuleSettings,
    counting_rules,
    defragmenters,
    in_lines,
    out_lines,
    remove_shim6_rules,
    table_text,
)

SETTINGS = Shim6RuleSettings(
    queue=5201,
    tcp_queue=5202,
    mark_done=0x4000000,
    mark_rewrite=0x8000000,
    skip_ports=(123, 53),
    with_mptcp=False,
    max_talks=9,
)


def test_what_comes_to_the_queue_of_input() -> None:
    """RFC 5533 §12, §8: protocol 140, and the ICMPv6 errors; nothing twice."""
    lines = in_lines(SETTINGS, None)
    queue = "-j NFQUEUE --queue-num 5201 --queue-bypass"
    assert lines[0] == "*mangle"
    assert lines[2] == f"-A {CHAIN_PREFIX}IN -m mark --mark 0x4000000/0x4000000 -j RETURN"
    assert f"-A {CHAIN_PREFIX}IN -p 140 {queue}" in lines
    assert [line for line in lines if "icmpv6-type" in line] == [
        f"-A {CHAIN_PREFIX}IN -p icmpv6 --icmpv6-type {number} {queue}" for number in ICMP_ERRORS
    ]
    assert lines[-3:] == [
        f"-I INPUT -p 140 -j {CHAIN_PREFIX}IN",
        f"-I INPUT -p icmpv6 -j {CHAIN_PREFIX}IN",
        "COMMIT",
    ]


def test_fragments_are_put_together_before_the_queue() -> None:
    for rule in defragmenters():
        assert rule.startswith("-p 140 ")
        lines = in_lines(SETTINGS, rule)
        at = lines.index(f"-A {CHAIN_PREFIX}IN {rule}")
        assert at < next(number for number, line in enumerate(lines) if "NFQUEUE" in line)


def test_only_marked_packets_are_queued_on_the_way_out_and_never_bypass() -> None:
    """Without the header the peer's answer would go to the locator that is dead."""
    lines = out_lines(SETTINGS, "security")
    assert lines == [
        "*security",
        f":{CHAIN_PREFIX}OUT - [0:0]",
        f"-A {CHAIN_PREFIX}OUT -m mark --mark 0x4000000/0x4000000 -j RETURN",
        f"-A {CHAIN_PREFIX}OUT -p tcp -j NFQUEUE --queue-num 5202",
        f"-A {CHAIN_PREFIX}OUT -j NFQUEUE --queue-num 5201",
        f"-A OUTPUT -m mark --mark 0x8000000/0x8000000 -j {CHAIN_PREFIX}OUT",
        "COMMIT",
    ]


def test_contexts_are_counted_first_and_shim6_itself_never() -> None:
    rules = list(counting_rules(SETTINGS))
    for name, direction in (("unforked", "sent"), ("in", "received")):
        chain = table_text(SETTINGS, 40).split(f"chain {name} {{")[1]
        assert chain.index(f"@contexts goto {direction}") < chain.index("update @talks")
    assert rules[0] == " meta l4proto 140 return"
    assert rules[1] == " tcp option mptcp exists return"
    assert [
        rule for rule in rules if "{ 53, 123 }" in rule and ("sport" in rule or "dport" in rule)
    ] == rules[2:4]
    assert "update @talks" in rules[-2]
    assert "update @others" in rules[-1]


def test_what_goes_by_contexts_is_remembered_from_this_hosts_side() -> None:
    text = table_text(SETTINGS, 40)
    assert "update @used { ip6 saddr . ip6 daddr . meta l4proto . th sport }" in text
    assert "update @used { ip6 daddr . ip6 saddr . meta l4proto . th dport }" in text
    assert "update @used_others { ip6 daddr . ip6 saddr . meta l4proto }" in text
    assert text.count(" meta l4proto tcp return") == 2


def test_packets_of_a_fork_are_asked_for_in_front_of_the_plain_context() -> None:
    """RFC 5533 §4.2; of several rules the first that fits counts, whether its fork is there or not."""
    forks = (
        ForkRule(fii=7, dscp=46),
        ForkRule(fii=2, mark=0x10, mark_mask=0xF0),
        ForkRule(fii=9, dscp=0, mark=0, mark_mask=0x1),
    )
    text = table_text(replace(SETTINGS, forks=forks), 40)
    rules = text.split("chain out {")[1].split("}")[0].splitlines()
    assert rules[-4:] == [
        " ip6 dscp 46 goto fork_7",
        " meta mark & 0xf0 == 0x10 goto fork_2",
        " ip6 dscp 0 meta mark & 0x1 == 0x0 goto fork_9",
        " goto unforked",
    ]
    assert text.split("chain fork_2 {")[1].split("\n}")[0].splitlines()[1:] == [
        " ip6 saddr . ip6 daddr @forked_2 meta mark set meta mark | 0x8000000 goto sent",
        " ip6 saddr . ip6 daddr @contexts update @wanted_2 { ip6 saddr . ip6 daddr }",
        " goto unforked",
    ]
    assert "set forked_9 { type ipv6_addr . ipv6_addr; }" in text
    assert "set wanted_9 { type ipv6_addr . ipv6_addr; flags dynamic,timeout; timeout 30s; size 9;" in text
    assert "fork" not in table_text(SETTINGS, 40).replace("unforked", "")


def test_what_the_configuration_leaves_out() -> None:
    rules = "\n".join(counting_rules(replace(SETTINGS, skip_ports=(), with_mptcp=True)))
    assert "mptcp" not in rules
    assert "return\n" in rules
    assert "53" not in rules


def test_the_table_bounds_what_strangers_can_fill() -> None:
    text = table_text(SETTINGS, 40)
    for name, timeout_s in (("talks", 30), ("others", 30), ("used", 3600), ("used_others", 3600)):
        (line,) = [line for line in text.splitlines() if line.startswith(f"set {name} ")]
        assert "size 9;" in line
        assert f"timeout {timeout_s}s;" in line
    assert "hook output priority 40" in text
    assert 'oifname "lo" return' in text
    assert "rt ipsec exists return" in text
    assert text.count("{") == text.count("}")


class FakeTables:
    """An ip6tables that accepts what it is told to."""

    tool = "ip6tables"

    def __init__(self, refused: tuple[str, ...] = ()) -> None:
        self.refused = refused

    def available(self, queue: int) -> bool:
        return "available" not in self.refused

    def accepts(self, table: str, rule: str) -> bool:
        return not any(word in f"{table} {rule}" for word in self.refused)


class Steps:
    """What would have been run, one line a step; `fails` is the step that does not succeed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: str = "nothing") -> None:
        self.taken: list[str] = []
        self.fails = fails
        self.text: dict[str, str] = {}
        monkeypatch.setattr(shim6_rules, "run_command", self.run)
        monkeypatch.setattr(shim6_rules, "succeeds", lambda command, stdin: "nft" not in fails)
        monkeypatch.setattr(shim6_rules, "remove_shim6_rules", lambda: self.taken.append("remove"))
        monkeypatch.setattr(shim6_rules.shutil, "which", lambda name: f"/sbin/{name}")

    def run(self, command: list[str], stdin: str) -> str:
        self.taken.append(command[0])
        self.text[command[0]] = stdin
        if command[0] == self.fails:
            raise HostError(f"{command[0]} failed")
        return ""


def rules_with(tables: FakeTables) -> Shim6Rules:
    rules = Shim6Rules(SETTINGS)
    rules._tables = tables  # type: ignore[assignment]
    return rules


def test_leftovers_go_before_sets_and_sets_come_before_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch)
    rules_with(FakeTables()).install()
    assert steps.taken == ["remove", "nft", "ip6tables-restore"]
    assert "*security" in steps.text["ip6tables-restore"]
    assert "priority 40" in steps.text["nft"]


def test_a_kernel_without_the_table_security_queues_in_mangle(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch)
    rules_with(FakeTables(refused=("security", "-m socket"))).install()
    assert "*security" not in steps.text["ip6tables-restore"]
    assert "priority -160" in steps.text["nft"]
    assert "--ctstate DNAT" in steps.text["ip6tables-restore"]


def test_what_fails_half_way_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch, fails="ip6tables-restore")
    with pytest.raises(HostError, match="ip6tables-restore failed"):
        rules_with(FakeTables()).install()
    assert steps.taken == ["remove", "nft", "ip6tables-restore", "remove"]


@pytest.mark.parametrize(
    ("refused", "fails", "what"),
    [(("available",), "nothing", "ip6tables with NFQUEUE"), ((), "nft", "Shim6 needs nft")],
)
def test_what_a_host_lacks_is_told_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, refused: tuple[str, ...], fails: str, what: str
) -> None:
    steps = Steps(monkeypatch, fails)
    with pytest.raises(HostError, match=f"{what}.*shim6.enabled=false"):
        rules_with(FakeTables(refused)).install()
    assert steps.taken == []


def test_only_rules_of_shim6_are_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def run(command: list[str]) -> str:
        ran.append(command)
        return f"table ip6 filter\ntable ip6 {TABLE}\ntable inet {TABLE}x\n"

    monkeypatch.setattr(shim6_rules, "run_command", run)
    monkeypatch.setattr(shim6_rules.Iptables, "remove", lambda self, prefix: ran.append([prefix]))
    monkeypatch.setattr(shim6_rules.shutil, "which", lambda name: f"/sbin/{name}")
    remove_shim6_rules()
    assert ran == [[CHAIN_PREFIX], ["nft", "list", "tables"], ["nft", "delete", "table", "ip6", TABLE]]
    saved = "*mangle\n:MPCORE-OUT - [0:0]\n:MPCORE-SHIM6-IN - [0:0]\n-A OUTPUT -p tcp -j MPCORE-OUT\n"
    saved += "-A INPUT -p 140 -j MPCORE-SHIM6-IN\nCOMMIT\n"
    removed = "\n".join(removal_lines(saved, CHAIN_PREFIX))
    assert "MPCORE-SHIM6-IN" in removed
    assert "MPCORE-OUT" not in removed


def test_without_nft_nothing_of_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shim6_rules.Iptables, "remove", lambda self, prefix: None)
    monkeypatch.setattr(shim6_rules.shutil, "which", lambda name: None)
    remove_shim6_rules()
