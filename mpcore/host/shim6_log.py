"""What explorations cost: LinShim6's time log and application recovery times, of the last of them."""

from collections import deque
from typing import Any

from mpcore.shim6.events import Event, ExplorationFinished, ExplorationStarted, PayloadResumed
from mpcore.shim6.locators import Pair

ENTRIES_MAX = 256
STARTED_MAX = 1024


class Shim6Log:
    """The last explorations; all methods are for the thread that runs the loop."""

    def __init__(self) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=ENTRIES_MAX)
        self._started: dict[Pair, ExplorationStarted] = {}

    def note(self, event: Event, now_ns: int) -> None:
        """Take what an event tells of explorations."""
        match event:
            case ExplorationStarted():
                self._begin(event)
            case ExplorationFinished():
                self._end(event, now_ns)
            case PayloadResumed():
                self._resume(event)

    def entries(self, now_ns: int, *, reset: bool = False) -> list[dict[str, Any]]:
        """Return the entries, oldest first, with their age; with `reset` they are forgotten."""
        found = [
            {"age_us": (now_ns - entry["ended_ns"]) // 1000}
            | {key: value for key, value in entry.items() if key != "ended_ns"}
            for entry in self._entries
        ]
        if reset:
            self._entries.clear()
        return found

    def _begin(self, event: ExplorationStarted) -> None:
        self._started[Pair(event.ulid_local, event.ulid_peer)] = event
        if len(self._started) > STARTED_MAX:
            del self._started[next(iter(self._started))]

    def _end(self, event: ExplorationFinished, now_ns: int) -> None:
        started = self._started.pop(Pair(event.ulid_local, event.ulid_peer), None)
        self._entries.append(
            {
                "ended_ns": now_ns,
                "ulids": Pair(event.ulid_local, event.ulid_peer),
                "pair": Pair(event.local, event.peer),
                "cause": None if started is None else started.cause,
                "contexts": None if started is None else started.contexts,
                "duration_us": event.duration_ns // 1000,
                "probes": event.probes,
                "stall_us": None,
            }
        )

    def _resume(self, event: PayloadResumed) -> None:
        """Give the stall to the last exploration of these ULIDs; other contexts of a group have no entry."""
        ulids = Pair(event.ulid_local, event.ulid_peer)
        for entry in reversed(self._entries):
            if entry["ulids"] == ulids:
                if entry["stall_us"] is None:
                    entry["stall_us"] = event.stall_ns // 1000
                return
