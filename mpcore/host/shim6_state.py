"""The file that established contexts are kept in, so that a restarted daemon goes on with them.

A journal: a head with version and boot, then frames of length, CRC-32 and MessagePack, each a context's
number with its record, or with nil when it is gone; under number 0 what the operator wishes of this host's
addresses. Changes are appended, so a daemon that is killed loses at
most the last of them; when half of the journal is history it is written anew, beside, and moved into place.
Without a sync to the disk: a context does not outlive the boot, for no socket does.
"""

import logging
import os
import struct
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mpcore.errors import HostError
from mpcore.shim6.manager import Shim6Manager
from mpcore.shim6.records import ContextRecord, WishesRecord, record_wishes, wishes_of
from mpcore.wire.shim6 import Preference

VERSION = 2
READABLE = (1, VERSION)  # the first had no wishes
MAGIC = b"mpcore shim6 contexts\n"
FILE_BYTES_MAX = 1 << 30
COMPACT_BYTES_MIN = 1 << 20
CHANGES_A_TURN = 500
MODE = 0o600
WISHES = 0  # no context has this number

_FRAME = struct.Struct("<II")  # length, CRC-32
_FRAMED = msgspec.msgpack.Decoder(tuple[int, msgspec.Raw])
_RECORD = msgspec.msgpack.Decoder(ContextRecord | None)
_WISHES = msgspec.msgpack.Decoder(WishesRecord | None)

log = logging.getLogger(__name__)



@dataclass(frozen=True, slots=True)
class Kept:
    """What a daemon leaves to the next one."""

    contexts: list[ContextRecord] = field(default_factory=list)
    wishes: dict[bytes, Preference] = field(default_factory=dict)


class StateFile:
    """The journal of one daemon.

    Args:
        path: where it is; its directory is made when there is none
        interval_ns: least time between two writes
        boot: what tells this boot of the host from others
    """

    def __init__(self, path: Path, interval_ns: int, boot: str | None = None) -> None:
        self._path = path
        self._interval_ns = interval_ns
        self._boot = boot_id() if boot is None else boot
        self._frames: dict[int, bytes] = {}
        self._live = self._size = 0
        self._due_ns = 0
        self._file: int | None = None
        self._wishes: dict[bytes, Preference] = {}

    def load(self) -> Kept:
        """Return what the last daemon of this boot left; a warning says what cannot be used.

        What follows a damaged frame is left out, and the whole file when it is not one of this version that
        only its owner, this user, may write.
        """
        try:
            data = self._read()
        except FileNotFoundError:
            return Kept()
        except (OSError, HostError) as error:
            log.warning("%s: contexts of the last run are not taken over: %s", self._path, error)
            return Kept()
        return self._parse(data)

    def poll_timeout(self) -> int:
        """Return when `save` may write again."""
        return self._due_ns

    def save(self, manager: Shim6Manager, now_ns: int) -> None:
        """Write some of what has changed, if it is time; trouble with the file is logged, and no more."""
        if now_ns < self._due_ns:
            return
        # The first write takes the place of the file of the daemon before: it has to have all that is left.
        frames = self._take(manager, CHANGES_A_TURN if self._file is not None else sys.maxsize)
        if frames:
            self._due_ns = now_ns if manager.has_changes else now_ns + self._interval_ns
            self._write(frames)

    def save_all(self, manager: Shim6Manager) -> None:
        """Write all that has changed, and close the file: the daemon ends."""
        while frames := self._take(manager, CHANGES_A_TURN):
            self._write(frames)
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _take(self, manager: Shim6Manager, limit: int) -> list[bytes]:
        """Return the frames of what has changed, of at most `limit` contexts."""
        frames = []
        wishes = manager.local_wishes()
        if wishes != self._wishes:
            self._wishes = wishes
            frames.append(self._note(WISHES, record_wishes(wishes) or None))
        return frames + [self._note(number, record) for number, record in manager.take_changes(limit)]

    def _note(self, number: int, record: ContextRecord | WishesRecord | None) -> bytes:
        """Return the frame of a change, nothing for what the file does not have anyway."""
        old = self._frames.pop(number, None)
        if old is None and record is None:
            return b""
        frame = _frame(msgspec.msgpack.encode((number, record)))
        self._live -= len(old or b"")
        if record is not None:
            self._frames[number] = frame
            self._live += len(frame)
        return frame

    def _write(self, frames: list[bytes]) -> None:
        data = b"".join(frames)
        try:
            if self._file is None or self._size + len(data) > COMPACT_BYTES_MIN + 2 * self._live:
                self._compact()
            else:
                _write_all(self._file, data)
                self._size += len(data)
        except OSError as error:
            log.warning("%s: contexts are not kept over a restart: %s", self._path, error.strerror)
            self.close()

    def _compact(self) -> None:
        self.close()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self._path.with_name(f"{self._path.name}.new")
        beside.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(beside, flags, MODE)
        data = MAGIC + _frame(msgspec.msgpack.encode((VERSION, self._boot))) + b"".join(self._frames.values())
        _write_all(self._file, data)
        self._size = len(data)
        os.replace(beside, self._path)

    def _read(self) -> bytes:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if status.st_uid != os.geteuid() or status.st_mode & 0o7777 & ~MODE:
                raise HostError("others than its owner may have written or read it; it needs mode 0600")
            if status.st_size > FILE_BYTES_MAX:
                raise HostError(f"it is larger than {FILE_BYTES_MAX} bytes")
            return file.read(FILE_BYTES_MAX)

    def _parse(self, data: bytes) -> Kept:
        head, at = _next_frame(data, len(MAGIC)) if data.startswith(MAGIC) else (None, 0)
        try:
            version, boot = msgspec.msgpack.decode(head or b"", type=tuple[int, str])
        except (msgspec.DecodeError, UnicodeDecodeError):
            log.warning("%s is no file of contexts, or a damaged one: starting without any", self._path)
            return Kept()
        if version not in READABLE:
            log.warning("%s has version %d, not %d: starting without contexts", self._path, version, VERSION)
            return Kept()
        return self._replay(data, at) if boot == self._boot else Kept()

    def _replay(self, data: bytes, at: int) -> Kept:
        found: dict[int, ContextRecord] = {}
        wishes: WishesRecord = ()
        while at < len(data):
            body, at = _next_frame(data, at)
            try:
                number, raw = _FRAMED.decode(body or b"")
                if number == WISHES:
                    wishes = _WISHES.decode(raw) or ()
                    continue
                record = _RECORD.decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError):
                log.warning("%s is damaged: %d contexts before that are taken over", self._path, len(found))
                break
            found.pop(number, None)
            if record is not None:
                found[number] = record
        return Kept(list(found.values()), wishes_of(wishes))


def boot_id() -> str:
    """Return what the kernel calls this boot, "" where it does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _frame(body: bytes) -> bytes:
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def _next_frame(data: bytes, at: int) -> tuple[bytes | None, int]:
    """Return the body of the frame at a place, None when it is damaged, and where the next one begins."""
    if len(data) - at < _FRAME.size:
        return None, len(data)
    size, checksum = _FRAME.unpack_from(data, at)
    at += _FRAME.size
    body = data[at : at + size]
    return (body if len(body) == size and zlib.crc32(body) == checksum else None), at + size


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
