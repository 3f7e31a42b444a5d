"""Asking routers for advertisements (RFC 4861 §6.3.7): those that the kernel heard before are not told."""

import socket
import struct
from contextlib import suppress

from mpcore.errors import HostError

ALL_ROUTERS = "ff02::2"
ROUTER_SOLICITATION = 133
MESSAGE = struct.pack(">BBHI", ROUTER_SOLICITATION, 0, 0, 0)  # the kernel puts the checksum in
HOP_LIMIT = 255  # RFC 4861 §4.1
ICMP6_FILTER = 1
INTERVAL_NS = 4_000_000_000
SOLICITATIONS_MAX = 3


class RouterSolicitor:
    """Asks on interfaces, three times each, until `heard` says that a router has spoken. Raises HostError."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(
                socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMPV6
            )
        except OSError as error:
            raise HostError(f"no socket for router solicitations: {error}; run as root") from error
        # nothing is read here: answers go to the kernel
        self._socket.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, b"\xff" * 32)
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
        self._left: dict[str, int] = {}
        self._due_ns = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def begin(self, interface: str) -> None:
        """Ask on an interface from now on."""
        self._left[interface] = SOLICITATIONS_MAX
        self._due_ns = 0

    def heard(self, interface: str) -> None:
        """A router has spoken, or the interface is down."""
        self._left.pop(interface, None)

    def poll_timeout(self) -> int | None:
        """Return when `handle_timeout` is to be called next; None when nothing is to be asked."""
        return self._due_ns if self._left else None

    def handle_timeout(self, now_ns: int) -> None:
        """Ask, if it is time."""
        if not self._left or now_ns < self._due_ns:
            return
        self._due_ns = now_ns + INTERVAL_NS
        for interface in list(self._left):
            self._ask(interface)
            self._left[interface] -= 1
            if not self._left[interface]:
                del self._left[interface]

    def _ask(self, interface: str) -> None:
        """Send one; an interface that cannot send now is asked on again later."""
        with suppress(OSError):
            place = (ALL_ROUTERS, 0, 0, socket.if_nametoindex(interface))
            self._socket.sendto(MESSAGE, socket.MSG_DONTWAIT, place)
