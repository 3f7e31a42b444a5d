"""How often something may happen."""

from collections import deque

SECOND = 1_000_000_000


class RateLimit:
    """At most `limit` in any second: a bucket whose tokens come back one second after they were taken."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: deque[int] = deque()

    def take(self, now_ns: int, tokens: int = 1) -> bool:
        """Take tokens; False, and none is taken, when too few are left."""
        back = len(self._taken) + tokens - self._limit  # how many have to be back by now
        if tokens > self._limit or (back > 0 and self._taken[back - 1] + SECOND > now_ns):
            return False
        for _ in range(back):
            self._taken.popleft()
        self._taken.extend([now_ns] * tokens)
        return True

    def next_ns(self, now_ns: int) -> int:
        """Return when there is a token: `now_ns` or later."""
        if self._limit <= 0:
            return now_ns + SECOND
        if len(self._taken) < self._limit:
            return now_ns
        return max(now_ns, self._taken[0] + SECOND)
