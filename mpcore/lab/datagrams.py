"""A steady stream of datagrams, UDP or ICMPv6 echo, and a line for each that comes: when, and from where.

`python -m mpcore.lab.datagrams receive|send ADDRESS PORT` and `… ping ADDRESS` run in the hosts of the
laboratory until a signal ends them. `receive` and `ping` print `SECONDS SOURCE` for each datagram or reply,
in seconds of this machine's monotonic clock; `read_arrivals` reads that again.
"""

import argparse
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

INTERVAL_S = 0.01
UDP_BYTES = 1000
_ANSWER_BYTES = 8
ECHO_REQUEST, ECHO_REPLY = 128, 129  # RFC 4443 §4.1, §4.2
_ECHO = struct.Struct("!BBHHH")  # type, code, checksum (the kernel's matter), identifier, sequence number


@dataclass(frozen=True, slots=True)
class Silence:
    """The longest time without a datagram, in milliseconds, and whether any came after it."""

    ms: float
    went_on: bool


def longest_silence(arrivals: Sequence[float], since_s: float, until_s: float) -> Silence:
    """Return the longest gap between `arrivals` that ended after `since_s`; the last ends at `until_s`."""
    times = [*(time_s for time_s in arrivals if time_s <= until_s), until_s]
    gaps = [(end - begin, end < until_s) for begin, end in pairwise([since_s, *times]) if end > since_s]
    length, went_on = max(gaps)
    return Silence(length * 1000, went_on)


def read_arrivals(file: Path) -> tuple[list[float], set[str]]:
    """Return the times and the different sources that a receiver wrote to `file`.

    A last line that is not whole yet is left out.
    """
    lines = [line.split() for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [float(when) for when, _ in lines], {source for _, source in lines}


def _report(source: str) -> None:
    print(f"{time.monotonic():.6f} {source}", flush=True)


def receive(address: str, port: int) -> None:
    """Print a line for each datagram to `port` of `address`, and answer it with a short one."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind((address, port))
        while True:
            data, source = sock.recvfrom(UDP_BYTES)
            _report(source[0])
            with suppress(OSError):
                sock.sendto(data[:_ANSWER_BYTES], source)


def send(address: str, port: int) -> None:
    """Send datagrams to `port` of `address`, whatever becomes of them."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        while True:
            with suppress(OSError):
                sock.sendto(bytes(UDP_BYTES), (address, port))
            time.sleep(INTERVAL_S)


def ping(address: str, *_: int) -> None:
    """Send echo requests to `address` and print a line for each reply to them (RFC 4443 §4)."""
    identifier, sequence = os.getpid() & 0xFFFF, 0
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock,
        selectors.DefaultSelector() as selector,
    ):
        selector.register(sock, selectors.EVENT_READ)
        due_s = time.monotonic()
        while True:
            if (wait_s := due_s - time.monotonic()) <= 0:
                with suppress(OSError):
                    sock.sendto(_ECHO.pack(ECHO_REQUEST, 0, 0, identifier, sequence & 0xFFFF), (address, 0))
                sequence, due_s = sequence + 1, due_s + INTERVAL_S
            elif selector.select(wait_s):
                data, source = sock.recvfrom(UDP_BYTES)
                if _is_reply(data, identifier):
                    _report(source[0])


def _is_reply(data: bytes, identifier: int) -> bool:
    if len(data) < _ECHO.size:
        return False
    kind, _, _, of_request, _ = _ECHO.unpack_from(data)
    return (kind, of_request) == (ECHO_REPLY, identifier)


ROLES: dict[str, Callable[[str, int], None]] = {"receive": receive, "send": send, "ping": ping}


def main() -> None:
    """Run one end until a signal ends it; see the module's text."""
    parser = argparse.ArgumentParser(prog="mpcore.lab.datagrams", description=__doc__)
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("address")
    parser.add_argument("port", type=int, nargs="?", default=0)
    options = parser.parse_args()
    ROLES[options.role](options.address, options.port)


if __name__ == "__main__":
    main()
