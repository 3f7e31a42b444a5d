"""How each reordering algorithm searches: its hits, steps and merges on small cases worked out by hand."""

import pytest

from mpcore.store.reorder import ReorderQueue


def filled(algorithm: str, *segments: tuple[int, int, int]) -> ReorderQueue:
    queue = ReorderQueue(algorithm)
    for start, end, subflow in segments:
        assert queue.insert(start, end, subflow) == [(start, end)]
    return queue


def cost(queue: ReorderQueue, start: int, end: int, subflow: int) -> tuple[int, int]:
    """Return the hits and steps of one insert."""
    before = queue.stats()
    queue.insert(start, end, subflow)
    after = queue.stats()
    return after["hits"] - before["hits"], after["steps"] - before["steps"]


class TestRegular:
    """Searched from the tail over every segment with a higher number."""

    def test_steps_count_segments_beyond(self) -> None:
        queue = filled("regular", *((n, n + 10, 0) for n in range(100, 200, 10)))
        assert cost(queue, 300, 310, 0) == (0, 0)
        assert cost(queue, 50, 60, 0) == (0, 11)
        assert cost(queue, 90, 100, 0) == (0, 11)
        assert len(queue) == 13

    def test_new_segment_replaces_those_that_it_covers(self) -> None:
        queue = filled("regular", (10, 20, 0), (20, 30, 0), (40, 50, 0), (60, 70, 0))
        assert queue.insert(15, 65) == [(30, 40), (50, 60)]
        assert len(queue) == 4
        assert queue.stats()["merges"] == 1
        assert queue.advance(10) == 70


class TestTree:
    """A node is a run; the descent costs one step a level."""

    def test_contiguous_segments_are_one_node(self) -> None:
        queue = filled("tree", (10, 20, 0), (20, 30, 1), (0, 10, 2))
        assert (len(queue), queue.stats()["merges"], queue.stats()["steps"]) == (1, 2, 0)

    def test_runs_in_order_degenerate_to_a_list(self) -> None:
        queue = filled("tree", *((n, n + 5, 0) for n in range(0, 100, 10)))
        assert cost(queue, 200, 210, 0) == (0, 10)

    def test_balanced_arrival_descends_a_few_levels(self) -> None:
        queue = filled("tree", *((n, n + 5, 0) for n in (40, 20, 60, 10, 30, 50, 70)))
        assert cost(queue, 80, 85, 0) == (0, 3)

    def test_range_over_ancestors_and_leaves_joins_all(self) -> None:
        queue = filled("tree", *((n, n + 5, 0) for n in (40, 20, 60, 10, 30, 50, 70)))
        assert queue.insert(22, 61) == [(25, 30), (35, 40), (45, 50), (55, 60)]
        assert (len(queue), queue.stats()["merges"]) == (3, 5)
        assert queue.advance(20) == 65
        assert queue.advance(70) == 75


class TestShortcuts:
    """A hit is a segment that starts exactly where the subflow's run ends."""

    def test_segment_at_the_end_of_own_run_hits(self) -> None:
        queue = filled("shortcuts", (10, 20, 0), (50, 60, 1))
        assert cost(queue, 20, 30, 0) == (1, 0)
        assert cost(queue, 60, 70, 1) == (1, 0)

    def test_segment_after_a_gap_does_not_hit(self) -> None:
        queue = filled("shortcuts", (10, 20, 0))
        assert cost(queue, 25, 30, 0) == (0, 0)

    def test_run_has_one_owner(self) -> None:
        queue = filled("shortcuts", (10, 20, 0))
        assert cost(queue, 20, 30, 1)[0] == 0
        assert cost(queue, 30, 40, 0)[0] == 0
        assert cost(queue, 40, 50, 1)[0] == 0
        assert cost(queue, 50, 60, 1)[0] == 1

    def test_subflow_has_one_run(self) -> None:
        queue = filled("shortcuts", (10, 20, 0), (50, 60, 0))
        assert cost(queue, 20, 30, 0)[0] == 0
        assert cost(queue, 30, 40, 0)[0] == 1

    def test_joined_run_loses_its_shortcut(self) -> None:
        queue = filled("shortcuts", (10, 20, 0), (30, 40, 1))
        assert cost(queue, 20, 30, 0) == (1, 0)
        assert (len(queue), queue.stats()["merges"]) == (1, 2)
        assert cost(queue, 40, 50, 1)[0] == 0

    def test_drained_run_loses_its_shortcut(self) -> None:
        queue = filled("shortcuts", (10, 20, 0))
        assert queue.advance(10) == 20
        assert cost(queue, 20, 30, 0) == (0, 0)

    def test_miss_walks_right_from_own_run_to_the_end_not_before(self) -> None:
        queue = filled("shortcuts", (10, 20, 0), (30, 40, 1), (50, 60, 2), (70, 80, 3))
        assert cost(queue, 60, 65, 0) == (0, 2)
        assert len(queue) == 4

    def test_miss_walks_left_from_own_run_to_the_start_not_beyond(self) -> None:
        queue = filled("shortcuts", (10, 20, 0), (30, 40, 1), (50, 60, 2), (70, 80, 3))
        assert cost(queue, 22, 25, 3) == (0, 3)
        assert len(queue) == 5

    def test_without_shortcut_the_walk_starts_at_the_tail(self) -> None:
        queue = filled("shortcuts", (10, 20, 0), (30, 40, 1), (50, 60, 2), (70, 80, 3))
        assert cost(queue, 90, 95, 4) == (0, 0)
        assert cost(queue, 20, 22, 5) == (0, 4)

    def test_steps_are_runs_and_not_segments(self) -> None:
        queue = filled("shortcuts", *((n, n + 10, 0) for n in range(100, 500, 10)))
        assert cost(queue, 50, 60, 1) == (0, 1)


