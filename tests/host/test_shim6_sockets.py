"""Which sockets keep a context, against the kernel's own sock_diag on loopback."""

import socket
from ipaddress import IPv6Address

import pytest

from mpcore.host.shim6_sockets import CACHE_NS, SocketPairs, read_pairs
from mpcore.shim6.context import ContextKey
from mpcore.shim6.locators import Pair

LOOPBACK = IPv6Address("::1").packed
OTHER = IPv6Address("2001:db8::1").packed


def connected(kind: socket.SocketKind, listener: socket.socket) -> socket.socket:
    client = socket.socket(socket.AF_INET6, kind)
    client.connect(listener.getsockname()[:2])
    return client


@pytest.fixture
def listener() -> socket.socket:
    try:
        return socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 on loopback: {error}")


def test_connected_sockets_are_found_and_listening_ones_are_not(listener: socket.socket) -> None:
    pair = Pair(LOOPBACK, LOOPBACK)
    with listener:
        before = read_pairs()
        if pair in before:
            pytest.skip("another program talks to itself over ::1")
        with connected(socket.SOCK_STREAM, listener):
            assert pair in read_pairs()
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer:
            peer.bind(("::1", 0))
            with connected(socket.SOCK_DGRAM, peer):
                assert pair in read_pairs()


def test_the_answer_is_kept_for_a_while(listener: socket.socket) -> None:
    now = [0]
    sockets = SocketPairs(lambda: now[0])
    key = ContextKey(LOOPBACK, LOOPBACK)
    with listener:
        with connected(socket.SOCK_STREAM, listener):
            assert sockets.in_use(key)
            assert not sockets.in_use(ContextKey(LOOPBACK, OTHER))
        now[0] = CACHE_NS - 1
        assert sockets.in_use(key)


def test_where_the_kernel_does_not_tell_contexts_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> frozenset[Pair]:
        raise OSError("no sock_diag")

    monkeypatch.setattr("mpcore.host.shim6_sockets.read_pairs", refuse)
    assert SocketPairs(lambda: 0).in_use(ContextKey(OTHER, OTHER))
