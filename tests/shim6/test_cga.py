"""CGAs: the example of RFC 3972, each step of verification broken alone, generation, collisions, sizes."""

from dataclasses import replace
from hashlib import sha1
from ipaddress import IPv6Address
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcore.errors import LocalProtocolError, WireError
from mpcore.shim6.cga import (
    PROGRESS_STEP,
    address_of,
    find_modifier,
    hash1,
    hash2,
    make_cga,
    sec_of,
    sec_supported,
    verify_cga,
)
from mpcore.shim6.cga_errors import GenerationError, VerificationError
from mpcore.shim6.cga_parameters import CgaParameters, emit_parameters, parse_parameters, walk_extensions
from mpcore.shim6.cga_size import largest_message
from mpcore.shim6.prefixes import format_prefix, is_routable, parse_prefix
from mpcore.wire.shim6 import (
    MESSAGE_MAX,
    CgaParameterData,
    CgaSignature,
    ForkedInstance,
    I2bis,
    KeepaliveTimeout,
    Locator,
    LocatorList,
    LocatorPreferences,
    Preference,
    ResponderValidator,
    UlidPair,
    emit_message,
)

# RFC 3972, Appendix A.
RFC_KEY = bytes.fromhex(
    "305c300d06092a864886f70d0101010500034b003048024100c2c2f1373054"
    "54f10bd9cea36844b530e9211a4b262b16467cb7dfba1f595c0194f275be5a4d"
    "386f2c3c23825087 73c7867f9b3b9e63a09c7bc48f7a54ebefaf0203010001"
)
RFC_MODIFIER = bytes.fromhex("89a8a8b2e858d8b8f2633f44d2d4ce9b")
RFC_PARAMETERS = CgaParameters(RFC_MODIFIER, bytes.fromhex("fe80000000000000"), 0, RFC_KEY)
RFC_ADDRESS = IPv6Address("fe80::3c4a:5bf6:ffb4:ca6c").packed
PREFIX = bytes.fromhex("20010db800010000")


def one_bit(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data, "big") ^ 1 << 8 * len(data) - 1 - bit).to_bytes(len(data), "big")


