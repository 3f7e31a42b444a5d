"""One host of the laboratory: a network namespace and the programs that run in it."""

import os
import signal
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from mpcore.lab.commands import run_command

NETNS_DIR = Path("/run/netns")
STOP_TIMEOUT_S = 5.0


class Host:
    """A network namespace called `namespace`; `name` is its short name, `a` or `b`.

    It owns the processes started by `popen` and ends them in `stop_all`.
    """

    def __init__(self, name: str, namespace: str) -> None:
        self.name = name
        self.namespace = namespace
        self.processes: list[subprocess.Popen[Any]] = []

    def __repr__(self) -> str:
        return f"Host({self.name!r}, {self.namespace!r})"

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs `argv` here; the pid stays the program's own."""
        return ["ip", "netns", "exec", self.namespace, *argv]

    def run(
        self, argv: Sequence[str], *, stdin: str = "", timeout_s: float = 30.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run `argv` here to its end; errors as in `run_command`."""
        return run_command(self.command(argv), stdin=stdin, timeout_s=timeout_s, check=check)

    def popen(
        self,
        argv: Sequence[str],
        *,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | IO[bytes] | None = None,
        env: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start `argv` here, its output a pipe of bytes, `env` added to this process's environment.

        It gets a session of its own: a Ctrl-C at the terminal reaches the laboratory, which then ends it in
        order.
        """
        process = subprocess.Popen(
            self.command(argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=None if env is None else {**os.environ, **env},
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def stop(self, process: subprocess.Popen[Any]) -> int:
        """End `process` (SIGTERM, after five seconds SIGKILL), close its pipes and return its exit status."""
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        self.processes.remove(process)
        return process.returncode

    def stop_all(self) -> None:
        """End every program that `popen` started here, the latest first."""
        for process in reversed(self.processes.copy()):
            self.stop(process)

    def ip(self, *words: str) -> str:
        """Run `ip WORDS…` here and return what it printed."""
        return run_command(["ip", "-n", self.namespace, *words]).stdout

    def ip_batch(self, lines: Iterable[str]) -> None:
        """Run each line as an `ip` command here, in one process."""
        run_command(["ip", "-n", self.namespace, "-batch", "-"], stdin="\n".join(lines) + "\n")

    def tc(self, *words: str) -> str:
        """Run `tc WORDS…` here and return what it printed."""
        return run_command(["tc", "-n", self.namespace, *words]).stdout

    def sysctl(self, name: str, value: object) -> None:
        """Set a kernel variable of this host, such as `net.ipv4.tcp_sack`."""
        self.run(["tee", f"/proc/sys/{name.replace('.', '/')}"], stdin=str(value))

    def mptcp_limits(self, *, subflows: int = 8, add_addr_accepted: int = 8) -> None:
        """Let the kernel's MPTCP open `subflows` more subflows and take so many announced addresses."""
        words = ("subflow", str(subflows), "add_addr_accepted", str(add_addr_accepted))
        self.ip("mptcp", "limits", "set", *words)

    def mptcp_endpoint(self, address: str, interface: str, *flags: str) -> None:
        """Give the kernel's path manager `address` on `interface`; flags: `signal`, `subflow` and so on."""
        self.ip("mptcp", "endpoint", "add", address, "dev", interface, *flags)


def namespaces() -> list[str]:
    """Return the names of all network namespaces of this machine."""
    return sorted(path.name for path in NETNS_DIR.iterdir()) if NETNS_DIR.is_dir() else []


def namespace_pids(namespace: str) -> list[int]:
    """Return the processes that live in `namespace`; none when it has gone."""
    return [int(word) for word in run_command(["ip", "netns", "pids", namespace], check=False).stdout.split()]


def delete_namespace(namespace: str) -> None:
    """Kill the processes that live in `namespace`, each by its pid, and delete it."""
    for pid in namespace_pids(namespace):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    run_command(["ip", "netns", "delete", namespace], check=False)
