"""Print the results of a run as tables with ratios: `python -m bench.report RESULTS.json [PICTURE.svg]`.

RESULTS.json is what pytest-benchmark writes with --benchmark-json. A ratio is the time of a peer divided by
mpcore's in the same group, so above 1 mpcore is faster. The picture needs matplotlib and is left out without.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from bench import targets
from bench.picture import draw
from bench.results import Results, Row


def table(head: list[str], body: Iterable[list[str]], *, left: tuple[int, ...] = (0,)) -> str:
    """Return aligned columns, those numbered in `left` to the left, the others to the right."""
    lines = [head, *body]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def peers_table(results: Results) -> str:
    """Return one line a piece: mpcore's time for a packet, and how many times as long each peer takes."""
    body = []
    for group, rows in results.groups.items():
        ours = results.ours(group)
        if ours is None:
            continue
        others = sorted((row.ns / ours.ns, row.name) for row in rows if row is not ours)
        speed = "" if ours.gb_per_s is None else f"{ours.gb_per_s:.2f}"
        ratios = ", ".join(f"{name} {_ratio(ratio)}" for ratio, name in others)
        body.append([group, f"{ours.ns:,.1f}", speed, ratios])
    return table(["piece", "ns", "GB/s", "times as long as mpcore"], body, left=(0, 3))


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"


def grid_tables(results: Results) -> str:
    """Return, for each model of arrivals, algorithms over subflows: ns a segment, and ns an early segment."""
    parts = []
    for burst, early in results.models:
        for key, title in (("ns_per_packet", "segment"), ("ns_per_early_segment", "early segment")):
            if early is not None and key != "ns_per_packet":
                continue
            lines = {name: results.line(name, burst, early) for name in results.algorithms}
            counts = sorted(next(iter(lines.values())))
            body = [_grid_line(name, line, key) for name, line in lines.items()]
            disorder = "" if early is None else f", {early:.0%} early"
            head = f"reordering, ns per {title}, bursts of {burst}{disorder}; subflows:"
            parts.append(table([head, *map(str, counts), "growth"], body))
    return "\n\n".join(parts)


def _grid_line(name: str, line: dict[int, Row], key: str) -> list[str]:
    values = [line[count].info[key] for count in sorted(line)]
    growth = targets.growth(line, key)
    shown = ["" if value is None else f"{value:.1f}" for value in values]
    return [f"  {name}", *shown, "" if growth is None else f"{growth:.2f}"]


def hit_table(results: Results) -> str:
    """Return hit rates over burst sizes, worst and best over the numbers of subflows; the thesis has 80 %."""
    bursts = [burst for burst, early in results.models if early is None]
    body = []
    for name in results.algorithms:
        lines = [results.line(name, burst, None).values() for burst in bursts]
        rates = [
            [100 * row.info["hit_rate"] for row in line if row.info["hit_rate"] is not None] for line in lines
        ]
        body.append([f"  {name}", *(f"{min(each):.0f}-{max(each):.0f}" if each else "" for each in rates)])
    head = ["hits, % of early segments (thesis, 2 x 1 Gbit/s: 80); bursts of", *map(str, bursts)]
    return table(head, body)


def main(arguments: list[str]) -> int:
    """Print the tables; draw the picture where a name for it is given."""
    if not 1 <= len(arguments) <= 2:
        print("usage: python -m bench.report RESULTS.json [PICTURE.svg]", file=sys.stderr)
        return 2
    results = Results.read(Path(arguments[0]))
    parts = [peers_table(results)]
    if results.grid:
        parts = [grid_tables(results), hit_table(results), *parts]
    parts.append(table(["to reach", "measured", "limit", "met"], targets.lines(results)))
    print("\n\n".join(parts))
    if len(arguments) == 2:
        drawn = draw(results, Path(arguments[1]))
        print(f"\npicture: {arguments[1]}" if drawn else "\nno picture: matplotlib is not installed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
