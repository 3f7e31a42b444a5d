"""Source-address routing: what leaves with an address leaves through that address's interface.

Each address gets a table with the main table's routes of its interface and a rule `from ADDRESS lookup
TABLE`. A second rule behind all others is its refuge: when no route is left, because the interface went, it
names another interface, so that the packets of sockets with that address still come to the queue, where they
are sent on by other subflows; nothing leaves by it unchanged. All of them carry a protocol number of our own,
by which leftovers of a killed daemon are known.
"""

import errno
import socket
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from mpcore.config import RoutingConfig
from mpcore.errors import HostError
from mpcore.host.netlink import LocalAddress
from mpcore.host.rtnetlink import (
    NLM_F_CREATE_NEW,
    RTM_DELROUTE,
    RTM_DELRULE,
    RTM_GETROUTE,
    RTM_GETRULE,
    RTM_NEWROUTE,
    RTM_NEWRULE,
    RouteSocket,
    attribute,
    attribute32,
    parse_attributes,
)

PROTOCOL = 177  # "who made it", of rules and routes; not one of /etc/iproute2/rt_protos
FAMILIES = {4: socket.AF_INET, 16: socket.AF_INET6}  # by octets of an address
MAIN_TABLE = 254
REFUGE_TABLES = 1000  # above the tables of the addresses
REFUGE_PRIORITY = 40000  # behind the kernel's own rules, which end at 32767
RT_SCOPE_LINK = 253
RTN_UNICAST = 1
FR_ACT_TO_TBL = 1
RTM_F_CLONED = 0x200
RTNH_F_ONLINK = 0x4

# rtmsg: family, prefix lengths of destination and source, tos, table, protocol, scope, type, flags;
# fib_rule_hdr has the same layout, with its action in place of the type
HEADER = struct.Struct("=8BI")
NEXT_HOP = struct.Struct("=HBBi")  # struct rtnexthop
RTA_DST, RTA_SRC, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_METRICS, RTA_MULTIPATH = 1, 2, 4, 5, 6, 8, 9
RTA_TABLE, RTA_VIA = 15, 18
FRA_SRC, FRA_PRIORITY, FRA_TABLE, FRA_PROTOCOL = 2, 6, 15, 21
GONE = (errno.ESRCH, errno.ENOENT)


