"""What the kernel hears and does about IPv6 autoconfiguration: prefixes, addresses, links.

Router advertisements are read as the kernel took them (RTM_NEWPREFIX), so that its settings hold for us too:
`accept_ra` and what depends on it. The prefixes that it heard of earlier are known by the addresses that it
formed itself.
"""

import errno
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from mpcore.errors import HostError
from mpcore.host.adopt import IFA_PROTO
from mpcore.host.autoconf import PROTOCOL_ROUTER
from mpcore.host.formed import PREFIX_BITS
from mpcore.host.netlink import (
    ADDRESS_HEADER,
    CACHE_INFO,
    IFA_ADDRESS,
    IFA_CACHEINFO,
    IFA_F_DADFAILED,
    IFA_F_TENTATIVE,
    IFA_FLAGS,
    IFF_LOOPBACK,
    IFF_RUNNING,
    IFF_UP,
    IFLA_IFNAME,
    LINK_HEADER,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_LINK,
)
from mpcore.host.rtnetlink import (
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    Message,
    RouteSocket,
    parse_attributes,
)
from mpcore.shim6.forming import AddressState
from mpcore.shim6.prefixes import PREFIX_SIZE, prefix_of

RTM_NEWPREFIX = 52
RTMGRP_IPV6_PREFIX = 0x20000
PREFIX_HEADER = struct.Struct("=BxxxiBBBx")  # struct prefixmsg: family, interface, type, length, flags
PREFIX_ADDRESS, PREFIX_CACHEINFO = 1, 2
LIFETIMES = struct.Struct("=II")  # struct prefix_cacheinfo: preferred, valid
# The flags are the advertisement's own since Linux 6.8, before that the kernel's IF_PREFIX_AUTOCONF.
AUTOCONF_FLAGS = 0x40 | 0x02


@dataclass(frozen=True, slots=True)
class PrefixHeard:
    """Hosts may form addresses in a prefix of 8 octets; lifetimes are seconds.

    `early`: before this watch began, so that routers may say something else now.
    """

    prefix: bytes
    interface: str
    preferred_s: int
    valid_s: int
    early: bool = False


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """An interface got up with carrier, or is not any more."""

    interface: str
    up: bool


@dataclass(frozen=True, slots=True)
class AddressChanged:
    """The kernel says what has become of an address."""

    address: bytes
    interface: str
    state: AddressState


Change: TypeAlias = PrefixHeard | LinkChanged | AddressChanged


