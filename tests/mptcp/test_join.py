"""The MP_JOIN handshake, one side against the other (RFC 8684 §3.2)."""

import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.actions import Direction, JoinFailed, OpenSubflow, SubflowReady, Transmit
from mpcore.config import ExcludeRule, LimitsConfig, MptcpConfig
from mpcore.counters import Counter
from mpcore.errors import CapacityError
from mpcore.mptcp import keys
from mpcore.mptcp.join import RETRANSMISSIONS, JoinContext, JoinEffect, Joins
from mpcore.store.deadlines import Deadlines
from mpcore.wire.values import (
    MaxSegmentSize,
    MpCapable,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MpTcpRst,
    ResetReason,
    Segment,
    TcpFlag,
    Timestamps,
    WindowScale,
    parse_segment,
)

NETWORK = Direction.FROM_NETWORK
KEY_A, KEY_B = 0x0102030405060708, 0x1112131415161718
ADDRESS_A, ADDRESS_B = bytes([10, 0, 1, 1]), bytes([10, 0, 1, 2])
SECOND_NS = 1_000_000_000
ACTION = OpenSubflow(ADDRESS_A, ADDRESS_B, 80, local_id=1, remote_id=0)
SYN_FLAGS, ECN_FLAGS = int(TcpFlag.SYN), int(TcpFlag.ECE | TcpFlag.CWR)


def context(key_local: int, key_remote: int, **settings: Any) -> JoinContext:
    values: dict[str, Any] = {
        "token": keys.token(key_local),
        "key_local": key_local,
        "key_remote": key_remote,
        "wscale": 7,
        "accepts": True,
        "room": 8,
        "local_id": lambda address: 3,
        **settings,
    }
    return JoinContext(**values)


@dataclass
class Side:
    """One host with one connection."""

    context: JoinContext | None
    joins: Joins = field(init=False)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    config: MptcpConfig = field(default_factory=MptcpConfig)

    def __post_init__(self) -> None:
        self.joins = Joins(self.config, self.limits, random.Random(1), self.lookup)

    def lookup(self, token: int) -> JoinContext | None:
        return self.context if self.context and token == self.context.token else None

    def take(self, effect: JoinEffect | Transmit, now_ns: int = 0) -> list[JoinEffect]:
        """Handle a packet that the other side transmits."""
        assert isinstance(effect, Transmit)
        segment = parse_segment(effect.data)
        assert self.joins.claims(NETWORK, segment)
        return self.joins.handle_packet(NETWORK, segment, now_ns)


def initiator(**settings: Any) -> Side:
    return Side(context(KEY_A, KEY_B, **settings))


def responder(limits: LimitsConfig | None = None, **settings: Any) -> Side:
    return Side(context(KEY_B, KEY_A, **settings), limits=limits or LimitsConfig())


def start(side: Side, now_ns: int = 0, action: OpenSubflow = ACTION) -> Transmit:
    assert side.context is not None
    return side.joins.start(side.context, action, now_ns)


def parsed(effect: JoinEffect) -> Segment:
    assert isinstance(effect, Transmit)
    return parse_segment(effect.data)


def reset_reason(effect: JoinEffect) -> int:
    segment = parsed(effect)
    option = segment.find(MpTcpRst)
    assert segment.flags & TcpFlag.RST
    assert option is not None
    return option.reason


def third_ack(ready: SubflowReady, option: Any) -> Segment:
    """Return the third ACK as the initiator's engine sends it."""
    return Segment(
        4,
        ready.local,
        ready.remote,
        ready.local_port,
        ready.remote_port,
        (ready.isn_local + 1) & 0xFFFFFFFF,
        (ready.isn_remote + 1) & 0xFFFFFFFF,
        int(TcpFlag.ACK),
        100,
        (Timestamps(ready.ts_local, ready.ts_remote), option),
    )


def handshake(a: Side, b: Side, action: OpenSubflow = ACTION) -> tuple[SubflowReady, SubflowReady]:
    """Run the handshake through; return what both engines get."""
    (answer,) = b.take(start(a, action=action))
    (ready_a,) = a.take(answer, now_ns=5_000_000)
    assert isinstance(ready_a, SubflowReady)
    assert ready_a.hmac is not None
    (ready_b,) = b.joins.handle_packet(NETWORK, third_ack(ready_a, MpJoinAck(ready_a.hmac)), 0)
    assert isinstance(ready_b, SubflowReady)
    return ready_a, ready_b


