"""Signs that a way out is broken: a neighbour that does not answer, a route that went (RFC 5534 §3.2, §4.1).

They come by rtnetlink. None of them is proof: the contexts that leave by the interface search, and stay where
they are when that works.
"""

import errno
import socket
import struct

from mpcore.host.rtnetlink import RTM_DELROUTE, Message, RouteSocket, parse_attributes
from mpcore.shim6_endpoint import Shim6Endpoint

RTMGRP_NEIGH, RTMGRP_IPV6_ROUTE = 0x4, 0x400
RTM_NEWNEIGH = 28
NEIGHBOUR = struct.Struct("=BxxxiHBB")  # struct ndmsg: family, interface, state, flags, type
NUD_FAILED = 0x20
ROUTE_HEADER = struct.Struct("=8BI")  # struct rtmsg
MAIN_TABLE, RTN_UNICAST, RTM_F_CLONED = 254, 1, 0x200
RTA_OIF = 4


class NetworkHints:
    """Watches neighbours and routes of IPv6 for one endpoint. Raises HostError."""

    def __init__(self, endpoint: Shim6Endpoint) -> None:
        self._endpoint = endpoint
        self._socket = RouteSocket(RTMGRP_NEIGH | RTMGRP_IPV6_ROUTE)

    def fileno(self) -> int:
        """Return the descriptor, readable when hints wait; -1 when closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop watching."""
        self._socket.close()

    def handle_ready(self, now_ns: int) -> None:
        """Hand on what waits; what the kernel had no room for is lost, and found by the Send Timeout."""
        try:
            messages = self._socket.events()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return
        for name in {broken_interface(message) for message in messages} - {None}:
            self._endpoint.suspect_interface(str(name), now_ns)


def broken_interface(message: Message) -> str | None:
    """Return the interface whose way out a message makes doubtful."""
    index = 0
    if message.kind == RTM_NEWNEIGH and len(message.body) >= NEIGHBOUR.size:
        family, index, state, _, _ = NEIGHBOUR.unpack_from(message.body)
        if family != socket.AF_INET6 or not state & NUD_FAILED:
            return None
    elif message.kind == RTM_DELROUTE and len(message.body) >= ROUTE_HEADER.size:
        family, _, _, _, table, _, _, kind, flags = ROUTE_HEADER.unpack_from(message.body)
        if (family, table, kind, flags & RTM_F_CLONED) != (socket.AF_INET6, MAIN_TABLE, RTN_UNICAST, 0):
            return None
        found = parse_attributes(message.body[ROUTE_HEADER.size :]).get(RTA_OIF, b"")
        index = struct.unpack("=I", found)[0] if len(found) == 4 else 0
    try:
        return socket.if_indextoname(index) if index else None
    except OSError:
        return None
