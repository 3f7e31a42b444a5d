"""Which pairs of addresses sockets of this host use, by sock_diag(7): their contexts are not discarded.

RFC 5533 §9 lets no context go that a transport may still need; what a socket says nothing about, such as a
ping or a UDP socket that is not connected, is known by its packets alone.
"""

import logging
import socket
import struct
from collections.abc import Callable

from mpcore.errors import HostError
from mpcore.host.rtnetlink import RouteSocket
from mpcore.shim6.context import ContextKey
from mpcore.shim6.locators import Pair

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
REQUEST = struct.Struct("=BBBxI48x")  # inet_diag_req_v2: family, protocol, extensions, states
ANSWER_BYTES_MIN = 52
_SOURCE, _DESTINATION = slice(8, 24), slice(24, 40)
# By include/net/tcp_states.h: established to last ACK, without listening, closed and TIME-WAIT.
LIVING = sum(1 << state for state in (1, 2, 3, 4, 5, 8, 9, 11))
_CONNECTED = 1 << 1
CACHE_NS = 5_000_000_000

log = logging.getLogger(__name__)


class SocketPairs:
    """The pairs of IPv6 addresses between which sockets talk, as they were at most 5 s ago.

    `clock` returns nanoseconds.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._pairs: frozenset[Pair] = frozenset()
        self._read_ns: int | None = None

    def in_use(self, key: ContextKey) -> bool:
        """Tell whether a socket may need a context; yes where the kernel does not tell."""
        now = self._clock()
        if self._read_ns is None or now - self._read_ns >= CACHE_NS:
            try:
                self._pairs = read_pairs()
            except (HostError, OSError) as error:
                log.warning("sockets cannot be listed, so contexts are kept: %s", error)
                return True
            self._read_ns = now
        return key.ulids in self._pairs


def read_pairs() -> frozenset[Pair]:
    """Return the pairs of all connected TCP and UDP sockets of IPv6 here. Raises HostError, OSError."""
    found: set[Pair] = set()
    with RouteSocket(protocol=NETLINK_SOCK_DIAG) as kernel:
        for protocol, states in ((socket.IPPROTO_TCP, LIVING), (socket.IPPROTO_UDP, _CONNECTED)):
            request = REQUEST.pack(socket.AF_INET6, protocol, 0, states)
            for message in kernel.dump_by(SOCK_DIAG_BY_FAMILY, request):
                if len(message.body) >= ANSWER_BYTES_MIN:
                    found.add(Pair(message.body[_SOURCE], message.body[_DESTINATION]))
    return frozenset(found)
