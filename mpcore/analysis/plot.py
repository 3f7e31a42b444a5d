"""Data sequence by time, coloured by subflow; needs matplotlib, which the extra `plot` brings."""

from importlib import import_module
from pathlib import Path
from typing import Any

from mpcore.analysis.document import format_address
from mpcore.analysis.model import MISSED, Connection, Direction
from mpcore.errors import HostError, MpcoreError

NS_PER_S = 1e9
BYTES_PER_MB = 1e6
WIDTH_INCHES, HEIGHT_INCHES = 9.0, 3.2


class PlotError(MpcoreError):
    """There is nothing to draw, or the file cannot be written."""


def plot_connection(connection: Connection, path: str | Path) -> None:
    """Draw a connection, a panel for each direction that has data; the file's suffix decides the format.

    Each line is a piece of data: when it was captured, and where in the stream it belongs. A piece that two
    subflows carried has two. Raises HostError without matplotlib, PlotError.
    """
    directions = [(number, one) for number, one in enumerate(connection.directions) if one.pieces]
    if not directions:
        raise PlotError(f"connection {connection.number} carried no mapped data: there is nothing to draw")
    figure = _figure(len(directions))
    panels = figure.subplots(len(directions), 1, squeeze=False)[:, 0]
    for panel, (number, direction) in zip(panels, directions, strict=True):
        _draw(panel, connection, number, direction)
    try:
        figure.savefig(str(path))
    except (OSError, ValueError) as error:
        raise PlotError(f"{path} cannot be drawn: {error}") from error


def _figure(panels: int) -> Any:
    try:
        module = import_module("matplotlib.figure")
    except ImportError as error:
        raise HostError("plots need matplotlib: install it with pip install 'mpcore[plot]'") from error
    return module.Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES * panels), layout="constrained")


def _draw(panel: Any, connection: Connection, number: int, direction: Direction) -> None:
    subflows = sorted(set(direction.subflows) - {MISSED})
    for subflow in subflows:
        chosen = [at for at, one in enumerate(direction.subflows) if one == subflow]
        times = [(direction.times[at] - connection.time_ns) / NS_PER_S for at in chosen]
        starts = [direction.starts[at] / BYTES_PER_MB for at in chosen]
        ends = [direction.ends[at] / BYTES_PER_MB for at in chosen]
        panel.vlines(
            times, starts, ends, colors=f"C{subflow % 10}", linewidth=1.5, label=_label(connection, subflow)
        )
    panel.set_title(_title(connection, number), fontsize="medium")
    panel.set_xlabel("time, s")
    panel.set_ylabel("data sequence, MB")
    panel.legend(loc="upper left", fontsize="small")


def _label(connection: Connection, subflow: int) -> str:
    here, there = connection.subflows[subflow].ends
    return f"{subflow + 1}: {format_address(here)} – {format_address(there)}"


def _title(connection: Connection, number: int) -> str:
    ends = connection.ends
    if ends is None:
        return f"connection {connection.number}"
    return f"{format_address(ends[number])} → {format_address(ends[number ^ 1])}"
