"""What stands in packets that Shim6 rewrites on real kernels: fragments, extension headers, ICMPv6 errors."""

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from mpcore.lab.host import Host
from mpcore.lab.wait import wait_until
from tests.helpers.netns import inside
from tests.kernel.shim6_pair import TIMEOUT_S, Shim6Pair, connect, moved_pair, swap
from tests.kernel.support import Daemon

pytestmark = pytest.mark.kernel
PORT = 7100
CLOSED_PORT = 7999
LONG = bytes(range(250)) * 16  # 4000 bytes: three fragments
NARROW_MTU = 1400
NARROWER_MTU = 1350
SHIM6_HEADER = 8
# Pads of six octets: options that mean nothing (RFC 8200 §4.2), next header filled in by the kernel.
OPTIONS = bytes([0, 0, 1, 4, 0, 0, 0, 0])
HEADERS = {socket.IPV6_DSTOPTS: OPTIONS, socket.IPV6_HOPOPTS: OPTIONS}
IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO, IPV6_MTU, IPV6_RECVERR = 23, 2, 24, 25
MSG_ERRQUEUE = 0x2000
EXTENDED_ERROR = struct.Struct("=IBBBBII")  # struct sock_extended_err


@dataclass(frozen=True, slots=True)
class Moved:
    """Two hosts whose context has left its ULIDs, and a UDP socket at each, connected to the other."""

    pair: Shim6Pair
    a: socket.socket
    b: socket.socket

    @property
    def ways(self) -> tuple[tuple[socket.socket, socket.socket], ...]:
        """Sender and receiver, in both directions."""
        return (self.a, self.b), (self.b, self.a)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shim6Pair]:
    """Both hosts, their context on locators of link 2, and TCP that goes on at the end of all tests."""
    with moved_pair(tmp_path_factory.mktemp("moved")) as (pair, client, server):
        yield pair
        swap(client, server, bytes(50_000))


@pytest.fixture
def moved(hosts: Shim6Pair) -> Iterator[Moved]:
    with udp(hosts.lab.a, hosts.ulid_a, PORT) as a, udp(hosts.lab.b, hosts.ulid_b, PORT) as b:
        a.connect((hosts.ulid_b, PORT))
        b.connect((hosts.ulid_a, PORT))
        yield Moved(hosts, a, b)


def udp(host: Host, address: str, port: int) -> socket.socket:
    """Return a UDP socket of a host that asks for extension headers and errors."""
    with inside(host):
        made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    made.bind((address, port))
    made.settimeout(TIMEOUT_S)
    for option in (socket.IPV6_RECVDSTOPTS, socket.IPV6_RECVHOPOPTS, IPV6_RECVERR):
        made.setsockopt(socket.IPPROTO_IPV6, option, 1)
    return made


def test_fragments_are_put_together_behind_the_header(moved: Moved) -> None:
    """RFC 5533 §4.6, RFC 8200 §4.5: a datagram longer than the path's MTU arrives whole, both ways."""
    for sender, receiver in moved.ways:
        sender.send(LONG)
        assert receiver.recv(5000) == LONG


@pytest.mark.parametrize("data", [b"short", LONG], ids=["whole", "fragments"])
def test_extension_headers_come_through(moved: Moved, data: bytes) -> None:
    """RFC 5533 §4.6: hop-by-hop options stand in front of the header, destination options behind it."""
    for sender, receiver in moved.ways:
        sender.sendmsg([data], [(socket.IPPROTO_IPV6, kind, value) for kind, value in HEADERS.items()])
        got, ancillary, _, _ = receiver.recvmsg(5000, 500)
        assert got == data
        assert {kind: value[2:] for _, kind, value in ancillary} == {
            kind: value[2:] for kind, value in HEADERS.items()
        }


def test_super_packets_are_cut_and_segments_joined(moved: Moved) -> None:
    """Both ends handle 64 KiB at once, and every octet arrives as it was sent."""
    client, server = connect(moved.pair)
    with client, server:
        before = [counted(daemon) for daemon in (moved.pair.a, moved.pair.b)]
        swap(client, server, bytes(range(250)) * 2000)
        after = [counted(daemon) for daemon in (moved.pair.a, moved.pair.b)]
    for name in ("Shim6ExtCut", "Shim6ExtJoined"):
        assert all(now[name] > then[name] for then, now in zip(before, after, strict=True)), name
    assert after[0]["Shim6ExtSuperPacket"] == after[1]["Shim6ExtSuperPacket"] == 0


def counted(daemon: Daemon) -> dict[str, int]:
    """Return the counters of a daemon by name."""
    found: dict[str, int] = daemon.document()["counters"]
    return found


def test_an_error_of_the_peer_reaches_the_program(moved: Moved) -> None:
    """RFC 5533 §8: what the peer's kernel says of a packet says it of the ULIDs."""
    for socket_, peer in ((moved.a, moved.pair.ulid_b), (moved.b, moved.pair.ulid_a)):
        socket_.connect((peer, CLOSED_PORT))
        socket_.send(b"is anybody there?")
        with pytest.raises(ConnectionRefusedError):
            socket_.recv(100)


def test_a_smaller_path_is_told_less_the_header(moved: Moved) -> None:
    """RFC 5533 §8, RFC 8201 §4: Packet Too Big about locators becomes one about ULIDs, 8 octets less."""
    link = moved.pair.lab.links[1]
    for host in moved.pair.lab.hosts:
        host.ip("link", "set", link.interface, "mtu", str(NARROW_MTU))
    for sender, receiver in moved.ways:
        sender.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO)
        sender.send(bytes(NARROW_MTU))
        wait_until(lambda sender=sender: path_mtu(sender) < NARROW_MTU, "the error")  # type: ignore[misc]
        assert path_mtu(sender) == NARROW_MTU - SHIM6_HEADER
        assert told_mtu(sender) == NARROW_MTU - SHIM6_HEADER
        largest = bytes(NARROW_MTU - SHIM6_HEADER - 48)
        sender.send(largest)
        assert receiver.recv(5000) == largest


def test_a_link_that_takes_less_tells_tcp(moved: Moved) -> None:
    """RFC 8201 §4: segments of super-packets that the link refuses are cut shorter, and go on."""
    link = moved.pair.lab.links[1]
    client, server = connect(moved.pair)
    with client, server:
        swap(client, server, bytes(500_000))
        for host in moved.pair.lab.hosts:
            host.ip("link", "set", link.interface, "mtu", str(NARROWER_MTU))
        swap(client, server, bytes(500_000))
        for end in (client, server):
            size = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            assert size <= NARROWER_MTU - SHIM6_HEADER - 60


def path_mtu(sock: socket.socket) -> int:
    """Return what the kernel takes for the MTU of the way to the peer of a connected socket."""
    return sock.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)


def told_mtu(sock: socket.socket) -> int:
    """Return the MTU of the error that waits at a socket; the next call of the socket would raise it."""
    _, ancillary, _, _ = sock.recvmsg(5000, 500, MSG_ERRQUEUE)
    ((_, _, value),) = [each for each in ancillary if each[1] == IPV6_RECVERR]
    number, _, _, _, _, mtu, _ = EXTENDED_ERROR.unpack_from(value)
    assert number == errno.EMSGSIZE
    sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return mtu
