"""Rewriting of 1460-byte packets: Shim6's header in and out, TCP's addresses and numbers."""

import ctypes
import struct
from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.build import library
from bench.measure import CALLS, calls, measure
from bench.packets import BATCH, LOCATORS, V6, batch, tcp
from mpcore.wire.batch import PacketBatch, rewrite_batch, shim6_insert_batch, shim6_remove_batch
from mpcore.wire.checksum import tcp_checksum
from mpcore.wire.packet import Packet
from mpcore.wire.rewrite import Shim6Flow, TcpRewrite

TAG = 0x123456789ABC
PACKET = tcp(6, 1460)
OUT, BACK = Shim6Flow(*LOCATORS, TAG & (2**47 - 1)), Shim6Flow(*V6)
SHIMMED = OUT.insert(PACKET)
HEADER = SHIMMED[40:48]
NEW_SRC, NEW_PORT, SEQ_ADD = bytes([10, 0, 0, 9]), 50000, 123456
Rewrite = Callable[[bytes], bytes]


@pytest.mark.parametrize("peer", ["mpcore batch", "C loop"])
def test_insert_batch(benchmark: BenchmarkFixture, peer: str) -> None:
    packets, group = batch(PACKET), f"Shim6 insert, 1460 B, {BATCH} at once"
    if peer == "mpcore batch":
        room = PacketBatch.room(BATCH, BATCH * 1468)
        assert set(shim6_insert_batch(packets, [OUT], None, room)) == {SHIMMED}
        measure(
            benchmark,
            group,
            lambda: shim6_insert_batch(packets, [OUT], None, room),
            packets=BATCH,
            size=BATCH * 1460,
        )
        return
    out = ctypes.create_string_buffer(BATCH * 1468)
    places = [array.ctypes.data_as(ctypes.c_void_p) for array in (packets.offsets, packets.sizes)]
    arguments = (bytes(packets.buffer), *places, ctypes.c_size_t(BATCH), b"".join(LOCATORS), HEADER, out)
    insert = library("peers").shim6_insert_many
    assert insert(*arguments) == BATCH * 1468
    assert out.raw == SHIMMED * BATCH
    measure(benchmark, group, lambda: insert(*arguments), packets=BATCH, size=BATCH * 1460)


def test_remove_batch(benchmark: BenchmarkFixture) -> None:
    packets, room = batch(SHIMMED), PacketBatch.room(BATCH, BATCH * 1460)
    assert set(shim6_remove_batch(packets, [BACK], None, room)) == {PACKET}
    group = f"Shim6 remove, 1460 B, {BATCH} at once"
    measure(
        benchmark,
        group,
        lambda: shim6_remove_batch(packets, [BACK], None, room),
        packets=BATCH,
        size=BATCH * 1460,
    )


def insert_by_hand(packet: bytes) -> bytes:
    """With slices: no extension headers, no checks."""
    length = int.from_bytes(packet[4:6], "big") + 8
    start = packet[:4] + length.to_bytes(2, "big") + b"\x8c" + packet[7:8]
    return start + LOCATORS[0] + LOCATORS[1] + packet[6:7] + HEADER[1:] + packet[40:]


def scapy_insert() -> Rewrite:
    inet6, packet = pytest.importorskip("scapy.layers.inet6"), pytest.importorskip("scapy.packet")

    def insert(data: bytes) -> bytes:
        layer = inet6.IPv6(data)
        layer.src, layer.dst = (inet6.inet_ntop(10, each) for each in LOCATORS)
        inner = bytes(layer.payload)
        head = bytes([layer.nh]) + HEADER[1:]
        layer.remove_payload()
        layer.nh, layer.plen = 140, len(inner) + 8
        return bytes(layer / packet.Raw(head + inner))

    return insert


SHIM6_PEERS: dict[str, Callable[[], Rewrite]] = {
    "mpcore": lambda: OUT.insert,
    "slices by hand": lambda: insert_by_hand,
    "scapy": scapy_insert,
}


