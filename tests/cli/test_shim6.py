"""`mpcore shim6` against a daemon with the real control core, whose two contexts no peer ever saw."""

import json
import re
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path
from random import Random
from typing import Any

import click
import msgspec
import pytest

from mpcore.cli.main import cli, run
from mpcore.host.control_handlers import SHIM6_METHODS
from mpcore.host.forming_handlers import forming_handlers
from mpcore.host.shim6_handlers import Shim6Handlers
from mpcore.host.shim6_log import Shim6Log
from mpcore.shim6.advertised import FOREVER_S
from mpcore.shim6.events import ExplorationFinished, ExplorationStarted, PayloadResumed
from mpcore.shim6.formed_status import describe_formed
from mpcore.shim6.former import AddressFormer
from mpcore.shim6.forming import FormSettings, Kind
from mpcore.shim6.prefixes import parse_prefix
from mpcore.shim6.records import ContextRecord, record_of
from mpcore.shim6.settings import SECOND, Shim6Settings
from mpcore.shim6_endpoint import Shim6Endpoint
from mpcore.sim import rng
from mpcore.sim.shim6_identity import ToyVerifier, toy_identities
from mpcore.wire.shim6 import PreferenceFlag
from tests.cli.conftest import fake_daemon
from tests.helpers.sources import ROOT
from tests.shim6.world import A1, A2, B1, B2, C1, Pairing

NOW_NS = 5 * SECOND
P1, P2 = parse_prefix("2001:db8:1::/64"), parse_prefix("2001:db8:2::/64")
DEMO = "2001:db8:1::a1-2001:db8:3::b1"


class ShowDocument(dict[str, Any]):
    """The status document as it is when somebody asks."""

    def __init__(self, endpoint: Shim6Endpoint) -> None:
        self.endpoint = endpoint

    def get(self, key: str, default: Any = None) -> Any:
        return self.endpoint.snapshot().get(key, default)


def sample() -> ContextRecord:
    pairing = Pairing()
    pairing.establish()
    context = pairing.context(pairing.a)
    assert context is not None
    record = record_of(context)
    assert record is not None
    return msgspec.structs.replace(record, tag_local=0xABC)


class FormingStandIn:
    """What forms addresses, as far as the commands need it: P1 has an address, P2 was given up."""

    def __init__(self) -> None:
        self.former = AddressFormer(FormSettings(kind=Kind.HBA, settle_ns=0), Random(1), now_ns=0)
        self.former.handle_link("eth0", True, 0)
        self.former.handle_prefix(P1, "eth0", 600, FOREVER_S, 0)
        self.former.handle_timeout(0)
        self.former.handle_timeout(0)
        self.former.given_up.add(P2)

    def describe(self) -> list[dict[str, object]]:
        return describe_formed(self.former, NOW_NS)

    def renew(self) -> None:
        self.former.renew(NOW_NS)


class Daemon:
    """A control socket over an endpoint of host a, which knows B1 by two contexts, the second a fork."""

    def __init__(self) -> None:
        self.endpoint = Shim6Endpoint(
            Shim6Settings(), rng=rng.stream(1, "daemon"), now_ns=NOW_NS, verifier=ToyVerifier()
        )
        for name, address in (("eth0", A1), ("eth1", A2)):
            self.endpoint.add_local_address(address, interface=name, now_ns=NOW_NS)
        for identity in toy_identities("a", [A1, A2]):
            self.endpoint.set_identity(identity, NOW_NS)
        fork = msgspec.structs.replace(sample(), fii=7, tag_local=0xDEF, initiator_nonce=1, tag_peer=2)
        assert self.endpoint.manager.restore([sample(), fork], NOW_NS) == 2
        self.endpoint.settle(NOW_NS)
        self.log = Shim6Log()
        self.worked = 0
        self.path = ""

    def work(self) -> None:
        self.worked += 1


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon()
    daemon.path = str(tmp_path / "control.sock")
    handlers = Shim6Handlers(daemon.endpoint, daemon.log, lambda: NOW_NS, daemon.work).handlers()
    handlers |= forming_handlers(FormingStandIn(), daemon.work)
    with fake_daemon(daemon.path, ShowDocument(daemon.endpoint), handlers):
        yield daemon


