"""Schedulers in Python: what they are told, that their choice holds, and that their faults do no harm."""

from __future__ import annotations

import signal
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from mpcore.config import Config, load_config
from mpcore.endpoint import Endpoint
from mpcore.policy.scheduler import Scheduler, SubflowState
from mpcore.sim import LinkPlan, LinkSettings, TransferResult, run_transfer
from tests.helpers.pair import MS, SECOND

FAULT = "MpcoreExtSchedulerFault"
SIZE = 1_000_000
LINK = LinkPlan(settings=LinkSettings(rate_bps=20_000_000, delay_ns=5 * MS))


class Custom(Scheduler):
    """Answers as `answer` does, and keeps what it was asked."""

    def __init__(self, answer: Callable[[tuple[SubflowState, ...]], Any]) -> None:
        self.answer = answer
        self.asked: list[tuple[SubflowState, ...]] = []

    def choose(self, subflows: tuple[SubflowState, ...]) -> int:
        self.asked.append(subflows)
        return self.answer(subflows)  # type: ignore[no-any-return]


def transfer(scheduler: Scheduler, config: Config | None = None) -> tuple[TransferResult, dict[str, int]]:
    """Send SIZE octets over two links by `scheduler`; return the result and the sender's counters."""
    made: list[Endpoint] = []

    def client(rng: Random, now_ns: int) -> Endpoint:
        made.append(Endpoint(config or Config(), rng=rng, now_ns=now_ns, scheduler=scheduler))
        return made[0]

    result = run_transfer(
        (LINK, LINK),
        up_bytes=SIZE,
        client_endpoint=client,
        server_endpoint=lambda rng, now_ns: Endpoint(Config(), rng=rng, now_ns=now_ns),
        limit_ns=60 * SECOND,
    )
    return result, made[0].counters()


def carried(result: TransferResult) -> list[int]:
    return [result.links[f"link{index}>"].delivered_bytes for index in (0, 1)]


def newest(subflows: tuple[SubflowState, ...]) -> int:
    return max(range(len(subflows)), key=lambda position: subflows[position].path_index)


def broken(subflows: tuple[SubflowState, ...]) -> int:
    raise RuntimeError("no idea")


def test_its_choice_holds() -> None:
    """Waiting for a full subflow leaves the other one idle, once the second one is there."""
    result, counters = transfer(Custom(newest))
    assert result.ok
    first, second = carried(result)
    assert second > 0.8 * SIZE > 4 * first
    assert counters[FAULT] == 0


def test_the_default_takes_any_with_room() -> None:
    result, counters = transfer(Scheduler())
    assert result.ok
    assert min(carried(result)) > 0.2 * SIZE
    assert counters[FAULT] == 0


def test_what_it_is_told() -> None:
    scheduler = Custom(newest)
    result, _ = transfer(scheduler)
    assert result.ok
    assert all(any(subflow.has_room for subflow in asked) for asked in scheduler.asked)
    subflows = next(asked for asked in reversed(scheduler.asked) if len(asked) == 4)  # each with each
    assert [subflow.path_index for subflow in subflows] == [0, 1, 2, 3]
    assert len({(subflow.local, subflow.remote) for subflow in subflows}) == 4
    used = subflows[3]
    assert len(used.local) == len(used.remote) == 4
    assert 10 * MS <= used.min_rtt_ns <= used.srtt_ns < SECOND
    assert 500 < used.mss < 1500 < used.cwnd
    assert not used.backup
    assert max(asked[-1].inflight for asked in scheduler.asked) > used.mss


def test_backups_are_offered_only_when_nothing_else_is_left() -> None:
    """RFC 8684 §3.3.8."""
    scheduler = Custom(lambda subflows: 0)
    result, _ = transfer(scheduler, load_config(None, ["mptcp.path_manager=backup"]))
    assert result.ok
    assert {subflow.path_index for asked in scheduler.asked for subflow in asked} == {0}


@pytest.mark.parametrize(
    "answer",
    [broken, lambda subflows: -1, len, lambda subflows: None, lambda subflows: 1 << 80],
    ids=["raises", "negative", "beyond", "none", "huge"],
)
def test_faults_are_counted_and_do_no_harm(answer: Callable[[tuple[SubflowState, ...]], Any]) -> None:
    scheduler = Custom(answer)
    result, counters = transfer(scheduler)
    assert result.ok
    assert min(carried(result)) > 0.2 * SIZE
    assert counters[FAULT] == len(scheduler.asked) > 0


def test_an_interrupt_is_not_swallowed() -> None:
    interrupts = iter([KeyboardInterrupt])
    # a shell starts what runs in the background with interrupts ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupted(subflows: tuple[SubflowState, ...]) -> int:
        for interrupt in interrupts:
            raise interrupt
        return 0

    try:
        with pytest.raises(KeyboardInterrupt):
            transfer(Custom(interrupted))
    finally:
        signal.signal(signal.SIGINT, before)


def test_it_can_be_taken_back() -> None:
    scheduler = Custom(broken)
    endpoint = Endpoint(Config(), rng=Random(1), now_ns=0, scheduler=scheduler)
    endpoint.engine.use_scheduler(None)
    result = run_transfer(
        (LINK, LINK), up_bytes=SIZE, client_endpoint=lambda rng, now_ns: endpoint, limit_ns=60 * SECOND
    )
    assert result.ok
    assert scheduler.asked == []
