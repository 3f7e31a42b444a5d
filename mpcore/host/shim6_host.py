"""Shim6 on this host: the endpoint with its queue, rules, counters, raw sockets and local addresses.

A packet that needs rewriting comes by the queue and is decided by the pump. Packets between ULIDs stay in the
kernel, whose counters are read a few times in each Send Timeout. A path that changes moves in the kernel's
sets before the next packet is read. When these are gone, because somebody flushed the ruleset, all rules are
put in again.
"""

import logging
import selectors
from collections.abc import Callable

from mpcore.config import Config
from mpcore.errors import HostError
from mpcore.host.control_handlers import Handler
from mpcore.host.forming_handlers import forming_handlers
from mpcore.host.netlink import LocalAddress
from mpcore.host.nfqueue import NetlinkQueue
from mpcore.host.pump import now_ns
from mpcore.host.rawsock import RawSender
from mpcore.host.shim6_forming import Shim6Forming
from mpcore.host.shim6_hints import NetworkHints
from mpcore.host.shim6_kick import TcpKicker, struggling
from mpcore.host.shim6_mtu import PathMtu
from mpcore.host.shim6_pump import Shim6Pump
from mpcore.host.shim6_rules import Shim6Rules, Shim6RuleSettings
from mpcore.host.shim6_segments import SegmentSizes
from mpcore.host.shim6_services import Shim6Services
from mpcore.host.shim6_watch import KernelView
from mpcore.host.unresolved import forget_unresolved
from mpcore.shim6.events import Event, PathChanged
from mpcore.shim6.locators import Pair
from mpcore.shim6.settings import SECOND
from mpcore.shim6_endpoint import Shim6Endpoint

BATCHES_A_TURN = 32
LOOKS_PER_TIMEOUT = 20  # looks at the counters in a Send Timeout
LOOK_MIN_NS, LOOK_MAX_NS = 50_000_000, SECOND
TALK_LOOK_NS = SECOND // 2  # looks for conversations that deserve a context
KICK_NS = 50_000_000  # between two looks for TCP sockets to kick
KICKS = 3  # of a path: what the first one lets go may be lost
REPAIR_NS = 5 * SECOND  # between two attempts to put the rules in again
TALK_LIMIT = 65535  # conversations without context that the kernel counts at once

log = logging.getLogger(__name__)


def rule_settings(config: Config) -> Shim6RuleSettings:
    """Return what the rules need of the configuration."""
    return Shim6RuleSettings(
        queue=config.shim6.queue_number,
        tcp_queue=config.shim6.tcp_queue_number,
        mark_done=config.routing.mark_shim6,
        mark_rewrite=config.routing.mark_rewrite,
        skip_ports=config.shim6.exclude_ports,
        with_mptcp=config.shim6.with_mptcp,
        max_talks=min(config.shim6.max_flows, TALK_LIMIT),
        forks=config.shim6.forks,
    )


def open_queues(config: Config) -> tuple[NetlinkQueue, NetlinkQueue]:
    """Open Shim6's queues: for everything, and for TCP that leaves, in super-packets. Raises HostError.

    Of other super-packets nobody could say how they are to be cut.
    """
    numbers = config.shim6.queue_number, config.shim6.tcp_queue_number
    first = _open_queue(config, numbers[0], gso=False)
    try:
        return first, _open_queue(config, numbers[1], gso=True)
    except HostError:
        first.close()
        raise


def _open_queue(config: Config, number: int, *, gso: bool) -> NetlinkQueue:
    return NetlinkQueue(
        number,
        max_length=config.shim6.queue_length,
        gso=gso,
        fail_open=False,
        mark_seen=config.routing.mark_shim6,
        mark_leave=0,
        repeat_received=True,
    )


