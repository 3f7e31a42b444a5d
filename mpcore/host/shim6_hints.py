"""Signs that a way out is broken: its router does not answer, its route went (RFC 5534 §3.2, §4.1).

They come by rtnetlink, and most of them are of no matter to any context: hosts on the link that are switched
off, routes to elsewhere. So each is compared with where the kernel sends packets between the locators in use
now. Only those search that it would send to the router, or the peer on the link, that does not answer, and
those whose interface has no route for them any more.
"""

import errno
import socket
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cache

from mpcore.errors import HostError
from mpcore.host.next_hop import NextHop, NextHops
from mpcore.host.routes import HEADER as ROUTE_HEADER
from mpcore.host.routes import RTA_DST, RTA_OIF, RTM_F_CLONED, RTN_UNICAST
from mpcore.host.rtnetlink import RTM_DELROUTE, Message, RouteSocket, parse_attributes
from mpcore.shim6.settings import SECOND
from mpcore.shim6_endpoint import Shim6Endpoint

RTMGRP_NEIGH, RTMGRP_IPV6_ROUTE = 0x4, 0x400
RTM_NEWNEIGH = 28
NEIGHBOUR = struct.Struct("=BxxxiHBB")  # struct ndmsg: family, interface, state, flags, type
NDA_DST = 1
NUD_FAILED = 0x20
ADDRESS_BITS = 128
GATEWAYS_VALID_NS = SECOND  # so that what strangers ask this host to resolve costs no more than that


@dataclass(frozen=True, slots=True)
class LostRoute:
    """A route through an interface that is gone: to the addresses that begin with `bits` of `destination`."""

    interface_index: int
    destination: bytes
    bits: int

    def covers(self, address: bytes) -> bool:
        """Tell whether packets to an address could have taken it."""
        shift = ADDRESS_BITS - self.bits
        return int.from_bytes(address) >> shift == int.from_bytes(self.destination) >> shift


@dataclass(slots=True)
class _News:
    """What was heard of one interface: who does not answer on it, and which of its routes went."""

    silent: set[bytes] = field(default_factory=set)
    lost: list[LostRoute] = field(default_factory=list)


class NetworkHints:
    """Watches neighbours and routes of IPv6 for one endpoint. Raises HostError."""

    def __init__(self, endpoint: Shim6Endpoint) -> None:
        self._endpoint = endpoint
        self._socket = RouteSocket(RTMGRP_NEIGH | RTMGRP_IPV6_ROUTE)
        self._hops = NextHops()
        self._gateways: Collection[NextHop] = ()
        self._gateways_due_ns = 0

    def fileno(self) -> int:
        """Return the descriptor, readable when hints wait; -1 when closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop watching."""
        self._socket.close()
        self._hops.close()

    def handle_ready(self, now_ns: int) -> None:
        """Hand on what waits; what the kernel had no room for is lost, and found by the Send Timeout."""
        try:
            messages = self._socket.events()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return
        news: dict[int, _News] = {}
        for message in messages:
            match failed_neighbour(message) or lost_route(message):
                case NextHop(index, address):
                    news.setdefault(index, _News()).silent.add(address)
                case LostRoute() as route:
                    news.setdefault(route.interface_index, _News()).lost.append(route)
        for index, heard in news.items():
            try:
                name = socket.if_indextoname(index)
            except OSError:
                continue  # it is gone, and its addresses with it
            self._endpoint.suspect_interface(name, now_ns, self._doubts(index, heard, now_ns))

    def _doubts(self, index: int, heard: _News, now_ns: int) -> Callable[[bytes, bytes], bool]:
        """Return what tells whether packets between two locators need what broke on an interface."""
        silent = {NextHop(index, address) for address in heard.silent}
        routers = {hop for hop in silent if hop in self._gateways_at(now_ns)}

        @cache
        def doubtful(local: bytes, peer: bytes) -> bool:
            lost = any(route.covers(peer) for route in heard.lost)
            if peer in heard.silent or not (routers or lost):
                return peer in heard.silent
            hop = self._hops.of(local, peer)
            if hop is None or hop.interface_index != index:
                return lost
            return hop in routers

        return doubtful

    def _gateways_at(self, now_ns: int) -> Collection[NextHop]:
        """Return the routers of this host, as they were a second ago at most."""
        if now_ns >= self._gateways_due_ns:
            self._gateways_due_ns = now_ns + GATEWAYS_VALID_NS
            try:
                self._gateways = self._hops.gateways()
            except HostError:
                self._gateways = ()
        return self._gateways


def failed_neighbour(message: Message) -> NextHop | None:
    """Return the neighbour of IPv6 that a message says does not answer."""
    if message.kind != RTM_NEWNEIGH or len(message.body) < NEIGHBOUR.size:
        return None
    family, index, state, _, _ = NEIGHBOUR.unpack_from(message.body)
    if family != socket.AF_INET6 or not state & NUD_FAILED:
        return None
    address = parse_attributes(message.body[NEIGHBOUR.size :]).get(NDA_DST, b"")
    return NextHop(index, address) if len(address) == 16 else None


def lost_route(message: Message) -> LostRoute | None:
    """Return the unicast route of IPv6, of any table, that a message says is gone."""
    if message.kind != RTM_DELROUTE or len(message.body) < ROUTE_HEADER.size:
        return None
    family, bits, _, _, _, _, _, kind, flags = ROUTE_HEADER.unpack_from(message.body)
    if (family, kind, flags & RTM_F_CLONED) != (socket.AF_INET6, RTN_UNICAST, 0) or bits > ADDRESS_BITS:
        return None
    found = parse_attributes(message.body[ROUTE_HEADER.size :])
    index, destination = found.get(RTA_OIF, b""), found.get(RTA_DST, bytes(16))
    if len(index) != 4 or len(destination) != 16:
        return None
    return LostRoute(struct.unpack("=i", index)[0], destination, bits)
