"""The search for a modifier of Sec 1 or 2 in a process of its own, so that packets do not wait.

`python -m mpcore.host.modifier_search FD` is that process. It is told on its standard input what to search,
tells at FD how far it is and at last what it has found, and ends when its standard input does: with the
daemon, however that ends.
"""

import itertools
import logging
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from mpcore.shim6.cga import PROGRESS_STEP, search_part
from mpcore.shim6.forming import SearchModifier

SECOND_NS = 1_000_000_000
LOOK_NS = SECOND_NS  # between two looks whether the process lives
RETRY_NS = 60 * SECOND_NS  # after one that has ended before its time
TELL_S = 5.0
NICENESS = 19
COMMAND = (sys.executable, "-m", "mpcore.host.modifier_search")
_REQUEST = struct.Struct("=QBH16s")  # number, Sec, octets of the tail that follows, modifier to begin with
_NEWS = struct.Struct("=QQ?16s")  # number, hashes so far, whether the modifier that follows is found

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SearchNews:
    """How far the search of a number is; `modifier` is what it has found."""

    number: int
    hashes: int
    modifier: bytes | None


class ModifierSearch:
    """At most one search at a time. `command` is the process, to which a descriptor is added."""

    def __init__(self, clock: Callable[[], int], command: Sequence[str] = COMMAND) -> None:
        self._clock = clock
        self._command = command
        self._reader, self._writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._reader.setblocking(False)
        self._process: subprocess.Popen[bytes] | None = None
        self._ending: list[subprocess.Popen[bytes]] = []
        self._wanted: SearchModifier | None = None
        self._due_ns: int | None = None

    def begin(self, wanted: SearchModifier) -> None:
        """Search this, and what was searched before no longer."""
        self._end()
        self._wanted = wanted
        self._launch()

    def close(self) -> None:
        """Break the search off."""
        self._end()
        for process in self._ending:
            process.wait()
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        """Return the descriptor, readable when there is news; -1 when closed."""
        return self._reader.fileno()

    def read(self) -> Iterator[SearchNews]:
        """Yield the news, without waiting."""
        with suppress(BlockingIOError):
            while len(data := self._reader.recv(_NEWS.size)) == _NEWS.size:
                number, hashes, is_found, modifier = _NEWS.unpack(data)
                if self._wanted is None or number != self._wanted.number:
                    continue  # from a process that was ended
                if is_found:
                    self._end()
                yield SearchNews(number, hashes, modifier if is_found else None)

    def poll_timeout(self) -> int | None:
        """Return when `handle_timeout` is due; None while nothing is searched."""
        return self._due_ns

    def handle_timeout(self, now_ns: int) -> None:
        """See whether the process lives, and begin anew if not."""
        if self._due_ns is None or now_ns < self._due_ns:
            return
        if self._process is None:
            self._launch()
        elif self._process.poll() is None or select.select([self._reader], [], [], 0)[0]:
            self._due_ns = now_ns + LOOK_NS
        else:
            log.warning(
                "the search for addresses has ended with status %d, and begins anew in a minute",
                self._process.returncode,
            )
            self._dismiss()
            self._due_ns = now_ns + RETRY_NS

    def _launch(self) -> None:
        if self._wanted is None:
            return
        command = [*self._command, str(self._writer.fileno())]
        now = self._clock()
        try:
            # a session of its own: Ctrl-C is for the daemon, which then ends it
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[self._writer.fileno()],
                start_new_session=True,
            )
            self._due_ns = now + LOOK_NS
            if self._process.stdin is not None:
                self._process.stdin.write(_request(self._wanted))
                self._process.stdin.flush()
        except OSError as error:
            log.warning("the search for addresses cannot begin, and is tried again: %s", error)
            self._dismiss()
            self._due_ns = now + RETRY_NS

    def _end(self) -> None:
        self._wanted = self._due_ns = None
        self._dismiss()

    def _dismiss(self) -> None:
        """Have no process any more. It has nothing to clear up, and packets do not wait for its end."""
        if self._process is not None:
            if self._process.stdin is not None:
                with suppress(OSError):
                    self._process.stdin.close()
            self._process.kill()
            self._ending.append(self._process)
            self._process = None
        self._ending = [process for process in self._ending if process.poll() is None]


def _request(wanted: SearchModifier) -> bytes:
    return _REQUEST.pack(wanted.number, wanted.sec, len(wanted.tail), wanted.start) + wanted.tail


def main(descriptor: int) -> None:
    """Do what standard input says, and tell of it at `descriptor`."""
    os.nice(NICENESS)
    number, sec, size, start = _REQUEST.unpack(_read(_REQUEST.size))
    tail = _read(size)
    told = time.monotonic()
    with socket.socket(fileno=descriptor) as out:
        for count in itertools.count(1):
            first = int.from_bytes(start) + (count - 1) * PROGRESS_STEP
            found = search_part(tail, sec, first)
            if found is not None:
                out.send(_NEWS.pack(number, count * PROGRESS_STEP, True, found))
                return
            if select.select([0], [], [], 0)[0]:
                return  # nobody is there any more
            if time.monotonic() - told >= TELL_S:
                told = time.monotonic()
                with suppress(BlockingIOError):
                    out.send(_NEWS.pack(number, count * PROGRESS_STEP, False, bytes(16)), socket.MSG_DONTWAIT)


def _read(size: int) -> bytes:
    """Read so many octets of standard input, unbuffered; an end before that ends the process."""
    data = b""
    while len(data) < size:
        more = os.read(0, size - len(data))
        if not more:
            sys.exit(1)
        data += more
    return data


if __name__ == "__main__":
    main(int(sys.argv[1]))
