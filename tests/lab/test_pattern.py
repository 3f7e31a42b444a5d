import hashlib

from hypothesis import given
from hypothesis import strategies as st

from mpcore.lab.pattern import CHUNK_BYTES, pattern, pattern_sha256


@given(seed=st.integers(0, 2**32), size=st.integers(0, 5 * CHUNK_BYTES))
def test_a_stream_has_its_size_and_is_a_prefix_of_any_longer_one(seed: int, size: int) -> None:
    stream = b"".join(pattern(seed, size))
    assert len(stream) == size
    assert b"".join(pattern(seed, size + 1000)).startswith(stream)
    assert pattern_sha256(seed, size) == hashlib.sha256(stream).hexdigest()


def test_no_chunk_comes_twice() -> None:
    chunks = list(pattern(3, 200 * CHUNK_BYTES))
    assert len(set(chunks)) == len(chunks) == 200


def test_seeds_differ() -> None:
    assert pattern_sha256(1, 1000) != pattern_sha256(2, 1000)
