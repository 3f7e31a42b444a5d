"""Sets of hash-based addresses: recomputed from RFC 5535 by hand, and every way to smuggle an address in."""

from dataclasses import replace
from hashlib import sha1
from ipaddress import IPv6Address
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcore.errors import LocalProtocolError, WireError
from mpcore.shim6.cga import address_of, verify_cga
from mpcore.shim6.cga_errors import GenerationError, VerificationError
from mpcore.shim6.cga_parameters import CgaParameters, emit_parameters, multi_prefix_of, parse_parameters
from mpcore.shim6.hba import encode_extended_modifier, make_hba_set, members_of, verify_hba
from mpcore.shim6.prefixes import MultiPrefix, emit_multi_prefix, parse_multi_prefix
from tests.shim6.test_cga import RFC_KEY, RFC_PARAMETERS

A, B, C = (bytes.fromhex(text) for text in ("20010db8000a0000", "20010db8000b0000", "20010db8000c0000"))


def by_hand(modifier: bytes, extended: bytes, prefixes: list[bytes], collisions: int) -> list[bytes]:
    """Compute a set of Sec 0 without a key, octet by octet from RFC 5535 §5 and §6."""
    number = b"\x02\x31\x00" + extended  # INTEGER of 49 octets: the top bit of the number is set
    key = b"\x30\x38" + number + bytes.fromhex("0203010001")
    public_key = b"\x30\x4c" + bytes.fromhex("300d06092a864886f70d0101010500") + b"\x03\x3b\x00" + key
    extension = b"\x00\x12" + (4 + 8 * len(prefixes)).to_bytes(2, "big") + bytes(4) + b"".join(prefixes)
    addresses = []
    for prefix in prefixes:
        digest = sha1(modifier + prefix + bytes([collisions]) + public_key + extension).digest()
        first = digest[0] & 0b00011100  # Sec 0 in the three leftmost bits, u and g zero
        addresses.append(prefix + bytes([first]) + digest[1:8])
    return addresses


class Fixed:
    """A source of randomness with a known modifier and extended modifier."""

    modifier = bytes(range(16))
    extended = b"\xff" + bytes(range(47))

    def randbytes(self, n: int, /) -> bytes:
        return {16: self.modifier, 48: self.extended}[n]


@pytest.mark.parametrize("collisions", [0, 1, 2])
def test_a_set_computed_by_hand(collisions: int) -> None:
    """RFC 5535 §6, steps 1 to 6."""
    wanted = by_hand(Fixed.modifier, Fixed.extended, [A, B, C], collisions)
    earlier = {by_hand(Fixed.modifier, Fixed.extended, [A, B, C], count)[2] for count in range(collisions)}
    made = make_hba_set([A, B, C], 0, Fixed(), is_taken=earlier.__contains__)
    assert list(made.addresses) == wanted
    assert made.parameters.collisions == collisions


def test_a_collision_of_one_address_changes_all() -> None:
    """RFC 5535 §6, step 6.4: back to step 6, for every prefix."""
    plain = make_hba_set([A, B], 0, Random(1))
    moved = make_hba_set([A, B], 0, Random(1), is_taken=lambda address: address == plain.addresses[1])
    assert not set(plain.addresses) & set(moved.addresses)
    for address in moved.addresses:
        verify_hba(address, moved.parameters)
    with pytest.raises(GenerationError):
        make_hba_set([A, B], 0, Random(1), is_taken=lambda address: address[:8] == B)


@settings(max_examples=20)
@given(seed=st.integers(0, 1 << 32), count=st.integers(1, 8), with_key=st.booleans())
def test_every_member_vouches_for_every_member(seed: int, count: int, with_key: bool) -> None:
    """RFC 5535 §7.2: the structure may be the one of any other member."""
    prefixes = [A[:7] + bytes([index]) for index in range(count)]
    made = make_hba_set(prefixes, 0, Random(seed), public_key=RFC_KEY if with_key else None)
    assert made == make_hba_set(prefixes, 0, Random(seed), public_key=RFC_KEY if with_key else None)
    assert members_of(made.parameters, 0) == made.addresses
    extension = multi_prefix_of(made.parameters)
    assert extension == MultiPrefix(tuple(prefixes), with_key)
    for prefix, own in zip(prefixes, made.addresses, strict=True):
        parameters = parse_parameters(emit_parameters(replace(made.parameters, prefix=prefix)))
        verify_cga(own, parameters)  # RFC 5535 §7.1: an HBA is a CGA too
        for address in made.addresses:
            verify_hba(address, parameters)


