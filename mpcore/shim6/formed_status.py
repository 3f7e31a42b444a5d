"""What has become of formed addresses, in words and numbers that are ready for JSON."""

from collections.abc import Iterator

from mpcore.shim6.advertised import FOREVER_S
from mpcore.shim6.former import AddressFormer
from mpcore.shim6.forming import AddressState
from mpcore.shim6.prefixes import format_prefix
from mpcore.shim6.snapshot import kind_of_parameters, text_of
from mpcore.shim6.units import Unit


def describe_formed(former: AddressFormer, now_ns: int) -> list[dict[str, object]]:
    """Return an entry for each formed address, and for each prefix that none is formed for.

    `state` is ready, deprecated, tentative, taken (another host has it), down (its link is), gone (the kernel
    lost or refused it), waiting (no router advertises the prefix), searching (for a modifier; with `hashes`
    tried and `hashes_usual`), or failed; `current` tells whether new conversations are to use it; lifetimes
    are seconds, None without end.
    """
    found = [entry for unit in former.units for entry in _of_unit(former, unit, now_ns)]
    found += [_without_address(former, prefix, "failed") for prefix in former.given_up]
    return found + list(_searching(former))


def _searching(former: AddressFormer) -> Iterator[dict[str, object]]:
    """Yield an entry for each prefix that waits for a modifier."""
    search = former.search
    if search is None:
        return
    bare = [entry.prefix for entry in former.table if former.units.current(entry.prefix) is None]
    for prefix in dict.fromkeys([*search.prefixes(), *bare]):
        if prefix not in former.given_up:
            counts = {"hashes": search.hashes, "hashes_usual": search.usual_hashes}
            yield _without_address(former, prefix, "searching") | counts


def _of_unit(former: AddressFormer, unit: Unit, now_ns: int) -> Iterator[dict[str, object]]:
    for prefix, address in unit.addresses.items():
        slot, entry = former.slots.get(address), former.table.get(prefix)
        preferred_s, valid_s = (0, 0) if entry is None else entry.remaining(now_ns)
        state = "waiting" if slot is None else slot.state.value
        if prefix in unit.taken:
            state = AddressState.TAKEN.value
        elif slot is not None and slot.interface not in former.up:
            state = "down"
        elif slot is not None and slot.state is AddressState.READY and not preferred_s:
            state = "deprecated"
        yield {
            "address": text_of(address),
            "prefix": format_prefix(prefix),
            "interface": entry.interface if entry is not None else None,
            "kind": kind_of_parameters(unit.parameters),
            "state": state,
            "current": former.units.current(prefix) is unit,
            "collisions": unit.parameters.collisions,
            "preferred_s": _lifetime(preferred_s),
            "valid_s": _lifetime(valid_s),
        }


def _without_address(former: AddressFormer, prefix: bytes, state: str) -> dict[str, object]:
    entry = former.table.get(prefix)
    return {
        "address": None,
        "prefix": format_prefix(prefix),
        "interface": entry.interface if entry is not None else None,
        "kind": former.kind.value,
        "state": state,
        "current": False,
        "collisions": None,
        "preferred_s": 0,
        "valid_s": 0,
    }


def _lifetime(seconds: int) -> int | None:
    return None if seconds >= FOREVER_S else seconds
