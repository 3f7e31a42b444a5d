"""Between which addresses the SCTP associations of this host are, by sock_diag(7).

An association has several addresses at either end; each pair of them may carry its packets. The kernel is
asked only where SCTP is loaded: the question would load it.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from mpcore.host.rtnetlink import RouteSocket, parse_attributes
from mpcore.host.sock_diag import ATTRIBUTES_AT, NETLINK_SOCK_DIAG, REQUEST, SOCK_DIAG_BY_FAMILY
from mpcore.shim6.locators import Pair

IPPROTO_SCTP = 132
PRESENT = Path("/proc/thread-self/net/sctp")
_ALL_STATES = 0xFFF
_LOCALS, _PEERS = 12, 13  # INET_DIAG_LOCALS, INET_DIAG_PEERS: arrays of sockaddr_storage
_STORAGE_BYTES = 128
_SOCKADDR = struct.Struct("=H2x4x16s")  # of struct sockaddr_in6: family, address
_ADDRESSES_MAX = 64  # of one end that are looked at


def sctp_pairs(present: Path = PRESENT) -> set[Pair]:
    """Return all pairs of addresses that associations have; none where the kernel has no SCTP.

    Raises HostError, OSError.
    """
    if not present.exists():
        return set()
    request = REQUEST.pack(socket.AF_INET6, IPPROTO_SCTP, 0, _ALL_STATES)
    with RouteSocket(protocol=NETLINK_SOCK_DIAG) as kernel:
        try:
            messages = kernel.dump_by(SOCK_DIAG_BY_FAMILY, request)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return set()  # SCTP without its part of sock_diag
            raise
    return {pair for message in messages for pair in pairs_of(message.body)}


def pairs_of(body: bytes) -> Iterator[Pair]:
    """Yield the pairs of one answer; a socket that only listens has no peers."""
    found = parse_attributes(body[ATTRIBUTES_AT:])
    peers = list(_addresses(found.get(_PEERS, b"")))
    for local in _addresses(found.get(_LOCALS, b"")):
        for peer in peers:
            yield Pair(local, peer)


def _addresses(data: bytes) -> Iterator[bytes]:
    """Yield the IPv6 addresses of an array."""
    for at in range(0, min(len(data), _ADDRESSES_MAX * _STORAGE_BYTES), _STORAGE_BYTES):
        if len(data) - at < _SOCKADDR.size:
            return
        family, address = _SOCKADDR.unpack_from(data, at)
        if family == socket.AF_INET6:
            yield address
