"""Print the results of a run as tables with ratios: `python -m bench.report RESULTS.json [PICTURE.svg]`.

RESULTS.json is what pytest-benchmark writes with --benchmark-json. A ratio is the time of a peer divided by
mpcore's in the same group, so above 1 mpcore is faster. The picture needs matplotlib and is left out without.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRID = "reordering, "  # groups that are shown as one table of algorithms over subflows


@dataclass(frozen=True)
class Row:
    """One benchmark: its group, the peer's name, and times of the fastest round for each packet."""

    group: str
    name: str
    ns: float
    gb_per_s: float | None
    info: dict[str, Any]


def rows_of(document: dict[str, Any]) -> list[Row]:
    """Return the rows of a run, in its order."""
    rows = []
    for result in document["benchmarks"]:
        info = result["extra_info"]
        name = result["params"] or {}
        shown = name.get("peer") or name.get("algorithm") or ""
        extra = [key for key in ("options",) if name.get(key)]
        label = " ".join([shown or "mpcore", *(f"with {key}" for key in extra)])
        rows.append(Row(result["group"], label, info["ns_per_packet"], info.get("GB_per_s"), info))
    return rows


def table(head: list[str], body: Iterable[list[str]]) -> str:
    """Return aligned columns, the first to the left, the others to the right."""
    lines = [head, *body]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def group_table(group: str, rows: list[Row]) -> str:
    """Return the peers of a group, mpcore first, with the ratio to it."""
    ours = next((row.ns for row in rows if row.name.startswith("mpcore")), None)
    body = [
        [
            f"  {row.name}",
            f"{row.ns:,.1f}",
            f"{1e9 / row.ns:,.0f}",
            "" if row.gb_per_s is None else f"{row.gb_per_s:.2f}",
            "" if ours is None else f"{row.ns / ours:.2f}",
        ]
        for row in rows
    ]
    return table([group, "ns/packet", "packets/s", "GB/s", "ratio"], body)


def grid_tables(rows: list[Row]) -> str:
    """Return, for each burst size, algorithms over subflows: ns a segment, and ns an early segment."""
    found: dict[str, dict[str, dict[int, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        subflows, burst = row.group.removeprefix(GRID).removesuffix(", batch").split(" subflows, bursts of ")
        found[burst][row.name][int(subflows)] = row
    parts = []
    for burst, algorithms in found.items():
        counts = sorted(next(iter(algorithms.values())))
        for key, title in (("ns_per_packet", "segment"), ("ns_per_early_segment", "early segment")):
            body = []
            for name, line in algorithms.items():
                values = [line[count].info[key] for count in counts]
                known = [value for value in values if value is not None]
                growth = f"{known[-1] / known[0]:.2f}" if known else ""
                body.append(
                    [f"  {name}", *("" if value is None else f"{value:.1f}" for value in values), growth]
                )
            head = [f"reordering, ns per {title}, bursts of {burst}; subflows:", *map(str, counts), "growth"]
            parts.append(table(head, body))
    return "\n\n".join(parts)


def hit_table(rows: list[Row]) -> str:
    """Return hit rates over burst sizes, worst and best over the numbers of subflows; the thesis has 80 %."""
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        burst = int(row.group.removesuffix(", batch").rsplit(" ", 1)[1])
        found[row.name][burst].append(100 * row.info["hit_rate"])
    bursts = sorted({burst for line in found.values() for burst in line})
    body = [
        [f"  {name}", *(f"{min(line[burst]):.0f}-{max(line[burst]):.0f}" for burst in bursts)]
        for name, line in found.items()
    ]
    head = ["hits, % of early segments (thesis, 2 x 1 Gbit/s: 80); bursts of", *map(str, bursts)]
    return table(head, body)


def is_grid(row: Row) -> bool:
    """Tell whether a row belongs to the tables of algorithms."""
    return row.group.startswith(GRID) and "bursts of" in row.group


def draw(rows: list[Row], path: Path) -> bool:
    """Draw bars from 1 ns on, logarithmic, a panel for each group; False without matplotlib."""
    try:
        from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return False
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if not is_grid(row):
            groups[row.group].append(row)
    panels = {group: each for group, each in groups.items() if len(each) > 1}
    bars = sum(map(len, panels.values()))
    figure = Figure(figsize=(10, 0.3 * bars + 0.7 * len(panels)), layout="constrained")
    heights = [len(each) + 1 for each in panels.values()]
    columns = figure.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for axes, (group, each) in zip(columns, panels.items(), strict=True):
        colours = ["tab:blue" if row.name.startswith("mpcore") else "tab:grey" for row in each]
        drawn = axes.barh([row.name for row in each], [row.ns for row in each], color=colours)
        axes.bar_label(drawn, [f"{row.ns:,.0f} ns" for row in each], padding=3, fontsize=8)
        axes.set_xscale("log")
        axes.set_xlim(left=1)
        axes.invert_yaxis()
        axes.set_title(group, fontsize=9, loc="left")
        axes.tick_params(labelsize=8, labelbottom=True)
    figure.savefig(path)
    return True


def main(arguments: list[str]) -> int:
    """Print the tables; draw the picture where a name for it is given."""
    if not 1 <= len(arguments) <= 2:
        print("usage: python -m bench.report RESULTS.json [PICTURE.svg]", file=sys.stderr)
        return 2
    rows = rows_of(json.loads(Path(arguments[0]).read_text()))
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if not is_grid(row):
            groups[row.group].append(row)
    print("\n\n".join(group_table(group, each) for group, each in groups.items()))
    grid = [row for row in rows if is_grid(row)]
    if grid:
        print(f"\n{grid_tables(grid)}\n\n{hit_table(grid)}")
    if len(arguments) == 2 and not draw(rows, Path(arguments[1])):
        print("\nno picture: matplotlib is not installed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
