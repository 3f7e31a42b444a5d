"""Small messages to an echo server: one after another, on many short connections, or on many that stay.

`python -m mpcore.lab.echo_client ADDRESS PORT rounds|churn|hold [--count N] [--seconds S]` prints one JSON
object, an `Echoed`. `hold` prints it when all connections stand and then waits for the end of its input.
"""

import argparse
import json
import os
import select
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from mpcore.lab.echo_server import allow_many_files
from mpcore.lab.sockets import open_socket

MESSAGE_BYTES = 64
CONCURRENCY = 32
_WARM_UP = 200
_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Echoed:
    """What came back.

    `count` round trips or connections took `seconds`; `wrong` of them failed or brought other bytes.
    `median_us` and `p99_us` are of round trips, 0 where none was timed.
    """

    count: int
    seconds: float
    wrong: int
    median_us: float = 0.0
    p99_us: float = 0.0


def messages() -> Iterator[bytes]:
    """Yield messages, no two alike."""
    number = 0
    while True:
        yield number.to_bytes(8, "big") * (MESSAGE_BYTES // 8)
        number += 1


def rounds(options: argparse.Namespace) -> Echoed:
    """Send `options.count` messages on one connection, each after the answer to the one before."""
    taken, wrong = [], 0
    stream = messages()
    with _connect(options) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(_WARM_UP + options.count):
            message = next(stream)
            begin = time.perf_counter_ns()
            sock.sendall(message)
            answer = sock.recv(MESSAGE_BYTES, socket.MSG_WAITALL)
            taken.append((time.perf_counter_ns() - begin) / 1000)
            wrong += answer != message
    timed = sorted(taken[_WARM_UP:])
    p99 = timed[len(timed) * 99 // 100]
    return Echoed(len(timed), sum(timed) / 1e6, wrong, statistics.median(timed), p99)


def _connect(options: argparse.Namespace) -> socket.socket:
    sock = open_socket(6 if ":" in options.address else 4, options.mptcp)
    sock.settimeout(_TIMEOUT_S)
    sock.connect((options.address, options.port))
    sock.setblocking(True)
    return sock


class Churn:
    """Opens connections, `CONCURRENCY` at a time; on each one message, its answer, and the end."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._epoll = select.epoll()
        self._open: dict[int, tuple[socket.socket, bytes]] = {}
        self._messages = messages()
        self.done = 0
        self.wrong = 0

    def run(self, seconds: float) -> Echoed:
        """Go on for `seconds`, finish what is open, and return the outcome."""
        begin = time.monotonic()
        for _ in range(CONCURRENCY):
            self._begin()
        while self._open:
            ready = self._epoll.poll(_TIMEOUT_S)
            for descriptor, events in ready:
                self._go_on(descriptor, events)
                if descriptor not in self._open and time.monotonic() < begin + seconds:
                    self._begin()
            if not ready:
                self.wrong += len(self._open)
                break
        return Echoed(self.done, time.monotonic() - begin, self.wrong)

    def _begin(self) -> None:
        sock = open_socket(6 if ":" in self._options.address else 4, self._options.mptcp)
        sock.setblocking(False)
        sock.connect_ex((self._options.address, self._options.port))
        self._open[sock.fileno()] = (sock, next(self._messages))
        self._epoll.register(sock.fileno(), select.EPOLLOUT)

    def _go_on(self, descriptor: int, events: int) -> None:
        sock, message = self._open[descriptor]
        try:
            if events & select.EPOLLOUT:
                sock.send(message)
                self._epoll.modify(descriptor, select.EPOLLIN)
                return
            self.wrong += sock.recv(MESSAGE_BYTES) != message
        except OSError:
            self.wrong += 1
        self.done += 1
        del self._open[descriptor]
        sock.close()


def hold(options: argparse.Namespace) -> None:
    """Open `options.count` connections, a message on each, and keep them until the input ends."""
    allow_many_files()
    begin, wrong, kept = time.monotonic(), 0, []
    stream = messages()
    for _ in range(options.count):
        sock, message = _connect(options), next(stream)
        kept.append(sock)
        sock.sendall(message)
        wrong += sock.recv(MESSAGE_BYTES, socket.MSG_WAITALL) != message
    _print(Echoed(len(kept), time.monotonic() - begin, wrong))
    os.read(sys.stdin.fileno(), 1)


def _print(result: Echoed) -> None:
    print(json.dumps(asdict(result)), flush=True)


def main() -> None:
    """Run; see the module's text."""
    parser = argparse.ArgumentParser(prog="mpcore.lab.echo_client", description=__doc__)
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("task", choices=("rounds", "churn", "hold"))
    parser.add_argument("--mptcp", action="store_true", help="open sockets of the kernel's MPTCP")
    parser.add_argument("--count", type=int, default=1000, help="round trips, or connections to hold")
    parser.add_argument("--seconds", type=float, default=2.0, help="of churn")
    options = parser.parse_args()
    if options.task == "rounds":
        _print(rounds(options))
    elif options.task == "churn":
        _print(Churn(options).run(options.seconds))
    else:
        hold(options)


if __name__ == "__main__":
    main()
