"""Many connections of every kind at once while paths come and go: every byte arrives, and nothing stays.

`MPCORE_SOAK=10` makes it ten times as long; `make soak` does that.
"""

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from mpcore.lab.commands import LabError
from mpcore.lab.host import Host
from mpcore.lab.link import Link
from mpcore.lab.sockets import listen_socket, open_socket
from mpcore.lab.topology import Lab
from mpcore.lab.wait import wait_until
from tests.helpers.netns import inside, make_lab
from tests.kernel.support import (
    TIMEOUT_S,
    Daemon,
    Pair,
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
BLOCK = bytes(range(256)) * 128  # what a socket's buffers take whole
CHAT_S = 0.5


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


# All at once, and all of them through every failure.


def read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        got = sock.recv(size - len(data))
        assert got, f"the end after {len(data)} of {size} bytes"
        data += got
    return data


def converse(pair: Pair, question: bytes, reply: bytes, pause_s: float, over: threading.Event) -> int:
    """Let both ends ask and answer until it is `over`, then close in order; return how often they did."""
    rounds = 0
    with pair:
        while not over.is_set() or rounds == 0:
            number = rounds.to_bytes(4)
            pair.client.sendall(number + question)
            assert read(pair.server, 4 + len(question)) == number + question
            pair.server.sendall(reply + number)
            assert read(pair.client, len(reply) + 4) == reply + number
            rounds += 1
            over.wait(pause_s)
        for one, other in ((pair.client, pair.server), (pair.server, pair.client)):
            one.shutdown(socket.SHUT_WR)
            assert other.recv(1) == b""
    return rounds


def failures(hosts: Lab) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """Every way in which a path fails: its name, what breaks it and what mends it."""
    for link in reversed(hosts.links):
        yield f"{link.interface} cut", link.cut, link.restore
        yield f"{link.interface} down", partial(link.down, hosts.a), partial(link.up, hosts.a)
        yield (
            f"{link.interface} without address",
            partial(link.remove_address, hosts.a),
            partial(link.add_address, hosts.a),
        )


def wait_until_spread(daemon: Daemon, what: str) -> None:
    """Wait until every connection of the daemon's host has both paths in use."""
    lacking: list[object] = []

    def is_spread() -> bool:
        time.sleep(0.2)  # the daemon is busy
        found = [(each["role"], each["subflows"]) for each in daemon.connections()]
        lacking[:] = [
            (role, paths)
            for role, paths in found
            if sum(not path["suspect"] for path in paths) < 2
        ]
        return len(found) == LONG + SHORT and not lacking

    try:
        wait_until(is_spread, what, TIMEOUT_S)
    except LabError as error:
        pytest.fail(f"{error}; {len(lacking)} lack it, such as {lacking[:3]}")


def outlive(hosts: Lab, daemon: Daemon, both: bool) -> None:
    """Let all connections meet all failures, one after the other."""
    over = threading.Event()
    with ThreadPoolExecutor(LONG + SHORT) as pool:
        talks = [
            pool.submit(converse, connect(hosts, **ends(number, both)), *habits(number), over)
            for number in range(LONG + SHORT)
        ]
        try:
            wait_until_spread(daemon, "two paths of each connection")
            for name, fail, mend in failures(hosts):
                fail()
                wait(talks, DOWN_S, FIRST_EXCEPTION)
                mend()
                wait_until_spread(daemon, f"the path back after {name}")
        finally:
            over.set()
        for talk in talks:
            assert talk.result() > 0


def ends(number: int, both: bool) -> dict[str, bool]:
    """Return the arguments of `connect`: every other connection comes from host `b`."""
    to_a = bool(number % 2)
    return {"to_a": to_a} if both else kernel_peer(to_a)


def habits(number: int) -> tuple[bytes, bytes, float]:
    """Return what a connection asks, what it answers, and how long it rests."""
    return (BLOCK, BLOCK, 0.0) if number < LONG else (REQUEST, ANSWER, CHAT_S)


@pytest.mark.parametrize("both", [False, True], ids=["kernel", "mpcore"])
def test_all_connections_outlive_every_kind_of_failure(tmp_path: Path, both: bool) -> None:
    """RFC 8684 §3.3.6, §3.4: 20 that are busy and 200 that are not, from before the first to the end."""
    settings = (f"limits.memory_bytes={MEMORY_BYTES}",)
    with ExitStack() as stack:
        hosts = stack.enter_context(make_lab(100, 100))
        served = hosts.hosts[: 1 + both]
        daemons = [stack.enter_context(running(host, tmp_path, *settings)) for host in served]
        before = [peak_kb(daemon) for daemon in daemons]
        for _ in range(ROUNDS):
            outlive(hosts, daemons[0], both)
        wait_for_nothing(*daemons)
        for daemon, start_kb in zip(daemons, before, strict=True):
            assert peak_kb(daemon) - start_kb < MEMORY_BYTES // 1024 + OVERHEAD_KB
