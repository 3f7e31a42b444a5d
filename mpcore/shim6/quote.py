"""What an ICMPv6 error or a Shim6 Error quotes: one of our packets, to be found again (RFC 5533 §12.4)."""

from dataclasses import dataclass

from mpcore.shim6.context import Context, ContextKey
from mpcore.shim6.locators import Pair
from mpcore.shim6.shared import Shared
from mpcore.wire.shim6 import PROTOCOL_SHIM6, TAG_MAX, MessageType

_IPV6_HEADER_SIZE = 40
_HOP_BY_HOP, _ROUTING, _DESTINATION = 0, 43, 60
_HEADERS_MAX = 4
# Messages whose tag is the sender's own; the others carry the tag of their receiver.
_OWN_TAG = frozenset({MessageType.I1, MessageType.I2, MessageType.I2BIS, MessageType.R2})
_RECEIVER_TAG_MIN = 64


@dataclass(frozen=True, slots=True)
class Quote:
    """A packet that this host sent, as far as it is quoted.

    `kind` is the message type, None for payload; `tag` None without Shim6 header; `start` and `end` delimit
    the Shim6 header in the packet.
    """

    pair: Pair
    kind: int | None
    tag: int | None
    nonce: int | None
    start: int
    end: int


def read_quote(packet: bytes) -> Quote | None:
    """Return what a quoted packet was, or None when too little of it is there to tell."""
    if len(packet) < _IPV6_HEADER_SIZE or packet[0] >> 4 != 6:
        return None
    pair = Pair(packet[8:24], packet[24:40])
    following, at = packet[6], _IPV6_HEADER_SIZE
    for _ in range(_HEADERS_MAX):
        if following not in (_HOP_BY_HOP, _ROUTING, _DESTINATION):
            break
        if len(packet) - at < 2:
            return None
        following, at = packet[at], at + 8 * (packet[at + 1] + 1)
    if following != PROTOCOL_SHIM6:
        return Quote(pair, None, None, None, at, at)
    header = packet[at:]
    if len(header) < 8:
        return None
    end = at + 8 * (header[1] + 1)
    if header[2] & 0x80:
        return Quote(pair, None, int.from_bytes(header[2:8]) & TAG_MAX, None, at, end)
    if len(header) < 16:
        return None
    tag = int.from_bytes(header[6:12]) & TAG_MAX
    return Quote(pair, header[2], tag, int.from_bytes(header[12:16]), at, end)


def find_quoted(shared: Shared, quote: Quote, now_ns: int) -> Context | None:
    """Return the context that a quoted packet belonged to.

    What we send to an established peer carries the peer's tag, and only the pair tells whose peer it is.
    """
    if quote.tag is None:
        return shared.contexts.by_key.get(ContextKey(*quote.pair))
    if quote.kind in _OWN_TAG:
        context = shared.contexts.by_tag_local.get(quote.tag)
        if context is None or quote.pair != context.handshake.pair:
            return None
        return context if context.handshake.initiator_nonce == quote.nonce else None
    if quote.kind is not None and quote.kind < _RECEIVER_TAG_MIN:
        return None
    lifetime_ns = shared.settings.recent_pair_ns
    found = shared.contexts.with_tag_peer(quote.tag)
    return next((one for one in found if one.expects(quote.pair, now_ns, lifetime_ns)), None)
