"""The addresses of one connection: which ids both sides gave them, what is announced, what is confirmed.

RFC 8684 §3.4.1 (ADD_ADDR), §3.4.2 (REMOVE_ADDR), §3.2 (address ids). The book builds and judges options; what
an address is used for is the path manager's business. Times are integer nanoseconds.
"""

from dataclasses import dataclass

from mpcore.counters import COUNTER_COUNT, Counter
from mpcore.mptcp import keys
from mpcore.mptcp.syn import is_loopback
from mpcore.policy.base import LocalAddress, RemoteAddress
from mpcore.value import value
from mpcore.wire.values import AddAddr, RemoveAddr, emit_option

REMOTE_ADDRESSES_MAX = 32
ANNOUNCE_RETRANSMISSIONS = 3
REFRESH_INTERVAL_NS = 1_000_000_000
_LAST_ID = 255
# Addresses of this host by id, and those of them that take part.
LocalAddresses = tuple[tuple[bytes, ...], tuple[LocalAddress, ...]]


@value
class Announcement:
    """The outcome of a valid ADD_ADDR.

    Attributes:
        address: what the peer announced
        fresh: whether to act on it: it is new, has another port, or asks for another attempt
        echo: the option that confirms it
    """

    address: RemoteAddress
    fresh: bool
    echo: bytes


@dataclass(slots=True)
class _Announcing:
    """An ADD_ADDR that waits for its echo until `due_ns`, sent `tries` times before that."""

    option: AddAddr
    due_ns: int
    tries: int = 0


