"""How connections end: either side first, one half before the other, by RST and MP_FASTCLOSE."""

import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

from mpcore.lab.pattern import pattern
from mpcore.lab.topology import Lab
from tests.helpers.netns import nstat_delta
from tests.kernel.support import (
    Daemon,
    Pair,
    connect,
    fallbacks,
    kernel_peer,
    receive_all,
    roles,
    versions,
    wait_for_nothing,
    wait_until,
)

pytestmark = pytest.mark.kernel

DATA = b"".join(pattern(3, 300_007))
closers = pytest.mark.parametrize("client_first", [True, False], ids=["client-first", "server-first"])


def ends(pair: Pair, client_first: bool) -> tuple[socket.socket, socket.socket]:
    """The side that acts first, then the other."""
    return (pair.client, pair.server) if client_first else (pair.server, pair.client)


def greet(pair: Pair) -> None:
    """Let each side hear the other: the connection is MPTCP from here on."""
    pair.client.sendall(b"hello")
    assert pair.server.recv(5) == b"hello"
    pair.server.sendall(b"world")
    assert pair.client.recv(5) == b"world"


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@roles
@versions
@closers
def test_one_half_may_end_long_before_the_other(
    hosts: Lab, daemon: Daemon, to_a: bool, version: int, client_first: bool
) -> None:
    """RFC 8684 §3.3.3: a DATA_FIN ends one direction; the other carries data still."""
    moved = nstat_delta(hosts.b)
    with connect(hosts, version=version, **kernel_peer(to_a)) as pair, ThreadPoolExecutor(1) as pool:
        first, second = ends(pair, client_first)
        greet(pair)
        first.shutdown(socket.SHUT_WR)
        assert receive_all(second) == b""
        received = pool.submit(receive_all, first)
        second.sendall(DATA)
        second.shutdown(socket.SHUT_WR)
        assert received.result() == DATA
    assert fallbacks(moved()) == {}


@roles
@closers
def test_data_right_before_close_arrives(hosts: Lab, daemon: Daemon, to_a: bool, client_first: bool) -> None:
    with connect(hosts, **kernel_peer(to_a)) as pair:
        first, second = ends(pair, client_first)
        greet(pair)
        first.sendall(DATA[:5000])
        first.close()
        assert receive_all(second) == DATA[:5000]


@roles
@versions
def test_a_reset_by_the_program_reaches_the_kernel_as_fastclose(
    hosts: Lab, daemon: Daemon, to_a: bool, version: int
) -> None:
    """RFC 8684 §3.5: an abort of the whole connection."""
    moved = nstat_delta(hosts.b)
    with connect(hosts, version=version, **kernel_peer(to_a)) as pair:
        ours, theirs = ends(pair, not to_a)
        greet(pair)
        reset(ours)
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)
    wait_until(lambda: moved().get("MPTcpExtMPFastcloseRx", 0) >= 1, "the kernel's MPFastcloseRx")


@roles
@versions
def test_a_fastclose_of_the_kernel_reaches_the_program_as_reset(
    hosts: Lab, daemon: Daemon, to_a: bool, version: int
) -> None:
    """RFC 8684 §3.5."""
    moved = nstat_delta(hosts.b)
    daemon.mark()
    with connect(hosts, version=version, **kernel_peer(to_a)) as pair:
        ours, theirs = ends(pair, not to_a)
        greet(pair)
        reset(theirs)
        with pytest.raises(ConnectionResetError):
            ours.recv(1)
    assert moved()["MPTcpExtMPFastcloseTx"] >= 1
    assert daemon.moved()["MPTcpExtMPFastcloseRx"] >= 1  # one a subflow


@closers
def test_a_reset_between_two_daemons(hosts: Lab, daemon: Daemon, peer: Daemon, client_first: bool) -> None:
    """RFC 8684 §3.5."""
    with connect(hosts) as pair:
        first, second = ends(pair, client_first)
        greet(pair)
        reset(first)
        with pytest.raises(ConnectionResetError):
            second.recv(1)


@closers
def test_unread_data_at_close_is_a_reset(
    hosts: Lab, daemon: Daemon, peer: Daemon, client_first: bool
) -> None:
    """RFC 9293 §3.10.4: who closes with data unread tells the sender that it was lost."""
    with connect(hosts) as pair:
        first, second = ends(pair, client_first)
        greet(pair)
        second.sendall(b"never read")
        wait_until(lambda: first.recv(1, socket.MSG_PEEK) == b"n", "data")
        first.close()
        with pytest.raises(ConnectionResetError):
            second.recv(1)


def test_none_of_them_stays(hosts: Lab, daemon: Daemon, peer: Daemon) -> None:
    """What all tests above have closed, by whatever way, is gone from daemons and kernels."""
    wait_for_nothing(daemon, peer)
