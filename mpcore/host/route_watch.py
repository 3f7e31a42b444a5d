"""Tells that the main table has changed, by what the kernel says of routes (rtnetlink(7))."""

import errno
import logging

from mpcore.host.routes import HEADER, MAIN_TABLE, PROTOCOL, RTA_TABLE, RTM_F_CLONED, RTN_UNICAST, number
from mpcore.host.rtnetlink import RTM_DELROUTE, RTM_NEWROUTE, Message, RouteSocket, parse_attributes

RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE = 0x40, 0x400

log = logging.getLogger(__name__)


class RouteWatch:
    """Watches the routes of both IP versions. Raises HostError."""

    def __init__(self) -> None:
        self._socket = RouteSocket(RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE)

    def fileno(self) -> int:
        """Return the descriptor, readable when there is news; -1 when closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop watching."""
        self._socket.close()

    def changed(self) -> bool:
        """Tell whether the main table may have changed since the last call, without waiting."""
        try:
            return any(is_change(message) for message in self._socket.events())
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                log.warning("the kernel's route events cannot be read: %s", error)
            return True  # some were lost


def is_change(message: Message) -> bool:
    """Tell whether an event is about a route of the main table that may be copied."""
    if message.kind not in (RTM_NEWROUTE, RTM_DELROUTE) or len(message.body) < HEADER.size:
        return False
    _, _, _, _, table, made_by, _, kind, flags = HEADER.unpack_from(message.body)
    table = number(parse_attributes(message.body[HEADER.size :]), RTA_TABLE, table)
    return table == MAIN_TABLE and made_by != PROTOCOL and kind == RTN_UNICAST and not flags & RTM_F_CLONED
