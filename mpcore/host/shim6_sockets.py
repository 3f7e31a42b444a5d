"""Which contexts the sockets of this host use: they are not discarded (RFC 5533 §9).

A connected socket names its peer (sock_diag(7)), an SCTP association all of its addresses. One that is not
connected is known by its port: it uses the contexts by which datagrams of this port have gone within the last
hour, as the kernel's sets remember (`mpcore.host.shim6_rules`). Raw sockets are told by protocol, and only if
they are bound to an address: the others hear everything, for no peer in particular.
"""

import errno
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mpcore.errors import HostError
from mpcore.host.nftables import NftSets
from mpcore.host.rtnetlink import RouteSocket
from mpcore.host.sctp_sockets import sctp_pairs
from mpcore.host.shim6_rules import TABLE, USED, USED_OTHERS
from mpcore.host.sock_diag import NETLINK_SOCK_DIAG, REQUEST, SOCK_DIAG_BY_FAMILY
from mpcore.shim6.context import ContextKey
from mpcore.shim6.locators import Pair

ANSWER_BYTES_MIN = 52
_PORT, _SOURCE, _DESTINATION = slice(4, 6), slice(8, 24), slice(24, 40)
# By include/net/tcp_states.h: established to last ACK, without listening, closed and TIME-WAIT.
LIVING = sum(1 << state for state in (1, 2, 3, 4, 5, 8, 9, 11))
_CONNECTED, _UNCONNECTED = 1 << 1, 1 << 7
_ANY = bytes(16)
_PROC = Path("/proc/thread-self/net")
_PROTOCOL_AT, _PORT_AT = 32, 36  # in a key of the kernel's sets, behind two addresses
CACHE_NS = 5_000_000_000

log = logging.getLogger(__name__)

Endpoint = tuple[bytes, int, int]
"""Address that a socket is bound to, all zero for any; protocol; port, 0 for raw sockets."""


@dataclass(frozen=True, slots=True)
class SocketUse:
    """What sockets tell of contexts.

    `pairs`: between which addresses connected ones talk. `bound`: the others. `gone`: protocol and port of
    this host of what has gone between two addresses lately.
    """

    pairs: frozenset[Pair] = frozenset()
    bound: frozenset[Endpoint] = frozenset()
    gone: dict[Pair, set[tuple[int, int]]] = field(default_factory=dict)

    def needs(self, ulids: Pair) -> bool:
        """Tell whether a socket may send to, or expect something from, the peer of a context."""
        return ulids in self.pairs or any(
            (address, protocol, port) in self.bound
            for protocol, port in self.gone.get(ulids, ())
            for address in ((ulids.local, _ANY) if port else (ulids.local,))
        )


class SocketPairs:
    """What sockets use, as it was at most 5 s ago. `clock` returns nanoseconds."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._use = SocketUse()
        self._read_ns: int | None = None

    def in_use(self, key: ContextKey) -> bool:
        """Tell whether a socket may need a context; yes where the kernel does not tell."""
        now = self._clock()
        if self._read_ns is None or now - self._read_ns >= CACHE_NS:
            try:
                self._use = read_use()
            except (HostError, OSError) as error:
                log.warning("sockets cannot be listed, so contexts are kept: %s", error)
                return True
            self._read_ns = now
        return self._use.needs(key.ulids)


def read_use() -> SocketUse:
    """Return what the sockets of IPv6 here use. Raises HostError, OSError."""
    pairs = sctp_pairs()
    bound: set[Endpoint] = set()
    with RouteSocket(protocol=NETLINK_SOCK_DIAG) as kernel:
        for protocol, states in ((socket.IPPROTO_TCP, LIVING), (socket.IPPROTO_UDP, _CONNECTED)):
            pairs |= {Pair(body[_SOURCE], body[_DESTINATION]) for body in _dump(kernel, protocol, states)}
        for body in _dump(kernel, socket.IPPROTO_UDP, _UNCONNECTED):
            bound.add((body[_SOURCE], socket.IPPROTO_UDP, int.from_bytes(body[_PORT])))
    for name, fixed in (("raw6", None), ("icmp6", socket.IPPROTO_ICMPV6)):
        for pair, number in _raw_sockets(_PROC / name):
            if pair.peer != _ANY:
                pairs.add(pair)
            else:
                bound.add((pair.local, number if fixed is None else fixed, 0))
    return SocketUse(frozenset(pairs), frozenset(bound), read_gone())


def read_gone() -> dict[Pair, set[tuple[int, int]]]:
    """Return what has gone by contexts lately, but by TCP. Raises HostError, OSError."""
    found: dict[Pair, set[tuple[int, int]]] = {}
    with NftSets(TABLE) as sets:
        for name in (USED, USED_OTHERS):
            try:
                counts = list(sets.counts(name))
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise
                continue  # no rules, no contexts
            for key in (count.key for count in counts if len(count.key) > _PROTOCOL_AT):
                port = int.from_bytes(key[_PORT_AT : _PORT_AT + 2])
                found.setdefault(Pair(key[:16], key[16:32]), set()).add((key[_PROTOCOL_AT], port))
    return found


def _dump(kernel: RouteSocket, protocol: int, states: int) -> Iterator[bytes]:
    request = REQUEST.pack(socket.AF_INET6, protocol, 0, states)
    for message in kernel.dump_by(SOCK_DIAG_BY_FAMILY, request):
        if len(message.body) >= ANSWER_BYTES_MIN:
            yield message.body


def _raw_sockets(table: Path) -> Iterator[tuple[Pair, int]]:
    """Yield addresses and the number behind the local one, as in proc(5): a raw socket's is its protocol."""
    try:
        lines = table.read_text(encoding="ascii").splitlines()[1:]
    except FileNotFoundError:
        return  # the kernel has no such sockets
    for line in lines:
        _, local, peer = line.split()[:3]
        address, _, number = local.partition(":")
        yield Pair(_address(address), _address(peer.partition(":")[0])), int(number, 16)


def _address(text: str) -> bytes:
    """Return an address that is printed as four numbers in this machine's order of octets."""
    words = (int(text[at : at + 8], 16) for at in range(0, 32, 8))
    return b"".join(word.to_bytes(4, sys.byteorder) for word in words)
