"""The MP_CAPABLE handshake as a rewriter of the host's SYN and SYN/ACK (RFC 8684 §3.1)."""

import random
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.actions import Direction, OpenConnection, Role, VerdictKind
from mpcore.config import ExcludeRule, LimitsConfig, MptcpConfig
from mpcore.counters import COUNTER_COUNT, Counter
from mpcore.mptcp import keys
from mpcore.mptcp.blackhole import ENTRIES_MAX, BlackholeCache
from mpcore.mptcp.handshake import HALF_OPEN_TIMEOUT_NS, Decision, Negotiator
from mpcore.mptcp.states import FallbackReason
from mpcore.wire.values import (
    Dss,
    MaxSegmentSize,
    MpCapable,
    MpJoinSyn,
    MpJoinSynAck,
    MpV0Option,
    SackPermitted,
    Segment,
    TcpFlag,
    Timestamps,
    UnknownOption,
    WindowScale,
    emit_segment,
    parse_segment,
)

HOST, NETWORK = Direction.FROM_HOST, Direction.FROM_NETWORK
LOCAL, REMOTE = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
SYN, ACK, RST = TcpFlag.SYN, TcpFlag.ACK, TcpFlag.RST
CLIENT_ISN, SERVER_ISN = 0xFFFFFFFF, 5000
PEER_KEY = 0x1122334455667788
SYN_OPTIONS = (MaxSegmentSize(1460), SackPermitted(), Timestamps(100, 0), WindowScale(7))


def outgoing(flags: int, seq: int, ack: int = 0, options: tuple[Any, ...] = (), **other: Any) -> Segment:
    return Segment(4, LOCAL, REMOTE, 40000, 80, seq, ack, int(flags), 64240, options, **other)


def incoming(flags: int, seq: int, ack: int = 0, options: tuple[Any, ...] = (), **other: Any) -> Segment:
    return Segment(4, REMOTE, LOCAL, 80, 40000, seq, ack, int(flags), 65160, options, **other)


@dataclass
class Bench:
    """A negotiator and a clock that stands still."""

    negotiator: Negotiator
    now_ns: int = 0

    def host(self, segment: Segment) -> Decision:
        return self.negotiator.handle_packet(HOST, segment, self.now_ns)

    def network(self, segment: Segment) -> Decision:
        return self.negotiator.handle_packet(NETWORK, segment, self.now_ns)


def bench(limits: LimitsConfig | None = None, token_taken: bool = False, **settings: Any) -> Bench:
    config = msgspec.structs.replace(MptcpConfig(), **settings)
    return Bench(Negotiator(config, limits or LimitsConfig(), random.Random(1), lambda token: token_taken))


def rewritten(decision: Decision) -> Segment:
    assert decision.verdict.kind is VerdictKind.REWRITE
    assert decision.verdict.data is not None
    return parse_segment(decision.verdict.data)


def opened(decision: Decision) -> OpenConnection:
    assert decision.open is not None
    return decision.open


def left(decision: Decision) -> str | None:
    assert decision.verdict.kind is VerdictKind.LEAVE
    assert decision.open is None
    return decision.reason


def client_syn(**other: Any) -> Segment:
    return outgoing(SYN, CLIENT_ISN, options=SYN_OPTIONS, **other)


def peer_syn_ack(option: Any = None, **other: Any) -> Segment:
    options = (MaxSegmentSize(1400), SackPermitted(), Timestamps(200, 100), WindowScale(9))
    capable = MpCapable(key_sender=PEER_KEY) if option is None else option
    return incoming(SYN | ACK, SERVER_ISN, 0, (*options, capable), **other)


def peer_syn(option: Any = MpCapable()) -> Segment:  # noqa: B008
    return incoming(SYN, SERVER_ISN, options=(*SYN_OPTIONS, option))


def host_syn_ack() -> Segment:
    options = (MaxSegmentSize(1460), SackPermitted(), Timestamps(300, 100), WindowScale(8))
    return outgoing(SYN | ACK, CLIENT_ISN, SERVER_ISN + 1, options)


