"""The five reordering algorithms against a slow model: a set of byte numbers (RFC 8684 §3.3.1)."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcore.errors import CapacityError
from mpcore.store.reorder import ALGORITHMS, ReorderQueue

WRAP = 1 << 64
GAPS = 8
OF_RUNS = ("runs", "tree", "shortcuts")
BASES = (0, 1, WRAP - 150, WRAP // 2 - 150, WRAP - 1, 0x1234567890ABCDEF)
Span = tuple[int, int]
Step = tuple[str, int, int, int]


class Model:
    """Byte numbers that are there; the first copy of a byte wins."""

    def __init__(self) -> None:
        self.held: set[int] = set()

    def gaps(self, start: int, end: int) -> list[Span]:
        return spans(set(range(start, end)) - self.held)

    def insert(self, start: int, end: int) -> None:
        self.held.update(range(start, end))

    def advance(self, next_seq: int) -> int:
        while next_seq in self.held:
            next_seq += 1
        self.held = {number for number in self.held if number >= next_seq}
        return next_seq


def spans(numbers: set[int]) -> list[Span]:
    """Return the numbers as sorted ranges that do not touch."""
    out: list[Span] = []
    for number in sorted(numbers):
        if out and out[-1][1] == number:
            out[-1] = (out[-1][0], number + 1)
        else:
            out.append((number, number + 1))
    return out


def wrapped(ranges: list[Span], base: int) -> list[Span]:
    return [((start + base) % WRAP, (end + base) % WRAP) for start, end in ranges]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(0, 280), st.integers(1, 30), st.integers(0, 31)),
        st.tuples(
            st.just("insert"), st.integers(0, 90).map(lambda n: 3 * n), st.integers(1, 3), st.integers(0, 3)
        ),
        st.tuples(st.just("advance"), st.integers(0, 40), st.just(0), st.just(0)),
    ),
    max_size=120,
)


def insert_both(queue: ReorderQueue, model: Model, base: int, step: Step) -> bool:
    """Insert into both, compare, and tell whether the queue accepted the range."""
    _, start, size, subflow = step
    expected = model.gaps(start, start + size)
    before = queue.stats()
    try:
        got = queue.insert((start + base) % WRAP, (start + size + base) % WRAP, subflow)
    except CapacityError:
        assert queue.stats() == before
        return False
    assert got == wrapped(expected, base)
    model.insert(start, start + size)
    assert queue.stats()["duplicates"] == before["duplicates"] + (not expected)
    return True


def check_counters(queue: ReorderQueue, model: Model, most_bytes: int) -> None:
    stats = queue.stats()
    assert stats["bytes"] == len(model.held)
    assert stats["max_bytes"] == most_bytes
    assert len(queue) == stats["nodes"] <= stats["max_nodes"]
    assert stats["hits"] <= stats["inserts"]
    if queue.algorithm in OF_RUNS:
        assert stats["nodes"] == len(spans(model.held))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(max_examples=120, deadline=None)
@given(base=st.sampled_from(BASES), steps=STEPS)
def test_gaps_and_advance_agree_with_the_model(algorithm: str, base: int, steps: list[Step]) -> None:
    queue, model = ReorderQueue(algorithm), Model()
    next_seq = most_bytes = 0
    for step in steps:
        if step[0] == "advance":
            target = next_seq + step[1]
            next_seq = model.advance(target)
            assert queue.advance((target + base) % WRAP) == (next_seq + base) % WRAP
        elif not insert_both(queue, model, base, step):
            assert len(model.gaps(step[1], step[1] + step[2])) > GAPS
        most_bytes = max(most_bytes, len(model.held))
        check_counters(queue, model, most_bytes)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(max_examples=120, deadline=None)
@given(base=st.sampled_from(BASES), limit=st.integers(0, 5), steps=STEPS)
def test_node_limit_refuses_whole_and_holds(algorithm: str, base: int, limit: int, steps: list[Step]) -> None:
    queue, model = ReorderQueue(algorithm, limit), Model()
    next_seq = 0
    for step in steps:
        if step[0] == "advance":
            target = next_seq + step[1]
            next_seq = model.advance(target)
            assert queue.advance((target + base) % WRAP) == (next_seq + base) % WRAP
        else:
            nodes = len(queue)
            touching = len(spans(model.held | set(range(step[1], step[1] + step[2])))) <= len(
                spans(model.held)
            )
            if not insert_both(queue, model, base, step):
                crowded = nodes == limit and not (touching and algorithm in OF_RUNS)
                assert crowded or len(model.gaps(step[1], step[1] + step[2])) > GAPS
        assert len(queue) <= limit
        assert queue.stats()["bytes"] == len(model.held)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("base", [0, WRAP - 50_000])
def test_shuffled_stream_with_duplicates_is_delivered_once(algorithm: str, base: int) -> None:
    rng = random.Random(7)
    cuts = sorted(rng.sample(range(1, 100_000), 2500))
    segments = list(zip([0, *cuts], [*cuts, 100_000], strict=True))
    segments += rng.sample(segments, 300)
    segments += [
        (start, min(start + rng.randrange(1, 90), 100_000)) for start in rng.sample(range(99_000), 300)
    ]
    rng.shuffle(segments)
    queue = ReorderQueue(algorithm)
    next_seq, delivered = 0, 0
    for start, end in segments:
        if start > next_seq:
            new = queue.insert((start + base) % WRAP, (end + base) % WRAP, rng.randrange(8))
            delivered += sum((high - low) % WRAP for low, high in new)
        elif end > next_seq:
            queued = queue.stats()["bytes"]
            after = (queue.advance((end + base) % WRAP) - base) % WRAP
            delivered += after - next_seq - (queued - queue.stats()["bytes"])
            next_seq = after
    assert (next_seq, delivered, len(queue)) == (100_000, 100_000, 0)
    assert queue.stats()["max_nodes"] > 500


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_range_over_more_gaps_than_can_be_told_is_refused(algorithm: str) -> None:
    queue = ReorderQueue(algorithm)
    for start in range(10, 90, 10):
        queue.insert(start, start + 5)
    with pytest.raises(CapacityError):
        queue.insert(0, 90)
    assert queue.insert(0, 80) == [(0, 10), *((start + 5, start + 10) for start in range(10, 80, 10))]
    assert queue.advance(0) == 85


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_range_out_of_serial_reach_is_refused(algorithm: str) -> None:
    queue = ReorderQueue(algorithm)
    queue.insert(1000, 2000)
    for start, end in ((2**63, 2**63 + 10), (2**62 + 1000, 2**62 + 1001), (0, 2**62 + 1), (50, 40)):
        with pytest.raises(CapacityError):
            queue.insert(start, end)
    assert queue.insert(2**62 + 999, 2**62 + 1000) == [(2**62 + 999, 2**62 + 1000)]
    assert queue.advance(WRAP // 2 + 5000) == WRAP // 2 + 5000
    assert len(queue) == 2
    assert queue.advance(1500) == 2000
    assert queue.insert(2**62 + 1500, 2**62 + 1600) == [(2**62 + 1500, 2**62 + 1600)]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_emptied_queue_is_as_good_as_new(algorithm: str) -> None:
    queue = ReorderQueue(algorithm)
    for _ in range(3):
        for start in range(0, 20_000, 10):
            queue.insert(start, start + 5, start % 32)
        assert queue.advance(30_000) == 30_000
        assert (len(queue), queue.stats()["bytes"]) == (0, 0)
    assert queue.stats()["max_nodes"] == 2000


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_batch_is_the_same_as_single_inserts(algorithm: str) -> None:
    rng = random.Random(3)
    starts = np.array([rng.randrange(1, 5000) for _ in range(2000)], dtype=np.uint64)
    ends = starts + np.array([rng.randrange(1, 100) for _ in range(2000)], dtype=np.uint64)
    subflows = np.array([rng.randrange(32) for _ in range(2000)], dtype=np.uint8)
    single, batch = ReorderQueue(algorithm), ReorderQueue(algorithm)
    new = 0
    for start, end, subflow in zip(starts.tolist(), ends.tolist(), subflows.tolist(), strict=True):
        new += sum(high - low for low, high in single.insert(start, end, subflow))
    assert batch.insert_many(starts, ends, subflows) == new
    assert batch.stats() == single.stats()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_receive_many_delivers_in_order_and_drops_old(algorithm: str) -> None:
    starts = np.array([0, 20, 30, 5, 10, 100], dtype=np.uint64)
    ends = np.array([10, 30, 40, 10, 20, 110], dtype=np.uint64)
    subflows = np.zeros(6, dtype=np.uint8)
    queue = ReorderQueue(algorithm)
    assert queue.receive_many(0, starts, ends, subflows) == 40
    assert (queue.stats()["inserts"], queue.stats()["bytes"]) == (3, 10)


def test_batch_stops_at_the_first_refused_segment() -> None:
    numbers = np.array([10, 30, 50, 70], dtype=np.uint64)
    queue = ReorderQueue("runs", 2)
    with pytest.raises(CapacityError):
        queue.insert_many(numbers, numbers + np.uint64(5), np.zeros(4, dtype=np.uint8))
    assert queue.stats()["bytes"] == 10
    with pytest.raises(CapacityError):
        queue.receive_many(0, numbers[2:], numbers[2:] + np.uint64(5), np.zeros(2, dtype=np.uint8))


def test_arrays_of_other_types_and_lengths_are_refused() -> None:
    queue = ReorderQueue()
    numbers, subflows = np.ones(4, dtype=np.uint64), np.zeros(4, dtype=np.uint8)
    with pytest.raises(ValueError, match="one length"):
        queue.insert_many(numbers, numbers[:3], subflows)
    for wrong in (numbers.astype(np.uint32), numbers.astype(np.float64), numbers.astype(np.int64)):
        with pytest.raises(ValueError, match="arrays of uint64"):
            queue.insert_many(wrong, numbers, subflows)
    with pytest.raises(ValueError, match="arrays of uint64"):
        queue.insert_many(numbers, numbers, numbers)
    with pytest.raises(TypeError):
        queue.insert_many([1], [2], [0])  # type: ignore[arg-type]


def test_unknown_algorithm_bad_subflow_and_empty_range_are_refused() -> None:
    with pytest.raises(ValueError, match="use one of runs, regular"):
        ReorderQueue("heap")
    with pytest.raises(ValueError, match="max_nodes"):
        ReorderQueue(max_nodes=2**25)
    for start, end, subflow in ((1, 1, 0), (1, 2, 32), (1, 2, -1)):
        with pytest.raises(ValueError, match="must not be empty"):
            ReorderQueue().insert(start, end, subflow)
