"""What can go wrong with addresses that are bound to keys and prefixes."""

from mpcore.errors import MpcoreError


class VerificationError(MpcoreError):
    """An address, a locator or a signature is not what its parameter structure says."""


class LocatorError(VerificationError):
    """A locator of a list is refused; `index`, from 0, is what Error 2 points to (RFC 5533 §5.14)."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"locator {index + 1} is refused: {reason}")
        self.index = index


class GenerationError(MpcoreError):
    """No address can be made: three collisions, or a search that found no modifier."""


class RsaKeyError(MpcoreError):
    """A key that cannot be used; the message says what was expected."""
