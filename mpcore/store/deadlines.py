"""Many deadlines with few changes: a heap whose outdated entries are skipped when they surface."""

import heapq
from collections.abc import Hashable, Iterator
from itertools import count
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)


class Deadlines(Generic[KeyT]):
    """One deadline a key, in nanoseconds; the heap holds at most about twice as many entries as keys."""

    def __init__(self) -> None:
        self._due: dict[KeyT, tuple[int, int]] = {}
        self._heap: list[tuple[int, int, KeyT]] = []
        self._serial = count()  # equal times come out in order of arming, and keys are never compared

    def arm(self, key: KeyT, when_ns: int) -> None:
        """Set or move the deadline of a key."""
        due = (when_ns, next(self._serial))
        self._due[key] = due
        heapq.heappush(self._heap, (*due, key))
        if len(self._heap) > 2 * len(self._due) + 16:
            self._heap = [(*due, key) for key, due in self._due.items()]
            heapq.heapify(self._heap)

    def cancel(self, key: KeyT) -> None:
        """Forget the deadline of a key, if it has one."""
        self._due.pop(key, None)

    def armed(self, key: KeyT) -> bool:
        """Tell whether a key has a deadline."""
        return key in self._due

    def first(self) -> int | None:
        """Return the earliest deadline."""
        while self._heap:
            when_ns, serial, key = self._heap[0]
            if self._due.get(key) == (when_ns, serial):
                return when_ns
            heapq.heappop(self._heap)
        return None

    def expired(self, now_ns: int) -> Iterator[KeyT]:
        """Yield and forget the keys whose deadline has come, earliest first."""
        while (when_ns := self.first()) is not None and when_ns <= now_ns:
            key = heapq.heappop(self._heap)[2]
            del self._due[key]
            yield key
