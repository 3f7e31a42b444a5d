"""The daemon in the foreground: sets the host up, runs the driver, takes everything back.

Order matters. Nothing of the host is touched before the lock says that no other daemon runs here. The queue
is open before leftovers of a killed daemon go and before a rule can send a packet to it, and the rules are
gone before it closes, because the kernel drops what waits in a queue that closes. A guardian takes back what
a killed daemon could not.
"""

import gc
import logging
import random
import socket
import sys
from contextlib import ExitStack
from typing import Any

from mpcore.config import Config
from mpcore.endpoint import Endpoint
from mpcore.host.adopt import AdoptedAddresses
from mpcore.host.attention import Attention, kernel_speaks_mptcp
from mpcore.host.autoconf import KernelAutoconf
from mpcore.host.control import ControlServer, build_handlers
from mpcore.host.driver import Driver
from mpcore.host.formed import FormedAddresses
from mpcore.host.guardian import Guardian
from mpcore.host.lock import NamespaceLock
from mpcore.host.netlink import AddressMonitor
from mpcore.host.nfqueue import NetlinkQueue, PacketQueue
from mpcore.host.orphans import end_orphans
from mpcore.host.pump import now_ns
from mpcore.host.reachability import Reachability
from mpcore.host.routing import SourceRouting
from mpcore.host.rtnetlink import RouteSocket
from mpcore.host.rules import Rules
from mpcore.host.shim6_forming import Shim6Forming
from mpcore.host.shim6_host import Shim6Host
from mpcore.host.shim6_host import open_queues as open_shim6_queues
from mpcore.host.shim6_identities import load_owned
from mpcore.host.shim6_rules import remove_shim6_rules
from mpcore.host.shim6_services import Shim6Services, make_endpoint
from mpcore.host.signals import StopSignals
from mpcore.shim6.configured import forming_of
from mpcore.shim6.heuristic import FlowKey
from mpcore.snapshot import merge

GARBAGE_THRESHOLD = 50_000  # objects made and not yet gone

log = logging.getLogger(__name__)


def run(config: Config) -> int:
    """Intercept until SIGTERM, SIGINT or SIGHUP; print `ready` once packets are intercepted.

    Returns the exit status.

    Raises:
        HostError: the host lacks something, or another daemon runs
    """
    logging.basicConfig(
        level=config.log.level.upper(), stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    with ExitStack() as stack:
        # first of all, so that a signal during the set-up is not the end before everything is taken back
        signals = StopSignals()
        stack.callback(signals.close)
        stack.callback(NamespaceLock().close)
        stack.enter_context(Guardian(lambda: clear_up(config)))
        driver = _set_up(config, stack)
        driver.stop_when_readable(signals.fileno())
        _collect_less_garbage()
        print("ready", flush=True)
        driver.run()
    return 0


def _collect_less_garbage() -> None:
    """Let the collector look for cycles seldom, and never in what was imported: connections make none."""
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


def _set_up(config: Config, stack: ExitStack) -> Driver:
    """Build everything; `stack` takes it back in reverse order."""
    monitor = AddressMonitor(exclude_interfaces=config.mptcp.exclude_interfaces)
    stack.callback(monitor.close)
    kernel = stack.enter_context(RouteSocket())
    reachable = Reachability(kernel, monitor, now_ns)
    endpoint = Endpoint(config, rng=random.SystemRandom(), now_ns=now_ns(), reachable=reachable)
    rules = Rules(config)
    holder: list[Driver] = []
    shim6 = _set_up_shim6(config, endpoint, stack) if config.shim6.enabled else None

    def snapshot() -> dict[str, Any]:
        document = endpoint.snapshot()
        if shim6 is not None:
            document = merge(document, shim6.endpoint.snapshot())
        document["counters"] |= holder[0].costs()
        return document

    handlers = build_handlers(snapshot, lambda: holder[0].stop())
    if shim6 is not None:
        handlers |= shim6.handlers()
    control = ControlServer(config.control.path, handlers)
    stack.callback(control.close)
    queue = open_queue(config)
    stack.callback(queue.close)
    clear_up(config)
    if config.routing.manage:
        stack.callback(SourceRouting(config.routing).remove)
    attention = Attention(endpoint, rules) if config.mptcp.enabled else None
    driver = Driver(
        config,
        endpoint,
        queue,
        monitor,
        control,
        on_change=reachable.forget,
        shim6=shim6,
        attention=attention,
    )
    holder.append(driver)
    stack.callback(driver.close)
    stack.callback(rules.remove)
    if attention is not None:
        rules.install()
        if kernel_speaks_mptcp():
            endpoint.note_own_mptcp()
        attention.handle_timeout(now_ns())
    if shim6 is not None:
        stack.callback(shim6.remove)
        shim6.install()
    return driver


def clear_up(config: Config) -> None:
    """Take back what a killed daemon left, and end the connections that it took over. Raises HostError."""
    # first, because what is left of Shim6 alone is no sign of connections that were taken over
    remove_shim6_rules()
    rules = Rules(config)
    if rules.refuse_orphans():
        end_orphans(config.routing.mark_seen)
    rules.clean_leftovers()
    if config.routing.manage:
        SourceRouting(config.routing).clean_leftovers()
    AdoptedAddresses().clean_leftovers()
    FormedAddresses().clean_leftovers()
    KernelAutoconf().restore()


def _set_up_shim6(config: Config, mptcp: Endpoint, stack: ExitStack) -> Shim6Host:
    """Build Shim6's part; the driver closes it. Raises ConfigError, HostError."""
    queues = open_shim6_queues(config)
    for queue in queues:
        stack.callback(queue.close)

    def moved_by_mptcp(key: FlowKey) -> bool:
        return key.protocol == socket.IPPROTO_TCP and mptcp.moves(
            key.ulid_local, key.port_local, key.ulid_peer, key.port_peer
        )

    files = load_owned(config.shim6.identities)
    endpoint = make_endpoint(config.shim6, now_ns, moved_by_mptcp, files)
    settings, forming = forming_of(config.shim6), None
    if settings is not None:
        forming = Shim6Forming(config, settings, endpoint, files, now_ns)
    return Shim6Host(config, endpoint, queues, Shim6Services(config.shim6, endpoint, now_ns), forming)


def open_queue(config: Config) -> PacketQueue:
    """Open the configured queue. Raises HostError."""
    settings, routing = config.queue, config.routing
    if settings.backend == "netfilterqueue":
        from mpcore.host.simplequeue import SimpleQueue

        return SimpleQueue(
            settings.number,
            max_length=settings.max_length,
            mark_seen=routing.mark_seen,
            mark_leave=routing.mark_leave,
            mark_taken=routing.mark_taken,
        )
    return NetlinkQueue(
        settings.number,
        max_length=settings.max_length,
        gso=settings.gso,
        fail_open=settings.fail_open,
        mark_seen=routing.mark_seen,
        mark_leave=routing.mark_leave,
        mark_taken=routing.mark_taken,
    )
