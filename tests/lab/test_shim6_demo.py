import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mpcore.cli.demo import demo_command
from mpcore.lab import shim6_demo
from mpcore.lab.datagrams import Silence, longest_silence, read_arrivals
from mpcore.lab.host import namespaces
from mpcore.lab.shim6_demo import Pairs, Shim6Result, Survival, run_shim6_demo
from mpcore.lab.shim6_hosts import make_shim6_hosts
from mpcore.shim6.cga_parameters import parse_parameters
from mpcore.shim6.hba import verify_hba
from tests.helpers.netns import make_lab, needs_root

ULIDS = ["fd77:1::a", "fd77:1::b"]


@pytest.mark.kernel
def test_all_sessions_stall_without_shim6_and_survive_with_it() -> None:
    needs_root()
    said: list[str] = []
    result = run_shim6_demo(seconds=1, rate_mbit=100, send_timeout_s=1, say=said.append, patience_s=1)
    plain, shim6 = result.runs["plain"], result.runs["shim6"]
    assert plain.unharmed
    assert not plain.complete
    assert not any(silence.went_on for silence in plain.silences.values())
    assert result.survived
    assert shim6.received == shim6.size == 12_500_000
    assert sorted(shim6.addresses) == sorted(result.pairs.ulids)
    assert not set(result.pairs.locators) & set(result.pairs.ulids)
    assert "Shim6: link 1 falls silent" in said
    assert not [name for name in namespaces() if f"-{os.getpid()}-" in name]


@pytest.mark.kernel
def test_an_interrupt_takes_the_laboratory_down() -> None:
    needs_root()
    demo = subprocess.Popen(
        [sys.executable, "-m", "mpcore", "demo", "--shim6", "--rate", "100", "--seconds", "1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background jobs ignore it, and hand that down
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert demo.stderr is not None
        assert any("falls silent" in line for line in demo.stderr)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 130
    finally:
        demo.kill()
        demo.communicate()
    assert not [name for name in namespaces() if f"-{demo.pid}-" in name]


@pytest.mark.kernel
def test_hosts_have_only_addresses_of_their_set(tmp_path: Path) -> None:
    with make_lab() as lab:
        for made in make_shim6_hosts(lab, tmp_path):
            parameters = parse_parameters((made.folder / "host.hba").read_bytes())
            shown = json.loads(made.host.ip("-6", "-j", "addr", "show", "scope", "global"))
            assigned = [entry["local"] for link in shown for entry in link["addr_info"] if entry]
            assert assigned == list(made.addresses)
            for address in assigned:
                verify_hba(socket.inet_pton(socket.AF_INET6, address), parameters)


def test_the_longest_silence_after_the_cut_counts_from_the_last_arrival() -> None:
    arrivals = [0.0, 5.0, 9.5, 11.5, 11.6]
    assert longest_silence(arrivals, since_s=10.0, until_s=12.0) == Silence(2000.0, True)


@pytest.mark.parametrize("arrivals", [[], [9.5], [9.5, 10.2]])
def test_what_never_comes_again_did_not_go_on(arrivals: list[float]) -> None:
    silence = longest_silence(arrivals, since_s=10.0, until_s=15.0)
    assert not silence.went_on
    assert 4800 <= silence.ms + 1e-6 <= 5500.001


def test_arrivals_are_read_without_a_line_that_is_not_whole(tmp_path: Path) -> None:
    file = tmp_path / "arrivals"
    file.write_text("1.5 fd77:1::a\n2.5 fd77:1::a\n3.")
    assert read_arrivals(file) == ([1.5, 2.5], {"fd77:1::a"})


def survival(*, received: int = 100, sha: str = "ab", went_on: bool = True, seen: str = ULIDS[0]) -> Survival:
    silences = {name: Silence(2100.0, went_on) for name in shim6_demo.SESSIONS}
    return Survival(100, received, "ab", sha, silences, [seen], ULIDS)


def result(plain: Survival, shim6: Survival) -> Shim6Result:
    pairs = Pairs((ULIDS[0], ULIDS[1]), ("fd77:2::a", "fd77:2::b"))
    return Shim6Result(1000, 2, {"plain": plain, "shim6": shim6}, pairs)


STALLED = survival(received=50, went_on=False)


def test_the_demo_succeeds_when_plain_sessions_stall_and_the_others_do_not() -> None:
    shown = result(STALLED, survival())
    assert shown.survived
    assert "stalled" in shown.to_table()
    assert "2.10" in shown.to_table()
    document = json.loads(json.dumps(shown.to_dict()))
    assert document["survived"]
    assert document["plain"]["sessions"]["tcp"] == {"silence_ms": 2100.0, "went_on": False}
    assert document["locators"] == ["fd77:2::a", "fd77:2::b"]


@pytest.mark.parametrize(
    ("plain", "shim6"),
    [
        (STALLED, survival(received=99)),
        (STALLED, survival(sha="cd")),
        (survival(received=50, sha="cd", went_on=False), survival()),
        (STALLED, survival(went_on=False)),
        (STALLED, survival(seen="fd77:2::a")),
    ],
    ids=["incomplete", "changed", "changed without", "stalled", "another address"],
)
def test_the_demo_fails_otherwise(plain: Survival, shim6: Survival, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = result(plain, shim6)
    assert not shown.survived
    monkeypatch.setattr(shim6_demo, "run_shim6_demo", lambda **_: shown)
    monkeypatch.setattr("mpcore.lab.commands.os.geteuid", lambda: 0)
    ended = CliRunner().invoke(demo_command, ["--shim6", "-j"])
    assert ended.exit_code == 1
    assert "did not survive" in ended.output
