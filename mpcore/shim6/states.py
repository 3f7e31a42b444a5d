"""The state machine of a context (RFC 5533 §6.2, §7, Appendix B), complete: every state with every input.

An input is given to the table once its message has passed the checks that need no state: an I2 here is one
whose validator, parameters and source were found right. The text of RFC 5533 wins over its Appendix B; where
they differ the line below says so.
"""

from collections.abc import Mapping
from enum import Enum, IntEnum, StrEnum, auto
from types import MappingProxyType


class ContextState(StrEnum):
    """States of RFC 5533 §6.2. A context in IDLE does not exist."""

    IDLE = "idle"
    I1_SENT = "i1-sent"
    I2_SENT = "i2-sent"
    I2BIS_SENT = "i2bis-sent"
    ESTABLISHED = "established"
    E_FAILED = "e-failed"
    NO_SUPPORT = "no-support"


class ContextInput(IntEnum):
    """What moves a context."""

    START = auto()  # heuristic, operator or program want a context
    I1 = auto()
    I1_REPEATED = auto()  # known tag, known locator: the peer did not get our R2
    R1 = auto()
    I2 = auto()
    R2 = auto()
    R1BIS = auto()
    I2BIS = auto()
    PAYLOAD = auto()  # with a payload extension header
    UPDATE_REQUEST = auto()
    UPDATE_ACK = auto()
    KEEPALIVE = auto()
    PROBE = auto()
    TIMEOUT = auto()  # the retransmission timer, with retries left
    EXHAUSTED = auto()  # the retransmission timer, with none left
    UNSUPPORTED = auto()  # ICMPv6 type 4 code 1 about our I1
    HOLDDOWN_OVER = auto()
    DISCARD = auto()  # nobody needs the context, or it must not be used any more


class ContextAction(Enum):
    """What the transition asks for. PROCESS means the message's own rules."""

    NONE = auto()
    DROP = auto()
    SEND_I1 = auto()
    SEND_R1 = auto()
    SEND_I2 = auto()
    SEND_R2 = auto()
    SEND_R1BIS = auto()
    SEND_I2BIS = auto()
    LEARN_AND_SEND_R2 = auto()
    LEARN = auto()
    PROCESS = auto()
    SEND_I2_AND_PROCESS = auto()
    SEND_I2BIS_AND_PROCESS = auto()
    HOLD = auto()
    FORGET = auto()


Transition = tuple[ContextAction, ContextState]

_S, _I, _A = ContextState, ContextInput, ContextAction
_TAGGED = (_I.PAYLOAD, _I.UPDATE_REQUEST, _I.UPDATE_ACK, _I.KEEPALIVE, _I.PROBE)


def _as_idle(
    state: ContextState, *, start: Transition
) -> dict[tuple[ContextState, ContextInput], Transition]:
    """Return the row of IDLE; E-FAILED and NO-SUPPORT treat packets like it (RFC 5533 Appendix B)."""
    return {
        (state, _I.START): start,
        (state, _I.I1): (_A.SEND_R1, state),
        (state, _I.I1_REPEATED): (_A.SEND_R1, state),
        (state, _I.I2): (_A.LEARN_AND_SEND_R2, _S.ESTABLISHED),
        (state, _I.I2BIS): (_A.LEARN_AND_SEND_R2, _S.ESTABLISHED),
        **{(state, event): (_A.DROP, state) for event in (_I.R1, _I.R2, _I.R1BIS)},
        **{(state, event): (_A.SEND_R1BIS, state) for event in _TAGGED},
        # No retransmission runs here; a timer that outlived its exchange changes nothing.
        **{(state, event): (_A.NONE, state) for event in (_I.TIMEOUT, _I.EXHAUSTED, _I.UNSUPPORTED)},
        (state, _I.HOLDDOWN_OVER): (_A.FORGET, _S.IDLE),
        (state, _I.DISCARD): (_A.FORGET, _S.IDLE),
    }


_IDLE = _as_idle(_S.IDLE, start=(_A.SEND_I1, _S.I1_SENT))
_HELD = {
    # RFC 5533 §7.8: do not try again before the hold-down is over; the peer may.
    **_as_idle(_S.E_FAILED, start=(_A.NONE, _S.E_FAILED)),
    **_as_idle(_S.NO_SUPPORT, start=(_A.NONE, _S.NO_SUPPORT)),
}

_I1_SENT: dict[tuple[ContextState, ContextInput], Transition] = {
    (_S.I1_SENT, _I.START): (_A.NONE, _S.I1_SENT),
    # RFC 5533 §7.4, §7.9: crossing I1s are answered by R2; an I1 teaches nothing.
    (_S.I1_SENT, _I.I1): (_A.SEND_R2, _S.I1_SENT),
    (_S.I1_SENT, _I.I1_REPEATED): (_A.SEND_R2, _S.I1_SENT),
    (_S.I1_SENT, _I.R1): (_A.SEND_I2, _S.I2_SENT),
    (_S.I1_SENT, _I.R2): (_A.LEARN, _S.ESTABLISHED),
    (_S.I1_SENT, _I.I2): (_A.LEARN_AND_SEND_R2, _S.ESTABLISHED),
    (_S.I1_SENT, _I.I2BIS): (_A.LEARN_AND_SEND_R2, _S.ESTABLISHED),
    (_S.I1_SENT, _I.R1BIS): (_A.DROP, _S.I1_SENT),
    **{(_S.I1_SENT, event): (_A.DROP, _S.I1_SENT) for event in _TAGGED},
    (_S.I1_SENT, _I.TIMEOUT): (_A.SEND_I1, _S.I1_SENT),
    (_S.I1_SENT, _I.EXHAUSTED): (_A.HOLD, _S.E_FAILED),
    # RFC 5533 §6.2, §7.8 say NO-SUPPORT, and so does the diagram; the table of Appendix B says E-FAILED.
    (_S.I1_SENT, _I.UNSUPPORTED): (_A.HOLD, _S.NO_SUPPORT),
    (_S.I1_SENT, _I.HOLDDOWN_OVER): (_A.NONE, _S.I1_SENT),
    (_S.I1_SENT, _I.DISCARD): (_A.FORGET, _S.IDLE),
}


