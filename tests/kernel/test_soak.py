"""Many connections of every kind at once while a path comes and goes: every byte arrives, and nothing stays.

`MPCORE_SOAK=10` makes it ten times as long.
"""

import os
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from mpcore.lab.host import Host
from mpcore.lab.link import Link
from mpcore.lab.sockets import listen_socket, open_socket
from mpcore.lab.topology import Lab
from tests.helpers.netns import inside, make_lab
from tests.kernel.support import (
    TIMEOUT_S,
    Daemon,
    connect,
    exchange_both,
    kernel_peer,
    receive_all,
    running,
    wait_for_nothing,
)

pytestmark = pytest.mark.kernel

ROUNDS = int(os.environ.get("MPCORE_SOAK", "1"))
SHORT, LONG = 200, 20
SHORT_AT_ONCE = 8
LONG_BYTES = 2_000_000
REQUEST, ANSWER = b"GET /\r\n", bytes(range(256)) * 16
DOWN_S, UP_S = 0.3, 0.7
MEMORY_BYTES = 64 << 20
OVERHEAD_KB = 48 << 10  # of what is no payload: tables, segments in flight, events


@contextmanager
def flapping(link: Link) -> Iterator[None]:
    """Cut the link and restore it, again and again, while the block lasts."""
    over = threading.Event()

    def flap() -> None:
        while not over.wait(UP_S):
            link.cut()
            over.wait(DOWN_S)
            link.restore()

    thread = threading.Thread(target=flap)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def answer(listener: socket.socket) -> None:
    """Answer requests until the listener is shut down."""
    with ThreadPoolExecutor(SHORT_AT_ONCE) as pool:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            pool.submit(answer_one, accepted)


def answer_one(accepted: socket.socket) -> None:
    with accepted:
        accepted.settimeout(TIMEOUT_S)
        assert accepted.recv(len(REQUEST)) == REQUEST
        accepted.sendall(ANSWER)


@contextmanager
def answering(host: Host, mptcp: bool) -> Iterator[int]:
    """Let `host` answer requests at the port that is returned."""
    with inside(host):
        listener = listen_socket("0.0.0.0", 0, mptcp)
    with listener, ThreadPoolExecutor(1) as pool:
        served = pool.submit(answer, listener)
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            served.result()


def ask(client: socket.socket, target: tuple[str, int]) -> None:
    with client:
        client.settimeout(TIMEOUT_S)
        client.connect(target)
        client.sendall(REQUEST)
        assert receive_all(client) == ANSWER


def ask_often(hosts: Lab, pool: ThreadPoolExecutor, ports: dict[bool, int]) -> list[Future[None]]:
    """Begin all short connections, every other one from host `b`."""
    begun = []
    for number in range(SHORT):
        to_a = bool(number % 2)
        client_host, server_host = (hosts.b, hosts.a) if to_a else (hosts.a, hosts.b)
        with inside(client_host):
            client = open_socket(4, to_a)
        begun.append(pool.submit(ask, client, (hosts.links[0].address(server_host), ports[to_a])))
    return begun


def soak(hosts: Lab) -> None:
    """Let all connections run side by side; each proves its own bytes."""
    with ExitStack() as stack:
        ports = {to_a: stack.enter_context(answering(hosts.a if to_a else hosts.b, not to_a))
                 for to_a in (False, True)}  # fmt: skip
        pairs = [connect(hosts, **kernel_peer(bool(number % 2))) for number in range(LONG)]
        longs = stack.enter_context(ThreadPoolExecutor(LONG))
        shorts = stack.enter_context(ThreadPoolExecutor(SHORT_AT_ONCE))
        begun: list[Future[object]] = [
            longs.submit(exchange_both, pair, LONG_BYTES, LONG_BYTES) for pair in pairs
        ]
        for each in [*begun, *ask_often(hosts, shorts, ports)]:
            each.result()


def peak_kb(daemon: Daemon) -> int:
    """Return the most memory that the daemon ever had."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    match = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    assert match is not None
    return int(match[1])


def test_short_and_long_connections_while_a_path_flaps(tmp_path: Path) -> None:
    settings = (f"limits.memory_bytes={MEMORY_BYTES}",)
    with make_lab(100, 100) as hosts, running(hosts.a, tmp_path, *settings) as daemon:
        before = peak_kb(daemon)
        with flapping(hosts.links[1]):
            for _ in range(ROUNDS):
                soak(hosts)
        wait_for_nothing(daemon)
        assert peak_kb(daemon) - before < MEMORY_BYTES // 1024 + OVERHEAD_KB
