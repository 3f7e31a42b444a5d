"""`mpcore show`: what is going on, for people or as the status document."""

import json
from typing import Any

import click

from mpcore.cli.options import control_option, control_path, json_option

SECTIONS = ("connections", "contexts", "paths", "counters")


@click.command("show")
@click.argument("what", type=click.Choice(SECTIONS), required=False)
@json_option
@control_option
def show_command(what: str | None, as_json: bool, control: str | None) -> None:
    """Print connections, contexts and paths, or only WHAT."""
    from mpcore.host.control_client import ControlClient

    with ControlClient(control_path(control)) as client:
        document = client.call("show") if what is None else client.call("show", what=what)
    click.echo(json.dumps(document, indent=2) if as_json else _text(what, document))


def _text(what: str | None, document: dict[str, Any]) -> str:
    from mpcore.cli import render

    if what == "counters":
        return render.format_counters(document["counters"])
    formats = {
        "connections": render.format_connection,
        "contexts": render.format_context,
        "paths": render.format_path,
    }
    wanted = formats if what is None else [what]
    blocks = [formats[section](entry) for section in wanted for entry in document.get(section, [])]
    return "\n\n".join(blocks) or f"no {what or 'connections'}"
