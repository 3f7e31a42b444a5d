"""A daemon without packets: the control socket over a document that a test gives."""

import selectors
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mpcore.host.control import ControlServer, build_handlers
from mpcore.host.control_handlers import Handler

DOCUMENT: dict[str, Any] = {
    "connections": [
        {
            "token": 0x185D5434,
            "role": "client",
            "state": "established",
            "local": "10.9.1.1:44962",
            "remote": "10.9.1.2:5201",
            "fallback": None,
            "bytes_sent": 3 << 30,
            "bytes_received": 1536,
            "subflows": [
                {
                    "path_index": 0,
                    "local": "10.9.1.1:44962",
                    "remote": "10.9.1.2:5201",
                    "state": "established",
                    "backup": False,
                    "srtt_us": 12_500,
                    "cwnd_bytes": 14_480,
                    "bytes_sent": 2 << 30,
                    "bytes_received": 1024,
                },
                {
                    "path_index": 1,
                    "local": "10.9.2.1:61000",
                    "remote": "10.9.2.2:5201",
                    "state": "established",
                    "backup": True,
                    "srtt_us": 0,
                    "cwnd_bytes": 14_480,
                    "bytes_sent": 1 << 30,
                    "bytes_received": 512,
                },
            ],
        },
        {
            "token": 0x00ABCDEF,
            "role": "server",
            "state": "fallback",
            "local": "[2001:db8::1]:80",
            "remote": "[2001:db8::2]:40000",
            "fallback": "the peer did not offer MP_CAPABLE",
            "bytes_sent": 0,
            "bytes_received": 0,
            "subflows": [],
        },
    ],
    "contexts": [
        {
            "ulid_local": "2001:db8::1",
            "ulid_peer": "2001:db8::2",
            "state": "ESTABLISHED",
            "locators_local": ["2001:db8::1", "2001:db8:1::1"],
            "tag_local": "00c0ffee",
            "reap_state": None,
        }
    ],
    "paths": [{"index": 3, "local": "10.9.1.1", "backup": True, "rtt_us": 1_200_000, "bytes_sent": 10}],
    "counters": {"MPTcpExtMPCapableSYNTX": 12, "MPTcpExtMPJoinSynTx": 0, "MpcoreExtRewritten": 104_857},
}


class FakeDaemon:
    """A thread that serves the control socket; `publish` and `stop` may be called from the test's thread."""

    def __init__(
        self, path: str, document: Mapping[str, Any], handlers: Mapping[str, Handler] | None = None
    ) -> None:
        self.path = path
        self.subscribed = threading.Event()
        self._commands: list[Callable[[], object]] = []
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._server = ControlServer(
            path, {**build_handlers(lambda: document, lambda: None), **(handlers or {})}
        )
        self._server.register(self._selector)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def publish(self, event: Mapping[str, Any]) -> None:
        self._commands.append(lambda: self._server.publish(event))
        self._wake.send(b"p")

    def stop(self) -> None:
        self._wake.send(b"s")
        self._thread.join()
        self._server.close()
        for opened in (self._selector, self._wake, self._woken):
            opened.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is not None:
                    self._server.handle_ready(key)
                    self._note_subscribers()
                elif self._woken.recv(1) == b"s":
                    return
                else:
                    self._commands.pop(0)()

    def _note_subscribers(self) -> None:
        if any(client.subscribed for client in self._server._clients.values()):
            self.subscribed.set()


@contextmanager
def fake_daemon(
    path: str, document: Mapping[str, Any], handlers: Mapping[str, Handler] | None = None
) -> Iterator[FakeDaemon]:
    daemon = FakeDaemon(path, document, handlers)
    try:
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with fake_daemon(str(tmp_path / "control.sock"), DOCUMENT) as running:
        yield running
