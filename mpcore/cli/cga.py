"""`mpcore cga`: addresses that a key signs for (RFC 3972)."""

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
@key_option(required=True)
@make_options
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
    print_made({"address": address}, [address], sec, made.parameters.collisions, output, as_json)


@cga_command.command("verify")
@verify_arguments
def verify(address: bytes, file: Path, as_json: bool) -> int:
    """Check that ADDRESS is made from the parameter structure in FILE; ends with 1 when it is not."""
    from mpcore.shim6.cga import verify_cga

    return report_verdict(address, verify_cga, file, as_json)


@cga_command.command("show")
@show_arguments
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
