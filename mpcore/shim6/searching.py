"""A search for the modifier of addresses of Sec 1 or 2, which goes on elsewhere (RFC 3972 §4, steps 1 to 3).

Each hash is as likely to fit as any other, so one that is broken off loses nothing but the time.
"""

from dataclasses import dataclass

from mpcore.shim6.cga import tail_of
from mpcore.shim6.cga_parameters import CgaParameters, multi_prefix_of
from mpcore.shim6.forming import SearchModifier


@dataclass(slots=True)
class Search:
    """What is searched for `draft`, which lacks the modifier; `hashes` is how many have been tried.

    `renews`: other addresses are wanted for all prefixes, not only where there are none.
    """

    number: int
    draft: CgaParameters
    sec: int
    renews: bool
    hashes: int = 0

    @property
    def usual_hashes(self) -> int:
        """How many it takes on average."""
        return 1 << 16 * self.sec

    def prefixes(self) -> tuple[bytes, ...]:
        """Return the prefixes that it is for at least."""
        extension = multi_prefix_of(self.draft)
        return (self.draft.prefix,) if extension is None else extension.prefixes

    def effect(self) -> SearchModifier:
        """Return what has it done."""
        return SearchModifier(self.number, self.draft.modifier, tail_of(self.draft), self.sec)
