"""Sets of ranges against sets of numbers."""

from hypothesis import given
from hypothesis import strategies as st

from mpcore.analysis.ranges import Ranges

SPANS = st.tuples(st.integers(-30, 30), st.integers(1, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(SPANS, max_size=30), SPANS)
def test_ranges_are_sets_of_numbers(spans: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    ranges, model = Ranges(), set[int]()
    for start, end in spans:
        numbers = set(range(start, end))
        assert ranges.overlap(start, end) == len(model & numbers)
        assert ranges.add(start, end) == len(model & numbers)
        model |= numbers
    assert ranges.total == len(model)
    assert {n for pair in zip(ranges.starts, ranges.ends, strict=True) for n in range(*pair)} == model
    assert all(end < start for end, start in zip(ranges.ends, ranges.starts[1:], strict=False))
    assert ranges.overlap(*asked) == len(model & set(range(*asked)))
    end = asked[0]
    while end in model:
        end += 1
    assert ranges.end_of(asked[0]) == end
