"""Queues: every verdict against the kernel, for both backends; then the netlink backend's own abilities."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from mpcore.actions import VerdictKind as Verdict
from mpcore.errors import HostError
from mpcore.host.nfqueue import NetlinkQueue, PacketQueue
from mpcore.host.queued import PacketFlag, QueuedPacket
from mpcore.host.simplequeue import SimpleQueue
from tests.host.namespace import in_namespace, run
from tests.host.packets import replace_payload

NUMBER = 77
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
SEEN, LEAVE = 0x10000000, 0x20000000
BACKENDS = pytest.mark.parametrize("backend", [NetlinkQueue, SimpleQueue])


def queue_rule(*match: str, chain: str = "OUTPUT") -> None:
    run("iptables", "-w", "-t", "mangle", "-A", chain, *match, "-m", "mark", "!", "--mark", f"{SEEN}/{SEEN}",
        "-j", "NFQUEUE", "--queue-num", str(NUMBER), "--queue-bypass")  # fmt: skip


class Pair:
    """Two UDP sockets on loopback whose packets, one way, are queued."""

    def __init__(self) -> None:
        queue_rule("-p", "udp")
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.bind(("127.0.0.1", 0))
        self.receiver.settimeout(5)
        self.sender.connect(self.receiver.getsockname())

    def send(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.sender.send(payload)

    def received(self, count: int) -> list[bytes]:
        return [self.receiver.recv(65536) for _ in range(count)]

    def nothing_waits(self) -> bool:
        readable, _, _ = select.select([self.receiver], [], [], 0)
        return not readable


def take(queue: PacketQueue, count: int) -> list[QueuedPacket]:
    """The next `count` packets of the queue."""
    packets: list[QueuedPacket] = []
    while len(packets) < count:
        arrived = queue.recv(5000)
        assert arrived, f"only {len(packets)} of {count} packets came: {queue.stats()}"
        packets += arrived
    assert len(packets) == count
    return packets


@BACKENDS
@in_namespace
def test_accept_rewrite_and_drop(backend: type[NetlinkQueue | SimpleQueue]) -> None:
    with backend(NUMBER) as queue:
        pair = Pair()
        pair.send(b"accept", b"rewrite", b"drop", b"last")
        accept, rewrite, drop, last = take(queue, 4)
        assert accept.from_host
        assert accept.mark == 0
        assert accept.data.endswith(b"accept")
        queue.verdicts(
            [
                (accept, Verdict.PASS, None),
                (rewrite, Verdict.REWRITE, replace_payload(rewrite.data, b"rewrite", b"something else")),
                (drop, Verdict.DROP, None),
                (last, Verdict.PASS, None),
            ]
        )
        assert pair.received(3) == [b"accept", b"something else", b"last"]
        assert pair.nothing_waits()
        assert queue.stats()["verdicts"] == 4


@BACKENDS
@in_namespace
def test_direction_is_told_by_the_hook(backend: type[NetlinkQueue | SimpleQueue]) -> None:
    with backend(NUMBER) as queue:
        pair = Pair()
        run("iptables", "-w", "-t", "mangle", "-F")
        queue_rule("-p", "udp", chain="INPUT")
        pair.send(b"in")
        (packet,) = take(queue, 1)
        assert not packet.from_host
        queue.verdict(packet, Verdict.PASS)
        assert pair.received(1) == [b"in"]


@BACKENDS
@in_namespace
def test_held_packets_stay_until_released_in_any_order(backend: type[NetlinkQueue | SimpleQueue]) -> None:
    with backend(NUMBER) as queue:
        pair = Pair()
        pair.send(b"0", b"1", b"2", b"3")
        packets = take(queue, 4)
        kinds = [Verdict.HOLD, Verdict.PASS, Verdict.HOLD, Verdict.PASS]
        queue.verdicts([(packet, kind, None) for packet, kind in zip(packets, kinds, strict=True)])
        assert pair.received(2) == [b"1", b"3"]
        assert pair.nothing_waits()
        # a batch verdict for these would settle the held ones with them
        pair.send(b"4", b"5")
        queue.verdicts([(packet, Verdict.PASS, None) for packet in take(queue, 2)])
        assert pair.received(2) == [b"4", b"5"]
        assert pair.nothing_waits()
        queue.verdicts([(packets[2], Verdict.PASS, None), (packets[0], Verdict.PASS, None)], held=True)
        assert pair.received(2) == [b"2", b"0"]


@BACKENDS
@in_namespace
def test_after_leave_the_connection_never_comes_back(backend: type[NetlinkQueue | SimpleQueue]) -> None:
    leave = f"{LEAVE}/{LEAVE}"
    for chain in ("OUTPUT", "INPUT"):
        mangle = ("iptables", "-w", "-t", "mangle", "-A", chain, "-p", "tcp")
        run(*mangle, "-m", "connmark", "--mark", leave, "-j", "RETURN")
        run(*mangle, "-m", "mark", "--mark", leave, "-j", "CONNMARK", "--save-mark", "--mask", hex(LEAVE))
        queue_rule("-p", "tcp", chain=chain)
    with backend(NUMBER) as queue, socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(server.getsockname())
        (syn,) = take(queue, 1)
        queue.verdict(syn, Verdict.LEAVE)
        accepted, _ = server.accept()
        client.setblocking(True)
        client.sendall(b"free")
        accepted.settimeout(5)
        assert accepted.recv(100) == b"free"
        assert queue.recv() == []
        assert queue.stats()["received"] == 1


@BACKENDS
@in_namespace
def test_more_packets_than_slots_come_in_turns(backend: type[NetlinkQueue | SimpleQueue]) -> None:
    with backend(NUMBER, slots=3) as queue:
        pair = Pair()
        payloads = [b"%d" % n for n in range(10)]
        pair.send(*payloads)
        sizes = []
        for _ in range(4):
            packets = queue.recv(5000)
            sizes.append(len(packets))
            queue.verdicts([(packet, Verdict.PASS, None) for packet in packets])
        assert sizes == [3, 3, 3, 1]
        assert pair.received(10) == payloads


@in_namespace
def test_large_packets_come_a_few_at_a_time() -> None:
    with NetlinkQueue(NUMBER) as queue:
        pair = Pair()
        pair.sender.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 16 << 20)

        def sizes(payload: bytes, count: int) -> list[int]:
            pair.send(*[payload] * count)
            taken = []
            while sum(taken) < count:
                packets = queue.recv(5000)
                assert packets, queue.stats()
                taken.append(len(packets))
                queue.verdicts([(packet, Verdict.DROP, None) for packet in packets])
            return taken

        assert sizes(b"small", 100) == [64, 36]
        assert sizes(bytes(60_000), 70)[1:] == [4, 2]  # the first call cannot know
        assert sizes(b"small", 100)[0] == 4
        assert sizes(b"small", 2000)[-2] == 64


@BACKENDS
@in_namespace
def test_a_number_in_use_is_refused(backend: type[NetlinkQueue | SimpleQueue]) -> None:
    with backend(NUMBER), pytest.raises(HostError, match="whether another program holds it"):
        backend(NUMBER)


@BACKENDS
@in_namespace
def test_closing_gives_the_number_back(backend: type[NetlinkQueue | SimpleQueue]) -> None:
    queue = backend(NUMBER)
    pair = Pair()
    pair.send(b"a", b"b")
    take(queue, 2)
    pair.send(b"unread")
    queue.close()
    queue.close()
    assert queue.fileno() == -1
    # --queue-bypass: without a listener packets pass
    pair.send(b"open")
    assert pair.received(1) == [b"open"]
    backend(NUMBER).close()


@in_namespace
def test_a_packet_settled_twice_is_counted_as_stale() -> None:
    with NetlinkQueue(NUMBER) as queue:
        pair = Pair()
        pair.send(b"x")
        (packet,) = take(queue, 1)
        queue.verdict(packet, Verdict.PASS)
        queue.verdict(packet, Verdict.DROP)
        assert queue.recv(5000) == []
        assert queue.stats()["stale"] == 1


@in_namespace
def test_runs_of_equal_verdicts_share_a_message() -> None:
    with NetlinkQueue(NUMBER) as queue:
        pair = Pair()
        pair.send(*[b"%d" % n for n in range(9)])
        kinds = [Verdict.PASS] * 3 + [Verdict.DROP] * 3 + [Verdict.PASS] * 3
        queue.verdicts([(packet, kind, None) for packet, kind in zip(take(queue, 9), kinds, strict=True)])
        assert pair.received(6) == [b"0", b"1", b"2", b"6", b"7", b"8"]
        assert pair.nothing_waits()
        assert queue.stats()["verdict_messages"] == 3
        assert queue.stats()["verdicts"] == 9


@in_namespace
def test_one_packet_out_of_turn_settles_no_other() -> None:
    with NetlinkQueue(NUMBER) as queue:
        pair = Pair()
        pair.send(b"0", b"1", b"2")
        first, second, third = take(queue, 3)
        queue.verdicts([(second, Verdict.PASS, None), (third, Verdict.PASS, None)])
        assert pair.received(2) == [b"1", b"2"]
        queue.verdict(first, Verdict.DROP)
        assert pair.nothing_waits()
        assert queue.recv() == []
        assert queue.stats()["stale"] == 0


@in_namespace
def test_many_large_rewrites_go_in_few_system_calls() -> None:
    with NetlinkQueue(NUMBER) as queue:
        pair = Pair()
        pair.receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        pair.sender.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 16 << 20)
        payloads = [bytes([n]) * 60000 for n in range(40)]
        pair.send(*payloads)
        packets = take(queue, 40)
        changed = [
            (p, Verdict.REWRITE, replace_payload(p.data, bytes([n]), b"!")) for n, p in enumerate(packets)
        ]
        queue.verdicts(changed)
        assert pair.received(40) == [b"!" * 60000] * 40
        assert 2 <= queue.stats()["send_calls"] <= 4


@in_namespace
def test_the_simple_queue_says_that_it_cut_a_packet() -> None:
    with SimpleQueue(NUMBER) as queue:
        pair = Pair()
        pair.send(bytes(9000), b"whole")
        cut, whole = take(queue, 2)
        assert cut.flags & PacketFlag.TRUNCATED
        assert not whole.flags
        queue.verdicts([(cut, Verdict.PASS, None), (whole, Verdict.PASS, None)])
        assert pair.received(2) == [bytes(9000), b"whole"]


@contextlib.contextmanager
def pumped(queue: PacketQueue, sizes: list[int], flags: set[PacketFlag]) -> Iterator[None]:
    """A thread that lets every packet through and notes its size and flags."""
    stop = threading.Event()

    def pump() -> None:
        while not stop.is_set():
            packets = queue.recv(50)
            sizes.extend(len(packet.data) for packet in packets)
            flags.update(packet.flags for packet in packets)
            queue.verdicts([(packet, Verdict.PASS, None) for packet in packets])

    thread = threading.Thread(target=pump)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@in_namespace
def test_super_packets_arrive_whole() -> None:
    run("ip", "link", "set", "lo", "mtu", "1500")
    queue_rule("-p", "tcp")
    sizes: list[int] = []
    flags: set[PacketFlag] = set()
    total = 1 << 20
    with (
        NetlinkQueue(NUMBER) as queue,
        pumped(queue, sizes, flags),
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        client = socket.create_connection(server.getsockname(), timeout=10)
        accepted, _ = server.accept()
        accepted.settimeout(10)
        writer = threading.Thread(target=client.sendall, args=(bytes(total),))
        writer.start()
        left = total
        while left:
            left -= len(accepted.recv(left))
        writer.join()
    assert max(sizes) > 10000
    assert PacketFlag.CHECKSUM_NOT_READY in flags
    assert not any(flag & PacketFlag.TRUNCATED for flag in flags)