@dataclass(frozen=True, slots=True)
class Route:
    """One route through one interface; `gateway` is empty for what is on the link."""

    family: int
    table: int
    destination: bytes
    prefix_length: int
    interface_index: int
    gateway: bytes
    via: bytes  # a gateway of the other family (RFC 5549), as the kernel encodes it
    priority: int
    scope: int
    metrics: bytes
    on_link: bool

    def emit(self) -> bytes:
        """Return the body of the message that adds or deletes it."""
        flags = RTNH_F_ONLINK if self.on_link else 0
        head = HEADER.pack(self.family, self.prefix_length, 0, 0, 0, PROTOCOL, self.scope, RTN_UNICAST, flags)
        parts = [head, attribute32(RTA_TABLE, self.table), attribute32(RTA_OIF, self.interface_index)]
        if self.priority:
            parts.append(attribute32(RTA_PRIORITY, self.priority))
        for kind, value in (
            (RTA_DST, self.destination),
            (RTA_GATEWAY, self.gateway),
            (RTA_VIA, self.via),
            (RTA_METRICS, self.metrics),
        ):
            if value:
                parts.append(attribute(kind, value))
        return b"".join(parts)

    def moved(self, table: int) -> "Route":
        """Return the same route in another table."""
        return Route(self.family, table, *(getattr(self, name) for name in self.__slots__[2:]))


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: packets from `source` look into `table`."""

    source: bytes
    table: int
    priority: int

    def emit(self) -> bytes:
        """Return the body of the message that adds or deletes it."""
        family = FAMILIES[len(self.source)]
        head = HEADER.pack(family, 0, 8 * len(self.source), 0, 0, 0, 0, FR_ACT_TO_TBL, 0)
        return b"".join(
            [
                head,
                attribute(FRA_SRC, self.source),
                attribute32(FRA_TABLE, self.table),
                attribute32(FRA_PRIORITY, self.priority),
                attribute(FRA_PROTOCOL, bytes([PROTOCOL])),
            ]
        )


class SourceRouting:
    """The rules and tables of one daemon. Nothing happens unless a family has addresses on two interfaces."""

    def __init__(self, config: RoutingConfig) -> None:
        self._config = config
        self._numbers: dict[bytes, int] = {}  # address -> offset of its table

    def apply(self, addresses: Collection[LocalAddress], kept: Collection[bytes] = ()) -> None:
        """Make rules and tables fit the addresses and the main table as they are now. Raises HostError.

        `kept` are addresses of sockets that live on; they have a refuge whether an interface has them or not.
        """
        if not self._config.manage:
            return
        wanted = [local for local in addresses if needs_rule(local, addresses)]
        orphans = set(kept) - {local.address for local in addresses}
        self._assign([*(local.address for local in wanted), *sorted(orphans)])
        with RouteSocket() as kernel:
            main = [
                route for family in FAMILIES.values() for route in routes(kernel, family) if is_main(route)
            ]
            wanted_rules = {self._rule(local) for local in wanted}
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

    def _routes(self, local: LocalAddress, main: list[Route]) -> Iterator[Route]:
        """Yield the main table's routes of the address's family and interface, moved to its table."""
        index = interface_index(local.interface)
        for route in main:
            if route.family == FAMILIES[len(local.address)] and route.interface_index == index:
                yield route.moved(self._table(local))


def needs_rule(local: LocalAddress, addresses: Collection[LocalAddress]) -> bool:
    """Return whether another interface has an address of the same family."""
    return any(
        other.interface != local.interface and len(other.address) == len(local.address) for other in addresses
    )


def interface_index(name: str) -> int:
    """Return the kernel's number of an interface; 0 when it is gone."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def leaves_by(kernel: RouteSocket, local: bytes, remote: bytes, interface: str) -> bool:
    """Tell whether a packet from `local` to `remote` leaves by it: `ip route get REMOTE from LOCAL`."""
    bits = 8 * len(local)
    question = HEADER.pack(FAMILIES[len(local)], bits, bits, 0, 0, 0, 0, 0, 0)
    question += attribute(RTA_DST, remote) + attribute(RTA_SRC, local)
    try:
        answers = kernel.ask(RTM_GETROUTE, question)
    except OSError:
        return False
    index = interface_index(interface)
    return any(
        number(parse_attributes(message.body[HEADER.size :]), RTA_OIF, 0) == index
        for message in answers
        if message.kind == RTM_NEWROUTE
    )


def is_main(route: Route) -> bool:
    """Return whether a route of the main table is to be copied: link-local destinations need no table."""
    link_local = route.family == socket.AF_INET6 and route.destination[:1] == b"\xfe"
    return route.table == MAIN_TABLE and not link_local


def routes(kernel: RouteSocket, family: int, protocol: int | None = None) -> Iterator[Route]:
    """Yield the unicast routes of all tables, optionally only those of one protocol. Raises HostError."""
    for message in dump(kernel, RTM_GETROUTE, family):
        if len(message) < HEADER.size:
            continue
        _, _, _, _, _, made_by, _, kind, flags = HEADER.unpack_from(message)
        if kind == RTN_UNICAST and not flags & RTM_F_CLONED and protocol in (None, made_by):
            yield from parse_route(message)


