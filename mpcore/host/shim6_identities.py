"""Who this host is to Shim6 peers: parameter files and keys of its addresses (RFC 3972, RFC 5535).

A file, as `mpcore hba make` and `mpcore cga make` write it, stands for one address or for a set. The key to
sign with is in the file of the same name that ends in `.pem`. The host's administrator assigns the addresses.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from mpcore.errors import HostError, MpcoreError
from mpcore.shim6.cga import address_of, sec_supported
from mpcore.shim6.cga_errors import VerificationError
from mpcore.shim6.cga_locators import can_sign
from mpcore.shim6.cga_parameters import CgaParameters, multi_prefix_of, parse_parameters
from mpcore.shim6.hba import members_of
from mpcore.shim6.owned import Owned, Sign

KEY_SUFFIX = ".pem"
PARAMETERS_MAX = 1280  # octets; no larger structure fits into a message (RFC 5533 §5.1)

log = logging.getLogger(__name__)


def load_owned(places: Sequence[str]) -> list[Owned]:
    """Return the addresses that the files, or all files of the directories, describe.

    Raises:
        HostError: a file cannot be read, or is no parameter structure
    """
    owned = [_load(path) for path in _files(places)]
    if any(multi_prefix_of(one.parameters) is None and one.sign is None for one in owned):
        log.warning("a cryptographically generated address has no key beside its file: it stays single-homed")
    return owned


def _files(places: Iterable[str]) -> list[Path]:
    found: list[Path] = []
    for place in map(Path, places):
        if place.is_dir():
            inside = sorted(path for path in place.iterdir() if path.is_file())
            found += [path for path in inside if path.suffix != KEY_SUFFIX and path.name[:1] != "."]
        else:
            found.append(place)
    return found


def _load(path: Path) -> Owned:
    try:
        with open(path, "rb") as file:
            parameters = parse_parameters(file.read(PARAMETERS_MAX + 1))
        sec = sec_supported(parameters)
        if multi_prefix_of(parameters) is not None:
            addresses = members_of(parameters, sec)
        else:
            addresses = (address_of(parameters, sec),)
        return Owned(addresses, parameters, _signer(path.with_suffix(KEY_SUFFIX), parameters))
    except OSError as error:
        raise HostError(f"shim6.identities: {path}: cannot be read: {error.strerror}") from error
    except HostError:
        raise
    except (MpcoreError, VerificationError) as error:
        raise HostError(f"shim6.identities: {path}: no CGA parameters: {error}") from error


def _signer(path: Path, parameters: CgaParameters) -> Sign | None:
    """Return what signs with the key in a file; None where there is no such file, or no use for it."""
    if not can_sign(parameters) or not path.exists():
        return None
    from mpcore.shim6.cga_keys import load_key, public_key_of, sign_locators

    try:
        key = load_key(path.read_bytes())
    except (OSError, MpcoreError) as error:
        raise HostError(f"shim6.identities: {path}: no key: {error}") from error
    if public_key_of(key) != parameters.public_key:
        raise HostError(f"shim6.identities: {path}: the key is not the one of the parameters beside it")
    return lambda locators: sign_locators(key, locators)
