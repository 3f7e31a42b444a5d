"""How long segments are, asked of real sockets, and what is taken when nobody tells."""

import socket
import struct
from collections.abc import Iterator

import pytest

from mpcore.host import shim6_segments
from mpcore.host.rtnetlink import attribute
from mpcore.host.shim6_segments import SAFE_SIZE, SegmentSizes, size_told
from mpcore.host.sock_diag import ATTRIBUTES_AT, INET_DIAG_INFO
from tests.helpers.shim6 import TCP, ip6

LOOPBACK = socket.inet_pton(socket.AF_INET6, "::1")
PORTS = struct.Struct(">HHI")


@pytest.fixture
def sizes() -> Iterator[SegmentSizes]:
    made = SegmentSizes()
    yield made
    made.close()


def headers(local_port: int, peer_port: int) -> bytes:
    return ip6(LOOPBACK, LOOPBACK, TCP, PORTS.pack(local_port, peer_port, 0) + bytes(12))


def test_a_socket_tells(sizes: SegmentSizes) -> None:
    """RFC 6691 §2: the MSS that the kernel tells is without the time stamps, which each segment has."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
        with socket.create_connection(listener.getsockname()[:2]) as client, listener.accept()[0] as server:
            port, peer = client.getsockname()[1], server.getsockname()[1]
            told = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            assert sizes.of(headers(port, peer)) == told + 12 == 1000


def test_without_a_socket_what_fits_everywhere_is_taken(sizes: SegmentSizes) -> None:
    """RFC 8200 §5: 1280 octets, less the headers."""
    assert sizes.of(headers(9, 9)) == SAFE_SIZE
    assert sizes.of(b"no headers") == SAFE_SIZE


def test_without_a_kernel_that_tells_the_same(sizes: SegmentSizes, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(protocol: int) -> None:
        raise OSError("no sock_diag")

    monkeypatch.setattr(shim6_segments, "RouteSocket", refuse)
    assert sizes.of(headers(9, 9)) == SAFE_SIZE


@pytest.mark.parametrize("info", [b"", bytes(19), bytes(200)])
def test_an_answer_that_says_nothing(info: bytes) -> None:
    assert size_told(bytes(ATTRIBUTES_AT) + attribute(INET_DIAG_INFO, info)) is None
    assert size_told(bytes(10)) is None