def third_ack(option: Any, **other: Any) -> Segment:
    return incoming(ACK, SERVER_ISN + 1, 0, (Timestamps(110, 300), option), **other)


# Client


def test_client_syn_gets_mp_capable_and_keeps_its_options() -> None:
    """RFC 8684 §3.1: version 1, H set, no key."""
    segment = rewritten(bench().host(client_syn()))
    assert segment.options == (*SYN_OPTIONS, MpCapable(version=1, flags=0x01))
    assert segment == replace(client_syn(), options=segment.options)


def test_client_connection_opens_at_the_syn_ack() -> None:
    """RFC 8684 §3.1: the peer's key comes with the SYN/ACK; the host sees none of it."""
    run = bench()
    run.host(client_syn())
    decision = run.network(peer_syn_ack())
    segment = rewritten(decision)
    assert segment.find(MpCapable) is None
    assert segment.find(MaxSegmentSize) == MaxSegmentSize(1400 - 28)
    found = opened(decision)
    assert (found.role, found.local, found.remote) == (Role.CLIENT, LOCAL, REMOTE)
    assert (found.local_port, found.remote_port) == (40000, 80)
    assert (found.isn_local, found.isn_remote) == (CLIENT_ISN, SERVER_ISN)
    assert (found.mss_local, found.mss_remote) == (1460, 1400)
    assert (found.wscale_local, found.wscale_remote) == (7, 9)
    assert (found.ts_local, found.ts_remote) == (100, 200)
    assert found.sack
    assert found.timestamps
    assert found.window == 65160
    assert found.key_remote == PEER_KEY
    assert not found.checksum
    assert not found.peer_no_join
    assert not decision.reprocess
    assert len(run.negotiator) == 0


@pytest.mark.parametrize(("ours", "theirs"), [(False, False), (False, True), (True, False), (True, True)])
def test_checksums_are_used_when_either_side_asks(ours: bool, theirs: bool) -> None:
    """RFC 8684 §3.1, flag A."""
    run = bench(checksum=ours)
    syn = rewritten(run.host(client_syn()))
    assert syn.find(MpCapable) == MpCapable(flags=0x81 if ours else 0x01)
    option = MpCapable(flags=0x81 if theirs else 0x01, key_sender=PEER_KEY)
    assert opened(run.network(peer_syn_ack(option))).checksum is (ours or theirs)


def test_no_join_flag_of_the_peer_is_reported() -> None:
    """RFC 8684 §3.1, flag C."""
    run = bench()
    run.host(client_syn())
    assert opened(run.network(peer_syn_ack(MpCapable(flags=0x21, key_sender=PEER_KEY)))).peer_no_join


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        (UnknownOption(77, b""), FallbackReason.NOT_ACCEPTED),
        (MpCapable(), FallbackReason.NOT_ACCEPTED),
        (MpCapable(version=2, key_sender=1), FallbackReason.WRONG_VERSION),
        (MpV0Option(0, bytes(10)), FallbackReason.WRONG_VERSION),
        (MpCapable(flags=0x41, key_sender=1), FallbackReason.WRONG_FLAGS),
        (MpCapable(flags=0x03, key_sender=1), FallbackReason.WRONG_FLAGS),
        (MpCapable(flags=0x00, key_sender=1), FallbackReason.WRONG_FLAGS),
    ],
)
def test_client_falls_back_on_a_syn_ack_that_does_not_accept(option: Any, reason: str) -> None:
    """RFC 8684 §3.1: no, or no usable, MP_CAPABLE in the SYN/ACK is plain TCP."""
    run = bench()
    run.host(client_syn())
    options = (MaxSegmentSize(1400), option)
    assert left(run.network(incoming(SYN | ACK, SERVER_ISN, 0, options))) == reason
    assert len(run.negotiator) == 0
    assert run.negotiator.counts[Counter.MPCAPABLE_FALLBACK_SYNACK] == 1


