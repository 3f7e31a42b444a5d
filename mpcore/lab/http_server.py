"""A web server of the standard library on a socket of the kernel's MPTCP, or of its TCP.

`python -m mpcore.lab.http_server ADDRESS PORT [--mptcp]`. `GET /BYTES/SEED` answers with that many bytes of
the seeded stream; `PUT` of anything answers with the SHA-256 of what came.
"""

import argparse
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from mpcore.lab.pattern import CHUNK_BYTES, pattern
from mpcore.lab.sockets import listen_socket


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # named by http.server
        """Send the stream that the path names."""
        try:
            size, seed = map(int, self.path.strip("/").split("/"))
        except ValueError:
            self.send_error(404, "ask for /BYTES/SEED")
            return
        self._start(size)
        for chunk in pattern(seed, size):
            self.wfile.write(chunk)

    def do_PUT(self) -> None:  # named by http.server
        """Read the body and answer with its SHA-256 in hexadecimal."""
        digest = hashlib.sha256()
        left = int(self.headers.get("Content-Length", 0))
        while left and (chunk := self.rfile.read(min(left, CHUNK_BYTES))):
            digest.update(chunk)
            left -= len(chunk)
        body = digest.hexdigest().encode()
        self._start(len(body))
        self.wfile.write(body)

    def _start(self, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: standard error belongs to whoever started the server."""


def main() -> None:
    """Serve until a signal ends the process."""
    parser = argparse.ArgumentParser(prog="mpcore.lab.http_server", description=__doc__)
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--mptcp", action="store_true")
    options = parser.parse_args()
    server = ThreadingHTTPServer((options.address, options.port), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listen_socket(options.address, options.port, options.mptcp)
    server.serve_forever()


if __name__ == "__main__":
    main()
