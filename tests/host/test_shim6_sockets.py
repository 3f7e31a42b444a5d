"""Which sockets keep a context, against the kernel's own sock_diag on loopback."""

import socket
from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from mpcore.host import shim6_sockets
from mpcore.host.nftables import Change, Count, NftSets
from mpcore.host.shim6_rules import CONTEXTS, TABLE, ULIDS, USED, USED_OTHERS, Shim6RuleSettings, table_text
from mpcore.host.shim6_sockets import CACHE_NS, SocketPairs, SocketUse, read_gone, read_use
from mpcore.shim6.context import ContextKey
from mpcore.shim6.locators import Pair
from tests.host.namespace import in_namespace, run

UDP, ICMPV6, PORT = socket.IPPROTO_UDP, socket.IPPROTO_ICMPV6, 5000
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
        before = read_use().pairs
        if pair in before:
            pytest.skip("another program talks to itself over ::1")
        with connected(socket.SOCK_STREAM, listener):
            assert pair in read_use().pairs
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer:
            peer.bind(("::1", 0))
            with connected(socket.SOCK_DGRAM, peer):
                assert pair in read_use().pairs


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
    def refuse() -> SocketUse:
        raise OSError("no sock_diag")

    monkeypatch.setattr("mpcore.host.shim6_sockets.read_use", refuse)
    assert SocketPairs(lambda: 0).in_use(ContextKey(OTHER, OTHER))


@pytest.mark.parametrize(
    ("bound", "needed"),
    [
        ((LOOPBACK, UDP, PORT), True),
        ((bytes(16), UDP, PORT), True),
        ((OTHER, UDP, PORT), False),
        ((LOOPBACK, UDP, PORT + 1), False),
        ((LOOPBACK, ICMPV6, 0), True),
        ((bytes(16), ICMPV6, 0), False),
        ((LOOPBACK, 89, 0), False),
    ],
)
def test_a_socket_without_a_peer_needs_what_its_port_has_used(
    bound: tuple[bytes, int, int], needed: bool
) -> None:
    """RFC 5533 §9: a raw socket that is not bound hears everything, which is no use of one context."""
    pair = Pair(LOOPBACK, OTHER)
    use = SocketUse(bound=frozenset({bound}), gone={pair: {(UDP, PORT), (ICMPV6, 0)}})
    assert use.needs(pair) is needed
    assert not use.needs(Pair(LOOPBACK, LOOPBACK))


def test_what_has_gone_by_contexts_is_read_from_both_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = LOOPBACK + OTHER

    class Sets(NftSets):
        def __init__(self, table: str) -> None: ...

        def close(self) -> None: ...

        def counts(self, name: str) -> Iterator[Count]:
            if name == USED:
                yield Count(pair + bytes([UDP, 0, 0, 0]) + PORT.to_bytes(2) + bytes(2), 1, 1)
                yield Count(b"short", 1, 1)
            else:
                assert name == USED_OTHERS
                yield Count(pair + bytes([ICMPV6, 0, 0, 0]), 1, 1)
                raise FileNotFoundError(2, "no such set")

    monkeypatch.setattr(shim6_sockets, "NftSets", Sets)
    assert read_gone() == {Pair(LOOPBACK, OTHER): {(UDP, PORT)}}


@in_namespace
def test_a_datagram_by_a_context_keeps_it_as_long_as_its_socket_is_open() -> None:
    """The kernel's own sets and sockets, with the rules that a daemon puts in."""
    local, peer = "fd00::1", "fd00::2"
    ulids = Pair(IPv6Address(local).packed, IPv6Address(peer).packed)
    run("ip", "link", "add", "out", "type", "veth", "peer", "name", "far")
    run("ip", "link", "set", "far", "up")
    run("ip", "link", "set", "out", "up")
    run("ip", "addr", "add", f"{local}/64", "dev", "out", "nodad")
    run("ip", "neigh", "add", peer, "lladdr", "02:00:00:00:00:01", "dev", "out")
    rules = Shim6RuleSettings(
        queue=1,
        tcp_queue=2,
        mark_done=1 << 26,
        mark_rewrite=1 << 27,
        skip_ports=(),
        with_mptcp=False,
        max_talks=100,
    )
    run("nft", "-f", "-", stdin=table_text(rules, 40))
    with NftSets(TABLE) as sets:
        sets.change([Change(ULIDS, ulids.local, True)])
        both = (ulids.local + ulids.peer, ulids.peer + ulids.local)
        sets.change([Change(CONTEXTS, key, True) for key in both])
    for bound in (local, "::"):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as talker:
            talker.bind((bound, PORT))
            assert not read_use().needs(ulids)
            talker.sendto(b"by the context", (peer, 9))
            assert read_use().needs(ulids)
        assert not read_use().needs(ulids)
        run("nft", "flush", "set", "ip6", TABLE, USED)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, ICMPV6) as pinger:
        pinger.sendto(bytes([128, 0, 0, 0, 0, 0, 0, 0]), (peer, 0))
        assert not read_use().needs(ulids)
        pinger.bind((local, 0))
        assert read_use().needs(ulids)
        pinger.connect((peer, 0))
        assert ulids in read_use().pairs
