"""What is kept of formed addresses: files that only their owner reads, and what is wrong with one."""

import logging
import stat
from pathlib import Path
from random import Random

import pytest

from mpcore.errors import HostError
from mpcore.host.form_store import FormStore
from mpcore.host.shim6_identities import load_owned
from mpcore.shim6.hba import make_hba_set
from mpcore.shim6.prefixes import parse_prefix

PREFIXES = [parse_prefix(f"2001:db8:{number}::/64") for number in (1, 2)]
SET = make_hba_set(PREFIXES, 0, Random(1))


def test_what_is_stored_is_there_again_in_its_order(tmp_path: Path) -> None:
    store = FormStore(tmp_path / "new" / "place")
    assert store.units() == []
    for number in (10, 9, 1_000_000):
        store.store(number, SET.parameters)
    units = FormStore(tmp_path / "new" / "place").units()
    assert [unit.number for unit in units] == [9, 10, 1_000_000]
    assert all(unit.proven and tuple(unit.addresses.values()) == SET.addresses for unit in units)
    store.unstore(10)
    assert [unit.number for unit in store.units()] == [9, 1_000_000]
    assert stat.S_IMODE((tmp_path / "new" / "place").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new" / "place").iterdir()} == {0o600}


def test_the_files_are_those_of_the_other_commands(tmp_path: Path) -> None:
    FormStore(tmp_path).store(1, SET.parameters)
    (owned,) = load_owned([str(tmp_path / "000001.hba")])
    assert owned.addresses == SET.addresses


def test_without_a_directory_nothing_is_kept() -> None:
    store = FormStore(None)
    store.store(1, SET.parameters)
    store.unstore(1)
    assert store.units() == []


def test_a_damaged_file_is_named_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = FormStore(tmp_path)
    store.store(2, SET.parameters)
    (tmp_path / "000001.cga").write_bytes(b"damaged")
    (tmp_path / "notes.txt").write_bytes(b"not ours")
    assert [unit.number for unit in store.units()] == [2]
    assert "000001.cga: not used" in caplog.text
    assert "notes" not in caplog.text


def test_a_directory_that_cannot_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        FormStore(tmp_path / "file" / "under").store(1, SET.parameters)
    assert "the next daemon forms other addresses" in caplog.text


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    pytest.importorskip("mpcore.shim6.cga_keys")
    public, _ = FormStore(tmp_path).key()
    assert FormStore(tmp_path).key()[0] == public
    path = tmp_path / "host.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    with pytest.raises(HostError, match=r"host\.pem: others than its owner may read"):
        FormStore(tmp_path).key()
    path.chmod(0o600)
    path.write_bytes(b"no key")
    with pytest.raises(HostError, match=r"shim6\.form_directory: .*host\.pem: no key: this is no"):
        FormStore(tmp_path).key()
