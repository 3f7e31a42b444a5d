"""The wire modules built with the address and undefined-behaviour sanitizers, on corpus and mutants."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CANARY = """
from cpython.bytes cimport PyBytes_AS_STRING
def over(data):
    return PyBytes_AS_STRING(data)[len(data) + 64]
"""


def _libasan() -> str:
    """Return the path of the compiler's libasan, or skip the test."""
    compiler = os.environ.get("CC", "gcc")
    if shutil.which(compiler) is None:
        pytest.skip(f"no compiler {compiler}")
    answer = subprocess.run(
        [compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    )
    path = Path(answer.stdout.strip())
    if not path.is_absolute() or not path.exists():
        pytest.skip(f"{compiler} has no libasan.so")
    return str(path)


def _environment(preload: str | None = None) -> dict[str, str]:
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "CC") if name in os.environ}
    if preload is None:
        return kept | {"CFLAGS": flags, "LDFLAGS": flags, "MPCORE_DEBUG": "1", "MPCORE_BUILD_JOBS": "1"}
    # With the interpreter's own pools small objects would sit in one block that the sanitizer thinks whole.
    return kept | {"LD_PRELOAD": preload, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the sources of the wire layer and its modules built under the sanitizers."""
    if importlib.util.find_spec("Cython") is None or importlib.util.find_spec("setuptools") is None:
        pytest.skip("Cython and setuptools are needed to build")
    _libasan()
    folder = tmp_path_factory.mktemp("sanitized")
    binaries = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "mpcore", folder / "mpcore", ignore=binaries)
    shutil.copytree(ROOT / "pyx" / "wire", folder / "pyx" / "wire")
    (folder / "pyx" / "wire" / "canary.pyx").write_text(CANARY)
    shutil.copy(ROOT / "setup.py", folder)
    for name in ("__init__.py", "fuzz", "vectors"):
        source, target = ROOT / "tests" / name, folder / "tests" / name
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    built = subprocess.run(build, cwd=folder, env=_environment(), capture_output=True, text=True, timeout=900)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def _run(tree: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        env=_environment(_libasan()),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_sanitizer_sees_a_read_beyond_the_end(tree: Path) -> None:
    answer = _run(tree, "-c", "from mpcore.wire.canary import over; print(over(bytes(100)))")
    assert answer.returncode != 0
    assert "heap-buffer-overflow" in answer.stderr


def test_parsers_read_nothing_beyond_the_end(tree: Path) -> None:
    answer = _run(tree, "-m", "tests.fuzz.parsers", "1", "3000")
    assert answer.returncode == 0, answer.stderr[-4000:]
    assert answer.stdout == "done\n"
