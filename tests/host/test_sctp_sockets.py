"""SCTP associations as the kernel tells of them, by answers made as it makes them (net/sctp/diag.c)."""

from __future__ import annotations

import errno
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.host import sctp_sockets, shim6_forming, shim6_sockets
from mpcore.host.rtnetlink import Message, attribute
from mpcore.host.sctp_sockets import pairs_of, sctp_pairs
from mpcore.host.shim6_sockets import SocketPairs, read_use
from mpcore.shim6.context import ContextKey
from mpcore.shim6.locators import Pair

LOCALS, PEERS = 12, 13


def packed(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


A1, A2 = packed("2001:db8:1::a"), packed("2001:db8:2::a")
B1, B2 = packed("2001:db8:3::b"), packed("2001:db8:4::b")


def storage(address: bytes, port: int = 5000) -> bytes:
    """A sockaddr_storage with an address of either family."""
    if len(address) == 4:
        return struct.pack("=HH4s120x", socket.AF_INET, socket.htons(port), address)
    return struct.pack("=HHI16s104x", socket.AF_INET6, socket.htons(port), 0, address)


def answer(locals_: list[bytes], peers: list[bytes], state: int = 1) -> bytes:
    """An inet_diag_msg of an association; one that listens has no peers."""
    first = (peers or [bytes(16)])[0]
    body = struct.pack("=BBBB", socket.AF_INET6, state, 0, 0)
    ends = locals_[0].ljust(16, b"\0"), first.ljust(16, b"\0")
    body += struct.pack("!HH16s16s", 5000, 6000 if peers else 0, *ends)
    body += bytes(4 + 8 + 20)
    assert len(body) == 72
    body += attribute(8, b"\0")  # INET_DIAG_SHUTDOWN, which is none of ours
    body += attribute(LOCALS, b"".join(map(storage, locals_)))
    return body + (attribute(PEERS, b"".join(map(storage, peers))) if peers else b"")


def test_each_pair_of_an_association_is_in_use() -> None:
    assert set(pairs_of(answer([A1, A2], [B1, B2]))) == {
        Pair(A1, B1), Pair(A1, B2), Pair(A2, B1), Pair(A2, B2),
    }  # fmt: skip


def test_one_that_listens_uses_nothing() -> None:
    assert list(pairs_of(answer([A1], [], state=10))) == []


def test_addresses_of_ipv4_are_passed_over() -> None:
    assert list(pairs_of(answer([bytes([10, 0, 0, 1]), A1], [B1, bytes([10, 0, 0, 2])]))) == [Pair(A1, B1)]


@given(st.integers(0, 400), st.binary(max_size=300))
def test_no_answer_does_harm(end: int, more: bytes) -> None:
    whole = answer([A1, A2], [B1])
    for data in (whole[:end], whole[:end] + more, more):
        assert all(len(pair.local) == len(pair.peer) == 16 for pair in pairs_of(data))


class FakeSocket:
    """sock_diag: what it answers, or how it fails."""

    answers: list[Message] = []  # noqa: RUF012 - one test at a time
    error: OSError | None = None
    asked: list[bytes] = []  # noqa: RUF012

    def __init__(self, protocol: int) -> None:
        assert protocol == 4

    def __enter__(self) -> FakeSocket:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def dump_by(self, kind: int, body: bytes) -> list[Message]:
        assert kind == 20
        self.asked.append(body)
        if self.error is not None:
            raise self.error
        return self.answers


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> type[FakeSocket]:
    class Fresh(FakeSocket):
        answers: list[Message] = []  # noqa: RUF012
        asked: list[bytes] = []  # noqa: RUF012

    monkeypatch.setattr(sctp_sockets, "RouteSocket", Fresh)
    return Fresh


def test_the_kernel_is_asked_for_sctp(kernel: type[FakeSocket], tmp_path: Path) -> None:
    kernel.answers = [Message(20, 1, answer([A1], [B1])), Message(20, 1, b"")]
    assert sctp_pairs(tmp_path) == {Pair(A1, B1)}
    (request,) = kernel.asked
    assert (len(request), request[:2]) == (56, bytes([socket.AF_INET6, 132]))


def test_a_kernel_without_sctp_is_not_asked_since_that_would_load_it(
    kernel: type[FakeSocket], tmp_path: Path
) -> None:
    assert sctp_pairs(tmp_path / "absent") == set()
    assert kernel.asked == []


def test_sctp_without_its_part_of_sock_diag_uses_nothing_that_can_be_told(
    kernel: type[FakeSocket], tmp_path: Path
) -> None:
    kernel.error = OSError(errno.ENOENT, "no such module")
    assert sctp_pairs(tmp_path) == set()
    kernel.error = OSError(errno.EPERM, "not permitted")
    with pytest.raises(PermissionError):
        sctp_pairs(tmp_path)


def test_an_association_keeps_its_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 5533 §9."""
    monkeypatch.setattr(shim6_sockets, "sctp_pairs", lambda: {Pair(A1, B1)})
    monkeypatch.setattr(shim6_sockets, "read_gone", dict)
    assert Pair(A1, B1) in read_use().pairs
    sockets = SocketPairs(lambda: 0)
    assert sockets.in_use(ContextKey(A1, B1))
    assert not sockets.in_use(ContextKey(A1, B2))


def test_an_address_of_an_association_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shim6_forming, "connected_sockets", set)
    monkeypatch.setattr(shim6_forming, "sctp_pairs", lambda: {Pair(A1, B1)})
    assert shim6_forming.AddressUse(set, lambda: 0)(A1)
    assert not shim6_forming.AddressUse(set, lambda: 0)(A2)


def test_where_associations_cannot_be_told_other_use_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> set[Pair]:
        raise OSError("not today")

    monkeypatch.setattr(shim6_forming, "connected_sockets", set)
    monkeypatch.setattr(shim6_forming, "sctp_pairs", refuse)
    assert shim6_forming.AddressUse(lambda: {A1}, lambda: 0)(A1)
