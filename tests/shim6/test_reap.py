"""Failure detection and exploration (RFC 5534), by examples of its Appendix A and with forged messages."""

from itertools import pairwise

import pytest

from mpcore.shim6.context import Context
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.events import ExplorationFinished, ExplorationStarted, PathChanged, PayloadResumed
from mpcore.shim6.locators import Pair
from mpcore.shim6.reap_states import ReapState
from mpcore.shim6.settings import SECOND, Shim6Settings
from mpcore.wire.shim6 import (
    R1,
    R2,
    ErrorCode,
    ErrorMessage,
    Keepalive,
    LocatorPreferences,
    Message,
    Preference,
    PreferenceFlag,
    Probe,
    ProbeEntry,
    R1bis,
    ReachabilityState,
    ResponderValidator,
    UpdateRequest,
    emit_message,
)
from tests.shim6.world import A1, A2, B1, B2, C1, Lone, Pairing, address, peer_options

TAG = 0xB0B
ULIDS = Pair(A1, B1)
EXPLORING, INBOUND_OK, OPERATIONAL = (
    ReachabilityState.EXPLORING, ReachabilityState.INBOUND_OK, ReachabilityState.OPERATIONAL,
)  # fmt: skip
SETTINGS = Shim6Settings(quiescence_ns=10**18)


def established(settings: Shim6Settings = SETTINGS, contexts: int = 1) -> Lone:
    """A core with contexts (A1, B1) of FII 0, 1, ... whose R2 came just now."""
    lone = Lone(settings)
    for fii in range(contexts):
        lone.manager.establish(A1, B1, lone.now_ns, fii)
        context = lone.manager.find(A1, B1, fii)
        assert context is not None
        nonce = context.handshake.initiator_nonce
        lone.hear(R1(nonce, 1, (ResponderValidator(b"v"),)))
        lone.hear(R2(TAG + fii, nonce, peer_options()))
    lone.wait(20)  # the Keepalives after R2
    lone.sent.clear()
    return lone


def say(lone: Lone, fii: int = 0) -> None:
    context = lone.manager.find(A1, B1, fii)
    assert context is not None
    lone.manager.note_activity(context.number, lone.now_ns, None, lone.now_ns)


def hear_payload(lone: Lone) -> list[Message]:
    lone.manager.note_activity(lone.context().number, None, lone.now_ns, lone.now_ns)
    return lone.drain()


def probes(messages: list[Message]) -> list[Probe]:
    return [one for one in messages if isinstance(one, Probe)]


def pair_of(probe: Probe) -> Pair:
    return Pair(probe.sent[0].source, probe.sent[0].destination)


def probe_to(
    lone: Lone, state: ReachabilityState, *received: ProbeEntry, pair: Pair = ULIDS, nonce: int = 1
) -> list[Message]:
    entry = ProbeEntry(pair.peer, pair.local, nonce)
    message = Probe(lone.context().tag_local, state, (entry,), received)
    return lone.hear(message, pair.peer, pair.local)


def explore(lone: Lone) -> Probe:
    """Let the Send timer run out; returns the first probe."""
    say(lone)
    while not (found := probes(lone.drain())):
        due_ns = lone.manager.poll_timeout()
        assert due_ns is not None
        found = probes(lone.wait_until(due_ns))
        if found:
            break
    return found[0]


# Failure detection.


def test_an_idle_context_sends_nothing() -> None:
    """RFC 5534 App. A, example 1."""
    assert established().wait(1000) == []


def test_a_conversation_both_ways_needs_no_keepalive() -> None:
    """RFC 5534 App. A, example 2, and §9: two Keepalives when it falls silent."""
    pairing = Pairing()
    pairing.establish()
    pairing.cloud.run(20)
    pairing.messages.clear()
    pairing.converse(every_s=1)
    pairing.cloud.run(100)
    assert pairing.messages == []
    pairing.silence()
    pairing.cloud.run(100)
    assert pairing.kinds == ["Keepalive", "Keepalive"]


