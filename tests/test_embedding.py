"""The core as other programs take it: imports without side effects, headers, ABI, threads, examples."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from random import Random

import pytest

from mpcore import abi
from mpcore.config import Config
from mpcore.endpoint import Endpoint
from mpcore.sim import LinkPlan, LinkSettings, run_transfer
from mpcore.wire.checksum import checksum
from mpcore.wire.values import Dss, Segment, emit_segment
from tests.helpers.sources import ROOT, package_sources
from tests.host.namespace import drop_privileges

CONSUMER = ROOT / "tests" / "pxd_consumer"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
OF_THE_SYSTEM = {"socket", "select", "asyncio", "ssl", "subprocess", "pyroute2", "netfilterqueue", "click"}
CORE = (
    "mpcore.endpoint", "mpcore.mptcp.handshake", "mpcore.policy.registry", "mpcore.store.reorder",
    "mpcore.wire.batch", "mpcore.wire.packet", "mpcore.wire.rewrite", "mpcore.wire.values",
)  # fmt: skip


def run_python(code: str, path: Path = ROOT, **options: object) -> str:
    """The standard output of `code` run by another interpreter that finds mpcore below `path`."""
    environment = {**os.environ, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, **options
    )  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def test_the_package_itself_loads_no_other_part() -> None:
    code = "import sys, mpcore; print([name for name in sys.modules if name.startswith('mpcore')])"
    assert run_python(code).strip() == "['mpcore']"


def test_the_core_loads_no_part_of_the_system_and_needs_no_root() -> None:
    code = f"""
import sys, {", ".join(CORE)}
assert not [name for name in sys.modules if name.startswith(("mpcore.host", "mpcore.lab", "mpcore.cli"))]
print(sorted({OF_THE_SYSTEM!r} & set(sys.modules)))
"""
    privileges = {"preexec_fn": drop_privileges} if os.geteuid() == 0 else {}
    assert run_python(code, **privileges).strip() == "[]"


# --- headers


def install(folder: Path) -> Path:
    """Put the package below `folder` as an installation does: what setuptools packs, and the modules."""
    site = folder / "site"
    build = "from setuptools import setup; setup()"
    command = [sys.executable, "-c", build, "-q", "build_py", "--build-lib", str(site)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    for module in (ROOT / "mpcore").rglob("*.so"):
        shutil.copy(module, site / module.relative_to(ROOT))
    return site


def compile_consumer(folder: Path, site: Path, body: str) -> None:
    """Compile `consumer` in `folder` against the headers below `site` alone."""
    folder.mkdir()
    shutil.copy(CONSUMER / "setup.py", folder)
    (folder / "consumer.pyx").write_text(body)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "performance hint" not in done.stderr + done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("Cython")
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    return install(tmp_path_factory.mktemp("install"))


@pytest.fixture(scope="module")
def consumer(site: Path) -> Path:
    folder = site.parent / "consumer"
    compile_consumer(folder, site, (CONSUMER / "consumer.pyx").read_text())
    return folder


def test_another_package_uses_the_headers(consumer: Path, site: Path) -> None:
    mapping = (Dss(data_seq=77, subflow_seq=1, data_len=2),)
    ends = bytes(16), bytes(16), 1
    first, second = (
        emit_segment(Segment(6, *ends, port, 3, 4, 0x10, 5, mapping, b"ab")) for port in (443, 80)
    )
    code = f"""
