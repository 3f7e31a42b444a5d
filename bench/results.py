"""The results of a run, as pytest-benchmark writes them with --benchmark-json."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One benchmark: its group, who it measured, the fastest round's time for each packet, and all else."""

    group: str
    name: str
    ns: float
    gb_per_s: float | None
    info: dict[str, Any]

    @property
    def per_s(self) -> float:
        """How many a second."""
        return 1e9 / self.ns

    @property
    def ours(self) -> bool:
        """Whether it measured mpcore."""
        return self.name.startswith("mpcore")


def row_of(result: dict[str, Any]) -> Row:
    """Return one element of the document's list."""
    params, info = result["params"] or {}, result["extra_info"]
    name = params.get("peer") or params.get("algorithm") or "mpcore"
    if params.get("options"):
        name += " with options"
    return Row(
        result["group"],
        info.get("name", name),
        info["ns_per_packet"],
        info.get("GB_per_s"),
        {**params, **info},
    )


class Results:
    """All rows of a run in its order; those of the grid of algorithms apart from the groups."""

    def __init__(self, rows: list[Row]) -> None:
        self.grid = [row for row in rows if "algorithm" in row.info]
        self.groups: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            if "algorithm" not in row.info:
                self.groups[row.group].append(row)

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Read a file."""
        return cls([row_of(result) for result in json.loads(path.read_text())["benchmarks"]])

    def row(self, group: str, name: str) -> Row | None:
        """Return a row of a group; None when it was not measured."""
        return next((row for row in self.groups.get(group, ()) if row.name == name), None)

    def ours(self, group: str) -> Row | None:
        """Return mpcore's first row of a group, to which ratios are made."""
        return next((row for row in self.groups.get(group, ()) if row.ours), None)

    def line(self, algorithm: str, burst: int, early: float | None) -> dict[int, Row]:
        """Return an algorithm's rows of one model by the number of subflows."""
        return {
            row.info["subflows"]: row
            for row in self.grid
            if (row.name, row.info["burst"], row.info["early"]) == (algorithm, burst, early)
        }

    @property
    def models(self) -> list[tuple[int, float | None]]:
        """The models of the grid, each a burst size and the share of early segments that it holds."""
        return list(dict.fromkeys((row.info["burst"], row.info["early"]) for row in self.grid))

    @property
    def algorithms(self) -> list[str]:
        """The algorithms of the grid."""
        return list(dict.fromkeys(row.name for row in self.grid))
