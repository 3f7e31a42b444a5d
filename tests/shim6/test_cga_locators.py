"""Locator lists against a ULID: the two methods, signatures, and each reason to refuse."""

import sys
from dataclasses import replace
from ipaddress import IPv6Address
from random import Random

import pytest

from mpcore.errors import HostError
from mpcore.shim6.cga import make_cga
from mpcore.shim6.cga_errors import LocatorError, RsaKeyError, VerificationError
from mpcore.shim6.cga_locators import can_sign, verify_locators, verify_ulid
from mpcore.shim6.hba import HbaSet, make_hba_set
from mpcore.wire.shim6 import Locator, LocatorList, VerificationMethod

pytest.importorskip("cryptography", reason="signatures need the package cryptography")

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mpcore.shim6 import cga_keys

HBA, CGA = VerificationMethod.HBA, VerificationMethod.CGA
A, B = bytes.fromhex("20010db8000a0000"), bytes.fromhex("20010db8000b0000")
ELSEWHERE = IPv6Address("2001:db8:ffff::1").packed
SHA1_INFO = bytes.fromhex("3021300906052b0e03021a05000414")


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return cga_keys.make_key(1024)


@pytest.fixture(scope="module")
def signing(key: rsa.RSAPrivateKey) -> HbaSet:
    return make_hba_set([A, B], 0, Random(1), public_key=cga_keys.public_key_of(key))


@pytest.fixture(scope="module")
def plain() -> HbaSet:
    return make_hba_set([A, B], 0, Random(1))


def listed(*entries: tuple[bytes, int], generation: int = 7) -> LocatorList:
    return LocatorList(generation, tuple(Locator(address, method) for address, method in entries))


def test_a_set_needs_no_signature(plain: HbaSet) -> None:
    first, second = plain.addresses
    for ulid in plain.addresses:
        verify_locators(ulid, listed((first, HBA), (second, HBA)), plain.parameters, None)
        verify_locators(ulid, listed((second, HBA)), plain.parameters, None)
        verify_locators(ulid, listed(), plain.parameters, None)


def test_a_signed_locator_may_be_any_address(signing: HbaSet, key: rsa.RSAPrivateKey) -> None:
    """RFC 5535 §8.1: the new locator is bound by the signature alone."""
    locators = listed((signing.addresses[1], HBA), (ELSEWHERE, CGA))
    verify_locators(signing.addresses[0], locators, signing.parameters, cga_keys.sign_locators(key, locators))


def test_a_plain_cga_signs_as_well(key: rsa.RSAPrivateKey) -> None:
    """RFC 5533 §7.2: no Multi-Prefix extension, so method CGA for all but nothing by HBA."""
    own = make_cga(A, cga_keys.public_key_of(key), 0, Random(3))
    locators = listed((own.address, CGA), (ELSEWHERE, CGA))
    signature = cga_keys.sign_locators(key, locators)
    assert can_sign(own.parameters)
    verify_locators(own.address, locators, own.parameters, signature)
    with pytest.raises(LocatorError, match=r"locator 1 .*describe no set"):
        verify_locators(own.address, listed((own.address, HBA)), own.parameters, signature)


def test_the_octets_of_a_signature(key: rsa.RSAPrivateKey) -> None:
    """RFC 5533 §5.15.5 and RFC 3972 §6, recomputed with plain numbers (RFC 8017 §9.2)."""
    from hashlib import sha1

    locators = listed((ELSEWHERE, CGA), (A + bytes(8), HBA), (B + bytes(8), CGA), generation=0x01020304)
    message = bytes.fromhex("4a3056624858574b3655416f506a6d48 01020304") + ELSEWHERE + B + bytes(8)
    assert cga_keys.signed_octets(locators) == message
    public = key.public_key().public_numbers()
    signature = int.from_bytes(cga_keys.sign_locators(key, locators), "big")
    opened = pow(signature, public.e, public.n).to_bytes(128, "big")
    assert opened == b"\x00\x01" + b"\xff" * (128 - 38) + b"\x00" + SHA1_INFO + sha1(message).digest()


@pytest.mark.parametrize("change", ["order", "generation", "address", "added", "signature", "cut", "empty"])
def test_a_signature_is_over_this_very_list(signing: HbaSet, key: rsa.RSAPrivateKey, change: str) -> None:
    first, second = (ELSEWHERE, CGA), (ELSEWHERE[:15] + b"\x02", CGA)
    signature = cga_keys.sign_locators(key, listed(first, second))
    changed = {
        "order": listed(second, first),
        "generation": listed(first, second, generation=8),
        "address": listed(first, (ELSEWHERE[:15] + b"\x03", CGA)),
        "added": listed(first, second, (ELSEWHERE[:15] + b"\x03", CGA)),
    }.get(change, listed(first, second))
    signature = {"signature": signature[:-1] + b"\x00", "cut": signature[1:], "empty": b""}.get(
        change, signature
    )
    with pytest.raises(LocatorError, match=r"locator 1 .*signature is not the key's") as raised:
        verify_locators(signing.addresses[0], changed, signing.parameters, signature)
    assert raised.value.index == 0


