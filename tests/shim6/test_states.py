"""The tables: complete, as the RFCs print them, and what the core does in each state with each message."""

import pytest

from mpcore.shim6 import reap_states, states
from mpcore.shim6.reap_states import ReapAction, ReapInput, ReapState
from mpcore.shim6.states import (
    CONTEXT_TRANSITIONS,
    HALF_OPEN,
    HELD,
    ContextAction,
    ContextInput,
    ContextState,
)

S, E, A = ContextState, ContextInput, ContextAction

# RFC 5533 Appendix B with the corrections of its text, one line a trigger: what is done, and the next state.
# ">." stays in the state. The columns: idle, i1-sent, i2-sent, i2bis-sent, established, e-failed, no-support.
GRID = """
START          i1>i1-sent    none>.        none>.        none>.        none>.        none>.        none>.
I1             r1>.          r2>.          r2>.          r2>.          r1>.          r1>.          r1>.
I1_REPEATED    r1>.          r2>.          r2>.          r2>.          r2>.          r1>.          r1>.
R1             drop>.        i2>i2-sent    drop>.        drop>.        drop>.        drop>.        drop>.
I2             new>est       new>est       new>.         new>.         new>.         new>est       new>est
R2             drop>.        learn>est     learn>est     learn>est     drop>.        drop>.        drop>.
R1BIS          drop>.        drop>.        drop>.        drop>.        i2bis>i2bis-sent drop>.        drop>.
I2BIS          new>est       new>est       new>.         new>.         new>.         new>est       new>est
PAYLOAD        r1bis>.       drop>.        i2+>.         i2bis+>.      ok>.          r1bis>.       r1bis>.
UPDATE_REQUEST r1bis>.       drop>.        i2+>.         i2bis+>.      ok>.          r1bis>.       r1bis>.
UPDATE_ACK     r1bis>.       drop>.        i2+>.         i2bis+>.      ok>.          r1bis>.       r1bis>.
KEEPALIVE      r1bis>.       drop>.        i2>.          i2bis>.       ok>.          r1bis>.       r1bis>.
PROBE          r1bis>.       drop>.        i2>.          i2bis>.       ok>.          r1bis>.       r1bis>.
TIMEOUT        none>.        i1>.          i2>.          i2bis>.       none>.        none>.        none>.
EXHAUSTED      none>.        hold>failed   i1>i1-sent    i1>i1-sent    none>.        none>.        none>.
UNSUPPORTED    none>.        hold>nosup    none>.        none>.        none>.        none>.        none>.
HOLDDOWN_OVER  forget>idle   none>.        none>.        none>.        none>.        forget>idle   forget>idle
DISCARD        forget>idle   forget>idle   forget>idle   forget>idle   forget>idle   forget>idle   forget>idle
"""
COLUMNS = (S.IDLE, S.I1_SENT, S.I2_SENT, S.I2BIS_SENT, S.ESTABLISHED, S.E_FAILED, S.NO_SUPPORT)
ACTIONS = {
    "none": A.NONE, "drop": A.DROP, "i1": A.SEND_I1, "r1": A.SEND_R1, "i2": A.SEND_I2, "r2": A.SEND_R2,
    "i2bis": A.SEND_I2BIS, "r1bis": A.SEND_R1BIS, "new": A.LEARN_AND_SEND_R2, "learn": A.LEARN,
    "ok": A.PROCESS, "i2+": A.SEND_I2_AND_PROCESS, "i2bis+": A.SEND_I2BIS_AND_PROCESS, "hold": A.HOLD,
    "forget": A.FORGET,
}  # fmt: skip
STATES = {
    "est": S.ESTABLISHED, "i1-sent": S.I1_SENT, "i2-sent": S.I2_SENT, "i2bis-sent": S.I2BIS_SENT,
    "failed": S.E_FAILED, "nosup": S.NO_SUPPORT, "idle": S.IDLE,
}  # fmt: skip


def grid() -> dict[tuple[ContextState, ContextInput], tuple[ContextAction, ContextState]]:
    found = {}
    for line in GRID.strip().splitlines():
        name, *cells = line.split()
        for state, cell in zip(COLUMNS, cells, strict=True):
            action, _, following = cell.partition(">")
            found[state, E[name]] = (ACTIONS[action], state if following == "." else STATES[following])
    return found


