"""The trace: same seed, same bytes, wherever it runs; readable by others."""

import os
import struct
import subprocess
import sys

import pytest

from mpcore.sim import LinkPlan, LinkSettings, run_transfer
from mpcore.sim.trace import describe
from mpcore.wire.values import MaxSegmentSize, Segment, emit_segment
from tests.helpers.pair import MS
from tests.sim.endpoints import PassThrough

WORLD = LinkPlan(
    settings=LinkSettings(
        rate_bps=20_000_000,
        delay_ns=10 * MS,
        jitter_ns=MS,
        loss=0.02,
        reorder=0.05,
        duplicate=0.02,
        queue_bytes=60_000,
    )
)
SCRIPT = """
from tests.sim.test_trace import digest
print(digest(7))
"""


def digest(seed: int) -> str:
    result = run_transfer(
        [WORLD, WORLD],
        up_bytes=60_000,
        down_bytes=90_000,
        seed=seed,
        client_endpoint=PassThrough,
        server_endpoint=PassThrough,
    )
    assert result.ok, result.errors
    return result.network.trace.digest()


def test_the_same_seed_gives_the_same_trace_and_another_seed_another() -> None:
    assert digest(7) == digest(7) != digest(8)


@pytest.mark.parametrize("hash_seed", ["1", "4242"])
def test_the_trace_does_not_depend_on_the_hash_seed_of_the_process(hash_seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == digest(7)


def test_the_text_form_is_as_reproducible_and_has_a_line_a_record() -> None:
    texts = [run_transfer([WORLD], up_bytes=5000, seed=3).network.trace for _ in range(2)]
    assert texts[0].text() == texts[1].text()
    assert texts[0].text().count("\n") == len(texts[0].records)


def test_a_packet_as_text() -> None:
    segment = Segment(
        version=4,
        src=bytes((10, 0, 0, 1)),
        dst=bytes((10, 0, 0, 2)),
        src_port=1000,
        dst_port=80,
        seq=1,
        ack=2,
        flags=0x18,
        window=3,
        options=(MaxSegmentSize(1460),),
        payload=b"hello",
    )
    expected = (
        "10.0.0.1:1000 > 10.0.0.2:80 [P.] seq 1 ack 2 win 3 [MaxSegmentSize(value=1460)] len 5/3610a686"
    )
    assert describe(emit_segment(segment)) == expected
    assert describe(b"junk").startswith("unreadable")


def test_the_capture_file_holds_the_packets_with_their_times() -> None:
    trace = run_transfer([WORLD], up_bytes=5000, seed=3).network.trace
    capture = trace.pcap("send", "link0>")
    magic, major, minor, _, _, snaplen, linktype = struct.unpack_from("<IHHiIII", capture)
    assert (magic, major, minor, linktype) == (0xA1B23C4D, 2, 4, 101)
    offset, packets = 24, []
    while offset < len(capture):
        seconds, nanoseconds, size, original = struct.unpack_from("<IIII", capture, offset)
        assert size == original <= snaplen
        packets.append((seconds * 10**9 + nanoseconds, capture[offset + 16 : offset + 16 + size]))
        offset += 16 + size
    assert packets == [(record.time_ns, record.packet) for record in trace.of("send", "link0>")]
