"""The sans-IO endpoint: engine and control cores of one host, for a driver that has packets and a clock.

A driver hands in packets (`handle_packet`), address changes and the passing of time (`handle_timeout`), and
takes out packets (`poll_transmit`), events (`poll_event`) and the next deadline (`poll_timeout`). Nothing
here does IO: the daemon and the simulator drive the same object. Times are integer nanoseconds of a monotonic
clock, addresses 4 or 16 octets.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from mpcore import snapshot
from mpcore.actions import (
    CheckSubflow,
    CloseSubflow,
    Direction,
    JoinFailed,
    OpenConnection,
    Role,
    SendOptions,
    SetBackup,
    StartJoin,
    SubflowReady,
    Transmit,
    Verdict,
    VerdictKind,
)
from mpcore.config import Config
from mpcore.connections import Connection, ConnectionTable
from mpcore.counters import COUNTER_COUNT, Counter, name_counters
from mpcore.engine import Engine
from mpcore.errors import CapacityError, LocalProtocolError, WireError
from mpcore.events import (
    AddressAnnounced,
    AddressRemoved,
    ConnectionClosed,
    ConnectionCreated,
    ConnectionEstablished,
    ConnectionFellBack,
    Event,
    PriorityChanged,
    SubflowClosed,
    SubflowEstablished,
)
from mpcore.mptcp import keys
from mpcore.mptcp.control import ConnectionControl, ControlEffect
from mpcore.mptcp.flow import FlowKey, flow_key
from mpcore.mptcp.handshake import Decision, Negotiator
from mpcore.mptcp.join import JoinContext, JoinEffect, Joins
from mpcore.mptcp.joining import refusal
from mpcore.mptcp.path_mgmt import AddressBook, LocalAddresses
from mpcore.mptcp.states import FallbackReason
from mpcore.policy.base import PathManager
from mpcore.policy.registry import path_manager
from mpcore.policy.scheduler import Scheduler, chooser
from mpcore.wire.codec import is_intact
from mpcore.wire.icmp import IcmpError, parse_icmp_error
from mpcore.wire.values import AddAddr, MptcpOption, RemoveAddr, Segment, parse_mptcp_option, parse_segment

EVENTS_MAX = 4096
HOST_PORTS = (0, 1)  # transmit ports that lead to local sockets
FALLEN_BACK_MAX = 256
# Connections that nobody expected to be multipath: telling of each would drown the others.
QUIET_REASONS = frozenset(
    {
        FallbackReason.BEGAN_BEFORE,
        FallbackReason.DISABLED,
        FallbackReason.LOOPBACK,
        FallbackReason.EXCLUDED,
        FallbackReason.NOT_OFFERED,
        FallbackReason.OWN_MPTCP,
    }
)

(
    EVENT_OPTION,
    EVENT_ESTABLISHED,
    EVENT_FELL_BACK,
    EVENT_SUBFLOW_ESTABLISHED,
    EVENT_SUBFLOW_CLOSED,
    EVENT_CLOSED,
) = range(1, 7)
FALLBACK_WORDS = {1: "no DSS after the handshake", 2: "infinite mapping", 3: "DSS checksum failed"}
CLOSE_WORDS = (
    "closed",
    "reset by the peer",
    "timed out",
    "removed",
    "middlebox",
    "connection ended",
    "refused by the peer",
    "refused by the peer for now",
)
CLOSE_RESET, CLOSE_TIMEOUT, CLOSE_MIDDLEBOX, CLOSE_REFUSED, CLOSE_REFUSED_NOW = 1, 2, 4, 6, 7
FAILURES = frozenset({CLOSE_RESET, CLOSE_TIMEOUT, CLOSE_MIDDLEBOX, CLOSE_REFUSED, CLOSE_REFUSED_NOW})
LASTING = frozenset({CLOSE_MIDDLEBOX, CLOSE_REFUSED})
DIRECTIONS = tuple(Direction)
VERDICTS = tuple(VerdictKind)
RECEIVED = {
    Direction.FROM_HOST: (Counter.PACKETS_FROM_HOST, Counter.BYTES_FROM_HOST),
    Direction.FROM_NETWORK: (Counter.PACKETS_FROM_NETWORK, Counter.BYTES_FROM_NETWORK),
}
VERDICT_COUNTERS = {
    VerdictKind.PASS: Counter.PASSED,
    VerdictKind.REWRITE: Counter.REWRITTEN,
    VerdictKind.DROP: Counter.DROPPED,
    VerdictKind.LEAVE: Counter.LEFT,
}

Effect = ControlEffect | JoinEffect
News = tuple[int, MptcpOption | None]  # path index, and the peer's ADD_ADDR; None: the connection is new


class Endpoint:
    """Multipath TCP of one host.

    Args:
        config: everything that can be set
        rng: source of keys, nonces and sequence numbers: `randbytes`, `getrandbits`, `randrange`
        now_ns: the driver's clock
        manager: path manager in place of the configured one
        scheduler: asked for each segment in place of the configured one
        reachable: tells whether packets from a local to a remote address leave by the local one's interface

    Thread-safety: one thread at a time.
    """

    def __init__(
        self,
        config: Config,
        *,
        rng: keys.RandomSource,
        now_ns: int,
        manager: PathManager | None = None,
        scheduler: Scheduler | None = None,
        reachable: Callable[[bytes, bytes], bool] = lambda local, remote: True,
    ) -> None:
        self.config = config
        self._now_ns = now_ns
        self._reachable = reachable
        self._manager = manager if manager is not None else path_manager(config.mptcp.path_manager)
        self.engine = _engine(config, rng)
        if scheduler is not None:
            self.engine.use_scheduler(chooser(scheduler))
        self._counts = [0] * COUNTER_COUNT
        self._table = ConnectionTable()
        self._negotiator = Negotiator(
            config.mptcp,
            config.limits,
            rng,
            self._table.has_token,
            counts=self._counts,
            has_room=lambda: len(self.engine) < config.limits.max_connections,
        )
        self._joins = Joins(
            config.mptcp,
            config.limits,
            rng,
            self._join_context,
            knows=self._table.has_token,
            flow_in_use=self._flow_in_use,
            mtu=self._mtu_of,
            counts=self._counts,
        )
        self._addresses: dict[bytes, tuple[str, bool]] = {}
        self._mtus: dict[bytes, int] = {}
        self._books: dict[bytes, LocalAddresses] = {}  # by address of the first subflow
        self._transmits: list[Transmit] = []
        self._news: dict[int, list[News]] = {}  # by handle of the connection
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self._fallen_back: deque[dict[str, Any]] = deque(maxlen=FALLEN_BACK_MAX)

    # --- packets

    def handle_packet(
        self, direction: Direction, data: bytes, now_ns: int, carrier: int | None = None
    ) -> Verdict:
        """Decide on one packet whose TCP checksum is complete.

        `carrier` names a super-packet of the host that the driver can keep: the verdict may then be HOLD, and
        a Transmit with that id follows (`engine.hold_carriers` allows it).
        """
        kind = self.engine.process(direction, data, now_ns, True, carrier)
        if kind == VerdictKind.PUNT:
            verdict = self.handle_punt(direction, data, now_ns)
        else:
            verdict = Verdict(VERDICTS[kind])
        self._settle(now_ns)
        return verdict

    def handle_punt(self, direction: int, data: bytes, now_ns: int, checksum_ready: bool = True) -> Verdict:
        """Decide on a packet that the engine has no connection for; count its verdict."""
        if self.engine.has_events():
            # A handle that has just become free must be forgotten before another connection gets it.
            self.handle_events(now_ns, postpone=True)
        way = DIRECTIONS[direction]
        decision = self._decide(way, data, now_ns, checksum_ready)
        if decision.reprocess:
            # The engine counts it once more, with the verdict that holds.
            packets, octets = RECEIVED[way]
            self._counts[packets] -= 1
            self._counts[octets] -= len(data)
            return Verdict(VERDICTS[self.engine.process(direction, data, now_ns, checksum_ready)])
        self._counts[VERDICT_COUNTERS[decision.verdict.kind]] += 1
        return decision.verdict

    def _decide(self, way: Direction, data: bytes, now_ns: int, checksum_ready: bool) -> Decision:
        """Ask joins and negotiator, and open the connection that the latter may report."""
        try:
            segment = parse_segment(data)
        except WireError:
            return Decision(Verdict(VerdictKind.PASS))
        if way is Direction.FROM_NETWORK and checksum_ready and not is_intact(data):
            # Rewritten, it would get a right checksum; as it is, the kernel drops it.
            self._counts[Counter.BAD_CHECKSUM] += 1
            return Decision(Verdict(VerdictKind.PASS))
        if self._joins.claims(way, segment):
            self._apply(None, self._joins.handle_packet(way, segment, now_ns), now_ns)
            return Decision(Verdict(VerdictKind.DROP))
        decision = self._negotiator.handle_packet(way, segment, now_ns)
        self._joins.leave_unknown_tokens = self._negotiator.own_mptcp_seen
        if decision.open is not None and not self._open(decision.open, now_ns):
            return Decision(Verdict(VerdictKind.LEAVE))
        if decision.transmits:
            local = segment.dst if way is Direction.FROM_NETWORK else segment.src
            self._transmits.extend(Transmit(False, local, packet) for packet in decision.transmits)
        self._note_decision(way, segment, decision)
        return decision

    def handle_icmp(self, version: int, message: bytes, now_ns: int) -> None:
        """Act on an ICMP error about a subflow, a message from its type on.

        One about a subflow that lives says only what size its path takes; that there was no way is news of
        the moment (RFC 1122 §4.2.3.9). It ends a join that has not been answered.
        """
        try:
            error = parse_icmp_error(version, message)
        except WireError:
            return
        key = (version, error.src, error.src_port, error.dst, error.dst_port)
        flow = self.engine.find_flow(*key)
        if flow is not None:
            self._counts[Counter.ICMP_RX] += 1
            if not self._is_too_big(flow, error, now_ns):
                self._counts[Counter.ICMP_IGNORED] += 1
        elif error.mtu is None:
            failed = self._joins.handle_unreachable(key, error.seq)
            self._counts[Counter.ICMP_RX] += len(failed)
            self._apply(None, failed, now_ns)
        self._settle(now_ns)

    def _is_too_big(self, flow: tuple[int, int], error: IcmpError, now_ns: int) -> bool:
        """Lower a subflow's segment size if the error is about that and may be true (RFC 5927 §7.2)."""
        if error.mtu is None or error.mtu >= error.size:
            return False
        return self.engine.too_big(*flow, error.seq, error.mtu, now_ns)

    def flush(self, now_ns: int) -> None:
        """Send the ACKs that nothing else carried: to be called when no packet waits."""
        self._settle(now_ns)
        self.engine.run_flush(now_ns)

    def poll_transmit(self) -> list[Transmit]:
        """Take the packets to be sent, in order."""
        sources = self.engine.port_addresses
        packets = [
            Transmit(port in HOST_PORTS, sources[port] or b"", data, carrier)
            for port, data, carrier in self.engine.poll_transmit()
        ]
        return [*self.take_transmits(), *packets]

    def take_transmits(self) -> list[Transmit]:
        """Take the packets of the control cores alone; a driver drains the engine's queues itself."""
        taken, self._transmits = self._transmits, []
        return taken

    def needs_all_packets(self) -> bool:
        """Tell whether packets other than SYNs and RSTs concern it; else those need not be handed to it.

        The only other packet that begins something is a client's third ACK (RFC 8684 §3.1).
        """
        return len(self.engine) > 0 or self._negotiator.awaits_third_ack

    def note_own_mptcp(self) -> None:
        """Learn that programs of this host speak MPTCP themselves: their kernel has tokens unknown here."""
        self._negotiator.own_mptcp_seen = self._joins.leave_unknown_tokens = True

    # --- time

    def poll_timeout(self) -> int | None:
        """Return when handle_timeout is due, None when nothing waits."""
        candidates = (self.engine.next_timeout(), self.poll_control_timeout())
        return min((each for each in candidates if each is not None), default=None)

    def poll_control_timeout(self) -> int | None:
        """Return the same for a driver that looks after the engine's timers itself."""
        if self._news:
            return self._now_ns
        candidates = (
            self._negotiator.poll_timeout(),
            self._joins.poll_timeout(),
            self._table.deadlines.first(),
        )
        return min((each for each in candidates if each is not None), default=None)

    def handle_timeout(self, now_ns: int) -> None:
        """Do all that is due."""
        self.engine.run_expire(now_ns)
        self._negotiator.handle_timeout(now_ns)
        self._apply(None, self._joins.handle_timeout(now_ns), now_ns)
        for handle in self._table.deadlines.expired(now_ns):
            connection = self._table.by_handle(handle)
            if connection is not None:
                self._apply(connection, connection.control.handle_timeout(now_ns), now_ns)
        self._settle(now_ns)

    # --- events

    def poll_event(self) -> Event | None:
        """Take the next event; when too many wait, the oldest are lost."""
        return self._events.popleft() if self._events else None

    def handle_events(self, now_ns: int, *, postpone: bool = False) -> None:
        """Act on what the engine reports. A driver that pumps the engine itself calls this in between.

        With `postpone`, which paths connections are to have is left to `handle_news`.
        """
        for kind, handle, path_index, value, data in self.engine.poll_events():
            connection = self._table.by_handle(handle)
            if connection is None:
                continue
            if kind == EVENT_OPTION:
                self._on_option(connection, path_index, data, now_ns, postpone)
            elif kind == EVENT_ESTABLISHED:
                self._events.append(ConnectionEstablished(connection.token))
                connection.control.confirm()
                self._on_news(connection, (path_index, None), now_ns, postpone)
            elif kind == EVENT_FELL_BACK:
                self._on_fallback(connection, value)
            elif kind == EVENT_SUBFLOW_ESTABLISHED:
                self._on_subflow_established(connection, path_index)
            elif kind == EVENT_SUBFLOW_CLOSED:
                self._on_subflow_closed(connection, path_index, value, now_ns)
            elif kind == EVENT_CLOSED:
                self._on_closed(connection)

    @property
    def has_news(self) -> bool:
        """Tell whether `handle_news` has something to do."""
        return bool(self._news)

    def handle_news(self, now_ns: int) -> None:
        """Decide on the paths of connections that are new or whose peers announced addresses.

        No packet waits for that, so a driver does it once none waits for the driver: what has ended by then
        needs no path.
        """
        news, self._news = self._news, {}
        for handle, items in news.items():
            connection = self._table.by_handle(handle)
            if connection is None:
                continue
            if self._has_ended(connection):
                late = sum(option is not None for _, option in items)
                self._counts[Counter.ADD_ADDR] += late
                self._counts[Counter.ADD_ADDR_DROP] += late
            else:
                self._tell(connection, items, now_ns)

    def _on_news(self, connection: Connection, item: News, now_ns: int, postpone: bool) -> None:
        if postpone:
            self._news.setdefault(connection.handle, []).append(item)
        else:
            self._tell(connection, [*self._news.pop(connection.handle, ()), item], now_ns)

    def _tell(self, connection: Connection, news: Iterable[News], now_ns: int) -> None:
        """Let the control core hear of `news` in their order."""
        for path_index, option in news:
            if option is None:
                effects = connection.control.handle_established(now_ns)
            else:
                effects = connection.control.handle_option(path_index, option, now_ns)
            self._apply(connection, effects, now_ns)

    # --- addresses

    def add_local_address(
        self, address: bytes, *, interface: str, now_ns: int, backup: bool = False, mtu: int = 1500
    ) -> None:
        """Let an address of this host take part in connections, from now on and in those that exist."""
        self._addresses[address] = (interface, backup)
        self._mtus[address] = mtu
        self._books.clear()
        for connection in self._table:
            effects = connection.control.add_local_address(address, interface, now_ns, backup=backup)
            self._apply(connection, effects, now_ns)
        self._settle(now_ns)

    def remove_local_address(self, address: bytes, now_ns: int) -> None:
        """Take an address out: its subflows end at once and their data goes elsewhere."""
        self._addresses.pop(address, None)
        self._books.clear()
        for connection in self._table:
            effects = connection.control.remove_local_address(address, now_ns)
            for path_index in connection.paths_from(address):
                self.engine.remove_subflow(connection.handle, path_index)
            self._apply(connection, effects, now_ns)
        self._settle(now_ns)

    def handle_routes(self, now_ns: int, *, new_router: bool) -> None:
        """Routes have changed, as `reachable` knows: addresses may lead to peers now, or have ceased to.

        `new_router`: a default route is among them.
        """
        self._now_ns = now_ns
        for connection in self._table:
            effects = connection.control.handle_routes(now_ns, new_router=new_router)
            self._apply(connection, effects, now_ns)
        self._settle(now_ns)

    # --- end

    def shut_down(self, now_ns: int) -> None:
        """End every connection, so that program and peer learn at once what they could not find out alone.

        Without this endpoint the two ends number their bytes differently: nothing can go on as plain TCP.
        """
        for connection in self._table:
            self.engine.abort(connection.handle, now_ns)
        self._settle(now_ns)

    def handle_adopted(self, addresses: set[bytes]) -> None:
        """Addresses of sockets are local again: packets to them may have been lost in between."""
        for connection in self._table:
            if connection.opened.local in addresses:
                self.engine.tell_host(connection.handle)

    def socket_addresses(self) -> set[bytes]:
        """Return the addresses of the host's sockets whose connections are carried here."""
        return {connection.opened.local for connection in self._table}

    # --- looking

    def moves(self, local: bytes, local_port: int, remote: bytes, remote_port: int) -> bool:
        """Tell whether this TCP flow belongs to a connection that is multipath now."""
        flow = self.engine.find_flow(4 if len(local) == 4 else 6, local, local_port, remote, remote_port)
        connection = None if flow is None else self._table.by_handle(flow[0])
        return connection is not None and connection.fallback is None

    def counters(self) -> dict[str, int]:
        """Return every counter by its MIB name."""
        pairs = zip(self._counts, self.engine.counters(), strict=True)
        return name_counters([here + there for here, there in pairs])

    def snapshot(self) -> dict[str, Any]:
        """Return the status document of `mpcore show -j`."""
        return snapshot.document(
            self.engine, self._table, self._addresses, list(self._fallen_back), self.counters()
        )

    # --- connections

    def _open(self, effect: OpenConnection, now_ns: int) -> bool:
        """Take a connection over; False when there is no place for it."""
        try:
            handle = self.engine.open_connection(
                effect,
                idsn_local=keys.idsn(effect.key_local),
                idsn_remote=keys.idsn(effect.key_remote),
                scheduler=self.config.mptcp.scheduler,
                congestion=self.config.mptcp.congestion,
                now_ns=now_ns,
            )
        except CapacityError:
            return False
        control = ConnectionControl(
            effect, self.config.mptcp, self._manager, counts=self._counts, reachable=self._reachable
        )
        self._table.add(Connection(handle, effect, control))
        self._events.append(
            ConnectionCreated(
                control.token,
                "client" if effect.role is Role.CLIENT else "server",
                effect.local,
                effect.local_port,
                effect.remote,
                effect.remote_port,
            )
        )
        control.book.share(self._shared_addresses(control.book))
        return True

    def _shared_addresses(self, fresh: AddressBook) -> LocalAddresses:
        """Return what a fresh book becomes with the addresses of this host: the same for each of its kind."""
        first = fresh.local_addresses[0].address
        shared = self._books.get(first)
        if shared is None:
            for address, (interface, backup) in self._addresses.items():
                fresh.add_local(address, interface, backup)
            shared = self._books[first] = fresh.shared()
        return shared

    def _on_option(
        self, connection: Connection, path_index: int, data: bytes, now_ns: int, postpone: bool
    ) -> None:
        option = parse_mptcp_option(data)
        announces = isinstance(option, AddAddr) and not option.echo
        self._on_news(connection, (path_index, option), now_ns, postpone and announces)

    def _on_fallback(self, connection: Connection, reason: int) -> None:
        connection.control.handle_fallback()
        connection.fallback = FALLBACK_WORDS.get(reason, "unknown")
        self._joins.forget_connection(connection.token)
        self._events.append(ConnectionFellBack(connection.token, connection.fallback))
        self._remember(snapshot.fallen_back(connection))

    def _on_subflow_established(self, connection: Connection, path_index: int) -> None:
        ready = connection.subflows.get(path_index)
        if ready is not None:
            self._events.append(
                SubflowEstablished(
                    connection.token,
                    ready.local,
                    ready.remote,
                    ready.local_id,
                    ready.remote_id,
                    ready.backup or ready.peer_backup,
                    ready.local_port,
                    ready.remote_port,
                )
            )

    def _on_subflow_closed(self, connection: Connection, path_index: int, reason: int, now_ns: int) -> None:
        ended = connection.remove_path(path_index)
        word = CLOSE_WORDS[reason] if reason < len(CLOSE_WORDS) else "unknown"
        self._events.append(SubflowClosed(connection.token, *ended, reason=word))
        if self.engine.is_over(connection.handle):
            return
        effects = connection.control.handle_subflow_closed(
            path_index, now_ns, failed=reason in FAILURES, for_good=reason in LASTING
        )
        self._apply(connection, effects, now_ns)

    def _on_closed(self, connection: Connection) -> None:
        self._joins.forget_connection(connection.token)
        self._news.pop(connection.handle, None)
        self._table.remove(connection)
        if connection.fallback is None:
            self._events.append(ConnectionClosed(connection.token))

    def _note_decision(self, way: Direction, segment: Segment, decision: Decision) -> None:
        reason = decision.reason if decision.verdict.kind is VerdictKind.LEAVE else None
        if reason == FallbackReason.BEGAN_BEFORE:
            self._counts[Counter.UNKNOWN_FLOW] += 1
        if reason is not None and reason not in QUIET_REASONS:
            self._events.append(ConnectionFellBack(None, str(reason)))
            self._remember(snapshot.never_begun(flow_key(way, segment), str(reason)))

    def _remember(self, entry: dict[str, Any]) -> None:
        """Keep the entry of a connection that left, in the place of an earlier one between the same ends."""
        ends = entry["local"], entry["remote"]
        for earlier in [each for each in self._fallen_back if (each["local"], each["remote"]) == ends]:
            self._fallen_back.remove(earlier)
        self._fallen_back.append(entry)

    # --- effects

    def _apply(self, connection: Connection | None, effects: Iterable[Effect], now_ns: int) -> None:
        for effect in effects:
            self._apply_one(connection, effect, now_ns)
        if connection is not None:
            self._table.arm(connection)

    def _apply_one(self, connection: Connection | None, effect: Effect, now_ns: int) -> None:
        match effect:
            case Transmit():
                self._transmits.append(effect)
            case StartJoin(token):
                self._start_join(token, effect, now_ns)
            case SubflowReady():
                self._add_subflow(effect, now_ns)
            case JoinFailed():
                joining = self._table.by_token(effect.token)
                if joining is not None:
                    joining.control.handle_join_failed(effect, now_ns)
                    self._table.arm(joining)
            case AddressAnnounced() | AddressRemoved() | PriorityChanged():
                self._events.append(effect)
            case _ if connection is not None:
                self._apply_to_engine(connection, effect)

    def _apply_to_engine(self, connection: Connection, effect: Effect) -> None:
        match effect:
            case SendOptions(path_index, data):
                if not self.engine.send_option(connection.handle, path_index, data):
                    self._counts[_unsent(data)] += 1
            case CloseSubflow(path_index, reset_reason):
                self.engine.close_subflow(connection.handle, path_index, reset_reason)
            case CheckSubflow(path_index, lost):
                self.engine.check_subflow(connection.handle, path_index, lost, self._now_ns)
            case SetBackup(path_index, backup, by_peer):
                self.engine.set_backup(connection.handle, path_index, backup, by_peer)

    def _start_join(self, token: int, effect: StartJoin, now_ns: int) -> None:
        connection = self._table.by_token(token)
        if connection is None:
            return
        context = self._context_of(connection)
        problem = "the connection is closing"
        if context.accepts:
            try:
                self._transmits.append(self._joins.start(context, effect.action, now_ns))
                return
            except CapacityError as error:
                problem = str(error)
        failed = JoinFailed(token, effect.action, problem, transient=True)
        connection.control.handle_join_failed(failed, now_ns)
        self._table.arm(connection)

    def _add_subflow(self, ready: SubflowReady, now_ns: int) -> None:
        connection = self._table.by_token(ready.token)
        if connection is None:
            return
        try:
            path_index = self.engine.open_subflow(connection.handle, ready, now_ns)
        except (CapacityError, LocalProtocolError):
            # the peer has it already, and would wait for answers of a subflow that is not
            self._counts[Counter.RST_TX] += 1
            self._transmits.append(refusal(ready))
            connection.control.handle_subflow_refused(ready)
            return
        self._table.add_path(connection, path_index, ready)
        connection.control.handle_subflow_ready(path_index, ready, now_ns)

    def _join_context(self, token: int) -> JoinContext | None:
        connection = self._table.by_token(token)
        return None if connection is None else self._context_of(connection)

    def _context_of(self, connection: Connection) -> JoinContext:
        """Return what a join may know; a connection whose both streams have ended takes no subflows."""
        context = connection.control.join_context()
        if context.accepts and self._has_ended(connection):
            return replace(context, accepts=False)
        return context

    def _has_ended(self, connection: Connection) -> bool:
        """Tell whether both sides have sent their DATA_FIN, or the connection is gone (RFC 8684 §3.3.3)."""
        return self.engine.has_ended(connection.handle)

    def _flow_in_use(self, key: FlowKey) -> bool:
        return self.engine.find_flow(*key) is not None

    def _mtu_of(self, address: bytes) -> int:
        return self._mtus.get(address, 1500)

    def _settle(self, now_ns: int) -> None:
        """Let the engine send and report until it has nothing more to say."""
        self._now_ns = now_ns
        while True:
            self.engine.run_pump(now_ns)
            if self.engine.has_events():
                self.handle_events(now_ns)
            elif self._news:
                self.handle_news(now_ns)
            else:
                return


