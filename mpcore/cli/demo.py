"""`mpcore demo`: the main jobs in a laboratory, measured."""

import json
import sys
from typing import TYPE_CHECKING

import click

from mpcore.cli.lab import lab_errors

if TYPE_CHECKING:
    from mpcore.lab.demo import DemoResult
    from mpcore.lab.shim6_demo import Shim6Result


@click.command("demo")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
@click.option(
    "--shim6",
    is_flag=True,
    help="Show Shim6 instead: a download, a UDP stream and a ping whose path is cut, without it and with it.",
)
@click.option(
    "--seconds",
    default=5,
    show_default=True,
    type=click.IntRange(1, 600),
    help="Length of an iperf3 run, or of Shim6's download.",
)
@click.option(
    "--rate", default=1000.0, show_default=True, type=click.FloatRange(1), help="Mbit/s of each link."
)
@click.option(
    "--send-timeout",
    default=2.0,
    show_default=True,
    type=click.FloatRange(1, 600),
    help="With --shim6: seconds without an answer before other addresses are tried; mpcore run has 15.",
)
def demo_command(as_json: bool, shim6: bool, seconds: int, rate: float, send_timeout: float) -> None:
    """Build a laboratory, measure TCP, the kernel's MPTCP and mpcore side by side, take it down.

    With --shim6: two hosts with two IPv6 prefixes each, and the path in use falls silent.

    Needs root. Ends with status 1 when a byte arrived differently, or a session did not survive with Shim6.
    """
    with lab_errors():
        if shim6:
            from mpcore.lab.shim6_demo import run_shim6_demo

            shown = run_shim6_demo(seconds=seconds, rate_mbit=rate, send_timeout_s=send_timeout, say=_say)
            _finish(shown, as_json, None if shown.survived else "a session did not survive with Shim6")
        else:
            from mpcore.lab.demo import run_demo

            result = run_demo(seconds=seconds, rate_mbit=rate, say=_say)
            _finish(result, as_json, None if result.intact else "bytes were lost or changed")


def _say(text: str) -> None:
    click.echo(text, err=True)


def _finish(result: "DemoResult | Shim6Result", as_json: bool, complaint: str | None) -> None:
    click.echo(json.dumps(result.to_dict()) if as_json else result.to_table())
    if complaint is not None:
        click.echo(complaint, err=True)
        sys.exit(1)
