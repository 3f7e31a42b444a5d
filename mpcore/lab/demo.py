"""The main job, measured: two hosts, two links, unmodified programs; TCP, the kernel's MPTCP, mpcore."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mpcore.lab.accounting import machine_busy_s, process_cpu_s
from mpcore.lab.commands import LabError
from mpcore.lab.host import Host
from mpcore.lab.measure import Failover, Goodput, measure_failover, measure_goodput
from mpcore.lab.sockets import build_mptcp_preload
from mpcore.lab.topology import Lab
from mpcore.lab.wait import wait_for_line

TRANSFER_BYTES = 200_000_000
MODES = {"tcp": "TCP, one link", "kernel_mptcp": "kernel MPTCP", "mpcore": "mpcore"}
_IDLE_LIMIT = 0.05

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo measured; the keys of `goodput` are those of `MODES`."""

    rate_mbit: float
    seconds: int
    background: float  # share of this machine that other work took just before, 0 to 1
    goodput: dict[str, Goodput]
    failover: Failover
    failover_kernel: Failover
    daemon_cpu_s_per_gb: float  # of the processor time of `mpcore`, the part of the daemon itself

    @property
    def intact(self) -> bool:
        """Whether every byte of every transfer arrived as it was sent."""
        return self.failover.intact and self.failover_kernel.intact

    def to_dict(self) -> dict[str, Any]:
        """Return the document that `mpcore demo -j` prints."""
        return {
            "goodput_mbps": {mode: round(one.mbps, 1) for mode, one in self.goodput.items()},
            "cpu_s_per_gb": {mode: round(one.cpu_s_per_gb, 3) for mode, one in self.goodput.items()},
            "failover": asdict(self.failover),
            "failover_kernel_mptcp": asdict(self.failover_kernel),
            "joins": {mode: one.joins for mode, one in self.goodput.items()},
            "daemon_cpu_s_per_gb": round(self.daemon_cpu_s_per_gb, 3),
            "rate_mbit": self.rate_mbit,
            "seconds": self.seconds,
            "background_load": round(self.background, 3),
        }

    def to_table(self) -> str:
        """Return the same for people."""
        columns = list(self.goodput.values())
        rows = [
            ("", *(MODES[mode] for mode in self.goodput)),
            ("goodput, Mbit/s", *(f"{one.mbps:.0f}" for one in columns)),
            ("CPU seconds per GB", *(f"{one.cpu_s_per_gb:.2f}" for one in columns)),
            ("additional subflows", *(str(one.joins) for one in columns)),
            ("stall when a link dies, ms", "-", *map(_stall, (self.failover_kernel, self.failover))),
            ("bytes after it intact", "-", *map(_verdict, (self.failover_kernel, self.failover))),
        ]
        lines = [f"{name:<28}" + "".join(f"{cell:>16}" for cell in cells) for name, *cells in rows]
        return "\n".join(lines)


def _stall(result: Failover) -> str:
    return f"{result.stall_ms:.0f}"


def _verdict(result: Failover) -> str:
    return "yes" if result.intact else "NO"


def run_demo(*, seconds: int, rate_mbit: float, say: Say) -> DemoResult:
    """Build the laboratory, measure, take it down. `say` hears of progress. Raises LabError."""
    with tempfile.TemporaryDirectory(prefix="mpcore-demo-") as folder, Lab((rate_mbit, rate_mbit)) as lab:
        say(f"two hosts, two links of {rate_mbit:g} Mbit/s")
        # The peer is an ordinary server that announces its second address, RFC 8684 §3.4.1.
        second = lab.links[1]
        lab.b.mptcp_endpoint(second.address(lab.b), second.interface, "signal")
        kernel = build_mptcp_preload(Path(folder))
        background = _background(say)
        goodput = {}
        goodput["tcp"] = _goodput(lab, "tcp", seconds, None, None, say)
        goodput["kernel_mptcp"] = _goodput(lab, "kernel_mptcp", seconds, kernel, kernel, say)
        failover_kernel = _failover(lab, "kernel_mptcp", kernel, say)
        with mpcore_daemon(lab.a, Path(folder)) as daemon:
            used = process_cpu_s(daemon.pid)
            goodput["mpcore"] = _goodput(lab, "mpcore", seconds, None, kernel, say)
            used = (process_cpu_s(daemon.pid) - used) / goodput["mpcore"].gigabytes
            failover = _failover(lab, "mpcore", None, say)
        return DemoResult(rate_mbit, seconds, background, goodput, failover, failover_kernel, used)


def _background(say: Say) -> float:
    """Return the share of this machine that is busy before anything is measured; warn unless it is idle."""
    busy, start = machine_busy_s(), time.monotonic()
    time.sleep(1.0)
    share = (machine_busy_s() - busy) / (time.monotonic() - start) / (os.cpu_count() or 1)
    if share > _IDLE_LIMIT:
        say(f"other work takes {share:.0%} of this machine: CPU figures will include it")
    return share


def _goodput(
    lab: Lab,
    mode: str,
    seconds: int,
    client_env: dict[str, str] | None,
    server_env: dict[str, str] | None,
    say: Say,
) -> Goodput:
    say(f"{MODES[mode]}: iperf3 for {seconds} s")
    return measure_goodput(lab, seconds, client_env=client_env, server_env=server_env)


def _failover(lab: Lab, mode: str, client_env: dict[str, str] | None, say: Say) -> Failover:
    say(f"{MODES[mode]}: curl fetches {TRANSFER_BYTES // 10**6} MB while link 1 falls silent")
    return measure_failover(lab, TRANSFER_BYTES, client_env=client_env, server_mptcp=True)


@contextmanager
def mpcore_daemon(
    host: Host, folder: Path, *arguments: str, command: tuple[str, ...] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `mpcore run` in `host` while the block lasts; its control socket is `control.sock` in `folder`.

    `command` replaces `python -m mpcore run`. Raises LabError, with the daemon's last words, when it does not
    become ready or ends early.
    """
    program = command or (sys.executable, "-m", "mpcore", "run")
    log = folder / f"mpcore-{host.name}.log"
    with log.open("wb") as stderr:
        argv = [*program, "--control", str(folder / "control.sock"), *arguments]
        daemon = host.popen(argv, stderr=stderr)
    try:
        wait_for_line(daemon, "ready")
        yield daemon
        if daemon.poll() is not None:
            raise LabError("it ended while traffic ran")
    except LabError as error:
        words = log.read_text(errors="replace").strip().splitlines()[-5:]
        raise LabError("mpcore run: " + "\n".join([str(error), *words])) from None
    finally:
        host.stop(daemon)
