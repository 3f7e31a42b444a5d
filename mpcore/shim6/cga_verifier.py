"""The judge of peers' addresses as contexts ask for it: bytes in, an answer out, never an error."""

from functools import lru_cache

from mpcore.errors import WireError
from mpcore.shim6.cga_errors import LocatorError, VerificationError
from mpcore.shim6.cga_locators import verify_locators, verify_ulid
from mpcore.shim6.cga_parameters import parse_parameters
from mpcore.wire.shim6 import LocatorList

CACHED_ANSWERS = 1024
"""Answers that are kept, of at most some 2 KB each: a message that is replayed costs no RSA again."""


class CgaVerifier:
    """Judges by RFC 3972 and RFC 5535; it has no state but answers kept, which are all true for ever."""

    def owns(self, ulid: bytes, parameters: bytes) -> bool:
        """Tell whether a parameter structure is the one of this ULID, or of its set."""
        try:
            verify_ulid(ulid, parse_parameters(parameters))
        except (WireError, VerificationError):
            return False
        return True

    def refused(
        self, ulid: bytes, locators: LocatorList, parameters: bytes, signature: bytes | None
    ) -> int | None:
        """Return the index of the first locator that is not this ULID's to use; None when all are.

        0 when the structure is not the ULID's, whatever the list.
        """
        return _refused(ulid, locators, parameters, signature)


@lru_cache(maxsize=CACHED_ANSWERS)
def _refused(ulid: bytes, locators: LocatorList, parameters: bytes, signature: bytes | None) -> int | None:
    try:
        verify_locators(ulid, locators, parse_parameters(parameters), signature)
    except LocatorError as error:
        return error.index
    except (WireError, VerificationError):
        return 0
    return None
