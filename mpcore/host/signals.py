"""SIGTERM, SIGINT and SIGHUP as something that a selector can wait for.

A handler alone is not enough: after it has run, Python goes back to the interrupted wait (PEP 475), which may
last a minute.
"""

import signal
import socket
from types import FrameType
from typing import Any

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopSignals:
    """From its making to `close`, a signal that asks to stop makes `fileno` readable, however early it comes.

    For the main thread. `close` gives back the handlers that were there before.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._before: dict[signal.Signals, Any] = {
            number: signal.signal(number, _ignore) for number in STOP_SIGNALS
        }
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable."""
        return self._reader.fileno()

    def close(self) -> None:
        """Give everything back."""
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing: the interpreter has written to the wake-up descriptor already."""
