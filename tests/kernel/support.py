"""A daemon in a host of the laboratory, and connections between the hosts, both ends held by the test."""

import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from mpcore.host.control import ControlClient
from mpcore.lab.host import Host
from mpcore.lab.sockets import listen_socket, open_socket
from mpcore.lab.topology import Lab
from mpcore.lab.transfer import Received, exchange
from mpcore.lab.wait import wait_for_line, wait_until
from tests.helpers.netns import CLIENT_SEED, SERVER_SEED, assert_intact, inside

TIMEOUT_S = 30.0
# A segment's payload: 1500 less IPv4, TCP, timestamps and the longest DSS; what is cut there must join again.
SEGMENT = 1420
SIZES = [(0, 0), (1, 0), (0, 1), (SEGMENT, SEGMENT), (SEGMENT + 1, 3), (99_991, 1 << 20)]
_GONE_STATES = re.compile(r"^(LISTEN|TIME-WAIT)\b")

roles = pytest.mark.parametrize("to_a", [False, True], ids=["mpcore-connects", "mpcore-listens"])
versions = pytest.mark.parametrize("version", [4, 6])
sizes = pytest.mark.parametrize(("upload", "download"), SIZES)


@dataclass(slots=True)
class Daemon:
    """`mpcore run` in `host`, its control socket at `control`, what it said on standard error in `log`."""

    host: Host
    process: Popen[bytes]
    control: Path
    log: Path
    marked: dict[str, int] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return what `mpcore show -j` prints."""
        with ControlClient(str(self.control)) as client:
            document: dict[str, Any] = client.call("show")
            return document

    def connections(self) -> list[dict[str, Any]]:
        """Return the connections that are multipath now."""
        return [each for each in self.document()["connections"] if each["fallback"] is None]

    def subflows(self) -> int:
        """Return how many established subflows the only connection has; 0 when there is none."""
        found = [len(each["subflows"]) for each in self.connections()]
        return sum(found)

    def counters(self) -> dict[str, int]:
        """Return every counter."""
        counters: dict[str, int] = self.document()["counters"]
        return counters

    def mark(self) -> None:
        """Let `moved` count from here."""
        self.marked = self.counters()

    def moved(self) -> dict[str, int]:
        """Return the counters that moved since `mark`, and how far."""
        return {
            name: value - self.marked[name]
            for name, value in self.counters().items()
            if value != self.marked[name]
        }


def daemon_command(control: Path, *settings: str) -> list[str]:
    """Return the command line of a daemon with `settings`, each KEY=VALUE."""
    options = [word for setting in settings for word in ("--set", setting)]
    return [sys.executable, "-m", "mpcore", "run", "--control", str(control), *options]


def start_daemon(host: Host, folder: Path, *settings: str) -> Daemon:
    """Start a daemon and wait until it intercepts packets."""
    control, log = folder / f"{host.name}.sock", folder / f"{host.name}.log"
    with log.open("ab") as stderr:
        process = host.popen(daemon_command(control, *settings), stderr=stderr)
    try:
        wait_for_line(process, "ready")
    except BaseException:
        print(log.read_text())
        raise
    return Daemon(host, process, control, log)


@contextmanager
def running(host: Host, folder: Path, *settings: str) -> Iterator[Daemon]:
    """Run a daemon while the block lasts; assert that it ends well, with no word of complaint."""
    daemon = start_daemon(host, folder, *settings)
    try:
        yield daemon
        assert daemon.process.poll() is None, f"the daemon ended early: {daemon.log.read_text()}"
    finally:
        status = host.stop(daemon.process)
    said = daemon.log.read_text()
    assert (status, said) == (0, "")


def kill(daemon: Daemon, *, guardian: bool) -> None:
    """Kill the daemon, and with it its guardian or not."""
    pid = daemon.process.pid
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if guardian:
        os.kill(int(child), signal.SIGKILL)
    daemon.process.kill()
    daemon.process.wait()


def fresh(folder: Path) -> Path:
    """Return a folder for the next daemon, whose log holds its own words alone."""
    (folder / "next").mkdir()
    return folder / "next"


@dataclass(slots=True)
class Pair:
    """Both ends of one connection, and the listener without which the kernel takes no MP_JOIN."""

    client: socket.socket
    server: socket.socket
    listener: socket.socket

    def __enter__(self) -> "Pair":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close both ends, the client's first."""
        for each in (self.client, self.server, self.listener):
            each.close()


