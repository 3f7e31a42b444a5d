"""Virtual time: an event heap ordered by (time, id), and a timer that is cheap to move."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from mpcore.errors import MpcoreError

Callback = Callable[[], None]

# More events than this at one instant are taken for a loop that never lets time pass.
MAX_EVENTS_PER_INSTANT = 1_000_000


class SimulationError(MpcoreError):
    """The simulated world broke a rule of its own, such as a timer that never moves."""


class Clock:
    """Runs callbacks in the order of their virtual time; equal times run in the order they were asked for.

    Time is int nanoseconds from an arbitrary zero. Nothing here knows of the real clock, so the order of
    events depends on nothing but the calls made.
    """

    def __init__(self) -> None:
        self.now_ns = 0
        self._heap: list[tuple[int, int, Callback]] = []
        self._next_id = 0
        self._at_this_instant = 0

    def call_at(self, time_ns: int, callback: Callback) -> None:
        """Run `callback` at `time_ns`, or now (after what already waits) when that has passed."""
        heapq.heappush(self._heap, (max(time_ns, self.now_ns), self._next_id, callback))
        self._next_id += 1

    def call_later(self, delay_ns: int, callback: Callback) -> None:
        """Run `callback` `delay_ns` from now."""
        self.call_at(self.now_ns + delay_ns, callback)

    def next_time(self) -> int | None:
        """Return when the next event is due, or None when nothing waits."""
        return self._heap[0][0] if self._heap else None

    def run(self, until_ns: int | None = None, stop: Callable[[], bool] | None = None) -> bool:
        """Run events until none is left, `until_ns` has been reached, or `stop()` says so after an event.

        Returns whether `stop` ended the run. With `until_ns` and no stop the clock ends exactly there.
        """
        while self._heap and (until_ns is None or self._heap[0][0] <= until_ns):
            time_ns, _, callback = heapq.heappop(self._heap)
            self._advance(time_ns)
            callback()
            if stop is not None and stop():
                return True
        if until_ns is not None:
            self.now_ns = max(self.now_ns, until_ns)
        return False

    def _advance(self, time_ns: int) -> None:
        """Move the clock, refusing a world in which time has stopped."""
        self._at_this_instant = self._at_this_instant + 1 if time_ns == self.now_ns else 0
        if self._at_this_instant > MAX_EVENTS_PER_INSTANT:
            raise SimulationError(
                f"more than {MAX_EVENTS_PER_INSTANT} events at {time_ns} ns: a loop without delay"
            )
        self.now_ns = time_ns


class Timer:
    """One deadline that may be moved at every packet.

    Moving it later leaves the event in the heap; when that fires too early it is set again. So the heap holds
    few entries however often a retransmission timer is pushed back.
    """

    def __init__(self, clock: Clock, callback: Callback) -> None:
        self.deadline_ns: int | None = None
        self._clock = clock
        self._callback = callback
        self._scheduled: set[int] = set()

    def set(self, deadline_ns: int | None) -> None:
        """Fire at `deadline_ns`; None stops the timer."""
        self.deadline_ns = deadline_ns
        if deadline_ns is not None and not any(time_ns <= deadline_ns for time_ns in self._scheduled):
            self._schedule(deadline_ns)

    def start(self, delay_ns: int) -> None:
        """Fire `delay_ns` from now."""
        self.set(self._clock.now_ns + delay_ns)

    def stop(self) -> None:
        """Forget the deadline."""
        self.deadline_ns = None

    @property
    def armed(self) -> bool:
        """Whether a deadline is set."""
        return self.deadline_ns is not None

    def _schedule(self, time_ns: int) -> None:
        time_ns = max(time_ns, self._clock.now_ns)
        self._scheduled.add(time_ns)
        self._clock.call_at(time_ns, lambda: self._fire(time_ns))

    def _fire(self, time_ns: int) -> None:
        self._scheduled.discard(time_ns)
        if self.deadline_ns is None:
            return
        if self.deadline_ns <= self._clock.now_ns:
            self.deadline_ns = None
            self._callback()
        elif not any(other <= self.deadline_ns for other in self._scheduled):
            self._schedule(self.deadline_ns)
