"""The loop of the daemon: packets, timers, addresses and control clients, one thread for all.

A packet comes by the queue's descriptor, is decided by the pump's engine or by the endpoint, and what follows
leaves by raw sockets before the loop sleeps again: all of that while it waits, which ends only when something
else is to be done: a deadline that is not the engine's, a change of addresses or routes by netlink,
a client.
"""

import logging
import selectors
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from mpcore.config import Config
from mpcore.endpoint import Endpoint
from mpcore.errors import HostError
from mpcore.events import ConnectionClosed, to_dict
from mpcore.host.adopt import AdoptedAddresses
from mpcore.host.attention import Attention
from mpcore.host.control import ControlServer
from mpcore.host.costs import costs
from mpcore.host.icmp import IcmpErrors
from mpcore.host.netlink import AddressAdded, AddressMonitor, AddressRemoved, LocalAddress
from mpcore.host.nfqueue import PacketQueue
from mpcore.host.path_watch import PathWatch
from mpcore.host.pump import Pump, now_ns
from mpcore.host.rawsock import RawSender
from mpcore.host.routing_upkeep import RoutingUpkeep
from mpcore.host.shim6_host import Shim6Host
from mpcore.host.waiter import Served, Waiter
from mpcore.shim6.events import Event as Shim6Event

BATCHES_A_TURN = 32  # then timers, netlink and clients get their turn

log = logging.getLogger(__name__)

Timer = tuple[Callable[[], int | None], Callable[[int], None]]
"""What tells when something is due, and what does it, told the time."""