class Fixed:
    """A source of randomness that gives what it was given."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    def randbytes(self, n: int, /) -> bytes:
        assert len(self.octets) == n
        return self.octets


def test_the_example_of_the_rfc() -> None:
    """RFC 3972 §3 and §4: both hashes, the search from the modifier before, and the address."""
    assert hash1(RFC_PARAMETERS).hex() == "fd4a5bf6ffb4ca6c"
    assert hash2(RFC_PARAMETERS).hex() == "000001ca680b83888d0912dffcce"
    before = replace(RFC_PARAMETERS, modifier=one_bit(RFC_MODIFIER, 127))
    assert hash2(before).hex() == "436b9a70dbfddbf1926e6e6629c0"
    assert find_modifier(before.modifier, RFC_KEY, 1) == RFC_MODIFIER
    assert address_of(RFC_PARAMETERS, 1) == RFC_ADDRESS
    assert sec_supported(RFC_PARAMETERS) == 1
    made = make_cga(RFC_PARAMETERS.prefix, RFC_KEY, 1, Fixed(before.modifier))
    assert (made.address, made.parameters) == (RFC_ADDRESS, RFC_PARAMETERS)
    verify_cga(RFC_ADDRESS, RFC_PARAMETERS)


def test_the_structure_in_bytes() -> None:
    """RFC 3972 §3: 16 octets of modifier, 8 of prefix, 1 of collisions, then the key."""
    octets = RFC_MODIFIER + bytes.fromhex("fe80000000000000") + b"\0" + RFC_KEY
    assert emit_parameters(RFC_PARAMETERS) == octets
    assert parse_parameters(octets) == RFC_PARAMETERS
    assert sha1(octets).digest()[:8] == hash1(RFC_PARAMETERS)


@pytest.mark.parametrize("bit", [64, 65, 66, 70, 71])
def test_sec_and_two_bits_are_no_part_of_the_hash(bit: int) -> None:
    """RFC 3972 §5, step 4: differences in the three leftmost bits and in bits 6 and 7 are ignored."""
    changed = one_bit(RFC_ADDRESS, bit)
    if sec_of(changed) <= 1:
        verify_cga(changed, RFC_PARAMETERS)
    else:
        with pytest.raises(VerificationError, match=r"Sec|zeros"):
            verify_cga(changed, RFC_PARAMETERS)


@pytest.mark.parametrize("bit", sorted(set(range(128)) - {64, 65, 66, 70, 71}))
def test_every_other_bit_of_the_address_counts(bit: int) -> None:
    with pytest.raises(VerificationError):
        verify_cga(one_bit(RFC_ADDRESS, bit), RFC_PARAMETERS)


@given(bit=st.integers(0, 8 * len(emit_parameters(RFC_PARAMETERS)) - 1))
def test_every_bit_of_the_structure_counts(bit: int) -> None:
    changed = one_bit(emit_parameters(RFC_PARAMETERS), bit)
    try:
        parameters = parse_parameters(changed)
    except WireError:
        return
    with pytest.raises(VerificationError):
        verify_cga(RFC_ADDRESS, parameters)


def test_the_reason_of_each_step() -> None:
    """RFC 3972 §5: steps 1, 2, 4 and 7, and Sec above 2, which RFC 4982 defines."""
    collided = replace(RFC_PARAMETERS, collisions=3)
    with pytest.raises(VerificationError, match="collision count 3"):
        verify_cga(address_of(collided, 0), collided)
    with pytest.raises(VerificationError, match="prefix"):
        verify_cga(PREFIX + RFC_ADDRESS[8:], RFC_PARAMETERS)
    with pytest.raises(VerificationError, match="not the hash"):
        verify_cga(one_bit(RFC_ADDRESS, 127), RFC_PARAMETERS)
    with pytest.raises(VerificationError, match="32 zeros that Sec 2"):
        verify_cga(address_of(RFC_PARAMETERS, 2), RFC_PARAMETERS)
    with pytest.raises(VerificationError, match="Sec 3"):
        verify_cga(address_of(RFC_PARAMETERS, 3), RFC_PARAMETERS)
    with pytest.raises(VerificationError, match="16 octets, not 4"):
        verify_cga(bytes(4), RFC_PARAMETERS)


@pytest.mark.parametrize("collisions", [0, 1, 2])
def test_up_to_two_collisions_are_legal(collisions: int) -> None:
    taken: list[bytes] = []

    def is_taken(address: bytes) -> bool:
        taken.append(address)
        return len(taken) <= collisions

    made = make_cga(PREFIX, RFC_KEY, 0, Random(1), is_taken=is_taken)
    assert made.parameters.collisions == collisions
    assert len(set(taken)) == collisions + 1
    verify_cga(made.address, made.parameters)


def test_three_collisions_end_it() -> None:
    """RFC 3972 §4, step 8."""
    asked: list[bytes] = []
    with pytest.raises(GenerationError, match="three addresses in a row"):
        make_cga(PREFIX, RFC_KEY, 0, Random(1), is_taken=lambda address: not asked.append(address))
    assert len(asked) == 3


@settings(max_examples=20)
@given(seed=st.integers(0, 1 << 32), extensions=st.sampled_from([b"", bytes.fromhex("00990003616263")]))
def test_what_is_made_verifies_and_is_a_function_of_the_seed(seed: int, extensions: bytes) -> None:
    made = make_cga(PREFIX, RFC_KEY, 0, Random(seed), extensions=extensions)
    assert made == make_cga(PREFIX, RFC_KEY, 0, Random(seed), extensions=extensions)
    assert (sec_of(made.address), made.address[8] & 3, made.address[:8]) == (0, 0, PREFIX)
    octets = emit_parameters(made.parameters)
    assert int.from_bytes(sha1(octets).digest()[:8], "big") & 0x1CFFFFFFFFFFFFFF == int.from_bytes(
        made.address[8:], "big"
    )
    verify_cga(made.address, parse_parameters(octets))


def test_the_search_wraps_around_and_reports_its_progress() -> None:
    """RFC 3972 §4, step 3: the modifier is a number of 128 bits."""
    steps: list[int] = []
    start = b"\xff" * 16
    found = find_modifier(start, RFC_KEY, 1, progress=steps.append)
    tried = (int.from_bytes(found, "big") - int.from_bytes(start, "big")) % (1 << 128)
    assert steps == [PROGRESS_STEP * (step + 1) for step in range(tried // PROGRESS_STEP)]
    assert not any(hash2(replace(RFC_PARAMETERS, modifier=found))[:2])


def test_the_search_can_be_stopped() -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_modifier(bytes(16), RFC_KEY, 2, progress=stop)


@pytest.mark.parametrize("sec", [-1, 3, 7])
def test_no_address_of_an_unknown_sec_is_made(sec: int) -> None:
    with pytest.raises(GenerationError, match="use 0 to 2"):
        make_cga(PREFIX, RFC_KEY, sec, Random(1))


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("", "no public key"),
        ("30", "no public key"),
        ("3102abcd", "no public key"),
        ("3003abcd", "does not fit"),
        ("3080abcd", "shortest form"),
        ("308102abcd", "shortest form"),
        ("3082007f" + "00" * 127, "shortest form"),
        ("308200ff" + "00" * 255, "shortest form"),
        ("308300010000", "shortest form"),
        ("30ff", "shortest form"),
        ("3082", "shortest form"),
        ("3002abcd00", "1 octets behind"),
        ("3002abcd00990002ff", "runs past the end"),
        ("3002abcd" + "0012000400000000", "a prefix at least"),
        ("3002abcd" + "0012000b" + "00" * 11, "a prefix at least"),
        ("3002abcd" + ("0012000c" + "00" * 12) * 2, "more than one"),
    ],
)
def test_malformed_structures_are_refused(key: str, what: str) -> None:
    with pytest.raises(WireError, match=what):
        parse_parameters(bytes(25) + bytes.fromhex(key))


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: bytes(25) + b"0\x04abcd" + tail))
def test_parsing_is_total_and_loses_nothing(data: bytes) -> None:
    try:
        parameters = parse_parameters(data)
    except WireError:
        return
    assert emit_parameters(parameters) == data
    assert sum(4 + len(value) for _, value in walk_extensions(parameters.extensions)) == len(
        parameters.extensions
    )


@pytest.mark.parametrize("change", [{"modifier": b""}, {"prefix": b"1234567"}, {"collisions": 256}])
def test_what_has_no_form_in_bytes(change: dict[str, object]) -> None:
    with pytest.raises(WireError):
        emit_parameters(replace(RFC_PARAMETERS, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("locators", [0, 1, 2, 7, 8, 9])
@pytest.mark.parametrize("signed", [False, True])
def test_the_largest_message_is_what_it_measures(locators: int, signed: bool) -> None:
    """RFC 5533 §5.9 and §5.15: an I2bis with all that it may carry."""
    options = [
        ResponderValidator(bytes(16)),
        UlidPair(bytes(16), bytes(16)),
        ForkedInstance(1),
        LocatorList(1, (Locator(bytes(16), 1),) * locators),
        LocatorPreferences(1, (Preference(),) * locators),
        CgaParameterData(emit_parameters(RFC_PARAMETERS)),
        KeepaliveTimeout(10),
    ]
    if signed:
        options.append(CgaSignature(bytes(len(RFC_KEY))))
    size = len(emit_message(I2bis(1, 2, 3, 4, tuple(options))))
    assert largest_message(RFC_PARAMETERS, locators, signed=signed) == size


def test_a_key_that_no_message_could_carry_is_refused() -> None:
    """RFC 5533 §5.1: 1280 octets with the IPv6 header."""
    key = b"\x30\x82\x02\x00" + bytes(512)
    with pytest.raises(LocalProtocolError, match=f"{MESSAGE_MAX} are allowed"):
        make_cga(PREFIX, key, 0, Random(1))


def test_prefixes_as_text() -> None:
    assert parse_prefix("2001:db8:1::/64") == PREFIX
    assert format_prefix(PREFIX) == "2001:db8:1::/64"
    for wrong in ("2001:db8::/48", "2001:db8:1::1/64", "10.0.0.0/8", "two", ""):
        with pytest.raises(WireError, match=wrong or "prefix"):
            parse_prefix(wrong)


@pytest.mark.parametrize(
    ("address", "usable"),
    [
        ("2001:db8::1", True),
        ("fd00::1", True),
        ("fe80::1", False),
        ("ff0e::1", False),
        ("::", False),
        ("::1", False),
        ("::ffff:10.0.0.1", False),
    ],
)
def test_what_can_be_a_locator(address: str, usable: bool) -> None:
    """RFC 5534 §3.1."""
    assert is_routable(IPv6Address(address).packed) is usable
