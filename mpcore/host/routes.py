"""Routes and rules of the kernel as values, and the changes that make the kernel's fit those that are wanted.

Ours carry a protocol number, by which leftovers of a killed daemon are known.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from mpcore.errors import HostError
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
RTA_CACHEINFO, RTA_TABLE, RTA_VIA, RTA_PREF = 12, 15, 18, 20
CACHE_INFO = struct.Struct("=2IiI")  # of struct rta_cacheinfo: two times, ticks until it expires, error
PREFERENCES = {b"\1": 1, b"\3": -1}  # RTA_PREF as RFC 4191 §2.1 encodes it; medium is the usual
FRA_SRC, FRA_PRIORITY, FRA_SUPPRESS_PREFIXLEN, FRA_TABLE, FRA_PROTOCOL = 2, 6, 14, 15, 21
FIB_RULE_FIND_SADDR = 0x10000
NOT_SUPPRESSED = 0xFFFFFFFF
GONE = (errno.ESRCH, errno.ENOENT)


@dataclass(frozen=True, slots=True)
class Route:
    """One route through one interface; `gateway` is empty for what is on the link.

    `preference` is that of the router (RFC 4191), -1 to 1; it is read and not written.
    """

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
    preference: int = field(default=0, compare=False)

    @property
    def is_default(self) -> bool:
        """Whether it is for all that has no other route."""
        return not self.prefix_length

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
        return replace(self, table=table)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: packets from `source` look into `table`; no source stands for all packets of IPv6.

    With `finds_source` it is for packets whose source nobody has chosen yet too: it fits where the kernel
    would choose this one for the interface of the route. `shortest` are the bits that a route's prefix has to
    have at least.
    """

    source: bytes
    table: int
    priority: int
    finds_source: bool = False
    shortest: int = 0

    def emit(self) -> bytes:
        """Return the body of the message that adds or deletes it."""
        family = FAMILIES.get(len(self.source), socket.AF_INET6)
        flags = FIB_RULE_FIND_SADDR if self.finds_source else 0
        parts = [HEADER.pack(family, 0, 8 * len(self.source), 0, 0, 0, 0, FR_ACT_TO_TBL, flags)]
        if self.source:
            parts.append(attribute(FRA_SRC, self.source))
        if self.shortest:
            parts.append(attribute32(FRA_SUPPRESS_PREFIXLEN, self.shortest - 1))
        parts += [attribute32(FRA_TABLE, self.table), attribute32(FRA_PRIORITY, self.priority)]
        parts.append(attribute(FRA_PROTOCOL, bytes([PROTOCOL])))
        return b"".join(parts)


def interface_index(name: str) -> int:
    """Return the kernel's number of an interface; 0 when it is gone."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


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
        if kind != RTN_UNICAST or flags & RTM_F_CLONED or protocol not in (None, made_by):
            continue
        if not has_expired(message):
            yield from parse_route(message)


def has_expired(message: bytes) -> bool:
    """Tell whether a route's time is over: the kernel does not use it any more, and removes it later."""
    times = parse_attributes(message[HEADER.size :]).get(RTA_CACHEINFO, b"")
    return len(times) >= CACHE_INFO.size and CACHE_INFO.unpack_from(times)[2] < 0


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
            preference=PREFERENCES.get(found.get(RTA_PREF, b""), 0),
        )


def ways(kernel: RouteSocket, local: bytes, remote: bytes) -> list[Route]:
    """Return where a packet goes: `ip route get REMOTE from LOCAL`. None where nowhere."""
    bits = 8 * len(local)
    question = HEADER.pack(FAMILIES[len(local)], bits, bits, 0, 0, 0, 0, 0, 0)
    question += attribute(RTA_DST, remote) + attribute(RTA_SRC, local)
    try:
        answers = kernel.ask(RTM_GETROUTE, question)
    except OSError:
        return []
    return [
        route
        for answer in answers
        if answer.kind == RTM_NEWROUTE and len(answer.body) >= HEADER.size
        for route in parse_route(answer.body)
    ]


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
            if len(message) < HEADER.size:
                continue
            found, flags = parse_attributes(message[HEADER.size :]), HEADER.unpack_from(message)[8]
            source = found.get(FRA_SRC, b"")
            if found.get(FRA_PROTOCOL) != bytes([PROTOCOL]):
                continue
            if FAMILIES.get(len(source), socket.AF_INET6) == family:
                yield Rule(
                    source,
                    number(found, FRA_TABLE, 0),
                    number(found, FRA_PRIORITY, 0),
                    bool(flags & FIB_RULE_FIND_SADDR),
                    (number(found, FRA_SUPPRESS_PREFIXLEN, NOT_SUPPRESSED) + 1) & NOT_SUPPRESSED,
                )


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
    # of rules with the same priority the first one that is made counts first
    for rule in sorted(wanted_rules - have_rules, key=lambda rule: (-rule.shortest, rule.table)):
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
