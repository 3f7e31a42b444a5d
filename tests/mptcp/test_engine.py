"""The engine's bookkeeping: handles, lists, events, limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mpcore.actions import Direction, OpenConnection, Role, VerdictKind
from mpcore.counters import Counter
from mpcore.engine import Engine
from mpcore.errors import CapacityError
from mpcore.wire.values import Segment, TcpFlag, emit_segment
from tests.helpers.plane import LIMITS, LOCAL, REMOTE, SECOND, Plane

CLOSED = 6
EFFECT = OpenConnection(
    role=Role.SERVER, version=4, local=LOCAL, remote=REMOTE, local_port=80, remote_port=1000, key_local=1,
    key_remote=2, isn_local=0, isn_remote=0, mss_local=1460, mss_remote=1460, wscale_local=7, wscale_remote=7,
    sack=True, timestamps=False, ts_local=0, ts_remote=0, window=65535, checksum=False, peer_no_join=False,
)  # fmt: skip


def open_one(engine: Engine, **changes: Any) -> int:
    return engine.open_connection(
        replace(EFFECT, **changes),
        idsn_local=1,
        idsn_remote=2,
        scheduler="lowest-rtt",
        congestion="lia",
        now_ns=SECOND,
    )


def host_syn(port: int) -> bytes:
    return emit_segment(Segment(4, LOCAL, REMOTE, 80, port, 1, 0, TcpFlag.SYN, 1000, (), b""))


def test_a_handle_is_used_again_only_after_its_end_was_told() -> None:
    """Otherwise the end of the old connection would be taken for the end of the new one."""
    engine = Engine(**LIMITS)
    first = open_one(engine)
    assert engine.process(Direction.FROM_HOST, host_syn(1000), SECOND) == VerdictKind.PUNT
    assert open_one(engine) != first
    ended = [event[1] for event in engine.poll_events() if event[0] == CLOSED]
    assert ended == [first]
    assert first in {open_one(engine, remote_port=port) for port in range(1001, 1004)}


def test_the_limit_of_connections() -> None:
    engine = Engine(**LIMITS)
    for port in range(4):
        open_one(engine, remote_port=port)
    with pytest.raises(CapacityError, match="max_connections"):
        open_one(engine, remote_port=5)
    assert engine.counters()[Counter.TABLE_FULL] == 1
    assert len(engine) == 4


def test_a_connection_that_cannot_have_its_subflow_leaves_nothing() -> None:
    engine = Engine(**LIMITS)
    for number in range(200):
        try:
            engine.port(bytes([10, 1, 0, number]))
        except CapacityError:
            break
    with pytest.raises(CapacityError, match="local addresses"):
        open_one(engine)
    assert len(engine) == 0
    assert engine.process(Direction.FROM_HOST, host_syn(1000), SECOND) == VerdictKind.PUNT


def test_many_ends_without_a_flush_between() -> None:
    """Under constant load nothing is ever flushed; the list of those that owe ACKs has no id twice."""
    engine = Engine(**LIMITS)
    for turn in range(100):
        handle = open_one(engine)
        engine.run_pump(SECOND)
        engine.abort(handle, SECOND)
        engine.run_pump(SECOND)
        engine.poll_transmit()
        assert [event[1] for event in engine.poll_events() if event[0] == CLOSED] == [handle], turn
    engine.run_flush(SECOND)
    assert len(engine) == 0


def test_events_are_not_lost_when_many_connections_end_at_once() -> None:
    engine = Engine(**{**LIMITS, "max_connections": 9000, "max_subflows": 9000})
    handles = [open_one(engine, remote_port=port + 1) for port in range(9000)]
    for handle in handles:
        engine.abort(handle, SECOND)
    ended: list[int] = []
    for _ in range(10):
        engine.run_pump(SECOND)
        engine.poll_transmit()
        ended += [event[1] for event in engine.poll_events() if event[0] == CLOSED]
    assert sorted(ended) == sorted(handles)
    assert len(engine) == 0


def test_a_syn_of_the_host_on_a_known_flow_begins_anew() -> None:
    plane = Plane()
    output = plane.host(flags=TcpFlag.SYN)
    assert output.verdict is VerdictKind.PUNT
    assert plane.gone
