"""RSA keys of addresses, and signatures over locator lists (RFC 3972 §6, RFC 5533 §5.15.5).

Needs the package `cryptography`: importing this module without it is a HostError. So it is imported where a
key is used and nowhere else, and hash-based addresses work without it. A new key draws on the operating
system's randomness, within that package; all else here is a function of its arguments.
"""

from mpcore.errors import HostError
from mpcore.shim6.cga_errors import RsaKeyError, VerificationError
from mpcore.wire.shim6 import LocatorList, VerificationMethod

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import (
        RSAPrivateKey,
        RSAPublicKey,
        generate_private_key,
    )
    from cryptography.hazmat.primitives.hashes import SHA1
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
        load_der_public_key,
        load_pem_private_key,
    )
except ImportError:
    raise HostError(
        "RSA keys need the Python package cryptography: install mpcore[shim6], or use addresses without a key"
    ) from None

KEY_BITS = 2048
"""Size of a key that nobody chose otherwise."""

KEY_BITS_MIN = 1024
"""RFC 5533 §16 forbids smaller ones."""

KEY_BITS_MAX = 3072
"""With a larger key, structure and signature leave too little room in a control message of 1280 octets."""

SHIM6_TAG = bytes.fromhex("4a3056624858574b3655416f506a6d48")
"""CGA message type tag of Shim6 (RFC 5533 §17): what is signed for it is nothing elsewhere."""

_EXPONENT = 65537


def make_key(bits: int = KEY_BITS) -> RSAPrivateKey:
    """Return a new RSA key; RsaKeyError for a size outside of 1024 to 3072 bits."""
    _require_bits(bits)
    return generate_private_key(_EXPONENT, bits)


def load_key(pem: bytes) -> RSAPrivateKey:
    """Return the private key of a PEM file without a password; RsaKeyError when it cannot be used."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise RsaKeyError("this is no private key in PEM without a password") from None
    if not isinstance(key, RSAPrivateKey):
        raise RsaKeyError("the key is not an RSA key; `openssl genrsa 2048` makes one")
    _require_bits(key.key_size)
    return key


def key_to_pem(key: RSAPrivateKey) -> bytes:
    """Return a private key as PEM (PKCS#8, no password)."""
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def public_key_of(key: RSAPrivateKey) -> bytes:
    """Return the public key as a SubjectPublicKeyInfo in DER, as CGA parameters hold it (RFC 3972 §3)."""
    return bytes(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def signed_octets(locators: LocatorList) -> bytes:
    """Return what a signature covers (RFC 5533 §5.15.5): tag, generation, locators whose method is CGA."""
    signed = [locator.address for locator in locators.locators if locator.method == VerificationMethod.CGA]
    return SHIM6_TAG + locators.generation.to_bytes(4, "big") + b"".join(signed)


def sign_locators(key: RSAPrivateKey, locators: LocatorList) -> bytes:
    """Return the signature of a locator list: RSASSA-PKCS1-v1_5 with SHA-1 (RFC 3972 §6)."""
    return bytes(key.sign(signed_octets(locators), PKCS1v15(), SHA1()))


def verify_signature(public_key: bytes, locators: LocatorList, signature: bytes) -> None:
    """Return when the signature is the key's over this list, else raise VerificationError.

    The caller has verified that the key belongs to the peer's ULID (RFC 3972 §6); without that a signature
    says nothing. Keys outside of 1024 to 3072 bits are refused before any arithmetic with them.
    """
    key = _load_public_key(public_key)
    if not KEY_BITS_MIN <= key.key_size <= KEY_BITS_MAX:
        raise VerificationError(
            f"an RSA key of {key.key_size} bits is not accepted, only {KEY_BITS_MIN} to {KEY_BITS_MAX}"
        )
    try:
        key.verify(signature, signed_octets(locators), PKCS1v15(), SHA1())
    except (InvalidSignature, ValueError):
        raise VerificationError("the signature is not the key's over this locator list") from None


def describe_key(public_key: bytes) -> str:
    """Return what a public key in DER is, such as RSA-2048; VerificationError when it is no RSA key."""
    return f"RSA-{_load_public_key(public_key).key_size}"


def _load_public_key(public_key: bytes) -> RSAPublicKey:
    try:
        key = load_der_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm):
        raise VerificationError("the public key in the CGA parameters cannot be read") from None
    if not isinstance(key, RSAPublicKey):
        raise VerificationError("the public key in the CGA parameters is not an RSA key")
    return key


def _require_bits(bits: int) -> None:
    if not KEY_BITS_MIN <= bits <= KEY_BITS_MAX:
        raise RsaKeyError(
            f"an RSA key needs {KEY_BITS_MIN} to {KEY_BITS_MAX} bits (RFC 5533 §16), not {bits}"
        )
