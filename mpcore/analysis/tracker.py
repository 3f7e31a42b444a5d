"""From segments to flows, and from flows to connections."""

from dataclasses import dataclass, field

from mpcore.analysis.fallback import decide_fallback
from mpcore.analysis.flow import ACK, SYN, Flow, Options, capable_of
from mpcore.analysis.model import Check, Connection, Subflow
from mpcore.analysis.packet import Packet
from mpcore.analysis.registry import Registry
from mpcore.errors import WireError
from mpcore.wire.values import (
    MalformedMptcp,
    MpCapable,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MptcpOption,
    OptionKind,
    parse_options,
)

MPTCP = int(OptionKind.MPTCP)
Key = tuple[bytes, int, bytes, int]


@dataclass(slots=True)
class Plain:
    """A TCP connection that never offered MPTCP."""

    isn: int


@dataclass(slots=True)
class Tracker:
    """Takes segments in the order of the capture; `connections` is the result, which `finish` completes."""

    plain: int = 0
    malformed_options: int = 0
    unreadable_options: int = 0
    registry: Registry = field(default_factory=Registry)
    _flows: dict[Key, Flow | Plain] = field(default_factory=dict)
    _silent: set[Key] = field(default_factory=set)  # no SYN, and nothing of MPTCP yet

    @property
    def connections(self) -> list[Connection]:
        """All connections that offered MPTCP or used it."""
        return self.registry.connections

    def take(self, packet: Packet) -> None:
        """Take one segment."""
        flow = self._flows.get((packet.src, packet.src_port, packet.dst, packet.dst_port))
        opens = packet.flags & (SYN | ACK) == SYN
        if isinstance(flow, Plain) and not opens:
            return
        options = self._options(packet)
        if opens and (flow is None or flow.isn != packet.seq):
            flow = self._open(packet, options)
        elif flow is None:
            flow = self._enter(packet, options)
        if isinstance(flow, Flow):
            flow.take(packet, options)

    def finish(self) -> None:
        """Decide what can be decided only at the end."""
        self.plain += len({min(key, (*key[2:], *key[:2])) for key in self._silent - self._flows.keys()})
        for connection in self.connections:
            connection.fallback = decide_fallback(connection)

    def _options(self, packet: Packet) -> Options:
        area = packet.options
        if MPTCP not in area:
            return ()
        try:
            found = parse_options(area)
        except WireError:
            self.unreadable_options += 1
            return ()
        options = tuple(option for option in found if isinstance(option, MptcpOption))
        self.malformed_options += sum(isinstance(option, MalformedMptcp) for option in options)
        return options

    def _open(self, packet: Packet, options: Options) -> Flow | None:
        """Take a SYN: a connection, a join or plain TCP."""
        for option in options:
            if isinstance(option, MpJoinSyn):
                return self._join(packet, option)
            if (capable := capable_of(option)) is not None:
                connection = self.registry.create(packet.time_ns)
                connection.version = capable.version
                connection.start_captured = connection.offered = True
                return self._register(packet, connection, _subflow(packet, connection))
        self.plain += 1
        self._flows[_key(packet)] = self._flows[_reversed(packet)] = Plain(packet.seq)
        return None

    def _join(self, packet: Packet, option: MpJoinSyn) -> Flow:
        connection, direction = self.registry.join(option.token, packet.time_ns)
        subflow = _subflow(packet, connection, direction, joined=True)
        subflow.token = option.token
        known = connection.directions[direction ^ 1].key is not None
        subflow.token_check = Check.RIGHT if known else Check.UNKNOWN
        return self._register(packet, connection, subflow)

    def _enter(self, packet: Packet, options: Options) -> Flow | None:
        """Take a segment of a flow whose SYN is not in the capture."""
        if not options:
            self._silent.add(_key(packet))
            return None
        joined = any(isinstance(option, MpJoinSynAck | MpJoinAck) for option in options)
        connection, direction = self._by_keys(options) or (self.registry.create(packet.time_ns), 0)
        # A SYN/ACK comes from the responder; of other segments we cannot know.
        swapped = bool(packet.flags & SYN)
        subflow = _subflow(packet, connection, direction, joined=joined, swapped=swapped)
        return self._register(packet, connection, subflow, swapped=swapped)

    def _by_keys(self, options: Options) -> tuple[Connection, int] | None:
        """Return the connection that the keys of a third ACK name, if it is known."""
        for option in options:
            if isinstance(option, MpCapable) and option.key_receiver is not None:
                return self.registry.find_key(option.version, option.key_receiver)
        return None

    def _register(
        self, packet: Packet, connection: Connection, subflow: Subflow, *, swapped: bool = False
    ) -> Flow:
        """Make both sides of a flow and return the one that sent the packet."""
        sides = [Flow(self.registry, connection, subflow, number) for number in (0, 1)]
        here, there = (sides[1], sides[0]) if swapped else (sides[0], sides[1])
        self._flows[_key(packet)], self._flows[_reversed(packet)] = here, there
        return here


def _key(packet: Packet) -> Key:
    return packet.src, packet.src_port, packet.dst, packet.dst_port


def _reversed(packet: Packet) -> Key:
    return packet.dst, packet.dst_port, packet.src, packet.src_port


def _subflow(
    packet: Packet, connection: Connection, direction: int = 0, *, joined: bool = False, swapped: bool = False
) -> Subflow:
    """Return a new subflow of the connection; `swapped` where the packet comes from its responder."""
    here, there = (packet.src, packet.src_port), (packet.dst, packet.dst_port)
    ends = (there, here) if swapped else (here, there)
    number = len(connection.subflows) + 1
    subflow = Subflow(number, ends, joined, packet.number, packet.time_ns, direction)
    connection.subflows.append(subflow)
    if connection.ends is None or not joined:
        connection.ends = ends if direction == 0 else (ends[1], ends[0])
    return subflow
