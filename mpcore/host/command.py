"""Run a system tool and turn its failure into one sentence."""

import subprocess
from collections.abc import Sequence

from mpcore.errors import HostError

TIMEOUT_S = 30


def run_command(command: Sequence[str], stdin: str | None = None) -> str:
    """Return what `command` prints. Raises HostError with the tool's own last word when it fails."""
    name = command[0]
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=TIMEOUT_S)
    except FileNotFoundError as error:
        raise HostError(f"{name} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise HostError(
            f"{name} did not end within {TIMEOUT_S} s; is another program changing rules?"
        ) from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise HostError(f"{' '.join(command)} failed: {lines[0]}")
    return done.stdout


def succeeds(command: Sequence[str], stdin: str | None = None) -> bool:
    """Return whether `command` can be run and reports success."""
    try:
        run_command(command, stdin)
    except HostError:
        return False
    return True
