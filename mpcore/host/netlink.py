"""Watch the host's addresses and links: which addresses connections can use, and what changes."""

import errno
import ipaddress
import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass

from mpcore.errors import HostError
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

RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
LINK_HEADER = struct.Struct("=BxHiII")  # struct ifinfomsg
ADDRESS_HEADER = struct.Struct("=BBBBI")  # struct ifaddrmsg
IFF_UP, IFF_LOOPBACK, IFF_RUNNING = 0x1, 0x8, 0x40
IFLA_IFNAME = 3
IFA_ADDRESS, IFA_LOCAL, IFA_CACHEINFO, IFA_FLAGS = 1, 2, 6, 8
CACHE_INFO = struct.Struct("=4I")  # struct ifa_cacheinfo: preferred and valid seconds left, two times
IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE = 0x08, 0x20, 0x40
UNUSABLE = IFA_F_DADFAILED | IFA_F_DEPRECATED | IFA_F_TENTATIVE


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """An address (4 or 16 octets) that connections can use, and where it is."""

    address: bytes
    prefix_length: int
    interface: str


@dataclass(frozen=True, slots=True)
class AddressAdded:
    """An address can be used from now on."""

    address: LocalAddress


@dataclass(frozen=True, slots=True)
class AddressRemoved:
    """An address cannot be used any more."""

    address: LocalAddress


@dataclass(frozen=True, slots=True)
class LinkUp:
    """An interface got up, with carrier."""

    interface: str


@dataclass(frozen=True, slots=True)
class LinkDown:
    """An interface went down, lost its carrier or was removed."""

    interface: str


NetworkEvent = AddressAdded | AddressRemoved | LinkUp | LinkDown


@dataclass(frozen=True, slots=True)
class Link:
    """An interface; `up`: administratively up, with carrier."""

    name: str
    up: bool
    loopback: bool


