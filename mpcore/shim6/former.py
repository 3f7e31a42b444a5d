"""Addresses formed from prefixes: which ones, on which interface, and what becomes of them.

The counterpart of LinShim6's cgad, without IO: prefixes, states of addresses and time go in; addresses to be
assigned or given back, units to be kept and events come out. The kernel does duplicate address detection and
counts lifetimes down; here is decided what follows from that.

A prefix that comes: a key signs for an address in it (RFC 3972), so the other addresses stay as they are. A
set without a key can never grow (RFC 5535 §4), so a new set is made of all prefixes, and the old one stays
until nothing uses it. A prefix that is valid no more ends its address; the others stay.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from mpcore.errors import LocalProtocolError
from mpcore.shim6.advertised import NEVER_NS, Prefix, PrefixTable
from mpcore.shim6.cga import Random, draft_cga, tail_of
from mpcore.shim6.cga_parameters import CgaParameters
from mpcore.shim6.events import AddressFormed, AddressTaken, FormEvent, FormingFailed
from mpcore.shim6.forming import (
    AddressState,
    DropAddress,
    ForgetAddress,
    FormEffect,
    FormSettings,
    Kind,
    PutAddress,
    StoreUnit,
    UnstoreUnit,
)
from mpcore.shim6.hba import draft_hba_set
from mpcore.shim6.owned import Owned, Sign
from mpcore.shim6.prefixes import format_prefix
from mpcore.shim6.searching import Search
from mpcore.shim6.settings import SECOND
from mpcore.shim6.units import Unit, UnitBook

RETIRE_NS = 30 * SECOND  # between two looks for units that nothing uses any more
REFRESH_NS = SECOND  # least time between two changes of the lifetimes of an address
EVENTS_MAX = 256


@dataclass(slots=True)
class Slot:
    """An address on its interface; `told_ns` is when the kernel heard of its `ends`."""

    unit: Unit
    prefix: bytes
    interface: str
    ends: tuple[int, int]
    told_ns: int
    state: AddressState = AddressState.TENTATIVE


class AddressFormer:
    """Forms the addresses of one host.

    Args:
        settings: what to form
        rng: source of modifiers
        public_key: key in DER that addresses are made of, where `settings.kind` takes one
        sign: signs with it
        units: what earlier daemons formed, oldest first
        in_use: tells whether anything on this host uses an address
        now_ns: the driver's clock
    """

    def __init__(
        self,
        settings: FormSettings,
        rng: Random,
        *,
        public_key: bytes | None = None,
        sign: Sign | None = None,
        units: Iterable[Unit] = (),
        in_use: Callable[[bytes], bool] = lambda address: False,
        now_ns: int,
    ) -> None:
        self.table = PrefixTable(settings.limit)
        self._settings = settings
        self._rng = rng
        self._key = public_key if settings.kind.signs else None
        self._sign = sign
        self._in_use = in_use
        ours = [unit for unit in units if not unit.has_key or unit.parameters.public_key == self._key]
        self.units = UnitBook(settings.kind, ours)
        self.slots: dict[bytes, Slot] = {}
        self.given_up: set[bytes] = set()
        self.up: set[str] = set()
        self.search: Search | None = None
        self._searches = 0
        self._expired: set[bytes] = set()
        self._set_due_ns = self._refresh_due_ns = NEVER_NS
        self._retire_due_ns = now_ns + RETIRE_NS
        self._changed = True
        self._effects: deque[FormEffect] = deque()
        self._events: deque[FormEvent] = deque(maxlen=EVENTS_MAX)

    @property
    def kind(self) -> Kind:
        """What is formed."""
        return self._settings.kind

    # Out.

    def poll_effect(self) -> FormEffect | None:
        """Return the next thing to carry out."""
        return self._effects.popleft() if self._effects else None

    def poll_event(self) -> FormEvent | None:
        """Return the next thing that happened."""
        return self._events.popleft() if self._events else None

    def poll_timeout(self) -> int:
        """Return when `handle_timeout` is to be called next."""
        return min(self.table.poll_timeout(), self._set_due_ns, self._refresh_due_ns, self._retire_due_ns)

    def take_changed(self) -> bool:
        """Tell whether `owned` or `announced` may have changed since the last call."""
        changed, self._changed = self._changed, False
        return changed

    def owned(self) -> list[Owned]:
        """Return the formed addresses that are this host's, assigned now or not."""
        return [
            Owned(addresses, unit.parameters, self._sign if unit.has_key else None)
            for unit in self.units
            if unit.proven and (addresses := tuple(self._valid(unit)))
        ]

    def announced(self) -> list[bytes]:
        """Return those of `owned` that peers are told of by signatures: none that are about to go."""
        current = self.units.all_current(proven=True)
        return [address for unit in current for address in self._valid(unit)]

    # In.

    def add_fixed(self, prefix: bytes, interface: str) -> None:
        """Take a prefix that the administrator names."""
        self.table.add_fixed(prefix, interface)

    def handle_prefix(
        self, prefix: bytes, interface: str, preferred_s: int, valid_s: int, now_ns: int
    ) -> None:
        """A router says that hosts may form addresses in a prefix of 8 octets.

        The interface where it was heard of first has it as long as it is up: one address in one place.
        """
        known = self.table.get(prefix)
        if known is not None and known.interface != interface and known.interface in self.up:
            return
        entry = self.table.advertise(prefix, interface, preferred_s, valid_s, now_ns)
        if entry is None:
            return
        entry.interface = interface
        self._changed |= prefix in self._expired
        self._expired.discard(prefix)
        for address, slot in list(self.slots.items()):
            if slot.prefix == prefix and slot.interface != interface:
                self._vacate(address)
            elif slot.prefix == prefix and slot.state is AddressState.GONE:
                del self.slots[address]
        self._arrange(now_ns)

    def handle_link(self, interface: str, up: bool, now_ns: int) -> None:
        """An interface got up, or went down and may have lost its addresses."""
        if not up:
            self.up.discard(interface)
            self._prove_units()
            return
        self.up.add(interface)
        for address, slot in list(self.slots.items()):
            if slot.interface == interface and slot.state is AddressState.GONE:
                del self.slots[address]
        self._arrange(now_ns)

    def handle_address(self, address: bytes, interface: str, state: AddressState, now_ns: int) -> None:
        """The kernel says what has become of an address; those that were not formed here do not matter."""
        slot = self.slots.get(address)
        if slot is None or slot.interface != interface:
            return
        if state is AddressState.TAKEN:
            self._handle_taken(address, slot)
            self._arrange(now_ns)
            return
        if state is AddressState.READY and slot.state is not state and slot.unit.proven:
            self._events.append(AddressFormed(address, interface, slot.unit.parameters.collisions))
        slot.state = state
        self._prove_units()
        self._arrange(now_ns)

    def handle_refused(self, address: bytes) -> None:
        """The kernel did not take an address: it is tried again with the next word of router or link."""
        if address in self.slots:
            self.slots[address].state = AddressState.GONE
            self._prove_units()

    def handle_timeout(self, now_ns: int) -> None:
        """Do what has become due."""
        for entry in self.table.expire(now_ns):
            self._expire(entry)
        if self._retire_due_ns <= now_ns:
            self._retire_due_ns = now_ns + RETIRE_NS
            for unit in self.units.retired(self._in_use, self.table.__contains__):
                self._remove(unit)
        self._arrange(now_ns)

    def renew(self, now_ns: int) -> None:
        """Form other addresses for all prefixes; what was given up is tried again."""
        self.given_up.clear()
        if self._settings.kind.has_set:
            self._make_set()
        else:
            self.search = None
            for entry in self.table:
                self._make_single(entry, renews=True)
        self._arrange(now_ns)

    def handle_progress(self, number: int, hashes: int) -> None:
        """A search has tried so many modifiers."""
        if self.search is not None and self.search.number == number:
            self.search.hashes = hashes

    def handle_modifier(self, number: int, modifier: bytes, now_ns: int) -> None:
        """A search has found what it was for; the result of an earlier one does not matter."""
        search = self.search
        if search is None or search.number != number:
            return
        self.search = None
        found = replace(search.draft, modifier=modifier)
        prefixes = [found.prefix]
        if search.renews:  # by one modifier and key, since no prefix is part of what was searched
            prefixes += [entry.prefix for entry in self.table if entry.prefix != found.prefix]
        for prefix in prefixes:
            self._add(replace(found, prefix=prefix))
        self._arrange(now_ns)

    def _valid(self, unit: Unit) -> Iterator[bytes]:
        for prefix, address in unit.addresses.items():
            if prefix not in unit.taken and prefix not in self._expired:
                yield address

    # What is to be done.

    def _arrange(self, now_ns: int) -> None:
        """Make the units that are missing, and have all addresses assigned whose time it is."""
        self._cover(now_ns)
        for unit in self.units.superseded():
            self._remove(unit)
        self._refresh_due_ns = NEVER_NS
        for unit in self.units:
            for prefix, address in unit.addresses.items():
                entry = self.table.get(prefix)
                if entry is not None and entry.interface in self.up and prefix not in unit.taken:
                    self._place(unit, entry, address, now_ns)

    def _place(self, unit: Unit, entry: Prefix, address: bytes, now_ns: int) -> None:
        """Have an address assigned with the lifetimes of its prefix, unless that is so."""
        slot = self.slots.get(address)
        if slot is not None:
            if slot.state is AddressState.GONE or not entry.differs(*slot.ends, now_ns):
                return
            if now_ns < slot.told_ns + REFRESH_NS:
                self._refresh_due_ns = min(self._refresh_due_ns, slot.told_ns + REFRESH_NS)
                return
        ends = entry.preferred_until, entry.valid_until
        if slot is None:
            self.slots[address] = Slot(unit, entry.prefix, entry.interface, ends, now_ns)
        else:
            slot.ends, slot.told_ns = ends, now_ns
        self._effects.append(
            PutAddress(address, entry.interface, *entry.remaining(now_ns), route=entry.fixed)
        )

    def _cover(self, now_ns: int) -> None:
        """Make a unit for each prefix that has none: at once with a key, after a while for a set."""
        missing = [
            entry
            for entry in self.table
            if entry.prefix not in self.given_up and self.units.current(entry.prefix) is None
        ]
        kind = self._settings.kind
        if kind.signs and (not kind.has_set or self.units.newest_set() is not None):
            for entry in missing:
                self._make_single(entry)
        elif not missing or self.search is not None:
            self._set_due_ns = NEVER_NS
        elif self._set_due_ns == NEVER_NS:
            self._set_due_ns = now_ns + self._settings.settle_ns
        elif self._set_due_ns <= now_ns:
            self._make_set()

    def _make_single(self, entry: Prefix, *, renews: bool = False) -> None:
        if self._key is None or (self._settings.sec and self.search is not None):
            return
        try:
            draft = draft_cga(entry.prefix, self._key, self._rng)
        except LocalProtocolError as error:
            self._give_up(entry.prefix, str(error))
            return
        known = None if renews else self._known_modifier(tail_of(draft))
        if known is not None:
            self._add(replace(draft, modifier=known))
        else:
            self._complete(draft, renews=renews)

    def _make_set(self) -> None:
        """Make a set of all prefixes, or of as many as a message has room for."""
        self._set_due_ns = NEVER_NS
        prefixes = [entry.prefix for entry in self.table if entry.prefix not in self.given_up]
        while prefixes:
            try:
                draft = draft_hba_set(prefixes, self._rng, public_key=self._key)
            except LocalProtocolError as error:
                self._give_up(prefixes.pop(), str(error))
                continue
            self._complete(draft)
            return

    def _complete(self, draft: CgaParameters, *, renews: bool = False) -> None:
        """Make a unit of a structure, once its modifier is found if Sec asks for a search."""
        if not self._settings.sec:
            self._add(draft)
            return
        self._searches += 1
        self.search = Search(self._searches, draft, self._settings.sec, renews)
        self._effects.append(self.search.effect())

    def _known_modifier(self, tail: bytes) -> bytes | None:
        """Return the modifier of an earlier search that serves for another prefix (RFC 3972 §4)."""
        if not self._settings.sec:
            return None
        for unit in reversed(list(self.units)):
            if tail_of(unit.parameters) == tail and unit.sec >= self._settings.sec:
                return unit.parameters.modifier
        return None

    def _add(self, parameters: CgaParameters) -> None:
        self._take(Unit(self.units.next_number, parameters))

    def _take(self, unit: Unit) -> None:
        """Take a unit in; what was searched for is kept at once."""
        self.units.add(unit)
        if self._settings.sec:
            self._effects.append(StoreUnit(unit.number, unit.parameters))

    def _give_up(self, prefix: bytes, reason: str) -> None:
        self.given_up.add(prefix)
        entry = self.table.get(prefix)
        interface = entry.interface if entry is not None else ""
        self._events.append(FormingFailed(format_prefix(prefix), interface, reason))

    # What becomes of addresses.

    def _prove_units(self) -> None:
        """Let units count, and be kept, that have no address left whose detection of duplicates goes on."""
        for unit in self.units:
            asked = [(address, slot) for address, slot in self.slots.items() if slot.unit is unit]
            states = {slot.state for _, slot in asked if slot.interface in self.up}
            if unit.proven or AddressState.READY not in states or AddressState.TENTATIVE in states:
                continue
            unit.proven = True
            self._changed = True
            self._effects.append(StoreUnit(unit.number, unit.parameters))
            for address, slot in asked:
                if slot.state is AddressState.READY:
                    self._events.append(AddressFormed(address, slot.interface, unit.parameters.collisions))

    def _handle_taken(self, address: bytes, slot: Slot) -> None:
        """Raise the collision count, of a set in all addresses, twice; then stop (RFC 3972 §4, RFC 5535 §6).

        Addresses of a unit that counted already stay for the conversations that use them.
        """
        unit, prefix = slot.unit, slot.prefix
        self._vacate(address)
        self._events.append(AddressTaken(address, slot.interface, unit.parameters.collisions))
        was_current = self.units.current(prefix) is unit
        unit.taken.add(prefix)
        if was_current:
            following = unit.next(self.units.next_number)
            if following is None:
                self._give_up(prefix, "three addresses in a row are taken by others (RFC 3972 §4)")
            else:
                self._take(following)
        if not unit.proven or not list(self._valid(unit)):
            self._remove(unit)
        elif unit.proven:
            self._forget(address)

    def _expire(self, entry: Prefix) -> None:
        """The prefix is valid no more, and so are its addresses (RFC 4862 §5.5.4, RFC 5533 §1.5)."""
        self._expired |= {entry.prefix} & self.units.prefixes()
        self.given_up.discard(entry.prefix)
        for unit in self.units:
            if entry.prefix in unit.addresses:
                self._vacate(unit.addresses[entry.prefix])
                self._forget(unit.addresses[entry.prefix])

    def _remove(self, unit: Unit) -> None:
        self.units.remove(unit)
        for address in unit.addresses.values():
            self._vacate(address)
            if unit.proven:
                self._forget(address)
        if unit.proven or self._settings.sec:
            self._effects.append(UnstoreUnit(unit.number))
        self._expired &= self.units.prefixes()

    def _vacate(self, address: bytes) -> None:
        slot = self.slots.pop(address, None)
        if slot is not None:
            self._effects.append(DropAddress(address, slot.interface))

    def _forget(self, address: bytes) -> None:
        self._changed = True
        self._effects.append(ForgetAddress(address))
