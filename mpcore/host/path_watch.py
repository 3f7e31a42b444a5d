"""Watch routes and rules: an address becomes a path, or ceases to be one, by its routes as well.

Events are only counted as news. What follows reads the kernel's tables afresh, at once after the first of
them and then seldom: a router that learns a full table tells of a million routes.
"""

import errno
import selectors
from collections.abc import Callable

from mpcore.errors import HostError
from mpcore.host.routes import FRA_PROTOCOL, HEADER, PROTOCOL, RTM_F_CLONED
from mpcore.host.rtnetlink import (
    RTM_DELROUTE,
    RTM_DELRULE,
    RTM_NEWROUTE,
    RTM_NEWRULE,
    Message,
    RouteSocket,
    parse_attributes,
)

RTMGRP_IPV4_ROUTE, RTMGRP_IPV4_RULE, RTMGRP_IPV6_ROUTE, RTMGRP_IPV6_RULE = 0x40, 0x80, 0x400, 0x40000
GROUPS = RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_RULE | RTMGRP_IPV6_ROUTE | RTMGRP_IPV6_RULE
LOCAL_TABLE = 255

MESSAGES_MAX = 256  # read at a time: beyond that it is a storm, of which one look is enough
INTERVAL_NS = 100_000_000
SHARE = 10  # looking takes a tenth of the time at most


class PathWatch:
    """Says when to look at the routes again. Raises HostError.

    Args:
        clock: returns nanoseconds
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._socket = RouteSocket(GROUPS)
        self._selector: selectors.BaseSelector | None = None
        self._due_ns: int | None = None
        self._rested_ns = 0
        self._routers = False

    def register(self, selector: selectors.BaseSelector) -> None:
        """Listen from now on; while a look is due nothing is read, and what does not fit is lost unread."""
        self._selector = selector
        selector.register(self._socket.fileno(), selectors.EVENT_READ, self.handle_ready)

    def close(self) -> None:
        """Stop watching."""
        self._socket.close()

    def handle_ready(self) -> None:
        """Read what waits; news makes a look due."""
        if not self._read():
            return
        self._due_ns = max(self._clock(), self._rested_ns)
        if self._selector is not None:
            self._selector.unregister(self._socket.fileno())

    def poll_timeout(self) -> int | None:
        """Return when to look at the routes; None while nothing is known to have changed."""
        return self._due_ns

    def look(self, act: Callable[[bool], None]) -> None:
        """Call `act`, with whether default routes are among the news, and rest afterwards."""
        if self._due_ns is None:
            return
        self._read()  # so that what has come until now needs no second look
        routers, self._routers, self._due_ns = self._routers, False, None
        began_ns = self._clock()
        act(routers)
        now_ns = self._clock()
        self._rested_ns = now_ns + max(INTERVAL_NS, SHARE * (now_ns - began_ns))
        if self._selector is not None:
            self.register(self._selector)

    def _read(self) -> bool:
        """Read without waiting, not without end; return whether there was news."""
        news = False
        for _ in range(MESSAGES_MAX):
            try:
                messages = self._socket.receive()
            except BlockingIOError:
                return news
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise HostError(f"the kernel's route events cannot be read: {error}") from error
                self._routers = news = True  # what was lost may have been anything
                continue
            for message in filter(is_news, messages):
                news = True
                self._routers = self._routers or is_default(message)
        return news


def is_news(message: Message) -> bool:
    """Return whether somebody else changed a route or rule that packets to other hosts may follow.

    Those of our own making, by their protocol number, are no news.
    """
    if len(message.body) < HEADER.size:
        return False
    _, _, _, _, table, protocol, _, _, flags = HEADER.unpack_from(message.body)
    if message.kind in (RTM_NEWROUTE, RTM_DELROUTE):
        return protocol != PROTOCOL and table != LOCAL_TABLE and not flags & RTM_F_CLONED
    if message.kind in (RTM_NEWRULE, RTM_DELRULE):
        made_by = parse_attributes(message.body[HEADER.size :]).get(FRA_PROTOCOL)
        return made_by != bytes([PROTOCOL])
    return False


def is_default(message: Message) -> bool:
    """Return whether a message is about a default route: another router may be there."""
    return message.kind in (RTM_NEWROUTE, RTM_DELROUTE) and HEADER.unpack_from(message.body)[1] == 0
