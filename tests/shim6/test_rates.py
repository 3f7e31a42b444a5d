"""Rate limits in virtual time."""

from hypothesis import given
from hypothesis import strategies as st

from mpcore.shim6.rates import SECOND, RateLimit


def test_tokens_come_back_a_second_after_they_were_taken() -> None:
    limit = RateLimit(3)
    assert limit.take(0, 2)
    assert not limit.take(1, 2)
    assert limit.take(1)
    assert limit.next_ns(2) == SECOND
    assert limit.take(SECOND, 2)
    assert not limit.take(SECOND)
    assert limit.take(SECOND + 1)


def test_more_than_there_ever_are_cannot_be_taken() -> None:
    assert not RateLimit(2).take(0, 3)
    assert not RateLimit(0).take(0)


@given(st.integers(0, 5), st.lists(st.tuples(st.integers(0, SECOND), st.integers(1, 4)), max_size=30))
def test_no_second_has_more(most: int, wishes: list[tuple[int, int]]) -> None:
    limit, now_ns, taken = RateLimit(most), 0, []
    for gap_ns, tokens in wishes:
        now_ns += gap_ns
        if limit.take(now_ns, tokens):
            taken += [now_ns] * tokens
    assert all(later - earlier >= SECOND for earlier, later in zip(taken, taken[most:], strict=False))