def test_one_way_traffic_is_answered_by_keepalives_and_by_nothing_else() -> None:
    """RFC 5534 App. A, example 3; §4.1: every half to third of the timeout."""
    pairing = Pairing()
    pairing.establish()
    pairing.cloud.run(20)
    pairing.messages.clear()
    pairing.converse(every_s=0.5, answers=False)
    pairing.cloud.run(300)
    assert set(pairing.kinds) == {"Keepalive"}
    times = [time for time, *_ in pairing.messages]
    assert all(5 * SECOND <= later - earlier <= 8.5 * SECOND for earlier, later in pairwise(times))
    assert {source for _, source, *_ in pairing.messages} == {B1}


def test_the_keepalive_timeout_is_the_peers_send_timeout() -> None:
    """RFC 5534 §5.3, §7: option 10 governs the other side."""
    pairing = Pairing(settings_a=Shim6Settings(send_timeout_ns=40 * SECOND))
    pairing.establish()
    pairing.cloud.run(60)
    pairing.messages.clear()
    pairing.converse(every_s=0.5, answers=False)
    pairing.cloud.run(300)
    times = [time for time, *_ in pairing.messages]
    assert set(pairing.kinds) == {"Keepalive"}
    assert all(13 * SECOND <= later - earlier <= 21 * SECOND for earlier, later in pairwise(times))


def test_payload_without_answer_starts_an_exploration() -> None:
    """RFC 5534 §4.1: Send Timeout after the first packet that was not answered, at most a tenth later."""
    lone = established()
    begin_ns = lone.now_ns
    say(lone)
    assert lone.wait(14) == []
    say(lone)  # later packets do not put it off
    while not (found := probes(lone.drain())):
        due_ns = lone.manager.poll_timeout()
        assert due_ns is not None
        lone.now_ns = due_ns
        lone.manager.handle_timeout(due_ns)
    assert 15 * SECOND <= lone.now_ns - begin_ns <= 16.5 * SECOND
    assert found[0].state == EXPLORING
    assert lone.context().reap.state is ReapState.EXPLORING


@pytest.mark.parametrize("answer", ["payload", "keepalive"])
def test_an_answer_stops_the_send_timer(answer: str) -> None:
    """RFC 5534 §6.1, §6.6."""
    lone = established()
    say(lone)
    lone.wait(10)
    if answer == "payload":
        hear_payload(lone)
    else:
        lone.hear(Keepalive(lone.context().tag_local))
    assert probes(lone.wait(60)) == []


def test_a_node_that_only_listens_detects_nothing() -> None:
    """RFC 5534 §4.1: the Send timer starts with outgoing payload."""
    lone = established()
    hear_payload(lone)
    assert probes(lone.wait(1000)) == []


def test_reap_needs_an_established_context() -> None:
    """RFC 5534 §4.2, §5.1."""
    lone = Lone()
    lone.manager.establish(A1, B1, 0)
    lone.drain()
    tag = lone.context().tag_local
    assert lone.hear(Keepalive(tag)) == []
    assert lone.hear(Probe(tag, EXPLORING, (ProbeEntry(B1, A1, 1),))) == []
    assert lone.count(Shim6Counter.UNEXPECTED) == 2


# Exploration: order and pace.


