"""The prefixes that addresses are formed for: from router advertisements, or named by the administrator.

What routers say counts as RFC 4862 §5.5.3 tells. Times are nanoseconds, lifetimes that come in whole seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mpcore.shim6.prefixes import is_routable
from mpcore.shim6.settings import SECOND

FOREVER_S = 0xFFFFFFFF
"""A lifetime without end (RFC 4861 §4.6.2)."""

TWO_HOURS_S = 7200
NEVER_NS = 1 << 62
_SLACK_NS = 10 * SECOND  # lifetimes that differ by less are not worth telling the kernel


@dataclass(slots=True)
class Prefix:
    """A prefix of 8 octets on an interface; `fixed` when the administrator named it."""

    prefix: bytes
    interface: str
    fixed: bool
    preferred_until: int
    valid_until: int

    def differs(self, preferred: int, valid: int, now_ns: int) -> bool:
        """Tell whether an address with these ends of its lifetimes would end too early or too late."""
        if (preferred <= now_ns) != (self.preferred_until <= now_ns):
            return True
        slack = min(_SLACK_NS, max(valid - now_ns, 0) // 4)
        return max(abs(self.preferred_until - preferred), abs(self.valid_until - valid)) > slack

    def remaining(self, now_ns: int) -> tuple[int, int]:
        """Return the preferred and the valid lifetime in seconds, rounded up."""
        return _seconds(self.preferred_until - now_ns), _seconds(self.valid_until - now_ns)


class PrefixTable:
    """The prefixes that are valid now, at most `limit`; the first ones keep their places."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[bytes, Prefix] = {}
        self.refused = 0

    def __iter__(self) -> Iterator[Prefix]:
        return iter(self._known.values())

    def __contains__(self, prefix: object) -> bool:
        return prefix in self._known

    def __len__(self) -> int:
        return len(self._known)

    def get(self, prefix: bytes) -> Prefix | None:
        """Return a prefix that is valid now."""
        return self._known.get(prefix)

    def add_fixed(self, prefix: bytes, interface: str) -> None:
        """Take a prefix that the administrator names: without end, whatever routers say."""
        self._known[prefix] = Prefix(prefix, interface, True, NEVER_NS, NEVER_NS)

    def advertise(
        self, prefix: bytes, interface: str, preferred_s: int, valid_s: int, now_ns: int
    ) -> Prefix | None:
        """Take what a router says of a prefix for autoconfiguration; returns the prefix if that counts.

        Not for prefixes that are no unicast ones, nor for lifetimes that contradict each other (RFC 4862
        §5.5.3 b and c).
        """
        known = self._known.get(prefix)
        if preferred_s > valid_s or not is_routable(prefix + b"\1" * 8) or (known and known.fixed):
            return None
        if known is None:
            if valid_s == 0:
                return None  # d: nothing to form an address for
            if len(self._known) >= self._limit:
                self.refused += 1
                return None
            known = self._known[prefix] = Prefix(prefix, interface, False, 0, 0)
        # e: a valid lifetime is cut to no less than two hours, so that nobody ends it by one forged packet
        remaining = known.valid_until - now_ns
        if valid_s > TWO_HOURS_S or valid_s * SECOND > remaining:
            known.valid_until = _until(valid_s, now_ns)
        elif remaining > TWO_HOURS_S * SECOND:
            known.valid_until = _until(TWO_HOURS_S, now_ns)
        known.preferred_until = min(_until(preferred_s, now_ns), known.valid_until)
        return known

    def expire(self, now_ns: int) -> list[Prefix]:
        """Remove and return the prefixes whose valid lifetime is over."""
        gone = [entry for entry in self._known.values() if entry.valid_until <= now_ns]
        for entry in gone:
            del self._known[entry.prefix]
        return gone

    def poll_timeout(self) -> int:
        """Return when the next prefix expires."""
        return min((entry.valid_until for entry in self._known.values()), default=NEVER_NS)


def _until(seconds: int, now_ns: int) -> int:
    return NEVER_NS if seconds >= FOREVER_S else now_ns + seconds * SECOND


def _seconds(left_ns: int) -> int:
    if left_ns > FOREVER_S * SECOND:
        return FOREVER_S
    return max(-(-left_ns // SECOND), 0)
