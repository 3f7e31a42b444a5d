"""`mpcore monitor`: events as they happen."""

import json

import click

from mpcore.cli.main import ExitCode
from mpcore.cli.options import control_option, control_path, json_option


@click.command("monitor")
@json_option
@control_option
def monitor_command(as_json: bool, control: str | None) -> int:
    """Print events as they happen, one a line, until the daemon ends or SIGINT comes."""
    from mpcore.cli.render import format_event
    from mpcore.host.control_client import ControlClient

    with ControlClient(control_path(control)) as client:
        for method, params in client.subscribe():
            if method == "event":
                click.echo(json.dumps(params) if as_json else format_event(params))
            elif method == "lost":
                click.echo(f"mpcore: {params['count']} events lost: the output is read too slowly", err=True)
    click.echo("mpcore: the daemon has ended", err=True)
    return ExitCode.ABSENT
