"""Builds that follow another: what depends on a changed file is made anew."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.sources import ROOT

FILES = {
    "mpcore/size.pxd": "cdef enum:\n    SIZE = 1001\n",
    "mpcore/own.pxd": "from mpcore.size cimport SIZE\ncdef enum:\n    OWN = 2001\n",
    "mpcore/other.pxd": "cdef enum:\n    OTHER = 3001\n",
    "pyx/own.pyx": "def both():\n    return OWN + SIZE\n",
    "pyx/other.pyx": "def value():\n    return OTHER\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project of two modules with the package's own setup.py."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    shutil.copy(ROOT / "setup.py", tmp_path)
    return tmp_path


def translate(tree: Path) -> dict[str, int]:
    """Let Cython do what is due; return when each file of C was made."""
    command = [sys.executable, "setup.py", "-q", "--name"]
    subprocess.run(command, cwd=tree, env={**os.environ, "MPCORE_BUILD_JOBS": "1"}, check=True)
    return {path.stem: path.stat().st_mtime_ns for path in (tree / "build/cython/pyx").glob("*.c")}


@pytest.mark.parametrize("changed", ["own", "size"])
def test_a_changed_header_is_noticed(tree: Path, changed: str) -> None:
    """Also a module's own, which is in another folder than its body, and one that that one needs."""
    first = translate(tree)
    header = tree / f"mpcore/{changed}.pxd"
    newer = max(first.values()) + 1_000_000_000
    os.utime(header, ns=(newer, newer))
    second = translate(tree)
    assert second["own"] != first["own"]
    assert second["other"] == first["other"]


def test_nothing_is_made_twice(tree: Path) -> None:
    assert translate(tree) == translate(tree)
