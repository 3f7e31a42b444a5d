"""The endpoint's own part: verdicts of packets that no connection claims, and their count."""

import gc
import random
from dataclasses import replace

import pytest

from mpcore.actions import Direction, VerdictKind
from mpcore.cli.render import format_connection
from mpcore.config import load_config
from mpcore.endpoint import FALLEN_BACK_MAX, Endpoint
from mpcore.host.control_handlers import find_connection
from mpcore.mptcp import keys
from mpcore.wire.values import (
    AddAddr,
    Dss,
    MaxSegmentSize,
    MpCapable,
    MpJoinSyn,
    MpTcpRst,
    Segment,
    TcpFlag,
    emit_segment,
    parse_segment,
)
from tests.helpers.icmp import icmp_error

HOST, PEER = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
SYN_IN = Segment(4, PEER, HOST, 4000, 80, 1, 0, TcpFlag.SYN.value, 65535, (MaxSegmentSize(1460),))
SYN_OUT = replace(SYN_IN, src=HOST, dst=PEER)
JOIN_IN = replace(SYN_IN, options=(MpJoinSyn(0xDEADBEEF, 1, 2),))
OWN_DATA = replace(SYN_OUT, flags=TcpFlag.ACK.value, options=(MpCapable(1, 0x01, 1, 2),))
PLAIN_DATA = replace(OWN_DATA, options=())
SYN_ACK = (TcpFlag.SYN | TcpFlag.ACK).value

RECEIVED = ("MpcoreExtPacketsFromHost", "MpcoreExtPacketsFromNetwork")
VERDICTS = {
    VerdictKind.PASS: "MpcoreExtPassed",
    VerdictKind.REWRITE: "MpcoreExtRewritten",
    VerdictKind.DROP: "MpcoreExtDropped",
    VerdictKind.LEAVE: "MpcoreExtLeft",
}


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint(load_config(None, ()), rng=random.Random(1), now_ns=0)


def give(endpoint: Endpoint, segment: Segment, corrupt: bool = False) -> VerdictKind:
    data = bytearray(emit_segment(segment))
    if corrupt:
        data[-1] ^= 1
    way = Direction.FROM_HOST if segment.src == HOST else Direction.FROM_NETWORK
    return endpoint.handle_packet(way, bytes(data), 0).kind


@pytest.mark.parametrize(
    ("segment", "verdict"),
    [
        (SYN_OUT, VerdictKind.REWRITE),
        (SYN_IN, VerdictKind.LEAVE),
        (replace(SYN_IN, options=(MpCapable(),)), VerdictKind.REWRITE),
        (JOIN_IN, VerdictKind.DROP),
        (PLAIN_DATA, VerdictKind.LEAVE),
    ],
)
def test_every_packet_moves_one_counter(endpoint: Endpoint, segment: Segment, verdict: VerdictKind) -> None:
    before = endpoint.counters()
    assert give(endpoint, segment) is verdict
    moved = {name: value - before[name] for name, value in endpoint.counters().items()}
    assert sum(moved[name] for name in RECEIVED) == 1
    assert {name for name in VERDICTS.values() if moved[name]} == {VERDICTS[verdict]}
    assert moved[VERDICTS[verdict]] == 1


def test_the_packet_that_opens_a_connection_counts_once(endpoint: Endpoint) -> None:
    """The engine decides on it anew once the connection is there."""
    give(endpoint, replace(SYN_IN, options=(MpCapable(),)))
    answer = replace(SYN_OUT, src_port=80, dst_port=4000, seq=9, ack=2, flags=SYN_ACK)
    rewritten = endpoint.handle_packet(Direction.FROM_HOST, emit_segment(answer), 0).data
    assert rewritten is not None
    capable = parse_segment(rewritten).find(MpCapable)
    assert isinstance(capable, MpCapable)
    keys = MpCapable(flags=capable.flags, key_sender=7, key_receiver=capable.key_sender)
    third = replace(SYN_IN, seq=2, ack=10, flags=TcpFlag.ACK.value, options=(keys,))
    before = endpoint.counters()
    assert give(endpoint, third) is VerdictKind.DROP
    moved = {name: value - before[name] for name, value in endpoint.counters().items()}
    assert moved["MPTcpExtMPCapableACKRX"] == 1
    assert moved["MpcoreExtPacketsFromNetwork"] == moved["MpcoreExtDropped"] == 1
    assert moved["MpcoreExtBytesFromNetwork"] == len(emit_segment(third))


