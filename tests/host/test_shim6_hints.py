"""Which messages of rtnetlink make a way out doubtful, and for whom (RFC 5534 §3.2, §4.1).

Messages and routes are made by hand; tests/kernel/test_shim6_events.py has the kernel's own.
"""

import errno
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.host import shim6_hints
from mpcore.host.next_hop import NextHop
from mpcore.host.routes import RTA_DST, RTA_OIF, RTM_F_CLONED, RTN_UNICAST
from mpcore.host.rtnetlink import RTM_DELROUTE, RTM_NEWROUTE, Message, attribute
from mpcore.host.shim6_hints import (
    NDA_DST,
    RTM_NEWNEIGH,
    LostRoute,
    NetworkHints,
    failed_neighbour,
    lost_route,
)

NAMES = {1: "lo", 2: "eth0", 3: "eth1"}
NUD_REACHABLE, NUD_FAILED = 0x02, 0x20
ETH0, ETH1 = 2, 3
ROUTER, OTHER_ROUTER, STRANGER = (bytes([0xFE, 0x80, *bytes(13), last]) for last in (1, 2, 3))
A, FAR, NEAR = (bytes([0x20, 1, last, *bytes(13)]) for last in (1, 2, 3))


@pytest.fixture(autouse=True)
def interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    def name_of(index: int) -> str:
        if index not in NAMES:
            raise OSError(errno.ENXIO, "no such interface")
        return NAMES[index]

    monkeypatch.setattr(shim6_hints.socket, "if_indextoname", name_of)


def neighbour(
    address: bytes = ROUTER, index: int = ETH0, state: int = NUD_FAILED, family: int = socket.AF_INET6
) -> Message:
    head = struct.pack("=BxxxiHBB", family, index, state, 0, 0)
    return Message(RTM_NEWNEIGH, 0, head + attribute(NDA_DST, address))


def route(
    index: int = ETH0,
    *,
    family: int = socket.AF_INET6,
    destination: bytes = b"",
    bits: int = 0,
    kind: int = RTN_UNICAST,
    flags: int = 0,
    message: int = RTM_DELROUTE,
) -> Message:
    body = struct.pack("=8BI", family, bits, 0, 0, 254, 0, 0, kind, flags)
    body += attribute(RTA_DST, destination) if destination else b""
    return Message(message, 0, body + attribute(RTA_OIF, struct.pack("=I", index)))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (neighbour(), NextHop(ETH0, ROUTER)),
        (neighbour(state=NUD_REACHABLE), None),
        (neighbour(family=socket.AF_INET), None),
        (neighbour(bytes(4)), None),
        (Message(RTM_NEWNEIGH, 0, neighbour().body[:11]), None),
        (Message(RTM_NEWNEIGH, 0, neighbour().body[:12]), None),
        (Message(16, 0, neighbour().body), None),
    ],
)
def test_failed_neighbours_of_ipv6_are_read(message: Message, expected: NextHop | None) -> None:
    assert failed_neighbour(message) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (route(), LostRoute(ETH0, bytes(16), 0)),
        (route(ETH1, destination=FAR, bits=24), LostRoute(ETH1, FAR, 24)),
        (route(family=socket.AF_INET), None),
        (route(kind=2), None),
        (route(flags=RTM_F_CLONED), None),
        (route(message=RTM_NEWROUTE), None),
        (route(bits=129), None),
        (route(destination=bytes(4)), None),
        (Message(RTM_DELROUTE, 0, route().body[:12]), None),
        (Message(RTM_DELROUTE, 0, route().body[:11]), None),
    ],
)
def test_lost_routes_of_ipv6_are_read(message: Message, expected: LostRoute | None) -> None:
    assert lost_route(message) == expected


@pytest.mark.parametrize(("bits", "covered"), [(0, True), (16, True), (24, False), (128, False)])
def test_a_route_is_for_the_addresses_of_its_prefix(bits: int, covered: bool) -> None:
    assert LostRoute(ETH0, FAR, bits).covers(NEAR) is covered
    assert LostRoute(ETH0, FAR, bits).covers(FAR)


@given(st.sampled_from((RTM_NEWNEIGH, RTM_DELROUTE)), st.binary(max_size=60))
def test_no_message_does_harm(kind: int, body: bytes) -> None:
    failed_neighbour(Message(kind, 0, body))
    lost_route(Message(kind, 0, body))


class FakeSocket:
    def __init__(self, groups: int = 0) -> None:
        self.waiting: list[Message] = []
        self.fails: OSError | None = None

    def events(self) -> list[Message]:
        if self.fails is not None:
            raise self.fails
        taken, self.waiting = self.waiting, []
        return taken

    def fileno(self) -> int:
        return 7

    def close(self) -> None:
        self.fails = OSError(errno.EBADF, "closed")


