"""Batches give for each packet what the single functions give, whatever offsets and sizes say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.errors import WireError
from mpcore.wire.batch import (
    HEADERS_DTYPE,
    PacketBatch,
    checksum_batch,
    context_tags,
    parse_batch,
    rewrite_batch,
    shim6_insert_batch,
    shim6_remove_batch,
)
from mpcore.wire.packet import Packet
from mpcore.wire.rewrite import Shim6Flow, TcpRewrite
from mpcore.wire.values import Segment, emit_segment
from tests.helpers.reference import internet_checksum
from tests.helpers.strategies import mutations, segments

packets = st.lists(segments(max_payload=60).map(emit_segment).flatmap(mutations), max_size=6)
FLOWS = [Shim6Flow(bytes([n]) * 16, bytes([n + 1]) * 16, n * 1000) for n in range(3)]


def refused(data: bytes) -> bool:
    try:
        return not Packet.parse(data).is_tcp
    except WireError:
        return True


@given(packets)
def test_headers_are_those_of_each_packet(datas: list[bytes]) -> None:
    headers = parse_batch(PacketBatch.of(datas))
    assert len(headers) == len(datas)
    for header, data in zip(headers, datas, strict=True):
        assert (header["status"] != 0) == refused(data)
        if header["status"] == 0:
            packet = Packet.parse(data)
            size = len(packet.src)
            assert bytes(header["src"])[:size] == packet.src
            assert bytes(header["dst"])[:size] == packet.dst
            for name in (
                "src_port",
                "dst_port",
                "seq",
                "ack",
                "flags",
                "window",
                "checksum",
                "ttl",
                "version",
            ):
                assert header[name] == getattr(packet, name), name
            at, end = int(header["payload_at"]), int(header["payload_at"] + header["payload_size"])
            assert data[at:end] == packet.payload
            spans = zip(header["mptcp_at"], header["mptcp_size"], strict=True)
            options = [data[int(at) : int(at) + int(size)] for at, size in spans if size]
            assert tuple(options) == packet.mptcp


@given(st.lists(st.binary(max_size=200), max_size=6))
def test_checksums_are_those_of_each_packet(datas: list[bytes]) -> None:
    expected = [internet_checksum(data) for data in datas]
    assert checksum_batch(PacketBatch.of(datas)).tolist() == expected


@given(
    st.binary(max_size=60),
    st.lists(
        st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
        | st.tuples(st.integers(0, 70), st.integers(0, 70))
    ),
)
def test_what_lies_outside_of_the_buffer_is_empty(buffer: bytes, places: list[tuple[int, int]]) -> None:
    batch = PacketBatch(
        buffer,
        np.array([at for at, _ in places], dtype=np.uint64),
        np.array([size for _, size in places], dtype=np.uint32),
    )
    for i, (at, size) in enumerate(places):
        assert batch[i] == (buffer[at : at + size] if at + size <= len(buffer) else b"")
    assert len(parse_batch(batch)) == len(checksum_batch(batch)) == len(batch)


@given(st.lists(segments(max_payload=60).map(emit_segment), min_size=1, max_size=6), st.data())
def test_shim6_headers_go_in_and_out_by_flow(datas: list[bytes], draw: st.DataObject) -> None:
    index = [draw.draw(st.integers(0, 2)) for _ in datas]
    batch = PacketBatch.of(datas)
    inside = shim6_insert_batch(batch, FLOWS, index)
    tags = context_tags(inside)
    for i, data in enumerate(datas):
        if data[0] >> 4 == 4:
            assert inside.statuses[i] < 0
            assert (inside[i], tags[i] < 0) == (b"", True)
        else:
            assert inside[i] == FLOWS[index[i]].insert(data)
            assert tags[i] == index[i] * 1000
            assert shim6_remove_batch(inside, [FLOWS[0]])[i] == FLOWS[0].remove(inside[i])


@given(packets)
def test_rewrites_are_those_of_each_packet(datas: list[bytes]) -> None:
    rule = TcpRewrite(src_port=7, seq_add=9, ack_add=2**31, options=b"\x01" * 5)
    result = rewrite_batch(PacketBatch.of(datas), [rule])
    for i, data in enumerate(datas):
        try:
            expected = rule.apply(data)
        except WireError:
            expected = b""
        assert result[i] == expected
        assert (result.statuses[i] < 0) == (expected == b"")


def segment(size: int) -> bytes:
    return emit_segment(Segment(6, bytes(16), bytes(16), 1, 2, 3, 4, 0x10, 5, (), bytes(size)))


def test_results_without_room_are_told() -> None:
    batch = PacketBatch.of([segment(100), segment(10)])
    result = shim6_insert_batch(batch, FLOWS, None, PacketBatch.room(2, 120))
    assert result.statuses.tolist() == [-4, 0]
    assert result[1] == FLOWS[0].insert(segment(10))


def test_a_flow_that_is_not_there_is_told() -> None:
    result = shim6_insert_batch(PacketBatch.of([segment(1)] * 2), FLOWS, [2, 3])
    assert result.statuses.tolist() == [0, -2]
    assert shim6_insert_batch(PacketBatch.of([segment(1)]), []).statuses.tolist() == [-2]


def test_an_empty_batch() -> None:
    batch = PacketBatch.of([])
    assert list(batch) == []
    assert len(parse_batch(batch)) == 0
    assert len(shim6_insert_batch(batch, FLOWS, [])) == 0


def test_items_like_a_sequence() -> None:
    batch = PacketBatch.of([b"a", b"bc"])
    assert (batch[-1], list(batch), len(batch)) == (b"bc", [b"a", b"bc"], 2)
    with pytest.raises(IndexError):
        _ = batch[2]


def test_parse_into_an_array() -> None:
    batch = PacketBatch.of([segment(1)])
    out = np.zeros(3, dtype=HEADERS_DTYPE)
    assert parse_batch(batch, out)["seq"].tolist() == [3]
    assert out["seq"].tolist() == [3, 0, 0]
    with pytest.raises(ValueError, match="HEADERS_DTYPE"):
        parse_batch(batch, np.zeros(0, dtype=HEADERS_DTYPE))
    with pytest.raises(ValueError, match="HEADERS_DTYPE"):
        parse_batch(batch, np.zeros(3, dtype=np.uint8))
    with pytest.raises((ValueError, BufferError)):
        parse_batch(batch, np.zeros(6, dtype=HEADERS_DTYPE)[::2])


def test_arguments_are_checked() -> None:
    batch = PacketBatch.of([segment(1)])
    with pytest.raises(ValueError, match="one dimension"):
        PacketBatch(b"", [0], [])
    with pytest.raises(ValueError, match="index"):
        shim6_insert_batch(batch, FLOWS, [0, 0])
    with pytest.raises(ValueError, match="out"):
        shim6_insert_batch(batch, FLOWS, None, batch)
    with pytest.raises(ValueError, match="out"):
        shim6_insert_batch(batch, FLOWS, None, PacketBatch.of([b"constant"]))
    with pytest.raises(TypeError):
        shim6_insert_batch(batch, [b"no flow"])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        rewrite_batch(batch, [b"no rule"])  # type: ignore[list-item]
