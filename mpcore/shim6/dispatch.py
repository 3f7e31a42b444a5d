"""Which context and which rule a packet belongs to (RFC 5533 §12)."""

from mpcore.errors import WireError
from mpcore.shim6.arrival import Arrival, complain
from mpcore.shim6.context import Context
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.effects import Path
from mpcore.shim6.events import PeerError
from mpcore.shim6.locators import Pair
from mpcore.shim6.negotiate import Negotiator
from mpcore.shim6.quote import find_quoted, read_quote
from mpcore.shim6.reap import Reap
from mpcore.shim6.shared import Shared
from mpcore.shim6.states import ContextAction, ContextInput, ContextState, step
from mpcore.shim6.update import Updater
from mpcore.wire.shim6 import (
    I1,
    I2,
    R1,
    R2,
    ErrorCode,
    ErrorMessage,
    I2bis,
    Keepalive,
    Message,
    Probe,
    R1bis,
    UnknownMessage,
    UpdateAck,
    UpdateRequest,
    find_critical,
    option_offset,
    parse_message,
)

_RECEIVED = {
    I1: Shim6Counter.I1_RX,
    R1: Shim6Counter.R1_RX,
    I2: Shim6Counter.I2_RX,
    R2: Shim6Counter.R2_RX,
    R1bis: Shim6Counter.R1BIS_RX,
    I2bis: Shim6Counter.I2BIS_RX,
    UpdateRequest: Shim6Counter.UPDATE_REQUEST_RX,
    UpdateAck: Shim6Counter.UPDATE_ACK_RX,
    Keepalive: Shim6Counter.KEEPALIVE_RX,
    Probe: Shim6Counter.PROBE_RX,
    ErrorMessage: Shim6Counter.ERROR_RX,
    UnknownMessage: Shim6Counter.UNKNOWN_RX,
}
_TYPE_AT = 2
_INPUTS = {
    UpdateRequest: ContextInput.UPDATE_REQUEST,
    UpdateAck: ContextInput.UPDATE_ACK,
    Keepalive: ContextInput.KEEPALIVE,
    Probe: ContextInput.PROBE,
}
_PROCESSED = frozenset(
    {
        ContextAction.PROCESS,
        ContextAction.SEND_I2_AND_PROCESS,
        ContextAction.SEND_I2BIS_AND_PROCESS,
    }
)

Tagged = UpdateRequest | UpdateAck | Keepalive | Probe


