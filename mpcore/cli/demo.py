"""`mpcore demo`: the main job in a laboratory, measured."""

import json
import sys

import click

from mpcore.cli.lab import lab_errors


@click.command("demo")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
@click.option(
    "--seconds", default=5, show_default=True, type=click.IntRange(1, 600), help="Length of an iperf3 run."
)
@click.option(
    "--rate", default=1000.0, show_default=True, type=click.FloatRange(1), help="Mbit/s of each link."
)
def demo_command(as_json: bool, seconds: int, rate: float) -> None:
    """Build a laboratory, measure TCP, the kernel's MPTCP and mpcore side by side, take it down.

    Needs root. Ends with status 1 when a byte arrived differently.
    """
    from mpcore.lab.demo import run_demo

    with lab_errors():
        result = run_demo(seconds=seconds, rate_mbit=rate, say=lambda text: click.echo(text, err=True))
    click.echo(json.dumps(result.to_dict()) if as_json else result.to_table())
    if not result.intact:
        click.echo("bytes were lost or changed", err=True)
        sys.exit(1)
