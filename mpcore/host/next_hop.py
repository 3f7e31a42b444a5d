"""Where the kernel sends packets of IPv6 now: by which interface, and to which router on it."""

import socket
import struct
from dataclasses import dataclass

from mpcore.host.rtnetlink import (
    RTM_GETROUTE,
    RTM_NEWROUTE,
    Message,
    RouteSocket,
    attribute,
    parse_attributes,
)

ROUTE_HEADER = struct.Struct("=8BI")  # struct rtmsg
HOP_HEADER = struct.Struct("=HBBi")  # struct rtnexthop
RTA_DST, RTA_SRC, RTA_OIF, RTA_GATEWAY, RTA_MULTIPATH = 1, 2, 4, 5, 9
ADDRESS_BITS = 128


@dataclass(frozen=True, slots=True)
class NextHop:
    """The first hop of a path; `gateway` is empty for what is on the link."""

    interface_index: int
    gateway: bytes


class NextHops:
    """Asks the kernel for its routes of IPv6. Raises HostError."""

    def __init__(self) -> None:
        self._kernel = RouteSocket()

    def close(self) -> None:
        """Close the socket to the kernel."""
        self._kernel.close()

    def of(self, local: bytes, peer: bytes) -> NextHop | None:
        """Return where a packet goes first, as `ip -6 route get PEER from LOCAL`; None when nowhere."""
        question = ROUTE_HEADER.pack(socket.AF_INET6, ADDRESS_BITS, ADDRESS_BITS, 0, 0, 0, 0, 0, 0)
        question += attribute(RTA_DST, peer) + attribute(RTA_SRC, local)
        try:
            answers = self._kernel.ask(RTM_GETROUTE, question)
        except OSError:
            return None
        return next((hop for message in answers for hop in hops_of(message)), None)

    def gateways(self) -> set[NextHop]:
        """Return the routers that routes of any table name. Raises OSError."""
        routes = self._kernel.dump(RTM_GETROUTE, socket.AF_INET6)
        return {hop for route in routes for hop in hops_of(route) if hop.gateway}


def hops_of(message: Message) -> list[NextHop]:
    """Return the next hops of a message about a route, several for a multipath route."""
    if message.kind != RTM_NEWROUTE or len(message.body) < ROUTE_HEADER.size:
        return []
    found = parse_attributes(message.body[ROUTE_HEADER.size :])
    index = found.get(RTA_OIF, b"")
    hops = [NextHop(struct.unpack("=i", index)[0], found.get(RTA_GATEWAY, b""))] if len(index) == 4 else []
    rest = found.get(RTA_MULTIPATH, b"")
    while len(rest) >= HOP_HEADER.size:
        size, _, _, hop_index = HOP_HEADER.unpack_from(rest)
        if size < HOP_HEADER.size or size > len(rest):
            break
        inner = parse_attributes(rest[HOP_HEADER.size : size])
        hops.append(NextHop(hop_index, inner.get(RTA_GATEWAY, b"")))
        rest = rest[(size + 3) & ~3 :]
    return hops
