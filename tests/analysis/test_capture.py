"""Capture files of all kinds, whole and broken."""

import gzip
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcore.analysis.capture import Capture, CaptureError, Frame
from mpcore.analysis.order import merge
from tests.helpers.captures import block, pcap, pcapng

START_NS = 1_700_000_000_123_456_000
FRAMES = [Frame(START_NS + at * 1000, 1, 0, bytes([at]) * (5 + at), 60 + at) for at in range(4)]


def written(folder: Path, data: bytes) -> Path:
    path = folder / "capture"
    path.write_bytes(data)
    return path


def read(path: Path) -> tuple[list[Frame], str | None]:
    with Capture(path) as capture:
        return list(capture), capture.damage


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_pcap(tmp_path: Path, order: str, nanoseconds: bool) -> None:
    path = written(tmp_path, pcap(FRAMES, order=order, nanoseconds=nanoseconds))
    assert read(path) == (FRAMES, None)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("resolution", [6, 9])
def test_pcapng(tmp_path: Path, order: str, resolution: int) -> None:
    frames = [frame._replace(interface=at % 2, link_type=(1, 101)[at % 2]) for at, frame in enumerate(FRAMES)]
    path = written(tmp_path, pcapng(frames, order=order, resolution=resolution))
    assert read(path) == (frames, None)


def test_a_new_section_has_interfaces_of_its_own(tmp_path: Path) -> None:
    other = [frame._replace(link_type=113) for frame in FRAMES]
    path = written(tmp_path, pcapng(FRAMES, order=">") + pcapng(other, order="<"))
    assert read(path) == (FRAMES + other, None)


def test_blocks_that_mean_nothing_here_are_skipped(tmp_path: Path) -> None:
    data = pcapng(FRAMES)
    names = block(4, b"names resolved")
    assert read(written(tmp_path, data[:28] + names + data[28:] + names)) == (FRAMES, None)


def test_simple_packets_and_those_of_old(tmp_path: Path) -> None:
    simple = block(3, struct.pack("<I", 5) + b"hello")
    old = block(2, struct.pack("<HHIIII", 0, 0, 0, 7, 3, 9) + b"old")
    frames, damage = read(written(tmp_path, pcapng(FRAMES[:1]) + simple + old))
    assert damage is None
    assert frames[1:] == [Frame(0, 1, 0, b"hello", 5), Frame(7, 1, 0, b"old", 9)]


def test_time_stamps_in_powers_of_two_and_with_an_offset(tmp_path: Path) -> None:
    options = struct.pack("<HHB3x", 9, 1, 0x80 | 10) + struct.pack("<HHq", 14, 8, 100)
    section = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = block(1, struct.pack("<HHI", 1, 0, 0) + options)
    packet = block(6, struct.pack("<IIIII", 0, 0, 1536, 1, 1) + b"x")
    frames, _ = read(written(tmp_path, section + interface + packet))
    assert frames[0].time_ns == 101_500_000_000


@pytest.mark.parametrize("data", [pcap(FRAMES), pcapng(FRAMES)], ids=["pcap", "pcapng"])
def test_compressed(tmp_path: Path, data: bytes) -> None:
    assert read(written(tmp_path, gzip.compress(data))) == (FRAMES, None)


def test_compressed_and_cut(tmp_path: Path) -> None:
    noise = [Frame(0, 1, 0, struct.pack(">Q", at * 0x9E3779B97F4A7C15 % 2**64) * 9, 72) for at in range(900)]
    frames, damage = read(written(tmp_path, gzip.compress(pcap(noise))[:-600]))
    assert frames == noise[: len(frames)]
    assert damage is not None
    assert f"after packet {len(frames)}: " in damage


@pytest.mark.parametrize("data", [pcap(FRAMES), pcapng(FRAMES)], ids=["pcap", "pcapng"])
def test_a_file_cut_anywhere_gives_what_came_before(tmp_path: Path, data: bytes) -> None:
    told = set()
    for size in range(28, len(data)):
        frames, damage = read(written(tmp_path, data[:size]))
        assert frames == FRAMES[: len(frames)]
        told.add(damage is None)
        if damage is not None:
            assert f"makes no sense after packet {len(frames)}: " in damage
    assert told == {True, False}  # a cut between two packets cannot be seen


def test_lengths_beyond_reason_are_not_believed(tmp_path: Path) -> None:
    frames, damage = read(written(tmp_path, pcap(FRAMES) + struct.pack("<IIII", 0, 0, 0x7FFFFFFF, 0)))
    assert (frames, "2147483647 bytes" in str(damage)) == (FRAMES, True)
    frames, damage = read(written(tmp_path, pcapng(FRAMES) + struct.pack("<II", 6, 0x7FFFFFFC)))
    assert (frames, "2147483644 bytes" in str(damage)) == (FRAMES, True)


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (struct.pack("<II", 6, 30) + bytes(22), "states 30 bytes"),
        (block(6, bytes(8)), "cut short"),
        (block(6, struct.pack("<IIIII", 9, 0, 0, 0, 0)), "interface 9"),
        (block(6, struct.pack("<IIIII", 0, 0, 0, 90, 90)), "room for 0"),
        (block(5, b"abcd")[:-4] + bytes(4), "differ"),
        (block(1, b"abcd"), "description of an interface"),
        (block(0x0A0D0D0A, bytes(16)), "no byte order"),
    ],
)
def test_blocks_that_cannot_be(tmp_path: Path, tail: bytes, words: str) -> None:
    frames, damage = read(written(tmp_path, pcapng(FRAMES) + tail))
    assert frames == FRAMES
    assert damage is not None
    assert words in damage


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\x7fELF and so on", "is no capture"),
        (b"\xa1", "is no capture"),
        (b"\x1f\x8b\x08\x00", "is damaged from its beginning"),
        (gzip.compress(b"text"), "is no capture"),
    ],
)
def test_what_is_no_capture_says_so(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(CaptureError, match=words):
        Capture(written(tmp_path, data))


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_frames_or_damage(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes, ng: bool
) -> None:
    data = pcapng(FRAMES[:1]) if ng else pcap(FRAMES[:1])
    frames, _ = read(written(tmp_path_factory.mktemp("any"), data + tail))
    assert frames[0] == FRAMES[0]


def test_interfaces_are_merged_by_time_and_each_keeps_its_order() -> None:
    stamps = [(0, 5), (0, 9), (0, 8), (1, 1), (1, 6), (0, 10), (1, 7)]
    frames = [Frame(stamp, 1, interface, b"", 0) for interface, stamp in stamps]
    assert [number for number, _ in merge(enumerate(frames, 1))] == [4, 1, 5, 7, 2, 3, 6]


def test_merging_holds_no_more_than_it_may() -> None:
    source = iter(enumerate([Frame(stamp, 1, 0, b"", 0) for stamp in range(100)], 1))
    assert next(merge(source, frames_max=10))[0] == 1
    assert next(source)[0] == 12
