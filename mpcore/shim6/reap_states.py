"""The state machine of REAP (RFC 5534 §6), complete, with what its text leaves out.

RFC 5534 §6.9 does not say how a node that gets a Probe Operational chooses its pair, but in both failure
examples of Appendix A it takes it from the reports; without that it would send into the dead pair for ever.
"""

from collections.abc import Mapping
from enum import Enum, StrEnum, auto
from types import MappingProxyType


class ReapState(StrEnum):
    """States of RFC 5534 §6."""

    OPERATIONAL = "operational"
    EXPLORING = "exploring"
    INBOUND_OK = "inbound-ok"


class ReapInput(Enum):
    """What moves REAP. Payload is all packets of the context but Keepalives and Probes (RFC 5534 §4.1)."""

    PAYLOAD_IN = auto()
    PAYLOAD_OUT = auto()
    KEEPALIVE_TIMEOUT = auto()
    SEND_TIMEOUT = auto()
    RETRANSMIT = auto()
    KEEPALIVE = auto()
    PROBE_EXPLORING = auto()
    PROBE_INBOUND_OK = auto()
    PROBE_OPERATIONAL = auto()
    # InboundOk that reports nothing, while this host looks for a pair that it likes more: the peer does too.
    PROBE_WHILE_LIKING = auto()
    # Local knowledge, an update that takes the current pair away, or a hint (RFC 5534 §4.1): no timer needed.
    SUSPICION = auto()
    # Another pair is liked more. Packets arrive all the same, so the peer need not explore: it is asked as in
    # InboundOk whether a probe on that pair has come.
    LIKING = auto()


class ReapAction(Enum):
    """What a transition asks for, in the order given. START leaves a running timer alone."""

    START_SEND = auto()
    RESTART_SEND = auto()
    STOP_SEND = auto()
    START_KEEPALIVE = auto()
    STOP_KEEPALIVE = auto()
    SEND_KEEPALIVE = auto()
    FORGET_REPORTS = auto()  # probes received before do not count for this exploration
    EXPLORE = auto()  # begin an exploration, its first probe included, or join the one under way
    JOIN = auto()  # take part in an exploration whose first probe is an answer
    PROBE = auto()  # the next probe of the exploration
    REPORT = auto()  # tell that packets arrive; on the exploration's next pair
    ANSWER = auto()  # answer the probe just received
    CHOOSE_PAIR = auto()
    FINISH = auto()


Transition = tuple[tuple[ReapAction, ...], ReapState]

_S, _I, _A = ReapState, ReapInput, ReapAction
_O, _E, _B = ReapState.OPERATIONAL, ReapState.EXPLORING, ReapState.INBOUND_OK
_SETTLE = (_A.CHOOSE_PAIR, _A.FINISH, _A.STOP_SEND, _A.START_KEEPALIVE)
_CONFIRM = (_A.CHOOSE_PAIR, _A.ANSWER, _A.RESTART_SEND, _A.STOP_KEEPALIVE)

REAP_TRANSITIONS: Mapping[tuple[ReapState, ReapInput], Transition] = MappingProxyType(
    {
        # RFC 5534 §6.1.
        (_O, _I.PAYLOAD_IN): ((_A.STOP_SEND, _A.START_KEEPALIVE), _O),
        (_E, _I.PAYLOAD_IN): ((_A.REPORT, _A.START_SEND), _B),
        (_B, _I.PAYLOAD_IN): ((_A.STOP_SEND,), _B),
        # RFC 5534 §6.2.
        (_O, _I.PAYLOAD_OUT): ((_A.START_SEND, _A.STOP_KEEPALIVE), _O),
        (_E, _I.PAYLOAD_OUT): ((), _E),
        (_B, _I.PAYLOAD_OUT): ((_A.START_SEND,), _B),
        # RFC 5534 §6.3.
        (_O, _I.KEEPALIVE_TIMEOUT): ((_A.SEND_KEEPALIVE,), _O),
        (_E, _I.KEEPALIVE_TIMEOUT): ((), _E),
        (_B, _I.KEEPALIVE_TIMEOUT): ((), _B),
        # RFC 5534 §6.4.
        (_O, _I.SEND_TIMEOUT): ((_A.FORGET_REPORTS, _A.STOP_KEEPALIVE, _A.EXPLORE), _E),
        (_E, _I.SEND_TIMEOUT): ((), _E),
        (_B, _I.SEND_TIMEOUT): ((_A.FORGET_REPORTS, _A.EXPLORE), _E),
        # RFC 5534 §6.5.
        (_O, _I.RETRANSMIT): ((), _O),
        (_E, _I.RETRANSMIT): ((_A.PROBE,), _E),
        (_B, _I.RETRANSMIT): ((_A.PROBE, _A.START_SEND), _B),
        # RFC 5534 §6.6.
        (_O, _I.KEEPALIVE): ((_A.STOP_SEND,), _O),
        (_E, _I.KEEPALIVE): ((_A.REPORT, _A.START_SEND), _B),
        (_B, _I.KEEPALIVE): ((_A.STOP_SEND,), _B),
        # RFC 5534 §6.7. A node that never was Exploring has reports of the exploration before this one, which
        # it forgets, but for the probe that just came.
        (_O, _I.PROBE_EXPLORING): (
            (_A.FORGET_REPORTS, _A.JOIN, _A.ANSWER, _A.STOP_KEEPALIVE, _A.RESTART_SEND),
            _B,
        ),
        (_E, _I.PROBE_EXPLORING): ((_A.ANSWER, _A.START_SEND), _B),
        (_B, _I.PROBE_EXPLORING): ((_A.ANSWER, _A.RESTART_SEND), _B),
        # RFC 5534 §6.8.
        (_O, _I.PROBE_INBOUND_OK): (_CONFIRM, _O),
        (_E, _I.PROBE_INBOUND_OK): ((*_CONFIRM, _A.FINISH), _O),
        (_B, _I.PROBE_INBOUND_OK): ((*_CONFIRM, _A.FINISH), _O),
        (_O, _I.PROBE_WHILE_LIKING): (_CONFIRM, _O),
        (_E, _I.PROBE_WHILE_LIKING): ((*_CONFIRM, _A.FINISH), _O),
        (_B, _I.PROBE_WHILE_LIKING): ((_A.ANSWER,), _B),
        # RFC 5534 §6.9, and Appendix A for the pair.
        (_O, _I.PROBE_OPERATIONAL): ((_A.STOP_SEND, _A.START_KEEPALIVE), _O),
        (_E, _I.PROBE_OPERATIONAL): (_SETTLE, _O),
        (_B, _I.PROBE_OPERATIONAL): (_SETTLE, _O),
        # RFC 5534 §4.1: local knowledge is used at once.
        (_O, _I.SUSPICION): ((_A.FORGET_REPORTS, _A.STOP_SEND, _A.STOP_KEEPALIVE, _A.EXPLORE), _E),
        (_E, _I.SUSPICION): ((), _E),
        (_B, _I.SUSPICION): ((), _B),
        # The Send timer of the retransmission leads to Exploring where the peer is not heard after all.
        (_O, _I.LIKING): ((_A.FORGET_REPORTS, _A.STOP_KEEPALIVE, _A.EXPLORE), _B),
        (_E, _I.LIKING): ((), _E),
        (_B, _I.LIKING): ((), _B),
    }
)


def step(state: ReapState, event: ReapInput) -> Transition:
    """Return what to do and the next state; the table is complete."""
    return REAP_TRANSITIONS[state, event]
