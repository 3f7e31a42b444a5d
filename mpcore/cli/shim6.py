"""`mpcore shim6`: looking at the Shim6 of a running daemon, and telling it what to do."""

import json
from typing import Any

import click

from mpcore.cli.options import control_option, control_path, json_option
from mpcore.cli.shim6_text import format_addresses, format_context_list, format_identities, format_log


@click.group("shim6")
def shim6_command() -> None:
    """Shim6 contexts of the running daemon: list, search other locators, drain, forget.

    CONTEXT is a tag as `list` prints it, LOCAL-PEER by the identifiers (ULIDs) of both ends, or one of them.

    \b
    mpcore shim6 list
    mpcore shim6 explore 2001:db8:b::1       # leave the locators in use
    mpcore shim6 prefer 2001:db8:1::1 --broken    # drain a provider before its maintenance
    """


def _call(control: str | None, method: str, **params: object) -> Any:
    from mpcore.host.control_client import ControlClient

    with ControlClient(control_path(control)) as client:
        return client.call(method, **params)


@shim6_command.command("list")
@click.option("--count", is_flag=True, help="Print only how many there are.")
@json_option
@control_option
def list_command(count: bool, as_json: bool, control: str | None) -> None:
    """Print one line for each context."""
    contexts = _call(control, "show", what="contexts")["contexts"]
    if count:
        click.echo(json.dumps({"contexts": len(contexts)}) if as_json else len(contexts))
    else:
        click.echo(json.dumps(contexts, indent=2) if as_json else format_context_list(contexts))


@shim6_command.command("show")
@click.argument("context")
@json_option
@control_option
def show_command(context: str, as_json: bool, control: str | None) -> None:
    """Print all there is to know of CONTEXT."""
    from mpcore.cli.render import format_context

    entry = _call(control, "shim6_show", context=context)
    click.echo(json.dumps(entry, indent=2) if as_json else format_context(entry))


@shim6_command.command("rm")
@click.argument("context", required=False)
@click.option("--all", "everything", is_flag=True, help="Forget all contexts.")
@control_option
def rm_command(context: str | None, everything: bool, control: str | None) -> None:
    """Forget CONTEXT; its peer is not told.

    Conversations over other locators than their ULIDs stop until the context is made anew.
    """
    if everything == (context is not None):
        raise click.UsageError("name a CONTEXT, or say --all")
    params: dict[str, object] = {"all": True} if everything else {"context": context}
    click.echo(f"{_call(control, 'shim6_remove', **params)['removed']} removed")


@shim6_command.command("explore")
@click.argument("context")
@click.option("--check", is_flag=True, help="Try the pair in use first, and keep it if it works.")
@control_option
def explore_command(context: str, check: bool, control: str | None) -> None:
    """Search another pair of locators for CONTEXT now, as if the one in use had failed (RFC 5534).

    `mpcore monitor` shows what comes of it, `mpcore shim6 log` what it took.
    """
    _call(control, "shim6_explore", context=context, leave=not check)


@shim6_command.command("establish")
@click.argument("local")
@click.argument("peer")
@click.option(
    "--fii",
    metavar="N",
    type=click.IntRange(0, 0xFFFFFFFF),
    default=0,
    help="Forked Instance Identifier, for a further context of the same ends.",
)
@control_option
def establish_command(local: str, peer: str, fii: int, control: str | None) -> None:
    """Begin a context between the addresses LOCAL, of this host, and PEER, without waiting for traffic."""
    click.echo(_call(control, "shim6_establish", local=local, peer=peer, fii=fii)["tag_local"])


@shim6_command.group("set")
def set_group() -> None:
    """Change a setting of the running daemon, until it ends."""


@set_group.command("send-timeout")
@click.argument("seconds", type=click.FloatRange(1, 65535))
@control_option
def send_timeout_command(seconds: float, control: str | None) -> None:
    """Search another pair after SECONDS without an answer; all peers are told (RFC 5534 §5.3)."""
    click.echo(f"{_call(control, 'shim6_set', send_timeout_s=seconds)['send_timeout_s']:g} s")


@shim6_command.command("prefer")
@click.argument("address")
@click.option("--broken", is_flag=True, help="Use it no more: contexts and peers move to others.")
@click.option("--transient", is_flag=True, help="It may go soon: others are liked better.")
@click.option(
    "--priority", type=click.IntRange(0, 255), default=0, show_default=True, help="The lowest goes first."
)
@click.option(
    "--weight",
    type=click.IntRange(0, 255),
    default=0,
    show_default=True,
    help="Share among equal priorities.",
)
@control_option
def prefer_command(
    address: str, broken: bool, transient: bool, priority: int, weight: int, control: str | None
) -> None:
    """Tell how this host's ADDRESS is liked as a locator, to own contexts and to peers (RFC 5533 §5.15.3).

    Without options it is an ordinary one again.
    """
    _call(
        control,
        "shim6_prefer",
        address=address,
        broken=broken,
        transient=transient,
        priority=priority,
        weight=weight,
    )


@shim6_command.command("identities")
@json_option
@control_option
def identities_command(as_json: bool, control: str | None) -> None:
    """Print this host's identifiers: their kind (hba, cga, plain) and the locators that peers are told of."""
    document = _call(control, "shim6_identities")
    click.echo(json.dumps(document, indent=2) if as_json else format_identities(document["identities"]))


@shim6_command.command("addresses")
@json_option
@control_option
def addresses_command(as_json: bool, control: str | None) -> None:
    """Print the addresses that the daemon forms (shim6.form), and what has become of them."""
    document = _call(control, "shim6_addresses")
    click.echo(json.dumps(document, indent=2) if as_json else format_addresses(document["addresses"]))


@shim6_command.command("renew")
@json_option
@control_option
def renew_command(as_json: bool, control: str | None) -> None:
    """Form other addresses for all prefixes, also for those that were given up after three collisions.

    The old ones stay as long as contexts or TCP connections use them, at most two of each prefix.
    """
    document = _call(control, "shim6_renew")
    click.echo(json.dumps(document, indent=2) if as_json else format_addresses(document["addresses"]))


@shim6_command.command("log")
@click.option("--reset", is_flag=True, help="Forget the entries once they are printed.")
@json_option
@control_option
def log_command(reset: bool, as_json: bool, control: str | None) -> None:
    """Print the last explorations: cause, time, probes, and how long no payload came."""
    document = _call(control, "shim6_log", reset=reset)
    click.echo(json.dumps(document, indent=2) if as_json else format_log(document["explorations"]))