def test_syn_names_the_connection_of_the_peer() -> None:
    """RFC 8684 §3.2: token of the receiver, own address id, a nonce that is not 0."""
    segment = parsed(start(initiator()))
    option = segment.find(MpJoinSyn)
    assert option is not None
    assert option.token == keys.token(KEY_B)
    assert option.address_id == 1
    assert option.nonce
    assert not option.backup
    assert segment.find(MaxSegmentSize) == MaxSegmentSize(1460)
    assert segment.find(WindowScale) == WindowScale(7)
    assert 61000 <= segment.src_port <= 65535
    assert (segment.src, segment.dst, segment.dst_port) == (ADDRESS_A, ADDRESS_B, 80)


def test_both_sides_get_the_same_subflow() -> None:
    """RFC 8684 §3.2, Figure 8: all four proofs agree."""
    a, b = initiator(), responder()
    ready_a, ready_b = handshake(a, b)
    assert ready_a.token == keys.token(KEY_A)
    assert ready_b.token == keys.token(KEY_B)
    assert (ready_a.isn_local, ready_a.isn_remote) == (ready_b.isn_remote, ready_b.isn_local)
    assert (ready_a.local, ready_a.local_port) == (ready_b.remote, ready_b.remote_port)
    assert (ready_a.local_id, ready_a.remote_id) == (ready_b.remote_id, ready_b.local_id) == (1, 3)
    assert (ready_a.wscale_local, ready_a.wscale_remote) == (7, 7)
    assert ready_a.timestamps
    assert ready_a.sack
    assert ready_b.hmac is None
    assert len(a.joins) == len(b.joins) == 0
    assert ready_b.ts_remote == ready_a.ts_local


@pytest.mark.parametrize(("wanted", "granted"), [(False, False), (True, False), (False, True), (True, True)])
def test_ecn_is_agreed_on_when_both_sides_want_it(wanted: bool, granted: bool) -> None:
    """RFC 3168 §6.1.1, by the subflow's own SYN and SYN/ACK."""
    a, b = initiator(ecn=wanted), responder(ecn=granted)
    syn = start(a)
    assert parsed(syn).flags == (SYN_FLAGS | ECN_FLAGS if wanted else SYN_FLAGS)
    (answer,) = b.take(syn)
    assert parsed(answer).flags & ECN_FLAGS == (TcpFlag.ECE if wanted and granted else 0)
    (ready,) = a.take(answer)
    assert isinstance(ready, SubflowReady)
    assert ready.ecn == (wanted and granted)


def test_a_repeated_syn_asks_for_no_ecn() -> None:
    """RFC 3168 §6.1.1.1: something on the path may lose SYNs that ask for it."""
    a = initiator(ecn=True)
    start(a)
    (again,) = a.joins.handle_timeout(SECOND_NS)
    assert parsed(again).flags == SYN_FLAGS


def test_engine_gets_the_initiators_proof() -> None:
    """RFC 8684 §3.2: the leftmost 160 bits of HMAC(Key-A ‖ Key-B, R-A ‖ R-B)."""
    a, b = initiator(), responder()
    syn = start(a)
    (answer,) = b.take(syn)
    (ready,) = a.take(answer)
    assert isinstance(ready, SubflowReady)
    nonce_a, option = parsed(syn).find(MpJoinSyn), parsed(answer).find(MpJoinSynAck)
    assert nonce_a is not None
    assert option is not None
    assert ready.hmac == keys.join_hmac(KEY_A, KEY_B, nonce_a.nonce, option.nonce)[:20]
    assert option.hmac == keys.join_hmac(KEY_B, KEY_A, option.nonce, nonce_a.nonce)[:8]


def test_backup_wishes_of_both_sides_are_kept_apart() -> None:
    """RFC 8684 §3.2: the B bit asks the receiver to send on the subflow last."""
    a, b = initiator(), responder(backup_addresses=frozenset({ADDRESS_B}))
    ready_a, ready_b = handshake(a, b)
    assert (ready_a.backup, ready_a.peer_backup) == (False, True)
    assert (ready_b.backup, ready_b.peer_backup) == (True, False)
    ready_a, ready_b = handshake(initiator(), responder(), replace(ACTION, backup=True))
    assert (ready_a.backup, ready_b.peer_backup) == (True, True)


def test_ipv6_has_a_smaller_mss() -> None:
    six = OpenSubflow(bytes(15) + b"\x05", bytes(15) + b"\x06", 80, 1, 0)
    assert parsed(start(initiator(), action=six)).find(MaxSegmentSize) == MaxSegmentSize(1440)