class Dispatcher:
    """Hands packets to negotiation, updates and reachability."""

    def __init__(self, shared: Shared, negotiator: Negotiator, updater: Updater, reap: Reap) -> None:
        self._shared = shared
        self._negotiator = negotiator
        self._updater = updater
        self._reap = reap

    def handle_control(self, source: bytes, destination: bytes, data: bytes, now_ns: int) -> None:
        """Process a control message: `data` from the Shim6 header to the end of the packet."""
        pair = Pair(destination, source)
        if any(len(address) != 16 or address[0] == 0xFF or not any(address) for address in pair):
            self._shared.count(Shim6Counter.BAD_ADDRESS)
            return
        try:
            message = parse_message(data)
        except WireError:
            self._shared.count(Shim6Counter.MALFORMED_RX)
            return
        self._shared.count(_RECEIVED[type(message)])
        arrival = Arrival(pair, message, data, now_ns)
        critical = find_critical(message)
        if critical is not None:
            self._shared.count(Shim6Counter.CRITICAL_OPTION)
            at = option_offset(data, critical.kind) or 0
            complain(self._shared, arrival, ErrorCode.CRITICAL_OPTION, at)
            return
        self._dispatch(arrival, message)

    def handle_payload(self, source: bytes, destination: bytes, tag: int, now_ns: int) -> Path | None:
        """Decide on a packet with a payload header whose context is unknown to the data plane, or watched.

        Returns the path whose ULIDs the packet gets, or None when it is to be dropped (RFC 5533 §12.2).
        """
        pair = Pair(destination, source)
        context = self._shared.contexts.by_tag_local.get(tag)
        state = context.state if context is not None else ContextState.IDLE
        action, _ = step(state, ContextInput.PAYLOAD)
        if context is None or action is ContextAction.SEND_R1BIS:
            self._negotiator.answer_unknown(pair, tag, now_ns)
            return None
        if action is ContextAction.DROP:
            self._shared.count(Shim6Counter.PAYLOAD_REFUSED)
            return None
        if action is not ContextAction.PROCESS:
            self._negotiator.repeat(context, action, now_ns)
        context.reap.payload_ns = now_ns
        self.note_received(context, now_ns)
        return context.path()

    def note_received(self, context: Context, now_ns: int) -> None:
        """Payload, or a message that counts as such, has come (RFC 5534 §4.1)."""
        context.active_ns = now_ns
        self._reap.payload_in(context, now_ns)

    def _dispatch(self, arrival: Arrival, message: Message) -> None:
        match message:
            case I1():
                self._negotiator.handle_i1(arrival, message)
            case R1():
                self._negotiator.handle_r1(arrival, message)
            case I2():
                self._negotiator.handle_i2(arrival, message)
            case R2():
                self._negotiator.handle_r2(arrival, message)
            case R1bis():
                self._negotiator.handle_r1bis(arrival, message)
            case I2bis():
                self._negotiator.handle_i2bis(arrival, message)
            case ErrorMessage():
                self._handle_error(arrival, message)
            case UnknownMessage():
                complain(self._shared, arrival, ErrorCode.UNKNOWN_MESSAGE, _TYPE_AT)
            case UpdateRequest() | UpdateAck() | Keepalive() | Probe():
                self._handle_tagged(arrival, message)

    def _handle_tagged(self, arrival: Arrival, message: Tagged) -> None:
        """Give a message to the context of its tag if its addresses are right, else answer by R1bis."""
        context = self._shared.contexts.by_tag_local.get(message.receiver_tag)
        event = _INPUTS[type(message)]
        state = context.state if context is not None else ContextState.IDLE
        action, _ = step(state, event)
        if context is None or action is ContextAction.SEND_R1BIS or not context.owns(*arrival.pair):
            self._negotiator.answer_unknown(arrival.pair, message.receiver_tag, arrival.now_ns)
            return
        if action is ContextAction.DROP:
            self._shared.count(Shim6Counter.UNEXPECTED)
            return
        if action is not ContextAction.PROCESS:
            self._negotiator.repeat(context, action, arrival.now_ns)
        if action in _PROCESSED:
            self._process(arrival, context, message)

    def _process(self, arrival: Arrival, context: Context, message: Tagged) -> None:
        now_ns = arrival.now_ns
        context.reap.message_ns = now_ns
        match message:
            case Keepalive():
                self._reap.keepalive_in(context, now_ns)
            case Probe():
                self._reap.probe_in(context, *arrival.addresses, message, now_ns)
            case UpdateRequest():
                self.note_received(context, now_ns)
                self._updater.handle_request(arrival, context, message)
            case UpdateAck():
                self.note_received(context, now_ns)
                self._updater.handle_ack(context, message, now_ns)

    def _handle_error(self, arrival: Arrival, message: ErrorMessage) -> None:
        """Find out which of our messages the peer could not process (RFC 5533 §5.14, §12.4)."""
        quote = read_quote(message.packet)
        context = find_quoted(self._shared, quote, arrival.now_ns) if quote is not None else None
        if quote is None or context is None or arrival.pair != quote.pair:
            self._shared.count(Shim6Counter.FOREIGN_ERROR)
            return
        self._shared.events.append(PeerError(*context.key, message.code, message.pointer))
        out_of_step = message.code in (ErrorCode.GENERATION, ErrorCode.LOCATOR_COUNT)
        if out_of_step and self._shared.may_answer(context, arrival.now_ns):
            self._updater.say_all_again(context, arrival.now_ns)
