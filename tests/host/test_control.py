"""The control socket: requests, refusals, events, bounds, and the socket file's life."""

import os
import selectors
import socket
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mpcore.errors import HostError, MpcoreError
from mpcore.host import control
from mpcore.host.control import (
    ControlClient,
    ControlError,
    ControlServer,
    DaemonAbsentError,
    NotPermittedError,
    build_handlers,
)
from mpcore.host.control_handlers import find_connection
from mpcore.host.control_protocol import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    LINE_BYTES_MAX,
    METHOD_NOT_FOUND,
    NOT_FOUND,
    PARSE_ERROR,
    REFUSED,
)

CONNECTIONS = [
    {"token": 0x185D5434, "local": "10.9.1.1:44962", "remote": "10.9.1.2:5201"},
    {"token": 0xD5570584, "local": "[2001:db8::1]:40000", "remote": "10.9.1.2:5201"},
]
DOCUMENT: dict[str, Any] = {"connections": CONNECTIONS, "contexts": [], "paths": [], "counters": {"X": 3}}


class Loop:
    """What a daemon does with the server, in steps that the test takes."""

    def __init__(self, path: str, handlers: Mapping[str, Callable[[Mapping[str, Any]], object]]) -> None:
        self.selector = selectors.DefaultSelector()
        self.server = ControlServer(path, handlers)
        self.server.register(self.selector)

    def step(self) -> int:
        """Handle what is ready now; return how much that was."""
        ready = self.selector.select(0)
        for key, _ in ready:
            assert key.data is self.server
            self.server.handle_ready(key)
        return len(ready)

    def settle(self, limit: int = 1000) -> None:
        """Handle until nothing is ready."""
        for _ in range(limit):
            if not self.step():
                return
        raise AssertionError("the server never comes to rest")

    def close(self) -> None:
        self.server.close()
        self.selector.close()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "control.sock")


@pytest.fixture
def loop(path: str) -> Iterator[Loop]:
    def fail(_: Mapping[str, Any]) -> object:
        raise RuntimeError("a bug")

    def refuse(_: Mapping[str, Any]) -> object:
        raise MpcoreError("not now")

    handlers = build_handlers(lambda: DOCUMENT, lambda: None)
    loop = Loop(path, {**handlers, "fail": fail, "refuse": refuse, "unencodable": lambda _: object()})
    yield loop
    loop.close()


@pytest.fixture
def connect(path: str) -> Iterator[Callable[[], socket.socket]]:
    opened: list[socket.socket] = []

    def open_one() -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(path)
        client.settimeout(5)
        opened.append(client)
        return client

    yield open_one
    for client in opened:
        client.close()


Connect = Callable[[], socket.socket]


def exchange(loop: Loop, client: socket.socket, sent: bytes) -> list[dict[str, Any]]:
    client.sendall(sent)
    loop.settle()
    return drain(loop, client)


def drain(loop: Loop, client: socket.socket) -> list[dict[str, Any]]:
    """Return the messages that arrive until the server has no more to send."""
    received = b""
    while data := read(client):
        received += data
        loop.settle()
    return [msgspec.json.decode(line) for line in received.splitlines()]


def receive(client: socket.socket) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in read(client).splitlines()]


def read(client: socket.socket) -> bytes:
    client.setblocking(False)
    received = b""
    try:
        while data := client.recv(1 << 20):
            received += data
    except BlockingIOError:
        pass
    client.settimeout(5)
    return received


def request(method: str, request_id: int = 1, **params: object) -> bytes:
    message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
    return msgspec.json.encode(message) + b"\n"


def test_show_answers_with_the_whole_document(loop: Loop, connect: Connect) -> None:
    assert exchange(loop, connect(), request("show")) == [{"jsonrpc": "2.0", "id": 1, "result": DOCUMENT}]


@pytest.mark.parametrize("section", ["connections", "contexts", "paths", "counters"])
def test_show_answers_with_one_section(loop: Loop, connect: Connect, section: str) -> None:
    (reply,) = exchange(loop, connect(), request("show", what=section))
    assert reply["result"] == {section: DOCUMENT[section]}


def test_a_request_in_pieces_is_one_request(loop: Loop, connect: Connect) -> None:
    client = connect()
    for octet in request("show", 7):
        client.sendall(bytes([octet]))
        loop.settle()
    assert [reply["id"] for reply in receive(client)] == [7]


def test_requests_in_one_piece_are_answered_in_order(loop: Loop, connect: Connect) -> None:
    replies = exchange(loop, connect(), b"".join(request("show", number) for number in range(50)))
    assert [reply["id"] for reply in replies] == list(range(50))


