"""`mpcore run`: what is checked before the daemon starts, and what it is started with."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from mpcore.cli import options
from mpcore.cli import run as run_module
from mpcore.cli.main import run
from mpcore.config import Config


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Configurations that a daemon without packets was started with; it ends with 7."""
    configs: list[Config] = []

    def start(config: Config) -> int:
        configs.append(config)
        return 7

    fake = types.ModuleType("mpcore.host.daemon")
    monkeypatch.setattr(fake, "run", start, raising=False)
    monkeypatch.setitem(sys.modules, "mpcore.host.daemon", fake)
    monkeypatch.setattr(run_module, "missing_capabilities", list)
    monkeypatch.setattr(options, "DEFAULT_CONFIG", Path("/nonexistent/mpcore.toml"))
    monkeypatch.delenv("MPCORE_CONFIG", raising=False)
    monkeypatch.delenv("MPCORE_SOCKET", raising=False)
    return configs


def test_run_starts_with_defaults_and_ends_as_the_daemon_does(started: list[Config]) -> None:
    assert run(["run"]) == 7
    assert started == [Config()]


def test_run_takes_file_overrides_and_socket(started: list[Config], tmp_path: Path) -> None:
    file = tmp_path / "mpcore.toml"
    file.write_text("[mptcp]\nmax_subflows = 3\nchecksum = true\n[control]\npath = '/x'\n")
    arguments = ["run", "--config", str(file), "--set", "mptcp.checksum=false", "--set", "log.level=debug"]
    assert run([*arguments, "--control", "/tmp/other.sock"]) == 7
    (config,) = started
    assert (config.mptcp.max_subflows, config.mptcp.checksum) == (3, False)
    assert (config.log.level, config.control.path) == ("debug", "/tmp/other.sock")


def test_run_reads_the_file_of_the_system(
    started: list[Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mpcore.toml"
    file.write_text("[mptcp]\nmax_subflows = 4\n")
    monkeypatch.setattr(options, "DEFAULT_CONFIG", file)
    run(["run"])
    assert started[0].mptcp.max_subflows == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "/nonexistent/x.toml"], "mpcore: /nonexistent/x.toml: cannot be read: No such file"),
        (["--set", "mptcp.scheduler=best"], "mpcore: --set mptcp.scheduler=best: mptcp.scheduler: "),
        (["--set", "scheduler"], "mpcore: --set scheduler: expected SECTION.KEY=VALUE"),
    ],
)
def test_a_wrong_configuration_ends_with_2(
    started: list[Config], arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith(said)
    assert err.count("\n") == 1
    assert not started


def test_missing_capabilities_end_with_4(
    started: list[Config], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_module, "missing_capabilities", lambda: ["CAP_NET_RAW"])
    assert run(["run"]) == 4
    assert capsys.readouterr().err == "mpcore: run needs CAP_NET_RAW: start it as root, as with sudo\n"
    assert not started


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give up root")
def test_capabilities_are_read_from_the_kernel() -> None:
    code = (
        "import os; from mpcore.cli.run import missing_capabilities as missing; "
        "before = missing(); os.setresuid(65534, 65534, 65534); print(before, missing())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[] ['CAP_NET_ADMIN', 'CAP_NET_RAW']\n"