class Shim6Host:
    """Drives one Shim6 endpoint; `register` puts it into a driver's loop.

    Args:
        config: marks, queue and timers
        endpoint: what decides
        queues: where packets wait that need rewriting, as `open_queues` returns them
        services: identities, state file, log and commands of the endpoint
        forming: what forms this host's addresses; None where nobody does
        on_event: hears of what happened
    """

    def __init__(
        self,
        config: Config,
        endpoint: Shim6Endpoint,
        queues: tuple[NetlinkQueue, NetlinkQueue],
        services: Shim6Services,
        forming: Shim6Forming | None = None,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.endpoint = endpoint
        self._config = config
        self._queues = queues
        self._services = services
        self._forming = forming
        self.on_event = on_event
        self._sizes = SegmentSizes()
        self.pumps = [Shim6Pump(endpoint, queue, self._sender, self._sizes.of) for queue in queues]
        self._rules = Shim6Rules(rule_settings(config))
        self._forks = [fork.fii for fork in config.shim6.forks]
        self._view = KernelView(self._forks)
        self._hints = NetworkHints(endpoint)
        self._senders: dict[bytes, RawSender] = {}
        self._kicker = TcpKicker(config.routing.mark_shim6, self._view.show_acks, endpoint.manager.note_kick)
        self._mtu = PathMtu(config.routing.mark_shim6)
        for pump in self.pumps:
            pump.on_too_big = self._mtu.refuse
            pump.on_told = self.work
        self._new_mtus: dict[Pair, int] = {}
        self._to_kick: dict[Pair, int] = {}
        self._look_due_ns = self._talks_due_ns = self._kick_due_ns = self._repair_due_ns = now_ns()

    # --- life

    def install(self) -> None:
        """Put the rules in and go on with the contexts of the daemon before. Raises HostError."""
        self._rules.install()
        if self._forming is not None:
            self._forming.start()
        self._view.set_ulids(self.endpoint.ulids())
        restored = self._services.restore()
        if restored:
            log.info("%d Shim6 contexts go on", restored)
        self.work()

    def remove(self) -> None:
        """Take the rules back. Raises HostError."""
        self._rules.remove()

    def register(self, selector: selectors.BaseSelector) -> None:
        """Let a driver's loop call what is due when a descriptor is readable; `pumps` are for its waiter."""
        for queue in self._queues:
            selector.register(queue.fileno(), selectors.EVENT_READ)  # that is the pumps' to handle
        selector.register(self._hints.fileno(), selectors.EVENT_READ, self._on_hints)
        if self._forming is not None:
            for descriptor in self._forming.filenos():
                selector.register(descriptor, selectors.EVENT_READ, self._on_prefixes)

    def close(self) -> None:
        """Decide on what still waits, write down the contexts, then give back addresses and sockets."""
        for pump in self.pumps:
            pump.on_told = None
            pump.turn(BATCHES_A_TURN)
        self._services.close()
        self._sizes.close()
        if self._forming is not None:
            self._forming.close()
        for sender in self._senders.values():
            sender.close()
        self._senders.clear()
        self._kicker.close()
        self._mtu.close()
        self._hints.close()
        self._view.close()

    # --- time

    def poll_timeout(self) -> int:
        """Return when `handle_timeout` is due."""
        due = [self._talks_due_ns]
        if self._is_kicking:
            due.append(self._kick_due_ns)
        due += [
            deadline
            for deadline in (self.endpoint.poll_timeout(), self._services.poll_timeout())
            if deadline is not None
        ]
        if len(self._view):
            due.append(self._look_due_ns)
        if self._view.lost:
            due.append(self._repair_due_ns)
        if self._forming is not None:
            due.append(self._forming.poll_timeout())
        return min(due)

    def handle_timeout(self, now: int) -> None:
        """Read counters and do all that is due."""
        try:
            if len(self._view) and self._look_due_ns <= now:
                self._look_due_ns = now + self._look_interval_ns()
                self._look(now)
            if self._talks_due_ns <= now:
                self._talks_due_ns = now + TALK_LOOK_NS
                self._look_at_talks(now)
            if self._forming is not None and self._forming.poll_timeout() <= now:
                self._forming.handle_timeout(now)
                self._view.set_ulids(self.endpoint.ulids())
        except HostError as error:
            log.warning("%s", error)
        if self._view.lost and self._repair_due_ns <= now:
            self._repair_due_ns = now + REPAIR_NS
            self._repair()
        deadline = self.endpoint.poll_timeout()
        if deadline is not None and deadline <= now:
            self.endpoint.handle_timeout(now)
            self._ask_tcp(now)
        self.work()

    def work(self) -> None:
        """Carry out what packets, timers and commands made necessary: kernel's sets first, then messages."""
        # a fork that no rule is about has no packets of this host
        changes = {
            number: path
            for number, path in self.endpoint.take_path_changes().items()
            if path is None or not path.fii or path.fii in self._forks
        }
        if changes:
            self._new_mtus |= self._mtu.note_paths(changes)
            try:
                self._view.set_paths(changes)
            except HostError as error:
                log.warning("%s", error)
        for transmit in self.endpoint.poll_transmit():
            self._sender(transmit.local).send(transmit.data)
        moved = set()
        while (event := self.endpoint.poll_event()) is not None:
            if isinstance(event, PathChanged):
                self._to_kick[Pair(event.ulid_local, event.ulid_peer)] = KICKS
                moved.add(event.ulid_peer)
            self._services.note(event)
            self.on_event(event)
        forget_unresolved(moved)
        self._kick()
        self._services.save()

    def _ask_tcp(self, now: int) -> None:
        """Give paths up on which answers are owed and TCP repeats in vain (RFC 5534 §3.3)."""
        doubtful = self.endpoint.take_doubtful()
        try:
            for pair in struggling(doubtful) if doubtful else ():
                self.endpoint.give_up_waiting(*pair, now)
        except (HostError, OSError) as error:
            log.warning("TCP cannot be asked about silent paths, which wait for the Send Timeout: %s", error)

    def _repair(self) -> None:
        """Put rules and sets in again: a context on other locators does not work without."""
        try:
            self._rules.install()
            self._view.tell_again()
        except HostError as error:
            log.error("Shim6 does not work until its rules are back: %s", error)
        else:
            log.warning("the rules of Shim6 were put in again")

    # --- addresses

    def add_address(self, local: LocalAddress) -> None:
        """An address works."""
        self.endpoint.add_local_address(local.address, interface=local.interface, now_ns=now_ns())
        self._forget_sender(local.address)
        self.work()

    def remove_address(self, local: LocalAddress) -> None:
        """An address does not work any more, because it, its link or its interface went."""
        self._forget_sender(local.address)
        self.endpoint.remove_local_address(local.address, now_ns())
        self.work()

    def expire_address(self, address: bytes) -> None:
        """The valid lifetime of an address has ended: somebody else may get it (RFC 5533 §1.5)."""
        self._forget_sender(address)
        self.endpoint.expire_local_address(address, now_ns())
        self.work()

    def needed_addresses(self) -> set[bytes]:
        """Return the ULIDs that have to stay local as long as a context has them (RFC 5533 §1.5)."""
        return self.endpoint.ulids_in_use()

    def handlers(self) -> dict[str, Handler]:
        """Return what answers the commands of `mpcore shim6`."""
        return self._services.handlers(self.work) | forming_handlers(self._forming, self._finish_forming)

    def queue_stats(self) -> list[dict[str, int]]:
        """Return each queue's counters by name."""
        return [queue.stats() for queue in self._queues]

    def sender_stats(self) -> list[dict[str, int]]:
        """Return the counters of the raw sockets that stand open, by name."""
        return [sender.stats() for sender in self._senders.values()]

    def _on_hints(self) -> None:
        self._hints.handle_ready(now_ns())
        self.work()

    @property
    def _is_kicking(self) -> bool:
        """Whether there are sockets to look for, or answers to wait for no more."""
        return bool(self._to_kick or self._new_mtus) or self.pumps[0].on_ack is not None

    def _on_prefixes(self) -> None:
        try:
            if self._forming is not None:
                self._forming.handle_ready()
            self._finish_forming()
        except HostError as error:
            log.warning("%s", error)

    def _finish_forming(self) -> None:
        """Let the kernel know new ULIDs, then do what followed. Raises HostError."""
        self._view.set_ulids(self.endpoint.ulids())
        self.work()

    def _kick(self) -> None:
        """Let TCP go on whose path has changed, in sizes that fit; its answers come by the queue."""
        if not self._is_kicking:
            return
        now = now_ns()
        if self._kick_due_ns <= now:
            self._kick_due_ns = now + KICK_NS
            self._kicker.ask(self._to_kick, self._new_mtus)
            self._new_mtus = {}
            self._to_kick = {pair: left - 1 for pair, left in self._to_kick.items() if left > 1}
            for pump in self.pumps:
                pump.on_ack = self._kicker.note_sent if self._kicker else None

    def _look_interval_ns(self) -> int:
        timeout_ns = self.endpoint.manager.settings.send_timeout_ns
        return min(max(timeout_ns // LOOKS_PER_TIMEOUT, LOOK_MIN_NS), LOOK_MAX_NS)

    def _look(self, now: int) -> None:
        for number, sent, received in self._view.activity():
            self.endpoint.note_activity(number, sent=sent, received=received, now_ns=now)

    def _look_at_talks(self, now: int) -> None:
        for seen in self._view.talks():
            self.endpoint.note_flow(seen.key, seen.packets, seen.octets, sent=seen.sent, now_ns=now)
        for pair, fii in self._view.wanted_forks():
            self.endpoint.want_fork(*pair, fii, now)

    def _sender(self, source: bytes) -> RawSender:
        """Return the raw socket that sends from a locator, by its interface."""
        if source not in self._senders:
            mark = self._config.routing.mark_shim6
            try:
                self._senders[source] = RawSender(6, mark=mark, source=source)
            except HostError:
                return RawSender(6, mark=mark)  # the address is gone: one try by whatever way is left
        return self._senders[source]

    def _forget_sender(self, source: bytes) -> None:
        sender = self._senders.pop(source, None)
        if sender is not None:
            sender.close()