def parse_route(message: bytes) -> Iterator[Route]:
    """Yield a route for each of its next hops."""
    family, prefix_length, _, _, table, _, scope, _, flags = HEADER.unpack_from(message)
    found = parse_attributes(message[HEADER.size :])
    hops = [(number(found, RTA_OIF, 0), flags, found)]
    if RTA_MULTIPATH in found:
        hops = list(parse_hops(found[RTA_MULTIPATH]))
    for index, hop_flags, hop in hops:
        yield Route(
            family=family,
            table=number(found, RTA_TABLE, table),
            destination=found.get(RTA_DST, b""),
            prefix_length=prefix_length,
            interface_index=index,
            gateway=hop.get(RTA_GATEWAY, b""),
            via=hop.get(RTA_VIA, b""),
            priority=number(found, RTA_PRIORITY, 0),
            scope=scope,
            metrics=found.get(RTA_METRICS, b""),
            on_link=bool(hop_flags & RTNH_F_ONLINK),
        )


def parse_hops(data: bytes) -> Iterator[tuple[int, int, dict[int, bytes]]]:
    """Yield interface, flags and attributes of each next hop of a multipath route."""
    while len(data) >= NEXT_HOP.size:
        size, flags, _, index = NEXT_HOP.unpack_from(data)
        if size < NEXT_HOP.size or size > len(data):
            return
        yield index, flags, parse_attributes(data[NEXT_HOP.size : size])
        data = data[(size + 3) & ~3 :]


def rules(kernel: RouteSocket) -> Iterator[Rule]:
    """Yield the rules that carry our protocol number. Raises HostError."""
    for family in FAMILIES.values():
        for message in dump(kernel, RTM_GETRULE, family):
            found = parse_attributes(message[HEADER.size :])
            if found.get(FRA_PROTOCOL) == bytes([PROTOCOL]) and len(found.get(FRA_SRC, b"")) in FAMILIES:
                yield Rule(found[FRA_SRC], number(found, FRA_TABLE, 0), number(found, FRA_PRIORITY, 0))


def number(attributes: dict[int, bytes], kind: int, default: int) -> int:
    """Return a 32-bit attribute."""
    value = attributes.get(kind, b"")
    return int(struct.unpack("=I", value)[0]) if len(value) == 4 else default


def dump(kernel: RouteSocket, kind: int, family: int) -> list[bytes]:
    """Return the bodies of a dump; a family that the kernel lacks has none. Raises HostError."""
    try:
        return [message.body for message in kernel.dump(kind, family)]
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT):
            return []
        raise HostError(f"the kernel's routes cannot be read: {error}") from error


def reconcile(kernel: RouteSocket, wanted_rules: set[Rule], wanted_routes: set[Route]) -> None:
    """Delete what is ours and not wanted, add what is wanted and missing; rules come last and go first."""
    have_rules = set(rules(kernel))
    have_routes = {route for family in FAMILIES.values() for route in routes(kernel, family, PROTOCOL)}
    for rule in have_rules - wanted_rules:
        change(kernel, RTM_DELRULE, rule.emit())
    for route in have_routes - wanted_routes:
        change(kernel, RTM_DELROUTE, route.emit())
    # a gateway is accepted only when the table already tells how to reach it
    for route in sorted(wanted_routes - have_routes, key=lambda route: bool(route.gateway or route.via)):
        change(kernel, RTM_NEWROUTE, route.emit(), NLM_F_CREATE_NEW)
    for rule in sorted(wanted_rules - have_rules, key=lambda rule: rule.table):
        change(kernel, RTM_NEWRULE, rule.emit(), NLM_F_CREATE_NEW)


def change(kernel: RouteSocket, kind: int, body: bytes, flags: int = 0) -> None:
    """Ask for one change; what is there already, or gone already, is no error. Raises HostError."""
    try:
        kernel.request(kind, body, flags)
    except OSError as error:
        if error.errno == errno.EEXIST or (kind in (RTM_DELROUTE, RTM_DELRULE) and error.errno in GONE):
            return
        raise HostError(
            f"source routing cannot be set up: {error}; run as root, or set routing.manage=false and make "
            "the rules with ip rule"
        ) from error