@pytest.mark.parametrize("segment", [replace(SYN_IN, options=(MpCapable(),)), JOIN_IN])
def test_a_corrupt_packet_is_not_made_right(endpoint: Endpoint, segment: Segment) -> None:
    """RFC 9293 §3.1: a wrong checksum is the kernel's to find; a rewritten packet would have a right one."""
    assert give(endpoint, segment, corrupt=True) is VerdictKind.PASS
    assert endpoint.counters()["MpcoreExtBadChecksum"] == 1
    assert endpoint.poll_transmit() == []


def test_a_packet_of_no_known_connection_is_left(endpoint: Endpoint) -> None:
    """RFC 9293 §3.10.7.1: the kernel knows it, or refuses it."""
    for segment in (PLAIN_DATA, replace(PLAIN_DATA, src=PEER, dst=HOST)):
        assert give(endpoint, segment) is VerdictKind.LEAVE
    assert endpoint.counters()["MpcoreExtUnknownFlow"] == 2


def test_an_icmp_error_that_cannot_be_true_is_ignored(endpoint: Endpoint) -> None:
    """RFC 5927 §4.1: about a number that is not in flight; an attacker guesses, a router quotes."""
    give(endpoint, SYN_OUT)
    key = MpCapable(flags=0x01, key_sender=5)
    give(endpoint, replace(SYN_IN, flags=SYN_ACK, src_port=80, dst_port=4000, ack=2, options=(key,)))
    guessed = emit_segment(replace(PLAIN_DATA, seq=1 << 30, payload=bytes(1400)))
    endpoint.handle_icmp(4, icmp_error(4, guessed, 600), 0)
    assert endpoint.counters()["MpcoreExtIcmpRx"] == 1
    assert endpoint.counters()["MpcoreExtIcmpIgnored"] == 1


def test_that_there_was_no_way_ends_no_living_subflow(endpoint: Endpoint) -> None:
    """RFC 1122 §4.2.3.9: news of the moment, even about what is in flight."""
    give(endpoint, SYN_OUT)
    key = MpCapable(flags=0x01, key_sender=5)
    give(endpoint, replace(SYN_IN, flags=SYN_ACK, src_port=80, dst_port=4000, ack=2, options=(key,)))
    data = replace(PLAIN_DATA, seq=2, payload=bytes(100))
    give(endpoint, data)
    endpoint.handle_icmp(4, icmp_error(4, emit_segment(data)), 0)
    assert endpoint.counters()["MpcoreExtIcmpIgnored"] == 1
    (entry,) = endpoint.snapshot()["connections"]
    assert [subflow["state"] for subflow in entry["subflows"]] == ["established"]


def test_a_connection_that_fell_back_in_its_handshake_is_shown_with_the_reason(endpoint: Endpoint) -> None:
    """RFC 8684 §3.1: a SYN/ACK without MP_CAPABLE leaves plain TCP; `mpcore explain` knows it by its ends."""
    give(endpoint, SYN_OUT)
    answer = replace(SYN_IN, flags=0x12, src_port=80, dst_port=4000, ack=2)
    assert give(endpoint, answer) is VerdictKind.LEAVE
    (entry,) = endpoint.snapshot()["connections"]
    assert find_connection([entry], "10.0.0.1:4000-10.0.0.2:80") is entry
    assert (entry["token"], entry["fallback"]) == (None, "the peer's SYN/ACK has no MP_CAPABLE")
    assert "no MP_CAPABLE" in format_connection(entry)
    for port in range(4000, 4000 + 2 * FALLEN_BACK_MAX):
        for _ in range(2):
            give(endpoint, replace(SYN_OUT, src_port=port))
            give(endpoint, replace(answer, dst_port=port))
    ends = [(each["local"], each["remote"]) for each in endpoint.snapshot()["connections"]]
    assert len(set(ends)) == len(ends)
    assert len(endpoint.snapshot()["connections"]) == FALLEN_BACK_MAX


