"""One daemon a network namespace: rules, routes and raw sockets of two would take each other's packets.

All daemons lock one byte of the same file, each at the offset that is its namespace's inode number. The
kernel releases it with the process that holds it, however that ends.
"""

import fcntl
import os
from pathlib import Path

from mpcore.errors import HostError

LOCK_FILE = Path("/run/mpcore/lock")


class NamespaceLock:
    """Holds the network namespace that this process is in until `close`.

    Raises:
        HostError: another daemon holds it, or the file cannot be made
    """

    def __init__(self, path: Path = LOCK_FILE) -> None:
        namespace = os.stat("/proc/self/ns/net").st_ino
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            problem = f"cannot open {path}: {error.strerror}; run as root, with /run writable"
            raise HostError(problem) from error
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, namespace)
        except OSError as error:
            self.close()
            raise HostError(
                "another mpcore daemon runs in this network namespace; stop it first, or run this one in a "
                "namespace of its own"
            ) from error

    def close(self) -> None:
        """Let the namespace go; the file stays, for the next."""
        os.close(self._descriptor)
