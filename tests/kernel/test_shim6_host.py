"""Shim6 between two daemons on real kernels: sessions keep their addresses and survive a cut."""

import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mpcore.lab.topology import Lab
from mpcore.lab.wait import wait_until
from mpcore.shim6.cga_parameters import emit_parameters
from mpcore.shim6.hba import make_hba_set
from tests.helpers.netns import inside, make_lab
from tests.kernel.support import Daemon, running

pytestmark = pytest.mark.kernel
PORT = 7000
TIMEOUT_S = 30.0


@dataclass(slots=True)
class Shim6Pair:
    """Two hosts with hash-based addresses on two links, and a daemon on each."""

    lab: Lab
    a: Daemon
    b: Daemon
    ulid_a: str
    ulid_b: str

    def moved(self) -> bool:
        """Tell whether both hosts' only context has left its ULIDs."""
        found = [entry for daemon in (self.a, self.b) for entry in daemon.document()["contexts"]]
        return all(entry["current_local"] != entry["ulid_local"] for entry in found)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Shim6Pair]:
    with make_lab() as lab:
        ulids = []
        for number, host in enumerate(lab.hosts):
            prefixes = [socket.inet_pton(socket.AF_INET6, f"fd77:{link.index}::")[:8] for link in lab.links]
            made = make_hba_set(prefixes, 0, random.Random(number))
            (tmp_path / f"{host.name}.hba").write_bytes(emit_parameters(made.parameters))
            addresses = [socket.inet_ntop(socket.AF_INET6, address) for address in made.addresses]
            for address, link in zip(addresses, lab.links, strict=True):
                host.ip("addr", "add", f"{address}/64", "dev", link.interface, "nodad")
            ulids.append(addresses[0])
        settings = ("mptcp.enabled=false", "shim6.enabled=true", "shim6.send_timeout_s=1")
        with (
            running(lab.a, tmp_path, *settings, *own(tmp_path, "a")) as a,
            running(lab.b, tmp_path, *settings, *own(tmp_path, "b")) as b,
        ):
            yield Shim6Pair(lab, a, b, *ulids)
        for host in lab.hosts:
            assert "MPCORE" not in host.run(["ip6tables-save"]).stdout
            assert "shim6" not in host.run(["nft", "list", "tables"]).stdout


def own(directory: Path, name: str) -> tuple[str, str]:
    """Return the settings of one host: its identities and where it keeps its contexts."""
    identities = f'shim6.identities=["{directory}/{name}.hba"]'
    return identities, f"shim6.state_file={directory}/{name}.state"


def connect(pair: Shim6Pair) -> tuple[socket.socket, socket.socket]:
    """Return both ends of a TCP connection between the ULIDs of link 1."""
    with inside(pair.lab.b), socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener:
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
        sender.sendall(data)
        got = b""
        while len(got) < len(data):
            got += receiver.recv(len(data))
        assert got == data


@pytest.mark.parametrize("towards", ["both", "a", "b"])
def test_tcp_goes_on_when_its_path_is_cut(pair: Shim6Pair, towards: str) -> None:
    """RFC 5533 §1: the addresses that a program sees stay, the locators change."""
    client, server = connect(pair)
    with client, server:
        swap(client, server, bytes(5000))
        wait_until(
            lambda: all(
                [entry["state"] for entry in daemon.document()["contexts"]] == ["established"]
                for daemon in (pair.a, pair.b)
            ),
            "a context at both ends",
        )
        swap(client, server, bytes(50_000))
        for daemon in (pair.a, pair.b):
            counters = daemon.counters()
            assert counters["Shim6ExtPayloadTX"] == counters["Shim6ExtUntouchedTX"] == 0
        named = {"both": (), "a": (pair.lab.a,), "b": (pair.lab.b,)}[towards]
        pair.lab.links[0].cut(*named)
        swap(client, server, bytes(50_000))
        if towards == "both":
            wait_until(pair.moved, "both hosts to move")
        assert pair.a.counters()["Shim6ExtPayloadTX"] + pair.b.counters()["Shim6ExtPayloadTX"] > 0
        assert client.getpeername()[0] == pair.ulid_b
