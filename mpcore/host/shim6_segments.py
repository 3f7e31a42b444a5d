"""How long the segments of a TCP connection are: what its socket tells, by sock_diag(7).

A super-packet does not say of which length the kernel would have cut its segments.
"""

import logging
import socket
import struct

from mpcore.errors import HostError
from mpcore.host.rtnetlink import RouteSocket, parse_attributes
from mpcore.host.sock_diag import (
    ATTRIBUTES_AT,
    INET_DIAG_INFO,
    INFO_WANTED,
    NETLINK_SOCK_DIAG,
    NO_COOKIE,
    REQUEST_ONE,
    SOCK_DIAG_BY_FAMILY,
)
from mpcore.shim6.own_errors import TcpFlow
from mpcore.shim6.segment import segment_of

ALL_STATES = 0xFFFF_FFFF
OPTIONS_AT = 5  # octets into struct tcp_info
MSS_AT = struct.Struct("=16xI")
HAS_TIMESTAMPS, TIMESTAMPS_SIZE = 1, 12
# What every path takes: 1280 octets less the headers of IPv6, Shim6 and TCP (RFC 8200 §5).
SAFE_SIZE = 1280 - 40 - 8 - 20

log = logging.getLogger(__name__)


class SegmentSizes:
    """Asks sockets; `close` gives the descriptor back."""

    def __init__(self) -> None:
        self._kernel: RouteSocket | None = None

    def close(self) -> None:
        """Close the descriptor; the next question opens it anew."""
        if self._kernel is not None:
            self._kernel.close()
        self._kernel = None

    def of(self, headers: bytes) -> int:
        """Return the octets of options and payload of a segment; what fits on every path if nobody tells."""
        found = segment_of(headers)
        if found is None:
            return SAFE_SIZE
        try:
            return self._ask(found[0])
        except (HostError, OSError) as error:
            log.debug("a socket does not tell how long its segments are: %s", error)
            self.close()
            return SAFE_SIZE

    def _ask(self, flow: TcpFlow) -> int:
        if self._kernel is None:
            self._kernel = RouteSocket(protocol=NETLINK_SOCK_DIAG)
        for message in self._kernel.ask(SOCK_DIAG_BY_FAMILY, request(flow)):
            size = size_told(message.body)
            if size is not None:
                return size
        return SAFE_SIZE


def request(flow: TcpFlow) -> bytes:
    """Return the question about the socket of a connection of this host."""
    ports = flow.local_port.to_bytes(2), flow.peer_port.to_bytes(2)
    return REQUEST_ONE.pack(
        socket.AF_INET6,
        socket.IPPROTO_TCP,
        INFO_WANTED,
        ALL_STATES,
        *ports,
        flow.local,
        flow.peer,
        0,
        NO_COOKIE,
    )


def size_told(answer: bytes) -> int | None:
    """Return what an answer says: its MSS is without the options that every segment has."""
    info = parse_attributes(answer[ATTRIBUTES_AT:]).get(INET_DIAG_INFO, b"")
    if len(info) < MSS_AT.size:
        return None
    (mss,) = MSS_AT.unpack_from(info)
    options = TIMESTAMPS_SIZE if info[OPTIONS_AT] & HAS_TIMESTAMPS else 0
    return int(mss) + options if mss else None
