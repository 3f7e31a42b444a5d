"""The queue's messages without a kernel: the queue has one end of a socket pair, the test the other."""

import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcore.actions import VerdictKind as Verdict
from mpcore.host.nfqueue import NetlinkQueue
from mpcore.host.queued import PacketFlag, QueuedPacket

NUMBER = 5200
SEEN, LEAVE = 0x10000000, 0x20000000
PACKET, VERDICT, BATCH, ERROR = 0x300, 0x301, 0x303, 2
DROP, ACCEPT, REPEAT = 0, 1, 4


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def packet_message(packet_id: int, data: bytes, *, hook: int = 3, mark: int = 0, extra: bytes = b"") -> bytes:
    body = struct.pack(">BBH", 2, 0, NUMBER) + attribute(1, struct.pack(">IHB", packet_id, 0x800, hook))
    if mark:
        body += attribute(3, struct.pack(">I", mark))
    return message(PACKET, body + extra + attribute(10, data))


def error_message(status: int, seq: int = 0) -> bytes:
    return message(ERROR, struct.pack("=iIHHII", status, 36, VERDICT, 1, seq, 0))


class Kernel:
    """The other end of a queue's socket."""

    def __init__(self) -> None:
        self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.queue = NetlinkQueue(NUMBER, descriptor=other.fileno())
        other.close()

    def give(self, *datagrams: bytes) -> list[QueuedPacket]:
        for datagram in datagrams:
            self.socket.send(datagram)
        return self.queue.recv()

    def verdicts(self) -> list[tuple[int, int, int, int | None, bytes | None]]:
        """What the queue sent in one system call: (message type, code, id, mark, payload) each."""
        data = self.socket.recv(1 << 21, socket.MSG_DONTWAIT)
        out = []
        while data:
            size, kind, flags, _, _ = struct.unpack_from("=IHHII", data)
            assert flags == 1
            assert struct.unpack_from(">BBH", data, 16) == (0, 0, NUMBER)
            attributes = dict(walk(data[20:size]))
            code, packet_id = struct.unpack(">II", attributes[2])
            mark = struct.unpack(">I", attributes[3])[0] if 3 in attributes else None
            out.append((kind, code, packet_id, mark, attributes.get(10)))
            data = data[(size + 3) & ~3 :]
        return out