def test_all_pairs_are_probed_distinct_first_failed_last_at_the_pace_of_the_rfc() -> None:
    """RFC 5534 §4.3, §7: gaps 0.5, 0.5, 0.5, then 1, 2, 4, ..., 60 s, ± 20 %; the order repeats."""
    lone = established()
    say(lone)
    times, pairs = [], []
    while len(times) < 14:
        due_ns = lone.manager.poll_timeout()
        assert due_ns is not None
        for probe in probes(lone.wait_until(due_ns)):
            times.append(due_ns)
            pairs.append(pair_of(probe))
            assert probe.state == EXPLORING
    assert pairs[0] == (A2, B2)
    assert set(pairs[1:3]) == {(A1, B2), (A2, B1)}
    assert pairs[3] == (A1, B1)
    assert pairs[4] == (A2, B2)
    nominal = [0.5, 0.5, 0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    for (earlier, later), gap in zip(pairwise(times), nominal, strict=True):
        assert 0.79 <= (later - earlier) / SECOND / gap <= 1.21


def test_back_off_begins_anew_with_each_exploration() -> None:
    """RFC 5534 §4.3: it counts the probes of this search, not those ever listed."""
    lone = established()
    for _ in range(2):
        first = explore(lone)
        assert len(probes(lone.wait(4))) >= 3
        probe_to(lone, INBOUND_OK, first.sent[0])
        assert lone.context().reap.state is ReapState.OPERATIONAL
        hear_payload(lone)
        lone.wait(60)
    say(lone)
    assert len(probes(lone.wait(18))) >= 3


def test_probes_list_themselves_first_and_what_is_not_reported_yet() -> None:
    """RFC 5534 §5.2, §6.1; at most 15."""
    lone = established()
    first = explore(lone)
    listed = [first, *probes(lone.wait(1000))]
    assert len(listed) > 16
    for number, probe in enumerate(listed):
        assert len(probe.sent) == min(number + 1, 15)
        assert probe.sent[1:] == tuple(one.sent[0] for one in reversed(listed[max(0, number - 14) : number]))
    nonces = {probe.sent[0].nonce for probe in listed}
    assert len(nonces) == len(listed)


def test_a_burst_probes_several_pairs_at_once_when_it_is_asked_for() -> None:
    """A departure from RFC 5534 §4.3, off by default."""
    lone = established(Shim6Settings(probe_burst=4, quiescence_ns=10**18))
    say(lone)
    due = [probes(lone.wait_until(lone.now_ns + SECOND // 10)) for _ in range(180)]
    assert next(len(some) for some in due if some) == 4
    burst = next(some for some in due if some)
    assert len({pair_of(probe) for probe in burst}) == 4
    # The way back of the lowest delay decides: the first answer is taken.
    probe_to(lone, INBOUND_OK, burst[2].sent[0])
    assert lone.context().pair == pair_of(burst[2])


def test_the_lowest_delay_is_chosen_of_several_reports() -> None:
    lone = established()
    first = explore(lone)
    (second,) = probes(lone.wait(0.62))
    lone.wait(0.05)
    probe_to(lone, INBOUND_OK, first.sent[0], second.sent[0])
    assert lone.context().pair == pair_of(second)


def test_the_current_pair_is_kept_when_it_is_reported() -> None:
    """RFC 5534 App. A, example 5: B stays on (B1, A1)."""
    lone = established()
    seen = [explore(lone), *probes(lone.wait(2))]
    current = next(probe for probe in seen if pair_of(probe) == (A1, B1))
    probe_to(lone, INBOUND_OK, *(probe.sent[0] for probe in seen))
    assert pair_of(current) == lone.context().pair == (A1, B1)


# Who says what, in the examples.


def test_a_failure_of_both_directions_is_explored_around() -> None:
    """RFC 5534 App. A, example 4."""
    pairing = Pairing()
    pairing.establish()
    pairing.converse()
    pairing.cloud.run(5)
    pairing.messages.clear()
    pairing.cloud.kill(B1)
    assert pairing.recovers(17.5)
    states = [message.state for *_, message in pairing.messages if isinstance(message, Probe)]
    assert states == [EXPLORING, INBOUND_OK, OPERATIONAL]
    for node, pair in ((pairing.a, (A2, B2)), (pairing.b, (B2, A2))):
        context = pairing.context(node)
        assert context is not None
        assert context.pair == pair
        assert len(node.happened(PathChanged)) == 1
        assert len(node.happened(ExplorationStarted)) == len(node.happened(ExplorationFinished)) == 1


@pytest.mark.parametrize("direction", [(A1, B1), (B1, A1)])
def test_a_failure_of_one_direction_moves_that_direction_only(direction: tuple[bytes, bytes]) -> None:
    """RFC 5534 App. A, example 5: unidirectional pairs are legal, pairs are never mirrored."""
    pairing = Pairing()
    pairing.establish()
    pairing.converse()
    pairing.cloud.run(5)
    pairing.cloud.cut(*direction)
    assert pairing.recovers(20)
    pairing.cloud.run(5)
    for node in (pairing.a, pairing.b):
        context = pairing.context(node)
        assert context is not None
        assert (context.pair.local, context.pair.peer) != direction
        assert context.reap.state is ReapState.OPERATIONAL


@pytest.mark.parametrize("working", [((A2, B2), (B1, A2)), ((A1, B2), (B2, A2)), ((A2, B1), (B2, A1))])
def test_any_pair_for_each_direction_is_enough(working: tuple[tuple[bytes, bytes], ...]) -> None:
    """RFC 5534 §4.2: recovery with unidirectional pairs only."""
    pairing = Pairing()
    pairing.establish()
    pairing.converse()
    pairing.cloud.run(5)
    for one in (A1, A2):
        for other in (B1, B2):
            for ends in ((one, other), (other, one)):
                if ends not in working:
                    pairing.cloud.cut(*ends)
    assert pairing.recovers(60)
    pairing.cloud.run(10)
    a, b = pairing.context(pairing.a), pairing.context(pairing.b)
    assert a is not None
    assert b is not None
    assert (a.pair, b.pair) == working


def test_the_pair_is_taken_from_an_operational_probe_too() -> None:
    """RFC 5534 §6.9 says nothing of it; App. A needs it: A moves to (A, B2) after state=operational."""
    lone = established()
    sent = probe_to(lone, EXPLORING, pair=Pair(A2, B2))
    (answer,) = probes(sent)
    assert answer.state == INBOUND_OK
    assert pair_of(answer) == (A2, B2)
    assert [(one.source, one.destination) for one in answer.received] == [(B2, A2)]
    assert lone.context().pair == (A1, B1)  # payload stays where it is until the pair is confirmed (§6.9)
    probe_to(lone, OPERATIONAL, answer.sent[0], pair=Pair(A2, B2), nonce=2)
    assert lone.context().pair == (A2, B2)
    assert lone.context().reap.state is ReapState.OPERATIONAL


def test_a_lost_operational_probe_is_answered_for_again_with_the_reports() -> None:
    """RFC 5534 §5.2, §6.8: it is never repeated by itself; the other side repeats InboundOk."""
    lone = established()
    first = explore(lone)
    for nonce in range(5, 9):
        (answer,) = probes(probe_to(lone, INBOUND_OK, first.sent[0], pair=Pair(A2, B2), nonce=nonce))
        assert answer.state == OPERATIONAL
        assert {one.nonce for one in answer.received} >= {nonce}
        assert pair_of(answer) == pair_of(first)
        lone.wait(2)


def test_inbound_ok_repeats_until_it_is_answered() -> None:
    """RFC 5534 §6.5: like Exploring, and the Send timer leads back to it."""
    lone = established()
    probe_to(lone, EXPLORING)
    repeated = probes(lone.wait(10))
    assert {probe.state for probe in repeated} == {INBOUND_OK}
    assert {pair_of(probe) for probe in repeated} == {(A1, B1), (A1, B2), (A2, B1), (A2, B2)}
    assert EXPLORING in {probe.state for probe in probes(lone.wait(20))}


def test_reports_of_an_earlier_exploration_are_forgotten() -> None:
    """RFC 5534 §5.2: since the last transition; also for a node that never was Exploring."""
    lone = established()
    (answer,) = probes(probe_to(lone, EXPLORING, nonce=1))
    probe_to(lone, OPERATIONAL, answer.sent[0], nonce=2)
    assert lone.context().reap.state is ReapState.OPERATIONAL
    (answer,) = probes(probe_to(lone, EXPLORING, nonce=3))
    assert [one.nonce for one in answer.received] == [3]
    assert len(answer.sent) == 1


def test_payload_while_exploring_is_told() -> None:
    """RFC 5534 §6.1, §6.6."""
    for event in ("payload", "keepalive"):
        lone = established()
        explore(lone)
        sent = hear_payload(lone) if event == "payload" else lone.hear(Keepalive(lone.context().tag_local))
        (probe,) = probes(sent)
        assert probe.state == INBOUND_OK
        assert lone.context().reap.state is ReapState.INBOUND_OK


def test_inbound_ok_without_report_leaves_the_pair() -> None:
    """RFC 5534 §6.8."""
    lone = established()
    explore(lone)
    probe_to(lone, INBOUND_OK)
    assert lone.context().pair == (A1, B1)
    assert lone.context().reap.state is ReapState.OPERATIONAL


# What is not believed.


def test_reports_count_only_for_probes_of_ours() -> None:
    """RFC 5533 §7.2, RFC 5534 §8: the nonce shows that the peer is there."""
    lone = established()
    first = explore(lone).sent[0]
    forged = (
        ProbeEntry(A2, B2, first.nonce ^ 1),
        ProbeEntry(A2, B1, first.nonce),
        ProbeEntry(A2, C1, first.nonce),
    )
    probe_to(lone, INBOUND_OK, *forged)
    assert lone.context().pair == (A1, B1)
    assert lone.count(Shim6Counter.FORGED_REPORT) == 3


def test_a_report_from_before_does_not_move_traffic() -> None:
    lone = established()
    old = explore(lone).sent[0]
    (second,) = probes(lone.wait(0.61))
    probe_to(lone, INBOUND_OK, second.sent[0])
    moved = lone.context().pair
    hear_payload(lone)
    lone.wait(100)
    explore(lone)
    probe_to(lone, INBOUND_OK, old)
    assert lone.context().pair == moved
    assert lone.count(Shim6Counter.FORGED_REPORT) == 1


def test_what_the_header_says_is_reported_not_what_the_probe_claims() -> None:
    """RFC 5534 §5.2: addresses changed on the way make no pair that exists."""
    lone = established()
    entry = ProbeEntry(B2, A2, 9, 0xDA7A)
    (answer,) = probes(lone.hear(Probe(lone.context().tag_local, EXPLORING, (entry,)), B1, A1))
    assert answer.received == (ProbeEntry(B1, A1, 9, 0xDA7A),)
    assert lone.count(Shim6Counter.PROBE_ADDRESSES) == 1


def test_probes_between_strange_addresses_get_r1bis() -> None:
    """RFC 5533 §12.4."""
    lone = established()
    probe = Probe(lone.context().tag_local, EXPLORING, (ProbeEntry(C1, A1, 9),))
    (answer,) = lone.hear(probe, C1, A1)
    assert isinstance(answer, R1bis)
    assert lone.context().reap.state is ReapState.OPERATIONAL


def test_answers_to_probes_are_limited_per_context() -> None:
    """RFC 5534 §8: probes shall not be an amplifier."""
    lone = established(Shim6Settings(answers_per_second=5, quiescence_ns=10**18))
    sent = [probe_to(lone, EXPLORING, nonce=nonce) for nonce in range(100)]
    assert sum(len(probes(one)) for one in sent) == 5


def test_a_locator_taken_back_is_not_moved_to() -> None:
    lone = established()
    first = explore(lone)
    lone.manager.set_local_address(A2, False, lone.now_ns)
    lone.drain()
    probe_to(lone, INBOUND_OK, first.sent[0])
    assert lone.context().pair == (A1, B1)


def test_a_locator_that_the_peer_calls_broken_is_not_moved_to() -> None:
    """RFC 5533 §5.15.3, §10.4."""
    lone = established()
    first = explore(lone)
    broken = LocatorPreferences(7, (Preference(), Preference(PreferenceFlag.BROKEN)))
    lone.hear(UpdateRequest(lone.context().tag_local, 4, (broken,)))
    probe_to(lone, INBOUND_OK, first.sent[0])
    assert lone.context().pair == (A1, B1)


# One exploration for all.


def test_one_context_explores_for_all_with_the_same_locators() -> None:
    """RFC 5534 §9 counts a probe a second per context; here it is one for the peer."""
    lone = established(contexts=30)
    for fii in range(30):
        say(lone, fii)
    lone.wait(20)
    found = probes([message for *_, message in lone.sent])
    assert len({probe.receiver_tag for probe in found[:4]}) == 1
    assert len(found) < 10
    assert lone.count(Shim6Counter.EXPLORATION) == 1
    assert lone.count(Shim6Counter.EXPLORATION_SHARED) == 29
    newest = found[-1]
    prober = next(one for one in lone.manager.contexts() if one.tag_peer == newest.receiver_tag)
    answer = Probe(prober.tag_local, INBOUND_OK, (ProbeEntry(B2, A2, 1),), (newest.sent[0],))
    lone.hear(answer, B2, A2)
    for context in lone.manager.contexts():
        assert context.pair == pair_of(newest)
        assert context.reap.state is ReapState.OPERATIONAL
        assert context.installed is not None
        assert context.installed.locator_peer == context.pair.peer


def _leader(lone: Lone) -> Context:
    (group,) = lone.manager._reap.explorer.groups()
    assert group.exploration is not None
    return group.exploration.leader


def test_the_lead_goes_round_when_all_pairs_were_tried_in_vain() -> None:
    lone = established(contexts=3)
    for fii in range(3):
        say(lone, fii)
    lone.wait(60)
    found = probes([message for *_, message in lone.sent])
    assert {probe.receiver_tag for probe in found} == {TAG, TAG + 1, TAG + 2}


def test_another_one_leads_when_the_leader_goes() -> None:
    lone = established(contexts=2)
    for fii in range(2):
        say(lone, fii)
    lone.wait(17)
    leader = _leader(lone)
    lone.manager.discard(*leader.key)
    lone.sent.clear()
    lone.wait(10)
    other = lone.manager.contexts()[0]
    assert {probe.receiver_tag for probe in probes([message for *_, message in lone.sent])} == {
        other.tag_peer
    }
    lone.manager.discard(*other.key)
    assert lone.manager.poll_timeout() is None


def test_an_idle_context_follows_but_one_that_was_answered_stays() -> None:
    """What one context learnt serves those on the same dead pair, but no evidence is overruled."""
    lone = established(contexts=3)
    say(lone, 0)
    lone.wait(17)
    answered = lone.manager.find(A1, B1, 2)
    idle = lone.manager.find(A1, B1, 1)
    assert answered is not None
    assert idle is not None
    lone.manager.note_activity(answered.number, None, lone.now_ns, lone.now_ns)
    found = probes([message for *_, message in lone.sent])
    probe_to(lone, INBOUND_OK, found[0].sent[0])
    assert idle.pair == (A2, B2)
    assert answered.pair == (A1, B1)


def test_the_host_sends_no_more_probes_a_second_than_allowed() -> None:
    """Explorations of many peers wait for their turn, and so do answers; neither starves the other."""
    lone = Lone(Shim6Settings(probes_per_second=10, answers_per_second=100, quiescence_ns=10**18))
    lone.manager.establish(A1, B1, 0)
    nonce = lone.context().handshake.initiator_nonce
    lone.hear(R1(nonce, 1, (ResponderValidator(b"v"),)))
    lone.hear(R2(TAG, nonce, peer_options()))
    for number in range(40):
        peer = address(0x100 + number, 1)
        lone.manager.establish(A1, peer, 0)
        context = lone.manager.find(A1, peer)
        assert context is not None
        nonce = context.handshake.initiator_nonce
        lone.hear(R1(nonce, 1, (ResponderValidator(b"v"),)), peer)
        lone.hear(R2(number, nonce, peer_options(3, "peer", (peer,))), peer)
    lone.manager.suspect_local_address(A1, 0)
    times = [0] * len(probes(lone.drain()))
    answers = 0
    for _ in range(200):
        due_ns = lone.manager.poll_timeout()
        assert due_ns is not None
        times += [due_ns] * len(probes(lone.wait_until(due_ns)))
        answers += len(probes(probe_to(lone, EXPLORING, nonce=len(times))))
    every = [time for time in times if time <= 3 * SECOND]
    assert len(every) <= 40
    assert lone.count(Shim6Counter.PROBE_DELAYED) > 0
    for start in every:
        assert sum(start <= time < start + SECOND for time in every) <= 10


def test_no_rule_is_broken_by_an_error_code_nobody_knows() -> None:
    lone = established()
    data = emit_message(Keepalive(TAG))
    quoted = bytes([0x60, 0, 0, 0, 0, len(data), 140, 64]) + A1 + B1 + data
    assert lone.hear(ErrorMessage(127, 1, quoted)) == []
    assert lone.hear(ErrorMessage(ErrorCode.UNKNOWN_MESSAGE, 42, quoted)) == []


# The operator's wish.


def test_an_exploration_on_demand_leaves_a_pair_that_works() -> None:
    pairing = Pairing()
    pairing.establish()
    pairing.converse()
    pairing.cloud.run(5)
    assert pairing.a.manager.explore(A1, B1, pairing.cloud.clock.now_ns)
    pairing.a.drain()
    assert pairing.recovers(2)
    context = pairing.context(pairing.a)
    assert context is not None
    assert context.pair == (A2, B2)
    (started,) = pairing.a.happened(ExplorationStarted)
    assert isinstance(started, ExplorationStarted)
    assert started.cause == "demand"


def test_a_check_on_demand_keeps_a_pair_that_works() -> None:
    pairing = Pairing()
    pairing.establish()
    pairing.cloud.run(5)
    assert pairing.a.manager.explore(A1, B1, pairing.cloud.clock.now_ns, leave=False)
    pairing.a.drain()
    pairing.cloud.run(2)
    context = pairing.context(pairing.a)
    assert context is not None
    assert context.pair == (A1, B1)
    assert len(pairing.a.happened(ExplorationFinished)) == 1


def test_there_is_nothing_to_explore_without_an_established_context() -> None:
    lone = Lone()
    assert not lone.manager.explore(A1, B1, 0)
    lone.manager.establish(A1, B1, 0)
    assert not lone.manager.explore(A1, B1, 0)


def test_the_silence_of_a_failure_is_told_when_payload_comes_again() -> None:
    """What a program waited: from the last packet before to the first one after."""
    pairing = Pairing(settings_a=Shim6Settings(send_timeout_ns=3 * SECOND))
    pairing.establish()
    pairing.converse()
    pairing.cloud.run(5)
    pairing.cloud.kill(B1)
    assert pairing.recovers(20)
    last, first = _around_the_gap([time for time, _ in pairing.a.received])
    (resumed,) = pairing.a.happened(PayloadResumed)
    assert isinstance(resumed, PayloadResumed)
    assert (resumed.ulid_local, resumed.ulid_peer, resumed.stall_ns) == (A1, B1, first - last)


def _around_the_gap(times: list[int]) -> tuple[int, int]:
    return max(pairwise(times), key=lambda pair: pair[1] - pair[0])
