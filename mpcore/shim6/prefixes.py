"""Prefixes of 64 bits, and the Multi-Prefix extension that binds an address to several (RFC 5535 §5)."""

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from mpcore.errors import WireError
from mpcore.wire.router import is_link_local

MULTI_PREFIX = 0x0012
"""Type of the extension (RFC 5535 §10)."""

PREFIX_SIZE = 8
_PUBLIC_KEY = 1 << 31  # flag P, the most significant bit of 32


@dataclass(frozen=True, slots=True)
class MultiPrefix:
    """The extension: prefixes of 8 octets each in their order, and whether the public key field holds a key.

    Without a key the field holds a random number, and such an address can sign nothing.
    """

    prefixes: tuple[bytes, ...]
    has_public_key: bool = False


def parse_multi_prefix(data: bytes) -> MultiPrefix:
    """Return the extension from its data, type and length left out; WireError for an impossible length.

    The 31 reserved bits are ignored (RFC 5535 §5).
    """
    if len(data) < 4 + PREFIX_SIZE or (len(data) - 4) % PREFIX_SIZE:
        raise WireError(f"a Multi-Prefix extension has 4 + 8n octets and a prefix at least, not {len(data)}")
    prefixes = tuple(data[at : at + PREFIX_SIZE] for at in range(4, len(data), PREFIX_SIZE))
    return MultiPrefix(prefixes, bool(data[0] & 0x80))


def emit_multi_prefix(extension: MultiPrefix) -> bytes:
    """Return the extension with type and length, as it stands in a CGA parameter structure."""
    if not extension.prefixes or any(len(prefix) != PREFIX_SIZE for prefix in extension.prefixes):
        raise WireError("a Multi-Prefix extension has one or more prefixes of 8 octets")
    data = struct.pack(">I", _PUBLIC_KEY if extension.has_public_key else 0) + b"".join(extension.prefixes)
    if len(data) > 0xFFFF:
        raise WireError(f"{len(extension.prefixes)} prefixes do not fit into one extension")
    return struct.pack(">HH", MULTI_PREFIX, len(data)) + data


def prefix_of(address: bytes) -> bytes:
    """Return the leftmost 64 bits of an address of 16 octets."""
    return address[:PREFIX_SIZE]


def parse_prefix(text: str) -> bytes:
    """Return the 8 octets of a prefix such as 2001:db8:1::/64; WireError for any other length or form."""
    try:
        network = IPv6Network(text)
    except ValueError as error:
        raise WireError(f"{text} is no IPv6 prefix: {error}") from None
    if network.prefixlen != 64:
        raise WireError(f"{text} must be a prefix of 64 bits, as 2001:db8:1::/64")
    return network.network_address.packed[:PREFIX_SIZE]


def format_prefix(prefix: bytes) -> str:
    """Return a prefix of 8 octets as text."""
    return f"{IPv6Address(prefix + bytes(8))}/64"


def is_routable(address: bytes) -> bool:
    """Return whether the address can be a locator: unicast, and of more than link-local scope.

    RFC 5534 §3.1 leaves link-local addresses out. Below ::/64 are the unspecified address, loopback and forms
    of IPv4 addresses, none of which stands in a packet between hosts.
    """
    return not (address[0] == 0xFF or is_link_local(address) or prefix_of(address) == bytes(PREFIX_SIZE))
