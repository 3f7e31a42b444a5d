"""Help for tests against the real kernel: a laboratory with two links, and transfers that prove themselves.

The fixture `lab` is known in every test, because `tests/conftest.py` names this module in `pytest_plugins`.
Mark tests that use it `pytest.mark.kernel`; without root it skips them.
"""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mpcore.lab.accounting import kernel_counters
from mpcore.lab.demo import mpcore_daemon
from mpcore.lab.host import NETNS_DIR, Host
from mpcore.lab.pattern import pattern_sha256
from mpcore.lab.settings import LinkSettings
from mpcore.lab.sockets import is_listening
from mpcore.lab.topology import Lab
from mpcore.lab.transfer import Received
from mpcore.lab.wait import wait_for_line, wait_until

__all__ = [
    "Server",
    "converse",
    "inside",
    "lab",
    "make_lab",
    "mpcore_daemon",
    "needs_root",
    "nstat",
    "nstat_delta",
    "start_client",
    "start_server",
    "wait_until",
]

CLIENT_SEED, SERVER_SEED = 1, 2
_CLONE_NEWNET = 0x40000000
TRANSFER = [sys.executable, "-m", "mpcore.lab.transfer"]

nstat = kernel_counters


def needs_root() -> None:
    """Skip the test, saying why, unless it runs as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two hosts, two links of 100 Mbit/s; host `b` announces its second address to MPTCP clients."""
    with make_lab() as standing:
        yield standing


@contextmanager
def make_lab(
    *links: LinkSettings | float | None, announce: bool = True, source_routing: bool = False
) -> Iterator[Lab]:
    """Build a laboratory, by default as the fixture `lab` does, and take it down."""
    needs_root()
    with Lab(links or (100, 100), source_routing=source_routing) as standing:
        if announce:
            for link in standing.links[1:]:
                for version in (4, 6):
                    standing.b.mptcp_endpoint(link.address(standing.b, version), link.interface, "signal")
        yield standing


@contextmanager
def inside(host: Host) -> Iterator[None]:
    """Let the sockets that this thread makes in the block belong to `host`, wherever they are used later."""
    with open("/proc/thread-self/ns/net") as before, open(NETNS_DIR / host.namespace) as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(before.fileno())


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def nstat_delta(host: Host) -> Callable[[], dict[str, int]]:
    """Return a function that tells which of the kernel's counters on `host` move from now on, and how far."""
    before = nstat(host)

    def moved() -> dict[str, int]:
        return {name: value - before[name] for name, value in nstat(host).items() if value != before[name]}

    return moved


@dataclass(frozen=True)
class Server:
    """A transfer server of `host`, reached by `address` and `port`."""

    host: Host
    address: str
    port: int
    process: subprocess.Popen[bytes]

    def results(self, count: int = 1) -> list[Received]:
        """Wait until `count` connections have ended and return what the server received on each."""
        return [read_result(self.process) for _ in range(count)]


def start_server(
    host: Host, address: str, *, mptcp: bool, size: int, count: int = 1, port: int = 0
) -> Server:
    """Start a server that takes `count` connections and sends `size` bytes on each.

    It listens on all addresses of the family of `address`, by which its clients reach it.
    """
    options = ["--bytes", str(size), "--seed", str(SERVER_SEED), "--count", str(count)]
    # On all addresses: the kernel takes an MP_JOIN only where something listens.
    everywhere = "::" if ":" in address else "0.0.0.0"
    argv = [*TRANSFER, "server", everywhere, str(port), *options, *(["--mptcp"] if mptcp else [])]
    process = host.popen(argv, env=_environment())
    chosen = int(wait_for_line(process, "listening").split()[1])
    return Server(host, address, chosen, process)


def start_client(host: Host, server: Server, *, mptcp: bool, size: int) -> subprocess.Popen[bytes]:
    """Start a client that sends `size` bytes to `server`; `read_result` returns what it received."""
    options = ["--bytes", str(size), "--seed", str(CLIENT_SEED), *(["--mptcp"] if mptcp else [])]
    argv = [*TRANSFER, "client", server.address, str(server.port), *options]
    return host.popen(argv, env=_environment())


def read_result(process: subprocess.Popen[bytes]) -> Received:
    """Wait for the next result that one end of a transfer prints."""
    return Received(**json.loads(wait_for_line(process, "{", timeout_s=90)))


def converse(
    lab: Lab,
    *,
    version: int = 4,
    client_mptcp: bool,
    server_mptcp: bool,
    upload: int = 1 << 20,
    download: int = 1 << 20,
    to_a: bool = False,
) -> tuple[Received, Received]:
    """Exchange `upload` and `download` bytes over link 1 and return what client and server received.

    The client is host `a`, or host `b` with `to_a`. Asserts that neither end saw an error and that every byte
    arrived as it was sent.
    """
    client_host, server_host = (lab.b, lab.a) if to_a else (lab.a, lab.b)
    address = lab.links[0].address(server_host, version)
    server = start_server(server_host, address, mptcp=server_mptcp, size=download)
    client = start_client(client_host, server, mptcp=client_mptcp, size=upload)
    at_client, (at_server,) = read_result(client), server.results()
    assert_intact(at_client, SERVER_SEED, download)
    assert_intact(at_server, CLIENT_SEED, upload)
    return at_client, at_server


def assert_intact(result: Received, seed: int, size: int) -> None:
    """Assert that `result` is all of stream `seed`, `size` bytes long."""
    assert result.error is None
    assert result.received == size
    assert result.sha256 == pattern_sha256(seed, size)


def wait_listening(host: Host, port: int) -> None:
    """Wait until some program of `host` listens on `port`."""
    wait_until(lambda: is_listening(host, port), f"a listener on port {port}")


def _environment() -> dict[str, str]:
    """Let programs in the hosts import mpcore from the tree that is under test."""
    return {"PYTHONPATH": str(Path(__file__).parents[2])}
