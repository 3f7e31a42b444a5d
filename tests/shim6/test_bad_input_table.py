"""docs/shim6-bad-input.md against the code: its counters, its tests, and whatever it leaves out."""

import ast
import re
from functools import cache

import pytest

from mpcore.counters import Counter
from mpcore.shim6.counters import Shim6Counter
from tests.helpers.sources import ROOT

PAGE = (ROOT / "docs" / "shim6-bad-input.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("|") and not line.startswith(("| ---", "| input", "| number"))
]
MEANINGS = {counter.mib: counter.meaning for counter in (*Shim6Counter, *Counter)}
CITATION = re.compile(r"^(?:own|(?:RFC \d{4} )?§\d[\d.]*(?:, (?:RFC \d{4} )?§\d[\d.]*)*)$")


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_each_line_has_a_test_that_exists(row: list[str]) -> None:
    path, name = row[-1].strip("`").split("::")
    assert name in names_in(path)


@pytest.mark.parametrize("row", [row for row in ROWS if len(row) == 5], ids=lambda row: row[0][:60])
def test_each_input_has_a_source_and_counters_that_exist(row: list[str]) -> None:
    assert CITATION.match(row[2]), row[2]
    assert row[3] == ", ".join(f"`{name}`" for name in re.findall(r"\w+", row[3]))
    assert set(re.findall(r"\w+", row[3])) <= set(MEANINGS)


def test_every_counter_of_what_is_refused_is_explained() -> None:
    refused = {
        name
        for name, meaning in MEANINGS.items()
        if name.startswith("Shim6Ext") and (re.match(r"dropped|ignored", meaning) or "Limit" in name)
    }
    explained = {name for row in ROWS if len(row) == 5 for name in re.findall(r"\w+", row[3])}
    assert refused - explained == set()


def test_all_traps_and_contradictions_are_there_in_order() -> None:
    numbers = [row[0] for row in ROWS if len(row) == 4]
    assert numbers == [str(number) for number in range(1, 46)] + [f"B{number}" for number in range(1, 26)]
