"""The state machines of MPTCP, and the tree of fallbacks, as data.

Three tables: how a connection closes (RFC 8684 Appendix D, Figure 22), how a subflow lives (RFC 8684 §3.2 on
top of RFC 9293 §3.3.2), and what becomes of a connection that meets something that MPTCP cannot carry
(RFC 8684 §3.7). A pair that a table does not list is illegal, and `step` says so.
"""

from collections.abc import Mapping
from enum import Enum, StrEnum, auto
from types import MappingProxyType

from mpcore.errors import LocalProtocolError, RemoteProtocolError
from mpcore.wire.constants import ResetReason


class ConnectionState(StrEnum):
    """Connection-level states (RFC 8684 Appendix D); names as in the kernel's view of the same connection."""

    ESTABLISHED = "established"
    FIN_WAIT_1 = "fin-wait-1"
    FIN_WAIT_2 = "fin-wait-2"
    CLOSING = "closing"
    TIME_WAIT = "time-wait"
    CLOSE_WAIT = "close-wait"
    LAST_ACK = "last-ack"
    CLOSED = "closed"


class ConnectionInput(Enum):
    """What moves a connection: the program, the peer's data-level signals, its subflows."""

    CLOSE = auto()
    DATA_FIN = auto()
    DATA_FIN_ACKED = auto()
    SUBFLOWS_CLOSED = auto()
    FASTCLOSE = auto()


class ConnectionAction(Enum):
    """What the transition asks for."""

    NONE = auto()
    SEND_DATA_FIN = auto()
    SEND_DATA_ACK = auto()
    CLOSE_SUBFLOWS = auto()
    DELETE = auto()
    RESET_SUBFLOWS = auto()


class SubflowState(StrEnum):
    """States of one subflow; those of RFC 9293, and PRE_ESTABLISHED of RFC 8684 §3.2."""

    SYN_SENT = "syn-sent"
    SYN_RECEIVED = "syn-received"
    PRE_ESTABLISHED = "pre-established"
    ESTABLISHED = "established"
    FIN_WAIT_1 = "fin-wait-1"
    FIN_WAIT_2 = "fin-wait-2"
    CLOSING = "closing"
    TIME_WAIT = "time-wait"
    CLOSE_WAIT = "close-wait"
    LAST_ACK = "last-ack"
    CLOSED = "closed"


class SubflowInput(Enum):
    """What moves a subflow."""

    SYN_ACK = auto()
    JOIN_ACK = auto()
    ACK = auto()
    CLOSE = auto()
    FIN = auto()
    FIN_ACKED = auto()
    TIMEOUT = auto()
    RESET = auto()


class SubflowAction(Enum):
    """What the transition asks for."""

    NONE = auto()
    SEND_JOIN_ACK = auto()
    SEND_ACK = auto()
    SEND_FIN = auto()
    DELETE = auto()


class Situation(Enum):
    """Something on a subflow that MPTCP cannot carry (RFC 8684 §3.7)."""

    SYN_ACK_WITHOUT_CAPABLE = auto()
    ACK_WITHOUT_CAPABLE = auto()
    FIRST_DATA_WITHOUT_OPTION = auto()
    UNMAPPED_DATA = auto()
    CHECKSUM_FAILURE = auto()
    INVALID_MAPPING = auto()
    CHECKSUM_PRESENCE = auto()
    INFINITE_MAPPING = auto()


class Standing(Enum):
    """What the connection is when that happens.

    SOLE_INTACT is one subflow, all data in order, and never a join or a reinjection: the only standing in
    which subflow bytes and connection bytes are the same. SOLE_BROKEN is one subflow without that; MULTIPLE
    more than one, or a subflow that is not the first.
    """

    SOLE_INTACT = auto()
    SOLE_BROKEN = auto()
    MULTIPLE = auto()


class Remedy(Enum):
    """What is done about it. Reset reasons are those of MP_TCPRST (RFC 8684 §3.6)."""

    PLAIN_TCP = auto()
    INFINITE_MAPPING = auto()
    FAIL_ON_ACK = auto()
    RESET_WITH_FAIL = auto()
    RESET_MPTCP_ERROR = auto()
    RESET_MIDDLEBOX = auto()


