"""The byte ring against a bytearray model, across the wrap at 2**64."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcore.errors import CapacityError
from mpcore.store.ring import ByteRing, ChunkPool

CHUNK = 65536
WRAP = 1 << 64


def pattern(size: int, salt: int = 0) -> bytes:
    return bytes((i * 7 + salt + (i >> 8)) & 0xFF for i in range(size))


def read_all(ring: ByteRing, offset: int, size: int) -> bytes:
    out = b""
    while size:
        part = ring.read(offset % WRAP, min(size, CHUNK))
        assert part is not None
        out += part
        offset += len(part)
        size -= len(part)
    return out


@settings(max_examples=60, deadline=None)
@given(
    head=st.sampled_from([0, 1, CHUNK - 1, WRAP - 1, WRAP - CHUNK - 5, 12345678901234]),
    steps=st.lists(st.tuples(st.integers(1, 3 * CHUNK), st.integers(0, 3 * CHUNK)), max_size=12),
)
def test_stream_through_ring_comes_out_unchanged(head: int, steps: list[tuple[int, int]]) -> None:
    pool = ChunkPool(16)
    ring = ByteRing(pool, 4 * CHUNK, head)
    held = bytearray()
    start = head
    for salt, (write, release) in enumerate(steps):
        data = pattern(min(write, 4 * CHUNK - len(held)), salt)
        ring.write((start + len(held)) % WRAP, data)
        held += data
        assert read_all(ring, start, len(held)) == held
        done = min(release, len(held))
        ring.release((start + done) % WRAP)
        del held[:done]
        start += done
        assert ring.head == start % WRAP
        assert pool.in_use <= (len(held) + CHUNK - 1) // CHUNK + 1


def test_span_rounds_up_to_a_power_of_two_of_chunks() -> None:
    assert ByteRing(ChunkPool(0), 3 * CHUNK).limit == 4 * CHUNK
    assert ByteRing(ChunkPool(0), 1).limit == CHUNK


@pytest.mark.parametrize("head", [0, 100, WRAP - 100])
def test_whole_span_can_be_written_from_any_head_and_not_a_byte_more(head: int) -> None:
    ring = ByteRing(ChunkPool(8), 2 * CHUNK, head)
    data = pattern(2 * CHUNK)
    ring.write(head, data)
    assert read_all(ring, head, len(data)) == data
    for offset in (head + 2 * CHUNK, head - 1):
        with pytest.raises(CapacityError):
            ring.write(offset % WRAP, b"x")
    with pytest.raises(CapacityError):
        ring.write(head, data + b"x")


def test_empty_write_needs_no_chunk() -> None:
    pool = ChunkPool(1)
    ByteRing(pool, CHUNK).write(0, b"")
    assert pool.in_use == 0


def test_exhausted_pool_refuses_and_takes_nothing() -> None:
    pool = ChunkPool(2)
    first, second = ByteRing(pool, CHUNK), ByteRing(pool, 4 * CHUNK)
    first.write(0, b"a")
    with pytest.raises(CapacityError):
        second.write(CHUNK - 1, b"bc")
    assert (pool.in_use, pool.refused) == (1, 1)
    first.release(CHUNK)
    second.write(CHUNK - 1, b"bc")
    assert second.read(CHUNK - 1, 2) == b"bc"
    assert (pool.in_use, pool.allocated) == (2, 2)


def test_memory_is_used_only_where_bytes_are() -> None:
    pool = ChunkPool(100)
    ring = ByteRing(pool, 64 * CHUNK)
    ring.write(40 * CHUNK, b"far")
    assert pool.in_use == 1
    assert ring.read(0, 1) is None
    assert ring.read(40 * CHUNK - 1, 2) is None
    assert ring.read(41 * CHUNK - 1, 2) is None


def test_release_ignores_an_older_head_and_survives_a_jump() -> None:
    pool = ChunkPool(4)
    ring = ByteRing(pool, 2 * CHUNK, 1000)
    ring.write(1000, pattern(2 * CHUNK))
    ring.release(999)
    assert ring.head == 1000
    ring.release(1 << 40)
    assert pool.in_use == 0
    ring.write(1 << 40, b"x")
    assert ring.read(1 << 40, 1) == b"x"
    assert ring.read(1000, 1) is None


def test_trim_and_collection_give_chunks_back() -> None:
    pool = ChunkPool(4)
    ring = ByteRing(pool, CHUNK)
    ring.write(0, b"x")
    ring.trim()
    assert pool.in_use == 0
    ring.write(0, b"y")
    del ring
    assert pool.in_use == 0


def test_a_ring_that_holds_nothing_reads_and_releases_nothing() -> None:
    """Before its first byte and after a trim it has no slots."""
    pool = ChunkPool(4)
    ring = ByteRing(pool, 4 * CHUNK)
    for head in (3 * CHUNK + 5, 9 * CHUNK):
        assert ring.read(ring.head, 1) is None
        ring.release(head)
        assert ring.head == head
        ring.write(head, b"abc")
        assert ring.read(head, 3) == b"abc"
        ring.trim()
        ring.trim()
        assert pool.in_use == 0


@pytest.mark.parametrize("size", [0, CHUNK + 1])
def test_read_of_no_or_too_many_bytes_gives_none(size: int) -> None:
    ring = ByteRing(ChunkPool(4), 4 * CHUNK)
    ring.write(0, pattern(2 * CHUNK))
    assert ring.read(0, size) is None


def test_span_beyond_the_maximum_is_refused() -> None:
    with pytest.raises(MemoryError):
        ByteRing(ChunkPool(1), (1 << 30) + 1)
