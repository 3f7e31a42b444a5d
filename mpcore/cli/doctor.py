"""`mpcore doctor`: what this host has and lacks for mpcore."""

import json
from dataclasses import asdict

import click

from mpcore.cli.main import ExitCode
from mpcore.cli.options import json_option


@click.command("doctor")
@json_option
def doctor_command(as_json: bool) -> int:
    """Print what this host has and lacks. Ends with 5 when a needed feature is missing."""
    from mpcore.cli.render import format_table
    from mpcore.host.doctor import diagnose

    findings = diagnose()
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        rows = [(_word(finding.ok, finding.needed), finding.name, finding.detail) for finding in findings]
        click.echo(format_table(rows))
    missing = any(finding.needed and not finding.ok for finding in findings)
    return ExitCode.UNSUPPORTED if missing else ExitCode.DONE


def _word(ok: bool, needed: bool) -> str:
    return "ok" if ok else "missing" if needed else "absent"
