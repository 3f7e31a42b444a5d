"""One side of a subflow as its packets come: handshake, options, data."""

import hmac

from mpcore.analysis.data import DataFlow, note_acked, offset_of
from mpcore.analysis.model import Check, Connection, Event, Side, Subflow
from mpcore.analysis.packet import Packet
from mpcore.analysis.registry import Registry
from mpcore.mptcp import secrets
from mpcore.wire.values import (
    AddAddr,
    CapableFlag,
    Dss,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MpPrio,
    MptcpOption,
    MpTcpRst,
    MpV0Option,
    RemoveAddr,
    Subtype,
)

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
Options = tuple[MptcpOption, ...]


class Flow:
    """Takes the segments that one host sends on a subflow; `number` is the side."""

    __slots__ = ("_acked", "connection", "data", "direction", "isn", "number", "registry", "side", "subflow")

    def __init__(self, registry: Registry, connection: Connection, subflow: Subflow, number: int) -> None:
        self.registry = registry
        self.connection = connection
        self.subflow = subflow
        self.number = number
        self.direction = subflow.direction ^ number  # its number in the connection
        self.side: Side = subflow.sides[number]
        self.data = DataFlow(connection, subflow, number)
        self.isn: int | None = None
        self._acked = False

    def take(self, packet: Packet, options: Options) -> None:
        """Take one segment and its MPTCP options."""
        self.connection.last_ns = packet.time_ns
        self.side.packets += 1
        if packet.flags & SYN:
            self._take_handshake(packet, options)
        else:
            for option in options:
                self._take_option(packet, option)
            self._take_segment(packet, options)

    def _take_handshake(self, packet: Packet, options: Options) -> None:
        side = self.side
        side.isn = self.isn = packet.seq
        capable = None
        for option in options:
            capable = capable or capable_of(option)
            if isinstance(option, MpJoinSyn | MpJoinSynAck):
                side.nonce, side.address_id, side.backup = option.nonce, option.address_id, option.backup
            if isinstance(option, MpJoinSynAck):
                self.subflow.synack_check = self._check_join(option.hmac)
        if self.subflow.joined:
            return
        if capable is not None:
            self._take_capable(capable)
        if packet.flags & ACK:
            self.connection.accepted = capable is not None or bool(self.connection.accepted)
            self.connection.answered = self.connection.answered or packet.number
        elif capable is None:
            self._note(packet, "syn-without-option")

    def _take_capable(self, option: MpCapable) -> None:
        connection = self.connection
        if option.flags & CapableFlag.CHECKSUM:
            connection.checksum_required = True
        if self.number == 1:
            connection.version = option.version  # the responder's choice (RFC 8684 §3.1)
        if option.key_sender is not None:
            self.registry.learn(connection, self.direction, option.key_sender)

    def _take_option(self, packet: Packet, option: MptcpOption) -> None:
        if isinstance(option, Dss):
            self._take_dss(packet, option)
        elif isinstance(option, MpJoinAck):
            if self.subflow.joined:
                self.subflow.ack_check = self._check_join(option.hmac)
        elif (capable := capable_of(option)) is not None:
            if not self.subflow.joined:
                self._take_third_ack(capable)
        else:
            self._take_signal(packet, option)

    def _take_third_ack(self, option: MpCapable) -> None:
        if not self.connection.offered:
            self.connection.version = option.version
        for number, key in ((self.direction, option.key_sender), (self.direction ^ 1, option.key_receiver)):
            if key is not None:
                self.registry.learn(self.connection, number, key)
        self.data.take_capable(option)

    def _take_dss(self, packet: Packet, option: Dss) -> None:
        self.data.take_dss(packet, option)
        own, other = self.data.direction, self.connection.directions[self.direction ^ 1]
        if option.data_ack is not None and other.first is not None:
            note_acked(other, offset_of(other, option.data_ack, option.ack64), packet.time_ns)
        if option.data_fin and own.fin is None and option.data_seq is not None:
            last = offset_of(own, option.data_seq, option.seq64) + (option.data_len or 1) - 1
            own.fin = Event("data-fin", packet.number, packet.time_ns, self.direction, {"offset": last})

    def _take_signal(self, packet: Packet, option: MptcpOption) -> None:
        """Note an option that stands for an event."""
        match option:
            case AddAddr():
                self._take_add_addr(packet, option)
            case MpV0Option(Subtype.ADD_ADDR, data):
                size = 4 if data[0] & 0x0F == 4 else 16
                port = int.from_bytes(data[2 + size :], "big") or None
                self._note(packet, "add-addr", id=data[1], address=data[2 : 2 + size], port=port)
            case RemoveAddr(ids):
                self._note(packet, "remove-addr", ids=list(ids))
            case MpPrio(backup, address_id):
                self.side.backup = backup
                self._note(packet, "prio", backup=backup, id=address_id)
            case MpFail(data_seq):
                self.connection.failed = self.connection.failed or packet.number
                self._note(packet, "fail", data_seq=data_seq)
            case MpFastclose(key):
                expected = self.connection.directions[self.direction ^ 1].key
                self._note(
                    packet, "fastclose", key=Check.UNKNOWN if expected is None else check(key == expected)
                )
            case MpTcpRst(reason):
                self.side.reset_reason = reason

    def _take_add_addr(self, packet: Packet, option: AddAddr) -> None:
        details: dict[str, object] = {"id": option.address_id, "address": option.address, "port": option.port}
        if option.echo:
            self._note(packet, "echo", **details)
        else:
            self._note(packet, "add-addr", **details, hmac=self._check_add_addr(option))

    def _note(self, packet: Packet, kind: str, **details: object) -> None:
        details["subflow"] = self.subflow.number
        event = Event(kind, packet.number, packet.time_ns, self.direction, details)
        self.connection.events.append(event)

    def _take_segment(self, packet: Packet, options: Options) -> None:
        if self.number == 0 and not self._acked and packet.flags & ACK and not packet.flags & RST:
            self._acked = self.subflow.established = True
            if not self.subflow.joined and not any(map(_confirms, options)):
                self.connection.third_ack = packet.number
        if packet.payload_size and not packet.flags & RST:
            self.data.take_payload(packet)
        if packet.flags & FIN and self.side.fin is None:
            self.side.fin = packet.number
        if packet.flags & RST and self.side.reset is None:
            self.side.reset = packet.number

    def _check_join(self, received: bytes) -> Check:
        """Verify the HMAC that this side sent (RFC 8684 §3.2)."""
        numbers = (self.number, self.number ^ 1)
        keys = [self.connection.directions[self.subflow.direction ^ number].key for number in numbers]
        nonces = [self.subflow.sides[number].nonce for number in numbers]
        if keys[0] is None or keys[1] is None or nonces[0] is None or nonces[1] is None:
            return Check.UNKNOWN
        expected = secrets.join_hmac(self.connection.version, keys[0], keys[1], nonces[0], nonces[1])
        return check(hmac.compare_digest(expected[: len(received)], received))

    def _check_add_addr(self, option: AddAddr) -> Check:
        directions = self.connection.directions
        sender, receiver = directions[self.direction].key, directions[self.direction ^ 1].key
        if sender is None or receiver is None or option.hmac is None:
            return Check.UNKNOWN
        expected = secrets.add_addr_hmac(sender, receiver, option.address_id, option.address, option.port)
        return check(hmac.compare_digest(expected, option.hmac))


def check(right: bool) -> Check:
    """Return how a comparison turned out."""
    return Check.RIGHT if right else Check.WRONG


def capable_of(option: MptcpOption) -> MpCapable | None:
    """Return an MP_CAPABLE of either version (RFC 8684 §3.1, RFC 6824 §3.1) as one kind of value."""
    if isinstance(option, MpCapable):
        return option
    if not isinstance(option, MpV0Option) or option.subtype != Subtype.MP_CAPABLE:
        return None
    data = option.data
    receiver = int.from_bytes(data[10:18], "big") if len(data) == 18 else None
    return MpCapable(0, data[1], int.from_bytes(data[2:10], "big"), receiver)


def _confirms(option: MptcpOption) -> bool:
    return isinstance(option, Dss) or capable_of(option) is not None
