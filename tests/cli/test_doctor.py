"""`mpcore doctor`: the findings of the host as a table or as JSON, and the exit code they lead to."""

import json
import sys
import types
from dataclasses import dataclass

import pytest

from mpcore.cli.main import run


@dataclass(frozen=True)
class Finding:
    name: str
    ok: bool
    needed: bool
    detail: str


FINDINGS = [
    Finding("NFQUEUE", True, True, "by iptables (nft)"),
    Finding("tc netem", False, False, "mpcore emulates links itself"),
]
MISSING = Finding("CAP_NET_ADMIN", False, True, "start it as root")


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    found = list(FINDINGS)
    fake = types.ModuleType("mpcore.host.doctor")
    monkeypatch.setattr(fake, "diagnose", lambda: found, raising=False)
    monkeypatch.setitem(sys.modules, "mpcore.host.doctor", fake)
    return found


def test_a_host_with_all_that_is_needed_ends_with_0(
    findings: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok      NFQUEUE   by iptables (nft)",
        "absent  tc netem  mpcore emulates links itself",
    ]


def test_a_needed_feature_that_is_missing_ends_with_5(
    findings: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    findings.append(MISSING)
    assert run(["doctor"]) == 5
    assert "missing  CAP_NET_ADMIN  start it as root" in capsys.readouterr().out


def test_json_has_every_field(findings: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "-j"]) == 0
    assert json.loads(capsys.readouterr().out)[0] == {
        "name": "NFQUEUE",
        "ok": True,
        "needed": True,
        "detail": "by iptables (nft)",
    }
