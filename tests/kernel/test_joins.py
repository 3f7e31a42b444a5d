"""MP_JOIN from hands that must not have it, and packets that are none."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mpcore.lab.topology import Lab
from mpcore.wire.checksum import tcp_checksum
from mpcore.wire.values import (
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MpTcpRst,
    Segment,
    TcpFlag,
)
from tests.kernel.forger import SOURCE_PORT, Forger, forging
from tests.kernel.support import (
    Daemon,
    Pair,
    connect,
    exchange_both,
    kernel_peer,
    wait_for_nothing,
    wait_until,
)

pytestmark = pytest.mark.kernel

SYN, ACK, RST = TcpFlag.SYN.value, TcpFlag.ACK.value, TcpFlag.RST.value
ISN = 1000
WRONG_TOKEN = 0xDEADBEEF


def reset_reason(segment: Segment) -> int:
    """Return the reason in a RST (RFC 8684 §3.6)."""
    assert segment.flags & RST
    option = segment.find(MpTcpRst)
    assert option is not None
    return option.reason


@contextmanager
def served(hosts: Lab, daemon: Daemon) -> Iterator[tuple[Pair, int, int]]:
    """Hold a connection of the kernel's MPTCP to a server on host `a`; give its port there and its token."""
    wait_for_nothing(daemon)
    with connect(hosts, **kernel_peer(True)) as pair:
        pair.client.sendall(b"x")
        assert pair.server.recv(1) == b"x"
        wait_until(lambda: bool(daemon.connections()), "the connection")
        (connection,) = daemon.connections()
        yield pair, pair.server.getsockname()[1], int(connection["token"], 16)


def test_an_unknown_token_is_refused(hosts: Lab, daemon: Daemon) -> None:
    """RFC 8684 §3.2: RST; §3.6: with a reason."""
    daemon.mark()
    with served(hosts, daemon) as (pair, port, _), forging(hosts, port) as forger:
        forger.send(ISN, 0, SYN, MpJoinSyn(WRONG_TOKEN, 1, 2))
        answer = forger.hear()
        assert reset_reason(answer) in (1, 3)
        assert answer.ack == ISN + 1
        exchange_both(pair, 1000, 1000)
    assert daemon.moved()["MPTcpExtMPJoinNoTokenFound"] == 1


@pytest.mark.parametrize(
    ("hmac", "counter"),
    [(MpJoinAck(bytes(20)), "MPTcpExtMPJoinAckHMacFailure"), (None, "MpcoreExtJoinUnproven")],
    ids=["wrong", "none"],
)
def test_a_third_ack_without_the_right_hmac_is_refused(
    hosts: Lab, daemon: Daemon, hmac: MpJoinAck | None, counter: str
) -> None:
    """RFC 8684 §3.2: the subflow is reset, and the connection goes on."""
    daemon.mark()
    with served(hosts, daemon) as (pair, port, token), forging(hosts, port) as forger:
        before = daemon.subflows()
        forger.send(ISN, 0, SYN, MpJoinSyn(token, 1, 2))
        answer = forger.hear()
        assert answer.flags & (SYN | ACK | RST) == SYN | ACK
        assert answer.find(MpJoinSynAck) is not None
        options = (hmac,) if hmac else ()
        forger.send(ISN + 1, answer.seq + 1, ACK, *options)
        assert reset_reason(forger.hear()) == 1
        assert daemon.subflows() == before
        exchange_both(pair, 1000, 1000)
    assert daemon.moved()[counter] == 1


def test_joins_that_nobody_completes_are_forgotten(hosts: Lab, daemon: Daemon) -> None:
    """RFC 8684 §5: half-open joins are bounded, and do not outlive the connection."""
    daemon.mark()
    with served(hosts, daemon) as (pair, port, token), forging(hosts, port) as forger:
        for number in range(40):
            forger.send(ISN + 100 * number, 0, SYN, MpJoinSyn(token, number + 1, 2))
        answers = [forger.hear() for _ in range(40)]
        assert all(answer.flags & (SYN | RST) for answer in answers)
        exchange_both(pair, 1000, 1000)
    wait_for_nothing(daemon)


def test_hostile_handshakes_change_nothing(hosts: Lab, daemon: Daemon) -> None:
    """What is no legal option says nothing; the packets end in the kernel as if mpcore were not there."""
    with served(hosts, daemon) as (pair, port, _), forging(hosts, port) as forger:
        for data in (b"\x1e\x0c", b"\x1e\x02", b"\x1e\x00", b"\x1e\x0c\x10" + bytes(9), b"\xff" * 40):
            forger.send_raw(with_raw_options(forger, data))
        exchange_both(pair, 100_000, 100_000)
    exchange_both(connect(hosts, **kernel_peer(True)), 1000, 1000)


def with_raw_options(forger: Forger, options: bytes) -> bytes:
    """Return a SYN whose options are these bytes, filled up with zeros."""
    options = options.ljust(-(-len(options) // 4) * 4, b"\0")
    here, there = socket.inet_aton(forger.here), socket.inet_aton(forger.there)
    offset = (20 + len(options)) // 4 << 4
    start = struct.pack(">HHIIBBH", SOURCE_PORT, forger.port, ISN, 0, offset, SYN, 65535)
    checksum = tcp_checksum(here, there, start + bytes(4) + options)
    tcp = start + struct.pack(">HH", checksum, 0) + options
    # the kernel fills in what is zero of the IP header
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, here, there) + tcp