def test_client_falls_back_on_mp_join_in_the_syn_ack() -> None:
    run = bench()
    run.host(client_syn())
    both = (MpCapable(key_sender=1), MpJoinSynAck(bytes(8), 1, 0))
    assert left(run.network(incoming(SYN | ACK, 1, 0, both))) == FallbackReason.BOTH_OPTIONS


@pytest.mark.parametrize(
    ("settings", "segment", "reason"),
    [
        ({"client": False}, client_syn(), FallbackReason.DISABLED),
        ({"enabled": False}, client_syn(), FallbackReason.DISABLED),
        ({"exclude": (ExcludeRule(port=80),)}, client_syn(), FallbackReason.EXCLUDED),
        ({"exclude": (ExcludeRule.parse("10.0.0.0/24"),)}, client_syn(), FallbackReason.EXCLUDED),
        ({}, replace(client_syn(), dst=LOCAL), FallbackReason.LOOPBACK),
        ({}, replace(client_syn(), dst=bytes([127, 0, 0, 5])), FallbackReason.LOOPBACK),
        ({}, client_syn(payload=b"early"), FallbackReason.SYN_DATA),
        ({}, outgoing(SYN, 1, options=(UnknownOption(34, b""),)), FallbackReason.FAST_OPEN),
        ({}, outgoing(SYN, 1, options=(UnknownOption(254, b"\xf9\x89"),)), FallbackReason.FAST_OPEN),
        ({}, outgoing(SYN, 1, options=(UnknownOption(19, bytes(16)),)), FallbackReason.AUTHENTICATED),
        ({}, outgoing(SYN, 1, options=(UnknownOption(29, bytes(14)),)), FallbackReason.AUTHENTICATED),
        ({}, outgoing(SYN, 1, options=(UnknownOption(200, bytes(35)),)), FallbackReason.NO_OPTION_ROOM),
        ({}, outgoing(SYN, 1, options=(MpCapable(),)), FallbackReason.OWN_MPTCP),
        ({}, outgoing(SYN, 1, options=(MpJoinSyn(1, 2, 3),)), FallbackReason.OWN_MPTCP),
        ({}, outgoing(ACK, 1, 2), FallbackReason.BEGAN_BEFORE),
        ({}, outgoing(SYN | ACK, 1, 2), FallbackReason.BEGAN_BEFORE),
    ],
)
def test_client_connections_that_stay_plain(settings: dict[str, Any], segment: Segment, reason: str) -> None:
    """Among them both forms of Fast Open (RFC 7413 §4.1.1)."""
    run = bench(**settings)
    assert left(run.host(segment)) == reason
    assert len(run.negotiator) == 0


def test_loopback_takes_part_when_configured() -> None:
    run = bench(loopback=True)
    assert rewritten(run.host(replace(client_syn(), dst=LOCAL))).find(MpCapable) is not None


def test_no_free_token_is_plain_tcp() -> None:
    """RFC 8684 §3.1."""
    run = bench(token_taken=True)
    assert left(run.host(client_syn())) == FallbackReason.TOKEN_TABLE_FULL
    assert run.negotiator.counts[Counter.FALLBACK_TOKEN_INIT] == 1


@pytest.mark.parametrize("first", ["host", "network"])
def test_a_full_table_refuses_at_the_syn(first: str) -> None:
    """The other side then never thinks that MPTCP was agreed."""
    counts = [0] * COUNTER_COUNT
    negotiator = Negotiator(
        MptcpConfig(), LimitsConfig(), random.Random(1), lambda token: False, counts, has_room=lambda: False
    )
    run = Bench(negotiator)
    decision = run.host(client_syn()) if first == "host" else run.network(peer_syn())
    assert left(decision) == FallbackReason.TABLE_FULL
    assert counts[Counter.TABLE_FULL] == 1


ASKS_ECN, GRANTS_ECN = int(SYN | TcpFlag.ECE | TcpFlag.CWR), int(SYN | ACK | TcpFlag.ECE)