def connect(
    lab: Lab,
    *,
    to_a: bool = False,
    version: int = 4,
    client_mptcp: bool = False,
    server_mptcp: bool = False,
    port: int = 0,
) -> Pair:
    """Connect host `a` to host `b` over link 1, or `b` to `a` with `to_a`; `mptcp` is that of the kernel."""
    client_host, server_host = (lab.b, lab.a) if to_a else (lab.a, lab.b)
    with inside(server_host):
        # On all addresses: the kernel takes an MP_JOIN only where something listens.
        listener = listen_socket("0.0.0.0" if version == 4 else "::", port, server_mptcp)
    with inside(client_host):
        client = open_socket(version, client_mptcp)
    listener.settimeout(TIMEOUT_S)
    client.settimeout(TIMEOUT_S)
    client.connect((lab.links[0].address(server_host, version), listener.getsockname()[1]))
    server, _ = listener.accept()
    server.settimeout(TIMEOUT_S)
    return Pair(client, server, listener)


def kernel_peer(to_a: bool) -> dict[str, bool]:
    """Return the arguments of `connect` that give MPTCP sockets to host `b` alone."""
    return {"to_a": to_a, "client_mptcp": to_a, "server_mptcp": not to_a}


def exchange_both(pair: Pair, upload: int, download: int) -> tuple[Received, Received]:
    """Send `upload` bytes from the client and `download` from the server, at once; close; prove all of it."""
    with pair, ThreadPoolExecutor(2) as pool:
        at_client = pool.submit(exchange, pair.client, CLIENT_SEED, upload)
        at_server = pool.submit(exchange, pair.server, SERVER_SEED, download)
        client, server = at_client.result(), at_server.result()
    assert_intact(client, SERVER_SEED, download)
    assert_intact(server, CLIENT_SEED, upload)
    return client, server


def receive_all(sock: socket.socket) -> bytes:
    """Return what comes until the peer finishes."""
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


def link_bytes(hosts: Lab) -> list[int]:
    """Return the octets that host `b` has sent and received, link by link."""
    folder = "/sys/class/net/{}/statistics/{}_bytes"
    paths = [folder.format(link.interface, way) for link in hosts.links for way in ("rx", "tx")]
    counts = [int(word) for word in hosts.b.run(["cat", *paths]).stdout.split()]
    return [counts[i] + counts[i + 1] for i in range(0, len(counts), 2)]


def sockets_left(host: Host) -> list[str]:
    """Return the lines of `ss` about TCP connections of `host` that are not over."""
    lines = host.run(["ss", "-Htan"]).stdout.splitlines()
    return [line for line in lines if not _GONE_STATES.match(line)]


def wait_for_nothing(*daemons: Daemon, timeout_s: float = TIMEOUT_S) -> None:
    """Wait until neither the daemons nor the kernels they serve have a connection left."""
    for daemon in daemons:
        wait_until(lambda daemon=daemon: not daemon.connections(), "the daemon to forget", timeout_s)  # type: ignore[misc]
        wait_until(lambda daemon=daemon: not sockets_left(daemon.host), "the last socket to close")  # type: ignore[misc]


def fallbacks(moved: dict[str, int]) -> dict[str, int]:
    """Return those of the kernel's counters that tell of a fallback or an error of MPTCP."""
    words = (
        "Fallback",
        "Corruption",
        "MPFail",
        "CsumErr",
        "NoMatch",
        "NotMatching",
        "InfiniteMap",
        "HMacFailure",
    )
    return {
        name: value
        for name, value in moved.items()
        if name.startswith("MPTcpExt") and any(word in name for word in words)
    }


def set_aside(action: Callable[[], object]) -> None:
    """Do it, whatever it says: clean-up of what the test may have undone itself."""
    with suppress(Exception):
        action()