def _engine(config: Config, rng: keys.RandomSource) -> Engine:
    limits = config.limits
    return Engine(
        max_connections=limits.max_connections,
        max_subflows=limits.max_connections * (1 + config.mptcp.max_subflows),
        memory_bytes=limits.memory_bytes,
        send_buffer_bytes=limits.send_buffer_bytes,
        receive_buffer_bytes=limits.receive_buffer_bytes,
        reorder=config.mptcp.reorder,
        reorder_nodes=limits.reorder_nodes,
        subflow_segments=limits.subflow_segments,
        close_timeout_ns=config.mptcp.close_timeout_ns,
        seed=rng.getrandbits(128).to_bytes(16, "big"),
        pacing=config.mptcp.pacing,
    )


def _unsent(option: bytes) -> Counter:
    """Return the counter of a control option that no subflow could carry."""
    match parse_mptcp_option(option):
        case AddAddr(echo=True):
            return Counter.ECHO_ADD_TX_DROP
        case AddAddr():
            return Counter.ADD_ADDR_TX_DROP
        case RemoveAddr():
            return Counter.RM_ADDR_TX_DROP
    return Counter.TRANSMIT_FULL


def connections_of(endpoint: Endpoint) -> Iterator[Connection]:
    """Yield the connections of an endpoint, for tests and experiments."""
    yield from endpoint._table
