"""The tables of closing, of subflows and of fallbacks, each pair tried (RFC 8684 App. D, §3.2, §3.7)."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.errors import LocalProtocolError, RemoteProtocolError
from mpcore.mptcp.states import (
    CONNECTION_TRANSITIONS,
    FALLBACKS,
    SUBFLOW_TRANSITIONS,
    ConnectionAction,
    ConnectionInput,
    ConnectionState,
    Remedy,
    Situation,
    Standing,
    SubflowAction,
    SubflowInput,
    SubflowState,
    remedy,
    step_connection,
    step_subflow,
)

C, CI, CA = ConnectionState, ConnectionInput, ConnectionAction
S, SI, SA = SubflowState, SubflowInput, SubflowAction


@pytest.mark.parametrize(("state", "event"), list(product(ConnectionState, ConnectionInput)))
def test_each_connection_pair_is_a_transition_or_an_error(state: C, event: CI) -> None:
    listed = CONNECTION_TRANSITIONS.get((state, event))
    if listed is not None:
        assert step_connection(state, event) == listed
        return
    local = event in (CI.CLOSE, CI.SUBFLOWS_CLOSED)
    with pytest.raises(LocalProtocolError if local else RemoteProtocolError):
        step_connection(state, event)


@pytest.mark.parametrize(("state", "event"), list(product(SubflowState, SubflowInput)))
def test_each_subflow_pair_is_a_transition_or_an_error(state: S, event: SI) -> None:
    listed = SUBFLOW_TRANSITIONS.get((state, event))
    if listed is not None:
        assert step_subflow(state, event) == listed
        return
    local = event in (SI.CLOSE, SI.TIMEOUT)
    with pytest.raises(LocalProtocolError if local else RemoteProtocolError):
        step_subflow(state, event)


@pytest.mark.parametrize(("situation", "standing"), list(product(Situation, Standing)))
def test_each_situation_has_a_remedy_or_cannot_be(situation: Situation, standing: Standing) -> None:
    if (situation, standing) in FALLBACKS:
        assert remedy(situation, standing) is FALLBACKS[situation, standing]
        return
    with pytest.raises(LocalProtocolError):
        remedy(situation, standing)


@pytest.mark.parametrize(
    ("events", "states"),
    [
        (
            [CI.CLOSE, CI.DATA_FIN_ACKED, CI.DATA_FIN, CI.SUBFLOWS_CLOSED],
            [C.FIN_WAIT_1, C.FIN_WAIT_2, C.TIME_WAIT, C.CLOSED],
        ),
        (
            [CI.CLOSE, CI.DATA_FIN, CI.DATA_FIN_ACKED, CI.SUBFLOWS_CLOSED],
            [C.FIN_WAIT_1, C.CLOSING, C.TIME_WAIT, C.CLOSED],
        ),
        ([CI.DATA_FIN, CI.CLOSE, CI.DATA_FIN_ACKED], [C.CLOSE_WAIT, C.LAST_ACK, C.CLOSED]),
    ],
)
def test_closing_follows_figure_22(events: list[CI], states: list[C]) -> None:
    """RFC 8684 Appendix D: active, simultaneous and passive close."""
    state = C.ESTABLISHED
    seen = []
    for event in events:
        _, state = step_connection(state, event)
        seen.append(state)
    assert seen == states


@given(st.lists(st.sampled_from(ConnectionInput), max_size=12))
def test_subflows_are_closed_only_once_the_data_fin_is_acknowledged(events: list[CI]) -> None:
    """RFC 8684 §3.3.3: subflows are closed when the DATA_FIN has been acknowledged."""
    state, acked = C.ESTABLISHED, False
    for event in events:
        if (state, event) not in CONNECTION_TRANSITIONS:
            continue
        action, state = step_connection(state, event)
        acked = acked or event is CI.DATA_FIN_ACKED
        assert action is not CA.CLOSE_SUBFLOWS or acked
        if state is C.CLOSED:
            break


@given(st.lists(st.sampled_from(SubflowInput), max_size=12))
def test_closed_subflow_stays_closed(events: list[SI]) -> None:
    state = S.SYN_SENT
    for event in events:
        if state is S.CLOSED:
            assert (state, event) not in SUBFLOW_TRANSITIONS
        elif (state, event) in SUBFLOW_TRANSITIONS:
            action, state = step_subflow(state, event)
            assert (action is SA.DELETE) == (state is S.CLOSED)


@pytest.mark.parametrize("state", [each for each in C if each is not C.CLOSED])
def test_fastclose_ends_any_state(state: C) -> None:
    """RFC 8684 §3.5."""
    assert step_connection(state, CI.FASTCLOSE) == (CA.RESET_SUBFLOWS, C.CLOSED)


def test_subflow_closes_as_tcp_does() -> None:
    """RFC 9293 §3.3.2, Figure 5; §3.10.4 for a CLOSE before the handshake is through."""
    state = S.ESTABLISHED
    for event, expected in (
        (SI.CLOSE, S.FIN_WAIT_1),
        (SI.FIN_ACKED, S.FIN_WAIT_2),
        (SI.FIN, S.TIME_WAIT),
        (SI.TIMEOUT, S.CLOSED),
    ):
        _, state = step_subflow(state, event)
        assert state is expected
    assert step_subflow(S.SYN_SENT, SI.CLOSE) == (SA.DELETE, S.CLOSED)


def test_initiator_of_a_join_waits_for_the_fourth_packet() -> None:
    """RFC 8684 §3.2: PRE_ESTABLISHED until the ACK of the third packet; a repeated SYN/ACK gets it again."""
    assert step_subflow(S.SYN_SENT, SI.SYN_ACK) == (SA.SEND_JOIN_ACK, S.PRE_ESTABLISHED)
    assert step_subflow(S.PRE_ESTABLISHED, SI.SYN_ACK) == (SA.SEND_JOIN_ACK, S.PRE_ESTABLISHED)
    assert step_subflow(S.PRE_ESTABLISHED, SI.ACK) == (SA.NONE, S.ESTABLISHED)


def test_responder_of_a_join_answers_each_third_packet() -> None:
    """RFC 8684 §3.2: also when it is a repeat."""
    assert step_subflow(S.SYN_RECEIVED, SI.JOIN_ACK) == (SA.SEND_ACK, S.ESTABLISHED)
    assert step_subflow(S.ESTABLISHED, SI.JOIN_ACK) == (SA.SEND_ACK, S.ESTABLISHED)


def test_only_an_intact_sole_subflow_may_go_on_without_mptcp() -> None:
    """RFC 8684 §3.7: elsewhere the bytes of the subflow are not those of the connection."""
    goes_on = {Remedy.PLAIN_TCP, Remedy.INFINITE_MAPPING, Remedy.FAIL_ON_ACK}
    for (_, standing), found in FALLBACKS.items():
        assert found not in goes_on or standing is Standing.SOLE_INTACT
