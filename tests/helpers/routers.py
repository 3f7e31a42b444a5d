"""Router advertisements from raw sockets, as a test wants them."""

import socket
import struct
from types import TracebackType

from mpcore.host.prefix_watch import AddressChanged, PrefixWatch
from mpcore.lab.wait import wait_until
from mpcore.shim6.forming import AddressState

A_FLAG, L_FLAG = 0x40, 0x80
MEDIUM, HIGH, RESERVED, LOW = range(4)  # RFC 4191 §2.1
HOPS = 255


def advertisement(
    prefix: str,
    preferred: int,
    valid: int,
    flags: int = A_FLAG | L_FLAG,
    router_s: int = 1800,
    preference: int = MEDIUM,
) -> bytes:
    """Return an ICMPv6 message with one Prefix Information option (RFC 4861 §4.2, §4.6.2)."""
    return router_header(router_s, preference) + prefix_option(prefix, valid, preferred, flags)


def router_header(router_s: int = 1800, preference: int = MEDIUM) -> bytes:
    """Return an advertisement without options; `preference` as RFC 4191 §2.1 has it."""
    return struct.pack(">BBHBBHII", 134, 0, 0, 64, preference << 3, router_s, 0, 0)


def prefix_option(
    prefix: str, valid: int, preferred: int = 0, flags: int = A_FLAG | L_FLAG, bits: int = 64
) -> bytes:
    """Return a Prefix Information option (RFC 4861 §4.6.2)."""
    octets = socket.inet_pton(socket.AF_INET6, prefix)
    return struct.pack(">BBBBIII16s", 3, 4, bits, flags, valid, preferred, 0, octets)


class Router:
    """Sends advertisements by an interface of the namespace in which it is made, once that has an address.

    They have to come from a link-local one (RFC 4861 §6.1.2); with `source` from that, whatever it is.
    """

    def __init__(self, interface: str, source: str = "", hops: int = HOPS) -> None:
        self._index = socket.if_nametoindex(interface)
        if not source:
            wait_until(lambda: bool(link_local(interface)), f"a link-local address on {interface}")
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        self._socket.bind((source or link_local(interface)[0], 0, 0, self._index))
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, hops)
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self._index)

    def __enter__(self) -> "Router":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def advertise(
        self,
        prefix: str,
        preferred: int = 600,
        valid: int = 1200,
        *,
        flags: int = A_FLAG | L_FLAG,
        router_s: int = 1800,
        preference: int = MEDIUM,
    ) -> None:
        """Advertise one prefix of 64 bits to all hosts."""
        self.say(advertisement(prefix, preferred, valid, flags, router_s, preference))

    def say(self, message: bytes) -> None:
        """Send all hosts an ICMPv6 message."""
        self._socket.sendto(message, ("ff02::1", 0, 0, self._index))


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
