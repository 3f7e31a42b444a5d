"""Shim6 options between bytes and values (RFC 5533 §5.15).

An option is type and critical bit, length of the contents, contents, and zeros up to a multiple of 8 octets
that the length does not count.
"""

import struct
from collections.abc import Callable, Collection, Iterable, Iterator

from mpcore.errors import WireError
from mpcore.wire.shim6_constants import OptionType
from mpcore.wire.shim6_options import (
    CgaParameterData,
    CgaSignature,
    ForkedInstance,
    KeepaliveTimeout,
    Locator,
    LocatorList,
    LocatorPreferences,
    Preference,
    ResponderValidator,
    Shim6Option,
    UlidPair,
    UnknownOption,
)

ADDRESS_SIZE = 16
_KIND_MAX = 0x7FFF
_ELEMENT_MAX = 3
_LOCATORS_AT = 5  # in the contents: generation, number of locators, then the methods


def option_size(length: int) -> int:
    """Return the octets of an option whose contents have `length`, head and padding included."""
    return 11 + length - (length + 3) % 8


def walk_options(data: bytes, start: int) -> Iterator[tuple[int, int, bool, bytes]]:
    """Yield (offset, type, critical, contents) of each option from `start` on.

    WireError for one that runs past the end. Padding is not looked at (RFC 5533 §5.15).
    """
    while start < len(data):
        if len(data) - start < 4:
            raise WireError(f"{len(data) - start} octets at the end of the message are no option")
        head, length = struct.unpack_from(">HH", data, start)
        total = option_size(length)
        if total > len(data) - start:
            raise WireError(f"option {head >> 1} of {length} octets runs past the end of the message")
        yield start, head >> 1, bool(head & 1), data[start + 4 : start + 4 + length]
        start += total


def parse_options(data: bytes, start: int, listed: Collection[int]) -> tuple[Shim6Option, ...]:
    """Return the options from `start` on, where `listed` are the types that this message defines.

    All others give an `UnknownOption`. WireError for malformed contents, and for a listed type that repeats:
    no rule says which would count.
    """
    options: list[Shim6Option] = []
    seen = set()
    for _, kind, critical, contents in walk_options(data, start):
        if kind not in listed:
            options.append(UnknownOption(kind, contents, critical))
            continue
        if kind in seen:
            raise WireError(f"option {OptionType(kind).name} occurs twice")
        seen.add(kind)
        options.append(_PARSERS[kind](contents))
    return tuple(options)


def _parse_locators(data: bytes) -> LocatorList:
    if len(data) < _LOCATORS_AT:
        raise WireError(f"a locator list has at least {_LOCATORS_AT} octets, not {len(data)}")
    generation, count = struct.unpack_from(">IB", data)
    first = _LOCATORS_AT + count + _list_padding(count)
    # RFC 5533 §5.15.2: the padding in front of the locators is counted, and there is none behind them.
    if len(data) != first + ADDRESS_SIZE * count:
        raise WireError(f"a list of {count} locators does not have {len(data)} octets")
    methods = data[_LOCATORS_AT : _LOCATORS_AT + count]
    addresses = [data[at : at + ADDRESS_SIZE] for at in range(first, len(data), ADDRESS_SIZE)]
    return LocatorList(generation, tuple(map(Locator, addresses, methods)))


def _list_padding(count: int) -> int:
    return 7 - count % 8


def _parse_preferences(data: bytes) -> LocatorPreferences:
    if len(data) < 5:
        raise WireError(f"locator preferences have at least 5 octets, not {len(data)}")
    generation, size = struct.unpack_from(">IB", data)
    if size == 0 or (len(data) - 5) % size:
        raise WireError(f"{len(data) - 5} octets of locator preferences are no elements of {size} octets")
    kept = min(size, _ELEMENT_MAX)
    elements = [Preference(*data[at : at + kept]) for at in range(5, len(data), size)]
    return LocatorPreferences(generation, tuple(elements), kept)


def _parse_ulids(data: bytes) -> UlidPair:
    _require_size("a ULID pair", data, 36)
    return UlidPair(data[4:20], data[20:36])


def _parse_instance(data: bytes) -> ForkedInstance:
    _require_size("a forked instance identifier", data, 4)
    return ForkedInstance(int.from_bytes(data, "big"))


