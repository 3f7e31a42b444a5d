"""Two hosts with Shim6 on real kernels, and conversations between their ULIDs, both ends held by the test."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpcore.host.flowsets import TABLE
from mpcore.lab.host import Host
from mpcore.lab.settings import LinkSettings
from mpcore.lab.shim6_hosts import Shim6Host, make_shim6_hosts
from mpcore.lab.topology import Lab
from mpcore.lab.wait import wait_until
from tests.helpers.netns import inside, make_lab
from tests.kernel.support import Daemon, running

PORT = 7000
TIMEOUT_S = 30.0
UDP_PORT = 7001
PATIENCE_S = 0.1  # how long one packet may take before it is sent again
ECHO_REQUEST, ECHO_REPLY = 128, 129  # RFC 4443 §4


@dataclass(frozen=True, slots=True)
class Shim6Lab:
    """Two hosts with hash-based addresses on two links or more; the ULIDs are those of link 1."""

    lab: Lab
    hosts: tuple[Shim6Host, Shim6Host]

    @property
    def ulid_a(self) -> str:
        """The address of host `a` on link 1."""
        return self.hosts[0].ulid

    @property
    def ulid_b(self) -> str:
        """The address of host `b` on link 1."""
        return self.hosts[1].ulid

    @property
    def second_a(self) -> str:
        """The address of host `a` on link 2."""
        return self.hosts[0].addresses[1]


@dataclass(frozen=True, slots=True)
class Shim6Pair(Shim6Lab):
    """The same with a daemon on each host."""

    a: Daemon
    b: Daemon

    def context_at_a(self) -> dict[str, Any]:
        """Return the only context of host `a`."""
        (found,) = contexts(self.a)
        return found

    def established(self) -> bool:
        """Tell whether each host has one context, ready for payload."""
        return all(
            [entry["state"] for entry in contexts(daemon)] == ["established"] for daemon in (self.a, self.b)
        )

    def moved(self) -> bool:
        """Tell whether both hosts' only context has left its ULIDs."""
        return all(has_moved(daemon) for daemon in (self.a, self.b))


@contextmanager
def shim6_lab(folder: Path, links: int = 2, link: LinkSettings | float = 100) -> Iterator[Shim6Lab]:
    """Make the hosts, and the parameters of their addresses in `folder`; assert that no rule is left."""
    with make_lab(*[link] * links, announce=False) as lab:
        yield Shim6Lab(lab, make_shim6_hosts(lab, folder))
        for host in lab.hosts:
            assert not leftovers(host)


@contextmanager
def shim6_pair(
    folder: Path,
    *more: str,
    links: int = 2,
    link: LinkSettings | float = 100,
    prepare: Callable[[Shim6Lab], None] = lambda ends: None,
) -> Iterator[Shim6Pair]:
    """Run a daemon on both hosts while the block lasts, with `more` settings, each KEY=VALUE.

    `prepare` is called before they start.
    """
    with shim6_lab(folder, links, link) as ends:
        prepare(ends)
        with (
            running(ends.lab.a, folder, *settings(folder, "a"), *more) as a,
            running(ends.lab.b, folder, *settings(folder, "b"), *more) as b,
        ):
            yield Shim6Pair(ends.lab, ends.hosts, a, b)


def contexts(daemon: Daemon) -> list[dict[str, Any]]:
    """Return the contexts of a daemon."""
    found: list[dict[str, Any]] = daemon.document()["contexts"]
    return found


def has_moved(daemon: Daemon) -> bool:
    """Tell whether a daemon's only context has left its ULIDs."""
    return [entry["current_local"] != entry["ulid_local"] for entry in contexts(daemon)] == [True]


def settings(folder: Path, name: str) -> tuple[str, ...]:
    """Return the settings of one host: its identities, and where it keeps its contexts."""
    return (
        "mptcp.enabled=false",
        "log.level=warning",
        "shim6.enabled=true",
        "shim6.send_timeout_s=1",
        f'shim6.identities=["{folder}/{name}/host.hba"]',
        f"shim6.state_file={folder}/{name}.state",
    )


def leftovers(host: Host) -> list[str]:
    """Return the chains, rules and tables of a daemon that `host` has, less the tables that stay, empty."""
    rules = host.run(["ip6tables-save"]).stdout + host.run(["nft", "list", "tables"]).stdout
    lines = [line for line in rules.splitlines() if not line.endswith(TABLE)]
    return [line for line in lines if "mpcore" in line.lower()]


def connect(pair: Shim6Lab) -> tuple[socket.socket, socket.socket]:
    """Return both ends of a TCP connection between the ULIDs of link 1."""
    with inside(pair.lab.b), socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((pair.ulid_b, PORT))
        listener.listen()
        with inside(pair.lab.a):
            client = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
            client.bind((pair.ulid_a, 0))
            client.settimeout(TIMEOUT_S)
            client.connect((pair.ulid_b, PORT))
        server, _ = listener.accept()
        server.settimeout(TIMEOUT_S)
        return client, server


def swap(client: socket.socket, server: socket.socket, data: bytes) -> None:
    """Send data in both directions, one after the other."""
    for sender, receiver in ((client, server), (server, client)):
        with ThreadPoolExecutor(1) as other:
            sending = other.submit(sender.sendall, data)
            got = b""
            while len(got) < len(data):
                got += receiver.recv(len(data))
            sending.result()
        assert got == data


@contextmanager
def moved_pair(folder: Path, *more: str) -> Iterator[tuple[Shim6Pair, socket.socket, socket.socket]]:
    """Run both daemons; yield them and a TCP connection once its context has left link 1, which is cut."""
    with shim6_pair(folder, *more) as pair:
        client, server = connect(pair)
        with client, server:
            swap(client, server, bytes(5000))
            wait_until(pair.established, "a context at both ends")
            pair.lab.links[0].cut()
            swap(client, server, bytes(50_000))
            wait_until(pair.moved, "both hosts to move")
            yield pair, client, server


@contextmanager
def talks(pair: Shim6Lab) -> Iterator[tuple[socket.socket, socket.socket, socket.socket]]:
    """Have a UDP socket of `a` connected to one of `b`, that one, and a raw one of `a` for echo requests."""
    with ExitStack() as stack:
        with inside(pair.lab.b):
            listener = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        with inside(pair.lab.a):
            asker = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
            raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            pinger = stack.enter_context(raw)
        listener.bind((pair.ulid_b, UDP_PORT))
        for each, port in ((asker, UDP_PORT), (pinger, 0)):
            each.bind((pair.ulid_a, 0))
            each.connect((pair.ulid_b, port))
        for each in (listener, asker, pinger):
            each.settimeout(PATIENCE_S)
        yield asker, listener, pinger


def asks(asker: socket.socket, listener: socket.socket, data: bytes) -> bool:
    """Send a datagram there and back; tell whether it came."""
    try:
        asker.send(data)
        got, source = listener.recvfrom(9000)
        while got != data:
            got, source = listener.recvfrom(9000)
        listener.sendto(data, source)
        while asker.recv(9000) != data:
            pass
    except TimeoutError:
        return False
    return True


def pings(pinger: socket.socket, data: bytes) -> bool:
    """Send an echo request; tell whether its reply came."""
    try:
        pinger.send(bytes([ECHO_REQUEST, 0, 0, 0]) + data)
        while True:
            got = pinger.recv(1500)
            if got[0] == ECHO_REPLY and got[4:] == data:
                return True
    except TimeoutError:
        return False
