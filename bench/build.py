"""Compile what the benchmarks compare with, into `build/bench`, when it is older than its source."""

import ctypes
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = Path(__file__).parent / "native"
LAB_SOURCES = ROOT / "mpcore" / "lab" / "bench"
OUT = ROOT / "build" / "bench"
NATIVE = ["-O3", "-march=native", "-shared", "-fPIC", "-Wall", "-Wextra"]


@cache
def library(name: str, folder: Path = SOURCES) -> ctypes.CDLL:
    """Return `NAME.c` of `folder` as a shared library; skips the benchmark where there is no gcc."""
    source, target = folder / f"{name}.c", OUT / f"lib{name}.so"
    if _stale(target, source):
        _gcc([*NATIVE, "-o", str(target), str(source)])
    return ctypes.CDLL(str(target))


@cache
def extension(name: str) -> ModuleType:
    """Return `native/NAME.pyx` as an imported module."""
    pytest.importorskip("Cython")
    source, target = SOURCES / f"{name}.pyx", OUT / (name + sysconfig.get_config_var("EXT_SUFFIX"))
    headers = [ROOT / "mpcore" / "abi.pxd", *(ROOT / "mpcore" / "host").glob("*.pxd")]
    if _stale(target, source, *headers):
        generated = OUT / f"{name}.c"
        command = [sys.executable, "-m", "cython", "-3", "-X", "freethreading_compatible=True"]
        subprocess.run([*command, "-o", str(generated), str(source)], cwd=ROOT, check=True)
        include = ["-I", sysconfig.get_paths()["include"], "-I", str(ROOT)]
        _gcc([*NATIVE, "-Wno-unused-function", *include, "-o", str(target), str(generated)])
    spec = importlib.util.spec_from_file_location(name, target)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _stale(target: Path, *sources: Path) -> bool:
    OUT.mkdir(parents=True, exist_ok=True)
    return not target.exists() or target.stat().st_mtime < max(each.stat().st_mtime for each in sources)


def _gcc(arguments: list[str]) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc: C peers are compiled when the benchmarks run")
    subprocess.run(["gcc", *arguments], check=True)