import sys; sys.path.insert(0, {str(consumer)!r})
import consumer, json, mpcore
packets = bytes.fromhex({first.hex()!r}), bytes.fromhex({second.hex()!r})
print(json.dumps([
    mpcore.__file__, consumer.checksum(packets[0]), consumer.in_order([(5, 9), (20, 30), (9, 20)], 5),
    consumer.in_order([(7, 9)], 5), consumer.data_sequence(packets[0]), consumer.destination_ports(*packets),
    consumer.shimmed(packets[0], 9)[40:48].hex(),
    consumer.through_a_ring(bytes(60000) + b"end", 2**64 - 5)[-4:].hex(),
]))
"""
    where, summed, *rest = json.loads(run_python(code, site, cwd=consumer))
    assert Path(where).is_relative_to(site)
    assert summed == checksum(first)
    assert rest == [[30, True], [5, False], 77, [443, 80], "0600800000000009", "00" + b"end".hex()]


def test_every_public_header_compiles_elsewhere(site: Path) -> None:
    """A header that cimports a private one, or is not packed, is found here; C is not compiled."""
    headers = [source.module for source in package_sources() if source.place.startswith("mpcore/")
               and source.path.suffix == ".pxd" and source.path.stem != "__init__"]  # fmt: skip
    folder = site.parent / "everything"
    folder.mkdir()
    (folder / "everything.pyx").write_text("".join(f"cimport {name}\n" for name in headers))
    command = [sys.executable, "-m", "cython", "-3", "everything.pyx"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert len(headers) > 20


def test_a_consumer_of_another_layout_does_not_load(site: Path) -> None:
    other = site.parent / "other"
    shutil.copytree(site, other, ignore=shutil.ignore_patterns("*.so"))
    header = other / "mpcore" / "wire" / "tcp.pxd"
    header.write_text(
        header.read_text().replace("    uint16_t mss\n", "    uint16_t mss\n    uint32_t new\n")
    )
    folder = site.parent / "stale"
    compile_consumer(folder, other, "from mpcore.abi cimport mpcore_check_abi\nmpcore_check_abi()\n")
    code = """
try:
    import consumer
except ImportError as error:
    print(error)
"""
    assert "other layouts of mpcore's tcp_t: compile again" in run_python(code, site, cwd=folder)


def test_the_abi_is_checked() -> None:
    abi.check(abi.ABI, abi.sizes())
    with pytest.raises(ImportError, match="the one installed is"):
        abi.check(abi.ABI + 1, abi.sizes())
    with pytest.raises(ImportError, match=r"layouts of mpcore's ip_t, ring_t"):
        abi.check(abi.ABI, {**abi.sizes(), "ip_t": 1, "ring_t": 1})
    fewer = abi.sizes()
    del fewer["span_t"]
    with pytest.raises(ImportError, match="span_t"):
        abi.check(abi.ABI, fewer)


# --- threads


def test_every_module_declares_that_it_needs_no_gil() -> None:
    bodies = sorted((ROOT / "build" / "cython" / "pyx").rglob("*.c"))
    if not bodies:
        pytest.skip("the generated C files are not there")
    assert [path.name for path in bodies if "Py_MOD_GIL_NOT_USED" not in path.read_text()] == []


def test_a_free_threaded_interpreter_stays_so() -> None:
    """A module that does not declare it would switch the GIL on for the whole process."""
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        pytest.skip("this interpreter has a GIL")
    code = f"import sys, {', '.join(CORE)}; print(sys._is_gil_enabled())"
    assert run_python(code).strip() == "False"


def talk(seed: int) -> str:
    """Two endpoints over two links that lose; the digest of every packet that went by."""

    def endpoint(rng: Random, now_ns: int) -> Endpoint:
        return Endpoint(Config(), rng=rng, now_ns=now_ns)

    link = LinkPlan(settings=LinkSettings(rate_bps=20_000_000, delay_ns=5_000_000, loss=0.01))
    result = run_transfer(
        (link, link), up_bytes=150_000, seed=seed, client_endpoint=endpoint, server_endpoint=endpoint
    )
    assert result.ok
    return result.network.trace.digest()


def test_engines_in_threads_of_their_own_do_not_meet() -> None:
    seeds = range(6)
    alone = [talk(seed) for seed in seeds]
    together: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda seed=seed: together.update({seed: talk(seed)})) for seed in seeds
    ]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    finally:
        sys.setswitchinterval(interval)
    assert [together.get(seed) for seed in seeds] == alone


# --- examples


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run_and_print_what_they_promise(example: Path, tmp_path: Path) -> None:
    """The last block of an example's docstring, indented, is what it prints."""
    text = example.read_text()
    docstring = text.split('"""')[1]
    promised = [line[4:] for line in docstring.splitlines() if line.startswith("    ")]
    done = subprocess.run(
        [sys.executable, str(example)], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert promised
    assert done.stdout.splitlines() == promised


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 6
