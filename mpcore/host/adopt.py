"""Addresses that outlive their interface: a socket of the host goes on only while its own address is local.

The first subflow's address is the socket's. When that address is taken from its interface, or the interface's
loss takes it away, the daemon gives it to `lo` for as long as a connection needs it; the kernel then keeps
the socket's packets coming, and other subflows carry the data (RFC 8684 §3.4.2: the connection does not
depend on an address).
"""

import errno
import socket
import struct
from collections.abc import Collection, Iterator

from mpcore.errors import HostError
from mpcore.host.netlink import LocalAddress
from mpcore.host.rtnetlink import (
    RTM_DELADDR,
    RTM_GETADDR,
    RTM_NEWADDR,
    RouteSocket,
    attribute,
    parse_attributes,
)

HEADER = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_PROTO = 1, 2, 3, 11
IFA_F_NODAD = 0x02
RT_SCOPE_HOST = 254
LABEL = b"lo:mpcore\0"  # by which leftovers are known (IPv4)
PROTOCOL = 177  # and since Linux 5.18 for both families
GONE = (errno.EADDRNOTAVAIL, errno.ENODEV)


class AdoptedAddresses:
    """The addresses on `lo` of one daemon."""

    def __init__(self) -> None:
        self._adopted: set[bytes] = set()

    def __bool__(self) -> bool:
        return bool(self._adopted)

    def apply(self, usable: Collection[LocalAddress], needed: Collection[bytes]) -> set[bytes]:
        """Adopt the addresses that connections need and no interface offers; let others go.

        Returns those adopted now. Raises HostError.
        """
        wanted = set(needed) - {local.address for local in usable}
        new = wanted - self._adopted
        if wanted == self._adopted:
            return new
        with RouteSocket() as kernel:
            for address in new:
                _change(kernel, RTM_NEWADDR, address)
            for address in self._adopted - wanted:
                _change(kernel, RTM_DELADDR, address)
        self._adopted = wanted
        return new

    def remove(self) -> None:
        """Give every address back. Raises HostError."""
        self.apply((), ())

    def clean_leftovers(self) -> None:
        """Take back what a daemon left that was killed. Raises HostError."""
        with RouteSocket() as kernel:
            for address in list(_leftovers(kernel)):
                _change(kernel, RTM_DELADDR, address)


def _change(kernel: RouteSocket, kind: int, address: bytes) -> None:
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    body = HEADER.pack(family, 8 * len(address), IFA_F_NODAD, RT_SCOPE_HOST, socket.if_nametoindex("lo"))
    body += attribute(IFA_LOCAL, address) + attribute(IFA_ADDRESS, address)
    body += attribute(IFA_PROTO, bytes([PROTOCOL]))
    if family == socket.AF_INET:
        body += attribute(IFA_LABEL, LABEL)
    try:
        kernel.request(kind, body)
    except OSError as error:
        if error.errno == errno.EEXIST or (kind == RTM_DELADDR and error.errno in GONE):
            return
        raise HostError(f"an address of a connection cannot be kept on lo: {error}; run as root") from error


def _leftovers(kernel: RouteSocket) -> Iterator[bytes]:
    lo = socket.if_nametoindex("lo")
    for message in kernel.dump(RTM_GETADDR, socket.AF_UNSPEC):
        if len(message.body) < HEADER.size or HEADER.unpack_from(message.body)[4] != lo:
            continue
        found = parse_attributes(message.body[HEADER.size :])
        if found.get(IFA_LABEL) == LABEL or found.get(IFA_PROTO) == bytes([PROTOCOL]):
            yield found.get(IFA_LOCAL, found.get(IFA_ADDRESS, b""))
