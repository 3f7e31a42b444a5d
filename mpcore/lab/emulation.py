"""Two ways to make a link slow, lossy or unruly: the kernel's netem, or a program of this package."""

import json
import math
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from mpcore.lab.commands import LabError
from mpcore.lab.host import Host
from mpcore.lab.settings import LinkSettings
from mpcore.lab.wait import wait_for_line

_PACKET_BYTES = 1500
_NETEM_LIMIT_MIN = 1000
_UNLIMITED_PACKETS = 100_000


class Emulation:
    """The program of `mpcore.lab.emulate` behind `interface` of hosts `a` and `b`.

    The program is one of `a`'s: it ends with the others there. Raises LabError.
    """

    def __init__(self, a: Host, b: Host, interface: str) -> None:
        argv = [sys.executable, "-m", "mpcore.lab.emulate", interface, a.namespace, b.namespace]
        self._process = a.popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self.stats()

    def set(self, settings: LinkSettings) -> None:
        """Change both directions; packets under way arrive as they would have."""
        words = asdict(settings) | {"queue_ms": settings.queue_limit_ms}
        self._ask({"settings": words})

    def stats(self) -> list[dict[str, int]]:
        """Return what has happened to packets so far, from `a` to `b` and back."""
        return self._ask({})

    def stay(self) -> None:
        """Let it go on when this process ends, until its namespaces are deleted."""
        self._ask({"stay": True})

    def _ask(self, request: dict[str, Any]) -> list[dict[str, int]]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            answer: list[dict[str, int]] = json.loads(wait_for_line(self._process, "["))
        except (LabError, BrokenPipeError) as error:
            raise LabError(f"the link emulator failed: {self._last_words() or error}") from None
        return answer

    def _last_words(self) -> str:
        assert self._process.stderr is not None
        if self._process.poll() is None:
            return ""
        return self._process.stderr.read().decode(errors="replace").strip().rpartition("\n")[2]


def has_netem(host: Host) -> bool:
    """Tell whether the kernel has the queueing discipline netem, by trying it on `lo` of `host`."""
    words = ("qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    try:
        host.tc(*words)
    except LabError:
        return False
    host.tc("qdisc", "del", "dev", "lo", "root")
    return True


def netem_words(settings: LinkSettings) -> list[str]:
    """Return the words of tc-netem(8) for one direction; its queue is counted in packets of 1500 bytes."""
    words = ["netem", "limit", str(_netem_limit(settings))]
    if settings.delay_ms:
        words += ["delay", f"{settings.delay_ms:g}ms"]
        words += [f"{settings.jitter_ms:g}ms"] if settings.jitter_ms else []
    for name in ("loss", "duplicate", "reorder"):
        share = getattr(settings, name)
        words += [name, f"{share * 100:g}%"] if share else []
    return words + ([] if settings.rate_mbit is None else ["rate", f"{int(settings.rate_mbit * 1000)}kbit"])


def _netem_limit(settings: LinkSettings) -> int:
    if settings.rate_mbit is None:
        return _UNLIMITED_PACKETS
    held_ms = settings.queue_limit_ms + settings.delay_ms
    return max(math.ceil(settings.rate_mbit * held_ms * 125 / _PACKET_BYTES), _NETEM_LIMIT_MIN)
