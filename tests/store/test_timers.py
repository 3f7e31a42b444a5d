"""The timer heap against a dictionary sorted by deadline."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcore.store.timers import TimerHeap


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.integers(0, 40), st.integers(-1, 60)),
            st.tuples(st.just("pop"), st.just(0), st.integers(0, 60)),
        ),
        max_size=120,
    )
)
def test_heap_agrees_with_a_sorted_model(steps: list[tuple[str, int, int]]) -> None:
    heap = TimerHeap(1)
    model: dict[int, int] = {}
    for kind, timer, when in steps:
        if kind == "set":
            heap.set(timer, when)
            if when < 0:
                model.pop(timer, None)
            else:
                model[timer] = when
        else:
            popped = heap.pop(when)
            if popped is None:
                assert not model or min(model.values()) > when
            else:
                assert model[popped] <= when
                assert model.pop(popped) <= min(model.values(), default=when)
        assert len(heap) == len(model)
        assert heap.next() == min(model.values(), default=None)


def test_popping_everything_sorts() -> None:
    heap = TimerHeap()
    deadlines = [(i * 7919) % 1009 for i in range(500)]
    for timer, when in enumerate(deadlines):
        heap.set(timer, when)
    popped = []
    while (due := heap.pop(2000)) is not None:
        popped.append(deadlines[due])
    assert popped == sorted(deadlines)


def test_disarming_what_is_not_armed_changes_nothing() -> None:
    heap = TimerHeap(4)
    heap.set(3, -1)
    heap.set(4000000, -1)
    assert (len(heap), heap.next(), heap.pop(10)) == (0, None, None)


def test_id_that_cannot_be_given_room_is_refused() -> None:
    heap = TimerHeap(4)
    heap.set(1, 5)
    with pytest.raises(MemoryError):
        heap.set(2**32 - 1, 1)
    assert heap.pop(5) == 1