def command(daemon: Daemon, *words: str) -> int:
    return run(["shim6", *words, "--control", daemon.path])


Capture = pytest.CaptureFixture[str]


def test_every_method_has_a_handler(daemon: Daemon) -> None:
    found = Shim6Handlers(daemon.endpoint, daemon.log, lambda: 0).handlers()
    assert {*found, *forming_handlers(None, lambda: None)} == set(SHIM6_METHODS)


def test_list_has_a_line_for_each_context(daemon: Daemon, capsys: Capture) -> None:
    assert command(daemon, "list") == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["TAG", "LOCAL", "PEER", "STATE", "REACHABILITY", "LOCATORS"]
    assert [line.split()[0] for line in lines] == ["000000000abc", "000000000def"]
    assert "established  operational  " in lines[0]
    assert lines[0].endswith("as they are")
    assert "2001:db8:3::b1 (fork 7)" in lines[1]


def test_list_in_json_and_counted(daemon: Daemon, capsys: Capture) -> None:
    assert command(daemon, "list", "-j") == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["tag_local"] for entry in entries] == ["000000000abc", "000000000def"]
    assert command(daemon, "list", "--count") == 0
    assert capsys.readouterr().out == "2\n"


def test_show_tells_all_of_one_context(daemon: Daemon, capsys: Capture) -> None:
    assert command(daemon, "show", DEMO.replace("-", " ").split()[0]) == 1  # the ULID of both
    assert (
        "means several contexts; name one by its tag: 000000000abc, 000000000def" in capsys.readouterr().err
    )
    assert command(daemon, "show", "000000000def") == 0
    assert "  fii: 7\n" in capsys.readouterr().out


def test_remove_one_and_all(daemon: Daemon, capsys: Capture) -> None:
    assert command(daemon, "rm", "000000000def") == 0
    assert [context.key.fii for context in daemon.endpoint.manager.contexts()] == [0]
    assert command(daemon, "rm", DEMO) == 0
    assert command(daemon, "rm", "--all") == 0
    assert capsys.readouterr().out == "1 removed\n1 removed\n0 removed\n"
    assert len(daemon.endpoint.engine) == 0
    assert daemon.worked == 3


@pytest.mark.parametrize("words", [["rm"], ["rm", "1", "--all"], ["set", "send-timeout", "0.5"], ["explore"]])
def test_wrong_usage_ends_with_2(words: list[str], tmp_path: Path) -> None:
    assert run(["shim6", *words, "--control", str(tmp_path / "none")]) == 2


def test_what_is_not_there_ends_with_3(daemon: Daemon, capsys: Capture) -> None:
    for words in (["show", "1"], ["rm", "1"], ["explore", "1"], ["prefer", "2001:db8::1"]):
        assert command(daemon, *words) == 3
    assert capsys.readouterr().err.splitlines() == [
        *("mpcore: no context '1'; 'mpcore shim6 list' lists them",) * 3,
        "mpcore: 2001:db8::1 is no address of this host that Shim6 knows",
    ]


def test_explore_sends_probes_at_once(daemon: Daemon) -> None:
    assert command(daemon, "explore", "000000000abc") == 0
    assert [packet.data[8:24] for packet in daemon.endpoint.poll_transmit()] == [A2]
    assert command(daemon, "explore", "000000000def", "--check") == 0


def test_only_established_contexts_explore(daemon: Daemon, capsys: Capture) -> None:
    daemon.endpoint.establish(A1, C1, NOW_NS)
    assert command(daemon, "explore", str(IPv6Address(C1))) == 1
    assert capsys.readouterr().err == "mpcore: the context is i1-sent, only an established one explores\n"


