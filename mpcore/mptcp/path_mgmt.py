"""The addresses of one connection: which ids both sides gave them, what is announced, what is confirmed.

RFC 8684 §3.4.1 (ADD_ADDR), §3.4.2 (REMOVE_ADDR), §3.2 (address ids). The book builds and judges options; what
an address is used for is the path manager's business. Times are integer nanoseconds.
"""

from mpcore.counters import COUNTER_COUNT, Counter
from mpcore.mptcp import keys
from mpcore.mptcp.syn import is_loopback
from mpcore.policy.base import LocalAddress, RemoteAddress
from mpcore.store.deadlines import Deadlines
from mpcore.value import value
from mpcore.wire.values import AddAddr, RemoveAddr, emit_option

REMOTE_ADDRESSES_MAX = 32
ANNOUNCE_RETRANSMISSIONS = 3
REFRESH_INTERVAL_NS = 1_000_000_000
_LAST_ID = 255


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


class AddressBook:
    """Both sides' addresses and their ids.

    Args:
        key_local, key_remote: the keys, for the HMAC of ADD_ADDR
        local, remote, remote_port: the first subflow's; they have id 0 (RFC 8684 §3.2)
        timeout_ns: how long an ADD_ADDR waits for its echo; doubled each time
        counts: one integer a `Counter`, which this object raises
    """

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
        self._initial_remote = remote
        self._timeout_ns = timeout_ns
        self._ids = {local: 0}  # an id stays with its address for the life of the connection
        self._known_to_peer = {0}
        self._local: dict[bytes, LocalAddress] = {local: LocalAddress(local, 0, "")}
        self._remote = {0: RemoteAddress(remote, 0, remote_port)}
        self._joined: set[int] = set()
        self._refreshed_ns: dict[int, int] = {}
        self._pending: dict[int, AddAddr] = {}
        self._waiting: dict[int, AddAddr] = {}
        self._tries: dict[int, int] = {}
        self._deadlines: Deadlines[int] = Deadlines()
        self.counts = counts if counts is not None else [0] * COUNTER_COUNT

    @property
    def local_addresses(self) -> tuple[LocalAddress, ...]:
        """Addresses of this host that take part, by id."""
        return tuple(sorted(self._local.values(), key=lambda each: each.address_id))

    @property
    def remote_addresses(self) -> tuple[RemoteAddress, ...]:
        """Addresses of the peer that are not withdrawn, by id."""
        return tuple(sorted(self._remote.values(), key=lambda each: each.address_id))

    # This host's addresses

    def local_id(self, address: bytes) -> int | None:
        """Return the id of an address, giving it one at need; None when all are spent."""
        found = self._ids.get(address)
        if found is None and len(self._ids) <= _LAST_ID:
            found = self._ids[address] = len(self._ids)
        return found

    def add_local(self, address: bytes, interface: str, backup: bool) -> LocalAddress | None:
        """Let an address take part; None when it has no id."""
        address_id = self.local_id(address)
        if address_id is None:
            return None
        self._local[address] = LocalAddress(address, address_id, interface, backup)
        return self._local[address]

    def remove_local(self, address: bytes) -> LocalAddress | None:
        """End an address's part; None when it had none."""
        return self._local.pop(address, None)

    def expose(self, address_id: int) -> None:
        """Note that the peer has seen an id: in a join, or announced."""
        self._known_to_peer.add(address_id)

    def announce(self, address: bytes, address_id: int, port: int | None, now_ns: int) -> bytes | None:
        """Return the ADD_ADDR for a local address, to be repeated until it is echoed.

        None: another one waits for its echo, and this one follows then. Linux takes one at a time and drops
        others.
        """
        hmac = keys.add_addr_hmac(self._key_local, self._key_remote, address_id, address, port)
        option = AddAddr(address_id, address, port, hmac=hmac)
        if self._pending and address_id not in self._pending:
            self._waiting[address_id] = option
            return None
        return self._start(option, now_ns)

    def _start(self, option: AddAddr, now_ns: int) -> bytes:
        self._pending[option.address_id] = option
        self._tries[option.address_id] = 0
        self.expose(option.address_id)
        return self._send(option.address_id, now_ns)

    def _next(self, now_ns: int) -> list[bytes]:
        """Return the announcement that may go now, if any waits."""
        if self._pending or not self._waiting:
            return []
        address_id = next(iter(self._waiting))
        return [self._start(self._waiting.pop(address_id), now_ns)]

    def withdraw(self, address_id: int) -> bytes | None:
        """Return the REMOVE_ADDR for an id, or None when the peer never saw it (RFC 8684 §3.4.2)."""
        self._settle(address_id)
        if address_id not in self._known_to_peer:
            return None
        self._known_to_peer.discard(address_id)
        self._count(Counter.RM_ADDR_TX)
        return emit_option(RemoveAddr((address_id,)))

    def handle_echo(self, option: AddAddr, now_ns: int) -> list[bytes]:
        """Take the peer's confirmation of an ADD_ADDR; return the option that waited for it, if any."""
        self._count(Counter.ECHO_ADD)
        sent = self._pending.get(option.address_id)
        if sent is not None and (sent.address, sent.port) == (option.address, option.port):
            self._settle(option.address_id)
        return self._next(now_ns)

    def poll_timeout(self) -> int | None:
        """Return when an announcement is due to be repeated or given up."""
        return self._deadlines.first()

    def handle_timeout(self, now_ns: int) -> list[bytes]:
        """Return the options to repeat, and the one that takes the place of one given up."""
        options = []
        for address_id in self._deadlines.expired(now_ns):
            self._tries[address_id] += 1
            if self._tries[address_id] > ANNOUNCE_RETRANSMISSIONS:
                self._settle(address_id)
            else:
                options.append(self._send(address_id, now_ns))
        return options + self._next(now_ns)

    def forget_announcements(self) -> None:
        """Repeat nothing any more: the connection fell back or is over."""
        self._waiting.clear()
        for address_id in tuple(self._pending):
            self._settle(address_id)

    # The peer's addresses

    def handle_announcement(self, option: AddAddr, default_port: int, now_ns: int) -> Announcement | None:
        """Judge an ADD_ADDR; `default_port` is the peer's on the subflow that carried it.

        None: it is to be ignored, because its HMAC is wrong, its id belongs to another address, its address
        can be no peer's, or the book is full (RFC 8684 §3.4.1, §5).
        """
        self._count(Counter.ADD_ADDR)
        if option.port is not None:
            self._count(Counter.PORT_ADD)
        if not (self._is_authentic(option) and self._has_place(option)):
            self._count(Counter.ADD_ADDR_DROP)
            return None
        address = RemoteAddress(option.address, option.address_id, option.port or default_port)
        known = self._remote.get(option.address_id)
        self._remote[option.address_id] = address
        # An echo that was lost makes the peer repeat itself; only a later repeat asks for another attempt.
        seen_ns = self._refreshed_ns.get(option.address_id)
        fresh = known != address or seen_ns is None or now_ns - seen_ns >= REFRESH_INTERVAL_NS
        if fresh:
            self._refreshed_ns[option.address_id] = now_ns
        self._count(Counter.ECHO_ADD_TX)
        return Announcement(address, fresh, emit_option(_echo(option)))

    def handle_removal(self, option: RemoveAddr) -> tuple[int, ...]:
        """Return the ids that were known and are gone now (RFC 8684 §3.4.2: unknown ones are ignored)."""
        self._count(Counter.RM_ADDR)
        known = self._remote.keys() | self._joined
        gone = tuple(each for each in dict.fromkeys(option.address_ids) if each in known)
        for address_id in gone:
            self._remote.pop(address_id, None)
            self._refreshed_ns.pop(address_id, None)
            self._joined.discard(address_id)
        return gone

    def learn(self, address_id: int) -> None:
        """Remember an id by which the peer joined (RFC 8684 §3.2).

        Its address stays open: a NAT may show another one than the peer announces under that id, and the
        source port of a join is none to connect to.
        """
        self._joined.add(address_id)

    def _is_authentic(self, option: AddAddr) -> bool:
        expected = keys.add_addr_hmac(
            self._key_remote, self._key_local, option.address_id, option.address, option.port
        )
        return option.hmac is not None and keys.hmac_equal(option.hmac, expected)

    def _has_place(self, option: AddAddr) -> bool:
        if not _can_be_peer(option.address, is_loopback(self._initial_remote)):
            return False
        known = self._remote.get(option.address_id)
        if known is not None:
            # RFC 8684 §3.4.1: an id keeps its address until it is removed.
            return known.address == option.address
        return len(self._remote) < REMOTE_ADDRESSES_MAX

    def _send(self, address_id: int, now_ns: int) -> bytes:
        self._deadlines.arm(address_id, now_ns + (self._timeout_ns << self._tries[address_id]))
        self._count(Counter.ADD_ADDR_TX)
        return emit_option(self._pending[address_id])

    def _settle(self, address_id: int) -> None:
        self._waiting.pop(address_id, None)
        self._pending.pop(address_id, None)
        self._tries.pop(address_id, None)
        self._deadlines.cancel(address_id)

    def _count(self, counter: Counter) -> None:
        self.counts[counter] += 1


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
