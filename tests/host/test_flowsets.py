"""Connections in sets of nf_tables: who is asked about, who is left, and what outlives the daemon."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mpcore.actions import VerdictKind
from mpcore.config import load_config
from mpcore.host.flowsets import FlowSets, first_rules, look_rules, rest_rule
from mpcore.host.nfqueue import NetlinkQueue
from mpcore.host.queued import QueuedPacket
from mpcore.host.rules import rule_settings
from mpcore.host.rulesettings import RuleSettings
from tests.host.namespace import in_namespace, run

NUMBER = 77
WAIT_MS = 5000
SYN, RST, ACK = 2, 4, 16
ADDRESSES = {4: "127.0.0.1", 6: "::1"}
versions = pytest.mark.parametrize("version", [4, 6])


def settings(*words: str) -> RuleSettings:
    return rule_settings(load_config(None, (f"queue.number={NUMBER}", "mptcp.loopback=true", *words)))


def flow_sets(version: int, *words: str) -> FlowSets:
    sets = FlowSets(version)
    if not sets.available(settings(*words)):
        pytest.skip("the kernel or its nft knows no sets of connections")
    return sets


@contextmanager
def open_queue(fate: int) -> Iterator[NetlinkQueue]:
    """Open the queue; its verdict LEAVE tells by the mark `fate` what becomes of the connection."""
    with NetlinkQueue(NUMBER, mark_seen=settings().mark_seen, mark_leave=fate) as queue:
        yield queue


def flags(packet: QueuedPacket) -> int:
    return packet.data[(20 if packet.data[0] >> 4 == 4 else 40) + 13]


def answer(queue: NetlinkQueue, count: int) -> list[QueuedPacket]:
    """Let the next `count` packets go, which stay what they are."""
    seen: list[QueuedPacket] = []
    while len(seen) < count:
        packets = queue.recv(WAIT_MS)
        assert packets, f"{len(seen)} of {count} packets came"
        queue.verdicts([(packet, VerdictKind.LEAVE, None) for packet in packets])
        seen += packets
    return seen


def connecting(server: socket.socket, port: int = 0) -> socket.socket:
    """Return a socket that has sent its SYN."""
    client = socket.socket(server.family)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.bind((server.getsockname()[0], port))
    client.setblocking(False)
    client.connect_ex(server.getsockname())
    return client


def accepted(server: socket.socket) -> socket.socket:
    server.settimeout(WAIT_MS / 1000)
    return server.accept()[0]


def exchange(client: socket.socket, server: socket.socket) -> None:
    for one, other in ((client, server), (server, client)):
        one.settimeout(WAIT_MS / 1000)
        other.settimeout(WAIT_MS / 1000)
        one.sendall(b"?")
        assert other.recv(1) == b"?"


@versions
@in_namespace
def test_what_is_left_comes_no_more_until_its_ports_begin_anew(version: int) -> None:
    sets = flow_sets(version)
    with (
        open_queue(settings().mark_leave) as queue,
        socket.create_server((ADDRESSES[version], 0), family=family(version)) as server,
    ):
        sets.install(settings())
        client = connecting(server)
        # SYN and SYN/ACK where they leave, for over lo they keep the mark that says that they were seen
        answer(queue, 2)
        peer = accepted(server)
        exchange(client, peer)
        assert queue.recv() == []
        port = client.getsockname()[1]
        client.close()
        peer.close()
        again = connecting(server, port)
        assert flags(answer(queue, 1)[0]) == SYN
        again.close()


def family(version: int) -> socket.AddressFamily:
    return socket.AF_INET if version == 4 else socket.AF_INET6


def say(client: socket.socket) -> None:
    """Send something and wait for an answer; the kernel may have repeated what was lost before, too."""
    client.sendall(b"lost")
    client.recv(1)


@versions
@in_namespace
def test_what_was_taken_over_does_not_pass_unread_and_is_reset_once_that_is_certain(version: int) -> None:
    sets = flow_sets(version)
    with socket.create_server((ADDRESSES[version], 0), family=family(version)) as server:
        sets.install(settings())
        with open_queue(settings().mark_taken) as queue:
            client = connecting(server)
            answer(queue, 3)
            peer = accepted(server)
        # nobody reads the queue: what is new passes it, and what was taken over does not
        exchange(connecting(server), accepted(server))
        client.sendall(b"lost")
        peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.recv(1)
        assert sets.refuse_orphans(settings())
        client.settimeout(5)
        with pytest.raises(ConnectionResetError):
            say(client)
        assert not sets.refuse_orphans(settings())


def lifetimes_s(sets: FlowSets, name: str) -> list[int]:
    """Return in how many seconds each element of a set expires."""
    listed = json.loads(run("nft", "-j", "list", "set", *sets.table.split(), name))["nftables"]
    found = next(entry["set"] for entry in listed if "set" in entry)
    return [element["elem"]["expires"] for element in found.get("elem", [])]


@versions
@in_namespace
def test_what_is_left_is_forgotten_soon_after_it_has_ended(version: int) -> None:
    """The sets are of limited size, and what finds no place in them is asked about with each packet."""
    sets = flow_sets(version)
    sets.install(settings())
    with socket.create_server((ADDRESSES[version], 0), family=family(version)) as server:
        client = connecting(server)
        peer = accepted(server)
        with open_queue(settings().mark_leave) as queue:
            client.sendall(b"!")
            peer.sendall(b"!")
            answer(queue, 2)
        assert min(lifetimes_s(sets, "left_out")) > 3000
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes(8))
        assert (client.recv(1), peer.recv(1)) == (b"!", b"!")
        client.close()
        assert peer.recv(1) == b""
        peer.close()
    assert len(lifetimes_s(sets, "left_out")) == 2
    assert max(lifetimes_s(sets, "left_out")) <= 60


@versions
@in_namespace
def test_what_was_taken_over_is_forgotten_soon_after_it_has_ended(version: int) -> None:
    sets = flow_sets(version)
    sets.install(settings())
    with (
        socket.create_server((ADDRESSES[version], 0), family=family(version)) as server,
        open_queue(settings().mark_taken) as queue,
    ):
        client = connecting(server)
        answer(queue, 3)
        peer = accepted(server)
        assert len(lifetimes_s(sets, "taken_out")) == 2
        client.close()
        answer(queue, 1)
        peer.close()
        assert queue.recv() == []
    # a reset goes one way
    assert len(lifetimes_s(sets, "taken_out")) == 1
    assert [each <= 60 for each in lifetimes_s(sets, "ending_out")] == [True]


@in_namespace
def test_no_connection_is_tracked_for_it() -> None:
    """Tracking costs every packet of the host; who wants it has rules of his own."""
    counts = Path("/proc/sys/net/netfilter/nf_conntrack_count")
    if not counts.exists():
        pytest.skip("the kernel tracks no connections")
    flow_sets(4).install(settings())
    with socket.create_server(("127.0.0.1", 0)) as server:
        exchange(connecting(server), accepted(server))
        assert counts.read_text() == "0\n"


@versions
@in_namespace
def test_loopback_and_exclusions_are_not_queued(version: int) -> None:
    with (
        open_queue(settings().mark_leave) as queue,
        socket.create_server((ADDRESSES[version], 0), family=family(version)) as server,
    ):
        port = server.getsockname()[1]
        for word in (
            "mptcp.loopback=false",
            f'mptcp.exclude=["{port}"]',
            'mptcp.exclude=["127.0.0.0/8", "::1"]',
        ):
            flow_sets(version, word).install(settings(word))
            exchange(connecting(server), accepted(server))
            assert queue.recv() == []


@versions
@in_namespace
def test_installing_twice_leaves_one_of_each_and_removing_leaves_empty_chains(version: int) -> None:
    """A base chain that is deleted would take the packets of every queue with it."""
    sets = flow_sets(version)
    table = sets.table.split()
    sets.install(settings())
    once = run("nft", "list", "table", *table)
    sets.install(settings())
    assert run("nft", "list", "table", *table) == once
    sets.remove()
    left = run("nft", "list", "table", *table)
    assert "hook output" in left
    assert not any(word in left for word in ("accept\n", "goto", "queue num", "NFQUEUE"))
    sets.remove()


@versions
@in_namespace
def test_what_is_left_is_left_in_both_directions(version: int) -> None:
    """The other direction's next packet may come while the rules rest, and would not be asked about then."""
    sets = flow_sets(version)
    sets.install(settings())
    with socket.create_server((ADDRESSES[version], 0), family=family(version)) as server:
        with open_queue(settings().mark_taken) as queue:
            client = connecting(server)
            answer(queue, 3)
            peer = accepted(server)
        assert len(lifetimes_s(sets, "taken_out")) == 2
        with open_queue(settings().mark_leave) as queue:
            client.sendall(b"!")
            answer(queue, 1)
            assert peer.recv(1) == b"!"
        # the other end, over lo on this host too, has not been left
        assert len(lifetimes_s(sets, "taken_out")) == 1
        assert [min(lifetimes_s(sets, f"left_{way}")) > 3000 for way in ("out", "in")] == [True, True]