class TestAllShortcuts:
    """A hit is a segment that fits between any pointed segment and its successor."""

    def test_segment_after_a_gap_hits(self) -> None:
        queue = filled("allshortcuts", (10, 20, 0))
        assert cost(queue, 25, 30, 0) == (1, 0)

    def test_pointer_of_another_subflow_hits(self) -> None:
        queue = filled("allshortcuts", (10, 20, 0))
        assert cost(queue, 20, 30, 1) == (1, 0)
        assert cost(queue, 30, 40, 7) == (1, 0)

    def test_segment_that_exactly_fills_the_space_hits(self) -> None:
        queue = filled("allshortcuts", (10, 20, 0), (40, 50, 1))
        assert cost(queue, 20, 40, 2) == (1, 0)

    @pytest.mark.parametrize(("start", "end"), [(20, 41), (19, 30), (5, 15)])
    def test_segment_that_overlaps_a_neighbour_does_not_hit(self, start: int, end: int) -> None:
        queue = filled("allshortcuts", (10, 20, 0), (40, 50, 1))
        assert cost(queue, start, end, 0)[0] == 0

    def test_pointer_follows_the_last_segment(self) -> None:
        queue = filled("allshortcuts", (10, 20, 0), (40, 50, 0))
        assert cost(queue, 20, 30, 0) == (0, 1)

    def test_delivered_segment_loses_its_pointer(self) -> None:
        queue = filled("allshortcuts", (10, 20, 0))
        assert queue.advance(10) == 20
        assert cost(queue, 30, 40, 0) == (0, 0)

    def test_miss_starts_at_the_nearest_pointer_beyond(self) -> None:
        segments = [(10, 20, 0), (60, 70, 0), *((n, n + 10, 1) for n in range(100, 140, 10))]
        assert cost(filled("allshortcuts", *segments), 30, 40, 2) == (0, 1)
        assert cost(filled("regular", *segments), 30, 40, 2) == (0, 5)

    def test_miss_without_pointer_beyond_starts_at_the_tail(self) -> None:
        queue = filled("allshortcuts", (10, 20, 0), (40, 50, 1))
        assert cost(queue, 45, 60, 2) == (0, 0)
        assert len(queue) == 3


class TestRuns:
    """A hit is a segment whose place is the hinted run or the space on either side of it."""

    def test_segment_at_the_end_of_the_hinted_run_hits(self) -> None:
        queue = filled("runs", (10, 20, 0), (50, 60, 1))
        assert cost(queue, 20, 30, 0) == (1, 0)
        assert cost(queue, 60, 70, 1) == (1, 0)
        assert len(queue) == 2

    def test_segment_in_the_space_behind_hits(self) -> None:
        queue = filled("runs", (10, 20, 0), (50, 60, 1))
        assert cost(queue, 30, 40, 0) == (1, 0)

    def test_two_subflows_share_a_run(self) -> None:
        queue = filled("runs", (10, 20, 0))
        queue.insert(20, 30, 1)
        assert cost(queue, 30, 40, 0) == (1, 0)
        assert cost(queue, 40, 50, 1) == (1, 0)

    def test_hint_follows_its_run_when_others_come_and_go(self) -> None:
        queue = filled("runs", *((n, n + 10, n // 100) for n in range(100, 3200, 100)))
        queue.insert(50, 60, 0)
        queue.insert(1105, 1295, 11)
        assert cost(queue, 210, 220, 2) == (1, 0)
        assert cost(queue, 2510, 2520, 25) == (1, 0)
        assert cost(queue, 1295, 1299, 12) == (1, 0)
        queue.insert(2605, 2795, 26)
        assert cost(queue, 310, 320, 3) == (1, 0)
        assert cost(queue, 2795, 2799, 27) == (1, 0)
        assert cost(queue, 3110, 3120, 31) == (1, 0)

    def test_first_segment_of_a_subflow_beyond_the_tail_costs_one_step(self) -> None:
        queue = filled("runs", *((n, n + 5, 0) for n in range(0, 1000, 10)))
        assert cost(queue, 2000, 2010, 1) == (0, 1)

    def test_search_grows_with_the_logarithm_of_the_distance(self) -> None:
        queue = filled("runs", *((n, n + 5, 0) for n in range(0, 20_000, 10)))
        hits, steps = cost(queue, 5, 7, 0)
        assert hits == 0
        assert steps < 30
        hits, steps = cost(queue, 19_985, 19_987, 0)
        assert hits == 0
        assert steps < 30
