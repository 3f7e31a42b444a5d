"""Keeps source routing as it should be: follows addresses, and routers that advertise.

Advertisements are heard by a socket of our own, since the kernel does not tell which router a prefix is from.
Default routers of before are asked, where an interface has several.
"""

import logging
import selectors
import socket
from collections.abc import Callable, Collection
from contextlib import suppress

from mpcore.config import RoutingConfig
from mpcore.counters import Counter
from mpcore.errors import HostError, WireError
from mpcore.host.netlink import LocalAddress
from mpcore.host.router_listener import Advertisement, RouterListener
from mpcore.host.routing import SourceRouting
from mpcore.host.solicit import RouterSolicitor
from mpcore.policy.routers import RouterTable
from mpcore.wire.router import is_link_local, parse_router_advertisement

SETTLE_NS = 50_000_000  # changes seldom come alone
PAUSE = 20  # times as long as the last change took: a table that never rests costs little

log = logging.getLogger(__name__)


class RoutingUpkeep:
    """Source routing of a driver.

    Args:
        config: what to make, and whether
        addresses: the addresses that packets of this host may have as source
        kept: those that sockets need, whatever becomes of their interfaces
        clock: nanoseconds
        on_change: called when addresses may leave by other routers than before
    """

    def __init__(
        self,
        config: RoutingConfig,
        addresses: Callable[[], Collection[LocalAddress]],
        kept: Callable[[], Collection[bytes]],
        clock: Callable[[], int],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._addresses = addresses
        self._kept = kept
        self._clock = clock
        self._on_change = on_change
        self.routers = RouterTable()
        self._routing = SourceRouting(config, self.routers.advertisers)
        self._asked: set[tuple[int, bytes]] = set()
        self._due_ns: int | None = None
        self._rest_until_ns = 0
        self._heard = self._refused = 0
        self._listener: RouterListener | None = None
        self._solicitor: RouterSolicitor | None = None
        with suppress(HostError):  # a host without IPv6 has no routers to hear
            self._listener, self._solicitor = RouterListener(), RouterSolicitor()

    def register(self, selector: selectors.BaseSelector) -> None:
        """Let a driver's loop call what is due when a descriptor is readable."""
        if self._listener is not None:
            selector.register(self._listener.fileno(), selectors.EVENT_READ, self._on_advertisements)

    def close(self) -> None:
        """Give the sockets back; rules and routes stay."""
        for each in (self._listener, self._solicitor):
            if each is not None:
                each.close()

    def stats(self) -> dict[str, int]:
        """Return counters by MIB name."""
        return {
            Counter.ROUTER_HEARD.mib: self._heard,
            Counter.ROUTER_REFUSED.mib: self._refused,
            Counter.ROUTER_LIMIT.mib: self.routers.refused,
        }

    def apply(self) -> None:
        """Make rules and tables fit now; trouble is logged, and no more."""
        self._due_ns = None
        began = self._clock()
        try:
            self._routing.apply(self._addresses(), self._kept())
        except HostError as error:
            log.warning("source routing is incomplete, some paths may not work: %s", error)
        ended = self._clock()
        self._rest_until_ns = ended + PAUSE * (ended - began)
        self._ask()

    # --- time

    def poll_timeout(self) -> int | None:
        """Return when `handle_timeout` is due."""
        due = [self._due_ns, self.routers.poll_timeout()]
        if self._solicitor is not None:
            due.append(self._solicitor.poll_timeout())
        return min((each for each in due if each is not None), default=None)

    def handle_timeout(self, now_ns: int) -> None:
        """Do what is due."""
        if self._solicitor is not None:
            self._solicitor.handle_timeout(now_ns)
        if self.routers.handle_timeout(now_ns):
            self._apply_soon()
        if self._due_ns is not None and self._due_ns <= now_ns:
            self.apply()
            self._on_change()

    # --- news

    def _on_advertisements(self) -> None:
        if self._listener is not None:
            for each in self._listener.read():
                self.handle_advertisement(each)

    def handle_advertisement(self, heard: Advertisement) -> None:
        """Take what a router says."""
        self._heard += 1
        try:
            said = parse_router_advertisement(heard.message, heard.source, heard.hop_limit)
        except WireError as error:
            self._refused += 1
            log.debug("%s", error)
            return
        now, defaults = self._clock(), self._routing.default_routers
        if self.routers.handle_advertisement(heard.interface, heard.source, said, now, defaults):
            self._apply_soon()
        self._ask()

    def _apply_soon(self) -> None:
        """Have it applied in a moment: what the kernel makes of the same advertisement comes with it."""
        due = max(self._clock() + SETTLE_NS, self._rest_until_ns)
        self._due_ns = due if self._due_ns is None else min(self._due_ns, due)

    def _ask(self) -> None:
        """Ask for advertisements where a choice depends on a default router that has said nothing yet."""
        if self._solicitor is None:
            return
        defaults = {place for place in self._routing.default_routers if is_link_local(place[1])}
        for index in {index for index, _ in self._asked | defaults}:
            own = {place for place in defaults if place[0] == index}
            silent = {place for place in own if not self.routers.knows(*place)} if len(own) > 1 else set()
            with suppress(OSError):  # the interface has gone
                if silent - self._asked:
                    self._solicitor.begin(socket.if_indextoname(index))
                elif not silent:
                    self._solicitor.heard(socket.if_indextoname(index))
            self._asked |= silent
        self._asked &= defaults
