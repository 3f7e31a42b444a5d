"""What `mpcore cga` and `mpcore hba` share: arguments, files, and the search with its progress."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mpcore.cli.main import ExitCode
from mpcore.cli.options import json_option
from mpcore.errors import MpcoreError, WireError

if TYPE_CHECKING:
    from mpcore.shim6.cga import FindModifier
    from mpcore.shim6.cga_parameters import CgaParameters

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
V = TypeVar("V")

_TERMINAL_PERIOD_S = 0.2
_LOG_PERIOD_S = 10.0


class FileError(MpcoreError):
    """A file that cannot be used; the message names it."""


def address_argument(text: str) -> bytes:
    """Return the 16 octets of an IPv6 address, or fail as wrong usage."""
    try:
        return IPv6Address(text).packed
    except ValueError:
        raise click.BadParameter(f"{text} is no IPv6 address") from None


def prefix_argument(text: str) -> bytes:
    """Return the 8 octets of an IPv6 prefix of 64 bits, or fail as wrong usage."""
    from mpcore.shim6.prefixes import parse_prefix

    try:
        return parse_prefix(text)
    except WireError as error:
        raise click.BadParameter(str(error)) from None


FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, path_type=Path)


def make_options(function: F) -> F:
    """Add the options of both `make` commands but `--prefix` and `--key`."""
    options: list[Callable[[F], F]] = [
        json_option,
        click.option("-f", "--force", is_flag=True, help="Overwrite FILE of --output."),
        click.option(
            "--taken",
            metavar="ADDRESS",
            type=address_argument,
            multiple=True,
            help="An address that duplicate address detection found in use; it is not made again.",
        ),
        click.option(
            "--jobs",
            metavar="N",
            type=click.IntRange(1),
            help="Processes that search.  [default: one a processor for Sec 2, else 1]",
        ),
        click.option(
            "-s",
            "--sec",
            type=click.IntRange(0, 2),
            default=0,
            show_default=True,
            help="Security parameter: 1 takes about 65 thousand hashes, 2 about 4300 million (an hour of one"
            " processor).",
        ),
        click.option(
            "--new-key",
            "bits",
            metavar="BITS",
            type=click.IntRange(1024, 3072),
            help="Make the key first and write it to FILE of --key, which must not exist yet; 2048 is usual.",
        ),
        click.option(
            "-o",
            "--output",
            metavar="FILE",
            type=NEW_FILE,
            required=True,
            help="Where the parameter structure goes, in the binary form of RFC 3972.",
        ),
    ]
    for option in options:
        function = option(function)
    return function


def verify_arguments(function: F) -> F:
    """Add what both `verify` commands take: ADDRESS, FILE and `--json`."""
    function = json_option(function)
    function = click.argument("file", type=FILE)(function)
    return click.argument("address", type=address_argument)(function)


def show_arguments(function: F) -> F:
    """Add what both `show` commands take: FILE and `--json`."""
    return click.argument("file", type=FILE)(json_option(function))


def key_option(*, required: bool, purpose: str = "") -> Callable[[F], F]:
    """Return the option `--key` of a `make` command."""
    return click.option(
        "-k",
        "--key",
        metavar="FILE",
        type=NEW_FILE,
        required=required,
        help=f"RSA key in PEM, without a password{purpose}.",
    )


def print_made(
    named: dict[str, Any], lines: Iterable[str], sec: int, collisions: int, output: Path, as_json: bool
) -> None:
    """Print what a `make` command made: `named` with its circumstances as JSON, or `lines`."""
    document = {**named, "sec": sec, "collisions": collisions, "file": str(output)}
    click.echo(json.dumps(document, indent=2) if as_json else "\n".join(lines))


def report_verdict(
    address: bytes, verify: Callable[[bytes, "CgaParameters"], None], file: Path, as_json: bool
) -> int:
    """Print whether an address is made from the structure in a file and return the exit code."""
    from mpcore.shim6.cga import sec_of
    from mpcore.shim6.cga_errors import VerificationError

    sec, reason = sec_of(address), None
    try:
        verify(address, read_parameters(file))
    except VerificationError as error:
        reason = str(error)
    valid = reason is None
    if as_json:
        document = {"address": text_of(address), "valid": valid, "sec": sec, "reason": reason}
        click.echo(json.dumps(document, indent=2))
    elif valid:
        click.echo(f"{text_of(address)} is verified, Sec {sec}")
    else:
        click.echo(f"{text_of(address)} is refused: {reason}", err=True)
    return ExitCode.DONE if valid else ExitCode.FAILED


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


def public_key(path: Path, new_bits: int | None) -> bytes:
    """Return the public key of a PEM file in DER; the file is made first where `new_bits` asks for it."""
    from mpcore.shim6.cga_keys import key_to_pem, load_key, make_key, public_key_of

    if new_bits is not None:
        key = make_key(new_bits)
        _write_secret(path, key_to_pem(key))
        return public_key_of(key)
    try:
        return public_key_of(load_key(path.read_bytes()))
    except FileNotFoundError:
        raise FileError(f"{path} does not exist; --new-key 2048 makes a key there") from None
    except (OSError, MpcoreError) as error:
        raise _about(path, error) from None


def require_free(path: Path, force: bool) -> None:
    """Return when the file can be made, else raise FileError: to be asked before a search that takes long."""
    if path.exists() and not force:
        raise FileError(
            f"{path} exists and may belong to addresses in use; name another file, or overwrite it by --force"
        )
    if not os.access(path.parent, os.W_OK):
        raise FileError(
            f"{path} cannot be written: {path.parent} is no directory that this user may write to"
        )


def write_file(path: Path, data: bytes) -> None:
    """Write a file, whatever was there; FileError says why it cannot be."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise _about(path, error) from None


