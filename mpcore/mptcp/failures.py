"""Paths of one connection that failed, and when each may be tried again.

What is silent or was reset for a while is tried again, after a pause that doubles. A join that the peer
refused, or that an address which never answered did not answer, is not, until there is news of its address
(RFC 8684 §3.4.1, §3.6, §3.9.3). Times are integer nanoseconds.
"""

from collections.abc import Callable

from mpcore.value import value

Path = tuple[bytes, bytes, int]  # local address, remote address, remote port

FIRST_PAUSE_NS = 5_000_000_000
LAST_PAUSE_NS = 120_000_000_000
NEWS_PAUSE_NS = 1_000_000_000  # least pause, whatever the news
PROVEN_NS = 60_000_000_000  # what worked for so long was no vain attempt


@value
class Failure:
    """One path's last failure.

    Attributes:
        pause_ns: how long it is left alone
        until_ns: when that ends; None: with news of its address
        waits: nobody was told yet that it has ended
        worked_ns: when a later attempt succeeded
    """

    path: Path
    failed_ns: int
    pause_ns: int
    until_ns: int | None
    waits: bool
    worked_ns: int | None = None


class FailedPaths:
    """The failures of one connection; a connection without any keeps an empty tuple."""

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures: tuple[Failure, ...] = ()

    def note(self, path: Path, now_ns: int, *, for_good: bool) -> None:
        """A path failed."""
        before = self._find(path)
        pause_ns = FIRST_PAUSE_NS
        if before is not None and not _was_proven(before, now_ns):
            pause_ns = min(2 * before.pause_ns, LAST_PAUSE_NS)
        until_ns = None if for_good else now_ns + pause_ns
        self._replace(Failure(path, now_ns, pause_ns, until_ns, waits=not for_good))

    def worked(self, path: Path, now_ns: int) -> None:
        """An attempt on a path that failed before has succeeded."""
        before = self._find(path)
        if before is not None:
            self._replace(Failure(path, before.failed_ns, before.pause_ns, now_ns, False, now_ns))

    def blocks(self, path: Path, now_ns: int) -> bool:
        """Tell whether a path is to be left alone now."""
        found = self._find(path)
        return found is not None and (found.until_ns is None or now_ns < found.until_ns)

    def is_open(self, path: Path) -> bool:
        """Tell whether a path failed, its pause is known to be over, and it has not worked since."""
        found = self._find(path)
        if found is None or found.waits:
            return False
        return found.until_ns is not None and found.worked_ns is None

    def forget(self, concerns: Callable[[Path], bool]) -> None:
        """There is news of an address: its paths begin anew."""
        self._failures = tuple(each for each in self._failures if not concerns(each.path))

    def hurry(self) -> None:
        """There is another router: what waits may be worth an attempt soon."""
        self._failures = tuple(map(_hurried, self._failures))

    def poll_timeout(self) -> int | None:
        """Return when the next path may be tried again."""
        if not self._failures:
            return None
        due = (each.until_ns for each in self._failures if each.waits and each.until_ns is not None)
        return min(due, default=None)

    def take_due(self, now_ns: int) -> bool:
        """Tell whether a path may be tried again since the last call."""
        due = [each for each in self._failures if each.waits and not self.blocks(each.path, now_ns)]
        for each in due:
            self._replace(Failure(each.path, each.failed_ns, each.pause_ns, each.until_ns, False))
        return bool(due)

    def _find(self, path: Path) -> Failure | None:
        return next((each for each in self._failures if each.path == path), None)

    def _replace(self, failure: Failure) -> None:
        others = (each for each in self._failures if each.path != failure.path)
        self._failures = (*others, failure)


def _was_proven(failure: Failure, now_ns: int) -> bool:
    return failure.worked_ns is not None and now_ns - failure.worked_ns >= PROVEN_NS


def _hurried(each: Failure) -> Failure:
    if not each.waits or each.until_ns is None:
        return each
    until_ns = min(each.until_ns, each.failed_ns + NEWS_PAUSE_NS)
    return Failure(each.path, each.failed_ns, each.pause_ns, until_ns, True)