def test_establish_begins_an_exchange(daemon: Daemon, capsys: Capture) -> None:
    assert command(daemon, "establish", str(IPv6Address(A1)), str(IPv6Address(B2)), "--fii", "3") == 0
    context = daemon.endpoint.manager.find(A1, B2, 3)
    assert context is not None
    assert capsys.readouterr().out == f"{context.tag_local:012x}\n"
    assert len(daemon.endpoint.poll_transmit()) == 1


@pytest.mark.parametrize(
    ("local", "peer", "problem"),
    [
        ("2001:db8:1::a1", "2001:db8:2::a1", "no context between"),
        ("2001:db8::1", "2001:db8::2", "no context between"),
        ("10.0.0.1", "2001:db8::2", "'10.0.0.1' is no IPv6 address"),
    ],
)
def test_establish_between_others_is_refused(
    daemon: Daemon, capsys: Capture, local: str, peer: str, problem: str
) -> None:
    assert command(daemon, "establish", local, peer) == 1
    assert f"mpcore: {problem}" in capsys.readouterr().err


def test_set_send_timeout(daemon: Daemon, capsys: Capture) -> None:
    assert command(daemon, "set", "send-timeout", "2.5") == 0
    assert capsys.readouterr().out == "2.5 s\n"
    assert daemon.endpoint.manager.settings.send_timeout_ns == 5 * SECOND // 2
    assert len(daemon.endpoint.poll_transmit()) == 2  # Update Requests to the peers


def test_prefer_and_back(daemon: Daemon, capsys: Capture) -> None:
    manager, text = daemon.endpoint.manager, str(IPv6Address(A1))
    assert command(daemon, "prefer", text, "--broken", "--priority", "3", "--weight", "9") == 0
    preference = manager.local_preference(A1)
    assert (preference.flags, preference.priority, preference.weight) == (PreferenceFlag.BROKEN, 3, 9)
    assert all(str(context.reap.state) == "exploring" for context in manager.contexts())
    assert command(daemon, "identities") == 0
    assert "  2001:db8:1::a1 (by hba, broken, priority 3, weight 9)\n" in capsys.readouterr().out
    assert command(daemon, "prefer", text) == 0
    assert manager.local_preference(A1).flags == 0


def test_identities(daemon: Daemon, capsys: Capture) -> None:
    assert command(daemon, "identities", "-j") == 0
    first, second = json.loads(capsys.readouterr().out)["identities"]
    assert (first["ulid"], second["ulid"]) == ("2001:db8:1::a1", "2001:db8:2::a1")
    assert first["multihomed"]
    assert [one["method"] for one in first["locators"]] == ["hba", "hba"]


def test_formed_addresses(daemon: Daemon, capsys: Capture) -> None:
    assert command(daemon, "addresses") == 0
    _, formed, failed = (line.split() for line in capsys.readouterr().out.splitlines())
    assert formed[1:] == ["eth0", "hba", "tentative", "0", "595", "s", "forever"]
    assert formed[0].startswith("2001:db8:1:")
    assert failed == ["2001:db8:2::/64", "(none)", "hba", "failed", "0", "s", "0", "s"]
    assert command(daemon, "renew", "-j") == 0
    (entry,) = json.loads(capsys.readouterr().out)["addresses"]
    assert entry["address"] != formed[0]
    assert daemon.worked == 1


def test_a_search_is_shown(tmp_path: Path, capsys: Capture) -> None:
    standing = FormingStandIn()
    standing.former = AddressFormer(FormSettings(kind=Kind.HBA, sec=2, settle_ns=0), Random(1), now_ns=0)
    standing.former.handle_prefix(P1, "eth0", 600, FOREVER_S, 0)
    standing.former.handle_timeout(0)
    standing.former.handle_progress(1, 12_300_000)
    path = str(tmp_path / "control.sock")
    with fake_daemon(path, {}, forming_handlers(standing, lambda: None)):
        assert run(["shim6", "addresses", "--control", path]) == 0
    _, line = capsys.readouterr().out.splitlines()
    assert line.startswith("2001:db8:1::/64 (none)")
    assert "searching, 12.3 of some 4295.0 million hashes" in line


