"""`mpcore cga`: addresses that a key signs for (RFC 3972)."""

import json
from pathlib import Path
from random import SystemRandom
from typing import Any

import click

from mpcore.cli.cga_files import (
    FILE,
    NEW_FILE,
    address_argument,
    key_words,
    make_options,
    prefix_argument,
    public_key,
    read_parameters,
    require_free,
    searching,
    text_of,
    write_file,
)
from mpcore.cli.main import ExitCode
from mpcore.cli.options import json_option


@click.group("cga")
def cga_command() -> None:
    """Cryptographically generated addresses: made from a key, so that it can sign for them.

    A host with such an address as ULID can tell its Shim6 peers of any other locator later, by a signature.
    Needs the Python package cryptography (mpcore[shim6]) for keys; `mpcore hba` works without keys.

    \b
    mpcore cga make --prefix 2001:db8:1::/64 --key host.pem --new-key 2048 --output host.cga
    mpcore cga verify 2001:db8:1:0:… host.cga
    """


@cga_command.command("make")
@click.option(
    "--prefix",
    metavar="PREFIX",
    type=prefix_argument,
    required=True,
    help="Subnet prefix, as 2001:db8:1::/64.",
)
@click.option(
    "-k", "--key", metavar="FILE", type=NEW_FILE, required=True, help="RSA key in PEM, without a password."
)
@make_options
@json_option
def make(
    prefix: bytes,
    key: Path,
    output: Path,
    bits: int | None,
    sec: int,
    jobs: int | None,
    taken: tuple[bytes, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Make an address for a prefix and a key, and print it."""
    from mpcore.shim6.cga import make_cga
    from mpcore.shim6.cga_parameters import emit_parameters

    require_free(output, force)
    der = public_key(key, bits)
    with searching(sec, jobs) as find:
        made = make_cga(prefix, der, sec, SystemRandom(), is_taken=taken.__contains__, find=find)
    write_file(output, emit_parameters(made.parameters))
    address = text_of(made.address)
    document = {"address": address, "sec": sec, "collisions": made.parameters.collisions, "file": str(output)}
    click.echo(json.dumps(document, indent=2) if as_json else address)


@cga_command.command("verify")
@click.argument("address", type=address_argument)
@click.argument("file", type=FILE)
@json_option
def verify(address: bytes, file: Path, as_json: bool) -> int:
    """Check that ADDRESS is made from the parameter structure in FILE; ends with 1 when it is not."""
    from mpcore.shim6.cga import sec_of, verify_cga
    from mpcore.shim6.cga_errors import VerificationError

    reason = None
    try:
        verify_cga(address, read_parameters(file))
    except VerificationError as error:
        reason = str(error)
    return report_verdict(address, sec_of(address), reason, as_json)


def report_verdict(address: bytes, sec: int, reason: str | None, as_json: bool) -> int:
    """Print whether an address is verified and return the exit code; `reason` is None where it is."""
    valid = reason is None
    if as_json:
        document = {"address": text_of(address), "valid": valid, "sec": sec, "reason": reason}
        click.echo(json.dumps(document, indent=2))
    elif valid:
        click.echo(f"{text_of(address)} is verified, Sec {sec}")
    else:
        click.echo(f"{text_of(address)} is refused: {reason}", err=True)
    return ExitCode.DONE if valid else ExitCode.FAILED


@cga_command.command("show")
@click.argument("file", type=FILE)
@json_option
def show(file: Path, as_json: bool) -> None:
    """Print what the parameter structure in FILE says, and the address of the largest Sec that it allows."""
    from mpcore.shim6.cga import address_of, hash1, hash2, sec_supported
    from mpcore.shim6.cga_parameters import walk_extensions
    from mpcore.shim6.prefixes import format_prefix

    parameters = read_parameters(file)
    sec = sec_supported(parameters)
    document = {
        "address": text_of(address_of(parameters, sec)),
        "sec": sec,
        "modifier": parameters.modifier.hex(),
        "prefix": format_prefix(parameters.prefix),
        "collisions": parameters.collisions,
        "key": key_words(parameters),
        "extensions": [
            f"0x{kind:04x} ({len(data)} octets)" for kind, data in walk_extensions(parameters.extensions)
        ],
        "hash1": hash1(parameters).hex(),
        "hash2": hash2(parameters).hex(),
    }
    print_document(document, as_json)


def print_document(document: dict[str, Any], as_json: bool) -> None:
    """Print a flat document as JSON, or for people: a line a value, and lists with a line an entry."""
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    for name, value in document.items():
        if not isinstance(value, list):
            click.echo(f"{name}: {value}")
        elif value:
            click.echo("\n".join([f"{name}:", *(f"  {entry}" for entry in value)]))