def test_repeated_syn_gets_the_same_answer() -> None:
    a, b = initiator(), responder()
    syn = start(a)
    assert b.take(syn) == b.take(syn)
    assert len(b.joins) == 1


def test_another_syn_on_the_same_ports_replaces_the_first() -> None:
    b = responder()
    syn = parsed(start(initiator()))
    b.joins.handle_packet(NETWORK, syn, 0)
    other = replace(syn, seq=syn.seq ^ 1)
    (answer,) = b.joins.handle_packet(NETWORK, other, 0)
    assert parsed(answer).ack == (other.seq + 1) & 0xFFFFFFFF
    assert len(b.joins) == 1


@pytest.mark.parametrize("settings", [{"accepts": False}, {"room": 0}, {"local_id": lambda address: None}])
def test_refused_join_is_reset(settings: dict[str, Any]) -> None:
    """RFC 8684 §3.2: policy or limits, and no join after a fallback (§3.7)."""
    b = responder(**settings)
    (reset,) = b.take(start(initiator()))
    assert reset_reason(reset) == ResetReason.PROHIBITED
    assert b.joins.counts[Counter.JOIN_REJECTED] == 1
    assert len(b.joins) == 0


def test_unknown_token_is_reset() -> None:
    """RFC 8684 §3.2: MUST respond with a RST, as RFC 9293 §3.10.7.1 shapes it."""
    b = responder()
    b.context = None
    syn = parsed(start(initiator()))
    (reset,) = b.joins.handle_packet(NETWORK, syn, 0)
    assert reset_reason(reset) == ResetReason.PROTOCOL_ERROR
    assert parsed(reset).ack == (syn.seq + 1) & 0xFFFFFFFF
    assert b.joins.counts[Counter.JOIN_NO_TOKEN_FOUND] == 1


def test_unknown_token_may_be_the_kernels() -> None:
    b = responder()
    syn = parsed(start(initiator()))
    b.context = None
    assert b.joins.claims(NETWORK, syn)
    b.joins.leave_unknown_tokens = True
    assert not b.joins.claims(NETWORK, syn)
    excluding = Side(None, config=MptcpConfig(exclude=(ExcludeRule(port=80),)))
    assert not excluding.joins.claims(NETWORK, syn)


def test_syn_with_both_options_is_no_join() -> None:
    syn = parsed(start(initiator()))
    assert not responder().joins.claims(NETWORK, replace(syn, options=(*syn.options, MpCapable())))


@pytest.mark.parametrize("wrong", ["hmac", "missing"])
def test_syn_ack_without_proof_is_reset(wrong: str) -> None:
    """RFC 8684 §3.2: Host A MUST close the subflow with a TCP RST."""
    a, b = initiator(), responder()
    (answer,) = b.take(start(a))
    segment = parsed(answer)
    option = segment.find(MpJoinSynAck)
    assert option is not None
    forged = () if wrong == "missing" else (replace(option, hmac=bytes(8)),)
    segment = replace(segment, options=(*segment.options[:-1], *forged))
    reset, failed = a.joins.handle_packet(NETWORK, segment, 0)
    assert reset_reason(reset) == ResetReason.PROTOCOL_ERROR
    assert parsed(reset).seq == segment.ack
    assert isinstance(failed, JoinFailed)
    assert failed.action == ACTION
    assert len(a.joins) == 0
    counter = Counter.JOIN_UNPROVEN if wrong == "missing" else Counter.JOIN_SYNACK_HMAC_FAILURE
    assert a.joins.counts[counter] == 1


@pytest.mark.parametrize(
    ("option", "counter"),
    [
        (MpJoinAck(bytes(20)), Counter.JOIN_ACK_HMAC_FAILURE),
        (Timestamps(1, 1), Counter.JOIN_UNPROVEN),
    ],
)
def test_third_ack_without_proof_is_reset(option: Any, counter: Counter) -> None:
    """RFC 8684 §3.2: Host B MUST close the subflow with a TCP RST."""
    a, b = initiator(), responder()
    (answer,) = b.take(start(a))
    (ready,) = a.take(answer)
    assert isinstance(ready, SubflowReady)
    (reset,) = b.joins.handle_packet(NETWORK, third_ack(ready, option), 0)
    assert reset_reason(reset) == ResetReason.PROTOCOL_ERROR
    assert b.joins.counts[counter] == 1
    assert len(b.joins) == 0