class FallbackReason(StrEnum):
    """Why a connection is plain TCP; the words that `mpcore show` prints."""

    DISABLED = "disabled"
    EXCLUDED = "excluded"
    LOOPBACK = "loopback"
    OWN_MPTCP = "the program's socket speaks MPTCP itself"
    FAST_OPEN = "TCP Fast Open"
    AUTHENTICATED = "TCP MD5 or TCP-AO needs the option room"
    SYN_DATA = "data in the SYN"
    NO_OPTION_ROOM = "no room for MP_CAPABLE among the TCP options"
    TOKEN_TABLE_FULL = "no free token"
    TABLE_FULL = "limits.max_connections is reached"
    SYN_UNANSWERED = "SYNs with MP_CAPABLE stayed unanswered"
    BLACKHOLE = "SYNs with MP_CAPABLE to this peer stayed unanswered a while ago"
    SIMULTANEOUS_OPEN = "simultaneous open"
    NOT_OFFERED = "the peer did not offer MP_CAPABLE"
    NOT_ACCEPTED = "the peer's SYN/ACK has no MP_CAPABLE"
    NOT_CONFIRMED = "the third packet has no MP_CAPABLE"
    WRONG_KEYS = "the third packet's MP_CAPABLE has other keys"
    WRONG_VERSION = "the peer's MP_CAPABLE has another version"
    WRONG_FLAGS = "the peer's MP_CAPABLE asks for an unknown algorithm or extension"
    BOTH_OPTIONS = "MP_CAPABLE and MP_JOIN in one SYN"
    BEGAN_BEFORE = "its SYN was not seen"


_C, _CI, _CA = ConnectionState, ConnectionInput, ConnectionAction
_OPEN_CONNECTION = (_C.ESTABLISHED, _C.FIN_WAIT_1, _C.FIN_WAIT_2, _C.CLOSING, _C.CLOSE_WAIT, _C.LAST_ACK)

CONNECTION_TRANSITIONS: Mapping[
    tuple[ConnectionState, ConnectionInput], tuple[ConnectionAction, ConnectionState]
] = MappingProxyType(
    {
        # RFC 8684 Appendix D, Figure 22.
        (_C.ESTABLISHED, _CI.CLOSE): (_CA.SEND_DATA_FIN, _C.FIN_WAIT_1),
        (_C.ESTABLISHED, _CI.DATA_FIN): (_CA.SEND_DATA_ACK, _C.CLOSE_WAIT),
        (_C.FIN_WAIT_1, _CI.DATA_FIN_ACKED): (_CA.CLOSE_SUBFLOWS, _C.FIN_WAIT_2),
        (_C.FIN_WAIT_1, _CI.DATA_FIN): (_CA.SEND_DATA_ACK, _C.CLOSING),
        (_C.FIN_WAIT_2, _CI.DATA_FIN): (_CA.SEND_DATA_ACK, _C.TIME_WAIT),
        (_C.CLOSING, _CI.DATA_FIN_ACKED): (_CA.CLOSE_SUBFLOWS, _C.TIME_WAIT),
        (_C.CLOSE_WAIT, _CI.CLOSE): (_CA.SEND_DATA_FIN, _C.LAST_ACK),
        (_C.LAST_ACK, _CI.DATA_FIN_ACKED): (_CA.CLOSE_SUBFLOWS, _C.CLOSED),
        (_C.TIME_WAIT, _CI.SUBFLOWS_CLOSED): (_CA.DELETE, _C.CLOSED),
        # A DATA_FIN is repeated until it is acknowledged (RFC 8684 §3.3.3), so each repeat needs its answer.
        (_C.CLOSE_WAIT, _CI.DATA_FIN): (_CA.SEND_DATA_ACK, _C.CLOSE_WAIT),
        (_C.CLOSING, _CI.DATA_FIN): (_CA.SEND_DATA_ACK, _C.CLOSING),
        (_C.LAST_ACK, _CI.DATA_FIN): (_CA.SEND_DATA_ACK, _C.LAST_ACK),
        (_C.TIME_WAIT, _CI.DATA_FIN): (_CA.SEND_DATA_ACK, _C.TIME_WAIT),
        # An acknowledgement that comes again says nothing new.
        (_C.FIN_WAIT_2, _CI.DATA_FIN_ACKED): (_CA.NONE, _C.FIN_WAIT_2),
        (_C.TIME_WAIT, _CI.DATA_FIN_ACKED): (_CA.NONE, _C.TIME_WAIT),
        # The connection outlives its subflows until a timeout (RFC 8684 §3.3.3, break before make).
        **{(state, _CI.SUBFLOWS_CLOSED): (_CA.NONE, state) for state in _OPEN_CONNECTION},
        # RFC 8684 §3.5: a valid MP_FASTCLOSE ends everything at once.
        **{(state, _CI.FASTCLOSE): (_CA.RESET_SUBFLOWS, _C.CLOSED) for state in _OPEN_CONNECTION},
        (_C.TIME_WAIT, _CI.FASTCLOSE): (_CA.RESET_SUBFLOWS, _C.CLOSED),
    }
)

