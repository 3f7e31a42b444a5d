"""`mpcore hba`: sets of addresses that vouch for each other (RFC 5535)."""

from pathlib import Path
from random import SystemRandom

import click

from mpcore.cli.cga_files import (
    key_option,
    key_words,
    make_options,
    prefix_argument,
    print_document,
    print_made,
    public_key,
    read_parameters,
    report_verdict,
    require_free,
    searching,
    show_arguments,
    text_of,
    verify_arguments,
    write_file,
)


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
@key_option(required=False, purpose=", for addresses that are CGAs too")
@make_options
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
    print_made({"addresses": addresses}, addresses, sec, made.parameters.collisions, output, as_json)


@hba_command.command("verify")
@verify_arguments
def verify(address: bytes, file: Path, as_json: bool) -> int:
    """Check that ADDRESS is in the set that FILE describes; ends with 1 when it is not."""
    from mpcore.shim6.hba import verify_hba

    return report_verdict(address, verify_hba, file, as_json)


@hba_command.command("show")
@show_arguments
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