def _parse_timeout(data: bytes) -> KeepaliveTimeout:
    _require_size("a keepalive timeout", data, 4)
    return KeepaliveTimeout(int.from_bytes(data[2:], "big"))


def _require_size(what: str, data: bytes, size: int) -> None:
    if len(data) != size:
        raise WireError(f"{what} has {size} octets, not {len(data)}")


_PARSERS: dict[int, Callable[[bytes], Shim6Option]] = {
    OptionType.RESPONDER_VALIDATOR: ResponderValidator,
    OptionType.LOCATOR_LIST: _parse_locators,
    OptionType.LOCATOR_PREFERENCES: _parse_preferences,
    OptionType.CGA_PARAMETERS: CgaParameterData,
    OptionType.CGA_SIGNATURE: CgaSignature,
    OptionType.ULID_PAIR: _parse_ulids,
    OptionType.FORKED_INSTANCE: _parse_instance,
    OptionType.KEEPALIVE_TIMEOUT: _parse_timeout,
}


def emit_options(options: Iterable[Shim6Option], listed: Collection[int]) -> bytes:
    """Return the options in their order, each padded.

    WireError for a field that does not fit, a type that repeats, one that the message does not define, and an
    `UnknownOption` of a type that it does define.
    """
    parts, seen = [], set()
    for option in options:
        kind, contents = _contents(option)
        if isinstance(option, UnknownOption) == (kind in listed):
            raise WireError(f"{type(option).__name__} of type {kind} does not belong into this message")
        if kind in seen and kind in listed:
            raise WireError(f"option {OptionType(kind).name} occurs twice")
        seen.add(kind)
        critical = isinstance(option, UnknownOption) and option.critical
        parts.append(_emit_option(kind, contents, critical))
    return b"".join(parts)


def _emit_option(kind: int, contents: bytes, critical: bool) -> bytes:
    if not 0 <= kind <= _KIND_MAX:
        raise WireError(f"an option type has 15 bits; {kind} does not fit")
    if len(contents) > 0xFFFF:
        raise WireError(f"an option has at most 65535 octets, not {len(contents)}")
    head = struct.pack(">HH", kind << 1 | critical, len(contents))
    return (head + contents).ljust(option_size(len(contents)), b"\0")


def _contents(option: Shim6Option) -> tuple[int, bytes]:
    """Return (type, contents) of an option."""
    match option:
        case ResponderValidator(data):
            return OptionType.RESPONDER_VALIDATOR, data
        case LocatorList():
            return OptionType.LOCATOR_LIST, _emit_locators(option)
        case LocatorPreferences():
            return OptionType.LOCATOR_PREFERENCES, _emit_preferences(option)
        case CgaParameterData(data):
            return OptionType.CGA_PARAMETERS, data
        case CgaSignature(data):
            return OptionType.CGA_SIGNATURE, data
        case UlidPair(sender, receiver):
            _require_size("a ULID", sender, ADDRESS_SIZE)
            _require_size("a ULID", receiver, ADDRESS_SIZE)
            return OptionType.ULID_PAIR, bytes(4) + sender + receiver
        case ForkedInstance(identifier):
            return OptionType.FORKED_INSTANCE, struct.pack(">I", identifier)
        case KeepaliveTimeout(seconds):
            return OptionType.KEEPALIVE_TIMEOUT, struct.pack(">HH", 0, seconds)
        case UnknownOption(kind, data):
            return kind, data
    raise WireError(f"{option!r} is not a Shim6 option")


def _emit_locators(option: LocatorList) -> bytes:
    count = len(option.locators)
    for locator in option.locators:
        _require_size("a locator", locator.address, ADDRESS_SIZE)
    head = struct.pack(f">IB{count}B", option.generation, count, *(one.method for one in option.locators))
    return head + bytes(_list_padding(count)) + b"".join(one.address for one in option.locators)


def _emit_preferences(option: LocatorPreferences) -> bytes:
    size = option.element_len
    if not 1 <= size <= _ELEMENT_MAX:
        raise WireError(f"an element of locator preferences has 1 to {_ELEMENT_MAX} octets, not {size}")
    parts = [struct.pack(">IB", option.generation, size)]
    for element in option.elements:
        octets = struct.pack(">BBB", element.flags, element.priority, element.weight)
        if any(octets[size:]):
            raise WireError(f"{element} does not fit into {size} octets")
        parts.append(octets[:size])
    return b"".join(parts)
