"""Locators that a peer sends, verified against its ULID (RFC 5533 §7.2, RFC 5535 §7 and §8).

Everything that is refused raises; nothing is accepted in parts. That a locator is verified here does not make
it reachable: a probe has to come back before payload goes there (RFC 5533 §7.2).
"""

from mpcore.errors import HostError
from mpcore.shim6.cga import verify_cga
from mpcore.shim6.cga_errors import LocatorError, VerificationError
from mpcore.shim6.cga_parameters import CgaParameters, multi_prefix_of
from mpcore.shim6.hba import verify_hba
from mpcore.shim6.prefixes import is_routable
from mpcore.wire.shim6 import Locator, LocatorList, VerificationMethod


def verify_ulid(ulid: bytes, parameters: CgaParameters) -> None:
    """Return when the structure is the ULID's, else raise VerificationError.

    The structure of a set may be the one of another member, so the ULID has to be in the set (RFC 5535 §7.2).
    """
    if multi_prefix_of(parameters) is None:
        verify_cga(ulid, parameters)
    else:
        verify_hba(ulid, parameters)


def can_sign(parameters: CgaParameters) -> bool:
    """Return whether the public key field holds a key, and not the random number of a mere HBA set."""
    extension = multi_prefix_of(parameters)
    return extension is None or extension.has_public_key


def verify_locators(
    ulid: bytes, locators: LocatorList, parameters: CgaParameters, signature: bytes | None
) -> None:
    """Return when every locator of the list is the peer's, else raise.

    VerificationError when the structure is not the ULID's: the message is dropped in silence. LocatorError
    for the first locator that is refused: the list and its message are ignored, and Error 2 points to its
    method (RFC 5533 §7.2).
    """
    verify_ulid(ulid, parameters)
    verify_list(locators, parameters, signature)


def verify_list(locators: LocatorList, parameters: CgaParameters, signature: bytes | None) -> None:
    """Return when every locator is bound to a structure that is the peer's, else raise LocatorError.

    RSA comes last and once, after all that is cheap.
    """
    signed = []
    for index, locator in enumerate(locators.locators):
        try:
            _verify_locator(locator, parameters)
        except VerificationError as error:
            raise LocatorError(index, str(error)) from None
        if locator.method == VerificationMethod.CGA:
            signed.append(index)
    if signed:
        try:
            _verify_signature(locators, parameters, signature)
        except (VerificationError, HostError) as error:
            raise LocatorError(signed[0], str(error)) from None


def _verify_locator(locator: Locator, parameters: CgaParameters) -> None:
    if not is_routable(locator.address):
        raise VerificationError("only unicast addresses of more than link-local scope can be locators")
    if locator.method == VerificationMethod.HBA:
        verify_hba(locator.address, parameters)
    elif locator.method != VerificationMethod.CGA:
        raise VerificationError(f"its verification method {locator.method} is unknown")
    elif not can_sign(parameters):
        # RFC 5535 §5: with P = 0 the field is a random number, whatever it looks like.
        raise VerificationError("its method is CGA, and the peer's addresses are bound to no public key")


def _verify_signature(locators: LocatorList, parameters: CgaParameters, signature: bytes | None) -> None:
    """Raise HostError where the package for it is missing: the method is then unsupported."""
    if signature is None:
        raise VerificationError("its method is CGA, and the message has no signature")
    from mpcore.shim6.cga_keys import verify_signature

    verify_signature(parameters.public_key, locators, signature)
