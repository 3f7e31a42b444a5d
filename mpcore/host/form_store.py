"""What the daemon keeps of formed addresses: a directory with the key, and a file for each structure.

A file is as `mpcore hba show` and `mpcore cga show` read it: 000003.hba for the third structure if it is a
set, 000003.cga if it stands for one address. The key is `host.pem`; an administrator may put one there.
"""

import logging
import os
import re
import stat
from pathlib import Path

from mpcore.errors import HostError, MpcoreError
from mpcore.host.shim6_identities import PARAMETERS_MAX
from mpcore.shim6.cga_errors import RsaKeyError
from mpcore.shim6.cga_parameters import CgaParameters, emit_parameters, multi_prefix_of, parse_parameters
from mpcore.shim6.owned import Sign
from mpcore.shim6.units import UNITS_MAX, Unit

KEY_NAME = "host.pem"
_NAME = re.compile(r"\d{6,9}\.(cga|hba)")

log = logging.getLogger(__name__)


class FormStore:
    """The directory of one host; None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def units(self) -> list[Unit]:
        """Return the structures, oldest first; a warning says what cannot be used."""
        found = []
        for path in self._files():
            try:
                parameters = parse_parameters(path.read_bytes()[: PARAMETERS_MAX + 1])
                found.append(Unit(int(path.stem), parameters, proven=True))
            except (OSError, MpcoreError) as error:
                log.warning("%s: not used for formed addresses: %s", path, error)
        return found[-UNITS_MAX:]

    def key(self) -> tuple[bytes, Sign]:
        """Return the public key in DER and what signs with it; the key is made when there is none.

        Raises:
            HostError: the key cannot be read, made or used, or others may read it
        """
        from mpcore.shim6.cga_keys import key_to_pem, load_key, make_key, public_key_of, sign_locators

        path = None if self._folder is None else self._folder / KEY_NAME
        try:
            if path is None:
                key = make_key()
            elif path.exists():
                if stat.S_IMODE(path.stat().st_mode) & 0o077:
                    raise HostError(f"{path}: others than its owner may read this key: chmod 600")
                key = load_key(path.read_bytes())
            else:
                key = make_key()
                self._write(path, key_to_pem(key))
        except (OSError, RsaKeyError) as error:
            raise HostError(f"shim6.form_directory: {path}: no key: {error}") from error
        return public_key_of(key), lambda locators: sign_locators(key, locators)

    def store(self, number: int, parameters: CgaParameters) -> None:
        """Keep a structure; trouble is logged, and no more."""
        if self._folder is None:
            return
        suffix = "cga" if multi_prefix_of(parameters) is None else "hba"
        try:
            self._write(self._folder / f"{number:06}.{suffix}", emit_parameters(parameters))
        except OSError as error:
            log.warning("%s: the next daemon forms other addresses: %s", self._folder, error.strerror)

    def unstore(self, number: int) -> None:
        """Keep a structure no longer; trouble is logged, and no more."""
        for path in self._files():
            if int(path.stem) == number:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    log.warning("%s: %s", path, error.strerror)

    def _files(self) -> list[Path]:
        if self._folder is None or not self._folder.is_dir():
            return []
        found = (path for path in self._folder.iterdir() if _NAME.fullmatch(path.name))
        return sorted(found, key=lambda path: int(path.stem))

    def _write(self, path: Path, data: bytes) -> None:
        """Write a file that only its owner reads, so that it is whole or not there."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.new")
        beside.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(beside, flags, 0o600), "wb") as file:
            file.write(data)
        os.replace(beside, path)