@versions
@in_namespace
def test_at_rest_only_what_begins_or_resets_is_queued(version: int) -> None:
    sets = flow_sets(version)
    sets.install(settings())
    with (
        open_queue(0) as queue,
        socket.create_server((ADDRESSES[version], 0), family=family(version)) as server,
    ):
        sets.rest()
        client = connecting(server)
        syn, syn_ack = answer(queue, 2)
        assert (flags(syn), flags(syn_ack) & 0x3F) == (SYN, SYN | ACK)
        peer = accepted(server)
        exchange(client, peer)
        assert queue.recv() == []
        client.close()
        assert flags(answer(queue, 1)[0]) & RST
        client = connecting(server)
        answer(queue, 2)
        peer = accepted(server)
        sets.wake()
        client.sendall(b"!")
        assert answer(queue, 1)[0].data.endswith(b"!")
        client.close()


@versions
@in_namespace
def test_resting_and_waking_leave_the_rules_as_they_were(version: int) -> None:
    sets = flow_sets(version)
    table = sets.table.split()
    sets.install(settings())
    awake = run("nft", "list", "table", *table)
    sets.wake()
    assert run("nft", "list", "table", *table) == awake
    sets.rest()
    sets.rest()
    for way in ("out", "in"):
        (rule,) = rules_of(sets, way)
        assert rule == f"@th,104,8 & 0x6 != 0x0 goto look_{way}"
    sets.wake()
    assert run("nft", "list", "table", *table) == awake
    run("nft", "flush", "ruleset")
    sets.rest()
    sets.wake()


def rules_of(sets: FlowSets, chain: str) -> list[str]:
    listed = run("nft", "list", "chain", *sets.table.split(), chain).splitlines()
    return [line.strip() for line in listed if "@th" in line]


def test_the_first_rules_send_on_what_is_not_left() -> None:
    assert list(first_rules(4, "in")) == [
        "@th,104,8 & 7 != 0 goto look_in",
        "ip saddr . ip daddr . th sport . th dport != @left_in goto look_in",
    ]
    assert rest_rule("in") == "@th,104,8 & 6 != 0 goto look_in"
    rules = list(look_rules(4, "in", settings('mptcp.exclude=["10.0.0.1:80", "2001:db8::/32"]')))
    assert rules[-2:] == ["ip saddr 10.0.0.1/32 tcp sport 80 accept", "goto ask"]
    assert not any("notrack" in rule for rule in rules)
    outgoing = list(look_rules(6, "out", settings('mptcp.exclude=["10.0.0.1:80", "2001:db8::/32"]')))
    assert outgoing[-2:] == ["ip6 daddr 2001:db8::/32 accept", "goto ask"]
    assert "oif lo meta mark & 0x10000000 == 0x10000000 notrack" in outgoing
