import pytest

from mpcore.wire.values import parse_segment
from tests.fuzz.corpus import mutants, packets
from tests.fuzz.parsers import exercise


def test_the_corpus_is_whole() -> None:
    originals = packets()
    assert all(exercise(packet) for packet in originals)
    assert {parse_segment(packet).version for packet in originals} == {4, 6}


@pytest.mark.parametrize("packet", packets()[::7])
def test_every_cut_of_a_packet(packet: bytes) -> None:
    assert not any(exercise(packet[:size]) and parse_segment(packet[:size]) for size in range(20))
    for size in range(20, len(packet)):
        exercise(packet[:size])


@pytest.mark.parametrize("seed", range(4))
def test_mutants(seed: int) -> None:
    outcomes = [exercise(packet) for packet in mutants(seed, 4000)]
    # A mutator that only makes rubbish, or none, would test nothing.
    assert 0.1 < sum(outcomes) / len(outcomes) < 0.9
