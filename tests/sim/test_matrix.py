"""Transfers over every kind of link, against a table of what they reached before and against theory.

`make snapshots` writes the table anew when a change of behaviour is meant. All cells together take minutes:
they run only when pytest is given --full; `make snapshots ARGS=--full` writes their table too.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.snapshots import Snapshot
from tests.sim.matrix import (
    Cell,
    covering_cells,
    data_flow,
    every_cell,
    expected_bps,
    limit_bps,
    meetings,
    row,
    run_cell,
    table,
)

SNAPSHOTS = Path(__file__).parent / "snapshots"
SHARE_FLOOR = 0.6  # of the goodput that theory expects


def rows_of(cells: list[Cell]) -> list[str]:
    """Run the cells; each byte must have arrived, and at a pace that theory finds sane."""
    rows, poor = [], []
    for cell in cells:
        result = run_cell(cell)
        assert result.ok, (cell, result.errors)
        rows.append(row(cell, result))
        if data_flow(cell, result).goodput_bps < SHARE_FLOOR * expected_bps(cell):
            poor.append(rows[-1])
    assert not poor, "\n" + table(poor)
    return rows


def test_any_three_conditions_together(snapshot: Snapshot) -> None:
    snapshot(SNAPSHOTS / "matrix.txt", table(rows_of(covering_cells())))


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_all_conditions(snapshot: Snapshot) -> None:
    snapshot(SNAPSHOTS / "matrix-full.txt", table(rows_of(list(every_cell()))))


def test_few_cells_hold_what_all_hold() -> None:
    cells = covering_cells()
    assert len(cells) < 100
    assert {meeting for cell in cells for meeting in meetings(cell)} == {
        meeting for cell in every_cell() for meeting in meetings(cell)
    }


@pytest.mark.parametrize(
    ("cell", "mbit"),
    [
        (Cell(10, 20, 0.0, 0.0, 0.0, 4096, 1, "client"), 10 * 1420 / 1500),
        (Cell(10, 20, 0.0, 0.0, 0.0, 4096, 2, "client"), 20 * 1420 / 1500),
        (Cell(1000, 100, 0.0, 0.0, 0.0, 256, 1, "client"), 256 * 1024 * 8 / 0.1 / 1e6),
        (Cell(100, 20, 0.01, 0.0, 0.0, 4096, 1, "client"), 1420 * 8 / 0.02 * 150**0.5 / 1e6),
    ],
    ids=["rate", "rates", "window", "loss"],
)
def test_the_scarcest_thing_is_the_limit(cell: Cell, mbit: float) -> None:
    assert limit_bps(cell) == pytest.approx(mbit * 1e6)
    assert 0.5 * limit_bps(cell) < expected_bps(cell) < limit_bps(cell)
