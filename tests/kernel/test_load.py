"""Many connections: each works, none stays, and the daemon does not grow."""

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mpcore.lab.host import Host
from mpcore.lab.sockets import listen_socket, open_socket
from mpcore.lab.topology import Lab
from tests.helpers.netns import inside
from tests.kernel.support import (
    TIMEOUT_S,
    Daemon,
    connect,
    exchange_both,
    kernel_peer,
    receive_all,
    roles,
    wait_for_nothing,
)

pytestmark = pytest.mark.kernel

SEQUENTIAL = 200
PARALLEL = 20
GROWTH_KB = 4096  # of 200 connections more; each would take about 100 KB if it stayed
REQUEST, ANSWER = b"GET /\r\n", bytes(range(256)) * 16


def resident_kb(daemon: Daemon) -> int:
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    match = re.search(r"^VmRSS:\s*(\d+) kB", status, re.MULTILINE)
    assert match is not None
    return int(match[1])


def serve(listener: socket.socket, count: int) -> None:
    """Answer one request on each of `count` connections."""
    for _ in range(count):
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(TIMEOUT_S)
            assert accepted.recv(len(REQUEST)) == REQUEST
            accepted.sendall(ANSWER)


def ask(client_host: Host, target: tuple[str, int], mptcp: bool) -> bytes:
    with inside(client_host):
        client = open_socket(4, mptcp)
    with client:
        client.settimeout(TIMEOUT_S)
        client.connect(target)
        client.sendall(REQUEST)
        return receive_all(client)


def many(hosts: Lab, to_a: bool, count: int) -> None:
    """Make `count` short connections, one after another."""
    client_host, server_host = (hosts.b, hosts.a) if to_a else (hosts.a, hosts.b)
    with inside(server_host):
        listener = listen_socket("0.0.0.0", 0, not to_a)
    with listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(TIMEOUT_S)
        server = pool.submit(serve, listener, count)
        target = (hosts.links[0].address(server_host), listener.getsockname()[1])
        for _ in range(count):
            assert ask(client_host, target, to_a) == ANSWER
        server.result()


@roles
def test_short_connections_leave_nothing(hosts: Lab, daemon: Daemon, to_a: bool) -> None:
    many(hosts, to_a, 50)
    wait_for_nothing(daemon)
    before = resident_kb(daemon)
    many(hosts, to_a, SEQUENTIAL)
    wait_for_nothing(daemon)
    assert resident_kb(daemon) - before < GROWTH_KB


@roles
def test_connections_side_by_side(hosts: Lab, daemon: Daemon, to_a: bool) -> None:
    pairs = [connect(hosts, **kernel_peer(to_a)) for _ in range(PARALLEL)]
    with ThreadPoolExecutor(PARALLEL) as pool:
        results = [pool.submit(exchange_both, pair, 200_003, 200_003) for pair in pairs]
        for result in results:
            result.result()
    wait_for_nothing(daemon)


def test_connections_between_two_daemons_leave_nothing(hosts: Lab, daemon: Daemon, peer: Daemon) -> None:
    pairs = [connect(hosts, to_a=number % 2 == 0) for number in range(PARALLEL)]
    with ThreadPoolExecutor(PARALLEL) as pool:
        results = [pool.submit(exchange_both, pair, 200_003, 200_003) for pair in pairs]
        for result in results:
            result.result()
    wait_for_nothing(daemon, peer)


def test_a_port_that_refuses(hosts: Lab, daemon: Daemon) -> None:
    """RFC 9293 §3.10.7.1: a RST to a SYN ends the handshake, here as without mpcore."""
    with inside(hosts.a):
        client = open_socket(4, False)
    with client, pytest.raises(ConnectionRefusedError):
        client.connect((hosts.links[0].address(hosts.b), 9))
    wait_for_nothing(daemon)
