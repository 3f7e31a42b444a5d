"""Reordering: five algorithms over subflows and bursts, over simulated and recorded arrivals, and peers.

In the model more subflows also mean that more segments come early, and an early one costs more than one in
order. So there are two more views, which differ in the number of subflows alone: a model in which the same
share is early whatever that number is, and the cost of each early segment, that is what a trace costs beyond
the same segments in order, divided by those that had to be queued.
"""

import time
from collections.abc import Callable
from functools import cache

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.measure import rounds
from bench.targets import EQUAL
from bench.traces import SEGMENT_BYTES, Trace, modelled, recorded, simulated
from mpcore.store.reorder import ALGORITHMS, ReorderQueue
from mpcore.store.ring import ByteRing, ChunkPool

NODES = 8192
ROUNDS = 25
FEW = 0.1  # share of early segments below which nothing is said of each
TRACES: dict[str, Callable[[], Trace]] = {
    "model, 2 subflows": lambda: modelled(2, 8),
    "model, 32 subflows": lambda: modelled(32, 8),
    "simulator, 4 links": simulated,
    "recorded, kernel": lambda: recorded("kernel"),
    "recorded, mpcore": lambda: recorded("mpcore"),
}
Receiver = Callable[[Trace], int]


def receive(algorithm: str, trace: Trace) -> ReorderQueue:
    queue = ReorderQueue(algorithm, NODES)
    queue.receive_many(trace.first, trace.starts, trace.ends, trace.subflows)
    return queue


@cache
def most_bytes(subflows: int, burst: int, early: float | None) -> int:
    """Return the most bytes that were ever out of order, by a model that knows nothing of queues."""
    trace = modelled(subflows, burst, early)
    waiting: set[int] = set()
    expected, most = trace.first, 0
    for start in trace.starts.tolist():
        waiting.add(start)
        while expected in waiting:
            waiting.remove(expected)
            expected = (expected + SEGMENT_BYTES) % 2**64
        most = max(most, len(waiting))
    return most * SEGMENT_BYTES


def fastest_s(algorithm: str, trace: Trace) -> float:
    """The fastest of a few runs."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        receive(algorithm, trace)
        times.append(time.perf_counter() - start)
    return min(times)


def early_ns(algorithm: str, trace: Trace, took_s: float, queued: int) -> float | None:
    """The cost of each of the `queued` segments; None where they are too few to tell it from the others'."""
    if queued < FEW * len(trace):
        return None
    in_order_s = fastest_s(algorithm, trace.ordered()) * (1 - queued / len(trace))
    return round((took_s - in_order_s) * 1e9 / queued, 1)


@pytest.mark.parametrize(("burst", "early"), [(1, None), (8, None), (64, None), (8, EQUAL)])
@pytest.mark.parametrize("subflows", [2, 4, 8, 16, 32])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_algorithm(
    benchmark: BenchmarkFixture, algorithm: str, subflows: int, burst: int, early: float | None
) -> None:
    trace = modelled(subflows, burst, early)
    queue = receive(algorithm, trace)
    stats = queue.stats()
    assert queue.advance(trace.last) == trace.last
    assert (stats["nodes"], stats["bytes"], stats["duplicates"]) == (0, 0, 0)
    assert stats["max_bytes"] == most_bytes(subflows, burst, early)
    queued = stats["inserts"]
    if early is not None:
        assert abs(queued / len(trace) - early) < 0.01

    group = f"reordering, {subflows} subflows, bursts of {burst}{', equal disorder' * bool(early)}"
    rounds(benchmark, group, receive, args=(algorithm, trace), rounds=ROUNDS, packets=len(trace))
    if benchmark.stats is None:
        return
    benchmark.extra_info |= {
        "ns_per_early_segment": early_ns(algorithm, trace, benchmark.stats.stats.min, queued),
        "out_of_order": round(queued / len(trace), 3),
        "hit_rate": round(stats["hits"] / queued, 3) if queued >= FEW * len(trace) else None,
        "steps_per_insert": round(stats["steps"] / max(1, queued), 2),
        "max_nodes": stats["max_nodes"],
    }


def by_batch(trace: Trace) -> int:
    queue = ReorderQueue("runs", NODES)
    return queue.receive_many(trace.first, trace.starts, trace.ends, trace.subflows)