class AddressMonitor:
    """The usable global addresses of this network namespace, kept up to date by `read_events`.

    Usable: on an interface that is up, has carrier, is not loopback and not in `exclude_interfaces`; not
    link-local, tentative, duplicate or deprecated. Raises HostError when the kernel cannot be asked.
    """

    def __init__(self, *, exclude_interfaces: Collection[str] = ()) -> None:
        self._excluded = frozenset(exclude_interfaces)
        self._links: dict[int, Link] = {}
        self._found: dict[tuple[int, bytes], tuple[int, int]] = {}  # prefix length and flags
        self._expired: set[bytes] = set()
        self._usable: frozenset[LocalAddress] = frozenset()
        self._up: frozenset[str] = frozenset()
        self._socket = RouteSocket(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR)
        self._load()
        self._changes()

    def fileno(self) -> int:
        """Return the descriptor, readable when events wait, for epoll; -1 when closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop watching."""
        self._socket.close()

    def addresses(self) -> list[LocalAddress]:
        """Return the usable addresses, IPv4 first, in a stable order."""
        return sorted(self._usable, key=lambda local: (len(local.address), local.interface, local.address))

    def sources(self) -> list[LocalAddress]:
        """Return `addresses`, and the deprecated ones, by which what has begun goes on."""
        found = self._addresses_without(UNUSABLE & ~IFA_F_DEPRECATED)
        return sorted(found, key=lambda local: (len(local.address), local.interface, local.address))

    def read_events(self) -> list[NetworkEvent]:
        """Return what changed since the last call, without waiting. Raises HostError.

        Only differences count: an address that came and went in between is not reported. When the kernel lost
        events, everything is read afresh.
        """
        try:
            for message in self._socket.events():
                self._handle(message)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise HostError(f"the kernel's address events cannot be read: {error}") from error
            self._load()
        return self._changes()

    def take_expired(self) -> set[bytes]:
        """Return the addresses of IPv6 whose valid lifetime has ended since the last call.

        The kernel takes them away by itself (RFC 4862 §5.5.4); what an administrator takes away is not among
        them. Such an address may be somebody else's soon.
        """
        taken, self._expired = self._expired, set()
        return taken

    def _load(self) -> None:
        """Read all links and addresses."""
        self._links.clear()
        self._found.clear()
        try:
            for kind in (RTM_GETLINK, RTM_GETADDR):
                for message in self._socket.dump(kind, socket.AF_UNSPEC):
                    self._handle(message)
        except OSError as error:
            raise HostError(f"the kernel's addresses cannot be read: {error}") from error

    def _handle(self, message: Message) -> None:
        if message.kind in (RTM_NEWLINK, RTM_DELLINK) and len(message.body) >= LINK_HEADER.size:
            self._handle_link(message)
        elif message.kind in (RTM_NEWADDR, RTM_DELADDR) and len(message.body) >= ADDRESS_HEADER.size:
            self._handle_address(message)

    def _handle_link(self, message: Message) -> None:
        family, _, index, flags, _ = LINK_HEADER.unpack_from(message.body)
        if family != socket.AF_UNSPEC:
            return  # a bridge port's second message about the same interface
        if message.kind == RTM_DELLINK:
            self._links.pop(index, None)
            return
        name = parse_attributes(message.body[LINK_HEADER.size :]).get(IFLA_IFNAME, b"").rstrip(b"\0")
        up = flags & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING
        self._links[index] = Link(name.decode(errors="replace"), up, bool(flags & IFF_LOOPBACK))

    def _handle_address(self, message: Message) -> None:
        _, prefix_length, flags, _, index = ADDRESS_HEADER.unpack_from(message.body)
        attributes = parse_attributes(message.body[ADDRESS_HEADER.size :])
        # on a point-to-point link IFA_ADDRESS is the peer's
        address = attributes.get(IFA_LOCAL) or attributes.get(IFA_ADDRESS, b"")
        if message.kind == RTM_DELADDR:
            self._found.pop((index, address), None)
            lifetimes = attributes.get(IFA_CACHEINFO, b"")
            if (
                len(address) == 16
                and len(lifetimes) == CACHE_INFO.size
                and not CACHE_INFO.unpack(lifetimes)[1]
            ):
                self._expired.add(address)
        elif len(address) in (4, 16):
            self._expired.discard(address)
            wide = attributes.get(IFA_FLAGS, b"")
            flags = struct.unpack("=I", wide)[0] if len(wide) == 4 else flags
            self._found[index, address] = (prefix_length, flags)

    def _changes(self) -> list[NetworkEvent]:
        """Compare what is usable now with what was, and remember it: what went first, then what came."""
        up = frozenset(link.name for link in self._links.values() if link.up and not link.loopback)
        usable = frozenset(self._addresses_without(UNUSABLE))
        events: list[NetworkEvent] = [LinkDown(name) for name in sorted(self._up - up)]
        events += [AddressRemoved(address) for address in ordered(self._usable - usable)]
        events += [LinkUp(name) for name in sorted(up - self._up)]
        events += [AddressAdded(address) for address in ordered(usable - self._usable)]
        self._up, self._usable = up, usable
        return events

    def _addresses_without(self, unwanted: int) -> list[LocalAddress]:
        """Return the addresses on interfaces that work which have none of the flags."""
        found = []
        for (index, address), (prefix_length, flags) in self._found.items():
            link = self._links.get(index)
            if link is None or not link.up or link.loopback or link.name in self._excluded:
                continue
            if not flags & unwanted and is_global(address):
                found.append(LocalAddress(address, prefix_length, link.name))
        return found


def ordered(addresses: Collection[LocalAddress]) -> list[LocalAddress]:
    """Return addresses in the order of events."""
    return sorted(addresses, key=lambda local: (local.interface, local.address))


def is_global(address: bytes) -> bool:
    """Return whether an address means the same on every link; private networks count as such."""
    value = ipaddress.ip_address(address)
    return not (value.is_loopback or value.is_link_local or value.is_multicast or value.is_unspecified)
