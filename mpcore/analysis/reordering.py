"""What each reordering algorithm would have cost on the arrivals of a capture."""

from dataclasses import dataclass

from mpcore.analysis.data import FULL_64
from mpcore.analysis.model import Direction
from mpcore.errors import CapacityError
from mpcore.store.reorder import ALGORITHMS, ReorderQueue

NODES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class ReorderCost:
    """The work of one algorithm.

    `inserts` pieces came out of order, `hits` of them found their place by a hint or shortcut alone, the
    others took `steps` along the queue, which had at most `max_nodes` elements and `max_bytes` bytes.
    """

    algorithm: str
    inserts: int
    hits: int
    steps: int
    max_nodes: int
    max_bytes: int

    @property
    def hit_rate(self) -> float | None:
        """Share of the inserts that were hits; None without inserts."""
        return self.hits / self.inserts if self.inserts else None


def reorder_costs(direction: Direction) -> list[ReorderCost]:
    """Return the cost of every algorithm that can hold the queue; empty without data."""
    if not direction.pieces:
        return []
    costs = (reorder_cost(algorithm, direction) for algorithm in ALGORITHMS)
    return [cost for cost in costs if cost is not None]


def reorder_cost(algorithm: str, direction: Direction) -> ReorderCost | None:
    """Return the cost of one algorithm; None where it would need more than 2**20 elements."""
    queue = ReorderQueue(algorithm, NODES_MAX)
    # Serial numbers: a negative offset is its own complement.
    starts, ends = (memoryview(one).cast("B").cast("Q") for one in (direction.starts, direction.ends))
    try:
        # A piece that stands for what was missed is in order and fills no queue, whatever its subflow.
        queue.receive_many(min(0, direction.data.starts[0]) % FULL_64, starts, ends, direction.subflows)
    except CapacityError:
        return None
    stats = queue.stats()
    return ReorderCost(
        algorithm, stats["inserts"], stats["hits"], stats["steps"], stats["max_nodes"], stats["max_bytes"]
    )
