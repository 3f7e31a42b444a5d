"""MPTCP and Shim6 in one daemon on a real kernel: each moves what is its own."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mpcore.host.shim6_rules import TABLE, TALKS
from mpcore.lab.host import Host
from mpcore.lab.sockets import listen_socket
from mpcore.lab.wait import wait_until
from mpcore.shim6.heuristic import Heuristic
from tests.helpers.netns import inside
from tests.kernel.shim6_pair import TIMEOUT_S, Shim6Pair, connect, contexts, settings, shim6_lab, swap
from tests.kernel.support import running

pytestmark = pytest.mark.kernel
UDP_PORT = 7200
PATIENCE_S = 0.1  # how long one datagram may take before it is sent again


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Shim6Pair]:
    """Host `a` does both, `b` leaves MPTCP to its kernel, which announces the second address."""
    with (
        shim6_lab(tmp_path) as ends,
        running(ends.lab.a, tmp_path, *settings(tmp_path, "a"), "mptcp.enabled=true") as a,
        running(ends.lab.b, tmp_path, *settings(tmp_path, "b")) as b,
    ):
        ends.lab.b.mptcp_endpoint(ends.hosts[1].addresses[1], ends.lab.links[1].interface, "signal")
        yield Shim6Pair(ends.lab, ends.hosts, a, b)


def test_mptcp_moves_its_own_and_shim6_the_others(pair: Shim6Pair) -> None:
    """RFC 6629 §7.3: no context for what MPTCP moves already; UDP and plain TCP have one, and survive."""
    with ExitStack() as stack:
        multipath = connect_mptcp(pair, stack)
        swap(*multipath, bytes(100_000))
        wait_until(lambda: pair.a.subflows() == 2, "the second subflow")
        swap(*multipath, bytes(100_000))
        assert all(counted_tcp(host) < Heuristic().min_bytes for host in pair.lab.hosts)
        assert contexts(pair.a) == contexts(pair.b) == []

        plain = connect(pair)
        for each in plain:
            stack.enter_context(each)
        asker = stack.enter_context(udp(pair, "a"))
        answerer = stack.enter_context(udp(pair, "b"))
        swap(*plain, bytes(5000))
        assert asks(asker, answerer, b"before")
        wait_until(pair.established, "a context at both ends")

        pair.lab.links[0].cut()
        swap(*multipath, bytes(100_000))
        swap(*plain, bytes(50_000))
        wait_until(lambda: asks(asker, answerer, b"after"), "UDP to go on")
        wait_until(pair.moved, "both hosts to move")
        swap(*multipath, bytes(100_000))
        assert len(pair.a.connections()) == 1
        for near, _ in (multipath, plain):
            assert near.getpeername()[0] == pair.ulid_b


def counted_tcp(host: Host) -> int:
    """Return the octets of TCP that the kernel of a host counts for conversations without a context."""
    listed = json.loads(host.run(["nft", "-j", "list", "set", "ip6", TABLE, TALKS]).stdout)
    (found,) = [each["set"] for each in listed["nftables"] if "set" in each]
    elements = [each["elem"] for each in found.get("elem", ())]
    return sum(each["counter"]["bytes"] for each in elements if each["val"]["concat"][2] == "tcp")


def connect_mptcp(pair: Shim6Pair, stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection from an ordinary socket to one of the kernel's MPTCP."""
    with inside(pair.lab.b):
        # open to the end: the kernel takes a second subflow only where something listens
        listener = stack.enter_context(listen_socket("::", 0, True))
    with inside(pair.lab.a):
        client = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
    client.bind((pair.ulid_a, 0))
    client.settimeout(TIMEOUT_S)
    client.connect((pair.ulid_b, listener.getsockname()[1]))
    server = stack.enter_context(listener.accept()[0])
    server.settimeout(TIMEOUT_S)
    return client, server


def udp(pair: Shim6Pair, name: str) -> socket.socket:
    """Return the UDP socket of one host, connected to the other's."""
    host, own, peer = (pair.lab.a, pair.ulid_a, pair.ulid_b)
    if name == "b":
        host, own, peer = pair.lab.b, peer, own
    with inside(host):
        made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    made.bind((own, UDP_PORT))
    made.connect((peer, UDP_PORT))
    made.settimeout(PATIENCE_S)
    return made


def asks(asker: socket.socket, answerer: socket.socket, data: bytes) -> bool:
    """Send a datagram there and back; tell whether it came."""
    try:
        asker.send(data)
        while answerer.recv(100) != data:
            pass
        answerer.send(data)
        while asker.recv(100) != data:
            pass
    except TimeoutError:
        return False
    return True
