"""The judge of peers' addresses as contexts ask for it: bytes in, an answer out, never an error."""

from functools import lru_cache

from mpcore.errors import WireError
from mpcore.shim6.cga_errors import LocatorError, VerificationError
from mpcore.shim6.cga_locators import verify_list, verify_ulid
from mpcore.shim6.cga_parameters import CgaParameters, parse_parameters
from mpcore.wire.shim6 import LocatorList

CACHED_ANSWERS = 1024
"""Answers that are kept, of at most some 2 KB each: a message that is replayed costs no RSA again."""


class CgaVerifier:
    """Judges by RFC 3972 and RFC 5535; it has no state but answers kept, which are all true for ever."""

    def owns(self, ulid: bytes, parameters: bytes) -> bool:
        """Tell whether a parameter structure is the one of this ULID, or of its set."""
        return _owned(ulid, parameters) is not None

    def refused(
        self, ulid: bytes, locators: LocatorList, parameters: bytes, signature: bytes | None
    ) -> int | None:
        """Return the index of the first locator that is not this ULID's to use; None when all are.

        0 when the structure is not the ULID's, whatever the list.
        """
        return _refused(ulid, locators, parameters, signature)


@lru_cache(maxsize=CACHED_ANSWERS)
def _owned(ulid: bytes, parameters: bytes) -> CgaParameters | None:
    """Return the structure when it is the ULID's."""
    try:
        parsed = parse_parameters(parameters)
        verify_ulid(ulid, parsed)
    except (WireError, VerificationError):
        return None
    return parsed


@lru_cache(maxsize=CACHED_ANSWERS)
def _refused(ulid: bytes, locators: LocatorList, parameters: bytes, signature: bytes | None) -> int | None:
    parsed = _owned(ulid, parameters)
    if parsed is None:
        return 0
    try:
        verify_list(locators, parsed, signature)
    except LocatorError as error:
        return error.index
    return None
