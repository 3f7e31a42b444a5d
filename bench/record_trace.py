"""Record the traces of `bench/traces` anew: `python -m bench.record_trace` as root, with dumpcap installed.

Two hosts of the laboratory, links of unlike rates; host `b` runs the kernel's Multipath TCP and receives.
`kernel` is what another kernel sends to it, `mpcore` what mpcore sends for a plain program.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from bench.traces import RECORDED, Trace, captured
from tests.helpers.captures import pcapng
from tests.helpers.netns import make_lab, mpcore_daemon, read_result, start_client, start_server
from tests.vectors.record import HEADERS, recording

SIZE = 6_000_000
RATES_MBIT = (30, 8)


def record(name: str) -> Trace:
    """Return the arrivals at `b` of one upload."""
    with ExitStack() as stack:
        lab = stack.enter_context(make_lab(*RATES_MBIT))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for link in lab.links:
            link.without_offload()
        if name == "mpcore":
            stack.enter_context(mpcore_daemon(lab.a, folder))
        with recording(lab.b, "link1", "link2", snap_length=HEADERS) as frames:
            server = start_server(lab.b, lab.links[0].address(lab.b), mptcp=True, size=1000)
            read_result(start_client(lab.a, server, mptcp=name == "kernel", size=SIZE))
            server.results()
        path = folder / "capture"
        path.write_bytes(pcapng(frames))
        return captured(path)


def main() -> None:
    """Record both and write them to the folder."""
    RECORDED.mkdir(exist_ok=True)
    for name in ("kernel", "mpcore"):
        trace = record(name)
        path = RECORDED / f"{name}.npz"
        sizes = (trace.ends - trace.starts).astype(np.uint32)
        np.savez_compressed(path, starts=trace.starts, sizes=sizes, subflows=trace.subflows)
        print(f"{path.name}: {len(trace)} segments, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