@pytest.mark.parametrize("peer", SHIM6_PEERS)
def test_insert(benchmark: BenchmarkFixture, peer: str) -> None:
    insert = SHIM6_PEERS[peer]()
    assert insert(PACKET) == SHIMMED
    group = "Shim6 insert, 1460 B, one call from Python"
    measure(benchmark, group, calls(insert, PACKET), packets=CALLS, size=CALLS * 1460)


TCP_PACKET = tcp(4, 1460)
RULE = TcpRewrite(src=NEW_SRC, src_port=NEW_PORT, seq_add=SEQ_ADD)
EXPECTED = RULE.apply(TCP_PACKET)


def rewrite_by_hand(packet: bytes) -> bytes:
    """With struct, and checksums over everything."""
    out = bytearray(packet)
    out[12:16] = NEW_SRC
    out[10:12] = bytes(2)
    total = sum(struct.unpack("!10H", out[:20]))
    total = (total & 0xFFFF) + (total >> 16)
    struct.pack_into("!H", out, 10, ((total & 0xFFFF) + (total >> 16)) ^ 0xFFFF)
    (seq,) = struct.unpack_from("!I", out, 24)
    struct.pack_into("!H", out, 20, NEW_PORT)
    struct.pack_into("!I", out, 24, (seq + SEQ_ADD) % 2**32)
    struct.pack_into("!H", out, 36, 0)
    struct.pack_into("!H", out, 36, tcp_checksum(NEW_SRC, bytes(out[16:20]), bytes(out[20:])))
    return bytes(out)


def scapy_rewrite() -> Rewrite:
    inet = pytest.importorskip("scapy.layers.inet")

    def rewrite(data: bytes) -> bytes:
        layer = inet.IP(data)
        layer.src = "10.0.0.9"
        layer[inet.TCP].sport = NEW_PORT
        layer[inet.TCP].seq += SEQ_ADD
        del layer.chksum, layer[inet.TCP].chksum
        return bytes(layer)

    return rewrite


def dpkt_rewrite() -> Rewrite:
    dpkt = pytest.importorskip("dpkt")

    def rewrite(data: bytes) -> bytes:
        layer = dpkt.ip.IP(data)
        layer.src = NEW_SRC
        layer.data.sport = NEW_PORT
        layer.data.seq += SEQ_ADD
        layer.sum = layer.data.sum = 0
        return bytes(layer)

    return rewrite


TCP_PEERS: dict[str, Callable[[], Rewrite]] = {
    "mpcore": lambda: RULE.apply,
    "struct by hand": lambda: rewrite_by_hand,
    "scapy": scapy_rewrite,
    "dpkt": dpkt_rewrite,
}


@pytest.mark.parametrize("peer", TCP_PEERS)
def test_tcp(benchmark: BenchmarkFixture, peer: str) -> None:
    rewrite = TCP_PEERS[peer]()
    assert rewrite(TCP_PACKET) == EXPECTED
    assert Packet.parse(EXPECTED).checksum_ok()
    group = "TCP source and number, 1460 B, one call from Python"
    measure(benchmark, group, calls(rewrite, TCP_PACKET), packets=CALLS, size=CALLS * 1460)


def test_tcp_in_place(benchmark: BenchmarkFixture) -> None:
    packet = bytearray(TCP_PACKET)
    RULE.apply_to(packet)
    assert packet == EXPECTED
    group = "TCP source and number, 1460 B, in place"
    measure(benchmark, group, calls(RULE.apply_to, packet), packets=CALLS, size=CALLS * 1460)


@pytest.mark.parametrize("options", [False, True], ids=["numbers", "numbers and options"])
def test_tcp_batch(benchmark: BenchmarkFixture, options: bool) -> None:
    rule = TcpRewrite(src=NEW_SRC, seq_add=SEQ_ADD, ack_add=1, options=bytes([1]) * 32 if options else None)
    packets, room = batch(TCP_PACKET), PacketBatch.room(BATCH, BATCH * 1500)
    assert set(rewrite_batch(packets, [rule], None, room)) == {rule.apply(TCP_PACKET)}
    assert np.all(room.statuses == 0)
    group = f"TCP rewrite, 1460 B, {BATCH} at once"
    measure(
        benchmark, group, lambda: rewrite_batch(packets, [rule], None, room), packets=BATCH, size=BATCH * 1460
    )
