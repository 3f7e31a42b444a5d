"""`mpcore inspect`: what a capture tells of MPTCP and Shim6."""

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from mpcore.cli.options import json_option

if TYPE_CHECKING:
    from mpcore.analysis import Inspection


def _print_lua(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    """Print the path of the dissector and end the program, as `--help` does."""
    if wanted:
        from importlib.resources import files

        click.echo(str(files("mpcore") / "analysis" / "shim6.lua"))
        context.exit()


@click.command("inspect")
@click.argument("file", type=click.Path(dir_okay=False))
@json_option
@click.option("--connection", "only", metavar="N", type=click.IntRange(1), help="Only this connection.")
@click.option(
    "--plot",
    metavar="IMAGE",
    type=click.Path(dir_okay=False, writable=True),
    help="Draw data sequence by time, coloured by subflow.",
)
@click.option(
    "--lua",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_lua,
    help="Print where the Shim6 dissector for Wireshark and tshark is, and exit.",
)
def inspect_command(file: str, as_json: bool, only: int | None, plot: str | None) -> int:
    """Explain the MPTCP connections and Shim6 contexts of a capture, pcap or pcapng.

    `--plot` draws the connection that `--connection` names, or the one with most data; the suffix of IMAGE
    decides the format. Where the file is damaged, what came before is printed, and the status is 1.
    """
    from mpcore.analysis import to_document

    inspection = _inspect(file)
    if only is not None and only > len(inspection.tracker.connections):
        raise _failure(f"{file} has no connection {only}; it has {len(inspection.tracker.connections)}")
    document = to_document(inspection, only)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        from mpcore.cli.inspect_text import format_inspection

        click.echo(format_inspection(document))
    if plot is not None:
        _plot(inspection, only, plot)
    if inspection.damage is not None:
        click.echo(f"mpcore: {inspection.damage}", err=True)
        return 1
    return 0


def _inspect(file: str) -> "Inspection":
    """Read the capture, with progress on a terminal; what cannot be opened is one sentence."""
    from mpcore.analysis import Capture, inspect

    try:
        with Capture(file) as capture:
            return inspect(capture, _progress())
    except OSError as error:
        raise _failure(f"{file} cannot be read: {error.strerror or error}") from error
    finally:
        _progress_end()


def _plot(inspection: "Inspection", only: int | None, path: str) -> None:
    from mpcore.analysis.plot import plot_connection

    connections = inspection.tracker.connections
    if not connections:
        raise _failure("there is no MPTCP connection to draw")
    most = max(connections, key=lambda one: sum(direction.data.total for direction in one.directions))
    plot_connection(most if only is None else connections[only - 1], path)


def _failure(message: str) -> Exception:
    from mpcore.analysis import CaptureError

    return CaptureError(message)


def _progress() -> Callable[[int, int], None] | None:
    """Return what shows progress on standard error; None where no one watches."""
    if not sys.stderr.isatty():
        return None

    def show(position: int, size: int) -> None:
        click.echo(f"\r{position / max(size, 1):4.0%} read", nl=False, err=True)

    return show


def _progress_end() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
