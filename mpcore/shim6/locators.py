"""Locator sets: what a peer or this host can be reached at, and how much each is liked (RFC 5533 §6.1)."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mpcore.shim6.settings import DEFAULT_SEND_TIMEOUT_NS, SECOND
from mpcore.wire.shim6 import Locator, LocatorList, LocatorPreferences, Preference, PreferenceFlag

_GENERATIONS_KEPT = 16
_BROKEN = int(PreferenceFlag.BROKEN)

PLAIN = Preference()


class Pair(NamedTuple):
    """A pair of locators: packets leave from `local` to `peer`."""

    local: bytes
    peer: bytes

    def shared(self, other: "Pair") -> int:
        """Return how many of its two locators it has in common with another pair."""
        return (self.local == other.local) + (self.peer == other.peer)


@dataclass(slots=True)
class PeerLocator:
    """A verified locator of the peer; `probed` once a probe has shown that the peer is there."""

    address: bytes
    method: int
    preference: Preference = PLAIN
    probed: bool = False

    @property
    def broken(self) -> bool:
        """Whether the peer says that it does not work."""
        return bool(self.preference.flags & _BROKEN)


@dataclass(slots=True)
class PeerLocators:
    """Ls(peer), in the order of the peer's list; all of them are verified.

    Without a list it is the ULID alone. A list replaces all that was, and may leave the ULID out, which then
    is an identifier and no locator (RFC 5533 §5.10).
    """

    entries: list[PeerLocator]
    generation: int | None = None
    parameters: bytes | None = None
    past_generations: deque[int] = field(default_factory=lambda: deque(maxlen=_GENERATIONS_KEPT))

    @classmethod
    def of_ulid(cls, ulid: bytes) -> "PeerLocators":
        """Return the set before any list was seen."""
        return cls([PeerLocator(ulid, 0)])

    def __contains__(self, address: object) -> bool:
        return any(entry.address == address for entry in self.entries)

    def __iter__(self) -> Iterator[PeerLocator]:
        return iter(self.entries)

    def get(self, address: bytes) -> PeerLocator | None:
        """Return the entry of an address."""
        return next((entry for entry in self.entries if entry.address == address), None)

    @property
    def addresses(self) -> tuple[bytes, ...]:
        """The addresses in their order."""
        return tuple(entry.address for entry in self.entries)

    def replaced_before(self, generation: int | None) -> bool:
        """Tell whether a list of this generation was current once and is no more.

        A signature on a list never expires, so an old message could bring an old list back (RFC 5533 §16.2).
        What came before the last exchange does not count, see `begin_history`.
        """
        return generation != self.generation and generation in self.past_generations

    def begin_history(self) -> None:
        """Forget which lists were current: an exchange was completed, whose nonces no old message has.

        The list that it brought may be one that a late message of an exchange before it had replaced.
        """
        self.past_generations.clear()

    def replace(self, locators: LocatorList) -> None:
        """Take a verified list; what is known of an address that stays is kept, but for its preference."""
        old = {entry.address: entry.probed for entry in self.entries}
        unique = {locator.address: locator for locator in locators.locators}
        self.entries = [
            PeerLocator(locator.address, locator.method, PLAIN, old.get(locator.address, False))
            for locator in unique.values()
        ]
        if self.generation is not None and self.generation != locators.generation:
            self.past_generations.append(self.generation)
        self.generation = locators.generation

    def prefer(self, preferences: LocatorPreferences) -> None:
        """Take preferences whose generation and number were found right."""
        for entry, preference in zip(self.entries, preferences.elements, strict=True):
            entry.preference = preference


@dataclass(slots=True)
class LocalLocators:
    """Ls(local) of one context: what this host wants the peer to have, and what the peer has.

    `accepted` are the addresses that the peer takes packets from: a new locator is one only when the peer has
    acknowledged it (RFC 5533 §7.2). `told_generation` and `told` are the list and preferences that it has;
    None as long as it has no list. `told_keepalive` is the Keepalive Timeout that it has, in seconds.
    """

    locators: tuple[Locator, ...]
    generation: int
    accepted: frozenset[bytes] = frozenset()
    told_generation: int | None = None
    told: tuple[Preference, ...] | None = None
    told_keepalive: int = DEFAULT_SEND_TIMEOUT_NS // SECOND

    def __contains__(self, address: object) -> bool:
        return address in self.accepted or any(one.address == address for one in self.locators)

    @property
    def addresses(self) -> tuple[bytes, ...]:
        """The addresses of the list in their order."""
        return tuple(locator.address for locator in self.locators)

    @property
    def sources(self) -> tuple[bytes, ...]:
        """The addresses that packets may leave from."""
        return tuple(address for address in self.addresses if address in self.accepted)

    def note_told(self, preferences: tuple[Preference, ...], keepalive: int) -> None:
        """The peer has the list, with these preferences, and this Keepalive Timeout in seconds."""
        self.accepted = frozenset(self.addresses)
        self.told_generation = self.generation
        self.told = preferences
        self.told_keepalive = keepalive

    def note_accepted(self, address: bytes) -> None:
        """The peer has taken a packet from an address, as it does only where it has that as a locator."""
        self.accepted |= {address}

    @property
    def last_told(self) -> tuple[int | None, tuple[Preference, ...] | None, int]:
        """What the peer was last told: generation, preferences and Keepalive Timeout."""
        return self.told_generation, self.told, self.told_keepalive

    def doubt_told(self) -> None:
        """The peer may have got something else than was acknowledged: the next request says it all again."""
        self.told = None
        self.told_keepalive = 0


@dataclass(slots=True)
class LocalAddress:
    """What this host knows of one address of its own: assigned and working, and what its operator wishes."""

    usable: bool = True
    preference: Preference = PLAIN


class LocalAddresses:
    """The addresses of this host, also those that are ULIDs or locators and not assigned now.

    An address that went is kept: whoever has it as a ULID goes on (RFC 5533 §1.5 ends communication only when
    its prefix is not valid any more, which `forget` is for).
    """

    def __init__(self) -> None:
        self._addresses: dict[bytes, LocalAddress] = {}

    def __contains__(self, address: object) -> bool:
        return address in self._addresses

    def set_usable(self, address: bytes, usable: bool) -> bool:
        """Note that an address works or does not; returns whether that is news."""
        entry = self._addresses.get(address)
        if entry is None:
            self._addresses[address] = LocalAddress(usable)
            return True
        changed = entry.usable != usable
        entry.usable = usable
        return changed

    def prefer(self, address: bytes, preference: Preference) -> bool:
        """Note the operator's wish for an address; returns whether that is news."""
        entry = self._addresses.setdefault(address, LocalAddress())
        changed = entry.preference != preference
        entry.preference = preference
        return changed

    def wishes(self) -> dict[bytes, Preference]:
        """Return what the operator wishes, for the addresses of which that is something."""
        return {
            address: entry.preference
            for address, entry in self._addresses.items()
            if entry.preference != PLAIN
        }

    def forget(self, address: bytes) -> None:
        """The address is not this host's any more."""
        self._addresses.pop(address, None)

    def usable(self, address: bytes) -> bool:
        """Tell whether packets can leave from an address, and its operator wants them to."""
        return not self.preference(address).flags & _BROKEN

    def preference(self, address: bytes) -> Preference:
        """Return what a peer is told of an address: BROKEN when it does not work here."""
        entry = self._addresses.get(address)
        if entry is None:
            return Preference(_BROKEN)
        wish = entry.preference
        if entry.usable:
            return wish
        return Preference(wish.flags | _BROKEN, wish.priority, wish.weight)

    def preferences(self, addresses: Sequence[bytes]) -> tuple[Preference, ...]:
        """Return what a peer is told of these addresses."""
        return tuple(self.preference(address) for address in addresses)
