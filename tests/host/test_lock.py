"""One daemon a network namespace."""

import os
from pathlib import Path

import pytest

from mpcore.errors import HostError
from mpcore.host.lock import NamespaceLock
from tests.host.namespace import in_namespace


def holds_elsewhere(path: Path) -> bool:
    """Try the lock in another process: locks of one process never collide."""
    pid = os.fork()
    if pid == 0:
        try:
            NamespaceLock(path)
        except HostError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] != 0


def test_it_is_held_until_closed(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lock"
    lock = NamespaceLock(path)
    assert holds_elsewhere(path)
    lock.close()
    assert not holds_elsewhere(path)


def test_a_place_where_no_file_can_be_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="cannot open"):
        NamespaceLock(tmp_path / "file" / "lock")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostError, match="cannot open"):
        NamespaceLock(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()


@in_namespace
def test_another_namespace_is_another_lock(tmp_path: Path) -> None:
    lock = NamespaceLock(tmp_path / "lock")
    assert holds_elsewhere(tmp_path / "lock")
    pid = os.fork()
    if pid == 0:
        from tests.host.namespace import enter_new_namespace

        enter_new_namespace()
        NamespaceLock(tmp_path / "lock").close()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    lock.close()
