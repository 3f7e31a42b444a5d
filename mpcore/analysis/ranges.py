"""Sets of half-open ranges of integers, made to be extended at their end."""

from bisect import bisect_left, bisect_right


class Ranges:
    """Which numbers have been seen: disjoint ranges in order, that touch nowhere."""

    __slots__ = ("ends", "starts", "total")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.total = 0

    def add(self, start: int, end: int) -> int:
        """Add [start, end) and return how many of its numbers were there already."""
        if not self.ends or start > self.ends[-1]:
            self.starts.append(start)
            self.ends.append(end)
            self.total += end - start
            return 0
        if start == self.ends[-1]:
            self.ends[-1] = end
            self.total += end - start
            return 0
        return self._insert(start, end)

    def _insert(self, start: int, end: int) -> int:
        first = bisect_left(self.ends, start)  # the first that reaches or touches `start`
        last = bisect_right(self.starts, end)  # one past the last that begins at `end` or before
        had = self.overlap(start, end)
        if first < last:
            low, high = min(start, self.starts[first]), max(end, self.ends[last - 1])
        else:
            low, high = start, end
        self.starts[first:last] = [low]
        self.ends[first:last] = [high]
        self.total += end - start - had
        return had

    def overlap(self, start: int, end: int) -> int:
        """Return how many numbers of [start, end) are there."""
        if not self.ends or start >= self.ends[-1]:
            return 0
        found, index = 0, bisect_right(self.ends, start)
        while index < len(self.starts) and self.starts[index] < end:
            found += min(end, self.ends[index]) - max(start, self.starts[index])
            index += 1
        return found

    def end_of(self, start: int) -> int:
        """Return where the range that holds `start`, or touches it from below, ends; `start` without one."""
        index = bisect_right(self.starts, start) - 1
        return max(start, self.ends[index]) if index >= 0 else start
