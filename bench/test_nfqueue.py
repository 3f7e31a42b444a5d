"""Packet queues: accept everything, with mpcore's loop, other packages, and a C program as the ceiling.

Small packets are put into the queue first and then let go, so that only the loop is timed; bulk TCP runs
through a queue in another process. Both happen in a network namespace that vanishes afterwards.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.build import LAB_SOURCES, extension, library
from bench.measure import rounds
from mpcore.host.nfqueue import NetlinkQueue

NUMBER = 5207
SMALL_PACKETS = 4096
SMALL_BYTES = 64
BULK_BYTES = 64 << 20
MOST = 16384  # packets that wait in the kernel
RECEIVE_BUFFER_BYTES = 16 << 20
SEND_BUFFER_BYTES = 64 << 20
SO_SNDBUFFORCE = 32
CLONE_NEWNET = 0x40000000
MARK = 0x10000000
Accept = Callable[[int], int]  # how many packets to accept, -1 for no end -> how many there were


@pytest.fixture
def namespace() -> Iterator[None]:
    """Move this thread into a new network namespace with loopback up, and back at the end."""
    if os.geteuid() != 0:
        pytest.skip("needs root: queues are bound in a network namespace")
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
        _run("ip", "link", "set", "lo", "mtu", "1500", "up")
        yield
    finally:
        assert libc.setns(before, CLONE_NEWNET) == 0
        os.close(before)


@pytest.fixture
def all_processors() -> Iterator[None]:
    """Let sender, receiver and queue have processors of their own; other benchmarks share one."""
    chosen = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    yield
    os.sched_setaffinity(0, chosen)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def queue_rule(protocol: str) -> None:
    match = ["-p", protocol, "-j", "NFQUEUE", "--queue-num", str(NUMBER)]
    _run("iptables", "-w", "-t", "mangle", "-A", "OUTPUT", *match)


@contextlib.contextmanager
def by_mpcore(mark: int = 0) -> Iterator[Accept]:
    accept = extension("accept_loop").accept
    with NetlinkQueue(NUMBER, max_length=MOST, mark_seen=mark, mark_leave=0) as queue:
        yield lambda count: accept(queue, count)


@contextlib.contextmanager
def by_c(mark: int = 0) -> Iterator[Accept]:
    native = library("accept", LAB_SOURCES)
    native.queue_accept.restype = ctypes.c_long
    number = ctypes.c_uint16(NUMBER)
    descriptor = native.queue_open(number, MOST, 1)
    assert descriptor >= 0
    yield lambda count: native.queue_accept(descriptor, number, ctypes.c_uint32(mark), ctypes.c_long(count))
    os.close(descriptor)


@contextlib.contextmanager
def by_netfilterqueue(mark: int = 0) -> Iterator[Accept]:
    queue = pytest.importorskip("netfilterqueue").NetfilterQueue()
    seen = 0

    def callback(packet: object) -> None:
        nonlocal seen
        seen += 1
        if mark:
            packet.set_mark(mark)  # type: ignore[attr-defined]
        packet.accept()  # type: ignore[attr-defined]

    queue.bind(NUMBER, callback, max_len=MOST, sock_len=RECEIVE_BUFFER_BYTES)

    def accept(count: int) -> int:
        had = seen
        while count < 0 or seen - had < count:
            queue.run(block=count < 0)
        return seen - had

    yield accept
    queue.unbind()


@contextlib.contextmanager
def by_fnfqueue(mark: int = 0) -> Iterator[Accept]:
    fnfqueue = pytest.importorskip("fnfqueue")
    connection = fnfqueue.Connection()
    queue = connection.bind(NUMBER)
    queue.set_mode(0xFFFF, fnfqueue.COPY_PACKET)

    def accept(count: int) -> int:
        for done, packet in enumerate(connection, start=1):
            if mark:
                packet.mark = mark
                packet.mangle()
            else:
                packet.accept()
            if done == count:
                return done
        return 0

    yield accept
    connection.close()


PEERS: dict[str, Callable[..., contextlib.AbstractContextManager[Accept]]] = {
    "mpcore": by_mpcore,
    "C program": by_c,
    "netfilterqueue": by_netfilterqueue,
    "fnfqueue": by_fnfqueue,
}
SLOW = {"fnfqueue": 150}  # its socket buffer holds no more, and it cannot be told to be larger


@pytest.mark.usefixtures("namespace")
@pytest.mark.parametrize("mark", [0, MARK], ids=["plain", "marked"])
@pytest.mark.parametrize("peer", PEERS)
def test_small_packets(benchmark: BenchmarkFixture, peer: str, mark: int) -> None:
    """With a mark, too, as the daemon's rules need it: the kernel then looks up the packet's route again."""
    queue_rule("udp")
    packets = SLOW.get(peer, SMALL_PACKETS)
    with (
        PEERS[peer](mark) as accept,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        # what waits in the queue counts as not yet sent
        sender.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES)
        sender.connect(receiver.getsockname())
        payload = bytes(SMALL_BYTES - 28)
        sender.send(payload)
        assert accept(1) == 1
        assert receiver.recv(100) == payload

        def fill() -> None:
            for _ in range(packets):
                sender.send(payload)

        def drain() -> None:
            assert accept(packets) == packets

        group = f"accept{' and mark' * bool(mark)} packets of {SMALL_BYTES} B from a queue"
        rounds(benchmark, group, drain, setup=fill, rounds=15, warmup_rounds=2, packets=packets)


@dataclass
class Queueing:
    """A process that accepts packets without end."""

    pid: int

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def start_queueing(peer: str) -> Queueing:
    """Fork a process that accepts without end; return once its queue is bound."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with PEERS[peer]() as accept:
                os.write(writer, b"!")
                accept(-1)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        started = stream.read(1)
    queueing = Queueing(pid)
    if not started:
        queueing.stop()
        pytest.skip(f"{peer} did not start")
    return queueing


def transfer(server: socket.socket) -> None:
    """Move the bytes over a new connection to `server`."""
    received = 0
    room = bytearray(1 << 20)
    with socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        accepted.settimeout(20)
        writer = threading.Thread(target=client.sendall, args=(bytes(BULK_BYTES),))
        writer.start()
        with accepted:
            while received < BULK_BYTES and (got := accepted.recv_into(room)):
                received += got
        writer.join()
    assert received == BULK_BYTES


@pytest.mark.usefixtures("all_processors", "namespace")
@pytest.mark.parametrize("peer", [*PEERS, "no queue"])
def test_bulk_tcp(benchmark: BenchmarkFixture, peer: str) -> None:
    if peer == "fnfqueue":
        pytest.skip("fnfqueue loses packets of a bulk flow: its socket buffer cannot be enlarged")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        if peer != "no queue":
            extension("accept_loop")  # compiled before a process needs it
            queue_rule("tcp")
        queueing = start_queueing(peer) if peer != "no queue" else None
        try:
            rounds(
                benchmark,
                "bulk TCP through a queue, MTU 1500",
                transfer,
                args=(server,),
                rounds=3,
                packets=BULK_BYTES // 1448,
                size=BULK_BYTES,
            )
        finally:
            if queueing:
                queueing.stop()
