"""Where a case plays: a laboratory, and what speaks MPTCP on each of its hosts at the moment."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from subprocess import Popen
from types import TracebackType
from typing import Any, Self

from mpcore.host.control_client import ControlClient
from mpcore.lab.accounting import kernel_counters, machine_busy_s, process_cpu_s
from mpcore.lab.demo import mpcore_daemon
from mpcore.lab.host import Host
from mpcore.lab.settings import LinkSettings
from mpcore.lab.topology import Lab

# The same congestion control as the kernel's side, so that what is compared is the machinery.
DAEMON_ARGUMENTS = ("--set", "mptcp.congestion=reno")
_PREFIXES = ("MPTcpExt", "MpcoreExt")
_PACKETS = (
    "MpcoreExtPacketsFromHost",
    "MpcoreExtPacketsFromNetwork",
    "MpcoreExtTransmitHost",
    "MpcoreExtTransmitNetwork",
)


class Stack(Enum):
    """What carries a host's connections."""

    TCP = "TCP"
    KERNEL = "kernel"
    MPCORE = "mpcore"


@dataclass(frozen=True, slots=True)
class Pair:
    """What carries the connection on the client's host, `a`, and on the server's, `b`."""

    client: Stack
    server: Stack

    def __str__(self) -> str:
        if self.client is self.server and self.client is not Stack.MPCORE:
            return str(self.client.value)
        return f"{self.client.value}>{self.server.value}"


TCP = Pair(Stack.TCP, Stack.TCP)
KERNEL = Pair(Stack.KERNEL, Stack.KERNEL)


class Stage:
    """A laboratory for one case; a context manager.

    `links` is as in `Lab`. Host `b` announces its further addresses where the kernel speaks for it.
    Raises LabError.
    """

    def __init__(self, links: Sequence[LinkSettings | float | None], folder: Path) -> None:
        self.lab = Lab(links)
        self.folder = folder
        self.settings: tuple[str, ...] = ()  # of the daemons, each KEY=VALUE
        self.daemons: dict[Host, Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self.lab.__enter__()
        for link in self.lab.links[1:]:
            self.lab.b.mptcp_endpoint(link.address(self.lab.b), link.interface, "signal")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lab.__exit__(kind, error, trace)

    @contextmanager
    def playing(self, pair: Pair, *arguments: str) -> Iterator[None]:
        """Run the daemons that `pair` asks for while the block lasts, each with `arguments` more."""
        with ExitStack() as stack:
            for host, carrier in zip(self.lab.hosts, (pair.client, pair.server), strict=True):
                if carrier is Stack.MPCORE:
                    folder = self._folder(host)
                    chosen = [word for setting in self.settings for word in ("--set", setting)]
                    daemon = mpcore_daemon(host, folder, *DAEMON_ARGUMENTS, *chosen, *arguments)
                    self.daemons[host] = stack.enter_context(daemon)
            try:
                yield
            finally:
                self.daemons.clear()

    def _folder(self, host: Host) -> Path:
        folder = self.folder / host.name
        folder.mkdir(exist_ok=True)
        return folder

    def ask(self, host: Host, method: str) -> Any:
        """Return what the daemon of `host` answers to `method` of its control socket."""
        with ControlClient(str(self._folder(host) / "control.sock")) as client:
            return client.call(method)

    def counters(self, host: Host) -> dict[str, int]:
        """Return the MPTCP counters of `host`: the kernel's, or its daemon's."""
        of_daemon = host in self.daemons
        found = self.ask(host, "show")["counters"] if of_daemon else kernel_counters(host)
        return {name: value for name, value in found.items() if name.startswith(_PREFIXES)}

    def joins(self) -> int:
        """Return how many further subflows host `b` has taken or opened so far."""
        counters = self.counters(self.lab.b)
        return counters.get("MPTcpExtMPJoinAckRx", 0) + counters.get("MPTcpExtMPJoinSynAckRx", 0)


class Meter:
    """What a stretch of time cost: processor seconds of the machine and of the daemons, further subflows."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.joins = stage.joins()
        self.packets = _daemon_packets(stage)
        self.daemon_s = {host: process_cpu_s(daemon.pid) for host, daemon in stage.daemons.items()}
        self.begin_s = time.monotonic()
        self.busy_s = machine_busy_s()

    def details(self, gigabytes: float) -> dict[str, Any]:
        """Return the cost so far, processor time by the gigabyte."""
        busy, seconds = machine_busy_s() - self.busy_s, time.monotonic() - self.begin_s
        share = max(gigabytes, 1e-9)
        found: dict[str, Any] = {
            "cpu_s_per_gb": round(busy / share, 3),
            "joins": self.stage.joins() - self.joins,
        }
        for host, daemon in self.stage.daemons.items():
            used = process_cpu_s(daemon.pid) - self.daemon_s[host]
            found[f"daemon_{host.name}_cpu_s_per_gb"] = round(used / share, 3)
        if self.stage.daemons:
            found["daemon_packets_per_s"] = round((_daemon_packets(self.stage) - self.packets) / seconds)
        return found


def _daemon_packets(stage: Stage) -> int:
    """Return how many packets all daemons have caught and made so far; a super-packet counts as one."""
    counted = map(stage.counters, stage.daemons)
    return sum(counters.get(name, 0) for counters in counted for name in _PACKETS)


def background() -> float:
    """Return the share of this machine, 0 to 1, that other work takes; measures for half a second."""
    busy, start = machine_busy_s(), time.monotonic()
    time.sleep(0.5)
    return (machine_busy_s() - busy) / (time.monotonic() - start) / (os.cpu_count() or 1)