@pytest.mark.parametrize("answer", [SYN | ACK, GRANTS_ECN, GRANTS_ECN | TcpFlag.CWR])
def test_a_client_agrees_on_ecn_with_the_peer(answer: int) -> None:
    """RFC 3168 §6.1.1: the SYN has both flags, the SYN/ACK that agrees ECE alone; the socket sees both."""
    run = bench()
    assert rewritten(run.host(replace(client_syn(), flags=ASKS_ECN))).flags == ASKS_ECN
    decision = run.network(replace(peer_syn_ack(), flags=answer))
    assert rewritten(decision).flags == answer
    assert (opened(decision).ecn, opened(decision).ecn_wanted) == (answer == GRANTS_ECN, True)


@pytest.mark.parametrize(
    ("asked", "answered"), [(SYN, SYN | ACK), (ASKS_ECN, SYN | ACK), (ASKS_ECN, GRANTS_ECN)]
)
def test_a_server_agrees_on_ecn_when_its_socket_does(asked: int, answered: int) -> None:
    """RFC 3168 §6.1.1."""
    run = bench()
    assert rewritten(run.network(replace(peer_syn(), flags=asked))).flags == asked
    shown = rewritten(run.host(replace(host_syn_ack(), flags=answered)))
    assert shown.flags == answered
    option = shown.find(MpCapable)
    assert option is not None
    third = third_ack(MpCapable(key_sender=PEER_KEY, key_receiver=option.key_sender))
    effect = opened(run.network(third))
    assert effect.ecn == effect.ecn_wanted == (answered == GRANTS_ECN)


def test_unanswered_syns_end_in_plain_tcp() -> None:
    """RFC 8684 §3.7: after some failures of MPTCP SYNs a regular one is tried."""
    run = bench(syn_fallback_retries=2)
    first = run.host(client_syn())
    assert run.host(client_syn()) == first
    assert run.host(client_syn()) == first
    for _ in range(2):
        assert run.host(client_syn()).verdict.kind is VerdictKind.PASS
    assert run.negotiator.counts[Counter.MPCAPABLE_SYN_TX_DROP] == 1
    assert left(run.network(peer_syn_ack(SackPermitted()))) == FallbackReason.SYN_UNANSWERED
    assert len(run.negotiator) == 0


def retreat(run: Bench) -> None:
    """Let one SYN with the option stay unanswered, and have the next answered."""
    run.host(client_syn())
    run.host(client_syn())
    assert left(run.network(peer_syn_ack(SackPermitted()))) == FallbackReason.SYN_UNANSWERED


def test_a_peer_behind_a_blackhole_is_remembered_longer_each_time() -> None:
    """RFC 8684 §3.9.3."""
    run = bench(syn_fallback_retries=0, blackhole_s=10.0)
    for seconds in (10, 20, 40):
        retreat(run)
        run.now_ns += seconds * 1_000_000_000 - 1
        assert left(run.host(client_syn())) == FallbackReason.BLACKHOLE
        run.now_ns += 1
    assert rewritten(run.host(client_syn())).find(MpCapable) is not None
    opened(run.network(peer_syn_ack()))
    assert len(run.negotiator.blackholes) == 0


def test_a_late_answer_with_the_option_is_no_blackhole() -> None:
    """The round trip may be longer than the host's patience: the option came through all the same."""
    run = bench(syn_fallback_retries=0)
    run.host(client_syn())
    run.host(client_syn())
    opened(run.network(peer_syn_ack()))
    assert len(run.negotiator.blackholes) == 0


def test_a_peer_that_never_answers_is_not_remembered() -> None:
    run = bench(syn_fallback_retries=0)
    for _ in range(5):
        run.host(client_syn())
    assert len(run.negotiator.blackholes) == 0


def test_blackholes_can_be_left_unremembered_and_are_never_too_many() -> None:
    run = bench(syn_fallback_retries=0, blackhole_s=0.0)
    retreat(run)
    assert rewritten(run.host(client_syn())).find(MpCapable) is not None
    cache = BlackholeCache(1)
    for number in range(ENTRIES_MAX + 9):
        cache.note(number.to_bytes(4), 0)
    assert len(cache) == ENTRIES_MAX