_S, _SI, _SA = SubflowState, SubflowInput, SubflowAction
_TIMED_OUT = (_S.SYN_SENT, _S.SYN_RECEIVED, _S.PRE_ESTABLISHED, _S.ESTABLISHED, _S.CLOSE_WAIT)
_FIN_SENT = (_S.FIN_WAIT_1, _S.FIN_WAIT_2, _S.CLOSING, _S.TIME_WAIT, _S.LAST_ACK)

SUBFLOW_TRANSITIONS: Mapping[tuple[SubflowState, SubflowInput], tuple[SubflowAction, SubflowState]] = (
    MappingProxyType(
        {
            # RFC 8684 §3.2: the initiator sends no data before the ACK of its third packet.
            (_S.SYN_SENT, _SI.SYN_ACK): (_SA.SEND_JOIN_ACK, _S.PRE_ESTABLISHED),
            (_S.PRE_ESTABLISHED, _SI.ACK): (_SA.NONE, _S.ESTABLISHED),
            # A repeated SYN/ACK means that the third packet was lost.
            (_S.PRE_ESTABLISHED, _SI.SYN_ACK): (_SA.SEND_JOIN_ACK, _S.PRE_ESTABLISHED),
            # The responder answers the third packet, and each repeat of it.
            (_S.SYN_RECEIVED, _SI.JOIN_ACK): (_SA.SEND_ACK, _S.ESTABLISHED),
            (_S.ESTABLISHED, _SI.JOIN_ACK): (_SA.SEND_ACK, _S.ESTABLISHED),
            (_S.ESTABLISHED, _SI.ACK): (_SA.NONE, _S.ESTABLISHED),
            # RFC 9293 §3.10.4: nothing to say goodbye to yet.
            (_S.SYN_SENT, _SI.CLOSE): (_SA.DELETE, _S.CLOSED),
            (_S.SYN_RECEIVED, _SI.CLOSE): (_SA.DELETE, _S.CLOSED),
            # RFC 9293 §3.3.2, Figure 5.
            (_S.PRE_ESTABLISHED, _SI.CLOSE): (_SA.SEND_FIN, _S.FIN_WAIT_1),
            (_S.ESTABLISHED, _SI.CLOSE): (_SA.SEND_FIN, _S.FIN_WAIT_1),
            (_S.ESTABLISHED, _SI.FIN): (_SA.SEND_ACK, _S.CLOSE_WAIT),
            (_S.FIN_WAIT_1, _SI.FIN_ACKED): (_SA.NONE, _S.FIN_WAIT_2),
            (_S.FIN_WAIT_1, _SI.FIN): (_SA.SEND_ACK, _S.CLOSING),
            (_S.FIN_WAIT_2, _SI.FIN): (_SA.SEND_ACK, _S.TIME_WAIT),
            (_S.CLOSING, _SI.FIN_ACKED): (_SA.NONE, _S.TIME_WAIT),
            (_S.CLOSE_WAIT, _SI.CLOSE): (_SA.SEND_FIN, _S.LAST_ACK),
            (_S.LAST_ACK, _SI.FIN_ACKED): (_SA.DELETE, _S.CLOSED),
            (_S.TIME_WAIT, _SI.FIN): (_SA.SEND_ACK, _S.TIME_WAIT),
            **{(state, _SI.ACK): (_SA.NONE, state) for state in (_S.CLOSE_WAIT, *_FIN_SENT)},
            **{(state, _SI.TIMEOUT): (_SA.DELETE, _S.CLOSED) for state in (*_TIMED_OUT, *_FIN_SENT)},
            **{(state, _SI.RESET): (_SA.DELETE, _S.CLOSED) for state in (*_TIMED_OUT, *_FIN_SENT)},
        }
    )
)