def walk(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        size, kind = struct.unpack_from("=HH", data)
        yield kind, data[4:size]
        data = data[(size + 3) & ~3 :]


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    yield kernel
    kernel.queue.close()
    kernel.socket.close()


def test_every_attribute_of_a_packet_is_read(kernel: Kernel) -> None:
    extra = attribute(14, struct.pack(">I", 3)) + attribute(13, struct.pack(">I", 70000)) + attribute(99, b"")
    (packet,) = kernel.give(packet_message(9, b"data!", hook=1, mark=7, extra=extra))
    flags = PacketFlag.CHECKSUM_NOT_READY | PacketFlag.TRUNCATED | PacketFlag.GSO
    assert packet == QueuedPacket(9, False, b"data!", 7, 1, flags)


def test_several_messages_may_lie_in_one_datagram(kernel: Kernel) -> None:
    one, two, three, four = (packet_message(n, b"x" * n) for n in range(1, 5))
    packets = kernel.give(one + error_message(-2) + two + three, four)
    assert [(packet.id, packet.data) for packet in packets] == [
        (1, b"x"),
        (2, b"xx"),
        (3, b"xxx"),
        (4, b"xxxx"),
    ]
    assert kernel.queue.stats()["stale"] == 1


def test_verdicts_say_what_the_engine_decided(kernel: Kernel) -> None:
    packets = kernel.give(*[packet_message(n, b"old", mark=5) for n in range(1, 5)])
    kinds = [Verdict.PASS, Verdict.DROP, Verdict.REWRITE, Verdict.LEAVE]
    kernel.queue.verdicts([(p, k, b"newer") for p, k in zip(packets, kinds, strict=True)])
    assert kernel.verdicts() == [
        (VERDICT, ACCEPT, 1, 5 | SEEN, None),
        (VERDICT, DROP, 2, None, None),
        (VERDICT, ACCEPT, 3, 5 | SEEN, b"newer"),
        (VERDICT, REPEAT, 4, 5 | SEEN | LEAVE, None),
    ]


def test_a_batch_ends_where_marks_differ(kernel: Kernel) -> None:
    packets = kernel.give(*[packet_message(n, b"x", mark=n // 3) for n in range(6)])
    kernel.queue.verdicts([(p, Verdict.PASS, None) for p in packets])
    assert kernel.verdicts() == [(BATCH, ACCEPT, 2, SEEN, None), (BATCH, ACCEPT, 5, 1 | SEEN, None)]


def test_ids_that_wrap_still_make_a_batch(kernel: Kernel) -> None:
    packets = kernel.give(packet_message(0xFFFFFFFF, b"x"), packet_message(0, b"x"))
    kernel.queue.verdicts([(p, Verdict.DROP, None) for p in packets])
    assert kernel.verdicts() == [(BATCH, DROP, 0, None, None)]


def test_no_batch_while_a_packet_is_on_hold(kernel: Kernel) -> None:
    packets = kernel.give(*[packet_message(n, b"x") for n in range(5)])
    kinds = [Verdict.DROP, Verdict.DROP, Verdict.HOLD, Verdict.DROP, Verdict.DROP]
    kernel.queue.verdicts([(p, k, None) for p, k in zip(packets, kinds, strict=True)])
    assert [(kind, packet_id) for kind, _, packet_id, _, _ in kernel.verdicts()] == [
        (BATCH, 1),
        (VERDICT, 3),
        (VERDICT, 4),
    ]
    more = kernel.give(packet_message(5, b"x"), packet_message(6, b"x"))
    kernel.queue.verdicts([(p, Verdict.DROP, None) for p in more])
    assert [kind for kind, *_ in kernel.verdicts()] == [VERDICT, VERDICT]
    kernel.queue.verdicts([(packets[2], Verdict.DROP, None)], held=True)
    assert [(kind, packet_id) for kind, _, packet_id, _, _ in kernel.verdicts()] == [(VERDICT, 2)]
    last = kernel.give(packet_message(7, b"x"), packet_message(8, b"x"))
    kernel.queue.verdicts([(p, Verdict.DROP, None) for p in last])
    assert [kind for kind, *_ in kernel.verdicts()] == [BATCH]


def test_a_rewrite_that_fits_no_message_is_dropped(kernel: Kernel) -> None:
    (packet,) = kernel.give(packet_message(1, b"x"))
    kernel.queue.verdict(packet, Verdict.REWRITE, bytes(65532))
    assert kernel.verdicts() == [(VERDICT, DROP, 1, None, None)]
    assert kernel.queue.stats()["oversize"] == 1


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"short",
        struct.pack("=IHHII", 15, PACKET, 0, 0, 0),
        struct.pack("=IHHII", 17, PACKET, 0, 0, 0),
        message(PACKET, b""),
        message(PACKET, bytes(4) + attribute(1, bytes(7))),
        message(PACKET, bytes(4) + attribute(10, b"data without an id")),
        message(PACKET, bytes(4) + attribute(1, bytes(7)) + struct.pack("=HH", 3, 10)),
        message(PACKET, bytes(4) + attribute(1, bytes(7)) + struct.pack("=HH", 9, 10) + b"data"),
        message(ERROR, bytes(10)),
        message(0x999, b""),
    ],
)
def test_nonsense_is_counted_and_what_follows_is_read(kernel: Kernel, datagram: bytes) -> None:
    packets = kernel.give(datagram, packet_message(8, b"fine"))
    assert [packet.id for packet in packets] == [8]
    assert kernel.queue.stats()["malformed"] == 1


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mutated_messages_never_raise(data: st.DataObject) -> None:
    whole = bytearray(packet_message(1, b"payload", mark=3) + error_message(-1) + packet_message(2, b"more"))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    kernel = Kernel()
    packets = kernel.give(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    stats = kernel.queue.stats()
    assert stats["received"] == len(packets) <= 2
    assert all(len(packet.data) <= len(whole) for packet in packets)
    kernel.queue.close()
    kernel.socket.close()