def test_limit_is_checked_again_at_the_third_ack() -> None:
    """RFC 8684 §3.2: several joins may race for the last place."""
    a, b = initiator(), responder()
    (answer,) = b.take(start(a))
    (ready,) = a.take(answer)
    assert isinstance(ready, SubflowReady)
    assert b.context is not None
    assert ready.hmac is not None
    b.context = replace(b.context, room=0)
    (reset,) = b.joins.handle_packet(NETWORK, third_ack(ready, MpJoinAck(ready.hmac)), 0)
    assert reset_reason(reset) == ResetReason.PROHIBITED


def test_packets_that_tcp_would_refuse_change_nothing() -> None:
    """RFC 8684 §3: options count only on segments that pass TCP's own checks.

    What acknowledges something else is refused, so that an old connection on these ports comes to its end
    (RFC 9293 §3.10.7.3, §3.10.7.4).
    """
    a, b = initiator(), responder()
    (answer,) = b.take(start(a))
    stray = replace(parsed(answer), ack=1)
    (reset,) = a.joins.handle_packet(NETWORK, stray, 0)
    assert (parsed(reset).seq, parsed(reset).flags) == (1, TcpFlag.RST)
    assert a.joins.handle_packet(NETWORK, replace(stray, flags=int(TcpFlag.RST | TcpFlag.ACK)), 0) == []
    assert a.joins.counts[Counter.JOIN_BAD_NUMBERS] == 2
    (ready,) = a.take(answer)
    assert isinstance(ready, SubflowReady)
    assert ready.hmac is not None
    good = third_ack(ready, MpJoinAck(ready.hmac))
    for bad in (replace(good, seq=1), replace(good, flags=int(TcpFlag.RST), seq=1)):
        assert b.joins.handle_packet(NETWORK, bad, 0) == []
    (reset,) = b.joins.handle_packet(NETWORK, replace(good, ack=1), 0)
    assert (parsed(reset).seq, parsed(reset).flags) == (1, TcpFlag.RST)
    assert b.joins.counts[Counter.JOIN_BAD_NUMBERS] == 3
    assert isinstance(b.joins.handle_packet(NETWORK, good, 0)[0], SubflowReady)


@pytest.mark.parametrize("transient", [False, True])
def test_reset_of_the_peer_fails_the_join(transient: bool) -> None:
    """RFC 8684 §3.6: flag T tells whether another attempt makes sense."""
    a = initiator()
    syn = parsed(start(a))
    reset = Segment(
        4,
        syn.dst,
        syn.src,
        syn.dst_port,
        syn.src_port,
        0,
        (syn.seq + 1) & 0xFFFFFFFF,
        int(TcpFlag.RST | TcpFlag.ACK),
        0,
        (MpTcpRst(ResetReason.LACK_OF_RESOURCES, int(transient)),),
    )
    assert a.joins.handle_packet(NETWORK, replace(reset, ack=7), 0) == []
    (failed,) = a.joins.handle_packet(NETWORK, reset, 0)
    assert isinstance(failed, JoinFailed)
    assert failed.transient is transient


def drain(joins: Joins) -> tuple[list[int], list[JoinEffect]]:
    """Fire timers until none is left; return their times and all effects."""
    times: list[int] = []
    effects: list[JoinEffect] = []
    while (when := joins.poll_timeout()) is not None:
        assert joins.poll_timeout() == when
        times.append(when)
        effects.extend(joins.handle_timeout(when))
        following = joins.poll_timeout()
        assert following is None or following > when
    return times, effects


def test_unanswered_syn_is_repeated_and_given_up() -> None:
    """RFC 6298 §2, §5: one second, doubled; timestamps go on (RFC 7323 §5.4, §7.1)."""
    a = initiator()
    syn = parsed(start(a))
    times, effects = drain(a.joins)
    assert times == [second * SECOND_NS for second in (1, 3, 7, 15)]
    assert len(effects) == RETRANSMISSIONS + 1
    assert [parsed(effect).seq for effect in effects[:-1]] == [syn.seq] * RETRANSMISSIONS
    stamps = [parsed(effect).find(Timestamps) for effect in (effects[0], effects[2])]
    assert stamps[0] is not None
    assert stamps[1] is not None
    assert (stamps[1].value - stamps[0].value) & 0xFFFFFFFF == 6000
    assert effects[-1] == JoinFailed(keys.token(KEY_A), ACTION, "no answer", unanswered=True)


