"""docs/bad-input.md against the code: counters, tests and rules exist, and no counter is left out."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from mpcore.counters import COUNTERS_BY_MIB, Counter
from tests.helpers.sources import ROOT

TABLE = ROOT / "docs/bad-input.md"
INPUT = ("input", "mapping", "stream")
RULE = re.compile(r"RFC \d{3,4} §\d[\d.]*(, §\d[\d.]*)*")
COUNTED = re.compile(r"^(?!.*cimport).*\bCOUNTER_(\w+)\b(?!,$)", re.MULTILINE)

# Counted where input is judged, and no sign of bad input.
ORDINARY = {
    Counter.DSS_CORRUPTION_RESET,  # beside DATA_CSUM_ERR
    Counter.DSS_FALLBACK,  # beside UNMAPPED_DATA
    Counter.FAIL_RX,
    Counter.FAIL_TX,
    Counter.FASTCLOSE_RX,
    Counter.INFINITE_MAP_RX,
    Counter.INFINITE_MAP_TX,
    Counter.OFO_MERGE,
    Counter.OFO_QUEUE,
    Counter.OFO_QUEUE_TAIL,
    Counter.RST_RX,
}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    rule: str
    answer: str
    counter: str
    test: str


def rows() -> list[Row]:
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
    return [Row(*each) for each in cells if each[0] not in ("input", "---")]


@cache
def functions(path: Path) -> dict[str, str]:
    """Return the source of each test of a file, its decorators included."""
    text = path.read_text()
    lines = text.splitlines()
    tests = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    first = {node: min([node.lineno, *(each.lineno for each in node.decorator_list)]) for node in tests}
    return {node.name: "\n".join(lines[first[node] - 1 : node.end_lineno]) for node in tests}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.what)
def test_each_row_has_a_rule_a_counter_and_a_test_that_looks_at_it(row: Row) -> None:
    assert RULE.fullmatch(row.rule), row.rule
    counter = COUNTERS_BY_MIB[row.counter]
    path, name = row.test.split("::")
    source = functions(ROOT / path)[name]
    assert f"Counter.{counter.name}" in source or counter.mib in source


def test_no_counter_of_bad_input_is_left_out() -> None:
    listed = {COUNTERS_BY_MIB[row.counter] for row in rows()}
    counted = {
        Counter[name]
        for module in INPUT
        for name in COUNTED.findall((ROOT / f"pyx/mptcp/{module}.pyx").read_text())
    }
    assert counted - listed == ORDINARY


def test_every_counter_is_moved_somewhere() -> None:
    """One that nothing moves promises to show what it does not."""
    files = [*ROOT.glob("pyx/**/*.pyx"), *ROOT.glob("mpcore/**/*.py"), *ROOT.glob("mpcore/**/*.pxd")]
    text = "\n".join(
        re.sub(r"cimport \([^)]*\)|cimport .*", "", path.read_text())
        for path in files
        if path.stem != "counters"
    )
    moved = set(re.findall(r"\b(?:COUNTER_|Counter\.)(\w+)", text))
    assert [counter.name for counter in Counter if counter.name not in moved] == []
