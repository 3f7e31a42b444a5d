"""Formed addresses at the kernel: assigned with lifetimes and duplicate address detection, and taken back."""

import errno
import socket
from collections.abc import Iterator

from mpcore.errors import HostError
from mpcore.host.adopt import GONE, HEADER, IFA_ADDRESS, IFA_PROTO, PROTOCOL
from mpcore.host.netlink import CACHE_INFO, IFA_CACHEINFO, IFA_FLAGS
from mpcore.host.routes import interface_index
from mpcore.host.rtnetlink import (
    RTM_DELADDR,
    RTM_GETADDR,
    RTM_NEWADDR,
    RouteSocket,
    attribute,
    attribute32,
    parse_attributes,
)
from mpcore.shim6.forming import DropAddress, PutAddress

IFA_F_NOPREFIXROUTE = 0x200
NLM_F_CREATE_REPLACE = 0x500
PREFIX_BITS = 64


class FormedAddresses:
    """The formed addresses of one daemon. They carry our protocol number, by which leftovers are known."""

    def put(self, wanted: PutAddress) -> None:
        """Assign an address or change its lifetimes. Raises HostError.

        The router says by itself what is on the link, so that a route is made only where nobody else does.
        """
        flags = 0 if wanted.route else IFA_F_NOPREFIXROUTE
        more = attribute32(IFA_FLAGS, flags)
        more += attribute(IFA_CACHEINFO, CACHE_INFO.pack(wanted.preferred_s, wanted.valid_s, 0, 0))
        more += attribute(IFA_PROTO, bytes([PROTOCOL]))
        try:
            with RouteSocket() as kernel:
                body = _body(wanted.address, socket.if_nametoindex(wanted.interface)) + more
                kernel.request(RTM_NEWADDR, body, NLM_F_CREATE_REPLACE)
        except OSError as error:
            address = socket.inet_ntop(socket.AF_INET6, wanted.address)
            raise HostError(f"{address} cannot be assigned to {wanted.interface}: {error}") from error

    def drop(self, unwanted: DropAddress) -> None:
        """Take an address from its interface, if it is there still. Raises HostError."""
        index = interface_index(unwanted.interface)
        try:
            if index:
                with RouteSocket() as kernel:
                    _delete(kernel, unwanted.address, index)
        except OSError as error:
            raise HostError(f"an address of {unwanted.interface} is not taken back: {error}") from error

    def clean_leftovers(self) -> None:
        """Take back what a daemon left that was killed. Raises HostError."""
        with RouteSocket() as kernel:
            try:
                for address, index in list(leftovers(kernel)):
                    _delete(kernel, address, index)
            except OSError as error:
                raise HostError(f"formed addresses are not taken back: {error}") from error


def _body(address: bytes, index: int) -> bytes:
    return HEADER.pack(socket.AF_INET6, PREFIX_BITS, 0, 0, index) + attribute(IFA_ADDRESS, address)


def _delete(kernel: RouteSocket, address: bytes, index: int) -> None:
    try:
        kernel.request(RTM_DELADDR, _body(address, index))
    except OSError as error:
        if error.errno not in GONE:
            raise


def leftovers(kernel: RouteSocket) -> Iterator[tuple[bytes, int]]:
    """Yield the addresses that carry our protocol number, with their interfaces; those on `lo` are adopted.

    Raises OSError.
    """
    lo = socket.if_nametoindex("lo")
    try:
        messages = kernel.dump(RTM_GETADDR, socket.AF_INET6)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT):
            return
        raise
    for message in messages:
        if len(message.body) < HEADER.size:
            continue
        index = HEADER.unpack_from(message.body)[4]
        found = parse_attributes(message.body[HEADER.size :])
        if index != lo and found.get(IFA_PROTO) == bytes([PROTOCOL]):
            yield found.get(IFA_ADDRESS, b""), index