class AddressBook:
    """Both sides' addresses and their ids.

    Args:
        key_local, key_remote: the keys, for the HMAC of ADD_ADDR
        local, remote, remote_port: the first subflow's; they have id 0 (RFC 8684 §3.2)
        timeout_ns: how long an ADD_ADDR waits for its echo; doubled each time
        counts: one integer a `Counter`, which this object raises

    Attributes:
        local_addresses: addresses of this host that take part, by id
        remote_addresses: addresses of the peer that are not withdrawn, by id
    """

    __slots__ = (
        "_announcing",
        "_ids",
        "_joined",
        "_key_local",
        "_key_remote",
        "_known_to_peer",
        "_refreshed_ns",
        "_timeout_ns",
        "_to_loopback",
        "_waiting",
        "counts",
        "local_addresses",
        "remote_addresses",
    )

    def __init__(
        self,
        key_local: int,
        key_remote: int,
        local: bytes,
        remote: bytes,
        remote_port: int,
        *,
        timeout_ns: int,
        counts: list[int] | None = None,
    ) -> None:
        self._key_local = key_local
        self._key_remote = key_remote
        self._to_loopback = is_loopback(remote)
        self._timeout_ns = timeout_ns
        # Each connection has a book, and few addresses: tuples are smaller than dictionaries, and as fast.
        self._ids: tuple[bytes, ...] = (local,)  # by id, which stays for the life of the connection
        self.local_addresses: tuple[LocalAddress, ...] = (LocalAddress(local, 0, ""),)
        self.remote_addresses: tuple[RemoteAddress, ...] = (RemoteAddress(remote, 0, remote_port),)
        self._known_to_peer = 1  # a bit for each id
        self._joined = 0  # likewise, of the peer
        self._refreshed_ns: tuple[tuple[int, int], ...] = ()  # id of the peer's, time
        self._announcing: _Announcing | None = None
        self._waiting: tuple[AddAddr, ...] = ()
        self.counts = counts if counts is not None else [0] * COUNTER_COUNT

    # This host's addresses

    def local_id(self, address: bytes) -> int | None:
        """Return the id of an address, giving it one at need; None when all are spent."""
        if address in self._ids:
            return self._ids.index(address)
        if len(self._ids) > _LAST_ID:
            return None
        self._ids = (*self._ids, address)
        return len(self._ids) - 1

    def shared(self) -> LocalAddresses:
        """Return this host's addresses, for other books of connections whose first subflow has the same."""
        return self._ids, self.local_addresses

    def share(self, addresses: LocalAddresses) -> None:
        """Begin with the addresses of another book: thousands then hold one list, not a list each."""
        self._ids, self.local_addresses = addresses

    def add_local(self, address: bytes, interface: str, backup: bool) -> LocalAddress | None:
        """Let an address take part; None when it has no id."""
        address_id = self.local_id(address)
        if address_id is None:
            return None
        added = LocalAddress(address, address_id, interface, backup)
        others = (each for each in self.local_addresses if each.address_id != address_id)
        self.local_addresses = tuple(sorted((*others, added), key=_by_id))
        return added

    def remove_local(self, address: bytes) -> LocalAddress | None:
        """End an address's part; None when it had none."""
        removed = self.find_local(address)
        if removed is not None:
            self.local_addresses = tuple(each for each in self.local_addresses if each is not removed)
        return removed

    def find_local(self, address: bytes) -> LocalAddress | None:
        """Return an address of this host that takes part."""
        return next((each for each in self.local_addresses if each.address == address), None)

    def expose(self, address_id: int) -> None:
        """Note that the peer has seen an id: in a join, or announced."""
        self._known_to_peer |= 1 << address_id

    def announce(self, address: bytes, address_id: int, port: int | None, now_ns: int) -> bytes | None:
        """Return the ADD_ADDR for a local address, to be repeated until it is echoed.

        None: another one waits for its echo, and this one follows then. Linux takes one at a time and drops
        others.
        """
        hmac = keys.add_addr_hmac(self._key_local, self._key_remote, address_id, address, port)
        option = AddAddr(address_id, address, port, hmac=hmac)
        if self._announcing is not None and self._announcing.option.address_id != address_id:
            self._waiting = (*_without(self._waiting, address_id), option)
            return None
        return self._start(option, now_ns)

    def _start(self, option: AddAddr, now_ns: int) -> bytes:
        self._announcing = _Announcing(option, now_ns)
        self.expose(option.address_id)
        return self._send(self._announcing, now_ns)

    def _next(self, now_ns: int) -> list[bytes]:
        """Return the announcement that may go now, if any waits."""
        if self._announcing is not None or not self._waiting:
            return []
        option, *others = self._waiting
        self._waiting = tuple(others)
        return [self._start(option, now_ns)]

    def withdraw(self, address_id: int) -> bytes | None:
        """Return the REMOVE_ADDR for an id, or None when the peer never saw it (RFC 8684 §3.4.2)."""
        if self._announcing is not None and self._announcing.option.address_id == address_id:
            self._announcing = None
        self._waiting = _without(self._waiting, address_id)
        if not self._known_to_peer >> address_id & 1:
            return None
        self._known_to_peer &= ~(1 << address_id)
        self._count(Counter.RM_ADDR_TX)
        return emit_option(RemoveAddr((address_id,)))

    def handle_echo(self, option: AddAddr, now_ns: int) -> list[bytes]:
        """Take the peer's confirmation of an ADD_ADDR; return the option that waited for it, if any."""
        self._count(Counter.ECHO_ADD)
        sent = self._announcing.option if self._announcing is not None else None
        if sent is not None and _is_echo(option, sent):
            self._announcing = None
        else:
            self._count(Counter.ECHO_ADD_UNKNOWN)
        return self._next(now_ns)

    def poll_timeout(self) -> int | None:
        """Return when an announcement is due to be repeated or given up."""
        if self._announcing is not None:
            return self._announcing.due_ns
        return 0 if self._waiting else None  # what they waited for was withdrawn

    def handle_timeout(self, now_ns: int) -> list[bytes]:
        """Return the option to repeat, or the one that takes the place of one given up."""
        announcing = self._announcing
        if announcing is not None and announcing.due_ns <= now_ns:
            announcing.tries += 1
            if announcing.tries <= ANNOUNCE_RETRANSMISSIONS:
                return [self._send(announcing, now_ns)]
            self._announcing = None
        return self._next(now_ns)

    def forget_announcements(self) -> None:
        """Repeat nothing any more: the connection fell back or is over."""
        self._waiting = ()
        self._announcing = None

    # The peer's addresses

    def handle_announcement(self, option: AddAddr, default_port: int, now_ns: int) -> Announcement | None:
        """Judge an ADD_ADDR; `default_port` is the peer's on the subflow that carried it.

        None: it is to be ignored, because its HMAC is wrong, its id belongs to another address, its address
        can be no peer's, or the book is full (RFC 8684 §3.4.1, §5).
        """
        self._count(Counter.ADD_ADDR)
        if option.port is not None:
            self._count(Counter.PORT_ADD)
        fault = self._fault_of(option)
        if fault is not None:
            self._count(Counter.ADD_ADDR_DROP)
            self._count(fault)
            return None
        address = RemoteAddress(option.address, option.address_id, option.port or default_port)
        known = self._find_remote(option.address_id)
        others = (each for each in self.remote_addresses if each is not known)
        self.remote_addresses = tuple(sorted((*others, address), key=_by_id))
        # An echo that was lost makes the peer repeat itself; only a later repeat asks for another attempt.
        fresh = known != address or self._refresh_is_due(option.address_id, now_ns)
        if fresh:
            others_ns = (each for each in self._refreshed_ns if each[0] != option.address_id)
            self._refreshed_ns = (*others_ns, (option.address_id, now_ns))
        self._count(Counter.ECHO_ADD_TX)
        return Announcement(address, fresh, emit_option(_echo(option)))

    def handle_removal(self, option: RemoveAddr) -> tuple[int, ...]:
        """Return the ids that were known and are gone now (RFC 8684 §3.4.2: unknown ones are ignored)."""
        self._count(Counter.RM_ADDR)
        gone = tuple(each for each in dict.fromkeys(option.address_ids) if self._knows(each))
        self.remote_addresses = tuple(each for each in self.remote_addresses if each.address_id not in gone)
        self._refreshed_ns = tuple(each for each in self._refreshed_ns if each[0] not in gone)
        for address_id in gone:
            self._joined &= ~(1 << address_id)
        return gone

    def learn(self, address_id: int) -> None:
        """Remember an id by which the peer joined (RFC 8684 §3.2).

        Its address stays open: a NAT may show another one than the peer announces under that id, and the
        source port of a join is none to connect to.
        """
        self._joined |= 1 << address_id

    def _knows(self, address_id: int) -> bool:
        return bool(self._joined >> address_id & 1) or self._find_remote(address_id) is not None

    def _find_remote(self, address_id: int) -> RemoteAddress | None:
        return next((each for each in self.remote_addresses if each.address_id == address_id), None)

    def _refresh_is_due(self, address_id: int, now_ns: int) -> bool:
        seen_ns = next((when_ns for known, when_ns in self._refreshed_ns if known == address_id), None)
        return seen_ns is None or now_ns - seen_ns >= REFRESH_INTERVAL_NS

    def _is_authentic(self, option: AddAddr) -> bool:
        expected = keys.add_addr_hmac(
            self._key_remote, self._key_local, option.address_id, option.address, option.port
        )
        return option.hmac is not None and keys.hmac_equal(option.hmac, expected)

    def _fault_of(self, option: AddAddr) -> Counter | None:
        """Return the counter of the reason why an ADD_ADDR is to be ignored, None where there is none."""
        if not self._is_authentic(option):
            return Counter.ADD_ADDR_HMAC_FAILURE
        if not _can_be_peer(option.address, self._to_loopback):
            return Counter.ADD_ADDR_UNUSABLE
        known = self._find_remote(option.address_id)
        if known is not None:
            # RFC 8684 §3.4.1: an id keeps its address until it is removed.
            return None if known.address == option.address else Counter.ADD_ADDR_CONFLICT
        return None if len(self.remote_addresses) < REMOTE_ADDRESSES_MAX else Counter.ADD_ADDR_FULL

    def _send(self, announcing: _Announcing, now_ns: int) -> bytes:
        announcing.due_ns = now_ns + (self._timeout_ns << announcing.tries)
        self._count(Counter.ADD_ADDR_TX)
        return emit_option(announcing.option)

    def _count(self, counter: Counter) -> None:
        self.counts[counter] += 1


def _by_id(address: LocalAddress | RemoteAddress) -> int:
    return address.address_id


def _without(options: tuple[AddAddr, ...], address_id: int) -> tuple[AddAddr, ...]:
    return tuple(each for each in options if each.address_id != address_id)


def _is_echo(option: AddAddr, sent: AddAddr) -> bool:
    return (option.address_id, option.address, option.port) == (sent.address_id, sent.address, sent.port)


def _echo(option: AddAddr) -> AddAddr:
    """RFC 8684 §3.4.1: the same option without its HMAC and with the E flag."""
    return AddAddr(option.address_id, option.address, option.port, echo=True)


def _can_be_peer(address: bytes, loopback: bool) -> bool:
    """Tell whether an address can be another host's: not multicast, not this network, not this host's own."""
    if is_loopback(address):
        return loopback
    if len(address) == 4:
        return 0 < address[0] < 224
    return any(address) and address[0] != 0xFF
