"""Who this host is to Shim6 peers: parameter files and keys of its addresses (RFC 3972, RFC 5535).

A file, as `mpcore hba make` and `mpcore cga make` write it, stands for one address or for a set. The key to
sign with is in the file of the same name that ends in `.pem`. The host's administrator assigns the addresses.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mpcore.errors import HostError, MpcoreError
from mpcore.shim6.cga import address_of, sec_supported
from mpcore.shim6.cga_errors import VerificationError
from mpcore.shim6.cga_locators import can_sign
from mpcore.shim6.cga_parameters import CgaParameters, emit_parameters, multi_prefix_of, parse_parameters
from mpcore.shim6.hba import members_of
from mpcore.shim6.identity import Identity
from mpcore.shim6.prefixes import prefix_of
from mpcore.wire.shim6 import Locator, LocatorList, VerificationMethod

KEY_SUFFIX = ".pem"
PARAMETERS_MAX = 1280  # octets; no larger structure fits into a message (RFC 5533 §5.1)

Sign = Callable[[LocatorList], bytes]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Owned:
    """What one file gives: addresses that prove each other, and how to sign for more."""

    addresses: tuple[bytes, ...]
    parameters: CgaParameters
    sign: Sign | None


def load_identities(places: Sequence[str]) -> list[Identity]:
    """Return an identity for each address that the files, or all files of the directories, describe.

    The addresses of a set are each other's locators by HBA. An identity with a key announces the addresses of
    the other files too, by a signature. A CGA without its key has no locator but itself.

    Raises:
        HostError: a file cannot be read, or is no parameter structure
    """
    owned = [_load(path) for path in _files(places)]
    everything = [address for one in owned for address in one.addresses]
    return [identity for one in owned for identity in _identities(one, everything)]


def _files(places: Iterable[str]) -> list[Path]:
    found: list[Path] = []
    for place in map(Path, places):
        if place.is_dir():
            inside = sorted(path for path in place.iterdir() if path.is_file())
            found += [path for path in inside if path.suffix != KEY_SUFFIX and path.name[:1] != "."]
        else:
            found.append(place)
    return found


def _load(path: Path) -> _Owned:
    try:
        with open(path, "rb") as file:
            parameters = parse_parameters(file.read(PARAMETERS_MAX + 1))
        sec = sec_supported(parameters)
        if multi_prefix_of(parameters) is not None:
            addresses = members_of(parameters, sec)
        else:
            addresses = (address_of(parameters, sec),)
        return _Owned(addresses, parameters, _signer(path.with_suffix(KEY_SUFFIX), parameters))
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


def _identities(owned: _Owned, everything: Sequence[bytes]) -> Iterable[Identity]:
    is_set = multi_prefix_of(owned.parameters) is not None
    if not is_set and owned.sign is None:
        (address,) = owned.addresses
        log.warning("a cryptographically generated address has no key beside its file: it stays single-homed")
        return [Identity(address)]
    method = VerificationMethod.HBA if is_set else VerificationMethod.CGA
    locators = [Locator(address, method) for address in owned.addresses]
    if owned.sign is not None:
        others = [address for address in everything if address not in owned.addresses]
        locators += [Locator(address, VerificationMethod.CGA) for address in dict.fromkeys(others)]
    return [
        Identity(
            address,
            tuple(locators),
            emit_parameters(replace(owned.parameters, prefix=prefix_of(address))),
            owned.sign,
        )
        for address in owned.addresses
    ]
