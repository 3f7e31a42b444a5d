"""A one-way transfer that proves itself at many gigabits a second, and knows when nothing came.

`python -m mpcore.lab.stream listen|connect ADDRESS PORT send|receive` runs in the hosts of the laboratory.
The listener prints `listening PORT`, each end `connected`, and at the end one JSON object, a `Streamed`.
Comparing whole chunks in memory costs a tenth of what hashing them would, and leaves the processors to what
is measured.
"""

import argparse
import itertools
import json
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from mpcore.lab.sockets import listen_socket, open_socket

CHUNK_BYTES = 1 << 18
_TEMPLATES = 8
_STAMP_BYTES = 8
GAP_S = 0.005
_GAPS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Streamed:
    """What one end saw.

    Times are seconds of this machine's monotonic clock. `gaps` are the times, as (begin, end), longer than
    five milliseconds in which nothing came to the receiver.
    """

    bytes: int
    begin_s: float
    end_s: float
    intact: bool
    error: str | None
    gaps: list[tuple[float, float]]

    @property
    def mbps(self) -> float:
        """Goodput in Mbit/s, from the connection's first moment to its last."""
        return self.bytes * 8e-6 / max(self.end_s - self.begin_s, 1e-9)

    def stall_ms(self, since_s: float) -> float:
        """Return the longest gap that ended after `since_s`, in milliseconds; 0 for none."""
        return max((end - begin for begin, end in self.gaps if end > since_s), default=0.0) * 1000


def chunks(seed: int) -> Iterator[bytearray]:
    """Yield the endless stream `seed` in chunks; each is valid until the next one is asked for.

    A few random templates come round and each chunk has its index stamped in, so that no two are equal.
    """
    rng = random.Random(seed)
    templates = [bytearray(rng.randbytes(CHUNK_BYTES)) for _ in range(_TEMPLATES)]
    for index in itertools.count():
        template = templates[index % _TEMPLATES]
        template[:_STAMP_BYTES] = index.to_bytes(_STAMP_BYTES, "big")
        yield template


def send(sock: socket.socket, seed: int, seconds: float, size: int | None) -> Streamed:
    """Send whole chunks for `seconds`, or exactly `size` bytes, then finish the stream."""
    begin, sent, error = time.monotonic(), 0, None
    stream = chunks(seed)
    try:
        while (sent < size) if size is not None else (time.monotonic() < begin + seconds):
            chunk = memoryview(next(stream))[: None if size is None else size - sent]
            sock.sendall(chunk)
            sent += len(chunk)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)  # the peer closes when it has all: until then this end lives
    except OSError as failure:
        error = failure.strerror or str(failure)
    return Streamed(sent, begin, time.monotonic(), error is None, error, [])


def receive(sock: socket.socket, seed: int) -> Streamed:
    """Receive until the peer has finished, comparing every byte."""
    begin = last = time.monotonic()
    total, error = 0, None
    gaps: list[tuple[float, float]] = []
    check = _Check(seed)
    try:
        while size := sock.recv_into(check.room()):
            now = time.monotonic()
            if now - last > GAP_S and total and len(gaps) < _GAPS_MAX:
                gaps.append((last, now))
            last = now
            total += size
            check.took(size)
    except OSError as failure:
        error = failure.strerror or str(failure)
    return Streamed(total, begin, time.monotonic(), check.finish(), error, gaps)


class _Check:
    """Collects a chunk, compares it, begins anew."""

    def __init__(self, seed: int) -> None:
        self._expected = chunks(seed)
        self._buffer = bytearray(CHUNK_BYTES)
        self._view = memoryview(self._buffer)
        self._fill = 0
        self._intact = True

    def room(self) -> memoryview:
        return self._view[self._fill :]

    def took(self, size: int) -> None:
        self._fill += size
        if self._fill == CHUNK_BYTES:
            self._fill = 0
            self._intact = self._intact and self._buffer == next(self._expected)

    def finish(self) -> bool:
        return self._intact and self._buffer[: self._fill] == next(self._expected)[: self._fill]


@contextmanager
def _connection(options: argparse.Namespace) -> Iterator[socket.socket]:
    """Yield the connection; a listener listens on, for the kernel takes an MP_JOIN only where one does."""
    if options.role == "connect":
        with open_socket(6 if ":" in options.address else 4, options.mptcp) as sock:
            sock.connect((options.address, options.port))
            yield sock
        return
    with listen_socket(options.address, options.port, options.mptcp) as listener:
        print("listening", listener.getsockname()[1], flush=True)
        with listener.accept()[0] as sock:
            yield sock


def main() -> None:
    """Run one end; see the module's text."""
    parser = argparse.ArgumentParser(prog="mpcore.lab.stream", description=__doc__)
    parser.add_argument("role", choices=("listen", "connect"))
    parser.add_argument("address", help="to listen on, or to connect to")
    parser.add_argument("port", type=int)
    parser.add_argument("task", choices=("send", "receive"))
    parser.add_argument("--mptcp", action="store_true", help="open a socket of the kernel's MPTCP")
    parser.add_argument("--seconds", type=float, default=3.0, help="to send")
    parser.add_argument("--bytes", type=int, help="to send, instead of --seconds")
    parser.add_argument("--seed", type=int, default=0, help="of the stream")
    options = parser.parse_args()
    with _connection(options) as sock:
        print("connected", flush=True)
        if options.task == "send":
            result = send(sock, options.seed, options.seconds, options.bytes)
        else:
            result = receive(sock, options.seed)
    print(json.dumps(asdict(result)), flush=True)


if __name__ == "__main__":
    main()
