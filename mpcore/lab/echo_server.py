"""A server that sends back what comes, on any number of connections, each until its client closes it.

`python -m mpcore.lab.echo_server ADDRESS PORT [--mptcp]` prints `listening PORT` and serves until a signal
ends it.
"""

import argparse
import resource
import select
import socket
from contextlib import suppress

from mpcore.lab.sockets import listen_socket

_READ_BYTES = 1 << 16
_BACKLOG = 1024


class EchoServer:
    """Serves the connections that `listener` accepts, in one thread."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._epoll = select.epoll()
        self._connections: dict[int, socket.socket] = {}
        listener.setblocking(False)
        self._epoll.register(listener.fileno(), select.EPOLLIN)

    def serve_forever(self) -> None:
        """Serve until an exception ends it."""
        while True:
            for descriptor, _ in self._epoll.poll():
                if descriptor == self._listener.fileno():
                    self._accept()
                else:
                    self._echo(descriptor)

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                connection, _ = self._listener.accept()
                self._connections[connection.fileno()] = connection
                self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _echo(self, descriptor: int) -> None:
        connection = self._connections[descriptor]
        try:
            data = connection.recv(_READ_BYTES)
            if data:
                connection.sendall(data)
                return
        except OSError:
            pass  # the client sees the same end, and reports it
        del self._connections[descriptor]
        connection.close()


def allow_many_files() -> None:
    """Let this process open as many descriptors as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    """Serve; see the module's text."""
    parser = argparse.ArgumentParser(prog="mpcore.lab.echo_server", description=__doc__)
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--mptcp", action="store_true", help="open a socket of the kernel's MPTCP")
    options = parser.parse_args()
    allow_many_files()
    with listen_socket(options.address, options.port, options.mptcp) as listener:
        listener.listen(_BACKLOG)
        print("listening", listener.getsockname()[1], flush=True)
        EchoServer(listener).serve_forever()


if __name__ == "__main__":
    main()
