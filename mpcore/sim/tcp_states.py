"""The states of the model host's TCP (RFC 9293 §3.3.2) and every step between them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from mpcore.errors import LocalProtocolError


class State(Enum):
    """State of a connection; LISTEN belongs to the host, not to a connection."""

    CLOSED = "CLOSED"
    SYN_SENT = "SYN_SENT"
    SYN_RECEIVED = "SYN_RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT_1 = "FIN_WAIT_1"
    FIN_WAIT_2 = "FIN_WAIT_2"
    CLOSING = "CLOSING"
    TIME_WAIT = "TIME_WAIT"
    CLOSE_WAIT = "CLOSE_WAIT"
    LAST_ACK = "LAST_ACK"


class Input(Enum):
    """What moves a connection."""

    CONNECT = "connect"  # the program calls connect()
    ACCEPT = "accept"  # a SYN reaches a listener
    ESTABLISH = "establish"  # our SYN is acknowledged, and theirs is here
    SHUTDOWN = "shutdown"  # the program will write no more
    PEER_FIN = "peer FIN"  # all data of the peer is here, and so is its FIN
    FIN_ACKED = "FIN acknowledged"
    END = "end"  # reset, abort, time out, or the end of TIME_WAIT


TRANSITIONS: Mapping[tuple[State, Input], State] = {
    (State.CLOSED, Input.CONNECT): State.SYN_SENT,
    (State.CLOSED, Input.ACCEPT): State.SYN_RECEIVED,
    (State.SYN_SENT, Input.ESTABLISH): State.ESTABLISHED,
    (State.SYN_RECEIVED, Input.ESTABLISH): State.ESTABLISHED,
    (State.ESTABLISHED, Input.SHUTDOWN): State.FIN_WAIT_1,
    (State.ESTABLISHED, Input.PEER_FIN): State.CLOSE_WAIT,
    (State.FIN_WAIT_1, Input.PEER_FIN): State.CLOSING,
    (State.FIN_WAIT_1, Input.FIN_ACKED): State.FIN_WAIT_2,
    (State.FIN_WAIT_2, Input.PEER_FIN): State.TIME_WAIT,
    (State.CLOSING, Input.FIN_ACKED): State.TIME_WAIT,
    (State.CLOSE_WAIT, Input.SHUTDOWN): State.LAST_ACK,
    (State.LAST_ACK, Input.FIN_ACKED): State.CLOSED,
    **{(state, Input.END): State.CLOSED for state in State},
}

# States in which the program has not said that it will write no more.
WRITABLE = frozenset({State.SYN_SENT, State.SYN_RECEIVED, State.ESTABLISHED, State.CLOSE_WAIT})
# States that exchange segments of the established kind.
SYNCHRONIZED = frozenset(State) - {State.CLOSED, State.SYN_SENT, State.SYN_RECEIVED}


def step(state: State, given: Input) -> State:
    """Return the state after `given`; LocalProtocolError when the table has no such step."""
    try:
        return TRANSITIONS[state, given]
    except KeyError:
        raise LocalProtocolError(f"no step for '{given.value}' in state {state.value}") from None
