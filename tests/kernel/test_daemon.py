"""The daemon as a guest of its host: it comes, goes, is killed, and leaves everything as it was."""

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from mpcore.lab.host import Host
from mpcore.lab.topology import Lab
from tests.helpers.netns import inside, make_lab, nstat_delta
from tests.kernel.support import (
    Daemon,
    Pair,
    connect,
    daemon_command,
    exchange_both,
    fresh,
    kernel_peer,
    kill,
    receive_all,
    running,
    set_aside,
    start_daemon,
    wait_until,
)

pytestmark = pytest.mark.kernel

BYTES = 300_001
SECOND_ROUTE = ["10.77.2.0/24", "dev", "link2", "proto", "kernel", "scope", "link", "src", "10.77.2.1"]
_LINK_LOCAL = re.compile(r"\b(fe80:|ff00:)")


@pytest.fixture(scope="module")
def hosts() -> Iterator[Lab]:
    with make_lab() as standing:
        yield standing


def standing_rules(host: Host) -> list[str]:
    """Everything that a daemon may change on its host, line by line, without counters of packets."""
    commands = (
        *((f"{tool}-save", "-t", table) for tool in ("iptables", "ip6tables") for table in ("mangle", "raw")),
        *(("ip", family, "route", "show", "table", "all") for family in ("-4", "-6")),
        *(("ip", family, "rule") for family in ("-4", "-6")),
        ("ip", "-o", "addr"),
    )
    lines = [line for command in commands for line in host.run(list(command)).stdout.splitlines()]
    # The kernel adds what is link-local in its own time; chains have counters, comments the date.
    kept = (line for line in lines if not line.startswith("#") and not _LINK_LOCAL.search(line))
    return sorted(line.split(" [")[0].strip() for line in kept)


def talk(pair: Pair) -> None:
    """Send a word each way."""
    pair.client.sendall(b"hello")
    assert pair.server.recv(5) == b"hello"
    pair.server.sendall(b"world")
    assert pair.client.recv(5) == b"world"


def queued(daemon: Daemon) -> int:
    """Packets that entered the queue since `mark`."""
    moved = daemon.moved()
    return moved.get("MpcoreExtPacketsFromHost", 0) + moved.get("MpcoreExtPacketsFromNetwork", 0)


def test_stopping_takes_everything_back(hosts: Lab, tmp_path: Path) -> None:
    # Listing a table is what makes its base chains: the first look is to change nothing.
    standing_rules(hosts.a)
    before = standing_rules(hosts.a)
    with running(hosts.a, tmp_path):
        exchange_both(connect(hosts, **kernel_peer(False)), BYTES, BYTES)
        assert standing_rules(hosts.a) != before
    assert standing_rules(hosts.a) == before
    assert not (tmp_path / "a.sock").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_each_signal_that_asks_to_stop_does(hosts: Lab, tmp_path: Path, number: signal.Signals) -> None:
    before = standing_rules(hosts.a)
    daemon = start_daemon(hosts.a, tmp_path)
    daemon.process.send_signal(number)
    assert daemon.process.wait(5) == 0
    assert standing_rules(hosts.a) == before


def test_a_stop_resets_what_it_cannot_hand_over(hosts: Lab, tmp_path: Path) -> None:
    """RFC 8684 §3.5: program and peer learn at once that the connection is over."""
    moved = nstat_delta(hosts.b)
    with running(hosts.a, tmp_path):
        pair = connect(hosts, **kernel_peer(False))
        talk(pair)
    with pair:
        for end in (pair.client, pair.server):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
    assert moved()["MPTcpExtMPFastcloseRx"] >= 1


def test_a_plain_connection_outlives_the_daemon(hosts: Lab, tmp_path: Path) -> None:
    with running(hosts.a, tmp_path):
        pair = connect(hosts)
        talk(pair)
    exchange_both(pair, BYTES, BYTES)


guardians = pytest.mark.parametrize("guardian", [False, True], ids=["daemon", "daemon-and-guardian"])


