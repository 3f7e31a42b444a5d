"""The benchmarks themselves: each runs once, its result asserted, and the report can be made of a run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.report import main, peers_table
from bench.results import Results, Row
from bench.targets import Target
from tests.helpers.sources import ROOT

RUN = [sys.executable, "-m", "pytest", "bench", "-q", "-p", "no:cacheprovider"]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        [*RUN, *options], cwd=ROOT, capture_output=True, text=True, env=environment, timeout=250, check=False
    )


def test_every_benchmark_runs_once() -> None:
    pytest.importorskip("pytest_benchmark")
    done = run("--benchmark-disable")
    assert done.returncode == 0, done.stdout[-5000:]
    assert "passed" in done.stdout


def test_a_run_becomes_tables_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pytest_benchmark")
    results, picture = tmp_path / "results.json", tmp_path / "picture.svg"
    few = (
        "test_update or test_object or test_without_python or (test_shim6 and 1-) or (test_algorithm and 8-)"
    )
    done = run("-k", few, "--benchmark-only", "--benchmark-quiet", f"--benchmark-json={results}")
    assert done.returncode == 0, done.stdout[-5000:]
    assert json.loads(results.read_text())["benchmarks"]
    assert main([str(results), str(picture)]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^checksum of 1460 B, many at once +[\d.]+ +[\d.]+  C .* [\d.]+, C ", text, re.M)
    assert "reordering, ns per early segment, bursts of 8; subflows:" in text
    assert "reordering, ns per segment, bursts of 8, 20% early; subflows:" in text
    assert re.search(r"^  growth, 2 to 32 subflows, equal disorder +[\d.]+ +<= 1.3 +(yes|no)$", text, re.M)
    assert re.search(r"^queue, bulk TCP, .* not measured +>= 4$", text, re.M)
    assert picture.exists() or "matplotlib is not installed" in text


def results_of(*rows: tuple[str, str, float]) -> Results:
    return Results([Row(group, name, ns, None, {}) for group, name, ns in rows])


def test_a_target_is_met_at_its_limit_and_missed_beyond() -> None:
    target = Target("parse", lambda results: results.groups["parse"][0].ns, most=30)
    assert target.line(results_of(("parse", "mpcore", 30))) == ["parse", "30", "<= 30", "yes"]
    assert target.line(results_of(("parse", "mpcore", 31))) == ["parse", "31", "<= 30", "no"]
    speed = Target("speed", lambda _: 0.94, least=0.95)
    assert speed.line(results_of()) == ["speed", "0.94", ">= 0.95", "no"]
    assert Target("speed", lambda _: None, least=2).line(results_of()) == [
        "speed",
        "not measured",
        ">= 2",
        "",
    ]


def test_a_ratio_is_that_to_mpcore() -> None:
    results = results_of(("sum", "C", 5), ("sum", "mpcore", 10), ("sum", "slow", 1234.5), ("other", "C", 1))
    assert peers_table(results).splitlines()[1:] == ["sum    10.0        C 0.50, slow 123"]


def test_the_report_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage:" in capsys.readouterr().err
