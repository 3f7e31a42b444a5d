"""A second process that outlives a daemon that is killed, and takes back what it has set up.

It is forked before anything is set up and waits at a pipe. A farewell means that the daemon has taken
everything back itself; an end of the pipe without one, that it could not. Where both are killed, the next
daemon does it.
"""

import logging
import os
import signal
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn

from mpcore.host.lock import lock_clearing
from mpcore.host.signals import STOP_SIGNALS

FAREWELL = b"."
STDERR = 2
DESCRIPTORS_MAX = 1 << 16

log = logging.getLogger(__name__)


class Guardian:
    """Calls `clear_up` in another process if this one ends before the block does, or the block fails.

    For a process with one thread.
    """

    def __init__(self, clear_up: Callable[[], None]) -> None:
        reader, self._writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _guard(reader, clear_up)
        os.close(reader)

    def __enter__(self) -> "Guardian":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            os.write(self._writer, FAREWELL)
        os.close(self._writer)
        os.waitpid(self._pid, 0)


def _guard(reader: int, clear_up: Callable[[], None]) -> NoReturn:
    """Wait, do what is left to do, and end without anything that the parent has planned for its own end."""
    status = 1
    try:
        _detach(reader)
        lock_clearing()
        if os.read(reader, 1) != FAREWELL:
            clear_up()
            log.warning("the daemon ended early; its rules, routes and connections are gone")
        status = 0
    except Exception:
        log.exception("what the daemon left could not be cleared up; the next `mpcore run` tries again")
    finally:
        os._exit(status)


def _detach(reader: int) -> None:
    """Hold nothing of the daemon's but standard error, and outlive the signals that end it."""
    signal.set_wakeup_fd(-1)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(nothing, standard)
    os.closerange(STDERR + 1, reader)
    os.closerange(reader + 1, DESCRIPTORS_MAX)
