"""Shim6 contexts of a capture (RFC 5533, RFC 5534): their exchanges, and what went between locators."""

from collections import Counter
from dataclasses import dataclass, field

from mpcore.analysis.packet import TCP, Packet, Shim6Packet, Skip, parse_tcp
from mpcore.errors import WireError
from mpcore.wire import shim6

Ulids = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Message:
    """A control message: its packet, its sender (0 the initiator of the context) and its locators."""

    packet: int
    time_ns: int
    sender: int
    src: bytes
    dst: bytes
    value: shim6.Message


@dataclass(slots=True)
class Context:
    """A Shim6 context; index 0 is the host that sent the first I1, `tags` are those that each host allocated.

    `payload` counts packets and bytes that carried the header, by sender and pair of locators.
    """

    number: int
    time_ns: int
    ulids: Ulids
    instance: int = 0
    tags: list[int | None] = field(default_factory=lambda: [None, None])
    locators: list[tuple[bytes, ...]] = field(default_factory=lambda: [(), ()])
    messages: list[Message] = field(default_factory=list)
    packets: "Counter[tuple[int, bytes, bytes]]" = field(default_factory=Counter)
    payload_bytes: "Counter[tuple[int, bytes, bytes]]" = field(default_factory=Counter)

    @property
    def established(self) -> bool:
        """Whether both tags are known, as R2 makes them."""
        return None not in self.tags


@dataclass(slots=True)
class Contexts:
    """Takes packets with a Shim6 header in the order of the capture; `found` is the result."""

    found: list[Context] = field(default_factory=list)
    malformed: int = 0
    unknown: int = 0  # nothing in the capture says which context they belong to
    _by_ulids: dict[tuple[bytes, bytes, int], Context] = field(default_factory=dict)
    _by_nonce: dict[int, Context] = field(default_factory=dict)
    _by_tag: dict[int, tuple[Context, int]] = field(default_factory=dict)

    def take(self, packet: Shim6Packet) -> Packet | Skip | None:
        """Take a packet; the TCP segment between ULIDs that it carries, if it does."""
        try:
            if len(packet.data) > 2 and packet.data[2] & 0x80:
                return self._take_payload(packet, shim6.parse_payload_header(packet.data))
            self._take_message(packet, shim6.parse_message(packet.data))
        except WireError:
            self.malformed += 1
        return None

    def _take_payload(self, packet: Shim6Packet, header: shim6.PayloadHeader) -> Packet | Skip | None:
        if header.receiver_tag not in self._by_tag:
            self.unknown += 1
            return None
        context, owner = self._by_tag[header.receiver_tag]
        sender, size = owner ^ 1, packet.size - shim6.PAYLOAD_HEADER_SIZE
        context.packets[sender, packet.src, packet.dst] += 1
        context.payload_bytes[sender, packet.src, packet.dst] += size
        if header.next_header != TCP:
            return None
        segment = packet.data[shim6.PAYLOAD_HEADER_SIZE :]
        ulids = context.ulids[sender], context.ulids[owner]
        return parse_tcp(packet.number, packet.time_ns, *ulids, segment, size)

    def _take_message(self, packet: Shim6Packet, message: shim6.Message) -> None:
        place = self._place(packet, message)
        if place is None:
            self.unknown += 1
            return
        context, sender = place
        context.messages.append(
            Message(packet.number, packet.time_ns, sender, packet.src, packet.dst, message)
        )
        self._learn(context, sender, message)

    def _place(self, packet: Shim6Packet, message: shim6.Message) -> tuple[Context, int] | None:
        """Return the context of a message and who of its two hosts sent it (RFC 5533 §12.4)."""
        match message:
            case shim6.I1() | shim6.I2() | shim6.I2bis():
                return self._of_initiator(packet, message)
            case shim6.R1() | shim6.R2():
                context = self._by_nonce.get(message.initiator_nonce)
                return None if context is None else (context, _other_end(context, packet))
            case shim6.R1bis():
                # The sender's own tag, of a context that it has lost.
                return self._by_tag.get(message.packet_tag)
            case shim6.UpdateRequest() | shim6.UpdateAck() | shim6.Keepalive() | shim6.Probe():
                owned = self._by_tag.get(message.receiver_tag)
                return None if owned is None else (owned[0], owned[1] ^ 1)
        return None

    def _of_initiator(
        self, packet: Shim6Packet, message: shim6.I1 | shim6.I2 | shim6.I2bis
    ) -> tuple[Context, int]:
        pair = shim6.find_option(message, shim6.UlidPair)
        ulids = (packet.src, packet.dst) if pair is None else (pair.sender, pair.receiver)
        fork = shim6.find_option(message, shim6.ForkedInstance)
        instance = 0 if fork is None else fork.identifier
        sender = 0
        context = self._by_ulids.get((*ulids, instance))
        if context is None:
            context = self._by_ulids.get((ulids[1], ulids[0], instance))
            sender = 1
        if context is None:
            context, sender = Context(len(self.found) + 1, packet.time_ns, ulids, instance), 0
            self.found.append(context)
            self._by_ulids[*ulids, instance] = context
        self._by_nonce[message.initiator_nonce] = context
        return context, sender

    def _learn(self, context: Context, sender: int, message: shim6.Message) -> None:
        tag = None
        if isinstance(message, shim6.I1 | shim6.I2 | shim6.I2bis):
            tag = message.initiator_tag
        elif isinstance(message, shim6.R2):
            tag = message.responder_tag
        if tag is not None:
            context.tags[sender] = tag
            self._by_tag[tag] = (context, sender)
        locators = shim6.find_option(message, shim6.LocatorList)
        if locators is not None:
            context.locators[sender] = tuple(one.address for one in locators.locators)


def _other_end(context: Context, packet: Shim6Packet) -> int:
    """Return who answered: the one whose locator is the source, of the last host that asked."""
    asked = next((one for one in reversed(context.messages) if one.src == packet.dst), None)
    return 1 if asked is None else asked.sender ^ 1
