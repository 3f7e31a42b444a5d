"""The wheel: complete, usable where no checkout is, and its headers good for somebody else's Cython."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers.sources import ROOT

SOURCES = ("mpcore", "pyx", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md")
SHIPPED = {".py", ".pyi", ".pxd", ".typed"}


def run(*command: str, folder: Path, path: Path | None = None) -> str:
    """Run Python in `folder` with `path` before all else that it imports from; return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(path or "")}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources, without what was compiled in place."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__", "*.c")
            )
        else:
            shutil.copy2(ROOT / name, folder / name)
    command = ("-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index", ".")
    run(*command, folder=folder)
    (found,) = folder.glob("mpcore-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The folder into which the wheel was installed."""
    folder = wheel.parent / "installed"
    run(
        *("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder), str(wheel)),
        folder=wheel.parent,
    )
    return folder


def test_the_wheel_has_modules_headers_and_stubs_and_no_bodies(wheel: Path) -> None:
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    compiled = {name.split(".")[0] for name in names if name.endswith(".so")}
    bodies = {
        str(Path("mpcore", path.relative_to(ROOT / "pyx")).with_suffix(""))
        for path in (ROOT / "pyx").rglob("*.pyx")
    }
    assert compiled == bodies
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "mpcore").rglob("*") if path.suffix in SHIPPED}
    assert {name for name in names if not name.endswith(".so")} == files
    assert "mpcore/py.typed" in files


def test_the_program_runs_from_it(installed: Path, tmp_path: Path) -> None:
    assert "Usage: mpcore" in run("-m", "mpcore", "--help", folder=tmp_path, path=installed)
    code = "import mpcore.engine; print(mpcore.engine.__file__)"
    assert run("-c", code, folder=tmp_path, path=installed).startswith(str(installed))


def test_importing_the_package_loads_none_of_it_and_nothing_of_the_system(
    installed: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; had = set(sys.modules); import mpcore; new = set(sys.modules) - had; "
        "print({name for name in new if name.startswith('mpcore.')}, "
        "new & {'os', 'select', 'socket', 'ssl', 'subprocess', 'threading', 'time'})"
    )
    assert run("-c", code, folder=tmp_path, path=installed) == "set() set()\n"


def test_its_headers_serve_another_package(installed: Path, tmp_path: Path) -> None:
    shutil.copy2(Path(__file__).with_name("consumer.pyx"), tmp_path)
    run("-m", "Cython.Build.Cythonize", "-3", "-i", "consumer.pyx", folder=tmp_path, path=installed)
    code = (
        "import consumer; "
        "print(consumer.source_port(bytes([0, 80]) + bytes(10) + bytes([0x50]) + bytes(7)), "
        "consumer.source_port(bytes(20)), consumer.checksum(bytes([0x12, 0x34])), "
        "consumer.count_new([(10, 20), (15, 30)]))"
    )
    assert run("-c", code, folder=tmp_path, path=installed) == f"80 None {0xFFFF - 0x1234} 20\n"