@guardians
def test_after_a_kill_new_connections_work_at_once(hosts: Lab, tmp_path: Path, guardian: bool) -> None:
    before = standing_rules(hosts.a)
    daemon = start_daemon(hosts.a, tmp_path)
    kill(daemon, guardian=guardian)
    exchange_both(connect(hosts, **kernel_peer(False)), BYTES, BYTES)
    exchange_both(connect(hosts, **kernel_peer(True)), BYTES, BYTES)
    if guardian:
        assert standing_rules(hosts.a) != before
    else:
        wait_until(lambda: standing_rules(hosts.a) == before, "the guardian to clear up")
    with running(hosts.a, fresh(tmp_path)) as second:
        exchange_both(connect(hosts, **kernel_peer(False)), BYTES, BYTES)
        assert second.counters()["MPTcpExtMPCapableSYNACKRX"] == 1
    assert standing_rules(hosts.a) == before


@pytest.mark.parametrize(("guardian", "version"), [(False, 4), (False, 6), (True, 4)])
def test_after_a_kill_both_ends_learn_it(hosts: Lab, tmp_path: Path, guardian: bool, version: int) -> None:
    """The two ends number bytes differently: neither may hear the other raw, and neither waits for long."""
    daemon = start_daemon(hosts.a, tmp_path)
    with (
        connect(hosts, version=version, **kernel_peer(False)) as reader,
        connect(hosts, version=version, to_a=True) as plain,
        connect(hosts, version=version, **kernel_peer(True)) as server,
    ):
        for pair in (reader, plain, server):
            talk(pair)
        reader.server.sendall(bytes(BYTES))
        take(reader.client, BYTES)
        kill(daemon, guardian=guardian)
        if guardian:
            # nobody is left to tell the ends; what they send reaches nobody
            server.server.sendall(b"unheard")
            server.client.settimeout(0.5)
            with pytest.raises(TimeoutError):
                server.client.recv(1)
        with running(hosts.a, fresh(tmp_path)) if guardian else nullcontext():
            assert_reset(reader.client, server.server)
        talk(plain)


def take(sock: socket.socket, size: int) -> None:
    """Receive `size` bytes or more."""
    while size > 0:
        received = len(sock.recv(1 << 16))
        assert received
        size -= received


def assert_reset(*ends: socket.socket) -> None:
    """A program that waits for bytes at each end gets an error."""
    for end in ends:
        end.settimeout(10)
        with pytest.raises(ConnectionResetError):
            end.recv(1)


@guardians
def test_after_a_kill_a_sender_learns_it_from_its_own_packets(
    hosts: Lab, tmp_path: Path, guardian: bool
) -> None:
    daemon = start_daemon(hosts.a, tmp_path)
    with connect(hosts, **kernel_peer(False)) as pair, ThreadPoolExecutor(1) as pool:
        talk(pair)
        sending = pool.submit(send_until_error, pair.client)
        # far enough for connection tracking to find the socket's numbers invalid
        take(pair.server, 20_000_000)
        kill(daemon, guardian=guardian)
        with running(hosts.a, fresh(tmp_path)) if guardian else nullcontext():
            assert isinstance(sending.result(10), ConnectionResetError)


def send_until_error(sock: socket.socket) -> OSError:
    """Send without end; return what ended it."""
    try:
        while True:
            sock.sendall(bytes(1 << 16))
    except OSError as error:
        return error


