"""One daemon a network namespace: rules, routes and raw sockets of two would take each other's packets.

All daemons lock one byte of the same file, each at the offset that is its namespace's inode number. The
kernel releases it with the process that holds it, however that ends. A second byte, far behind the first, is
held by whoever clears up after a daemon.
"""

import fcntl
import os
import time
from pathlib import Path

from mpcore.errors import HostError

LOCK_FILE = Path("/run/mpcore/lock")
CLEARING_OFFSET = 1 << 40  # inode numbers of namespaces have 32 bits
CLEARING_S = 30
POLL_S = 0.05


class NamespaceLock:
    """Holds the network namespace that this process is in until `close`.

    Waits for whoever clears up after an earlier daemon.

    Raises:
        HostError: another daemon holds it, the clearing up does not end, or the file cannot be made
    """

    def __init__(self, path: Path = LOCK_FILE) -> None:
        namespace = os.stat("/proc/self/ns/net").st_ino
        self._descriptor = _open(path)
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, namespace)
        except OSError as error:
            self.close()
            raise HostError(
                "another mpcore daemon runs in this network namespace; stop it first, or run this one in a "
                "namespace of its own"
            ) from error
        try:
            _wait_for(self._descriptor, CLEARING_OFFSET + namespace)
        except HostError:
            self.close()
            raise

    def close(self) -> None:
        """Let the namespace go; the file stays, for the next."""
        os.close(self._descriptor)


def lock_clearing(path: Path = LOCK_FILE) -> None:
    """Let nobody else set up this namespace while this process lives. Raises HostError.

    Not for a process with a NamespaceLock: closing a file lets go of all that a process holds in it.
    """
    offset = CLEARING_OFFSET + os.stat("/proc/self/ns/net").st_ino
    fcntl.lockf(_open(path), fcntl.LOCK_EX, 1, offset)


def _wait_for(descriptor: int, offset: int) -> None:
    """Return once nobody else holds the byte at `offset`."""
    deadline = time.monotonic() + CLEARING_S
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, offset)
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise HostError(
                    f"a process clears up after an earlier daemon, for more than {CLEARING_S} s now; end it"
                ) from error
        time.sleep(POLL_S)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        problem = f"cannot open {path}: {error.strerror}; run as root, with /run writable"
        raise HostError(problem) from error
