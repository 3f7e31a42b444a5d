"""`mpcore cga`: make, verify and show, their files, and what is said when they cannot."""

import json
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from ipaddress import IPv6Address
from pathlib import Path
from random import Random

import pytest

from mpcore.cli import cga_files
from mpcore.cli.cga_files import Progress, searching, spread
from mpcore.cli.main import run
from mpcore.shim6.cga import find_modifier, hash2, verify_cga
from mpcore.shim6.cga_parameters import emit_parameters, parse_parameters
from tests.helpers.sources import ROOT
from tests.shim6.test_cga import RFC_KEY, RFC_PARAMETERS

PREFIX = "2001:db8:1::/64"
needs_keys = pytest.mark.skipif(
    find_spec("cryptography") is None, reason="keys need the package cryptography"
)
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def example(place: Path) -> Path:
    """The structure of RFC 3972, Appendix A, as a file."""
    path = place / "example.cga"
    path.write_bytes(emit_parameters(RFC_PARAMETERS))
    return path


def make(*more: str) -> int:
    return run(["cga", "make", "--prefix", PREFIX, "--key", "host.pem", "--output", "host.cga", *more])


@needs_keys
def test_what_is_made_verifies(place: Path, capsys: Capture) -> None:
    """RFC 3972 §4 and §5."""
    assert make("--new-key", "1024", "--sec", "1") == 0
    address = capsys.readouterr().out.strip()
    verify_cga(IPv6Address(address).packed, parse_parameters((place / "host.cga").read_bytes()))
    assert IPv6Address(address).packed[8] >> 5 == 1
    assert stat.S_IMODE((place / "host.pem").stat().st_mode) == 0o600
    assert run(["cga", "verify", address, "host.cga"]) == 0
    assert capsys.readouterr().out == f"{address} is verified, Sec 1\n"


@needs_keys
def test_json_and_an_address_that_is_taken(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """RFC 3972 §4, step 8: the same modifier, one collision more."""
    monkeypatch.setattr("mpcore.cli.cga.SystemRandom", lambda: Random(5))
    assert make("--new-key", "1024", "-j", "--jobs", "2") == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {"address": document["address"], "sec": 0, "collisions": 0, "file": "host.cga"}
    assert make("--taken", document["address"], "--force", "-j") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["address"] != document["address"]
    assert again["collisions"] == 1


@needs_keys
def test_files_in_use_are_kept(place: Path, capsys: Capture) -> None:
    assert make("--new-key", "1024") == 0
    before = [(place / name).read_bytes() for name in ("host.pem", "host.cga")]
    capsys.readouterr()
    assert make() == 1
    assert "--force" in capsys.readouterr().err
    assert make("--force", "--new-key", "1024") == 1
    assert "host.pem exists already" in capsys.readouterr().err
    assert [(place / name).read_bytes() for name in ("host.pem", "host.cga")] == before


@needs_keys
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "host.pem does not exist; --new-key 2048"),
        (["--key", "example.cga"], "example.cga: this is no private key in PEM"),
        (["--key", "."], "is a directory"),
        (["--new-key", "1024", "--key", "nowhere/host.pem"], "No such file or directory"),
        (["--new-key", "1024", "--output", "nowhere/host.cga"], "nowhere is no directory"),
    ],
)
def test_files_that_cannot_be_used(example: Path, arguments: list[str], said: str, capsys: Capture) -> None:
    assert make(*arguments) in (1, 2)
    assert said in capsys.readouterr().err
    assert not Path("host.cga").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--prefix", "2001:db8::/48"],
        ["--prefix", "192.0.2.0/24"],
        ["--sec", "3"],
        ["--new-key", "512"],
        ["--new-key", "4096"],
        ["--jobs", "0"],
        ["--taken", "here"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: Capture) -> None:
    """RFC 5533 §16: keys of 1024 bits at least."""
    assert make(*arguments) == 2
    assert arguments[0] in capsys.readouterr().err