def _waiting_for_r2(
    state: ContextState, resend: ContextAction, resend_and_process: ContextAction
) -> dict[tuple[ContextState, ContextInput], Transition]:
    """Return the row of I2-SENT or I2BIS-SENT; they differ in what they repeat."""
    return {
        (state, _I.START): (_A.NONE, state),
        (state, _I.I1): (_A.SEND_R2, state),
        (state, _I.I1_REPEATED): (_A.SEND_R2, state),
        (state, _I.R1): (_A.DROP, state),
        (state, _I.R2): (_A.LEARN, _S.ESTABLISHED),
        (state, _I.I2): (_A.LEARN_AND_SEND_R2, state),
        (state, _I.I2BIS): (_A.LEARN_AND_SEND_R2, state),
        (state, _I.R1BIS): (_A.DROP, state),
        # RFC 5533 §10.4, §10.5, §12.2: the peer is established, so its R2 was lost. For an Update
        # Acknowledgement §10.5 prints "send R2"; §12.2 and the sense say I2 or I2bis.
        (state, _I.PAYLOAD): (resend_and_process, state),
        (state, _I.UPDATE_REQUEST): (resend_and_process, state),
        (state, _I.UPDATE_ACK): (resend_and_process, state),
        # RFC 5534 §5.1: a Keepalive counts in ESTABLISHED only. A Probe asks for an answer with the peer's
        # tag, which is unknown or doubtful here, so the two are treated alike.
        (state, _I.KEEPALIVE): (resend, state),
        (state, _I.PROBE): (resend, state),
        (state, _I.TIMEOUT): (resend, state),
        # RFC 5533 §7.12, §7.19.
        (state, _I.EXHAUSTED): (_A.SEND_I1, _S.I1_SENT),
        (state, _I.UNSUPPORTED): (_A.NONE, state),
        (state, _I.HOLDDOWN_OVER): (_A.NONE, state),
        (state, _I.DISCARD): (_A.FORGET, _S.IDLE),
    }


_ESTABLISHED: dict[tuple[ContextState, ContextInput], Transition] = {
    (_S.ESTABLISHED, _I.START): (_A.NONE, _S.ESTABLISHED),
    # RFC 5533 §7.9: an I1 alone never destroys a context.
    (_S.ESTABLISHED, _I.I1): (_A.SEND_R1, _S.ESTABLISHED),
    (_S.ESTABLISHED, _I.I1_REPEATED): (_A.SEND_R2, _S.ESTABLISHED),
    (_S.ESTABLISHED, _I.R1): (_A.DROP, _S.ESTABLISHED),
    (_S.ESTABLISHED, _I.R2): (_A.DROP, _S.ESTABLISHED),
    (_S.ESTABLISHED, _I.I2): (_A.LEARN_AND_SEND_R2, _S.ESTABLISHED),
    (_S.ESTABLISHED, _I.I2BIS): (_A.LEARN_AND_SEND_R2, _S.ESTABLISHED),
    (_S.ESTABLISHED, _I.R1BIS): (_A.SEND_I2BIS, _S.I2BIS_SENT),
    **{(_S.ESTABLISHED, event): (_A.PROCESS, _S.ESTABLISHED) for event in _TAGGED},
    **{
        (_S.ESTABLISHED, event): (_A.NONE, _S.ESTABLISHED)
        for event in (_I.TIMEOUT, _I.EXHAUSTED, _I.UNSUPPORTED, _I.HOLDDOWN_OVER)
    },
    (_S.ESTABLISHED, _I.DISCARD): (_A.FORGET, _S.IDLE),
}

CONTEXT_TRANSITIONS: Mapping[tuple[ContextState, ContextInput], Transition] = MappingProxyType(
    {
        **_IDLE,
        **_I1_SENT,
        **_waiting_for_r2(_S.I2_SENT, _A.SEND_I2, _A.SEND_I2_AND_PROCESS),
        **_waiting_for_r2(_S.I2BIS_SENT, _A.SEND_I2BIS, _A.SEND_I2BIS_AND_PROCESS),
        **_ESTABLISHED,
        **_HELD,
    }
)

HAS_PEER_TAG = frozenset({ContextState.ESTABLISHED, ContextState.I2BIS_SENT})
"""States in which payload may be sent with locators other than the ULIDs (RFC 5533 §11)."""

HALF_OPEN = frozenset({ContextState.I1_SENT, ContextState.I2_SENT, ContextState.I2BIS_SENT})
HELD = frozenset({ContextState.E_FAILED, ContextState.NO_SUPPORT})


def step(state: ContextState, event: ContextInput) -> Transition:
    """Return what to do and the next state; the table is complete."""
    return CONTEXT_TRANSITIONS[state, event]