def test_another_attempt_from_the_same_port_begins_anew() -> None:
    run = bench(syn_fallback_retries=0)
    run.host(client_syn())
    again = replace(client_syn(), seq=77)
    assert rewritten(run.host(again)).find(MpCapable) is not None
    assert opened(run.network(replace(peer_syn_ack(), ack=78))).isn_local == 77


def test_reset_that_answers_the_syn_reaches_the_host_and_ends_it() -> None:
    """RFC 8684 §3.1 leaves a refusal to TCP; RFC 9293 §3.10.7.3 tells which RST counts."""
    run = bench()
    run.host(client_syn())
    assert run.network(incoming(RST | ACK, 0, 9)).verdict.kind is VerdictKind.PASS
    assert len(run.negotiator) == 1
    assert run.network(incoming(RST | ACK, 0, 0)).verdict.kind is VerdictKind.PASS
    assert len(run.negotiator) == 0


def test_syn_ack_for_another_syn_passes_without_effect() -> None:
    run = bench()
    run.host(client_syn())
    decision = run.network(replace(peer_syn_ack(), ack=99))
    assert decision.verdict.kind is VerdictKind.PASS
    assert decision.open is None
    assert opened(run.network(peer_syn_ack())).role is Role.CLIENT


def test_simultaneous_open_falls_back() -> None:
    run = bench()
    run.host(client_syn())
    assert left(run.network(peer_syn())) == FallbackReason.SIMULTANEOUS_OPEN
    assert len(run.negotiator) == 0
    assert run.negotiator.counts[Counter.SIMULT_CONNECT_FALLBACK] == 1


def test_window_scaling_needs_both_sides() -> None:
    """RFC 7323 §2.2; without an MSS option it is 536 (RFC 9293 §3.7.1)."""
    run = bench()
    run.host(client_syn())
    answer = incoming(SYN | ACK, 1, 0, (MpCapable(key_sender=PEER_KEY),))
    found = opened(run.network(answer))
    assert (found.wscale_local, found.wscale_remote) == (-1, -1)
    assert found.mss_remote == 536
    assert not found.sack
    assert not found.timestamps


def test_window_shift_is_capped_at_14() -> None:
    """RFC 7323 §2.3."""
    run = bench()
    run.host(client_syn())
    answer = incoming(SYN | ACK, 1, 0, (WindowScale(15), MpCapable(key_sender=PEER_KEY)))
    assert opened(run.network(answer)).wscale_remote == 14


def test_missing_mss_of_ipv6_is_1220() -> None:
    """RFC 9293 §3.7.1; 536 for IPv4 is tried above."""
    six: dict[str, Any] = {"version": 6, "src": bytes(15) + b"\x05", "dst": bytes(15) + b"\x06"}
    run = bench()
    run.host(replace(client_syn(), **six))
    back = {**six, "src": six["dst"], "dst": six["src"]}
    answer = replace(incoming(SYN | ACK, 1, 0, (MpCapable(key_sender=PEER_KEY),)), **back)
    assert opened(run.network(answer)).mss_remote == 1220


# Server


def test_server_hides_mp_capable_from_the_host() -> None:
    segment = rewritten(bench().network(peer_syn()))
    assert segment.find(MpCapable) is None
    assert segment.find(MaxSegmentSize) == MaxSegmentSize(1460 - 28)
    assert segment.find(Timestamps) == Timestamps(100, 0)


def test_server_answers_with_the_same_key_each_time() -> None:
    """RFC 8684 §3.1: SYN/ACK with the key of this host."""
    run = bench()
    run.network(peer_syn())
    first = rewritten(run.host(host_syn_ack()))
    option = first.find(MpCapable)
    assert option is not None
    assert option.key_sender
    assert (option.version, option.flags, option.key_receiver) == (1, 0x01, None)
    assert first.options[:-1] == host_syn_ack().options
    assert rewritten(run.network(peer_syn())).find(MpCapable) is None
    assert rewritten(run.host(host_syn_ack())) == first


def served(run: Bench, option: Any = MpCapable()) -> int:  # noqa: B008
    """Take the server to the point where the third packet is awaited; return its key."""
    run.network(peer_syn(option))
    answer = rewritten(run.host(host_syn_ack())).find(MpCapable)
    assert answer is not None
    assert answer.key_sender is not None
    return answer.key_sender


