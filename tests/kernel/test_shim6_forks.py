"""Forked contexts on real kernels: packets name their way by DSCP or mark (RFC 5533 §4.2)."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mpcore.lab.host import Host
from mpcore.lab.wait import wait_until
from tests.helpers.netns import inside
from tests.kernel.shim6_pair import (
    PATIENCE_S,
    UDP_PORT,
    Shim6Pair,
    asks,
    connect,
    contexts,
    shim6_pair,
    swap,
    talks,
)

pytestmark = pytest.mark.kernel

EXPEDITED = 46  # DSCP of RFC 3246
MARK = 0x10


LINK_2 = "fd77:2::/64"  # as `mpcore.lab.link` has it
RULES = (
    "shim6.forks=["
    f'{{fii=1, dscp={EXPEDITED}, local_prefixes=["{LINK_2}"], peer_prefixes=["{LINK_2}"]}}, '
    f'{{fii=2, mark={MARK}, mark_mask=0xff, local_prefixes=["{LINK_2}"], peer_prefixes=["{LINK_2}"]}}]'
)


@contextmanager
def asker_of(pair: Shim6Pair) -> Iterator[socket.socket]:
    """Have a UDP socket of `a` connected to the one of `b`."""
    with inside(pair.lab.a), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as made:
        made.bind((pair.ulid_a, 0))
        made.connect((pair.ulid_b, UDP_PORT))
        made.settimeout(PATIENCE_S)
        yield made


def arrives(asker: socket.socket, listener: socket.socket, data: bytes) -> bool:
    """Send a datagram there; tell whether it came. Answers go another way (RFC 5533 §4.2)."""
    asker.send(data)
    try:
        while listener.recv(9000) != data:
            pass
    except TimeoutError:
        return False
    return True


def ways(pair: Shim6Pair) -> dict[int, str]:
    """Return which local address the packets of host `a` leave from, by Forked Instance Identifier."""
    ready = [entry for entry in contexts(pair.a) if entry["state"] == "established"]
    return {entry["fii"]: entry["current_local"] for entry in ready}


def mark_packets_from(host: Host, port: int) -> None:
    """Let a rule of this host give UDP packets from a port the mark."""
    host.run(["nft", "add table ip6 ways"])
    host.run(["nft", "add chain ip6 ways out { type filter hook output priority raw; }"])
    host.run(["nft", f"add rule ip6 ways out udp sport {port} meta mark set meta mark or {MARK}"])


def take_forks(pair: Shim6Pair, fii: int, asker: socket.socket, listener: socket.socket) -> None:
    """Wait until packets of `asker` leave by the fork of `fii` on link 2."""
    wait_until(lambda: asks(asker, listener, b"to fork") and fii in ways(pair), "a fork")
    wait_until(lambda: ways(pair)[fii] == pair.second_a, "the fork to take the way that it likes")


def test_two_ways_at_once_between_the_same_addresses(tmp_path: Path) -> None:
    with shim6_pair(tmp_path, RULES) as pair:
        client, server = connect(pair)
        with (
            client,
            server,
            talks(pair) as (plain, listener, _),
            asker_of(pair) as expedited,
            asker_of(pair) as marked,
        ):
            swap(client, server, bytes(5000))
            wait_until(pair.established, "a context at both ends")
            assert asks(plain, listener, b"plain")
            expedited.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, EXPEDITED << 2)
            mark_packets_from(pair.lab.a, marked.getsockname()[1])
            take_forks(pair, 1, expedited, listener)
            take_forks(pair, 2, marked, listener)
            assert ways(pair)[0] == pair.ulid_a
            pair.lab.links[0].cut()
            for asker in (expedited, marked):
                assert arrives(asker, listener, b"the way of the fork was not cut")
            assert not arrives(plain, listener, b"lost")
            client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, EXPEDITED << 2)
            swap(client, server, bytes(50_000))