def test_unanswered_syn_ack_is_repeated_and_forgotten() -> None:
    b = responder()
    b.take(start(initiator()))
    times, effects = drain(b.joins)
    assert len(times) == RETRANSMISSIONS + 1
    assert all(parsed(effect).find(MpJoinSynAck) is not None for effect in effects)
    assert len(effects) == RETRANSMISSIONS
    assert len(b.joins) == 0


def test_joins_under_way_are_bounded() -> None:
    """RFC 8684 §5: a limit for each connection and for all."""
    a = Side(context(KEY_A, KEY_B), limits=LimitsConfig(max_joins_per_connection=2))
    start(a)
    start(a)
    with pytest.raises(CapacityError):
        start(a)
    b = responder(limits=LimitsConfig(max_joins_per_connection=9, max_half_open=1))
    syn = parsed(start(initiator()))
    assert parsed(b.joins.handle_packet(NETWORK, syn, 0)[0]).find(MpJoinSynAck) is not None
    (reset,) = b.joins.handle_packet(NETWORK, replace(syn, src_port=9), 0)
    assert reset_reason(reset) == ResetReason.PROHIBITED


def test_taken_ports_are_not_drawn() -> None:
    side = initiator()
    action = replace(ACTION, local_port=700)
    assert parsed(start(side, action=action)).src_port == 700
    with pytest.raises(CapacityError):
        start(side, action=action)


def test_joins_of_a_closed_connection_are_forgotten() -> None:
    a = initiator()
    start(a)
    a.joins.forget_connection(keys.token(KEY_A))
    assert len(a.joins) == 0
    assert a.joins.pending(keys.token(KEY_A)) == 0
    assert a.joins.poll_timeout() is None


def test_host_has_no_say_in_a_joined_subflow() -> None:
    a = initiator()
    syn = parsed(start(a))
    reset = replace(syn, flags=int(TcpFlag.RST))
    assert a.joins.claims(Direction.FROM_HOST, reset)
    assert a.joins.handle_packet(Direction.FROM_HOST, reset, 0) == []
    assert len(a.joins) == 1


@given(st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), st.integers(0, 50))), max_size=60))
def test_deadlines_agree_with_a_dictionary(steps: list[tuple[int, int | None]]) -> None:
    found: Deadlines[int] = Deadlines()
    model: dict[int, int] = {}
    for key, when in steps:
        if when is None:
            found.cancel(key)
            model.pop(key, None)
        else:
            found.arm(key, when)
            model[key] = when
        assert found.first() == min(model.values(), default=None)
    expired = list(found.expired(25))
    assert sorted(expired) == sorted(key for key, when in model.items() if when <= 25)
    assert [model[key] for key in expired] == sorted(model[key] for key in expired)
    assert found.first() == min((when for when in model.values() if when > 25), default=None)


@pytest.mark.parametrize("end", [None, context(KEY_A, KEY_B, accepts=False)], ids=["gone", "closing"])
def test_a_join_ends_with_its_connection(end: JoinContext | None) -> None:
    """RFC 8684 §3.3.3: what is closed takes no subflows, so the SYN is not repeated."""
    a = initiator()
    start(a)
    a.context = end
    due = a.joins.poll_timeout()
    assert due is not None
    (failed,) = a.joins.handle_timeout(due)
    assert isinstance(failed, JoinFailed)
    assert len(a.joins) == 0
    assert a.joins.poll_timeout() is None


def test_an_unreachable_peer_ends_a_join_that_has_no_answer() -> None:
    """RFC 1122 §4.2.3.9, for the SYN that was sent and no other (RFC 5927 §4.1)."""
    a = initiator()
    syn = parsed(start(a))
    key = (4, syn.src, syn.src_port, syn.dst, syn.dst_port)
    assert a.joins.handle_unreachable(key, syn.seq + 1) == []
    assert a.joins.handle_unreachable((4, syn.src, 1, syn.dst, syn.dst_port), syn.seq) == []
    (failed,) = a.joins.handle_unreachable(key, syn.seq)
    assert isinstance(failed, JoinFailed)
    assert failed.transient
    assert len(a.joins) == 0


def test_an_unreachable_peer_keeps_its_own_join() -> None:
    b = responder()
    (answer,) = b.take(start(initiator()))
    segment = parsed(answer)
    key = (4, segment.src, segment.src_port, segment.dst, segment.dst_port)
    assert b.joins.handle_unreachable(key, segment.seq) == []
    assert len(b.joins) == 1
