"""`mpcore lab`: a laboratory to play with; all its state is in the names of its namespaces."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

PERCENT = click.FloatRange(0, 100)


@click.group("lab")
def lab_command() -> None:
    """Two hosts, `a` and `b`, as network namespaces with shaped links between them. Needs root."""


@contextmanager
def lab_errors() -> Iterator[None]:
    """Turn the errors of the laboratory into one sentence and an exit status: 1 failed, 4 not permitted."""
    from mpcore.lab.commands import LabError, NotPermittedError, require_root

    try:
        require_root()
        yield
    except LabError as error:
        raise _FailureError(str(error), 4 if isinstance(error, NotPermittedError) else 1) from None


class _FailureError(click.ClickException):
    """An error for people that ends the program with `status`."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.exit_code = status  # type: ignore[misc]  # click declares it on the class, and reads it here


@lab_command.command()
@click.option(
    "--links", default=2, show_default=True, type=click.IntRange(1, 9), help="Links between the hosts."
)
@click.option(
    "--rate", default=1000.0, show_default=True, type=click.FloatRange(1), help="Mbit/s of each link."
)
@click.option("--delay", default=0.0, type=click.FloatRange(0), help="Milliseconds one way, of each link.")
@click.option("--jitter", default=0.0, type=click.FloatRange(0), help="Milliseconds by which that varies.")
@click.option("--loss", default=0.0, type=PERCENT, help="Percent of the packets that are lost.")
@click.option("--reorder", default=0.0, type=PERCENT, help="Percent that skip the delay and overtake others.")
@click.option("--duplicate", default=0.0, type=PERCENT, help="Percent that arrive twice.")
@click.option("--congestion", default="reno", show_default=True, help="The kernel's congestion control.")
@click.option(
    "--source-routing", is_flag=True, help="Packets of a leave by the link of their source address."
)
def up(
    links: int,
    rate: float,
    delay: float,
    jitter: float,
    loss: float,
    reorder: float,
    duplicate: float,
    congestion: str,
    source_routing: bool,
) -> None:
    """Build the laboratory; it stays until `mpcore lab down`.

    Delays, losses and the like are made by the kernel's netem, or by mpcore's emulator where that is missing.
    """
    from mpcore.lab.settings import LinkSettings
    from mpcore.lab.topology import Lab

    with lab_errors():
        settings = LinkSettings(
            rate_mbit=rate,
            delay_ms=delay,
            jitter_ms=jitter,
            loss=loss / 100,
            reorder=reorder / 100,
            duplicate=duplicate / 100,
        )
        lab = Lab([settings] * links, congestion=congestion, source_routing=source_routing, suffix="")
        if lab.exists():
            raise _FailureError("it is up already; `mpcore lab down` takes it down", 1)
        try:
            lab.up()
            lab.stay()
        except BaseException:
            lab.down()
            raise
    for link in lab.links:
        click.echo(f"{link.interface}: a {link.address(lab.a)} {link.address(lab.a, 6)}", nl=False)
        click.echo(f"  b {link.address(lab.b)} {link.address(lab.b, 6)}", nl=False)
        click.echo(f"  {settings.describe()}  ({link.kind})")


@lab_command.command()
def down() -> None:
    """Take the laboratory down and end what runs in it."""
    from mpcore.lab.topology import Lab

    with lab_errors():
        lab = Lab((), suffix="")
        if not lab.exists():
            raise _FailureError("it is not up", 3)
        lab.down()


@lab_command.command(
    "exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("host", type=click.Choice(["a", "b"]))
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(host: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in HOST, in place of this process."""
    from mpcore.lab.topology import Lab

    with lab_errors():
        lab = Lab((), suffix="")
        if not lab.exists():
            raise _FailureError("it is not up; `mpcore lab up` builds it", 3)
        argv = (lab.a if host == "a" else lab.b).command(command)
        os.execvp(argv[0], argv)


@lab_command.command()
@click.option(
    "--all", "everything", is_flag=True, help="Also those whose owner lives, and the one of `lab up`."
)
def clean(everything: bool) -> None:
    """Delete laboratories left behind by processes that no longer live."""
    from mpcore.lab.topology import clean_leftovers

    with lab_errors():
        for name in clean_leftovers(everything=everything):
            click.echo(name)


@lab_command.command()
def status() -> None:
    """List the laboratories of this machine and what runs in them."""
    from mpcore.lab.topology import describe

    with lab_errors():
        for namespace, owner, processes in describe():
            click.echo(f"{namespace}  owner {owner}  processes {processes}")


@lab_command.command()
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document, with every run.")
@click.option("--case", "cases", multiple=True, metavar="NAME", help="Play only this case; may be repeated.")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1, 100), help="Of each variant.")
@click.option(
    "--seconds", default=3.0, show_default=True, type=click.FloatRange(0.2), help="Length of a bulk transfer."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of the daemons that speak MPTCP; may be repeated. Without it they have mptcp.congestion=reno, as "
    "the kernel has here.",
)
@click.option("--list", "only_list", is_flag=True, help="List the cases and what they are about.")
@click.option(
    "--send-timeout",
    "send_timeout_s",
    type=click.FloatRange(min=1),
    default=15.0,
    show_default=True,
    help="Shim6's, in seconds, in the case shim6-cut.",
)
def bench(
    as_json: bool,
    cases: tuple[str, ...],
    runs: int,
    seconds: float,
    settings: tuple[str, ...],
    only_list: bool,
    send_timeout_s: float,
) -> None:
    """Measure mpcore beside the kernel's MPTCP and TCP, in turn, against targets.

    Progress goes to standard error. Ends with status 1 when a byte arrived differently.
    """
    from mpcore.lab.bench.cases import CASES, titles
    from mpcore.lab.bench.report import to_document, to_table
    from mpcore.lab.bench.runner import run_bench

    if only_list:
        for name, title in titles().items():
            click.echo(f"{name:<12} {title}")
        return
    for name in cases:
        if name not in CASES:
            raise click.UsageError(f"there is no case {name!r}; there are {', '.join(CASES)}")
    with lab_errors():
        result = run_bench(
            cases,
            runs=runs,
            seconds=seconds,
            settings=settings,
            say=lambda text: click.echo(text, err=True),
            send_timeout_s=send_timeout_s,
        )
    click.echo(json.dumps(to_document(result)) if as_json else to_table(result))
    if not result.intact:
        click.echo("bytes were lost or changed", err=True)
        sys.exit(1)