@pytest.mark.parametrize(
    ("address", "method", "what"),
    [
        (ELSEWHERE, HBA, "not in the set"),
        (A + bytes(7) + b"\x01", HBA, "not the hash"),
        (ELSEWHERE, CGA, "no signature"),
        (ELSEWHERE, 0, "method 0 is unknown"),
        (ELSEWHERE, 3, "method 3 is unknown"),
        (IPv6Address("fe80::1").packed, CGA, "link-local"),
        (IPv6Address("ff0e::1").packed, CGA, "unicast"),
        (bytes(16), CGA, "unicast"),
    ],
)
def test_each_refused_locator_is_named(signing: HbaSet, address: bytes, method: int, what: str) -> None:
    """RFC 5533 §5.14: Error 2 points to the method of the locator that failed."""
    own = (signing.addresses[0], HBA)
    with pytest.raises(LocatorError, match=what) as raised:
        verify_locators(own[0], listed(own, own, (address, method)), signing.parameters, None)
    assert raised.value.index == 2


def test_the_random_number_of_a_mere_set_signs_nothing(plain: HbaSet, key: rsa.RSAPrivateKey) -> None:
    """RFC 5535 §5: flag P, not the looks of the field, says whether there is a key."""
    locators = listed((ELSEWHERE, CGA))
    assert not can_sign(plain.parameters)
    with pytest.raises(LocatorError, match="no public key"):
        verify_locators(plain.addresses[0], locators, plain.parameters, cga_keys.sign_locators(key, locators))


def test_the_structure_has_to_be_the_ulids(plain: HbaSet, signing: HbaSet) -> None:
    """RFC 5533 §7.2 and RFC 3972 §6: not a LocatorError, so the message is dropped in silence."""
    with pytest.raises(VerificationError) as raised:
        verify_locators(ELSEWHERE, listed((plain.addresses[0], HBA)), plain.parameters, None)
    assert not isinstance(raised.value, LocatorError)
    with pytest.raises(VerificationError):
        verify_ulid(plain.addresses[0], signing.parameters)
    with pytest.raises(VerificationError):
        verify_ulid(plain.addresses[0], replace(plain.parameters, extensions=b""))


def test_keys_in_pem(key: rsa.RSAPrivateKey) -> None:
    again = cga_keys.load_key(cga_keys.key_to_pem(key))
    assert cga_keys.public_key_of(again) == cga_keys.public_key_of(key)
    assert cga_keys.describe_key(cga_keys.public_key_of(key)) == "RSA-1024"


@pytest.mark.parametrize("bits", [512, 1023, 3073, 4096])
def test_sizes_that_are_refused(bits: int) -> None:
    """RFC 5533 §16: 1024 at least; above 3072 nothing fits into a message."""
    with pytest.raises(RsaKeyError, match=f"not {bits}"):
        cga_keys.make_key(bits)


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key(pem: bytes) -> None:
    with pytest.raises(RsaKeyError, match="no private key in PEM"):
        cga_keys.load_key(pem)


def test_a_key_of_another_kind_is_refused() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(RsaKeyError, match="not an RSA key"):
        cga_keys.load_key(cga_keys.key_to_pem(curve))  # type: ignore[arg-type]
    public = cga_keys.public_key_of(curve)  # type: ignore[arg-type]
    with pytest.raises(VerificationError, match="not an RSA key"):
        cga_keys.verify_signature(public, listed((ELSEWHERE, CGA)), bytes(64))


def test_a_short_key_of_a_peer_is_refused() -> None:
    """RFC 5533 §16, at the receiver: the key of the example in RFC 3972 has 512 bits."""
    from tests.shim6.test_cga import RFC_KEY

    assert isinstance(load_der_public_key(RFC_KEY), rsa.RSAPublicKey)
    with pytest.raises(VerificationError, match="512 bits is not accepted"):
        cga_keys.verify_signature(RFC_KEY, listed((ELSEWHERE, CGA)), bytes(64))
    with pytest.raises(VerificationError, match="cannot be read"):
        cga_keys.verify_signature(b"\x30\x00", listed((ELSEWHERE, CGA)), bytes(64))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, signing: HbaSet, plain: HbaSet) -> None:
    """Hash-based addresses work, and a locator whose method is CGA is refused as unsupported."""
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "mpcore.shim6.cga_keys")
    monkeypatch.delattr("mpcore.shim6.cga_keys")
    with pytest.raises(HostError, match=r"install mpcore\[shim6\]"):
        __import__("mpcore.shim6.cga_keys")
    own = listed((plain.addresses[0], HBA))
    verify_locators(plain.addresses[1], own, plain.parameters, None)
    with pytest.raises(LocatorError, match="need the Python package"):
        verify_locators(signing.addresses[0], listed((ELSEWHERE, CGA)), signing.parameters, bytes(128))
