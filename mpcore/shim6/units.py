"""Addresses that the host formed: a unit is one parameter structure, of one address or of a set.

A unit never changes. When one of its addresses is taken by another host, the next unit has the collision
count raised, in all of its addresses (RFC 3972 §4 step 7, RFC 5535 §6).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from mpcore.shim6.cga import address_of, sec_supported
from mpcore.shim6.cga_locators import can_sign
from mpcore.shim6.cga_parameters import COLLISIONS_MAX, CgaParameters, multi_prefix_of
from mpcore.shim6.forming import Kind

OLD_MAX = 2  # old units of a prefix that are kept for the conversations that use them
UNITS_MAX = 32


@dataclass(slots=True)
class Unit:
    """One structure, `number` counts them on this host.

    `proven` once duplicate address detection found nothing, in this life of the daemon or an earlier one;
    `taken` are the prefixes in which another host has the address.
    """

    number: int
    parameters: CgaParameters
    proven: bool = False
    taken: set[bytes] = field(default_factory=set)
    is_set: bool = field(init=False)
    sec: int = field(init=False)
    addresses: dict[bytes, bytes] = field(init=False)
    """By prefix."""

    def __post_init__(self) -> None:
        extension = multi_prefix_of(self.parameters)
        prefixes = (self.parameters.prefix,) if extension is None else extension.prefixes
        # whoever reads the structure from a file has nothing else to tell Sec by
        self.sec = sec_supported(self.parameters)
        self.is_set = extension is not None
        self.addresses = {
            prefix: address_of(replace(self.parameters, prefix=prefix), self.sec) for prefix in prefixes
        }

    @property
    def has_key(self) -> bool:
        """Whether a key can sign for the addresses."""
        return can_sign(self.parameters)

    def next(self, number: int) -> "Unit | None":
        """Return the unit after a collision; None after the third (RFC 3972 §4 step 8)."""
        collisions = self.parameters.collisions + 1
        if collisions > COLLISIONS_MAX:
            return None
        return Unit(number, replace(self.parameters, collisions=collisions))


class UnitBook:
    """The units of one host, oldest first, and which of them count for a kind of addresses."""

    def __init__(self, kind: Kind, units: Iterable[Unit] = ()) -> None:
        self._kind = kind
        self._units = list(units)

    def __iter__(self) -> Iterator[Unit]:
        return iter(tuple(self._units))

    def __len__(self) -> int:
        return len(self._units)

    @property
    def next_number(self) -> int:
        """The number of the next unit."""
        return 1 + max((unit.number for unit in self._units), default=0)

    def add(self, unit: Unit) -> None:
        """Take in a unit, the newest one."""
        self._units.append(unit)

    def remove(self, unit: Unit) -> None:
        """Give a unit up."""
        self._units.remove(unit)

    def prefixes(self) -> set[bytes]:
        """Return all prefixes that units have addresses in."""
        return {prefix for unit in self._units for prefix in unit.addresses}

    def newest_set(self, *, proven: bool = False) -> Unit | None:
        """Return the set that counts, if the kind of addresses takes one; with `proven` of those only."""
        if not self._kind.has_set:
            return None
        return self._newest(
            lambda unit: unit.is_set and unit.has_key == self._kind.signs and unit.proven >= proven
        )

    def current(self, prefix: bytes, *, proven: bool = False) -> Unit | None:
        """Return the unit that new conversations find the address of a prefix in."""
        newest = self.newest_set(proven=proven)
        if newest is not None and prefix in newest.addresses and prefix not in newest.taken:
            return newest
        if not self._kind.signs:
            return None
        return self._newest(
            lambda unit: (
                not unit.is_set and prefix in unit.addresses and not unit.taken and unit.proven >= proven
            )
        )

    def all_current(self, *, proven: bool = False) -> list[Unit]:
        """Return the units that count for some prefix."""
        found = [self.current(prefix, proven=proven) for prefix in self.prefixes()]
        return [unit for unit in self._units if unit in found]

    def superseded(self) -> list[Unit]:
        """Return units whose place another one took before they were proven."""
        current = self.all_current()
        return [unit for unit in self._units if not unit.proven and unit not in current]

    def retired(self, in_use: Callable[[bytes], bool], wanted: Callable[[bytes], bool]) -> list[Unit]:
        """Return old units that nothing uses, and the oldest of those that are too many.

        `in_use` tells it of an address, `wanted` of a prefix whether anybody advertises it.
        """
        current = self.all_current()
        old = [unit for unit in self._units if unit not in current]
        gone = [
            unit
            for position, unit in enumerate(old)
            if _followers(unit, old[position + 1 :]) >= OLD_MAX
            or not any(map(in_use, unit.addresses.values()))
        ]
        idle = [unit for unit in current if not any(map(wanted, unit.addresses))]
        spare = [*(unit for unit in old if unit not in gone), *idle]
        return gone + spare[: max(len(self._units) - len(gone) - UNITS_MAX, 0)]

    def _newest(self, fits: Callable[[Unit], bool]) -> Unit | None:
        return max(filter(fits, self._units), key=lambda unit: unit.number, default=None)


def _followers(unit: Unit, newer: Iterable[Unit]) -> int:
    """Return how many of the newer units have an address in one of its prefixes."""
    return sum(not other.addresses.keys().isdisjoint(unit.addresses) for other in newer)