class FakeHops:
    """What is beyond the link goes to ROUTER on eth0, what is NEAR is on it."""

    def __init__(self) -> None:
        self.ways: dict[bytes, NextHop | None] = {FAR: NextHop(ETH0, ROUTER), NEAR: NextHop(ETH0, b"")}
        self.questions = self.dumps = 0

    def of(self, local: bytes, peer: bytes) -> NextHop | None:
        self.questions += 1
        return self.ways[peer]

    def gateways(self) -> set[NextHop]:
        self.dumps += 1
        return {NextHop(ETH0, ROUTER), NextHop(ETH0, OTHER_ROUTER), NextHop(ETH1, STRANGER)}

    def close(self) -> None: ...


class Recorder:
    """An endpoint with two contexts on eth0: with a host elsewhere, and with one on the link."""

    def __init__(self) -> None:
        self.suspected: list[tuple[bytes, int]] = []

    def suspect_interface(self, name: str, now_ns: int, doubtful: Callable[[bytes, bytes], bool]) -> None:
        if name == "eth0":
            self.suspected += [(peer, now_ns) for peer in (FAR, NEAR, FAR) if doubtful(A, peer)]


Watched = tuple[NetworkHints, FakeSocket, FakeHops, Recorder]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.setattr(shim6_hints, "RouteSocket", FakeSocket)
    monkeypatch.setattr(shim6_hints, "NextHops", FakeHops)
    endpoint: Any = Recorder()
    hints = NetworkHints(endpoint)
    kernel: Any = hints._socket
    hops: Any = hints._hops
    return hints, kernel, hops, endpoint


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([neighbour()], {FAR}),
        ([neighbour(NEAR)], {NEAR}),
        ([neighbour(), neighbour(NEAR), route()], {FAR, NEAR}),
        ([neighbour(STRANGER)], set()),  # a host that is switched off
        ([neighbour(OTHER_ROUTER)], set()),  # a router by which nothing of these contexts goes
        ([neighbour(STRANGER, ETH1)], set()),
        ([neighbour(index=99), route(99)], set()),
        ([route()], set()),  # it was not the one in use
        ([route(ETH1)], set()),
    ],
)
def test_only_those_search_that_need_what_broke(
    watched: Watched, messages: list[Message], expected: set[bytes]
) -> None:
    """RFC 5534 §3.3, §4.1: it is the way from the locator in use that counts."""
    hints, kernel, _, endpoint = watched
    kernel.waiting = messages
    hints.handle_ready(5)
    hints.handle_ready(6)
    assert set(endpoint.suspected) == {(peer, 5) for peer in expected}
    assert hints.fileno() == 7


@pytest.mark.parametrize("way", [None, NextHop(ETH1, STRANGER)])
def test_who_has_no_route_by_its_interface_left_searches(watched: Watched, way: NextHop | None) -> None:
    """What leaves by another interface is of the wrong provider (RFC 5533 §1.5)."""
    hints, kernel, hops, endpoint = watched
    hops.ways[FAR] = way
    kernel.waiting = [route(destination=NEAR, bits=24)]
    hints.handle_ready(5)
    assert endpoint.suspected == []
    kernel.waiting = [route(destination=FAR, bits=24)]
    hints.handle_ready(6)
    assert set(endpoint.suspected) == {(FAR, 6)}


def test_the_kernel_has_chosen_another_router_already(watched: Watched) -> None:
    hints, kernel, hops, endpoint = watched
    hops.ways[FAR] = NextHop(ETH0, OTHER_ROUTER)
    kernel.waiting = [neighbour()]
    hints.handle_ready(5)
    assert endpoint.suspected == []


def test_strangers_cost_a_dump_a_second(watched: Watched) -> None:
    """Who makes this host look for neighbours that are not there is paid by the second, not by the packet."""
    hints, kernel, hops, _ = watched
    for now_ns in range(0, 2 * shim6_hints.GATEWAYS_VALID_NS, shim6_hints.GATEWAYS_VALID_NS // 10):
        kernel.waiting = [neighbour(STRANGER) for _ in range(50)]
        hints.handle_ready(now_ns)
    assert (hops.dumps, hops.questions) == (2, 0)


def test_each_pair_is_asked_for_once(watched: Watched) -> None:
    hints, kernel, hops, _ = watched
    kernel.waiting = [neighbour(), neighbour(OTHER_ROUTER), route()]
    hints.handle_ready(5)
    assert hops.questions == 2


def test_lost_messages_are_the_send_timeouts_business(watched: Watched) -> None:
    hints, kernel, _, endpoint = watched
    kernel.fails = OSError(errno.ENOBUFS, "overrun")
    hints.handle_ready(5)
    assert endpoint.suspected == []
    hints.close()
    with pytest.raises(OSError, match="closed"):
        hints.handle_ready(6)
