"""The results of a run as one picture: how much longer peers take, and what reordering costs."""

from pathlib import Path
from typing import Any

from bench.results import Results

MARKERS = "osD^vP*Xh<>pd8"
PIECE_INCHES, PANEL_INCHES = 0.3, 2.2


def draw(results: Results, path: Path) -> bool:
    """Draw into a file whose name gives the format; False without matplotlib."""
    try:
        from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return False
    pieces = [group for group, rows in results.groups.items() if any(not row.ours for row in rows)]
    panels = len(results.models)
    height = max(1.5 + PIECE_INCHES * len(pieces), PANEL_INCHES * panels)
    figure = Figure(figsize=(13, height), layout="constrained")
    if panels and pieces:
        left, right = figure.subfigures(1, 2, width_ratios=(1.6, 1))
    else:
        left = right = figure
    if pieces:
        draw_ratios(results, pieces, left.subplots())
        left.legend(fontsize=8, loc="outside lower center", ncols=5)
    if panels:
        draw_reordering(results, right.subplots(panels, 1, squeeze=False)[:, 0])
    figure.savefig(path)
    return True


def draw_ratios(results: Results, pieces: list[str], axes: Any) -> None:
    """Draw a line for each piece, a mark for each peer: to the right of 1 mpcore is faster."""
    found: dict[str, list[tuple[float, int]]] = {}
    for place, group in enumerate(pieces):
        ours = results.ours(group)
        for row in results.groups[group]:
            if ours is not None and not row.ours:
                found.setdefault(row.name, []).append((row.ns / ours.ns, place))
    axes.axvline(1, color="black")
    for at, (name, points) in enumerate(found.items()):
        axes.scatter(*zip(*points, strict=True), label=name, marker=MARKERS[at % len(MARKERS)], zorder=2)
    axes.set_xscale("log")
    axes.set_yticks(range(len(pieces)), pieces, fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="both", alpha=0.3)
    axes.set_xlabel("time of a peer, in times of mpcore's (1: the black line)")
    axes.set_title("mpcore beside its peers")


def draw_reordering(results: Results, panels: Any) -> None:
    """Draw what a segment costs over the number of subflows, a panel for each model of arrivals."""
    most = max(row.ns for row in results.grid)
    for axes, (burst, early) in zip(panels, results.models, strict=True):
        for algorithm in results.algorithms:
            line = results.line(algorithm, burst, early)
            axes.plot(sorted(line), [line[count].ns for count in sorted(line)], marker=".", label=algorithm)
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts := sorted(line), map(str, counts))
        axes.set_yscale("log")
        axes.set_ylim(1, 2 * most)
        axes.grid(alpha=0.3)
        disorder = "" if early is None else f", {early:.0%} early"
        axes.set_title(f"reordering, bursts of {burst}{disorder}", fontsize=10)
        axes.set_ylabel("ns a segment", fontsize=8)
    panels[-1].set_xlabel("subflows")
    panels[0].legend(fontsize=8)
