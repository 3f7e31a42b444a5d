"""`mpcore doctor`: the findings of the host as a table or as JSON, and the exit code they lead to."""

import json
import sys
import types

import pytest

from mpcore.cli.main import run
from mpcore.config import Config
from mpcore.host.doctor import Finding

MISSING = Finding("capabilities", False, "this process lacks CAP_NET_RAW", "run it as root")


class Host:
    """What the fake diagnosis finds, and the configuration it was made for."""

    def __init__(self) -> None:
        self.findings = [
            Finding("packet queue", True, "with super-packets"),
            Finding("addresses", False, "1 usable on eth0", "connect a second network", needed=False),
        ]
        self.config: Config | None = None

    def diagnose(self, config: Config) -> list[Finding]:
        self.config = config
        return self.findings


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    fake = types.ModuleType("mpcore.host.doctor")
    monkeypatch.setattr(fake, "diagnose", host.diagnose, raising=False)
    monkeypatch.setitem(sys.modules, "mpcore.host.doctor", fake)
    return host


def test_a_host_with_all_that_is_needed_ends_with_0(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok      packet queue  with super-packets",
        "advice  addresses     1 usable on eth0",
        "                      -> connect a second network",
    ]


def test_something_needed_that_is_missing_ends_with_5(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.findings.append(MISSING)
    assert run(["doctor"]) == 5
    assert "missing  capabilities  this process lacks CAP_NET_RAW" in capsys.readouterr().out


def test_json_has_every_field(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "-j"]) == 0
    assert json.loads(capsys.readouterr().out)[1] == {
        "name": "addresses",
        "ok": False,
        "detail": "1 usable on eth0",
        "remedy": "connect a second network",
        "needed": False,
    }


def test_the_host_is_judged_for_the_configuration(host: Host) -> None:
    assert run(["doctor", "--set", "queue.gso=false"]) == 0
    assert host.config is not None
    assert not host.config.queue.gso