@pytest.mark.parametrize(("data_len", "payload"), [(None, b""), (5, b"hello")])
def test_server_connection_opens_at_the_third_packet(data_len: int | None, payload: bytes) -> None:
    """RFC 8684 §3.1: both keys, with or without the first data; the engine then gets that packet."""
    run = bench()
    key = served(run)
    option = MpCapable(key_sender=PEER_KEY, key_receiver=key, data_len=data_len)
    decision = run.network(third_ack(option, payload=payload))
    assert decision.verdict.kind is VerdictKind.DROP
    assert decision.reprocess
    found = opened(decision)
    assert (found.role, found.key_local, found.key_remote) == (Role.SERVER, key, PEER_KEY)
    assert (found.isn_local, found.isn_remote) == (CLIENT_ISN, SERVER_ISN)
    assert (found.mss_local, found.mss_remote) == (1460, 1460)
    assert (found.wscale_local, found.wscale_remote) == (8, 7)
    assert (found.ts_local, found.ts_remote) == (300, 110)
    assert found.window == 65160


def test_server_repeats_the_wish_for_checksums() -> None:
    """RFC 8684 §3.1, flag A: set by the peer, so used by both."""
    run = bench()
    run.network(peer_syn(MpCapable(flags=0x81)))
    answer = rewritten(run.host(host_syn_ack())).find(MpCapable)
    assert answer is not None
    assert answer.flags == 0x81
    option = MpCapable(flags=0x81, key_sender=PEER_KEY, key_receiver=answer.key_sender)
    assert opened(run.network(third_ack(option))).checksum


def test_server_answers_a_higher_version_with_its_own() -> None:
    """RFC 8684 §3.1: version negotiation."""
    run = bench()
    served(run, MpCapable(version=3))


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        (UnknownOption(77, b""), FallbackReason.NOT_OFFERED),
        (MpJoinSyn(1, 2, 3), FallbackReason.NOT_OFFERED),
        (MpV0Option(0, bytes(10)), FallbackReason.WRONG_VERSION),
        (MpCapable(flags=0x41), FallbackReason.WRONG_FLAGS),
        (MpCapable(flags=0x00), FallbackReason.WRONG_FLAGS),
        (MpCapable(flags=0x11), FallbackReason.WRONG_FLAGS),
        (MpCapable(key_sender=4), FallbackReason.NOT_OFFERED),
    ],
)
def test_server_leaves_syns_that_are_not_mptcp(option: Any, reason: str) -> None:
    """RFC 8684 §3.1: B set, no algorithm, or the layout of another version are ignored."""
    run = bench()
    assert left(run.network(peer_syn(option))) == reason
    refused = isinstance(option, MpCapable | MpV0Option)
    assert run.negotiator.counts[Counter.CAPABLE_REFUSED] == refused


def test_server_leaves_a_syn_with_both_options() -> None:
    both = incoming(SYN, 1, options=(MpCapable(), MpJoinSyn(1, 2, 3)))
    assert left(bench().network(both)) == FallbackReason.BOTH_OPTIONS


@pytest.mark.parametrize("settings", [{"server": False}, {"exclude": (ExcludeRule(port=40000),)}])
def test_server_leaves_what_the_configuration_excludes(settings: dict[str, Any]) -> None:
    assert left(bench(**settings).network(peer_syn())) is not None


def test_third_packet_without_mp_capable_falls_back() -> None:
    """RFC 8684 §3.1: the third ACK must carry MP_CAPABLE."""
    run = bench()
    served(run)
    assert left(run.network(incoming(ACK, SERVER_ISN + 1, 0))) == FallbackReason.NOT_CONFIRMED
    assert run.negotiator.counts[Counter.MPCAPABLE_FALLBACK_ACK] == 1


def test_third_packet_with_a_wrong_key_falls_back() -> None:
    run = bench()
    key = served(run)
    wrong = MpCapable(key_sender=PEER_KEY, key_receiver=key ^ 1)
    assert left(run.network(third_ack(wrong))) == FallbackReason.WRONG_KEYS