class PrefixWatch:
    """Reads changes on the interfaces for which `concerns` is true; `lo` is never one. Raises HostError."""

    def __init__(self, concerns: Callable[[str], bool] = lambda name: True) -> None:
        self._concerns = concerns
        self._names: dict[int, str] = {}
        self._up: dict[str, bool] = {}
        self._addresses: set[tuple[bytes, str]] = set()
        self._socket = RouteSocket(RTMGRP_LINK | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_PREFIX)

    def fileno(self) -> int:
        """Return the descriptor, readable when changes wait; -1 when closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop watching."""
        self._socket.close()

    def load(self) -> list[Change]:
        """Return how everything is now, and the prefixes that the kernel heard of. Raises HostError."""
        links, addresses = self._dump()
        return self._compare(links, addresses) + self._heard(addresses)

    def read(self) -> list[Change]:
        """Return what changed since the last call, without waiting. Raises HostError.

        When the kernel lost changes, everything is read afresh.
        """
        try:
            messages = self._socket.events()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise HostError(f"the kernel's address events cannot be read: {error}") from error
            return self._compare(*self._dump())
        return [change for message in messages for change in self._changes(message)]

    def _dump(self) -> tuple[list[Message], list[Message]]:
        try:
            links = self._socket.dump(RTM_GETLINK, socket.AF_UNSPEC)
            return links, self._socket.dump(RTM_GETADDR, socket.AF_INET6)
        except OSError as error:
            raise HostError(f"the kernel's addresses cannot be read: {error}") from error

    def _compare(self, links: list[Message], addresses: list[Message]) -> list[Change]:
        """Return how everything is, after what is gone that was there."""
        before, up = set(self._addresses), {name for name, is_up in self._up.items() if is_up}
        self._addresses.clear()
        self._names.clear()
        found = [change for message in (*links, *addresses) for change in self._changes(message)]
        gone: list[Change] = [LinkChanged(name, False) for name in up - set(self._names.values())]
        gone += [AddressChanged(*each, AddressState.GONE) for each in before - self._addresses]
        self._up = {name: self._up[name] for name in self._names.values()}
        return gone + found

    def _changes(self, message: Message) -> Iterator[Change]:
        kind, size = message.kind, len(message.body)
        if kind in (RTM_NEWLINK, RTM_DELLINK) and size >= LINK_HEADER.size:
            yield from self._link(message)
        elif kind in (RTM_NEWADDR, RTM_DELADDR) and size >= ADDRESS_HEADER.size:
            yield from self._address(message)
        elif kind == RTM_NEWPREFIX and size >= PREFIX_HEADER.size:
            yield from self._prefix(message)

    def _link(self, message: Message) -> Iterator[Change]:
        family, _, index, flags, _ = LINK_HEADER.unpack_from(message.body)
        attributes = parse_attributes(message.body[LINK_HEADER.size :])
        name = attributes.get(IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
        if family != socket.AF_UNSPEC or flags & IFF_LOOPBACK or not self._concerns(name):
            return
        up = flags & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING and message.kind == RTM_NEWLINK
        self._names[index] = name
        if self._up.get(name, False) != up:
            yield LinkChanged(name, up)
        self._up[name] = up
        if message.kind == RTM_DELLINK:
            del self._names[index], self._up[name]

    def _address(self, message: Message) -> Iterator[Change]:
        family, _, flags, _, index = ADDRESS_HEADER.unpack_from(message.body)
        attributes = parse_attributes(message.body[ADDRESS_HEADER.size :])
        address, wide = attributes.get(IFA_ADDRESS, b""), attributes.get(IFA_FLAGS, b"")
        if family != socket.AF_INET6 or len(address) != 16 or index not in self._names:
            return
        flags = struct.unpack("=I", wide)[0] if len(wide) == 4 else flags
        state = AddressState.READY
        if flags & IFA_F_DADFAILED:
            state = AddressState.TAKEN
        elif message.kind == RTM_DELADDR:
            state = AddressState.GONE
        elif flags & IFA_F_TENTATIVE:
            state = AddressState.TENTATIVE
        place = address, self._names[index]
        (self._addresses.discard if message.kind == RTM_DELADDR else self._addresses.add)(place)
        yield AddressChanged(*place, state)

    def _prefix(self, message: Message) -> Iterator[Change]:
        family, index, _, bits, flags = PREFIX_HEADER.unpack_from(message.body)
        attributes = parse_attributes(message.body[PREFIX_HEADER.size :])
        address, lifetimes = attributes.get(PREFIX_ADDRESS, b""), attributes.get(PREFIX_CACHEINFO, b"")
        fits = family == socket.AF_INET6 and bits == PREFIX_BITS and index in self._names
        if fits and flags & AUTOCONF_FLAGS and len(address) == 16 and len(lifetimes) == LIFETIMES.size:
            yield PrefixHeard(prefix_of(address), self._names[index], *LIFETIMES.unpack(lifetimes))

    def _heard(self, addresses: list[Message]) -> list[Change]:
        """Return the prefixes of addresses that the kernel formed, with the longest lifetimes of each.

        An earlier daemon may have deprecated them, so a prefix counts as preferred until routers speak.
        """
        found: dict[tuple[bytes, str], tuple[int, int]] = {}
        for message in addresses:
            _, bits, _, _, index = ADDRESS_HEADER.unpack_from(message.body)
            attributes = parse_attributes(message.body[ADDRESS_HEADER.size :])
            times = attributes.get(IFA_CACHEINFO, b"")
            by_router = attributes.get(IFA_PROTO) == bytes([PROTOCOL_ROUTER])
            if not by_router or bits != PREFIX_BITS or len(times) != CACHE_INFO.size:
                continue
            prefix = attributes.get(IFA_ADDRESS, b"")[:PREFIX_SIZE]
            if index in self._names and len(prefix) == PREFIX_SIZE:
                place, (preferred, valid, _, _) = (prefix, self._names[index]), CACHE_INFO.unpack(times)
                known = found.get(place, (0, 0))
                found[place] = max(known[0], preferred), max(known[1], valid)
        return [
            PrefixHeard(*place, preferred or valid, valid, early=True)
            for place, (preferred, valid) in found.items()
        ]
