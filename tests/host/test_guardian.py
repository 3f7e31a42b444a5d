"""What clears up after a daemon that could not do it itself."""

import os
import signal
import threading
from pathlib import Path

import pytest

from mpcore.errors import HostError
from mpcore.host import guardian, lock
from mpcore.host.guardian import Guardian
from mpcore.host.lock import NamespaceLock
from mpcore.host.orphans import Connected, connected_sockets

LISTED = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100
   1: 01014D0A:B2A2 02014D0A:0050 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20
   2: 01014D0A:B2A3 02014D0A:0050 06 00000000:00000000 00:00000000 00000000     0        0 0 3 0 20
"""
LISTED6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: B80D0120000000000000000001000000:0016 B80D0120000000000000000002000000:C000 08 00000000:00000000
   1: 0000000000000000FFFF000001014D0A:0050 0000000000000000FFFF000002014D0A:C001 01 00000000:00000000
"""


def be_daemon(folder: Path, end: str) -> None:
    """Have a guardian that writes a file, and end in this way."""
    with Guardian(lambda: (folder / "cleared").touch()):
        if end != "farewell":
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("end", "clears"), [("kill", True), ("farewell", False)])
def test_it_acts_when_nobody_says_farewell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, clears: bool
) -> None:
    monkeypatch.setattr(guardian, "lock_clearing", lambda: None)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(writer, 2)  # all that the guardian keeps: its end is the guardian's
            be_daemon(tmp_path, end)
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as said:
        said.read()
    assert (tmp_path / "cleared").exists() is clears


def test_an_error_is_for_the_guardian_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guardian, "lock_clearing", lambda: None)
    with pytest.raises(HostError), Guardian(lambda: (tmp_path / "cleared").touch()):
        raise HostError
    assert (tmp_path / "cleared").exists()


def test_the_next_daemon_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    holds, ends = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            lock.lock_clearing(path)
            os.write(holds[1], b".")
            os.read(ends[0], 1)
        finally:
            os._exit(0)
    os.read(holds[0], 1)
    with monkeypatch.context() as patch:
        patch.setattr(lock, "CLEARING_S", 0)
        with pytest.raises(HostError, match="clears up after an earlier daemon"):
            NamespaceLock(path)
    waiting = threading.Thread(target=lambda: NamespaceLock(path).close())
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    os.write(ends[1], b".")
    waiting.join(30)
    assert not waiting.is_alive()
    os.waitpid(pid, 0)
    for descriptor in (*holds, *ends):
        os.close(descriptor)


def test_connected_sockets_are_those_with_a_peer(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(LISTED)
    (tmp_path / "tcp6").write_text(LISTED6)
    here, there = bytes([10, 77, 1, 1]), bytes([10, 77, 1, 2])
    six = bytes.fromhex("20010db8000000000000000000000001"), bytes.fromhex("20010db8000000000000000000000002")
    assert connected_sockets(tmp_path) == {
        Connected(here, 0xB2A2, there, 80),
        Connected(six[0], 22, six[1], 0xC000),
        Connected(here, 80, there, 0xC001),
    }
