"""What Shim6's packet queue is compared with: the same rewrite by a callback in Python, and accepting in C.

A program that `mpcore.lab.bench.shim6` runs in each host; it says `ready` once its queue is bound.
"""

import argparse
import ctypes
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from mpcore.lab.commands import LabError, run_command
from mpcore.wire.shim6 import PROTOCOL_SHIM6
from mpcore.wire.shim6_constants import PAYLOAD_HEADER_SIZE

ACCEPT_SOURCE = Path(__file__).with_name("accept.c")
RECEIVE_BUFFER_BYTES = 16 << 20
# Behind the next header in a payload extension header: length 0, the bit P, a context tag (RFC 5533 §5.2).
_REST_OF_HEADER = bytes([0, 0x80, 0, 0, 0, 0, 1])


class Packet(Protocol):
    """A packet of `netfilterqueue`."""

    def get_payload(self) -> bytes:
        """Return the packet."""

    def set_payload(self, data: bytes) -> None:
        """Replace the packet."""

    def accept(self) -> None:
        """Let it go on."""


def rewriter(out: bytes, back: bytes) -> Callable[[Packet], None]:
    """Return a callback that does as little as can be done in Python to move a context.

    Args:
        out: source and destination of packets that leave, with the header inserted behind the IPv6 header
        back: the same of those that come with it, and lose it
    """
    header = bytes([PROTOCOL_SHIM6])

    def rewrite(packet: Packet) -> None:
        data = packet.get_payload()
        size = int.from_bytes(data[4:6])
        if data[6] == PROTOCOL_SHIM6:
            size -= PAYLOAD_HEADER_SIZE
            data = data[:4] + size.to_bytes(2) + data[40:41] + data[7:8] + back + data[48:]
        else:
            size += PAYLOAD_HEADER_SIZE
            behind = data[6:7] + _REST_OF_HEADER + data[40:]
            data = data[:4] + size.to_bytes(2) + header + data[7:8] + out + behind
        packet.set_payload(data)
        packet.accept()

    return rewrite


def build_accept(folder: Path) -> Path:
    """Compile, in `folder`, the loop in C that accepts everything. Needs gcc; raises LabError."""
    target = folder / "accept.so"
    run_command(["gcc", "-O3", "-march=native", "-shared", "-fPIC", "-o", str(target), str(ACCEPT_SOURCE)])
    return target


def _run_callback(queue: int, length: int, addresses: list[str]) -> None:
    import netfilterqueue

    packed = [socket.inet_pton(socket.AF_INET6, address) for address in addresses]
    bound = netfilterqueue.NetfilterQueue()
    callback = rewriter(packed[0] + packed[1], packed[2] + packed[3])
    bound.bind(queue, callback, max_len=length, sock_len=RECEIVE_BUFFER_BYTES)
    print("ready", flush=True)
    bound.run()


def _run_accept(queue: int, length: int, compiled: str) -> None:
    native = ctypes.CDLL(compiled)
    native.queue_accept.restype = ctypes.c_long
    number = ctypes.c_uint16(queue)
    descriptor = native.queue_open(number, ctypes.c_uint32(length), 0)
    if descriptor < 0:
        raise LabError(f"queue {queue} cannot be bound")
    print("ready", flush=True)
    native.queue_accept(descriptor, number, ctypes.c_uint32(0), ctypes.c_long(-1))


def main() -> None:
    """Handle packets without end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("queue", type=int)
    parser.add_argument("length", type=int, help="packets that may wait")
    way = parser.add_subparsers(dest="way", required=True)
    callback = way.add_parser("callback")
    callback.add_argument("addresses", nargs=4, help="of packets that leave, then of those that come")
    way.add_parser("accept").add_argument("compiled", help="what build_accept returned")
    words = parser.parse_args()
    if words.way == "callback":
        _run_callback(words.queue, words.length, words.addresses)
    else:
        _run_accept(words.queue, words.length, words.compiled)


if __name__ == "__main__":
    main()
