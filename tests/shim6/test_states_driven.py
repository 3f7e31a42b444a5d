"""The core itself in each state, given each message: it sends and becomes what the table says."""

from collections.abc import Callable

import pytest

from mpcore.shim6.settings import Shim6Settings
from mpcore.shim6.shared import TimerKind
from mpcore.shim6.states import ContextAction, ContextInput, ContextState, step
from mpcore.wire.shim6 import (
    I1,
    I2,
    R1,
    R2,
    I2bis,
    Keepalive,
    Message,
    Probe,
    ProbeEntry,
    R1bis,
    ReachabilityState,
    ResponderValidator,
    UpdateAck,
    UpdateRequest,
    emit_message,
    find_option,
)
from tests.shim6.world import A1, B1, Lone, peer_options

PEER_TAG, NEW_TAG = 0xB0B, 0xB0C
S, E, A = ContextState, ContextInput, ContextAction


def lone_in(state: ContextState) -> Lone:
    """Bring the context (A1, B1) into a state by the messages that lead there."""
    lone = Lone(Shim6Settings(answers_per_second=1000))
    if state is S.IDLE:
        return lone
    lone.manager.establish(A1, B1, 0)
    (i1,) = lone.drain()
    assert isinstance(i1, I1)
    if state is S.E_FAILED:
        while lone.context().state is not S.E_FAILED:
            lone.wait(10)
    elif state is S.NO_SUPPORT:
        lone.manager.handle_icmp(4, 1, quote(lone, i1), 0)
    elif state is not S.I1_SENT:
        lone.hear(R1(i1.initiator_nonce, 99, (ResponderValidator(b"v"),)))
        if state is not S.I2_SENT:
            lone.hear(R2(PEER_TAG, i1.initiator_nonce, peer_options()))
            if state is S.I2BIS_SENT:
                lone.hear(R1bis(PEER_TAG, 98, (ResponderValidator(b"w"),)))
    lone.drain()
    assert lone.context().state is state
    return lone


def quote(lone: Lone, message: Message) -> bytes:
    data = emit_message(message)
    return bytes([0x60, 0, 0, 0, 0, len(data), 140, 64]) + A1 + B1 + data


def own_tag(lone: Lone) -> int:
    context = lone.manager.find(A1, B1)
    return context.tag_local if context is not None else 0x1234


def own_nonce(lone: Lone) -> int:
    context = lone.manager.find(A1, B1)
    return context.handshake.initiator_nonce if context is not None else 1


def r1_for(lone: Lone, tag: int) -> R1:
    """Get a true R1 for an initiator tag, from a state in which the core gives one."""
    other = lone.hear(I1(tag, 5), source=B1)
    r1 = next((one for one in other if isinstance(one, R1)), None)
    assert r1 is not None
    return r1


def i2_for(lone: Lone) -> I2:
    """Make an I2 whose validator is right, whatever the state: the validator depends on no context."""
    responder = lone.manager._negotiator._responder
    nonce = responder.nonce(lone.now_ns)
    validator = responder.for_r1(nonce, NEW_TAG, (B1, A1), (B1, A1), 0, lone.now_ns)
    return I2(NEW_TAG, 77, nonce, (ResponderValidator(validator), *peer_options()))


def i2bis_for(lone: Lone) -> I2bis:
    r1bis = lone.hear(Keepalive(0x777))
    assert isinstance(r1bis[0], R1bis)
    validator = find_option(r1bis[0], ResponderValidator)
    assert validator is not None
    return I2bis(NEW_TAG, 78, r1bis[0].responder_nonce, 0x777, (validator, *peer_options()))


def probe_for(lone: Lone) -> Probe:
    return Probe(own_tag(lone), ReachabilityState.EXPLORING, (ProbeEntry(B1, A1, 3),))


