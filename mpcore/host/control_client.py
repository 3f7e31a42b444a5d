"""A program's end of the control socket."""

import socket
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from mpcore.host.control_protocol import INTERNAL_ERROR, ControlError, DaemonAbsentError, NotPermittedError


class ControlClient:
    """A program's end; blocks. Use as a context manager.

    Args:
        path: the daemon's control socket
        timeout_s: seconds that a reply may take

    Raises:
        DaemonAbsentError: nobody listens on `path`
        NotPermittedError: the socket is not for this user
    """

    def __init__(self, path: str, timeout_s: float = 10.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._next_id = 1
        self._notifications: deque[dict[str, Any]] = deque()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(path)
        except PermissionError as error:
            self._socket.close()
            raise NotPermittedError(f"{path} is not for this user: run as root") from error
        except OSError as error:
            self._socket.close()
            raise DaemonAbsentError(
                f"no daemon answers on {path}: start one with 'mpcore run', or name its socket with --control"
            ) from error
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> "ControlClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()

    def call(self, method: str, **params: object) -> Any:
        """Return the result of a request.

        Raises:
            ControlError: the daemon refused it
            DaemonAbsentError: the daemon went away or does not answer in time
        """
        request_id = self._next_id
        self._next_id += 1
        request = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        try:
            self._socket.sendall(msgspec.json.encode(request) + b"\n")
        except OSError as error:
            raise self._gone() from error
        while (reply := self._read()).get("id") != request_id:
            if "method" not in reply:
                raise ControlError(INTERNAL_ERROR, f"unexpected reply: {reply.get('error', reply)}")
            self._notifications.append(reply)
        if "error" in reply:
            raise ControlError(reply["error"]["code"], reply["error"]["message"])
        return reply["result"]

    def subscribe(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield notifications as they come, ("event", the event) or ("lost", {count}), until the daemon ends.

        Raises:
            ControlError, DaemonAbsentError: as `call`
        """
        self.call("subscribe")
        return self._follow()

    def _follow(self) -> Iterator[tuple[str, dict[str, Any]]]:
        self._socket.settimeout(None)
        while True:
            try:
                message = self._notifications.popleft() if self._notifications else self._read()
            except DaemonAbsentError:
                return
            yield message["method"], message["params"]

    def _read(self) -> dict[str, Any]:
        try:
            line = self._lines.readline()
        except TimeoutError as error:
            problem = f"the daemon on {self._path} has not answered for {self._timeout_s:g} s"
            raise DaemonAbsentError(problem) from error
        except OSError as error:
            raise self._gone() from error
        if not line.endswith(b"\n"):
            raise self._gone()
        message: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
        return message

    def _gone(self) -> DaemonAbsentError:
        return DaemonAbsentError(f"the daemon on {self._path} went away")