def test_data_that_overtook_the_keys_is_not_the_end() -> None:
    """RFC 8684 §3.1: the packet with the keys is repeated until its data is acknowledged."""
    run = bench()
    key = served(run)
    later = incoming(ACK, SERVER_ISN + 501, 0, (Dss(data_seq=9, subflow_seq=501, data_len=1),), payload=b"x")
    decision = run.network(later)
    assert decision.verdict.kind is VerdictKind.DROP
    assert not decision.reprocess
    option = MpCapable(key_sender=PEER_KEY, key_receiver=key)
    assert opened(run.network(third_ack(option))).key_local == key


def test_a_data_fin_that_overtook_the_keys_is_not_the_end() -> None:
    """RFC 8684 §3.1, §3.3.3: a client may close at once; its DATA_FIN is repeated too."""
    run = bench()
    key = served(run)
    fin = Dss(data_seq=9, subflow_seq=0, data_len=1, data_fin=True)
    assert run.network(incoming(ACK, SERVER_ISN + 1, 0, (fin,))).verdict.kind is VerdictKind.DROP
    assert opened(run.network(third_ack(MpCapable(key_sender=PEER_KEY, key_receiver=key)))).key_local == key


def test_packets_that_tcp_would_refuse_change_nothing() -> None:
    """RFC 8684 §3: options count only on segments that pass TCP's own checks."""
    run = bench()
    key = served(run)
    option = MpCapable(key_sender=PEER_KEY, key_receiver=key)
    assert run.network(replace(third_ack(option), ack=77)).verdict.kind is VerdictKind.PASS
    assert run.network(incoming(RST, SERVER_ISN + 9)).verdict.kind is VerdictKind.PASS
    assert opened(run.network(third_ack(option))).key_remote == PEER_KEY


def test_refusal_by_the_host_passes_and_ends_it() -> None:
    run = bench()
    run.network(peer_syn())
    assert run.host(outgoing(RST | ACK, 0, SERVER_ISN + 1)).verdict.kind is VerdictKind.PASS
    assert len(run.negotiator) == 0


def test_syn_repeated_without_the_option_is_plain() -> None:
    run = bench()
    served(run)
    assert left(run.network(incoming(SYN, SERVER_ISN, options=SYN_OPTIONS))) == FallbackReason.NOT_OFFERED


def test_syn_ack_without_room_is_plain() -> None:
    run = bench()
    run.network(peer_syn())
    crowded = outgoing(SYN | ACK, 1, SERVER_ISN + 1, (*SYN_OPTIONS, UnknownOption(200, bytes(10))))
    assert left(run.host(crowded)) == FallbackReason.NO_OPTION_ROOM


def test_mss_is_reduced_with_care() -> None:
    tiny = replace(peer_syn(), options=(MaxSegmentSize(90), MpCapable()))
    assert rewritten(bench().network(tiny)).find(MaxSegmentSize) == MaxSegmentSize(88)
    tiniest = replace(peer_syn(), options=(MaxSegmentSize(60), MpCapable()))
    assert rewritten(bench().network(tiniest)).find(MaxSegmentSize) == MaxSegmentSize(60)


# Bounds


def test_half_open_connections_are_bounded_oldest_first() -> None:
    """RFC 8684 §5: a flood of SYNs costs a bounded amount of memory."""
    run = bench(limits=LimitsConfig(max_half_open=3))
    for port in range(1000, 1010):
        run.network(replace(peer_syn(), src_port=port))
    assert len(run.negotiator) == 3
    assert run.negotiator.counts[Counter.HALF_OPEN_EVICTED] == 7
    newest = replace(host_syn_ack(), dst_port=1009)
    assert rewritten(run.host(newest)).find(MpCapable) is not None
    assert left(run.host(replace(host_syn_ack(), dst_port=1000))) == FallbackReason.BEGAN_BEFORE


