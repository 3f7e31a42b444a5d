"""The flow table against a dictionary, through deletions and rebuilds."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcore.errors import CapacityError
from mpcore.store.table import FlowTable

Flow = tuple[bytes, int, bytes, int]


def flow(number: int, size: int = 4) -> Flow:
    return (bytes([10] * size), 80, number.to_bytes(size, "big"), 1000 + number % 60000)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=400),
)
def test_table_agrees_with_a_dictionary(seed: tuple[int, int], steps: list[tuple[bool, int]]) -> None:
    table = FlowTable(11, seed)
    model: dict[Flow, int] = {}
    for step, (insert, number) in enumerate(steps):
        key = flow(number, 4 if number % 2 else 16)
        if not insert:
            assert table.remove(*key) == (model.pop(key, None) is not None)
        elif key in model:
            with pytest.raises(KeyError):
                table.insert(*key, step)
        elif len(model) == 11:
            with pytest.raises(CapacityError):
                table.insert(*key, step)
        else:
            table.insert(*key, step)
            model[key] = step
        assert len(table) == len(model)
    for number in range(31):
        key = flow(number, 4 if number % 2 else 16)
        assert table.find(*key) == model.get(key)


def test_long_churn_at_the_limit_rebuilds_and_loses_nothing() -> None:
    rng = random.Random(1)
    limit = 1400  # 2048 slots, 68 % live
    table = FlowTable(limit, (rng.getrandbits(64), rng.getrandbits(64)))
    live = list(range(limit))
    for number in live:
        table.insert(*flow(number), number)
    most_deleted = 0
    for number in range(limit, limit + 20000):
        gone = rng.randrange(limit)
        assert table.remove(*flow(live[gone]))
        most_deleted = max(most_deleted, table.deleted)
        live[gone] = number
        table.insert(*flow(number), number)
    assert 0 < most_deleted <= 2048 * 7 // 8 - limit + 1
    assert all(table.find(*flow(number)) == number for number in live)
    for number in live:
        assert table.remove(*flow(number))
    assert len(table) == 0
    assert table.find(*flow(live[0])) is None


def test_ports_addresses_and_family_all_tell_flows_apart() -> None:
    table = FlowTable(10)
    keys: list[Flow] = [
        (b"\x0a\0\0\1", 1, b"\x0a\0\0\2", 2),
        (b"\x0a\0\0\1", 2, b"\x0a\0\0\2", 1),
        (b"\x0a\0\0\2", 1, b"\x0a\0\0\1", 2),
        (b"\x0a\0\0\1", 1, b"\x0a\0\0\2", 3),
        (b"\x0a\0\0\1" + bytes(12), 1, b"\x0a\0\0\2" + bytes(12), 2),
    ]
    for value, key in enumerate(keys):
        table.insert(*key, value)
    assert [table.find(*key) for key in keys] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("local", "remote"), [(b"", b""), (bytes(4), bytes(16)), (bytes(5), bytes(5))])
def test_addresses_of_other_lengths_are_refused(local: bytes, remote: bytes) -> None:
    with pytest.raises(ValueError, match="4 or 16 bytes"):
        FlowTable(1).insert(local, 1, remote, 2, 3)


def test_limit_zero_holds_nothing_and_huge_limit_is_refused() -> None:
    table = FlowTable(0)
    with pytest.raises(CapacityError):
        table.insert(*flow(1), 1)
    with pytest.raises(MemoryError):
        FlowTable(2**31)
