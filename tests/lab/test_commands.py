import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mpcore.cli.demo import demo_command
from mpcore.cli.lab import lab_command
from mpcore.lab import commands
from mpcore.lab.commands import run_command
from mpcore.lab.host import namespace_pids, namespaces
from mpcore.lab.topology import Lab
from mpcore.lab.wait import wait_until
from tests.helpers.netns import needs_root
from tests.lab.test_emulation import ROUND_TRIP


def call(*words: str) -> Result:
    return CliRunner().invoke(lab_command, list(words))


@pytest.fixture
def nothing_up() -> Iterator[None]:
    """Leave the laboratory that somebody may have up alone; take down what the test built."""
    needs_root()
    standing = Lab((), suffix="")
    if standing.exists():
        pytest.skip("somebody's `mpcore lab up` is in the way")
    yield
    standing.down()


@pytest.mark.kernel
@pytest.mark.usefixtures("nothing_up")
def test_up_stays_is_listed_and_goes_down() -> None:
    built = call("up", "--links", "3", "--rate", "50")
    assert built.exit_code == 0
    assert "link3: a 10.77.3.1 fd77:3::1  b 10.77.3.2 fd77:3::2  50 Mbit/s  (veth)" in built.output
    assert {"mpcore-a", "mpcore-b"} <= set(namespaces())
    assert "mpcore-b  owner none (mpcore lab up)  processes 0" in call("status").output
    again = call("up")
    assert again.exit_code == 1
    assert "up already" in again.output
    assert "mpcore-a\n" not in call("clean").output
    assert call("down").exit_code == 0
    assert not {"mpcore-a", "mpcore-b"} & set(namespaces())


@pytest.mark.kernel
@pytest.mark.usefixtures("nothing_up")
def test_links_that_delay_stay_after_the_command_has_ended() -> None:
    """Where the kernel has no netem a program carries the packets: it ends with `down`."""
    words = ("--delay", "20", "--jitter", "1", "--loss", "0.1", "--reorder", "0.01", "--duplicate", "3")
    said = run_command([sys.executable, "-m", "mpcore", "lab", "up", "--links", "1", *words]).stdout
    assert "1000 Mbit/s, delay 20 ms, jitter 1 ms, loss 0.1 %, reorder 0.01 %, duplicate 3 %  (" in said
    carried_by_us = "(emulator)" in said
    host = Lab((), suffix="").a
    assert 15 <= float(host.run([sys.executable, "-c", ROUND_TRIP, "10.77.1.2"]).stdout) < 50
    pids = namespace_pids("mpcore-a") + namespace_pids("mpcore-b")
    assert len(pids) == carried_by_us
    assert call("down").exit_code == 0
    wait_until(lambda: not any(is_there(pid) for pid in pids), "the emulator to end")


def is_there(pid: int) -> bool:
    """Tell whether a process lives; one that nobody waits for is no more."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_what_no_link_can_do_is_refused_in_a_sentence() -> None:
    needs_root()
    result = call("up", "--jitter", "5")
    assert result.exit_code == 1
    assert "jitter_ms must be between 0 and its delay_ms" in result.output
    assert call("up", "--loss", "101").exit_code == 2


@pytest.mark.kernel
@pytest.mark.usefixtures("nothing_up")
@pytest.mark.parametrize("words", [("down",), ("exec", "a", "true")])
def test_what_needs_a_laboratory_says_that_there_is_none(words: tuple[str, ...]) -> None:
    result = call(*words)
    assert result.exit_code == 3
    assert "it is not up" in result.output


def test_an_unknown_host_is_a_matter_of_usage() -> None:
    assert call("exec", "c", "true").exit_code == 2


def test_without_root_both_commands_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands.os, "geteuid", lambda: 1000)
    for result in (call("status"), CliRunner().invoke(demo_command, [])):
        assert result.exit_code == 4
        assert "as root" in result.output