def test_where_no_addresses_are_formed_that_is_said(tmp_path: Path, capsys: Capture) -> None:
    path = str(tmp_path / "control.sock")
    with fake_daemon(path, {}, forming_handlers(None, lambda: None)):
        assert run(["shim6", "addresses", "--control", path]) == 0
        assert run(["shim6", "renew", "--control", path]) == 1
    out, err = capsys.readouterr()
    assert out == "no addresses are formed: shim6.form is off, or no prefix is known yet\n"
    assert err == "mpcore: no addresses are formed here: shim6.form is off\n"


def test_log(daemon: Daemon, capsys: Capture) -> None:
    assert command(daemon, "log") == 0
    assert capsys.readouterr().out == "no explorations\n"
    daemon.log.note(ExplorationStarted(A1, B1, "send-timeout", 2), 1)
    daemon.log.note(ExplorationFinished(A1, B1, A2, B2, 1_500_000, 3), 2 * SECOND)
    daemon.log.note(PayloadResumed(A1, B1, 0, 400_000_000), 2 * SECOND)
    daemon.log.note(PayloadResumed(A1, C1, 0, 900_000_000), 2 * SECOND)
    assert command(daemon, "log", "--reset") == 0
    _, line = capsys.readouterr().out.splitlines()
    assert line.split() == [
        "3.00", "s", "2001:db8:1::a1", "2001:db8:3::b1", "send-timeout", "1.5", "ms", "3", "400.0", "ms",
        "2001:db8:2::a1", ">", "2001:db8:4::b1",
    ]  # fmt: skip
    assert command(daemon, "log", "-j") == 0
    assert json.loads(capsys.readouterr().out) == {"explorations": []}


def test_the_log_is_bounded() -> None:
    log = Shim6Log()
    for number in range(2000):
        ulid = number.to_bytes(16)
        log.note(ExplorationStarted(ulid, B1, "hint", 1), 0)
        log.note(ExplorationFinished(A1, ulid, A2, B2, 1, 1), number)
    assert len(log.entries(2000)) == 256
    assert len(log._started) == 1024


def test_while_shim6_is_off_that_is_said(tmp_path: Path, capsys: Capture) -> None:
    path = str(tmp_path / "control.sock")
    with fake_daemon(path, {}):
        assert run(["shim6", "rm", "--all", "--control", path]) == 1
        assert run(["shim6", "list", "--control", path]) == 0
    out, err = capsys.readouterr()
    assert out == "no contexts\n"
    assert err == "mpcore: Shim6 is off: set shim6.enabled to true and start the daemon again\n"


# What LinShim6's console knew, in its own order of help.
LINSHIM6 = (
    "ls", "cat", "rm", "nbc", "sla", "dcp", "set tsend", "get timelog", "reset timelog", "get artlog", "dkc",
    "dkp", "help", "quit",
)  # fmt: skip


def counterparts() -> dict[str, list[str]]:
    """The table of docs/shim6.md: LinShim6's commands, and those of here beside each."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "docs" / "shim6.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        theirs = re.findall(r"`([a-z ]+?)(?: [A-Z*]+)?`", cells[0])
        if line.startswith("|") and set(theirs) & set(LINSHIM6):
            for one in theirs:
                found.setdefault(one, []).extend(re.findall(r"`mpcore ([^`]+)`", cells[1]))
    return found


@pytest.mark.parametrize("theirs", LINSHIM6)
def test_each_command_of_linshim6_has_a_counterpart_that_exists(theirs: str) -> None:
    named = counterparts()[theirs]
    assert named or theirs == "quit"
    for text in named:
        command: click.Command = cli
        for word in (word for word in text.split() if word.islower() and not word.startswith("-")):
            if not isinstance(command, click.Group):
                continue
            found = command.get_command(click.Context(command), word)
            assert found is not None, text
            command = found
        options = {option for param in command.params for option in param.opts} | {"--help"}
        assert {word for word in text.split() if word.startswith("-")} <= options
