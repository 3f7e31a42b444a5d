"""`mpcore monitor` in a process of its own: lines as they come, and how it ends."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import FakeDaemon

EVENT = {"event": "connection-closed", "token": 0x185D5434}
WAIT_S = 20


@pytest.fixture
def daemon(tmp_path: Path) -> FakeDaemon:
    """A daemon that the test stops itself."""
    return FakeDaemon(str(tmp_path / "control.sock"), {})


@pytest.fixture
def monitor(daemon: FakeDaemon, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    flags = getattr(request, "param", [])
    process = subprocess.Popen(
        [sys.executable, "-m", "mpcore", "monitor", *flags, "--control", daemon.path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a script that puts the tests into the background makes all below ignore SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert daemon.subscribed.wait(WAIT_S)
    yield process
    process.kill()
    process.communicate()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_each_event_is_a_line_at_once(daemon: FakeDaemon, monitor: subprocess.Popen[str]) -> None:
    for _ in range(3):
        daemon.publish(EVENT)
        assert read_line(monitor) == "[        CLOSED] token=185d5434\n"
    daemon.stop()


@pytest.mark.parametrize("monitor", [["-j"]], indirect=True)
def test_each_event_is_a_json_object(daemon: FakeDaemon, monitor: subprocess.Popen[str]) -> None:
    daemon.publish(EVENT)
    assert json.loads(read_line(monitor)) == EVENT
    daemon.stop()


def test_the_end_of_the_daemon_is_said(daemon: FakeDaemon, monitor: subprocess.Popen[str]) -> None:
    daemon.stop()
    out, err = monitor.communicate(timeout=WAIT_S)
    assert (monitor.returncode, out, err) == (3, "", "mpcore: the daemon has ended\n")


def test_sigint_ends_with_130(daemon: FakeDaemon, monitor: subprocess.Popen[str]) -> None:
    monitor.send_signal(signal.SIGINT)
    out, _ = monitor.communicate(timeout=WAIT_S)
    daemon.stop()
    assert (monitor.returncode, out) == (130, "")
