"""The benchmarks themselves: each runs once, its result asserted, and the report can be made of a run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.report import main
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
    few = "test_update or test_object or test_without_python or (test_algorithm and 8-1)"
    done = run("-k", few, "--benchmark-only", "--benchmark-quiet", f"--benchmark-json={results}")
    assert done.returncode == 0, done.stdout[-5000:]
    assert json.loads(results.read_text())["benchmarks"]
    assert main([str(results), str(picture)]) == 0
    text = capsys.readouterr().out
    assert "checksum of 1460 B, many at once" in text
    assert "reordering, ns per early segment, bursts of 1; subflows:" in text
    assert picture.exists() or "matplotlib is not installed" in text


def test_the_report_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage:" in capsys.readouterr().err
