"""Firewalls of real kernels that drop Shim6 in part, and a peer that has none: told, and lived with."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from mpcore.cli.main import run
from mpcore.cli.render import format_event
from mpcore.host.control_client import ControlClient
from mpcore.lab.host import Host
from mpcore.lab.wait import wait_until
from tests.helpers.netns import inside
from tests.kernel.shim6_pair import Shim6Lab, connect, contexts, settings, shim6_lab, shim6_pair, swap
from tests.kernel.support import Daemon, running

pytestmark = pytest.mark.kernel
Capture = pytest.CaptureFixture[str]
# The bit P of a Shim6 header right behind IPv6's tells payload from messages (RFC 5533 §5.2).
ALL, PAYLOAD = "", "@nh,336,1 1"
QUICK = ("shim6.handshake_timeout_s=0.05", "shim6.initial_probe_timeout_s=0.1")
UDP_PORT = 7001
WAIT_S = 30.0


def drop_shim6(host: Host, which: str = ALL) -> None:
    """Drop what comes to `host` with protocol 140, as a firewall in front of it would."""
    rules = f"type filter hook prerouting priority -300;\nip6 nexthdr 140 {which} counter drop\n"
    host.run(["nft", "-f", "-"], stdin=f"table ip6 firewall {{\nchain pre {{\n{rules}}}\n}}\n")


@contextmanager
def monitored(daemon: Daemon) -> Iterator[list[str]]:
    """Collect the lines that `mpcore monitor` would print while the block lasts."""
    with ControlClient(str(daemon.control)) as client:
        events, lines = client.subscribe(), []

        def collect() -> None:
            for method, event in events:
                if method == "event":
                    lines.append(format_event(event))

        collector = Thread(target=collect)
        collector.start()
        try:
            yield lines
        finally:
            client._socket.shutdown(socket.SHUT_RDWR)
            collector.join()


def shown(daemon: Daemon, capsys: Capture) -> str:
    """Return what `mpcore show contexts` prints."""
    capsys.readouterr()
    assert run(["show", "contexts", "--control", str(daemon.control)]) == 0
    return capsys.readouterr().out


def failed(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("[    CTX_FAILED]")]


def test_protocol_140_dropped_one_way(tmp_path: Path, capsys: Capture) -> None:
    """No context comes to be, the operator is told, and TCP goes on as without Shim6."""
    with shim6_pair(tmp_path, *QUICK) as pair, monitored(pair.a) as lines:
        drop_shim6(pair.lab.b)
        client, server = connect(pair)
        with client, server:
            swap(client, server, bytes(5000))
            wait_until(lambda: bool(failed(lines)), "the monitor to tell", WAIT_S)
            swap(client, server, bytes(50_000))
        assert "protocol 140" in failed(lines)[0]
        assert pair.ulid_b in failed(lines)[0]
        assert [entry["state"] for entry in contexts(pair.a)] == ["e-failed"]
        assert "  trouble: " in shown(pair.a, capsys)
        assert "protocol 140" in shown(pair.a, capsys)
        assert pair.a.counters()["Shim6ExtFailed"] == 1


def test_a_peer_without_shim6(tmp_path: Path, capsys: Capture) -> None:
    """RFC 5533 §7.8: its kernel answers I1 by ICMPv6 type 4 code 1, and is left alone."""
    with shim6_lab(tmp_path) as ends, running(ends.lab.a, tmp_path, *settings(tmp_path, "a")) as a:
        with monitored(a) as lines:
            client, server = connect(ends)
            with client, server:
                swap(client, server, bytes(5000))
                wait_until(lambda: bool(failed(lines)), "the monitor to tell", WAIT_S)
                swap(client, server, bytes(50_000))
        assert "the peer does not know Shim6" in failed(lines)[0]
        assert [entry["state"] for entry in contexts(a)] == ["no-support"]
        assert "the peer does not know Shim6" in shown(a, capsys)


def test_the_payload_header_dropped(tmp_path: Path, capsys: Capture) -> None:
    """RFC 5533 §15.2: messages pass, so a path is found, on which nothing comes: the ULIDs are taken back."""
    with shim6_pair(tmp_path, *QUICK) as pair, monitored(pair.a) as lines:
        for host in pair.lab.hosts:
            drop_shim6(host, PAYLOAD)
        client, server = connect(pair)
        with client, server, datagrams(pair) as asker:
            swap(client, server, bytes(5000))
            wait_until(pair.established, "a context at both ends")
            pair.lab.links[0].cut()

            def told() -> bool:
                asker.send(b"is anybody there")
                return any(line.startswith("[   CTX_BLOCKED]") for line in lines)

            wait_until(told, "the monitor to tell", WAIT_S)
            assert "a firewall may drop its header" in shown(pair.a, capsys)
            blocked = [line for line in lines if line.startswith("[   CTX_BLOCKED]")]
            assert any(f"saddr6={pair.second_a}" in line for line in blocked)
            assert pair.a.counters()["Shim6ExtPayloadBlocked"] >= len(blocked)
            pair.lab.links[0].restore()
            swap(client, server, bytes(50_000))
            wait_until(lambda: pair.context_at_a()["current_local"] == pair.ulid_a, "the ULIDs to be in use")
            swap(client, server, bytes(50_000))


@contextmanager
def datagrams(pair: Shim6Lab) -> Iterator[socket.socket]:
    """A socket of UDP between the ULIDs, whose peer keeps silent."""
    with inside(pair.lab.b):
        listener = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with inside(pair.lab.a):
        asker = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with listener, asker:
        listener.bind((pair.ulid_b, UDP_PORT))
        asker.bind((pair.ulid_a, 0))
        asker.connect((pair.ulid_b, UDP_PORT))
        yield asker
