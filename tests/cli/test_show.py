"""`mpcore show` and `mpcore explain` against a daemon that serves a document."""

import json
from pathlib import Path

import pytest

from mpcore.cli.explain import DEFAULT_RULE, FALLBACK_RULES, explain
from mpcore.cli.main import run
from mpcore.endpoint import FALLBACK_WORDS
from mpcore.mptcp.states import FallbackReason
from tests.cli.conftest import DOCUMENT, FakeDaemon, fake_daemon


def test_show_prints_all_blocks_without_colour(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["show", "--control", daemon.path]) == 0
    blocks = capsys.readouterr().out
    heads = [line for line in blocks.splitlines() if line and not line.startswith(" ")]
    assert heads == [
        "connection: 185d5434",
        "connection: 00abcdef",
        "context: 2001:db8::1 2001:db8::2",
        "path: 3",
    ]
    assert "\x1b" not in blocks


@pytest.mark.parametrize("section", ["connections", "contexts", "paths"])
def test_show_prints_only_what_is_asked_for(
    daemon: FakeDaemon, section: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["show", section, "--control", daemon.path]) == 0
    kinds = {line.split(":")[0] for line in capsys.readouterr().out.splitlines() if line[:1].strip()}
    assert kinds == {section.removesuffix("s")}


def test_show_counters_has_those_that_moved(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "counters", "--control", daemon.path]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "MPTcpExtMPCapableSYNTX",
        "MpcoreExtRewritten",
    ]


def test_show_json_is_the_document(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "-j", "--control", daemon.path]) == 0
    assert json.loads(capsys.readouterr().out) == DOCUMENT


def test_show_json_of_a_section_has_only_it(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "counters", "-j", "--control", daemon.path]) == 0
    assert json.loads(capsys.readouterr().out) == {"counters": DOCUMENT["counters"]}


@pytest.mark.parametrize(("what", "said"), [([], "no connections\n"), (["contexts"], "no contexts\n")])
def test_show_says_that_there_is_nothing(
    tmp_path: Path, what: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_daemon(str(tmp_path / "s"), {}) as daemon:
        assert run(["show", *what, "--control", daemon.path]) == 0
    assert capsys.readouterr().out == said


def test_the_socket_may_come_from_the_environment(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPCORE_SOCKET", daemon.path)
    assert run(["show", "paths"]) == 0
    assert capsys.readouterr().out.startswith("path: 3")


@pytest.mark.parametrize("command", [["show"], ["monitor"], ["explain", "1"]])
def test_without_a_daemon_one_sentence_and_3(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "none.sock")
    assert run([*command, "--control", path]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f"no daemon answers on {path}: start one with 'mpcore run'" in err


def test_explain_a_multipath_connection(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "185d5434", "--control", daemon.path]) == 0
    out = capsys.readouterr().out
    assert "10.9.1.1:44962 -> 10.9.1.2:5201" in out
    assert "multipath: 2 subflows are established" in out
    assert "RFC 8684 §3.2" in out


def test_explain_a_plain_connection(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "[2001:db8::2]:40000", "--control", daemon.path]) == 0
    out = capsys.readouterr().out
    assert "plain TCP: the peer did not offer MP_CAPABLE" in out
    assert "decided by RFC 8684 §3.1" in out


def test_explain_in_json(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "00abcdef", "-j", "--control", daemon.path]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["connection"] == DOCUMENT["connections"][1]
    assert document["multipath"] is False


def test_explain_what_is_not_there_ends_with_3(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", "ffffffff", "--control", daemon.path]) == 3
    assert "no connection 'ffffffff'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("states", "verdict"),
    [
        (["established", "established"], "multipath: 2 subflows are established"),
        (["established", "closed"], "MPTCP over one subflow"),
        ([], "MPTCP, with no subflow established now"),
    ],
)
def test_explain_counts_established_subflows(states: list[str], verdict: str) -> None:
    entry = {"fallback": None, "subflows": [{"state": state} for state in states]}
    assert explain(entry)["verdict"] == verdict


def test_explain_an_unknown_reason_by_the_rule_of_fallback() -> None:
    """RFC 8684 §3.7 is where every fallback begins."""
    assert (explain({"fallback": "moon phase"})["rule"], "RFC 8684 §3.7") == (DEFAULT_RULE[0],) * 2


def test_every_reason_is_explained() -> None:
    at_the_handshake = {str(reason) for reason in FallbackReason}
    assert at_the_handshake | set(FALLBACK_WORDS.values()) == set(FALLBACK_RULES)
