"""Parsing IP and TCP with options: in batches, and as one Python object a packet."""

import ctypes
import struct
from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.build import library
from bench.measure import CALLS, calls, measure
from bench.packets import BATCH, batch, tcp
from mpcore.wire.batch import HEADERS_DTYPE, parse_batch
from mpcore.wire.packet import Packet
from mpcore.wire.values import parse_segment

PACKETS = {"IPv4": tcp(4, 1460), "IPv6": tcp(6, 1460)}
Fields = tuple[int, int, int, int]  # destination port, sequence number, timestamp, payload size


@pytest.mark.parametrize("version", PACKETS)
@pytest.mark.parametrize("peer", ["mpcore batch", "C loop"])
def test_batch(benchmark: BenchmarkFixture, peer: str, version: str) -> None:
    packets = batch(PACKETS[version])
    group = f"parse {version}, TCP and options, {BATCH} at once"
    if peer == "mpcore batch":
        out = np.zeros(BATCH, dtype=HEADERS_DTYPE)
        headers = parse_batch(packets, out)
        assert set(headers["seq"].tolist()) == {1000}
        assert set(headers["ts_val"].tolist()) == {0x11223344}
        measure(benchmark, group, lambda: parse_batch(packets, out), packets=BATCH)
        return
    parse, room = (
        library("peers").parse_many,
        ctypes.create_string_buffer(BATCH * library("peers").headers_size()),
    )
    places = [array.ctypes.data_as(ctypes.c_void_p) for array in (packets.offsets, packets.sizes)]
    arguments = (bytes(packets.buffer), *places, ctypes.c_size_t(BATCH), room)
    assert parse(*arguments) == BATCH
    measure(benchmark, group, lambda: parse(*arguments), packets=BATCH)


def by_mpcore(data: bytes) -> Fields:
    packet = Packet.parse(data)
    timestamps = packet.timestamps
    assert timestamps is not None
    return packet.dst_port, packet.seq, timestamps[0], len(packet.payload)


def by_mpcore_value(data: bytes) -> Fields:
    segment = parse_segment(data)
    return segment.dst_port, segment.seq, segment.options[0].value, len(segment.payload)  # type: ignore[union-attr]


def by_struct(data: bytes) -> Fields:
    """What one writes by hand: no check, and only the options that are asked for."""
    at, size = (
        ((data[0] & 15) * 4, struct.unpack_from("!H", data, 2)[0]) if data[0] >> 4 == 4 else (40, len(data))
    )
    _, dst_port, seq, _, offset = struct.unpack_from("!HHIIB", data, at)
    end, option, timestamp = at + (offset >> 4) * 4, at + 20, 0
    while option < end:
        kind = data[option]
        if kind < 2:
            option += 1
            continue
        if kind == 8:
            (timestamp,) = struct.unpack_from("!I", data, option + 2)
        option += data[option + 1]
    return dst_port, seq, timestamp, size - end


def scapy_parser() -> Callable[[bytes], Fields]:
    inet, inet6 = pytest.importorskip("scapy.layers.inet"), pytest.importorskip("scapy.layers.inet6")

    def parse(data: bytes) -> Fields:
        layer = (inet.IP if data[0] >> 4 == 4 else inet6.IPv6)(data)[inet.TCP]
        return layer.dport, layer.seq, dict(layer.options)["Timestamp"][0], len(layer.payload)

    return parse


def dpkt_parser() -> Callable[[bytes], Fields]:
    dpkt = pytest.importorskip("dpkt")

    def parse(data: bytes) -> Fields:
        layer = (dpkt.ip.IP if data[0] >> 4 == 4 else dpkt.ip6.IP6)(data).data
        options = dict(dpkt.tcp.parse_opts(layer.opts))
        return layer.dport, layer.seq, struct.unpack("!I", options[8][:4])[0], len(layer.data)

    return parse


PEERS: dict[str, Callable[[], Callable[[bytes], Fields]]] = {
    "mpcore": lambda: by_mpcore,
    "mpcore value": lambda: by_mpcore_value,
    "struct by hand": lambda: by_struct,
    "scapy": scapy_parser,
    "dpkt": dpkt_parser,
}


@pytest.mark.parametrize("version", PACKETS)
@pytest.mark.parametrize("peer", PEERS)
def test_four_fields(benchmark: BenchmarkFixture, peer: str, version: str) -> None:
    data, parse = PACKETS[version], PEERS[peer]()
    assert parse(data) == by_mpcore_value(data)
    group = f"parse {version}, TCP and options, read four fields from Python"
    measure(benchmark, group, calls(parse, data), packets=CALLS)


@pytest.mark.parametrize("version", PACKETS)
def test_object(benchmark: BenchmarkFixture, version: str) -> None:
    data = PACKETS[version]
    assert Packet.parse(data).seq == 1000
    group = f"parse {version}, TCP and options, the object alone"
    measure(benchmark, group, calls(Packet.parse, data), packets=CALLS)
