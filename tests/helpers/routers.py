"""Router advertisements from raw sockets, as a test wants them."""

import socket
import struct
from types import TracebackType

from mpcore.host.prefix_watch import AddressChanged, PrefixWatch
from mpcore.lab.wait import wait_until
from mpcore.shim6.forming import AddressState

A_FLAG, L_FLAG = 0x40, 0x80
HOPS = 255


def advertisement(
    prefix: str, preferred: int, valid: int, flags: int = A_FLAG | L_FLAG, router_s: int = 1800
) -> bytes:
    """Return an ICMPv6 message with one Prefix Information option (RFC 4861 §4.2, §4.6.2)."""
    head = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, router_s, 0, 0)
    octets = socket.inet_pton(socket.AF_INET6, prefix)
    return head + struct.pack(">BBBBIII16s", 3, 4, 64, flags, valid, preferred, 0, octets)


class Router:
    """Sends advertisements by an interface of the namespace in which it is made, once that has an address.

    They have to come from a link-local one (RFC 4861 §6.1.2).
    """

    def __init__(self, interface: str) -> None:
        self._index = socket.if_nametoindex(interface)
        wait_until(lambda: bool(link_local(interface)), f"a link-local address on {interface}")
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        self._socket.bind((link_local(interface)[0], 0, 0, self._index))
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOPS)
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self._index)

    def __enter__(self) -> "Router":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def advertise(
        self, prefix: str, preferred: int = 600, valid: int = 1200, *, flags: int = A_FLAG | L_FLAG
    ) -> None:
        """Advertise one prefix of 64 bits to all hosts."""
        self._socket.sendto(advertisement(prefix, preferred, valid, flags), ("ff02::1", 0, 0, self._index))


def link_local(interface: str) -> list[str]:
    """Return the link-local addresses of an interface that can be used."""
    watch = PrefixWatch(lambda name: name == interface)
    found = [change for change in watch.load() if isinstance(change, AddressChanged)]
    watch.close()
    return [
        socket.inet_ntop(socket.AF_INET6, change.address)
        for change in found
        if change.state is AddressState.READY and change.address.startswith(b"\xfe\x80")
    ]
