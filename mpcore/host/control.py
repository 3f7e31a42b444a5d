"""The daemon's end of the control socket.

A Unix stream socket of mode 0660. The server does a bounded amount of work a turn and holds a bounded number
of bytes a client; it never blocks the loop that forwards packets. The messages are in `control_protocol`, the
daemon's answers in `control_handlers`, the other end in `control_client`.
"""

import grp
import logging
import os
import selectors
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from mpcore.errors import HostError, MpcoreError
from mpcore.host.control_client import ControlClient
from mpcore.host.control_handlers import Handler, build_handlers
from mpcore.host.control_protocol import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    LINE_BYTES_MAX,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    REFUSED,
    ControlError,
    DaemonAbsentError,
    NotPermittedError,
    Request,
    encode_error,
    encode_notification,
    encode_result,
)

__all__ = [
    "ControlClient",
    "ControlError",
    "ControlServer",
    "DaemonAbsentError",
    "NotPermittedError",
    "build_handlers",
]

CLIENTS_MAX = 32
EVENT_BACKLOG_BYTES = 1 << 20
SOCKET_MODE = 0o660
SOCKET_GROUP = "mpcore"

log = logging.getLogger(__name__)


class _Client:
    """One connected program: what it sent, what it has yet to read."""

    __slots__ = ("inbox", "lost", "outbox", "socket", "subscribed")

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.subscribed = False
        self.lost = 0

    @property
    def has_line(self) -> bool:
        return b"\n" in self.inbox

    @property
    def interest(self) -> int:
        """A client whose answer waits, or whose next request does, is not read from."""
        return selectors.EVENT_WRITE if self.outbox or self.has_line else selectors.EVENT_READ