def test_half_open_connections_expire() -> None:
    run = bench()
    run.network(peer_syn())
    assert run.negotiator.poll_timeout() == HALF_OPEN_TIMEOUT_NS
    run.now_ns = HALF_OPEN_TIMEOUT_NS - 1
    run.host(host_syn_ack())
    assert run.negotiator.poll_timeout() == 2 * HALF_OPEN_TIMEOUT_NS - 1
    run.negotiator.handle_timeout(2 * HALF_OPEN_TIMEOUT_NS)
    assert len(run.negotiator) == 0
    assert run.negotiator.poll_timeout() is None


def test_tokens_of_half_open_connections_are_distinct() -> None:
    """RFC 8684 §3.1."""

    class Stubborn(random.Random):
        """Draws each number four times."""

        drawn = 0

        def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
            self.drawn += 1
            return 1 + self.drawn // 4

    negotiator = Negotiator(MptcpConfig(), LimitsConfig(), Stubborn(), lambda token: False)
    run = Bench(negotiator)
    found = set()
    for port in (1000, 1001, 1002):
        run.network(replace(peer_syn(), src_port=port))
        answer = rewritten(run.host(replace(host_syn_ack(), dst_port=port))).find(MpCapable)
        assert answer is not None
        assert answer.key_sender is not None
        found.add(keys.token(answer.key_sender))
    assert len(found) == 3


SEGMENTS = st.builds(
    lambda flags, seq, ack, options: (flags, seq, ack, options),
    st.sampled_from([int(flag) for flag in (SYN, ACK, RST, SYN | ACK, RST | ACK)]),
    st.sampled_from([CLIENT_ISN, SERVER_ISN, SERVER_ISN + 1, 0]),
    st.sampled_from([0, SERVER_ISN + 1]),
    st.lists(
        st.sampled_from([MpCapable(), MpCapable(key_sender=3), MpCapable(1, 1, 2, 3), MpJoinSyn(1, 2, 3)]),
        max_size=1,
    ).map(tuple),
)


@given(st.lists(st.tuples(st.booleans(), SEGMENTS), max_size=12))
def test_any_order_of_packets_has_verdicts_that_can_be_carried_out(
    packets: list[tuple[bool, tuple[int, int, int, tuple[Any, ...]]]],
) -> None:
    """Every packet gets one verdict; a rewrite is a whole packet; what is left has a reason."""
    run = bench()
    for from_host, (flags, seq, ack, options) in packets:
        segment = (outgoing if from_host else incoming)(flags, seq, ack, options)
        decision = (run.host if from_host else run.network)(segment)
        kind = decision.verdict.kind
        assert (kind is VerdictKind.LEAVE) == (decision.reason is not None)
        assert (kind is VerdictKind.REWRITE) == (decision.verdict.data is not None)
        if decision.verdict.data is not None:
            assert emit_segment(parse_segment(decision.verdict.data)) == decision.verdict.data


def test_only_a_server_waits_for_more_than_syns_and_resets() -> None:
    """RFC 8684 §3.1: its handshake goes on with the third ACK, a client's with a SYN/ACK."""
    client = bench()
    client.host(client_syn())
    assert len(client.negotiator) == 1
    assert not client.negotiator.awaits_third_ack
    server = bench()
    server.network(peer_syn())
    assert server.negotiator.awaits_third_ack
    server.host(host_syn_ack())
    server.network(third_ack(Timestamps(111, 300)))
    assert not server.negotiator.awaits_third_ack


def test_handshakes_that_expire_or_give_way_are_not_waited_for() -> None:
    waiting = bench()
    waiting.network(peer_syn())
    waiting.negotiator.handle_timeout(HALF_OPEN_TIMEOUT_NS)
    assert not waiting.negotiator.awaits_third_ack
    crowded = bench(limits=LimitsConfig(max_half_open=1))
    crowded.network(peer_syn())
    crowded.host(Segment(4, LOCAL, REMOTE, 40001, 80, CLIENT_ISN, 0, int(SYN), 64240, SYN_OPTIONS))
    assert len(crowded.negotiator) == 1
    assert not crowded.negotiator.awaits_third_ack