def test_one_turn_answers_one_request_of_a_client(loop: Loop, connect: Connect) -> None:
    client = connect()
    loop.settle()
    client.sendall(request("show", 1) + request("show", 2))
    loop.step()
    assert [reply["id"] for reply in receive(client)] == [1]
    loop.step()
    assert [reply["id"] for reply in receive(client)] == [2]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"\n", PARSE_ERROR),
        (b"{\n", PARSE_ERROR),
        (b"\xff\xfe\n", PARSE_ERROR),
        (b"[" * 50_000 + b"\n", INVALID_REQUEST),
        (b'{"method": "show", "params": {"x": ' + b"[" * 50_000 + b"\n", PARSE_ERROR),
        (b"[]\n", INVALID_REQUEST),
        (b"{}\n", INVALID_REQUEST),
        (b'{"method": 3}\n', INVALID_REQUEST),
        (b'{"method": "show", "params": [1]}\n', INVALID_REQUEST),
        (request("dance"), METHOD_NOT_FOUND),
        (request("show", what="weather"), INVALID_PARAMS),
        (request("show", what=[1]), INVALID_PARAMS),
        (request("explain", connection="1"), NOT_FOUND),
        (request("explain"), NOT_FOUND),
        (request("refuse"), REFUSED),
        (request("fail"), INTERNAL_ERROR),
        (request("unencodable"), INTERNAL_ERROR),
    ],
)
def test_a_bad_request_is_refused_and_the_next_one_answered(
    loop: Loop, connect: Connect, line: bytes, code: int
) -> None:
    replies = exchange(loop, connect(), line + request("show", 2))
    assert replies[0]["error"]["code"] == code
    assert replies[0]["error"]["message"]
    assert replies[1]["id"] == 2


def test_a_request_without_id_gets_no_reply(loop: Loop, connect: Connect) -> None:
    replies = exchange(loop, connect(), b'{"method": "show"}\n{"method": "dance"}\n' + request("show", 3))
    assert [reply["id"] for reply in replies] == [3]


