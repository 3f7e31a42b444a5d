"""Wait for conditions and for words of a program, with a limit."""

import os
import select
import subprocess
import time
from collections.abc import Callable

from mpcore.lab.commands import LabError

_POLL_S = 0.02


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    """Return once `condition()` holds; LabError naming `what` after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(_POLL_S)


def wait_for_line(process: subprocess.Popen[bytes], wanted: str, timeout_s: float = 20.0) -> str:
    """Return the line of `process` that begins with `wanted`, skipping earlier ones.

    Reads its standard output unbuffered, byte after byte, so that nothing behind the line is lost. Raises
    LabError when the program ends or `timeout_s` seconds pass first.
    """
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    deadline = time.monotonic() + timeout_s
    line = bytearray()
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            raise LabError(f"no line '{wanted}' from pid {process.pid} within {timeout_s:g} s")
        byte = os.read(descriptor, 1)
        if not byte:
            raise LabError(f"the program ended with status {process.wait()} before it printed '{wanted}'")
        if byte != b"\n":
            line += byte
            continue
        text = line.decode(errors="replace")
        if text.startswith(wanted):
            return text
        line.clear()
