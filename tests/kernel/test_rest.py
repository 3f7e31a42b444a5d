"""While the daemon carries no connection its rules rest: what others send is hardly looked at."""

from pathlib import Path

import pytest

from mpcore.config import load_config
from mpcore.host.flowsets import FAMILIES, TABLE, WAYS, FlowSets
from mpcore.host.rules import rule_settings
from mpcore.lab.host import Host
from mpcore.lab.topology import Lab
from mpcore.lab.wait import wait_until
from tests.helpers.netns import inside
from tests.kernel.support import (
    Daemon,
    connect,
    exchange_both,
    kernel_peer,
    kill,
    roles,
    running,
    start_daemon,
)

pytestmark = pytest.mark.kernel

PLACES = [(name, TABLE, way) for name in FAMILIES.values() for way in WAYS]
BYTES = 300_001
BEGINNING = 2  # SYN and SYN/ACK


@pytest.fixture(autouse=True)
def needs_flow_sets(hosts: Lab) -> None:
    with inside(hosts.a):
        if not all(FlowSets(version).available(rule_settings(load_config(None, ()))) for version in FAMILIES):
            pytest.skip("the kernel or its nft knows no sets of connections")


def resting(host: Host) -> set[bool]:
    """Tell whether the rules rest, those of each direction and IP version; they do not change as one."""
    chains = [host.run(["nft", "list", "chain", *place]).stdout for place in PLACES]
    return {"!= @left_" not in each for each in chains}


def queued(daemon: Daemon) -> int:
    moved = daemon.moved()
    return moved.get("MpcoreExtPacketsFromHost", 0) + moved.get("MpcoreExtPacketsFromNetwork", 0)


@roles
def test_a_connection_to_who_speaks_only_tcp_does_not_wake_them(
    hosts: Lab, tmp_path: Path, to_a: bool
) -> None:
    hosts.b.sysctl("net.mptcp.enabled", 0)
    try:
        with running(hosts.a, tmp_path) as daemon:
            daemon.mark()
            exchange_both(connect(hosts, to_a=to_a), BYTES, BYTES)
            assert resting(hosts.a) == {True}
            assert queued(daemon) == BEGINNING
    finally:
        hosts.b.sysctl("net.mptcp.enabled", 1)


def test_a_connection_that_was_there_before_is_not_asked_about(hosts: Lab, tmp_path: Path) -> None:
    pair = connect(hosts)
    with running(hosts.a, tmp_path) as daemon:
        daemon.mark()
        exchange_both(pair, BYTES, BYTES)
        assert queued(daemon) == 0


@roles
def test_a_multipath_connection_wakes_them_for_as_long_as_it_lives(
    hosts: Lab, tmp_path: Path, to_a: bool
) -> None:
    plain = connect(hosts)
    with running(hosts.a, tmp_path) as daemon:
        assert resting(hosts.a) == {True}
        pair = connect(hosts, **kernel_peer(to_a))
        wait_until(lambda: daemon.subflows() == 2, "a second subflow")
        assert resting(hosts.a) == {False}
        exchange_both(plain, BYTES, BYTES)
        exchange_both(pair, BYTES, BYTES)
        wait_until(lambda: resting(hosts.a) == {True}, "rest", timeout_s=60)
        exchange_both(connect(hosts, **kernel_peer(to_a)), BYTES, BYTES)
        assert resting(hosts.a) == {False}


def test_after_a_kill_what_fell_back_goes_on(hosts: Lab, tmp_path: Path) -> None:
    """Its SYN asked for MPTCP, so that the rules knew it as one that may not pass unread."""
    hosts.b.sysctl("net.mptcp.enabled", 0)
    daemon = start_daemon(hosts.a, tmp_path)
    try:
        pair = connect(hosts)
        kill(daemon, guardian=False)
        wait_until(lambda: "queue" not in rules(hosts.a).lower(), "the guardian")
        exchange_both(pair, BYTES, BYTES)
    finally:
        hosts.a.stop(daemon.process)
        hosts.b.sysctl("net.mptcp.enabled", 1)


def rules(host: Host) -> str:
    return host.run(["nft", "list", "ruleset"]).stdout
