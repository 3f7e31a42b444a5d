import itertools
import socket
import threading
from collections.abc import Iterator

import pytest

from mpcore.lab.stream import CHUNK_BYTES, Streamed, chunks, receive, send


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    a, b = socket.socketpair()
    with a, b:
        yield a, b


def transfer(ends: tuple[socket.socket, socket.socket], size: int, seeds: tuple[int, int]) -> list[Streamed]:
    """Send `size` bytes and return what both ends say; the receiver closes at the end, as programs do."""
    results: list[Streamed] = []
    sender = threading.Thread(target=lambda: results.append(send(ends[0], seeds[0], 0.0, size)))
    sender.start()
    received = receive(ends[1], seeds[1])
    ends[1].close()
    sender.join()
    return [*results, received]


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 5])
def test_all_that_was_sent_is_received_and_compared(
    ends: tuple[socket.socket, socket.socket], size: int
) -> None:
    sent, received = transfer(ends, size, (7, 7))
    assert sent.bytes == received.bytes == size
    assert sent.intact
    assert received.intact
    assert received.error is None


def test_another_stream_is_not_taken_for_it(ends: tuple[socket.socket, socket.socket]) -> None:
    _, received = transfer(ends, 2 * CHUNK_BYTES, (7, 8))
    assert not received.intact


@pytest.mark.parametrize("place", [0, CHUNK_BYTES - 1, CHUNK_BYTES + 17, 2 * CHUNK_BYTES + 3])
def test_one_wrong_byte_is_found(ends: tuple[socket.socket, socket.socket], place: int) -> None:
    data = bytearray(b"".join(map(bytes, itertools.islice(chunks(1), 3))))[: 2 * CHUNK_BYTES + 10]
    data[place] ^= 1
    writer = threading.Thread(target=lambda: (ends[0].sendall(data), ends[0].shutdown(socket.SHUT_WR)))
    writer.start()
    assert not receive(ends[1], 1).intact
    writer.join()


def test_no_two_chunks_are_alike() -> None:
    assert len({bytes(chunk) for chunk in itertools.islice(chunks(1), 40)}) == 40


def test_a_reset_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with server:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            assert receive(server, 1).error == "Connection reset by peer"


def test_only_gaps_that_end_later_count() -> None:
    result = Streamed(1, 0.0, 9.0, True, None, [(1.0, 3.0), (4.0, 4.5), (6.0, 6.1)])
    assert result.stall_ms(0.0) == 2000
    assert result.stall_ms(4.2) == 500
    assert result.stall_ms(8.0) == 0
    assert Streamed(1_000_000, 1.0, 2.0, True, None, []).mbps == 8
