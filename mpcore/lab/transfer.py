"""A transfer that proves itself: both ends send a seeded stream at once and hash what they receive.

`python -m mpcore.lab.transfer server|client` runs in the hosts of the laboratory. The server prints
`listening PORT`; each side prints one JSON object for each connection: `received` (bytes), `sha256`,
`subflows` (the most that the kernel had at once on its side; 0 for plain TCP), `silence_s` (the longest wait
for more, after the first byte) and `error` (null, or what broke the connection).
"""

import argparse
import hashlib
import json
import socket
import threading
import time
from dataclasses import asdict, dataclass

from mpcore.lab.pattern import CHUNK_BYTES, pattern
from mpcore.lab.sockets import listen_socket, open_socket, subflow_count

_COUNT_EVERY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Received:
    """What one end got: bytes, their SHA-256, the most subflows at once, the error that ended it, if any.

    `silence_s` is the longest time in seconds that it waited for more, after the first byte.
    """

    received: int
    sha256: str
    subflows: int
    error: str | None
    silence_s: float = 0.0


def exchange(sock: socket.socket, seed: int, size: int) -> Received:
    """Send `size` bytes of stream `seed` and, at the same time, receive until the peer has finished."""
    sender = threading.Thread(target=_send, args=(sock, seed, size), daemon=True)
    sender.start()
    result = _receive(sock)
    sender.join()
    return result


def _send(sock: socket.socket, seed: int, size: int) -> None:
    try:
        for chunk in pattern(seed, size):
            sock.sendall(chunk)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        # The receiving half meets the same failure and reports it.
        return


def _receive(sock: socket.socket) -> Received:
    digest, total, subflows, counted, error = hashlib.sha256(), 0, 0, 0, None
    buffer = memoryview(bytearray(CHUNK_BYTES))
    last_s = silence_s = 0.0
    try:
        while size := sock.recv_into(buffer):
            if total:
                silence_s = max(silence_s, time.monotonic() - last_s)
            digest.update(buffer[:size])
            total += size
            if total >= counted:
                subflows = max(subflows, subflow_count(sock))
                counted = total + _COUNT_EVERY_BYTES
            last_s = time.monotonic()
        subflows = max(subflows, subflow_count(sock))
    except OSError as failure:
        error = failure.strerror or str(failure)
    return Received(total, digest.hexdigest(), subflows, error, silence_s)


def _report(sock: socket.socket, options: argparse.Namespace) -> None:
    with sock:
        result = exchange(sock, options.seed, options.bytes)
    print(json.dumps(asdict(result)), flush=True)


def serve(options: argparse.Namespace) -> None:
    """Accept `options.count` connections and exchange on all of them, side by side."""
    workers = []
    with listen_socket(options.address, options.port, options.mptcp) as listener:
        print("listening", listener.getsockname()[1], flush=True)
        for _ in range(options.count):
            worker = threading.Thread(target=_report, args=(listener.accept()[0], options))
            worker.start()
            workers.append(worker)
        for worker in workers:
            worker.join()


def connect(options: argparse.Namespace) -> None:
    """Connect once and exchange."""
    sock = open_socket(6 if ":" in options.address else 4, options.mptcp)
    sock.settimeout(options.timeout)
    sock.connect((options.address, options.port))
    _report(sock, options)


def main() -> None:
    """Run one end; see the module's text."""
    parser = argparse.ArgumentParser(prog="mpcore.lab.transfer", description=__doc__)
    parser.add_argument("role", choices=("server", "client"))
    parser.add_argument("address", help="to listen on, or to connect to")
    parser.add_argument("port", type=int)
    parser.add_argument("--mptcp", action="store_true", help="open a socket of the kernel's MPTCP")
    parser.add_argument("--bytes", type=int, default=1 << 20, help="to send")
    parser.add_argument("--seed", type=int, default=0, help="of the stream to send")
    parser.add_argument("--count", type=int, default=1, help="connections that the server takes")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds without progress (client)")
    options = parser.parse_args()
    serve(options) if options.role == "server" else connect(options)


if __name__ == "__main__":
    main()
