"""The Internet checksum: called from Python, and over many buffers without Python between them."""

import ctypes
import sys
from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.build import library
from bench.measure import CALLS, calls, measure
from mpcore.wire.batch import PacketBatch, checksum_batch
from mpcore.wire.checksum import checksum, update32

SIZES = [20, 1460, 65536]
MANY = 64
Checksum = Callable[[bytes], int]


def data_of(size: int) -> bytes:
    return bytes(at * at & 0xFF for at in range(size))


def reference(data: bytes) -> int:
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def by_mpcore() -> Checksum:
    return checksum


def by_scapy() -> Checksum:
    return pytest.importorskip("scapy.utils").checksum  # type: ignore[no-any-return]


def by_dpkt() -> Checksum:
    return pytest.importorskip("dpkt").dpkt.in_cksum  # type: ignore[no-any-return]


def by_big_integer() -> Checksum:
    """One division does all the folding: 2**16 is 1 modulo 0xffff."""
    return lambda data: 0xFFFF - (int.from_bytes(data, "big") % 0xFFFF or (0xFFFF if any(data) else 0))


def by_numpy() -> Checksum:
    def summed(data: bytes) -> int:
        total = int(np.frombuffer(data, dtype=">u2").sum(dtype=np.uint64))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        return total ^ 0xFFFF

    return summed


def by_numpy_native() -> Checksum:
    """In the machine's order, swapped at the end: what numpy can do best."""

    def summed(data: bytes) -> int:
        total = int(np.frombuffer(data, dtype=np.uint32).sum(dtype=np.uint64))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        total ^= 0xFFFF
        return total if sys.byteorder == "big" else (total & 0xFF) << 8 | total >> 8

    return summed


PEERS = {
    "mpcore": by_mpcore,
    "numpy": by_numpy,
    "numpy native": by_numpy_native,
    "scapy": by_scapy,
    "dpkt": by_dpkt,
    "big integer": by_big_integer,
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("peer", PEERS)
def test_from_python(benchmark: BenchmarkFixture, peer: str, size: int) -> None:
    data, summed = data_of(size), PEERS[peer]()
    assert summed(data) == reference(data)
    group = f"checksum of {size} B, one call from Python"
    measure(benchmark, group, calls(summed, data), packets=CALLS, size=CALLS * size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("peer", ["mpcore batch", "C loop", "C with SIMD by hand"])
def test_without_python(benchmark: BenchmarkFixture, peer: str, size: int) -> None:
    """All buffers are the same one, so that the processor's cache and not its memory is measured."""
    data = data_of(size)
    offsets, sizes = np.zeros(MANY, dtype=np.uint64), np.full(MANY, size, dtype=np.uint32)
    group = f"checksum of {size} B, many at once"
    if peer == "mpcore batch":
        batch = PacketBatch(data, offsets, sizes)
        assert checksum_batch(batch).tolist() == [reference(data)] * MANY
        measure(benchmark, group, lambda: checksum_batch(batch), packets=MANY, size=size * MANY)
        return
    out = np.zeros(MANY, dtype=np.uint16)
    function = getattr(library("peers"), "checksum_plain_many" if peer == "C loop" else "checksum_simd_many")
    arguments = (data, offsets.ctypes.data_as(ctypes.c_void_p), sizes.ctypes.data_as(ctypes.c_void_p))
    rest = ctypes.c_size_t(MANY), out.ctypes.data_as(ctypes.c_void_p)
    function(*arguments, *rest)
    assert out.tolist() == [reference(data)] * MANY
    measure(benchmark, group, lambda: function(*arguments, *rest), packets=MANY, size=size * MANY)


def test_update(benchmark: BenchmarkFixture) -> None:
    """RFC 1624: the checksum after one field changed, whatever the packet's size."""
    data = bytearray(data_of(1460))
    before, old = checksum(data), int.from_bytes(data[8:12], "big")
    data[8:12] = bytes(range(4))
    assert update32(before, old, 0x00010203) == checksum(data)
    update = calls(lambda new: update32(before, old, new), 0x00010203)
    measure(benchmark, "checksum after a change, from Python", update, packets=CALLS)