def test_the_example_of_the_rfc(example: Path, capsys: Capture) -> None:
    """RFC 3972 §3, checked against the appendix."""
    assert run(["cga", "verify", "fe80::3c4a:5bf6:ffb4:ca6c", str(example)]) == 0
    capsys.readouterr()
    assert run(["cga", "show", str(example), "-j"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document.pop("key")
    assert document == {
        "address": "fe80::3c4a:5bf6:ffb4:ca6c",
        "sec": 1,
        "modifier": "89a8a8b2e858d8b8f2633f44d2d4ce9b",
        "prefix": "fe80::/64",
        "collisions": 0,
        "extensions": [],
        "hash1": "fd4a5bf6ffb4ca6c",
        "hash2": "000001ca680b83888d0912dffcce",
    }
    assert run(["cga", "show", str(example)]) == 0
    assert capsys.readouterr().out.startswith("address: fe80::3c4a:5bf6:ffb4:ca6c\nsec: 1\n")


@needs_keys
def test_the_kind_of_key_is_shown(example: Path, capsys: Capture) -> None:
    assert run(["cga", "show", str(example)]) == 0
    assert "key: RSA-512 (94 octets)" in capsys.readouterr().out


def test_extensions_are_shown(example: Path, capsys: Capture) -> None:
    example.write_bytes(emit_parameters(RFC_PARAMETERS) + bytes.fromhex("00990002abcd"))
    assert run(["cga", "show", str(example)]) == 0
    assert "extensions:\n  0x0099 (2 octets)\n" in capsys.readouterr().out


def test_an_address_that_is_not_made_from_the_file(example: Path, capsys: Capture) -> None:
    """RFC 3972 §5; also as JSON."""
    arguments = ["cga", "verify", "2001:db8::1", str(example)]
    assert run(arguments) == 1
    assert "2001:db8::1 is refused: the prefix" in capsys.readouterr().err
    assert run([*arguments, "-j"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["valid"], document["sec"]) == (False, 0)
    assert "prefix" in document["reason"]


@pytest.mark.parametrize("command", [["show"], ["verify", "2001:db8::1"]])
def test_a_file_that_is_no_structure(place: Path, command: list[str], capsys: Capture) -> None:
    (place / "text").write_text("not a structure")
    assert run(["cga", *command, "text"]) == 1
    assert capsys.readouterr().err.startswith("mpcore: text: the CGA parameters hold no public key")
    assert run(["cga", *command, "absent"]) == 2
    assert "absent" in capsys.readouterr().err


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, example: Path, capsys: Capture) -> None:
    """Keys say what is missing; verification and display go on without."""
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.delitem(sys.modules, "mpcore.shim6.cga_keys", raising=False)
    assert make("--new-key", "1024") == 1
    assert "install mpcore[shim6]" in capsys.readouterr().err
    assert run(["cga", "verify", "fe80::3c4a:5bf6:ffb4:ca6c", str(example)]) == 0
    assert run(["cga", "show", str(example)]) == 0
    assert "94 octets" in capsys.readouterr().out
    monkeypatch.undo()


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2) as running:
        yield running


@pytest.mark.parametrize("window", [1, 3, 100])
def test_results_come_in_order(pool: ProcessPoolExecutor, window: int) -> None:
    assert list(spread(pool, window, abs, range(-20, 0))) == list(range(20, 0, -1))


def test_a_search_over_processes_finds_the_same() -> None:
    """RFC 3972 §4, step 3: the first fitting modifier, however many look for it."""
    start = b"\xff" * 16
    with searching(1, 2) as find:
        found = find(start, RFC_KEY, 1)
    assert found == find_modifier(start, RFC_KEY, 1)
    assert hash2(parse_parameters(found + bytes(9) + RFC_KEY))[:2] == b"\0\0"


def test_progress_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    now = 0.0
    monkeypatch.setattr(cga_files.time, "monotonic", lambda: now)
    progress = Progress(65536)
    for step in range(1, 30):
        now = float(step)
        progress(step * 1_000_000)
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0] == "searching: 10.0 million hashes, about 0.1 million are usual, 1.00 million a second"


SEARCH = """
import sys
from mpcore.cli import cga_files, main
cga_files._LOG_PERIOD_S = 0
sys.exit(main.run(sys.argv[1:]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_search_that_is_killed_leaves_no_process(place: Path, number: int) -> None:
    """The workers hold standard error open: it ends when the last of them has ended."""
    file = place / "host.hba"
    arguments = ["hba", "make", "--prefix", PREFIX, "--sec", "2", "--jobs", "2", "--output", str(file)]
    with subprocess.Popen(
        [sys.executable, "-c", SEARCH, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as search:
        assert search.stderr is not None
        assert "searching" in search.stderr.readline()
        search.send_signal(number)
        search.stderr.read()
        assert search.wait() == -number
    assert not file.exists()
