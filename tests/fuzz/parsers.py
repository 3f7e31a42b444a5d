"""All parsers on one input, with what must hold of any result; as a program it takes a seed and a count."""

import ctypes
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mpcore.errors import WireError
from mpcore.wire import checksum, ip, mptcp, tcp
from mpcore.wire.batch import PacketBatch, parse_batch, rewrite_batch, shim6_insert_batch, shim6_remove_batch
from mpcore.wire.packet import Packet
from mpcore.wire.rewrite import Shim6Flow, TcpRewrite, fix_checksums
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
    _exercise_rewrites(data, view)
    try:
        segment = parse_segment(data)
    except WireError:
        return is_segment
    assert is_segment
    assert parse_segment(emit_segment(segment)) == segment
    return True


FLOW = Shim6Flow(bytes(16), bytes(range(16)), 77)
RULES = [TcpRewrite(seq_add=1, ack_add=2, options=bytes([1]) * size) for size in (0, 40)]
RULES.append(TcpRewrite(ack_add=2**31))


def _exercise_rewrites(data: bytes, view: memoryview) -> None:
    batch = PacketBatch(view, [0], [len(view)])
    fixed = bytearray(data)
    for function in (Packet.parse, FLOW.insert, FLOW.remove, *(rule.apply for rule in RULES)):
        _try(function, view)
        _try(fix_checksums, fixed)
    assert parse_batch(batch)["payload_size"][0] <= len(data)
    inside = shim6_insert_batch(batch, [FLOW])
    if inside.statuses[0] == 0:
        assert FLOW.remove(FLOW.insert(data)) == shim6_remove_batch(inside, [FLOW])[0]
    for rule in RULES:
        in_place = bytearray(data)
        _try(rule.apply_to, in_place)
        assert rewrite_batch(batch, [rule])[0] in (b"", in_place)


def _try(function: Callable[[Any], object], argument: object) -> None:
    with suppress(WireError):
        function(argument)


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
