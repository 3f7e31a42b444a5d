"""Router advertisements (RFC 4861 §4.2): what a router says of itself and of prefixes."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from mpcore.errors import WireError

ROUTER_ADVERTISEMENT = 134
HOP_LIMIT = 255  # what no router has forwarded still has
FOREVER_S = 0xFFFFFFFF
"""A lifetime without end (RFC 4861 §4.6.2)."""

_HEADER = struct.Struct(">BBHBBHII")  # type, code, checksum, hop limit, flags, router lifetime, two timers
_PREFIX_INFORMATION, _ROUTE_INFORMATION = 3, 24
_PREFIX_OPTION = struct.Struct(">BBBBIII16s")  # type, length, bits, flags, valid, preferred, reserved, prefix
_ROUTE_OPTION = struct.Struct(">BBBBI")  # type, length, bits, preference, lifetime


class Preference(IntEnum):
    """How a router wants to be liked as a default router (RFC 4191 §2.1); the larger the better."""

    LOW = -1
    MEDIUM = 0
    HIGH = 1


# By the two bits on the wire; 10 is reserved.
_PREFERENCES = {0b01: Preference.HIGH, 0b00: Preference.MEDIUM, 0b11: Preference.LOW}


@dataclass(frozen=True, slots=True)
class AdvertisedPrefix:
    """A prefix of `bits`, in 16 octets whose other bits are zero; `valid_s` may be `FOREVER_S`."""

    prefix: bytes
    bits: int
    valid_s: int

    def __contains__(self, address: bytes) -> bool:
        return masked(address, self.bits) == self.prefix


@dataclass(frozen=True, slots=True)
class RouterAdvertisement:
    """`lifetime_s` is how long the router is a default router, 0 when it is none."""

    lifetime_s: int
    preference: Preference
    prefixes: tuple[AdvertisedPrefix, ...]


def parse_router_advertisement(message: bytes, source: bytes, hop_limit: int) -> RouterAdvertisement:
    """Return what an ICMPv6 message says that begins at its type.

    Args:
        message: the whole message; its checksum is right, as the kernel sees to (RFC 3542 §3.1)
        source: the 16 octets of the IPv6 header
        hop_limit: the one that the packet arrived with

    Raises:
        WireError: a router may not send that (RFC 4861 §6.1.2)
    """
    if hop_limit != HOP_LIMIT:
        raise WireError(f"a router advertisement from beyond the link: its hop limit is {hop_limit}")
    if len(source) != 16 or not is_link_local(source):
        raise WireError("a router advertisement from no link-local address")
    if len(message) < _HEADER.size:
        raise WireError("a router advertisement is cut short")
    kind, code, _, _, flags, lifetime_s, _, _ = _HEADER.unpack_from(message)
    if kind != ROUTER_ADVERTISEMENT or code:
        raise WireError(f"ICMPv6 type {kind} code {code} is no router advertisement")
    preference = _PREFERENCES.get(flags >> 3 & 3, Preference.MEDIUM)
    prefixes: list[AdvertisedPrefix] = []
    for option in _options(message[_HEADER.size :]):
        if option[0] == _PREFIX_INFORMATION:
            prefixes += _prefix(option)
        elif option[0] == _ROUTE_INFORMATION:
            lifetime_s, preference = _default_route(option) or (lifetime_s, preference)
    # RFC 4191 §2.2: the preference of what is no default router says nothing
    return RouterAdvertisement(lifetime_s, preference if lifetime_s else Preference.MEDIUM, tuple(prefixes))


def is_link_local(address: bytes) -> bool:
    """Tell whether an address is in fe80::/10."""
    return address[0] == 0xFE and address[1] & 0xC0 == 0x80


def masked(address: bytes, bits: int) -> bytes:
    """Return an address with all but its first bits zero."""
    rest = 128 - bits
    return (int.from_bytes(address) >> rest << rest).to_bytes(16)


def _options(data: bytes) -> Iterator[bytes]:
    """Yield each option with its type and length; all are whole, and none is empty."""
    while data:
        size = 8 * data[1] if len(data) >= 2 else 0
        if not size or size > len(data):
            raise WireError("an option of a router advertisement has an impossible length")
        yield data[:size]
        data = data[size:]


def _prefix(option: bytes) -> Iterator[AdvertisedPrefix]:
    """Yield the prefix, whatever its flags: with both clear a router says whose packets it takes (RFC 8028).

    A prefix of no bits, or a link-local one (RFC 4861 §4.6.2), says nothing.
    """
    if len(option) < _PREFIX_OPTION.size:
        return
    _, _, bits, _, valid_s, _, _, prefix = _PREFIX_OPTION.unpack_from(option)
    if 0 < bits <= 128 and not is_link_local(prefix):
        yield AdvertisedPrefix(masked(prefix, bits), bits, valid_s)


def _default_route(option: bytes) -> tuple[int, Preference] | None:
    """Return lifetime and preference of a Route Information option for ::/0, which override the header's.

    RFC 4191 §3.1. One with the reserved preference does not count (§2.3).
    """
    _, _, bits, flags, lifetime_s = _ROUTE_OPTION.unpack_from(option)
    preference = _PREFERENCES.get(flags >> 3 & 3)
    return (lifetime_s, preference) if bits == 0 and preference is not None else None