class Driver:
    """Drives one endpoint with the host's packets.

    Args:
        config: marks and interfaces
        endpoint: what decides
        queue: where packets wait
        monitor: what knows the addresses
        control: the control socket
        on_change: called when addresses or routes have changed, before the endpoint hears of it
        shim6: Shim6, which runs in the same loop; None when it is off
        attention: what has the rules rest while they can; None without rules
    """

    def __init__(
        self,
        config: Config,
        endpoint: Endpoint,
        queue: PacketQueue,
        monitor: AddressMonitor,
        control: ControlServer,
        on_change: Callable[[], None] = lambda: None,
        shim6: Shim6Host | None = None,
        attention: Attention | None = None,
    ) -> None:
        self._config = config
        self._shim6 = shim6
        self._attention = attention
        self._endpoint = endpoint
        self._monitor = monitor
        self._control = control
        self._on_change = on_change
        self._adopted = AdoptedAddresses()
        self._routing: RoutingUpkeep | None = None
        if config.routing.manage:
            self._routing = RoutingUpkeep(
                config.routing, monitor.sources, self._kept, now_ns, self._on_routers
            )
        self._queue = queue
        self._pump = Pump(
            endpoint, queue, self._open_sender, None if attention is None else attention.keep_up
        )
        if config.queue.backend == "netlink" and config.queue.gso:
            endpoint.engine.hold_carriers(config.queue.max_length // 4)
        self._stopping = False
        self._selector = selectors.EpollSelector()
        self._selector.register(queue.fileno(), selectors.EVENT_READ)  # that is the pump's to handle
        self._selector.register(monitor.fileno(), selectors.EVENT_READ, self._on_addresses)
        if self._routing is not None:
            self._routing.register(self._selector)
        self._paths = PathWatch(now_ns)
        self._paths.register(self._selector)
        control.register(self._selector)
        self._icmp = self._listen_for_errors()
        if shim6 is not None:
            shim6.register(self._selector)
            shim6.on_event = self._publish_shim6
        pumps: list[Served] = [self._pump] if shim6 is None else [self._pump, *shim6.pumps]
        self._waiter = Waiter(self._selector.fileno(), pumps)
        self._timers = tuple(self._timed())
        for local in monitor.addresses():
            self._add(local)
        self._apply_routing()

    def run(self) -> None:
        """Run until `stop` is called, then end the connections while packets still come by here."""
        try:
            while not self._stopping:
                self._turn()
        finally:
            self._endpoint.shut_down(now_ns())
            self._pump.work()

    def stop_when_readable(self, descriptor: int) -> None:
        """End `run` once `descriptor` has something to read."""
        self._selector.register(descriptor, selectors.EVENT_READ, self.stop)

    def stop(self) -> None:
        """End `run` at its next turn."""
        self._stopping = True

    def close(self) -> None:
        """Decide on what still waits in the queue, which loses it by closing, and give back the sockets."""
        self._pump.turn(BATCHES_A_TURN)
        if self._shim6 is not None:
            self._shim6.close()
        self._adopted.remove()
        self._paths.close()
        self._pump.close()
        for errors in self._icmp:
            errors.close()
        if self._routing is not None:
            self._routing.close()

    def costs(self) -> dict[str, int]:
        """Return what the dealings with the kernel cost so far, as counters by MIB name."""
        queues, senders = [self._queue.stats()], [self._pump.sender_stats()]
        if self._shim6 is not None:
            queues += self._shim6.queue_stats()
            senders += self._shim6.sender_stats()
        counted = costs(queues, senders, self._waiter.wakeups)
        return counted if self._routing is None else counted | self._routing.stats()

    def _turn(self) -> None:
        due = self._next_due()
        for descriptor in self._waiter.serve(due, BATCHES_A_TURN):
            self._on_ready(descriptor)
        # what became due meanwhile is due before the next sleep
        if due is not None and due <= (now := now_ns()):
            self._on_time(now)
        self._publish()

    def _on_ready(self, descriptor: int) -> None:
        """Do what is to be done when `descriptor` is ready, unless another has just closed it."""
        key = self._selector.get_map().get(descriptor)
        if key is None:
            return
        if key.data is self._control:
            self._control.handle_ready(key)
        else:
            handle: Callable[[], None] = key.data
            handle()

    def _next_due(self) -> int | None:
        return min((due for poll, _ in self._timers if (due := poll()) is not None), default=None)

    def _listen_for_errors(self) -> list[IcmpErrors]:
        """Open what tells of packets that could not be delivered, for each IP version that the host has."""
        listening: list[IcmpErrors] = []
        for version in (4, 6):
            with suppress(HostError):
                errors = IcmpErrors(version)
                self._selector.register(errors.fileno(), selectors.EVENT_READ, partial(self._on_icmp, errors))
                listening.append(errors)
        return listening

    def _on_icmp(self, errors: IcmpErrors) -> None:
        for message in errors.read():
            self._endpoint.handle_icmp(errors.version, message, now_ns())
        self._pump.work()

    def _timed(self) -> Iterator[Timer]:
        """Yield what has deadlines: what is nearest to the network first."""
        if self._routing is not None:
            yield self._routing.poll_timeout, self._routing.handle_timeout
        yield self._endpoint.poll_control_timeout, self._on_endpoint_timeout
        if self._shim6 is not None:
            yield self._shim6.poll_timeout, self._on_shim6_timeout
        yield self._paths.poll_timeout, self._on_paths_timeout
        if self._attention is not None:
            yield self._attention.poll_timeout, self._attention.handle_timeout

    def _on_time(self, now: int) -> None:
        for poll, handle in self._timers:
            due = poll()
            if due is not None and due <= now:
                handle(now)

    def _on_endpoint_timeout(self, now: int) -> None:
        self._endpoint.handle_timeout(now)
        self._pump.work()

    def _on_shim6_timeout(self, now: int) -> None:
        if self._shim6 is not None:
            self._shim6.handle_timeout(now)
            self._adopt()

    def _on_paths_timeout(self, now: int) -> None:
        self._paths.look(self._on_routes)

    def _publish(self) -> None:
        while (event := self._endpoint.poll_event()) is not None:
            if self._control.has_subscribers:
                self._control.publish(to_dict(event))
            if self._adopted and isinstance(event, ConnectionClosed):
                self._adopt()

    def _publish_shim6(self, event: Shim6Event) -> None:
        if self._control.has_subscribers:
            self._control.publish(to_dict(event))

    # --- addresses

    def _on_addresses(self) -> None:
        """A path that goes must be left at once; one that comes needs its route before its first packet."""
        events = self._monitor.read_events()
        self._on_change()
        for event in events:
            if isinstance(event, AddressRemoved):
                self._endpoint.remove_local_address(event.address.address, now_ns())
                if self._shim6 is not None:
                    self._shim6.remove_address(event.address)
            elif isinstance(event, AddressAdded):
                self._apply_routing()
                self._add(event.address)
        expired = self._monitor.take_expired()
        if self._shim6 is not None:
            for address in expired:
                self._shim6.expire_address(address)
        self._apply_routing()
        self._adopt()
        self._pump.work()

    def _on_routes(self, new_router: bool) -> None:
        """The tables of the addresses follow the main one; then paths that have one now are joined."""
        self._apply_routing()
        self._follow_routes(new_router=new_router)

    def _on_routers(self) -> None:
        """Addresses leave by other routers than before."""
        self._follow_routes(new_router=True)

    def _follow_routes(self, *, new_router: bool) -> None:
        self._on_change()
        self._endpoint.handle_routes(now_ns(), new_router=new_router)
        self._pump.work()

    def _add(self, local: LocalAddress) -> None:
        self._endpoint.add_local_address(
            local.address,
            interface=local.interface,
            now_ns=now_ns(),
            backup=local.interface in self._config.mptcp.backup_interfaces,
            mtu=interface_mtu(local.interface),
        )
        if self._shim6 is not None:
            self._shim6.add_address(local)

    def _kept(self) -> set[bytes]:
        """Return the addresses that sockets need, whatever becomes of their interfaces."""
        kept = set(self._endpoint.socket_addresses())
        return kept if self._shim6 is None else kept | self._shim6.needed_addresses()

    def _apply_routing(self) -> None:
        if self._routing is not None:
            self._routing.apply()

    def _adopt(self) -> None:
        """Keep the addresses of living sockets local, whatever became of their interfaces."""
        if self._routing is None:
            return
        try:
            new = self._adopted.apply(self._monitor.addresses(), self._kept())
            self._endpoint.handle_adopted(new)
        except HostError as error:
            log.warning("%s", error)

    def _open_sender(self, port: int) -> RawSender:
        """Open the raw socket of a transmit port: ports 0 and 1 lead to local sockets."""
        mark = self._config.routing.mark_seen
        source = self._endpoint.engine.port_addresses[port]
        if source is None:
            return RawSender(4 if port == 0 else 6, mark=mark)
        try:
            return RawSender(4 if len(source) == 4 else 6, mark=mark, source=source)
        except HostError:
            # the address is gone; an unbound socket lets the RST out by whatever route is left
            return RawSender(4 if len(source) == 4 else 6, mark=mark)


def interface_mtu(name: str) -> int:
    """Return an interface's MTU in octets, Ethernet's where it cannot be read."""
    with suppress(OSError, ValueError), open(f"/sys/class/net/{name}/mtu", encoding="ascii") as file:
        return int(file.read())
    return 1500
