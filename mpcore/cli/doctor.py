"""`mpcore doctor`: what this host has and lacks for mpcore."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mpcore.cli.main import ExitCode
from mpcore.cli.options import config_options, json_option, read_config

if TYPE_CHECKING:
    from mpcore.host.doctor import Finding


@click.command("doctor")
@json_option
@config_options
def doctor_command(as_json: bool, config: str | None, overrides: tuple[str, ...]) -> int:
    """Print what this host has and lacks. Ends with 5 when something needed is missing."""
    from mpcore.cli.render import format_table
    from mpcore.host.doctor import diagnose

    findings = diagnose(read_config(config, overrides))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        click.echo(format_table(_rows(findings)))
    missing = any(_word(finding) == "missing" for finding in findings)
    return ExitCode.UNSUPPORTED if missing else ExitCode.DONE


def _rows(findings: "Sequence[Finding]") -> Iterator[tuple[str, str, str]]:
    """Yield a row a finding; below what is not well, the way out."""
    for finding in findings:
        yield _word(finding), finding.name, finding.detail
        if finding.remedy:
            yield "", "", f"-> {finding.remedy}"


def _word(finding: "Finding") -> str:
    if finding.ok:
        return "ok"
    return "missing" if finding.needed else "advice"