def test_a_set_of_sec_1() -> None:
    made = make_hba_set([A, B], 1, Random(7))
    assert [address[8] >> 5 for address in made.addresses] == [1, 1]
    for address in made.addresses:
        verify_hba(address, made.parameters)
        with pytest.raises(VerificationError, match="zeros"):
            verify_hba(address[:8] + bytes([address[8] ^ 0x60]) + address[9:], made.parameters)


def test_a_foreign_prefix_is_never_accepted() -> None:
    """RFC 5535 §7.2, step 1, also where all the rest of the address would be right."""
    made = make_hba_set([A, B], 0, Random(1))
    foreign = replace(made.parameters, prefix=C)
    verify_cga(address_of(foreign, 0), foreign)
    for parameters in (made.parameters, foreign):
        with pytest.raises(VerificationError, match="not in the set"):
            verify_hba(address_of(foreign, 0), parameters)


def test_a_prefix_of_the_set_is_not_enough() -> None:
    made = make_hba_set([A, B], 0, Random(1))
    with pytest.raises(VerificationError, match="not the hash"):
        verify_hba(B + made.addresses[0][8:], made.parameters)
    with pytest.raises(VerificationError, match="not the hash"):
        verify_hba(IPv6Address("2001:db8:b::1").packed, made.parameters)


def test_a_prefix_added_later_breaks_all_addresses() -> None:
    made = make_hba_set([A, B], 0, Random(1))
    wider = replace(made.parameters, extensions=emit_multi_prefix(MultiPrefix((A, B, C))))
    for address in made.addresses:
        with pytest.raises(VerificationError, match="not the hash"):
            verify_hba(address, wider)


def test_a_plain_cga_is_no_set() -> None:
    with pytest.raises(VerificationError, match="no Multi-Prefix extension"):
        verify_hba(address_of(RFC_PARAMETERS, 1), RFC_PARAMETERS)
    with pytest.raises(VerificationError, match="describe no set"):
        members_of(RFC_PARAMETERS, 0)


def test_collision_counts_above_two_are_refused() -> None:
    made = make_hba_set([A, B], 0, Random(1))
    high = replace(made.parameters, collisions=3)
    with pytest.raises(VerificationError, match="collision count"):
        verify_hba(members_of(high, 0)[1], high)


@pytest.mark.parametrize(
    ("prefixes", "what"),
    [
        ([], "at least"),
        ([A, A], "twice"),
        ([A, b"short"], "8 octets"),
        ([bytes.fromhex("fe80000000000000")], "fe80::/64"),
        ([bytes.fromhex("ff02000000000000")], "ff02::/64"),
        ([bytes(8)], "::/64"),
    ],
)
def test_prefixes_that_make_no_set(prefixes: list[bytes], what: str) -> None:
    with pytest.raises(LocalProtocolError, match=what):
        make_hba_set(prefixes, 0, Random(1))


def test_a_set_has_to_fit_into_one_message() -> None:
    """RFC 5533 §5.1."""
    prefixes = [A[:7] + bytes([index]) for index in range(100)]
    with pytest.raises(LocalProtocolError, match="fewer prefixes"):
        make_hba_set(prefixes, 0, Random(1))


@pytest.mark.parametrize(("first", "octets"), [(0xFF, "0231 00ff"), (0x7F, "0230 7f"), (0x00, "022f 01")])
def test_the_extended_modifier_is_a_number_of_der(first: int, octets: str) -> None:
    """RFC 5535 §6, step 2: a leading zero only where the number would be negative without."""
    encoded = encode_extended_modifier(bytes([first]) + b"\x01" * 47)
    at = 2 + 15 + 3 + 2
    assert encoded[at:].hex().startswith(octets.replace(" ", ""))
    assert parse_parameters(bytes(25) + encoded) == CgaParameters(bytes(16), bytes(8), 0, encoded)


def test_multi_prefix_in_bytes() -> None:
    """RFC 5535 §5: flag P is the first bit of the first octet after the length."""
    assert emit_multi_prefix(MultiPrefix((A, B), True)).hex() == "0012001480000000" + A.hex() + B.hex()
    assert emit_multi_prefix(MultiPrefix((A,))).hex() == "0012000c00000000" + A.hex()
    assert parse_multi_prefix(bytes.fromhex("7fffffff") + A) == MultiPrefix((A,), False)
    assert parse_multi_prefix(bytes.fromhex("80000001") + A) == MultiPrefix((A,), True)
    for wrong in (MultiPrefix(()), MultiPrefix((b"short",))):
        with pytest.raises(WireError):
            emit_multi_prefix(wrong)
