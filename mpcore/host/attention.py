"""When the rules rest: while mpcore carries no connection, only what begins one or resets one is looked at.

The rules wake before the verdict by which a connection becomes mpcore's, so that no packet of it is missed.
"""

import logging
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from mpcore.errors import HostError
from mpcore.host.pump import now_ns

REST_AFTER_NS = 5_000_000_000  # without need; each change costs the kernel some milliseconds
PROTOCOLS = Path("/proc/net/protocols")

log = logging.getLogger(__name__)


class Restful(Protocol):
    """Rules that can rest, as `mpcore.host.rules.Rules`."""

    def rest(self) -> None:
        """Let everything go but SYNs and RSTs."""

    def wake(self) -> None:
        """End that at once."""


class Needy(Protocol):
    """Who tells whether more is needed, as `mpcore.endpoint.Endpoint`."""

    def needs_all_packets(self) -> bool:
        """Tell whether packets other than SYNs and RSTs are needed."""


class Attention:
    """Has `rules` rest while `endpoint` needs no other packets than SYNs and RSTs; at first they do not."""

    def __init__(self, endpoint: Needy, rules: Restful) -> None:
        self._endpoint = endpoint
        self._rules = rules
        self._resting = False
        self._check_ns: int | None = None

    def keep_up(self) -> None:
        """Wake the rules where needed; to be called between decisions and verdicts. Raises HostError."""
        if self._resting and self._endpoint.needs_all_packets():
            self._rules.wake()
            self._resting = False
            self._check_ns = now_ns() + REST_AFTER_NS

    def poll_timeout(self) -> int | None:
        """Return when `handle_timeout` is due."""
        return self._check_ns

    def handle_timeout(self, now: int) -> None:
        """Have the rules rest, if nothing is needed now."""
        if self._endpoint.needs_all_packets():
            self._check_ns = now + REST_AFTER_NS
            return
        self._check_ns = None
        try:
            self._rules.rest()
        except HostError as error:
            log.warning("connections that mpcore has no part in cost more than they need: %s", error)
            return
        self._resting = True


def kernel_speaks_mptcp(table: Path = PROTOCOLS) -> bool:
    """Tell whether a program of this network namespace has a socket of the kernel's own MPTCP."""
    with suppress(OSError):
        rows = [line.split() for line in table.read_text().splitlines()]
        return any(row[0].startswith("MPTCP") and row[2] != "0" for row in rows if len(row) > 2)
    return False
