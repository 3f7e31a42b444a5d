"""Source-address routing: what leaves with an address leaves through that address's interface and provider.

Each address gets a table with the main table's routes of its interface and a rule `from ADDRESS lookup
TABLE`. Of several default routers its table has those that advertise its prefix (`default_routers`). A second
rule behind all others is its refuge: when no route is left, because the interface went, it names another
interface, so that the packets of sockets with that address still come to the queue, where they are sent on by
other subflows; nothing leaves by it unchanged.

Where the kernel chooses the source itself, it looks up the route first, and would send to whichever router.
So where an interface has several providers, rules just before the main table's have it choose the source
first: the main table without its default routes, then the addresses with FIB_RULE_FIND_SADDR.
"""

import socket
from collections.abc import Callable, Collection, Iterator, Sequence

from mpcore.config import RoutingConfig
from mpcore.host.default_routers import chosen, distinct, first_interface, needs_choice
from mpcore.host.netlink import LocalAddress
from mpcore.host.routes import (
    FAMILIES,
    MAIN_TABLE,
    RT_SCOPE_LINK,
    Route,
    Rule,
    interface_index,
    is_main,
    reconcile,
    routes,
    ways,
)
from mpcore.host.rtnetlink import RouteSocket

REFUGE_TABLES = 1000  # above the tables of the addresses
REFUGE_PRIORITY = 40000  # behind the kernel's own rules, which end at 32767
UNCHOSEN_PRIORITY = 32765  # just before the main table's, behind what administrators put there

Advertisers = Callable[[int, bytes], Sequence[bytes]]
"""Tells which routers of an interface, by its number, advertise a prefix of an address, the best first."""


def nobody(interface: int, address: bytes) -> Sequence[bytes]:
    """Know no router that advertises anything."""
    return ()


class SourceRouting:
    """The rules and tables of one daemon.

    Nothing happens unless a family has addresses on two interfaces, or default routers of one interface
    advertise different prefixes. `default_routers` are those of IPv6 as they were when it was last applied,
    each with the number of its interface.
    """

    def __init__(self, config: RoutingConfig, advertisers: Advertisers = nobody) -> None:
        self._config = config
        self._advertisers = advertisers
        self._numbers: dict[bytes, int] = {}  # address -> offset of its table
        self.default_routers: frozenset[tuple[int, bytes]] = frozenset()

    def apply(self, addresses: Collection[LocalAddress], kept: Collection[bytes] = ()) -> None:
        """Make rules and tables fit the addresses and the main table as they are now. Raises HostError.

        `kept` are addresses of sockets that live on; they have a refuge whether an interface has them or not.
        """
        if not self._config.manage:
            return
        orphans = set(kept) - {local.address for local in addresses}
        with RouteSocket() as kernel:
            main = [
                route for family in FAMILIES.values() for route in routes(kernel, family) if is_main(route)
            ]
            self.default_routers = frozenset(
                (route.interface_index, route.gateway)
                for route in main
                if route.family == socket.AF_INET6 and route.is_default and route.gateway
            )
            choosy = {local for local in addresses if self._needs_choice(local, main)}
            wanted = [local for local in addresses if local in choosy or needs_rule(local, addresses)]
            self._assign([*(local.address for local in wanted), *sorted(orphans)])
            wanted_rules = {self._rule(local) for local in wanted} | set(self._unchosen(choosy, main))
            wanted_routes = {route for local in wanted for route in self._routes(local, main)}
            homes = {local.address: local.interface for local in wanted} | dict.fromkeys(orphans, "")
            for address, home in homes.items():
                refuge = self._refuge(address, home, addresses)
                if refuge is not None:
                    wanted_routes.add(refuge)
                    wanted_rules.add(Rule(address, refuge.table, REFUGE_PRIORITY))
            reconcile(kernel, wanted_rules, wanted_routes)

    def remove(self) -> None:
        """Take every rule and table back. Raises HostError."""
        self._numbers.clear()
        with RouteSocket() as kernel:
            reconcile(kernel, set(), set())

    def clean_leftovers(self) -> None:
        """Take back what a daemon left that was killed. Raises HostError."""
        self.remove()

    def _assign(self, addresses: Collection[bytes]) -> None:
        """Give each address a table number of its own, which it keeps as long as it stays."""
        self._numbers = {address: n for address, n in self._numbers.items() if address in addresses}
        free = (n for n in range(len(addresses)) if n not in set(self._numbers.values()))
        for address in addresses:
            if address not in self._numbers:
                self._numbers[address] = next(free)

    def _refuge(self, address: bytes, home: str, addresses: Collection[LocalAddress]) -> Route | None:
        """Return the route of last resort of an address: any interface but its own."""
        for other in addresses:
            index = interface_index(other.interface)
            if index and other.interface != home and len(other.address) == len(address):
                table = self._config.table_base + REFUGE_TABLES + self._numbers[address]
                scope = RT_SCOPE_LINK if len(address) == 4 else 0
                return Route(FAMILIES[len(address)], table, b"", 0, index, b"", b"", 0, scope, b"", False)
        return None

    def _table(self, local: LocalAddress) -> int:
        return self._config.table_base + self._numbers[local.address]

    def _rule(self, local: LocalAddress) -> Rule:
        return Rule(local.address, self._table(local), self._config.priority)

    def _needs_choice(self, local: LocalAddress, main: Sequence[Route]) -> bool:
        """Tell whether an address has to leave by some of its interface's default routers only."""
        if len(local.address) != 16:
            return False
        index = interface_index(local.interface)
        return needs_choice(_of_interface(main, local, index), self._advertisers(index, local.address))

    def _unchosen(self, choosy: Collection[LocalAddress], main: Sequence[Route]) -> Iterator[Rule]:
        """Yield the rules for packets without a source, where they leave by an interface with providers."""
        first = first_interface(main)
        concerned = [local for local in choosy if interface_index(local.interface) == first]
        for local in concerned:
            yield Rule(local.address, self._table(local), UNCHOSEN_PRIORITY, finds_source=True)
        if concerned:
            yield Rule(b"", MAIN_TABLE, UNCHOSEN_PRIORITY, shortest=1)

    def _routes(self, local: LocalAddress, main: Sequence[Route]) -> Iterator[Route]:
        """Yield the main table's routes of the address's family and interface, moved to its table."""
        index = interface_index(local.interface)
        own = _of_interface(main, local, index)
        if len(local.address) == 16:
            own = distinct(chosen(own, self._advertisers(index, local.address)))
        for route in own:
            yield route.moved(self._table(local))


def _of_interface(main: Sequence[Route], local: LocalAddress, index: int) -> list[Route]:
    family = FAMILIES[len(local.address)]
    return [route for route in main if route.family == family and route.interface_index == index]


def needs_rule(local: LocalAddress, addresses: Collection[LocalAddress]) -> bool:
    """Return whether another interface has an address of the same family."""
    return any(
        other.interface != local.interface and len(other.address) == len(local.address) for other in addresses
    )


def leaves_by(kernel: RouteSocket, local: bytes, remote: bytes, interface: str) -> bool:
    """Tell whether a packet from `local` to `remote` leaves by an interface."""
    index = interface_index(interface)
    return any(route.interface_index == index for route in ways(kernel, local, remote))