MESSAGES: dict[ContextInput, Callable[[Lone], Message]] = {
    E.I1: lambda lone: I1(NEW_TAG, 5),
    E.I1_REPEATED: lambda lone: I1(PEER_TAG, 5),
    E.R1: lambda lone: R1(own_nonce(lone), 97, (ResponderValidator(b"v"),)),
    E.I2: i2_for,
    E.R2: lambda lone: R2(PEER_TAG, own_nonce(lone), peer_options()),
    E.R1BIS: lambda lone: R1bis(PEER_TAG, 96, (ResponderValidator(b"w"),)),
    E.I2BIS: i2bis_for,
    E.UPDATE_REQUEST: lambda lone: UpdateRequest(own_tag(lone), 4, peer_options(generation=8)),
    E.UPDATE_ACK: lambda lone: UpdateAck(own_tag(lone), 4),
    E.KEEPALIVE: lambda lone: Keepalive(own_tag(lone)),
    E.PROBE: probe_for,
}
SENT: dict[ContextAction, set[str]] = {
    A.NONE: set(), A.DROP: set(), A.SEND_I1: {"I1"}, A.SEND_R1: {"R1"}, A.SEND_I2: {"I2"}, A.SEND_R2: {"R2"},
    A.SEND_R1BIS: {"R1bis"}, A.SEND_I2BIS: {"I2bis"}, A.LEARN_AND_SEND_R2: {"R2"}, A.LEARN: set(),
    A.SEND_I2_AND_PROCESS: {"I2"}, A.SEND_I2BIS_AND_PROCESS: {"I2bis"},
}  # fmt: skip
PROCESSED = {E.UPDATE_REQUEST: {"UpdateAck"}, E.PROBE: {"Probe"}}


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("event", MESSAGES)
def test_the_core_follows_the_table(state: ContextState, event: ContextInput) -> None:
    """RFC 5533 §7.9 to §7.20, §10.4, §10.5; RFC 5534 §5.1."""
    lone = lone_in(state)
    message = MESSAGES[event](lone)
    sent = {type(one).__name__ for one in lone.hear(message)}
    action, following = step(state, event)
    context = lone.manager.find(A1, B1)
    assert (context.state if context is not None else S.IDLE) is following
    expected = set(SENT.get(action, set()))
    if action is A.PROCESS or (action is A.SEND_I2BIS_AND_PROCESS and event is E.UPDATE_REQUEST):
        expected |= PROCESSED.get(event, set())
    if (state, event) == (S.I1_SENT, E.R2):
        expected = {"UpdateRequest"}  # the I1 that it answers did not tell our locators
    assert sent == expected


@pytest.mark.parametrize("state", S)
def test_payload_follows_the_table(state: ContextState) -> None:
    """RFC 5533 §12.2."""
    lone = lone_in(state)
    path = lone.manager.handle_payload(B1, A1, own_tag(lone), lone.now_ns)
    sent = {type(one).__name__ for one in lone.drain()}
    action, _ = step(state, E.PAYLOAD)
    assert sent == SENT.get(action, set())
    assert (path is not None) == (action not in (A.SEND_R1BIS, A.DROP))


def time_out(lone: Lone, *, exhausted: bool = False) -> None:
    """Let the retransmission timer run out, of a context that may have none."""
    context = lone.manager.find(A1, B1)
    if context is not None:
        context.handshake.tries = 99 if exhausted else 1
        lone.manager._shared.deadlines.arm((TimerKind.HANDSHAKE, context.number), lone.now_ns)
        lone.manager.handle_timeout(lone.now_ns)


def end_holddown(lone: Lone) -> None:
    """Let the hold-down end, of a context that may have none."""
    context = lone.manager.find(A1, B1)
    if context is not None:
        lone.manager._shared.deadlines.arm((TimerKind.HOLDDOWN, context.number), lone.now_ns)
        lone.manager.handle_timeout(lone.now_ns)


def refuse_i1(lone: Lone) -> None:
    lone.manager.handle_icmp(4, 1, quote(lone, I1(own_tag(lone), own_nonce(lone))), lone.now_ns)


LOCAL: dict[ContextInput, Callable[[Lone], object]] = {
    E.START: lambda lone: lone.manager.establish(A1, B1, lone.now_ns),
    E.TIMEOUT: time_out,
    E.EXHAUSTED: lambda lone: time_out(lone, exhausted=True),
    E.UNSUPPORTED: refuse_i1,
    E.HOLDDOWN_OVER: end_holddown,
    E.DISCARD: lambda lone: lone.manager.discard(A1, B1),
}


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("event", LOCAL)
def test_what_comes_from_this_host_follows_the_table(state: ContextState, event: ContextInput) -> None:
    """RFC 5533 §7.7, §7.8, §7.12, §7.19, §9."""
    lone = lone_in(state)
    LOCAL[event](lone)
    sent = {type(one).__name__ for one in lone.drain()}
    action, following = step(state, event)
    context = lone.manager.find(A1, B1)
    assert (context.state if context is not None else S.IDLE) is following
    assert sent == SENT.get(action, set())


def test_every_input_of_the_table_is_driven() -> None:
    assert set(MESSAGES) | set(LOCAL) | {E.PAYLOAD} == set(E)
