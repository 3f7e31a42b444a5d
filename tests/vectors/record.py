"""Record the captures of `tests/vectors/captures` anew: `python -m tests.vectors.record [NAME]...` as root.

The programs, hosts and links are those of the laboratory; dumpcap catches the packets. What it writes beside
them (names of the machine and of its interfaces) is left out.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mpcore.analysis.capture import Capture, Frame
from mpcore.lab.host import Host
from mpcore.lab.topology import Lab
from mpcore.lab.wait import wait_until
from tests.helpers.captures import pcap, pcapng
from tests.helpers.netns import (
    converse,
    make_lab,
    mpcore_daemon,
    read_result,
    start_client,
    start_server,
)

FOLDER = Path(__file__).parent / "captures"
HEADERS = 160  # octets: all headers, for captures whose payload does not matter


@contextmanager
def recording(host: Host, *interfaces: str, snap_length: int = 0) -> Iterator[list[Frame]]:
    """Catch the TCP packets of `interfaces` while the block lasts; the list is filled at its end."""
    frames: list[Frame] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "raw")
        argv = ["dumpcap", "-q", "-s", str(snap_length), "-w", str(path), "-f", "tcp or ip6 proto 6"]
        for interface in interfaces:
            argv += ["-i", interface]
        process = host.popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: path.exists() and path.stat().st_size > 0, "dumpcap to start")
        try:
            yield frames
        finally:
            wait_until(lambda: _settled(path), "the last packet to be written")
            host.stop(process)
        with Capture(path) as capture:
            frames += capture


def _settled(path: Path) -> bool:
    """Tell whether the file has stopped to grow, for as long as dumpcap buffers."""
    size = path.stat().st_size
    subprocess.run(["sleep", "1.5"], check=True)
    return path.stat().st_size == size


def kernel(lab: Lab) -> bytes:
    """Two kernels, IPv4, DSS checksums, both directions, packets as they are on the wire."""
    for host in lab.hosts:
        host.sysctl("net.mptcp.checksum_enabled", 1)
    for link in lab.links:
        link.without_offload()
    with recording(lab.b, "link1", "link2") as frames:
        converse(lab, client_mptcp=True, server_mptcp=True, upload=100_000, download=60_000)
    return pcapng(frames)


def kernel_v6(lab: Lab) -> bytes:
    """Two kernels, IPv6, super-packets, checksums left to the card."""
    with recording(lab.a, "link1", "link2") as frames:
        converse(lab, version=6, client_mptcp=True, server_mptcp=True, upload=100_000, download=1000)
    return pcapng(frames)


def mpcore(lab: Lab) -> bytes:
    """mpcore for a plain program at `a`, the kernel at `b`; all interfaces of `b` as one."""
    with tempfile.TemporaryDirectory() as folder, mpcore_daemon(lab.a, Path(folder)):  # noqa: SIM117
        with recording(lab.b, "any") as frames:
            converse(lab, client_mptcp=False, server_mptcp=True, upload=50_000, download=50_000)
    return pcap(frames, link_type=frames[0].link_type)


def fallback(lab: Lab) -> bytes:
    """mpcore offers MPTCP to a server that knows nothing of it."""
    with tempfile.TemporaryDirectory() as folder, mpcore_daemon(lab.a, Path(folder)):  # noqa: SIM117
        with recording(lab.b, "link1", "link2") as frames:
            converse(lab, client_mptcp=False, server_mptcp=False, upload=3000, download=3000)
    return pcapng(frames)


def failover(lab: Lab) -> bytes:
    """Two kernels; link 1 falls silent, and what was on it comes again by link 2. Headers only."""
    with recording(lab.a, "link1", "link2", snap_length=HEADERS) as frames:
        server = start_server(lab.b, lab.links[0].address(lab.b), mptcp=True, size=1000)
        client = start_client(lab.a, server, mptcp=True, size=1_500_000)
        moved = lab.a.run(["cat", "/sys/class/net/link2/statistics/tx_bytes"]).stdout
        wait_until(lambda: _sent(lab.a, "link2") > int(moved) + 200_000, "data on both links")
        lab.links[0].cut()
        read_result(client)
        server.results()
    return pcapng(frames)


def _sent(host: Host, interface: str) -> int:
    return int(host.run(["cat", f"/sys/class/net/{interface}/statistics/tx_bytes"]).stdout)


RECORDINGS: dict[str, tuple[Callable[[Lab], bytes], tuple[float, float]]] = {
    "kernel.pcapng": (kernel, (2, 2)),
    "kernel-v6.pcapng": (kernel_v6, (8, 8)),
    "mpcore.pcap": (mpcore, (8, 8)),
    "fallback.pcapng": (fallback, (8, 8)),
    "failover.pcapng": (failover, (4, 4)),
}


def main(names: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in names or RECORDINGS:
        record, rates = RECORDINGS[name]
        with make_lab(*rates) as lab:
            data = record(lab)
        (FOLDER / name).write_bytes(data)
        print(f"{name}: {len(data)} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
