"""Every step of what a packet costs is counted: by the data plane, at the queue, at the raw sockets."""

import pytest

from mpcore.lab.topology import Lab
from tests.kernel.support import Daemon, connect, exchange_both, kernel_peer, roles

pytestmark = pytest.mark.kernel

BYTES = 1_000_000
VERDICTS = ("Passed", "Rewritten", "Dropped", "Left", "Held")


@roles
def test_each_step_of_the_cost_moves(hosts: Lab, daemon: Daemon, to_a: bool) -> None:
    daemon.mark()
    exchange_both(connect(hosts, **kernel_peer(to_a)), BYTES, BYTES)
    moved = daemon.moved()
    assert moved["MpcoreExtBytesFromHost"] > BYTES
    assert moved["MpcoreExtBytesFromNetwork"] > BYTES
    assert moved["MpcoreExtTransmitHostBytes"] > BYTES
    assert moved["MpcoreExtTransmitNetworkBytes"] > BYTES
    for step in (
        "Punted",
        "Events",
        "LoopWakeups",
        "QueueReads",
        "QueueWrites",
        "QueueMessages",
        "RawWrites",
    ):
        assert moved[f"MpcoreExt{step}"] > 0, step
    verdicts = sum(moved.get(f"MpcoreExt{name}", 0) for name in VERDICTS)
    assert moved["MpcoreExtPacketsFromHost"] + moved["MpcoreExtPacketsFromNetwork"] == verdicts
    # packets of the control cores leave by the same sockets, and are none of the data plane's
    transmitted = moved["MpcoreExtTransmitHost"] + moved["MpcoreExtTransmitNetwork"]
    assert moved["MpcoreExtRawSent"] >= transmitted - moved.get("MpcoreExtCarried", 0)
    assert moved["MpcoreExtRawSentBytes"] > BYTES
    # many packets a system call
    assert moved["MpcoreExtRawWrites"] < moved["MpcoreExtRawSent"]


@roles
def test_a_byte_is_copied_once(hosts: Lab, daemon: Daemon, to_a: bool) -> None:
    """Into the ring that keeps it until it is acknowledged; what two subflows share may need a second one."""
    daemon.mark()
    exchange_both(connect(hosts, **kernel_peer(to_a)), BYTES, BYTES)
    moved = daemon.moved()
    assert 2 * BYTES <= moved["MpcoreExtCopiedBytes"] < 3 * BYTES
    assert 0 < moved["MpcoreExtCopies"] < moved["MpcoreExtCopiedBytes"] // 100


def test_an_honest_peer_moves_no_counter_of_bad_input(hosts: Lab, daemon: Daemon) -> None:
    """Linux sends nothing that docs/bad-input.md calls bad, over whole connections."""
    daemon.mark()
    for to_a in (False, True):
        exchange_both(connect(hosts, **kernel_peer(to_a)), BYTES, BYTES)
    moved = daemon.moved()
    for name in ("MisplacedOption", "DataFinRefused", "DssChecksumDisagreed", "RangesFull", "JoinUnproven"):
        assert f"MpcoreExt{name}" not in moved
    for name in ("DSSNotMatching", "DSSNoMatchTCP", "DataCsumErr", "NoDSSInWindow", "AddAddrDrop"):
        assert f"MPTcpExt{name}" not in moved