class ControlServer:
    """The daemon's end; all methods are for the thread that runs the loop.

    Args:
        path: where to listen; a socket left by a dead daemon is replaced
        handlers: by method name; each takes the request's params and returns what JSON can hold, or raises
            ControlError. `subscribe` is the server's own.

    Raises:
        HostError: a daemon answers on `path` already, or the socket cannot be made
    """

    def __init__(self, path: str, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = dict(handlers)
        self._clients: dict[int, _Client] = {}
        self._selector: selectors.BaseSelector | None = None
        self._listener = _listen(path)
        self._inode = os.stat(path).st_ino
        self._decoder = msgspec.json.Decoder(Request)

    def fileno(self) -> int:
        """Return the descriptor that clients arrive on."""
        return self._listener.fileno()

    def register(self, selector: selectors.BaseSelector) -> None:
        """Have `selector` watch for clients; its keys for this server carry the server as `data`."""
        self._selector = selector
        selector.register(self._listener, selectors.EVENT_READ, self)

    def handle_ready(self, key: selectors.SelectorKey) -> None:
        """Take the next step for a key that the selector reported: a new client, or one request."""
        if key.fd == self._listener.fileno():
            self._accept()
            return
        client = self._clients.get(key.fd)
        if client is not None:
            self._serve(client)

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody would read an event."""
        return any(client.subscribed for client in self._clients.values())

    def publish(self, event: Mapping[str, Any]) -> None:
        """Send the event to all who subscribed; who has too much unread already loses it and is told so."""
        subscribers = [client for client in self._clients.values() if client.subscribed]
        if not subscribers:
            return
        line = encode_notification("event", event)
        for client in subscribers:
            if len(client.outbox) + len(line) > EVENT_BACKLOG_BYTES:
                client.lost += 1
                continue
            client.outbox += line
            self._flush(client)

    def close(self) -> None:
        """Let all clients go and remove the socket, unless another daemon has taken its place."""
        for client in list(self._clients.values()):
            self._drop(client)
        if self._selector is not None:
            self._selector.unregister(self._listener)
            self._selector = None
        self._listener.close()
        with suppress(FileNotFoundError):
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)

    def _accept(self) -> None:
        try:
            connected, _ = self._listener.accept()
        except OSError:
            return
        connected.setblocking(False)
        if len(self._clients) >= CLIENTS_MAX or self._selector is None:
            with connected, suppress(OSError):
                connected.send(encode_error(None, REFUSED, f"{CLIENTS_MAX} clients are connected already"))
            return
        client = _Client(connected)
        self._clients[connected.fileno()] = client
        self._selector.register(connected, client.interest, self)

    def _serve(self, client: _Client) -> None:
        """Send what waits; when nothing does, read what came and answer one request."""
        if not self._flush(client) or client.outbox:
            return
        if not client.has_line and not self._receive(client):
            return
        if client.has_line:
            line, _, rest = client.inbox.partition(b"\n")
            client.inbox = rest
            client.outbox += self._answer(client, bytes(line))
            self._flush(client)

    def _receive(self, client: _Client) -> bool:
        """Read once; False means that the client is gone."""
        try:
            received = client.socket.recv(LINE_BYTES_MAX)
        except BlockingIOError:
            return True
        except OSError:
            received = b""
        client.inbox += received
        too_long = len(client.inbox) > LINE_BYTES_MAX and not client.has_line
        if too_long:
            problem = f"a request has at most {LINE_BYTES_MAX} bytes"
            client.outbox += encode_error(None, INVALID_REQUEST, problem)
            if not self._flush(client):
                return False
        if too_long or not received:
            self._drop(client)
            return False
        return True

    def _flush(self, client: _Client) -> bool:
        """Send what the socket takes; False means that the client is gone."""
        while client.outbox:
            try:
                sent = client.socket.send(client.outbox)
            except BlockingIOError:
                break
            except OSError:
                self._drop(client)
                return False
            del client.outbox[:sent]
            if not client.outbox and client.lost:
                client.outbox += encode_notification("lost", {"count": client.lost})
                client.lost = 0
        self._watch(client)
        return True

    def _watch(self, client: _Client) -> None:
        if self._selector is not None and self._selector.get_key(client.socket).events != client.interest:
            self._selector.modify(client.socket, client.interest, self)

    def _drop(self, client: _Client) -> None:
        if self._selector is not None:
            self._selector.unregister(client.socket)
        del self._clients[client.socket.fileno()]
        client.socket.close()

    def _answer(self, client: _Client, line: bytes) -> bytes:
        """Return the reply to one request; nothing where the request asked for none by having no id."""
        try:
            request = self._decoder.decode(line)
        except msgspec.ValidationError as error:
            return encode_error(None, INVALID_REQUEST, str(error))
        except (msgspec.DecodeError, RecursionError) as error:
            return encode_error(None, PARSE_ERROR, str(error))
        reply = self._reply(client, request, None if request.id is msgspec.UNSET else request.id)
        return b"" if request.id is msgspec.UNSET else reply

    def _reply(self, client: _Client, request: Request, request_id: int | str | None) -> bytes:
        try:
            return encode_result(request_id, self._call(client, request))
        except ControlError as error:
            return encode_error(request_id, error.code, str(error))
        except MpcoreError as error:
            return encode_error(request_id, REFUSED, str(error))
        except Exception:
            # A status request must not be what stops the daemon.
            log.exception("control request %s failed", request.method)
            return encode_error(request_id, INTERNAL_ERROR, "internal error; see the daemon's log")

    def _call(self, client: _Client, request: Request) -> object:
        if request.method == "subscribe":
            client.subscribed = True
            return {"subscribed": True}
        handler = self._handlers.get(request.method)
        if handler is None:
            raise ControlError(METHOD_NOT_FOUND, f"unknown method {request.method!r}")
        return handler(request.params)


def _listen(path: str) -> socket.socket:
    """Return a non-blocking socket that listens on `path`; its directory is made if need be."""
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o755, exist_ok=True)
        _remove_stale(path)
        return _bind(path)
    except OSError as error:
        problem = f"cannot listen on {path}: {error.strerror or error}; choose another with --control"
        raise HostError(problem) from error


def _bind(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    # The mode must hold from the first moment, so the mask is set and not the file changed afterwards.
    mask = os.umask(0o777 & ~SOCKET_MODE)
    try:
        listener.bind(path)
        listener.listen(CLIENTS_MAX)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    with suppress(KeyError, PermissionError):
        os.chown(path, -1, grp.getgrnam(SOCKET_GROUP).gr_gid)
    return listener


def _remove_stale(path: str) -> None:
    """Remove the socket of a daemon that is dead; refuse to touch anything else."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise HostError(f"{path} exists and is no socket; remove it or choose another with --control")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except BlockingIOError:
            pass  # alive, with a full backlog
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise HostError(f"a daemon answers on {path} already; stop it or choose another with --control")