def test_a_request_that_never_ends_costs_the_client_its_connection(loop: Loop, connect: Connect) -> None:
    client = connect()
    client.setblocking(False)
    for _ in range(3):
        client.send(b"x" * (LINE_BYTES_MAX // 2))
        loop.settle()
    (reply,) = receive(client)
    assert reply["error"]["code"] == INVALID_REQUEST
    assert client.recv(1) == b""


def test_a_client_beyond_the_limit_is_told_so(
    loop: Loop, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "CLIENTS_MAX", 2)
    first, second, third = connect(), connect(), connect()
    loop.settle()
    (reply,) = receive(third)
    assert "2 clients are connected already" in reply["error"]["message"]
    first.close()
    loop.settle()
    assert exchange(loop, connect(), request("show"))
    assert exchange(loop, second, request("show"))


def test_a_client_that_does_not_read_is_not_read_from(loop: Loop, connect: Connect) -> None:
    client = connect()
    client.setblocking(False)
    line = request("show")

    def flood() -> None:
        for _ in range((64 << 20) // len(line)):
            client.send(line)
            loop.settle()

    with pytest.raises(BlockingIOError):
        flood()
    assert loop.step() == 0


def test_events_reach_only_subscribers(loop: Loop, connect: Connect) -> None:
    subscriber, other = connect(), connect()
    assert exchange(loop, subscriber, request("subscribe"))[0]["result"] == {"subscribed": True}
    loop.settle()
    loop.server.publish({"event": "connection-closed", "token": 5})
    (message,) = receive(subscriber)
    assert (message["method"], message["params"]) == ("event", {"event": "connection-closed", "token": 5})
    assert receive(other) == []


def test_a_slow_subscriber_learns_how_many_events_it_lost(loop: Loop, connect: Connect) -> None:
    client = connect()
    exchange(loop, client, request("subscribe"))
    published = 3000
    for number in range(published):
        loop.server.publish({"number": number, "filling": "x" * 1000})
    messages = drain(loop, client)
    events = [message["params"]["number"] for message in messages if message["method"] == "event"]
    lost = [message["params"]["count"] for message in messages if message["method"] == "lost"]
    assert events == list(range(len(events)))
    assert len(lost) == 1
    assert len(events) + lost[0] == published
    loop.server.publish({"number": published})
    assert receive(client)[0]["params"] == {"number": published}


def test_a_subscriber_that_went_away_is_forgotten(loop: Loop, connect: Connect) -> None:
    gone, stays = connect(), connect()
    exchange(loop, gone, request("subscribe"))
    exchange(loop, stays, request("subscribe"))
    gone.close()
    loop.server.publish({"number": 1})
    assert len(receive(stays)) == 1
    assert loop.step() == 0


def test_the_reply_to_stop_is_sent_before_the_server_closes(path: str, connect: Connect) -> None:
    stopped: list[bool] = []
    loop = Loop(path, build_handlers(lambda: DOCUMENT, lambda: stopped.append(True)))
    client = connect()
    client.sendall(request("stop"))
    while not stopped:
        loop.step()
    loop.close()
    assert receive(client)[0]["result"] == {"stopping": True}


def test_the_socket_is_for_owner_and_group_and_goes_with_the_server(path: str) -> None:
    loop = Loop(path, {})
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
    loop.close()
    assert not os.path.exists(path)


def test_the_directory_is_made(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "control.sock"
    loop = Loop(str(path), {})
    assert path.is_socket()
    loop.close()


def test_the_socket_of_a_dead_daemon_is_replaced(path: str) -> None:
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dead.bind(path)
    dead.close()
    loop = Loop(path, {})
    loop.close()


def test_the_socket_of_a_live_daemon_is_left_alone(loop: Loop, path: str, connect: Connect) -> None:
    with pytest.raises(HostError, match=r"a daemon answers on .* already; stop it or choose another"):
        ControlServer(path, {})
    assert exchange(loop, connect(), request("show"))


def test_the_socket_of_a_live_but_busy_daemon_is_left_alone(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as busy:
        busy.bind(path)
        busy.listen(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as waiting:
            waiting.connect(path)
            with pytest.raises(HostError, match="a daemon answers on"):
                ControlServer(path, {})
    assert os.path.exists(path)


def test_another_file_in_place_of_the_socket_is_left_alone(path: str) -> None:
    Path(path).write_text("mine")
    with pytest.raises(HostError, match="exists and is no socket"):
        ControlServer(path, {})
    assert Path(path).read_text() == "mine"


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"cannot listen on .*choose another with --control"):
        ControlServer(str(tmp_path / ("x" * 120)), {})


def test_close_leaves_the_socket_of_a_successor(path: str) -> None:
    loop = Loop(path, {})
    os.unlink(path)
    successor = Loop(path, {})
    loop.close()
    assert os.path.exists(path)
    successor.close()


@pytest.mark.parametrize(
    "text",
    [
        "185d5434",
        "0x185d5434",
        str(0x185D5434),
        "10.9.1.1:44962",
        "10.9.1.1:44962-10.9.1.2:5201",
    ],
)
def test_a_connection_goes_by_token_or_ends(text: str) -> None:
    assert find_connection(CONNECTIONS, text) is CONNECTIONS[0]


def test_a_name_of_two_connections_is_refused_with_their_tokens() -> None:
    with pytest.raises(ControlError, match="185d5434, d5570584"):
        find_connection(CONNECTIONS, "10.9.1.2:5201")


@pytest.fixture
def served(loop: Loop) -> Iterator[Loop]:
    """Run the loop in a thread, for the client that blocks."""
    reader, writer = socket.socketpair()
    loop.selector.register(reader, selectors.EVENT_READ)

    def serve() -> None:
        while True:
            for key, _ in loop.selector.select():
                if key.data is None:
                    return
                loop.server.handle_ready(key)

    thread = threading.Thread(target=serve)
    thread.start()
    yield loop
    writer.send(b"x")
    thread.join()
    loop.selector.unregister(reader)
    reader.close()
    writer.close()


def test_the_client_returns_results_and_raises_refusals(served: Loop, path: str) -> None:
    with ControlClient(path) as client:
        assert client.call("show", what="counters") == {"counters": {"X": 3}}
        with pytest.raises(ControlError, match="unknown method 'dance'") as caught:
            client.call("dance")
        assert caught.value.code == METHOD_NOT_FOUND
        assert client.call("explain", connection="185d5434") == CONNECTIONS[0]


def test_the_client_follows_events_until_the_daemon_ends(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        client = ControlClient(path)
        daemon, _ = listener.accept()
        daemon.sendall(
            b'{"jsonrpc": "2.0", "method": "event", "params": {"n": 1}}\n'
            b'{"jsonrpc": "2.0", "id": 1, "result": {}}\n'
            b'{"jsonrpc": "2.0", "method": "lost", "params": {"count": 2}}\n'
        )
        daemon.shutdown(socket.SHUT_WR)
        with client, daemon:
            assert list(client.subscribe()) == [("event", {"n": 1}), ("lost", {"count": 2})]


def test_without_a_daemon_the_client_says_how_to_get_one(path: str) -> None:
    with pytest.raises(DaemonAbsentError, match="start one with 'mpcore run'"):
        ControlClient(path)


def test_a_daemon_that_went_away_is_told_apart_from_a_reply(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        client = ControlClient(path)
        listener.accept()[0].close()
        with client, pytest.raises(DaemonAbsentError, match="went away"):
            client.call("show")


def test_a_daemon_that_is_silent_is_given_up(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        refusal = pytest.raises(DaemonAbsentError, match=r"has not answered for 0\.01 s")
        with ControlClient(path, timeout_s=0.01) as client, refusal:
            client.call("show")


def test_a_socket_for_others_is_a_matter_of_permission(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(NotPermittedError, match="run as root"):
        ControlClient(path)
