"""The loop's wait: packets and the engine's timers without Python, and what makes it return."""

import os
import selectors
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random

import pytest

from mpcore.config import load_config
from mpcore.endpoint import Endpoint
from mpcore.host.nfqueue import NetlinkQueue
from mpcore.host.pump import Pump, now_ns
from mpcore.host.rawsock import RawSender
from mpcore.host.shim6_pump import Shim6Pump
from mpcore.host.waiter import Waiter
from mpcore.shim6.settings import Shim6Settings
from mpcore.shim6_endpoint import Shim6Endpoint
from mpcore.sim.shim6_identity import ToyVerifier
from tests.host.namespace import in_namespace, run

NUMBER = 78
BATCHES = 4
MS = 1_000_000
SEEN = 0x10000000


def shim6_pump(queue: NetlinkQueue) -> tuple[Shim6Pump, list[int]]:
    """Return a pump of an endpoint without contexts, and when its owner was called, nanoseconds."""
    endpoint = Shim6Endpoint(Shim6Settings(), rng=Random(1), now_ns=now_ns(), verifier=ToyVerifier())
    pump = Shim6Pump(endpoint, queue, lambda source: RawSender(6), lambda headers: 1000)
    told: list[int] = []
    pump.on_told = lambda: told.append(now_ns())
    return pump, told


class Waiting:
    """A pump whose loop knows its queue, and a pipe besides."""

    def __init__(self, queue: NetlinkQueue) -> None:
        self.queue = queue
        endpoint = Endpoint(load_config(None, ()), rng=Random(1), now_ns=now_ns())
        pump = Pump(endpoint, queue, lambda port: RawSender(4))
        self.selector = selectors.EpollSelector()
        self.reader, self.writer = os.pipe()
        for descriptor in (queue.fileno(), self.reader):
            self.selector.register(descriptor, selectors.EVENT_READ)
        self.waiter = Waiter(self.selector.fileno(), [pump])

    def serve(self, due_ns: int | None) -> list[int]:
        return self.waiter.serve(due_ns, BATCHES)


@contextmanager
def waiting() -> Iterator[Waiting]:
    with NetlinkQueue(NUMBER) as queue:
        run("iptables", "-w", "-t", "mangle", "-A", "OUTPUT", "-m", "mark", "!", "--mark", f"{SEEN}/{SEEN}",
            "-j", "NFQUEUE", "--queue-num", str(NUMBER))  # fmt: skip
        yield Waiting(queue)


@in_namespace
def test_it_returns_when_the_caller_has_something_to_do() -> None:
    with waiting() as world:
        due = now_ns() + 20 * MS
        assert world.serve(due) == []
        assert now_ns() >= due


@in_namespace
def test_it_tells_which_other_descriptor_is_ready() -> None:
    with waiting() as world:
        os.write(world.writer, b"x")
        assert world.serve(None) == [world.reader]
        assert world.serve(now_ns()) == [world.reader], "the caller has not read it"


@in_namespace
def test_packets_that_python_need_not_see_do_not_end_the_wait() -> None:
    with waiting() as world, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        for _ in range(3):
            udp.sendto(b"not TCP", udp.getsockname())
        assert world.serve(now_ns() + 50 * MS) == []
        assert world.waiter.wakeups >= 2, "it went on waiting"
        assert [udp.recv(100, socket.MSG_DONTWAIT) for _ in range(3)] == [b"not TCP"] * 3


@in_namespace
def test_a_packet_that_python_decides_on_ends_the_wait() -> None:
    with waiting() as world, socket.socket() as tcp:
        tcp.setblocking(False)
        with suppress(BlockingIOError):
            tcp.connect(("127.0.0.1", 9))
        assert world.serve(None) == []


@in_namespace
def test_a_signal_ends_the_wait() -> None:
    arrived = []
    with waiting() as world:
        signal.signal(signal.SIGALRM, lambda number, frame: arrived.append(number))
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        assert world.serve(None) == []
    assert arrived == [signal.SIGALRM]


@in_namespace
def test_an_epoll_that_is_none_is_an_error() -> None:
    with pytest.raises(OSError, match=r"Bad file descriptor"):
        Waiter(-1, []).serve(None, BATCHES)


@in_namespace
def test_shim6_hears_of_packets_that_it_need_not_decide_on_a_little_later_and_together() -> None:
    run("ip6tables", "-w", "-t", "mangle", "-A", "OUTPUT", "-p", "udp", "-j", "NFQUEUE", "--queue-num",
        str(NUMBER))  # fmt: skip
    with (
        NetlinkQueue(NUMBER) as queue,
        selectors.EpollSelector() as selector,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp,
    ):
        pump, told = shim6_pump(queue)
        selector.register(queue.fileno(), selectors.EVENT_READ)
        udp.bind(("::1", 0))
        for _ in range(20):
            udp.sendto(b"not TCP", udp.getsockname())
        begin = now_ns()
        assert Waiter(selector.fileno(), [pump]).serve(None, BATCHES) == []
        assert [at - begin >= 2 * MS for at in told] == [True]
        assert len([udp.recv(100, socket.MSG_DONTWAIT) for _ in range(20)]) == 20, "they did not wait"
