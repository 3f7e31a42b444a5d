"""The virtual clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.sim import clock as clock_module
from mpcore.sim.clock import Clock, SimulationError, Timer


@given(st.lists(st.integers(0, 20)))
def test_events_run_by_time_then_by_order_of_asking(times: list[int]) -> None:
    clock, ran = Clock(), []
    for index, time in enumerate(times):
        clock.call_at(time, lambda entry=(time, index): ran.append((clock.now_ns, entry)))
    clock.run()
    assert ran == [(time, (time, index)) for time, index in sorted((t, i) for i, t in enumerate(times))]


def test_an_event_for_the_past_runs_now() -> None:
    clock, ran = Clock(), []
    clock.call_at(10, lambda: clock.call_at(3, lambda: ran.append(clock.now_ns)))
    clock.run()
    assert ran == [10]


def test_run_stops_at_its_limit_and_leaves_later_events() -> None:
    clock, ran = Clock(), []
    clock.call_at(5, lambda: ran.append(5))
    clock.call_at(6, lambda: ran.append(6))
    assert not clock.run(until_ns=5)
    assert (clock.now_ns, ran, clock.next_time()) == (5, [5], 6)


def test_run_stops_when_asked() -> None:
    clock = Clock()
    for time in range(10):
        clock.call_at(time, lambda: None)
    assert clock.run(stop=lambda: clock.now_ns == 4)
    assert clock.now_ns == 4


def test_a_world_in_which_time_stands_still_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "MAX_EVENTS_PER_INSTANT", 100)
    clock = Clock()

    def again() -> None:
        clock.call_later(0, again)

    again()
    with pytest.raises(SimulationError, match="loop without delay"):
        clock.run()


@given(st.lists(st.one_of(st.none(), st.integers(1, 50)), min_size=1))
def test_a_timer_fires_once_at_its_last_deadline(deadlines: list[int | None]) -> None:
    clock, fired = Clock(), []
    timer = Timer(clock, lambda: fired.append(clock.now_ns))
    for deadline in deadlines:
        timer.set(deadline)
    clock.run()
    assert fired == ([] if deadlines[-1] is None else [deadlines[-1]])


def test_moving_a_timer_later_again_and_again_leaves_the_heap_small() -> None:
    clock = Clock()
    timer = Timer(clock, lambda: None)
    for deadline in range(1, 1000):
        timer.set(deadline)
    assert len(clock._heap) == 1


def test_a_timer_that_moves_earlier_fires_earlier_and_not_twice() -> None:
    clock, fired = Clock(), []
    timer = Timer(clock, lambda: fired.append(clock.now_ns))
    timer.set(100)
    timer.set(10)
    clock.run()
    assert fired == [10]