def by_call(trace: Trace) -> int:
    receive_one, expected = ReorderQueue("runs", NODES).receive, trace.first
    for start, end, subflow in trace.rows:
        expected = receive_one(expected, start, end, subflow)
    return expected


def by_dict(trace: Trace) -> int:
    """What a Python program does first; it holds only for segments that never overlap."""
    waiting: dict[int, int] = {}
    expected = trace.first
    for start, end, _ in trace.rows:
        if start == expected:
            expected = end
            while expected in waiting:
                expected = waiting.pop(expected)
        elif (start - expected) % 2**64 < 2**63:
            waiting[start] = end
    return expected


def by_sorted_dict(trace: Trace) -> int:
    """Offsets from the first number, since the container knows nothing of serial numbers."""
    waiting = pytest.importorskip("sortedcontainers").SortedDict()
    expected, first = 0, trace.first
    for start, end, _ in trace.rows:
        start, end = (start - first) % 2**64, (end - first) % 2**64
        if start > expected:
            waiting[start] = max(end, waiting.get(start, 0))
            continue
        expected = max(expected, end)
        while waiting and waiting.peekitem(0)[0] <= expected:
            expected = max(expected, waiting.popitem(0)[1])
    return (first + expected) % 2**64


RANGE_PEERS: dict[str, Receiver] = {
    "mpcore batch": by_batch,
    "mpcore": by_call,
    "dict": by_dict,
    "sortedcontainers": by_sorted_dict,
}


@pytest.mark.parametrize("name", TRACES)
@pytest.mark.parametrize("peer", RANGE_PEERS)
def test_ranges(benchmark: BenchmarkFixture, peer: str, name: str) -> None:
    trace, receiver = TRACES[name](), RANGE_PEERS[peer]
    assert receiver(trace) == trace.last
    group = f"reordering from Python, {name}"
    rounds(benchmark, group, receiver, args=(trace,), rounds=ROUNDS, packets=len(trace))


PAYLOAD = bytes(1 << 16)


def bytes_by_mpcore(trace: Trace) -> int:
    """Ranges in the queue, bytes in the ring, what is in order read out of it."""
    size = trace.size
    ring = ByteRing(ChunkPool((size >> 16) + 2), size + (1 << 16), trace.first)
    receive_one, expected = ReorderQueue("runs", NODES).receive, trace.first
    write, read, release = ring.write, ring.read, ring.release
    for start, end, subflow in trace.rows:
        write(start, PAYLOAD[: end - start if end > start else end - start + 2**64])
        reached = receive_one(expected, start, end, subflow)
        if reached != expected:
            while part := min((reached - expected) % 2**64, 1 << 16):
                read(expected, part)
                expected = (expected + part) % 2**64
            release(expected)
    return (expected - trace.first) % 2**64


def bytes_by_aioquic(trace: Trace) -> int:
    stream = pytest.importorskip("aioquic.quic.stream")
    frame = pytest.importorskip("aioquic.quic.packet").QuicStreamFrame
    receiver, delivered = stream.QuicStreamReceiver(0, True), 0
    for start, end, _ in trace.rows:
        offset, size = (start - trace.first) % 2**64, (end - start) % 2**64
        event = receiver.handle_frame(frame(data=PAYLOAD[:size], offset=offset))
        delivered += len(event.data) if event else 0
    return delivered


def bytes_by_scapy(trace: Trace) -> int:
    """Scapy only fills a buffer; nobody is told what is in order."""
    buffer = pytest.importorskip("scapy.sessions").StringBuffer(1 << 30)
    for start, end, _ in trace.rows:
        buffer.append(PAYLOAD[: (end - start) % 2**64], (start - trace.first) % 2**64 + 1)
    return len(buffer)


BYTE_PEERS: dict[str, Receiver] = {
    "mpcore": bytes_by_mpcore,
    "aioquic": bytes_by_aioquic,
    "scapy StringBuffer": bytes_by_scapy,
}


@pytest.mark.parametrize("name", ["simulator, 4 links", "recorded, kernel", "recorded, mpcore"])
@pytest.mark.parametrize("peer", BYTE_PEERS)
def test_bytes(benchmark: BenchmarkFixture, peer: str, name: str) -> None:
    trace, receiver = TRACES[name](), BYTE_PEERS[peer]
    assert receiver(trace) == trace.size
    group = f"reassembly of bytes from Python, {name}"
    rounds(benchmark, group, receiver, args=(trace,), rounds=ROUNDS, packets=len(trace), size=trace.size)