@pytest.mark.parametrize("settings", [(), ("queue.number=7",)], ids=["same-queue", "other-queue"])
def test_a_second_daemon_refuses_and_harms_nothing(
    hosts: Lab, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    with running(hosts.a, tmp_path) as first:
        during = standing_rules(hosts.a)
        second = hosts.a.run(daemon_command(tmp_path / "second.sock", *settings), check=False)
        assert second.returncode == 1
        assert len(second.stderr.splitlines()) == 1
        assert "another mpcore daemon runs in this network namespace" in second.stderr
        assert standing_rules(hosts.a) == during
        first.mark()
        exchange_both(connect(hosts, **kernel_peer(False)), BYTES, BYTES)
        assert first.moved()["MPTcpExtMPCapableSYNACKRX"] == 1


def test_excluded_ports_and_networks_never_enter_the_queue(hosts: Lab, tmp_path: Path) -> None:
    networks = hosts.links[0].address(hosts.b, 6) + "/128"
    with running(hosts.a, tmp_path, f'mptcp.exclude=["7777", "{networks}"]') as daemon:
        daemon.mark()
        exchange_both(connect(hosts, port=7777, **kernel_peer(False)), BYTES, BYTES)
        exchange_both(connect(hosts, port=7777, **kernel_peer(True)), BYTES, BYTES)
        exchange_both(connect(hosts, version=6, **kernel_peer(False)), BYTES, BYTES)
        assert queued(daemon) == 0
        exchange_both(connect(hosts, **kernel_peer(False)), BYTES, BYTES)
        assert queued(daemon) > 0


def within_a(hosts: Lab, address: str) -> Pair:
    """Connect host `a` to itself."""
    with inside(hosts.a):
        listener = socket.create_server((address, 0))
        client = socket.create_connection(listener.getsockname(), 10)
    server, _ = listener.accept()
    server.settimeout(10)
    return Pair(client, server, listener)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.77.1.1"])
def test_traffic_within_the_host_never_enters_the_queue(hosts: Lab, tmp_path: Path, address: str) -> None:
    with running(hosts.a, tmp_path) as daemon:
        daemon.mark()
        exchange_both(within_a(hosts, address), BYTES, BYTES)
        assert queued(daemon) == 0


def test_the_simple_queue_carries_a_transfer(hosts: Lab, tmp_path: Path) -> None:
    moved = nstat_delta(hosts.b)
    with running(hosts.a, tmp_path, "queue.backend=netfilterqueue"):
        for to_a in (False, True):
            exchange_both(connect(hosts, **kernel_peer(to_a)), 2_000_003, 2_000_003)
    assert moved()["MPTcpExtMPCapableACKRX"] == moved()["MPTcpExtMPCapableSYNACKRX"] == 1
    assert moved()["MPTcpExtMPJoinAckRx"] >= 1


def test_without_super_packets_too(hosts: Lab, tmp_path: Path) -> None:
    with running(hosts.a, tmp_path, "queue.gso=false") as daemon:
        exchange_both(connect(hosts, **kernel_peer(False)), 2_000_003, 2_000_003)
        assert daemon.counters()["MPTcpExtMPJoinSynAckRx"] >= 1


@pytest.mark.parametrize("to_a", [False, True])
def test_a_queue_that_overflows_loses_nothing_for_good(tmp_path: Path, to_a: bool) -> None:
    """Packets that found no place are repeated by their senders; one let through would corrupt the stream."""
    with make_lab(None, None) as unshaped, running(unshaped.a, tmp_path, "queue.max_length=16"):
        for _ in range(3):
            exchange_both(connect(unshaped, **kernel_peer(to_a)), 4_000_003, 4_000_003)
        (queue,) = unshaped.a.run(["cat", "/proc/net/netfilter/nfnetlink_queue"]).stdout.splitlines()
    assert int(queue.split()[5]) > 0, "the queue was never full"


def test_disabled_it_touches_nothing(hosts: Lab, tmp_path: Path) -> None:
    with running(hosts.a, tmp_path, "mptcp.enabled=false") as daemon:
        exchange_both(connect(hosts, **kernel_peer(False)), BYTES, BYTES)
        exchange_both(connect(hosts, **kernel_peer(True)), BYTES, BYTES)
        assert daemon.connections() == []


def test_a_daemon_that_is_stopped_for_a_while_goes_on(hosts: Lab, tmp_path: Path) -> None:
    """SIGSTOP is what a debugger or a busy machine does: packets wait, and nothing breaks."""
    with running(hosts.a, tmp_path) as daemon:
        pair = connect(hosts, **kernel_peer(False))
        talk(pair)
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            pair.client.sendall(b"meanwhile")
            pair.client.shutdown(socket.SHUT_WR)
            with pytest.raises(subprocess.TimeoutExpired):
                daemon.process.wait(0.5)
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        assert receive_all(pair.server) == b"meanwhile"
        exchange_both(pair, 0, BYTES)


def test_addresses_that_come_later_are_used(hosts: Lab, tmp_path: Path) -> None:
    """RFC 8684 §3.2: a new address of this host may join a connection that exists."""
    second = hosts.links[1]
    second.remove_address(hosts.a)
    try:
        with running(hosts.a, tmp_path) as daemon, connect(hosts, **kernel_peer(False)) as pair:
            talk(pair)
            wait_until(lambda: daemon.subflows() == 1, "the first subflow")
            second.add_address(hosts.a)
            wait_until(lambda: daemon.subflows() == 2, "a join from the new address")
    finally:
        set_aside(lambda: second.add_address(hosts.a))


def test_a_route_that_comes_later_makes_a_path(hosts: Lab, tmp_path: Path) -> None:
    """As after DHCP: the address is there before the route that leads anywhere."""
    hosts.a.ip("route", "del", *SECOND_ROUTE)
    try:
        with running(hosts.a, tmp_path) as daemon, connect(hosts, **kernel_peer(False)) as pair:
            talk(pair)
            wait_until(lambda: daemon.subflows() == 1, "the first subflow")
            hosts.a.ip("route", "add", *SECOND_ROUTE)
            wait_until(lambda: daemon.subflows() == 2, "a join by the new route")
    finally:
        set_aside(lambda: hosts.a.ip("route", "add", *SECOND_ROUTE))


def test_a_path_whose_route_goes_is_not_relied_on_until_it_answers(hosts: Lab, tmp_path: Path) -> None:
    def suspects(daemon: Daemon) -> list[bool]:
        return [each["suspect"] for found in daemon.connections() for each in found["subflows"]]

    try:
        with running(hosts.a, tmp_path) as daemon, connect(hosts, **kernel_peer(False)) as pair:
            talk(pair)
            wait_until(lambda: daemon.subflows() == 2, "a second path")
            wait_until(lambda: suspects(daemon) == [False, False], "both in use")
            hosts.a.ip("route", "del", *SECOND_ROUTE)
            wait_until(lambda: suspects(daemon) == [False, True], "the path without a route set aside")
            talk(pair)
            hosts.a.ip("route", "add", *SECOND_ROUTE)
            wait_until(lambda: talk(pair) or suspects(daemon) == [False, False], "the path in use again")
    finally:
        set_aside(lambda: hosts.a.ip("route", "add", *SECOND_ROUTE))


def test_the_tables_of_the_addresses_follow_another_router(hosts: Lab, tmp_path: Path) -> None:
    """A gateway may be replaced while addresses stay as they are."""
    def gateways() -> set[str]:
        lines = hosts.a.ip("route", "show", "table", "all", "proto", "177").splitlines()
        return set(re.findall(r"default via (\S+)", "\n".join(lines)))

    with running(hosts.a, tmp_path):
        hosts.a.ip("route", "add", "default", "via", "10.77.2.2")
        try:
            wait_until(lambda: gateways() == {"10.77.2.2"}, "the router in the table of its address")
            hosts.a.ip("route", "replace", "default", "via", "10.77.2.9")
            wait_until(lambda: gateways() == {"10.77.2.9"}, "the other router")
        finally:
            hosts.a.ip("route", "del", "default")
        wait_until(lambda: gateways() == set(), "no router")


@pytest.mark.parametrize("killed", [False, True])
def test_an_address_that_a_connection_kept_goes_with_the_daemon(
    hosts: Lab, tmp_path: Path, killed: bool
) -> None:
    """The address of a living socket stays local after the interface lost it, but not longer than that."""
    first = hosts.links[0]
    before = standing_rules(hosts.a)
    daemon = start_daemon(hosts.a, tmp_path)
    try:
        with connect(hosts, **kernel_peer(False)) as pair:
            talk(pair)
            wait_until(lambda: daemon.subflows() > 1, "a second path")
            first.remove_address(hosts.a)
            wait_until(lambda: bool(addresses_of_lo(hosts.a)), "the address on lo")
            talk(pair)
            if killed:
                kill(daemon, guardian=True)
            hosts.a.stop(daemon.process)
        if killed:
            assert addresses_of_lo(hosts.a)
            with running(hosts.a, tmp_path):
                assert not addresses_of_lo(hosts.a)
        assert not addresses_of_lo(hosts.a)
    finally:
        set_aside(lambda: first.add_address(hosts.a))
    assert standing_rules(hosts.a) == before


def addresses_of_lo(host: Host) -> list[str]:
    """The addresses of `lo` beyond its own."""
    lines = host.ip("-o", "addr", "show", "dev", "lo").splitlines()
    return [line for line in lines if " 127." not in line and " ::1/" not in line]