_OPENING = (Situation.SYN_ACK_WITHOUT_CAPABLE, Situation.ACK_WITHOUT_CAPABLE)
_ERROR = (Situation.INVALID_MAPPING, Situation.CHECKSUM_PRESENCE)

# Complete but for the two situations of a handshake, in which a connection has one subflow and no data.
FALLBACKS: Mapping[tuple[Situation, Standing], Remedy] = MappingProxyType(
    {
        # RFC 8684 §3.1: no MP_CAPABLE in SYN/ACK or third ACK.
        **{(situation, Standing.SOLE_INTACT): Remedy.PLAIN_TCP for situation in _OPENING},
        # RFC 8684 §3.7: before anything was mapped, an infinite mapping says that no more will be.
        (Situation.FIRST_DATA_WITHOUT_OPTION, Standing.SOLE_INTACT): Remedy.INFINITE_MAPPING,
        (Situation.FIRST_DATA_WITHOUT_OPTION, Standing.SOLE_BROKEN): Remedy.RESET_MIDDLEBOX,
        (Situation.FIRST_DATA_WITHOUT_OPTION, Standing.MULTIPLE): Remedy.RESET_MIDDLEBOX,
        (Situation.UNMAPPED_DATA, Standing.SOLE_INTACT): Remedy.INFINITE_MAPPING,
        (Situation.UNMAPPED_DATA, Standing.SOLE_BROKEN): Remedy.RESET_MIDDLEBOX,
        (Situation.UNMAPPED_DATA, Standing.MULTIPLE): Remedy.RESET_MIDDLEBOX,
        # RFC 8684 §3.7: MP_FAIL, and a reset unless the one subflow can go on alone.
        (Situation.CHECKSUM_FAILURE, Standing.SOLE_INTACT): Remedy.FAIL_ON_ACK,
        (Situation.CHECKSUM_FAILURE, Standing.SOLE_BROKEN): Remedy.RESET_WITH_FAIL,
        (Situation.CHECKSUM_FAILURE, Standing.MULTIPLE): Remedy.RESET_WITH_FAIL,
        # RFC 8684 §3.3, §3.3.1: not behaving as negotiated.
        **{(situation, standing): Remedy.RESET_MPTCP_ERROR for situation in _ERROR for standing in Standing},
        (Situation.INFINITE_MAPPING, Standing.SOLE_INTACT): Remedy.PLAIN_TCP,
        (Situation.INFINITE_MAPPING, Standing.SOLE_BROKEN): Remedy.RESET_MPTCP_ERROR,
        (Situation.INFINITE_MAPPING, Standing.MULTIPLE): Remedy.RESET_MPTCP_ERROR,
    }
)


def step_connection(
    state: ConnectionState, event: ConnectionInput
) -> tuple[ConnectionAction, ConnectionState]:
    """Return what to do and the next state.

    Raises:
        LocalProtocolError: the program closes what is closing, or nothing is left to close
        RemoteProtocolError: the peer signals what this state cannot have
    """
    found = CONNECTION_TRANSITIONS.get((state, event))
    if found is not None:
        return found
    problem = f"{event.name} is not possible in connection state {state}"
    if event in (ConnectionInput.CLOSE, ConnectionInput.SUBFLOWS_CLOSED):
        raise LocalProtocolError(problem)
    raise RemoteProtocolError(ResetReason.PROTOCOL_ERROR, problem)


def step_subflow(state: SubflowState, event: SubflowInput) -> tuple[SubflowAction, SubflowState]:
    """Return what to do and the next state.

    Raises:
        LocalProtocolError: this host closes what is closing, or a timer outlived its subflow
        RemoteProtocolError: the peer sends what this state cannot have
    """
    found = SUBFLOW_TRANSITIONS.get((state, event))
    if found is not None:
        return found
    problem = f"{event.name} is not possible in subflow state {state}"
    if event in (SubflowInput.CLOSE, SubflowInput.TIMEOUT):
        raise LocalProtocolError(problem)
    raise RemoteProtocolError(ResetReason.PROTOCOL_ERROR, problem)


def remedy(situation: Situation, standing: Standing) -> Remedy:
    """Return what RFC 8684 §3.7 asks for.

    Raises:
        LocalProtocolError: a situation of the first handshake in a connection that is past it
    """
    found = FALLBACKS.get((situation, standing))
    if found is None:
        raise LocalProtocolError(f"{situation.name} belongs to the first handshake only")
    return found
