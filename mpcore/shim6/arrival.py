"""A control message that has come, and complaints about it (RFC 5533 §5.14, §12.3)."""

import struct
from dataclasses import dataclass

from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.locators import Pair
from mpcore.shim6.shared import Shared
from mpcore.wire.shim6 import PROTOCOL_SHIM6, ErrorCode, ErrorMessage, Message

IPV6_HEADER_SIZE = 40
_HOP_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message with the addresses of its packet: it went to `pair.local`, from `pair.peer`."""

    pair: Pair
    message: Message
    data: bytes
    now_ns: int

    @property
    def addresses(self) -> tuple[bytes, bytes]:
        """Return (source, destination)."""
        return self.pair.peer, self.pair.local


def complain(shared: Shared, arrival: Arrival, code: ErrorCode, pointer: int) -> None:
    """Send an Error about a message; `pointer` counts from the Shim6 header on. Never about an Error."""
    if isinstance(arrival.message, ErrorMessage):
        return
    if not shared.error_limit.take(arrival.now_ns):
        shared.count(Shim6Counter.LIMIT_ERROR)
        return
    source, destination = arrival.addresses
    fixed = struct.pack(">IHBB", 6 << 28, len(arrival.data), PROTOCOL_SHIM6, _HOP_LIMIT)
    packet = fixed + source + destination + arrival.data
    shared.send(arrival.pair, ErrorMessage(code, IPV6_HEADER_SIZE + pointer, packet))
