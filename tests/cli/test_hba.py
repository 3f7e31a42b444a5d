"""`mpcore hba`: make, verify and show."""

import json
from ipaddress import IPv6Address
from pathlib import Path
from random import Random

import pytest

from mpcore.cli.main import run
from mpcore.shim6.cga_parameters import emit_parameters, multi_prefix_of, parse_parameters
from mpcore.shim6.hba import verify_hba
from tests.cli.test_cga import Capture, needs_keys
from tests.shim6.test_cga import RFC_PARAMETERS

PREFIXES = ["--prefix", "2001:db8:a::/64", "--prefix", "2001:db8:b::/64"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*more: str) -> int:
    return run(["hba", "make", *PREFIXES, "--output", "host.hba", *more])


def test_a_set_is_made_shown_and_verified(place: Path, capsys: Capture) -> None:
    """RFC 5535 §6 and §7.2: one structure proves all addresses."""
    assert make("--sec", "1") == 0
    addresses = capsys.readouterr().out.split()
    parameters = parse_parameters((place / "host.hba").read_bytes())
    assert [IPv6Address(address).packed[:8].hex() for address in addresses] == [
        "20010db8000a0000",
        "20010db8000b0000",
    ]
    for address in addresses:
        verify_hba(IPv6Address(address).packed, parameters)
        assert run(["hba", "verify", address, "host.hba"]) == 0
    capsys.readouterr()
    assert run(["hba", "show", "host.hba", "-j"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["addresses"], document["sec"], document["collisions"]) == (addresses, 1, 0)
    assert document["key"] == f"none (a random number, {len(parameters.public_key)} octets)"


def test_an_address_of_a_foreign_prefix_is_refused(capsys: Capture) -> None:
    """RFC 5535 §7.2, step 1."""
    assert make() == 0
    capsys.readouterr()
    assert run(["hba", "verify", "2001:db8:c::1", "host.hba"]) == 1
    assert capsys.readouterr().err == (
        "2001:db8:c::1 is refused: the prefix of 2001:db8:c::1 is not in the set\n"
    )
    assert run(["hba", "verify", "2001:db8:b::1", "host.hba", "-j"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["valid"], document["reason"]) == (
        False,
        "the address is not the hash of its parameters",
    )


@needs_keys
def test_a_set_with_a_key(place: Path, capsys: Capture) -> None:
    """RFC 5535 §5: flag P tells of the key."""
    assert make("--key", "host.pem", "--new-key", "2048", "-j") == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["addresses"]) == 2
    extension = multi_prefix_of(parse_parameters((place / "host.hba").read_bytes()))
    assert extension is not None
    assert extension.has_public_key
    assert run(["hba", "show", "host.hba"]) == 0
    assert "key: RSA-2048" in capsys.readouterr().out
    assert run(["cga", "verify", document["addresses"][0], "host.hba"]) == 0


def test_an_address_that_is_taken_changes_all(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """RFC 5535 §6, step 6.4."""
    monkeypatch.setattr("mpcore.cli.hba.SystemRandom", lambda: Random(5))
    assert make("-j") == 0
    before = json.loads(capsys.readouterr().out)
    assert make("-j", "--force", "--taken", before["addresses"][1]) == 0
    after = json.loads(capsys.readouterr().out)
    assert (before["collisions"], after["collisions"]) == (0, 1)
    assert not set(before["addresses"]) & set(after["addresses"])


def test_the_file_is_kept(place: Path, capsys: Capture) -> None:
    assert make() == 0
    before = (place / "host.hba").read_bytes()
    assert make() == 1
    assert "overwrite it by --force" in capsys.readouterr().err
    assert (place / "host.hba").read_bytes() == before
    assert make("--force") == 0
    assert (place / "host.hba").read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--prefix", "2001:db8:a::/64"], 1, "a prefix occurs twice"),
        (["--prefix", "fe80::/64"], 1, "fe80::/64 is no prefix of global"),
        (["--prefix", "2001:db8:c::/60"], 2, "must be a prefix of 64 bits"),
        (["--new-key", "2048"], 2, "--new-key needs --key"),
        (["--sec", "3"], 2, "--sec"),
    ],
)
def test_what_makes_no_set(arguments: list[str], code: int, said: str, capsys: Capture) -> None:
    assert make(*arguments) == code
    assert said in capsys.readouterr().err
    assert not Path("host.hba").exists()


def test_a_plain_cga_is_no_set(place: Path, capsys: Capture) -> None:
    (place / "host.cga").write_bytes(emit_parameters(RFC_PARAMETERS))
    assert run(["hba", "show", "host.cga"]) == 1
    assert "describe no set" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["hba", "cga"])
@pytest.mark.parametrize("action", [[], ["make"], ["verify"], ["show"]])
def test_every_command_has_help(command: str, action: list[str], capsys: Capture) -> None:
    assert run([command, *action, "-h"]) == 0
    assert f"Usage: mpcore {' '.join([command, *action])}" in capsys.readouterr().out
