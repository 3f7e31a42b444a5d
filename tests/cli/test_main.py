"""The command line as a whole: loading, help, and what each error ends with."""

import subprocess
import sys
from collections.abc import Callable

import click
import pytest

import mpcore
from mpcore.cli import main
from mpcore.cli.main import ExitCode, cli, code_of, run
from mpcore.errors import ConfigError, HostError
from mpcore.host.control_protocol import (
    NOT_FOUND,
    REFUSED,
    ControlError,
    DaemonAbsentError,
    NotPermittedError,
)

HEAVY = ("msgspec", "mpcore.host", "mpcore.lab", "mpcore.sim", "mpcore.endpoint", "numpy", "asyncio")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    words = capsys.readouterr().out.split()
    assert {"run", "show", "monitor", "explain", "doctor"} <= set(words)


def test_help_works_where_a_command_has_no_module(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(main.COMMANDS, "phantom", "mpcore.cli.phantom:phantom_command")
    assert run(["--help"]) == 0
    assert "phantom" not in capsys.readouterr().out
    assert run(["phantom"]) == 2


@pytest.mark.parametrize("command", ["run", "show", "monitor", "explain", "doctor"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "-h"]) == 0
    assert f"Usage: mpcore {command}" in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([flag]) == 0
    assert capsys.readouterr().out == f"mpcore {mpcore.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["dance"], ["show", "weather"], ["explain"], ["--loud"]])
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert "Usage: mpcore" in capsys.readouterr().err


def test_the_command_line_loads_nothing_heavy() -> None:
    code = f"import sys, mpcore.cli.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_python_dash_m_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "mpcore", "-V"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"mpcore {mpcore.__version__}\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DaemonAbsentError("x"), 3),
        (ControlError(NOT_FOUND, "x"), 3),
        (ControlError(REFUSED, "x"), 1),
        (NotPermittedError("x"), 4),
        (PermissionError("x"), 4),
        (ConfigError("x"), 2),
        (HostError("x"), 1),
        (click.ClickException("x"), 1),
        (RuntimeError("x"), None),
    ],
)
def test_every_error_has_its_exit_code(error: Exception, code: int | None) -> None:
    assert code_of(error) == code


def raising(error: BaseException) -> Callable[[], None]:
    def callback() -> None:
        raise error

    return callback


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    def install(callback: Callable[[], object]) -> None:
        made = click.Command("made", callback=callback)
        monkeypatch.setattr(type(cli), "get_command", lambda *_: made)

    return install


def test_an_error_for_people_is_one_sentence(
    command: Callable[[Callable[[], object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(HostError("nothing works; try later")))
    assert run(["made"]) == 1
    assert capsys.readouterr() == ("", "mpcore: nothing works; try later\n")


def test_a_bug_is_not_hidden(command: Callable[[Callable[[], object]], None]) -> None:
    command(raising(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        run(["made"])


def test_interruption_ends_with_130(command: Callable[[Callable[[], object]], None]) -> None:
    command(raising(KeyboardInterrupt()))
    assert run(["made"]) == 130


def test_a_command_gives_its_exit_code(command: Callable[[Callable[[], object]], None]) -> None:
    command(lambda: ExitCode.UNSUPPORTED)
    assert run(["made"]) == 5
