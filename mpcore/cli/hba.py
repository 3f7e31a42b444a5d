"""`mpcore hba`: sets of addresses that vouch for each other (RFC 5535)."""

import json
from pathlib import Path
from random import SystemRandom

import click

from mpcore.cli.cga import print_document, report_verdict
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
from mpcore.cli.options import json_option


@click.group("hba")
def hba_command() -> None:
    """Hash-based addresses: a set, one address a prefix, whose members prove that they belong together.

    A host with such addresses can move its Shim6 contexts between its providers, without any key. With a key
    the addresses are cryptographically generated ones too, and further locators can be signed for later.

    \b
    mpcore hba make --prefix 2001:db8:a::/64 --prefix 2001:db8:b::/64 --output host.hba
    mpcore hba verify 2001:db8:b:0:… host.hba
    """


@hba_command.command("make")
@click.option(
    "--prefix",
    "prefixes",
    metavar="PREFIX",
    type=prefix_argument,
    required=True,
    multiple=True,
    help="A prefix of the set, as 2001:db8:1::/64; repeat it for each. No other can be added later.",
)
@click.option(
    "-k",
    "--key",
    metavar="FILE",
    type=NEW_FILE,
    help="RSA key in PEM, without a password, for addresses that are CGAs too.",
)
@make_options
@json_option
def make(
    prefixes: tuple[bytes, ...],
    key: Path | None,
    output: Path,
    bits: int | None,
    sec: int,
    jobs: int | None,
    taken: tuple[bytes, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Make a set of addresses, one a prefix, and print them in the order of the prefixes.

    The structure in FILE is that of the first address. The others have the same but for the prefix, and any
    of them proves all addresses.
    """
    from mpcore.shim6.cga_parameters import emit_parameters
    from mpcore.shim6.hba import make_hba_set

    if bits is not None and key is None:
        raise click.UsageError("--new-key needs --key FILE, where the key goes")
    require_free(output, force)
    der = None if key is None else public_key(key, bits)
    with searching(sec, jobs) as find:
        made = make_hba_set(
            prefixes, sec, SystemRandom(), public_key=der, is_taken=taken.__contains__, find=find
        )
    write_file(output, emit_parameters(made.parameters))
    addresses = [text_of(address) for address in made.addresses]
    document = {
        "addresses": addresses,
        "sec": sec,
        "collisions": made.parameters.collisions,
        "file": str(output),
    }
    click.echo(json.dumps(document, indent=2) if as_json else "\n".join(addresses))


@hba_command.command("verify")
@click.argument("address", type=address_argument)
@click.argument("file", type=FILE)
@json_option
def verify(address: bytes, file: Path, as_json: bool) -> int:
    """Check that ADDRESS is in the set that FILE describes; ends with 1 when it is not."""
    from mpcore.shim6.cga import sec_of
    from mpcore.shim6.cga_errors import VerificationError
    from mpcore.shim6.hba import verify_hba

    reason = None
    try:
        verify_hba(address, read_parameters(file))
    except VerificationError as error:
        reason = str(error)
    return report_verdict(address, sec_of(address), reason, as_json)


@hba_command.command("show")
@click.argument("file", type=FILE)
@json_option
def show(file: Path, as_json: bool) -> None:
    """Print the set that FILE describes, with the addresses of the largest Sec that it allows."""
    from mpcore.shim6.cga import sec_supported
    from mpcore.shim6.hba import members_of

    parameters = read_parameters(file)
    sec = sec_supported(parameters)
    document = {
        "addresses": [text_of(address) for address in members_of(parameters, sec)],
        "sec": sec,
        "modifier": parameters.modifier.hex(),
        "collisions": parameters.collisions,
        "key": key_words(parameters),
    }
    print_document(document, as_json)
