"""Which messages of rtnetlink make a way out doubtful (RFC 5534 §3.2, §4.1), from messages made by hand."""

import errno
import socket
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.host import shim6_hints
from mpcore.host.rtnetlink import RTM_DELROUTE, Message, attribute
from mpcore.host.shim6_hints import (
    MAIN_TABLE,
    RTA_OIF,
    RTM_F_CLONED,
    RTM_NEWNEIGH,
    RTN_UNICAST,
    NetworkHints,
    broken_interface,
)

NAMES = {1: "lo", 2: "eth0", 3: "eth1"}
NUD_REACHABLE, NUD_FAILED = 0x02, 0x20
RTM_NEWROUTE = 24


@pytest.fixture(autouse=True)
def interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    def name_of(index: int) -> str:
        if index not in NAMES:
            raise OSError(errno.ENXIO, "no such interface")
        return NAMES[index]

    monkeypatch.setattr(shim6_hints.socket, "if_indextoname", name_of)


def neighbour(index: int = 2, state: int = NUD_FAILED, family: int = socket.AF_INET6) -> Message:
    return Message(RTM_NEWNEIGH, 0, struct.pack("=BxxxiHBB", family, index, state, 0, 0))


def route(
    index: int = 2,
    *,
    family: int = socket.AF_INET6,
    table: int = MAIN_TABLE,
    kind: int = RTN_UNICAST,
    flags: int = 0,
    message: int = RTM_DELROUTE,
) -> Message:
    body = struct.pack("=8BI", family, 0, 0, 0, table, 0, 0, kind, flags)
    return Message(message, 0, body + attribute(RTA_OIF, struct.pack("=I", index)))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (neighbour(), "eth0"),
        (neighbour(state=NUD_REACHABLE), None),
        (neighbour(family=socket.AF_INET), None),
        (neighbour(index=99), None),
        (route(), "eth0"),
        (route(3), "eth1"),
        (route(family=socket.AF_INET), None),
        (route(table=100), None),
        (route(kind=2), None),
        (route(flags=RTM_F_CLONED), None),
        (route(message=RTM_NEWROUTE), None),
        (Message(RTM_DELROUTE, 0, route().body[:12]), None),
        (Message(RTM_DELROUTE, 0, route().body[:11]), None),
        (Message(RTM_NEWNEIGH, 0, neighbour().body[:11]), None),
        (Message(16, 0, b""), None),
    ],
)
def test_failed_neighbours_and_lost_routes_of_ipv6_count(message: Message, expected: str | None) -> None:
    assert broken_interface(message) == expected


@given(st.sampled_from((RTM_NEWNEIGH, RTM_DELROUTE)), st.binary(max_size=60))
def test_no_message_does_harm(kind: int, body: bytes) -> None:
    broken_interface(Message(kind, 0, body))


class FakeSocket:
    def __init__(self, groups: int) -> None:
        self.groups = groups
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


class Recorder:
    def __init__(self) -> None:
        self.suspected: list[tuple[str, int]] = []

    def suspect_interface(self, interface: str, now_ns: int) -> None:
        self.suspected.append((interface, now_ns))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> tuple[NetworkHints, FakeSocket, Recorder]:
    monkeypatch.setattr(shim6_hints, "RouteSocket", FakeSocket)
    endpoint: Any = Recorder()
    hints = NetworkHints(endpoint)
    kernel: Any = hints._socket
    return hints, kernel, endpoint


def test_an_interface_is_suspected_once_a_look(watched: tuple[NetworkHints, FakeSocket, Recorder]) -> None:
    hints, kernel, endpoint = watched
    kernel.waiting = [neighbour(), route(), neighbour(3), neighbour(index=99)]
    hints.handle_ready(5)
    hints.handle_ready(6)
    assert sorted(endpoint.suspected) == [("eth0", 5), ("eth1", 5)]
    assert hints.fileno() == 7


def test_lost_messages_are_the_send_timeouts_business(
    watched: tuple[NetworkHints, FakeSocket, Recorder],
) -> None:
    hints, kernel, endpoint = watched
    kernel.fails = OSError(errno.ENOBUFS, "overrun")
    hints.handle_ready(5)
    assert endpoint.suspected == []
    hints.close()
    with pytest.raises(OSError, match="closed"):
        hints.handle_ready(6)
