"""REAP in each state, given each input: what it sends, its timers and the next state are the table's."""

from collections.abc import Callable

import pytest

from mpcore.shim6.policy import Cause
from mpcore.shim6.reap_states import ReapAction, ReapInput, ReapState, step
from mpcore.shim6.shared import TimerKind
from mpcore.wire.shim6 import Keepalive, Preference, ReachabilityState
from tests.shim6.test_reap import established, explore, hear_payload, probe_to, say
from tests.shim6.world import A1, Lone

E, A = ReapInput, ReapAction
PROBING = {A.EXPLORE, A.PROBE, A.REPORT, A.ANSWER}


def lone_in(state: ReapState) -> Lone:
    """Bring the context (A1, B1) into a state of REAP by what leads there."""
    lone = established()
    if state is ReapState.EXPLORING:
        explore(lone)
    elif state is ReapState.INBOUND_OK:
        probe_to(lone, ReachabilityState.EXPLORING)
    lone.drain()
    assert lone.context().reap.state is state
    return lone


def expire(lone: Lone, kind: TimerKind) -> None:
    lone.manager._reap.handle_timeout(kind, lone.context().number, lone.now_ns)


def like_another(lone: Lone) -> None:
    """A search for a better pair goes on, and the peer repeats an InboundOk that knows nothing of it."""
    if lone.context().reap.state is ReapState.OPERATIONAL:
        lone.manager.prefer_local_address(A1, Preference(priority=20), lone.now_ns)
        lone.drain()
    probe_to(lone, ReachabilityState.INBOUND_OK)


INPUTS: dict[ReapInput, Callable[[Lone], object]] = {
    E.PAYLOAD_IN: hear_payload,
    E.PAYLOAD_OUT: say,
    E.KEEPALIVE_TIMEOUT: lambda lone: expire(lone, TimerKind.KEEPALIVE),
    E.SEND_TIMEOUT: lambda lone: expire(lone, TimerKind.SEND),
    E.RETRANSMIT: lambda lone: lone.manager._reap._retransmit(lone.context(), lone.now_ns),
    E.KEEPALIVE: lambda lone: lone.hear(Keepalive(lone.context().tag_local)),
    E.PROBE_EXPLORING: lambda lone: probe_to(lone, ReachabilityState.EXPLORING, nonce=8),
    E.PROBE_INBOUND_OK: lambda lone: probe_to(lone, ReachabilityState.INBOUND_OK, nonce=8),
    E.PROBE_OPERATIONAL: lambda lone: probe_to(lone, ReachabilityState.OPERATIONAL, nonce=8),
    E.LIKING: lambda lone: lone.manager._reap.suspect(lone.context(), Cause.PREFERENCE, lone.now_ns),
    E.SUSPICION: lambda lone: lone.manager._reap.suspect(lone.context(), Cause.LOCAL_FAILURE, lone.now_ns),
}


def armed(lone: Lone, kind: TimerKind) -> bool:
    return lone.manager._shared.deadlines.armed((kind, lone.context().number))


@pytest.mark.parametrize("state", ReapState)
@pytest.mark.parametrize("event", INPUTS)
def test_reap_follows_the_table(state: ReapState, event: ReapInput) -> None:
    """RFC 5534 §6.1 to §6.9."""
    lone = lone_in(state)
    before = len(lone.sent)
    INPUTS[event](lone)
    lone.drain()
    sent = {type(message).__name__ for _, _, message in lone.sent[before:]}
    actions, following = step(state, event)
    assert lone.context().reap.state is following
    assert ("Probe" in sent) == bool(PROBING & set(actions))
    assert ("Keepalive" in sent) == (A.SEND_KEEPALIVE in actions)
    for kind, starts, stops in (
        (TimerKind.SEND, {A.START_SEND, A.RESTART_SEND}, A.STOP_SEND),
        (TimerKind.KEEPALIVE, {A.START_KEEPALIVE}, A.STOP_KEEPALIVE),
    ):
        if starts & set(actions):
            assert armed(lone, kind)
        elif stops in actions:
            assert not armed(lone, kind)


def test_an_old_inbound_ok_does_not_end_the_search_for_a_better_pair() -> None:
    """The input that no message alone makes: PROBE_WHILE_LIKING, in the state that the search is in."""
    lone = lone_in(ReapState.OPERATIONAL)
    like_another(lone)
    _, following = step(ReapState.INBOUND_OK, E.PROBE_WHILE_LIKING)
    assert lone.context().reap.state is following is ReapState.INBOUND_OK
    assert set(INPUTS) | {E.PROBE_WHILE_LIKING} == set(E)