def test_an_unknown_token_is_refused(endpoint: Endpoint) -> None:
    """RFC 8684 §3.2."""
    assert give(endpoint, JOIN_IN) is VerdictKind.DROP
    (answer,) = endpoint.poll_transmit()
    assert parse_segment(answer.data).find(MpTcpRst) is not None


@pytest.mark.parametrize("sign", [OWN_DATA, replace(SYN_OUT, options=(MpCapable(),))])
def test_who_speaks_mptcp_itself_may_own_the_token(endpoint: Endpoint, sign: Segment) -> None:
    """RFC 8684 §3.2: the kernel of this host has tokens too, as its packets show, whenever they began."""
    assert give(endpoint, sign) is VerdictKind.LEAVE
    assert give(endpoint, JOIN_IN) is VerdictKind.LEAVE
    assert endpoint.poll_transmit() == []


ACK, FIN = TcpFlag.ACK.value, TcpFlag.FIN.value
OTHER, PEER_KEY = bytes([10, 0, 1, 1]), 5
FROM_PEER = replace(SYN_IN, flags=ACK, seq=2, ack=102, window=500, options=())


def pump(endpoint: Endpoint, segment: Segment) -> None:
    """Give a packet as the daemon's loop does while others wait."""
    way = Direction.FROM_HOST if segment.src == HOST else Direction.FROM_NETWORK
    data = emit_segment(segment)
    if endpoint.engine.process(way, data, 0) == VerdictKind.PUNT:
        endpoint.handle_punt(way, data, 0)
    endpoint.engine.run_pump(0)
    endpoint.handle_events(0, postpone=True)
    endpoint.engine.run_flush(0)


def served(endpoint: Endpoint) -> int:
    """Take a connection of the peer's as far as its third ACK; return this host's key."""
    for address, interface in ((HOST, "eth0"), (OTHER, "eth1")):
        endpoint.add_local_address(address, interface=interface, now_ns=0)
    give(endpoint, replace(SYN_IN, options=(MpCapable(),)))
    answer = Segment(4, HOST, PEER, 80, 4000, 101, 2, SYN_ACK, 65535, (MaxSegmentSize(1460),))
    sent = endpoint.handle_packet(Direction.FROM_HOST, emit_segment(answer), 0)
    assert sent.data is not None
    option = parse_segment(sent.data).find(MpCapable)
    assert option is not None
    assert option.key_sender is not None
    pump(endpoint, replace(FROM_PEER, options=(MpCapable(1, 0x01, PEER_KEY, option.key_sender),)))
    return option.key_sender


def announcements(endpoint: Endpoint) -> list[AddAddr]:
    """Return the ADD_ADDRs among the packets to be sent."""
    found = [parse_segment(each.data).find(AddAddr) for each in endpoint.poll_transmit() if each.data]
    return [option for option in found if option is not None]


def test_paths_are_decided_on_once_no_packet_waits(endpoint: Endpoint) -> None:
    """RFC 8684 §3.4.1: addresses may be announced at any time; the loop takes packets first."""
    served(endpoint)
    assert announcements(endpoint) == []
    assert endpoint.has_news
    assert endpoint.poll_timeout() == 0
    endpoint.handle_news(0)
    assert not endpoint.has_news
    assert [option.address for option in announcements(endpoint)] == [OTHER]


