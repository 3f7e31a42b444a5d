"""All parsers on one input, with what must hold of any result; as a program it takes a seed and a count."""

import ctypes
import sys

from mpcore.errors import WireError
from mpcore.wire import checksum, ip, mptcp, tcp
from mpcore.wire.values import emit_segment, parse_segment
from tests.fuzz.corpus import mutants, packets

ROOM = 4096


def at_the_end(data: bytes) -> memoryview:
    """Return a copy whose last octet is the last of its block, so that a sanitizer sees any read beyond."""
    block = (ctypes.c_ubyte * (ROOM + len(data)))()
    view = memoryview(block).cast("B")[ROOM:]
    view[:] = data
    return view


def exercise(data: bytes) -> bool:
    """Feed every parser; return whether the packet held a segment. AssertionError for a broken promise."""
    view = at_the_end(data)
    header = ip.describe(view)
    checksum.checksum(view)
    is_segment = header["status"] == "ok" and _exercise_upper(
        view, header["header_size"], header["total_size"]
    )
    _exercise_upper(view, 0, len(data))
    try:
        segment = parse_segment(data)
    except WireError:
        return is_segment
    assert is_segment
    assert parse_segment(emit_segment(segment)) == segment
    return True


def _exercise_upper(view: memoryview, start: int, end: int) -> bool:
    assert 0 <= start <= end <= len(view)
    found = tcp.describe(view[start:end])
    if found["status"] != "ok":
        return False
    assert found["header_size"] + len(found["payload"]) == end - start
    assert all(3 <= len(option) == option[1] <= 40 for option in found["mptcp"])
    meaning = mptcp.describe(view[start:end])
    assert len(meaning) - 1 + meaning["ignored"] == len(found["mptcp"])
    return True


def main(seed: int, count: int) -> None:
    """Run the corpus, each cut of it, and `count` mutants."""
    for packet in packets():
        assert exercise(packet)
        for size in range(len(packet)):
            exercise(packet[:size])
    for packet in mutants(seed, count):
        exercise(packet)
    print("done")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
