"""Run the system's own tools and turn their failures into one clear sentence."""

import os
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from mpcore.errors import MpcoreError


class LabError(MpcoreError):
    """The laboratory cannot do what was asked; the message says what failed and the way out."""


class NotPermittedError(LabError):
    """The laboratory needs root."""


def run_command(
    argv: Sequence[str], *, stdin: str = "", timeout_s: float = 30.0, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run `argv` to its end and return it with its output as text.

    Raises LabError when the program is missing, takes longer than `timeout_s` seconds or, with `check`,
    fails.
    """
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is not installed; `make build` as root installs it") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"no end after {timeout_s:g} s: {' '.join(argv)}") from None
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise LabError(f"{' '.join(argv)}: {said}")
    return done


def run_together(commands: Iterable[Sequence[str]]) -> None:
    """Run all `commands` at the same time, to their end; errors as in `run_command`."""
    every = list(commands)
    with ThreadPoolExecutor(len(every)) as pool:
        list(pool.map(run_command, every))


def require_root() -> None:
    """Raise NotPermittedError unless this process may make network namespaces."""
    if os.geteuid() != 0:
        raise NotPermittedError("the laboratory makes network namespaces: run it as root")
