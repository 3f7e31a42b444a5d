"""State, log and commands around a real endpoint: what a daemon that comes back knows."""

import socket
from pathlib import Path
from random import Random, SystemRandom

import pytest

from mpcore.config import Shim6Config
from mpcore.host.shim6_identities import load_owned
from mpcore.host.shim6_programs import program_of
from mpcore.host.shim6_services import Shim6Services, make_endpoint
from mpcore.shim6.cga_parameters import emit_parameters
from mpcore.shim6.hba import HbaSet, make_hba_set
from mpcore.shim6.heuristic import FlowKey
from mpcore.shim6.prefixes import parse_prefix
from mpcore.shim6_endpoint import Shim6Endpoint
from mpcore.wire.shim6 import Preference, PreferenceFlag

SECOND = 1_000_000_000


class Host:
    """A host with a set of two addresses; `start` is a new daemon on it."""

    def __init__(self, folder: Path, name: str, networks: tuple[int, int], seed: int) -> None:
        prefixes = [parse_prefix(f"2001:db8:{network}::/64") for network in networks]
        self.set: HbaSet = make_hba_set(prefixes, 0, Random(seed))
        (folder / f"{name}.hba").write_bytes(emit_parameters(self.set.parameters))
        self.config = Shim6Config(
            enabled=True,
            identities=(str(folder / f"{name}.hba"),),
            state_file=str(folder / f"{name}.state"),
        )
        self.now = SECOND
        self.start()

    def start(self) -> int:
        self.endpoint: Shim6Endpoint = make_endpoint(
            self.config, lambda: self.now, files=load_owned(self.config.identities)
        )
        for index, address in enumerate(self.set.addresses):
            self.endpoint.add_local_address(address, interface=f"eth{index}", now_ns=self.now)
        self.services = Shim6Services(self.config, self.endpoint, lambda: self.now)
        return self.services.restore()


def exchange(one: Host, other: Host) -> None:
    for _ in range(4):
        for source, target in ((one, other), (other, one)):
            for packet in source.endpoint.poll_transmit():
                target.endpoint.handle_packet(1, packet.data, target.now)


@pytest.fixture
def hosts(tmp_path: Path) -> tuple[Host, Host]:
    a, b = Host(tmp_path, "a", (1, 2), 1), Host(tmp_path, "b", (3, 4), 2)
    a.endpoint.establish(a.set.addresses[0], b.set.addresses[0], a.now)
    exchange(a, b)
    assert [str(context.state) for context in a.endpoint.manager.contexts()] == ["established"]
    return a, b


def test_chance_is_the_systems(hosts: tuple[Host, Host]) -> None:
    """RFC 5533 §16.2: tags and nonces are what protects a context off the path."""
    assert isinstance(hosts[0].endpoint.manager._shared.rng, SystemRandom)


def test_a_killed_daemon_comes_back_with_its_contexts(hosts: tuple[Host, Host]) -> None:
    a, _ = hosts
    a.services.save()
    (before,) = a.endpoint.snapshot()["contexts"]
    assert a.start() == 1
    (after,) = a.endpoint.snapshot()["contexts"]
    assert (after["tag_local"], after["locators_peer"]) == (before["tag_local"], before["locators_peer"])
    assert len(a.endpoint.engine) == 1
    assert a.endpoint.poll_transmit() == []


def test_a_locator_that_is_drained_stays_drained(hosts: tuple[Host, Host]) -> None:
    """RFC 5533 §5.15.3: the peer is not told that it works again."""
    a, b = hosts
    first = a.set.addresses[0]
    a.endpoint.manager.prefer_local_address(first, Preference(PreferenceFlag.BROKEN), a.now)
    a.endpoint.settle(a.now)
    exchange(a, b)
    a.services.close()
    assert a.start() == 1
    assert a.endpoint.manager.local_preference(first).flags == PreferenceFlag.BROKEN
    assert a.endpoint.poll_transmit() == []


def test_the_end_of_a_daemon_saves_what_the_interval_held_back(hosts: tuple[Host, Host]) -> None:
    a, b = hosts
    a.services.save()
    a.endpoint.establish(a.set.addresses[1], b.set.addresses[0], a.now)
    exchange(a, b)
    a.services.save()
    a.services.close()
    assert a.start() == 2


def test_the_loop_wakes_to_write(hosts: tuple[Host, Host]) -> None:
    a, b = hosts
    a.services.save()
    assert a.services.poll_timeout() is None
    a.endpoint.establish(a.set.addresses[1], b.set.addresses[0], a.now)
    exchange(a, b)
    due_ns = a.services.poll_timeout()
    assert due_ns is not None
    assert due_ns > a.now
    a.now = due_ns
    a.services.save()
    assert a.services.poll_timeout() is None


def test_without_a_file_nothing_is_kept(tmp_path: Path) -> None:
    config = Shim6Config(state_file="")
    services = Shim6Services(config, make_endpoint(config, lambda: 0), lambda: 0)
    assert services.restore() == 0
    services.save()
    services.close()


def test_the_program_of_a_conversation_is_told() -> None:
    comm = Path("/proc/self/comm").read_text().strip()
    loopback = socket.inet_pton(socket.AF_INET6, "::1")
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 on loopback: {error}")
    with listener, socket.create_connection(listener.getsockname()[:2]) as client:
        local, peer = client.getsockname()[1], client.getpeername()[1]
        assert program_of(FlowKey(loopback, loopback, socket.IPPROTO_TCP, local, peer)) == comm
        assert program_of(FlowKey(loopback, loopback, socket.IPPROTO_TCP, local, local)) is None
        assert program_of(FlowKey(loopback, loopback, 58, 0, 0)) is None