def test_the_table_is_complete_and_as_printed() -> None:
    """RFC 5533 §6.2, §7 and Appendix B."""
    assert dict(CONTEXT_TRANSITIONS) == grid()
    assert len(CONTEXT_TRANSITIONS) == len(S) * len(E)


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("event", E)
def test_every_step_is_legal(state: ContextState, event: ContextInput) -> None:
    action, following = states.step(state, event)
    assert following is state or action is not A.DROP
    assert following is state or action not in (A.SEND_R1, A.SEND_R1BIS)  # stateless answers change nothing
    if action is A.FORGET:
        assert following is S.IDLE
    if following in HELD and following is not state:
        assert action is A.HOLD


def test_only_a_timeout_or_loss_leads_back_to_half_open() -> None:
    back = {
        event
        for (state, event), (_, following) in CONTEXT_TRANSITIONS.items()
        if state is S.ESTABLISHED and following in HALF_OPEN
    }
    assert back == {E.R1BIS}


# RFC 5534 §6.1 to §6.9: the informational tables, the pair that §6.9 leaves out, and what it is silent on.
REAP_GRID = {
    "PAYLOAD_IN": ("STOP_SEND START_KEEPALIVE", "REPORT START_SEND > INBOUND_OK", "STOP_SEND"),
    "PAYLOAD_OUT": ("START_SEND STOP_KEEPALIVE", "", "START_SEND"),
    "KEEPALIVE_TIMEOUT": ("SEND_KEEPALIVE", "", ""),
    "SEND_TIMEOUT": (
        "FORGET_REPORTS STOP_KEEPALIVE EXPLORE > EXPLORING",
        "",
        "FORGET_REPORTS EXPLORE > EXPLORING",
    ),
    "RETRANSMIT": ("", "PROBE", "PROBE START_SEND"),
    "KEEPALIVE": ("STOP_SEND", "REPORT START_SEND > INBOUND_OK", "STOP_SEND"),
    "PROBE_EXPLORING": (
        "FORGET_REPORTS JOIN ANSWER STOP_KEEPALIVE RESTART_SEND > INBOUND_OK",
        "ANSWER START_SEND > INBOUND_OK",
        "ANSWER RESTART_SEND",
    ),
    "PROBE_INBOUND_OK": (
        "CHOOSE_PAIR ANSWER RESTART_SEND STOP_KEEPALIVE",
        "CHOOSE_PAIR ANSWER RESTART_SEND STOP_KEEPALIVE FINISH > OPERATIONAL",
        "CHOOSE_PAIR ANSWER RESTART_SEND STOP_KEEPALIVE FINISH > OPERATIONAL",
    ),
    "PROBE_OPERATIONAL": (
        "STOP_SEND START_KEEPALIVE",
        "CHOOSE_PAIR FINISH STOP_SEND START_KEEPALIVE > OPERATIONAL",
        "CHOOSE_PAIR FINISH STOP_SEND START_KEEPALIVE > OPERATIONAL",
    ),
    "PROBE_WHILE_LIKING": (
        "CHOOSE_PAIR ANSWER RESTART_SEND STOP_KEEPALIVE",
        "CHOOSE_PAIR ANSWER RESTART_SEND STOP_KEEPALIVE FINISH > OPERATIONAL",
        "ANSWER",
    ),
    "LIKING": ("FORGET_REPORTS STOP_KEEPALIVE EXPLORE > INBOUND_OK", "", ""),
    "SUSPICION": ("FORGET_REPORTS STOP_SEND STOP_KEEPALIVE EXPLORE > EXPLORING", "", ""),
}


def test_the_table_of_reap_is_complete_and_as_printed() -> None:
    """RFC 5534 §6."""
    found = {}
    for name, cells in REAP_GRID.items():
        for state, cell in zip(ReapState, cells, strict=True):
            words, _, following = cell.partition(">")
            actions = tuple(ReapAction[word] for word in words.split())
            found[state, ReapInput[name]] = (actions, ReapState[following.strip()] if following else state)
    assert dict(reap_states.REAP_TRANSITIONS) == found
    assert len(found) == len(ReapState) * len(ReapInput)