@pytest.mark.parametrize("ended", [False, True])
def test_a_connection_that_has_ended_needs_no_paths(endpoint: Endpoint, ended: bool) -> None:
    """RFC 8684 §3.3.3: after both DATA_FINs there is nothing left for a path to carry."""
    key = served(endpoint)
    theirs, ours = keys.idsn(PEER_KEY), keys.idsn(key)
    third = bytes([10, 0, 2, 2])
    news = AddAddr(1, third, None, hmac=keys.add_addr_hmac(PEER_KEY, key, 1, third, None))
    pump(endpoint, replace(FROM_PEER, options=(news,)))
    if ended:
        pump(endpoint, Segment(4, HOST, PEER, 80, 4000, 102, 2, ACK | FIN, 500))
        last = Dss(data_ack=ours + 1, data_seq=theirs + 1, subflow_seq=0, data_len=1, data_fin=True)
        pump(endpoint, replace(FROM_PEER, options=(last,)))
    before = endpoint.counters()
    endpoint.poll_transmit()
    endpoint.handle_news(0)
    after = endpoint.counters()
    moved = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    sent = announcements(endpoint)
    if ended:
        assert sent == []
        assert moved == {"MPTcpExtAddAddr": 1, "MPTcpExtAddAddrDrop": 1}
    else:
        assert {option.address for option in sent} == {OTHER, third}
        assert moved["MPTcpExtAddAddr"] == moved["MPTcpExtEchoAddTx"] == moved["MPTcpExtAddAddrTx"] == 1


def test_own_mptcp_can_be_known_from_the_start(endpoint: Endpoint) -> None:
    endpoint.note_own_mptcp()
    assert give(endpoint, SYN_IN) is VerdictKind.LEAVE
    assert give(endpoint, JOIN_IN) is VerdictKind.LEAVE


def test_packets_in_the_midst_are_needed_from_the_moment_that_a_connection_may_have_them(
    endpoint: Endpoint,
) -> None:
    """RFC 8684 §3.1: a client's connection is multipath with the SYN/ACK, a server's with the third ACK."""
    assert not endpoint.needs_all_packets()
    give(endpoint, SYN_OUT)
    assert not endpoint.needs_all_packets()
    plain = replace(SYN_IN, flags=SYN_ACK, src_port=80, dst_port=4000, ack=2)
    answer = replace(SYN_OUT, src_port=5000, dst_port=81), replace(
        plain, src_port=81, dst_port=5000, options=(MpCapable(key_sender=7),)
    )
    assert give(endpoint, replace(plain, src_port=SYN_OUT.dst_port, dst_port=SYN_OUT.src_port)) is (
        VerdictKind.LEAVE
    )
    assert not endpoint.needs_all_packets()
    assert [give(endpoint, each) for each in answer] == [VerdictKind.REWRITE, VerdictKind.REWRITE]
    assert endpoint.needs_all_packets()


def test_a_server_needs_them_before_the_third_ack(endpoint: Endpoint) -> None:
    give(endpoint, replace(SYN_IN, options=(MpCapable(),)))
    assert endpoint.needs_all_packets()


def test_connections_leave_no_cycles_behind(endpoint: Endpoint) -> None:
    """The daemon collects garbage seldom, because reference counts free all that a connection held."""
    endpoint.add_local_address(HOST, interface="eth0", now_ns=0)
    endpoint.add_local_address(bytes([10, 0, 1, 1]), interface="eth1", now_ns=0)
    gc.collect()
    gc.disable()
    try:
        for port in range(1000, 1020):
            assert give(endpoint, replace(SYN_OUT, src_port=port)) is VerdictKind.REWRITE
            accepted = replace(SYN_IN, dst_port=port, src_port=80, ack=2, flags=SYN_ACK)
            key = MpCapable(flags=0x01, key_sender=port)
            assert give(endpoint, replace(accepted, options=(key,))) is VerdictKind.REWRITE
        endpoint.poll_transmit()
        endpoint.shut_down(1)
        assert len(endpoint.engine) == 0
        while endpoint.poll_event() is not None:
            pass
        assert gc.collect() == 0
    finally:
        gc.enable()