def _write_secret(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet and that nobody else may read."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except FileExistsError:
        raise FileError(f"{path} exists already; leave --new-key out to use that key") from None
    except OSError as error:
        raise _about(path, error) from None


def read_parameters(path: Path) -> "CgaParameters":
    """Return the structure in a file; FileError names the file and what is wrong with it."""
    from mpcore.shim6.cga_parameters import parse_parameters

    try:
        return parse_parameters(path.read_bytes())
    except (OSError, WireError) as error:
        raise _about(path, error) from None


def _about(path: Path, error: Exception) -> FileError:
    return FileError(f"{path}: {error.strerror if isinstance(error, OSError) else error}")


@contextmanager
def searching(sec: int, jobs: int | None) -> Iterator["FindModifier"]:
    """Give a search for modifiers that tells of its progress and uses so many processes."""
    from mpcore.shim6.cga import find_modifier

    usual = (1, 1, os.cpu_count() or 1)[sec]
    jobs = (jobs or usual) if sec else 1
    progress = Progress(1 << 16 * sec)
    try:
        if jobs == 1:
            yield partial(find_modifier, progress=progress)
        else:
            with ProcessPoolExecutor(jobs, initializer=_begin_worker) as pool:
                yield partial(find_modifier, progress=progress, mapper=partial(spread, pool, 2 * jobs))
    finally:
        progress.close()


def _begin_worker() -> None:
    """Leave interruption to the process that searches, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def spread(
    pool: ProcessPoolExecutor, window: int, function: Callable[[T], V], items: Iterable[T]
) -> Iterator[V]:
    """Yield the results in order as `map` does, with at most `window` calls under way in the pool."""
    waiting: deque[Future[V]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == window:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


class Progress:
    """Says on standard error how far a search is: in place on a terminal, else a line now and then."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._in_place = sys.stderr.isatty()
        self._period = _TERMINAL_PERIOD_S if self._in_place else _LOG_PERIOD_S
        self._start = self._last = time.monotonic()
        self._shown = False

    def __call__(self, done: int) -> None:
        """Take note of the number of hashes so far."""
        now = time.monotonic()
        if now - self._last < self._period:
            return
        self._last, self._shown = now, True
        rate = done / (now - self._start)
        text = (
            f"searching: {done / 1e6:.1f} million hashes, about {self._expected / 1e6:.1f} million are usual,"
            f" {rate / 1e6:.2f} million a second"
        )
        click.echo(f"\r{text}" if self._in_place else text, err=True, nl=not self._in_place)

    def close(self) -> None:
        """End the line."""
        if self._shown and self._in_place:
            click.echo(err=True)


def key_words(parameters: "CgaParameters") -> str:
    """Return what the public key field holds, as far as this host can tell."""
    from mpcore.shim6.cga_locators import can_sign

    size = f"{len(parameters.public_key)} octets"
    if not can_sign(parameters):
        return f"none (a random number, {size})"
    try:
        from mpcore.shim6.cga_keys import describe_key

        return f"{describe_key(parameters.public_key)} ({size})"
    except MpcoreError:
        return f"of another kind, or unknown without the package cryptography ({size})"


def text_of(address: bytes) -> str:
    """Return an address of 16 octets as text."""
    return str(IPv6Address(address))
