"""Somebody else's eyes on the wire: what tshark makes of an exchange between mpcore and the kernel."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpcore.lab.topology import Lab
from tests.kernel.support import (
    Daemon,
    connect,
    exchange_both,
    kernel_peer,
    roles,
    wait_for_nothing,
    wait_until,
)

pytestmark = pytest.mark.kernel

BYTES = 400_003
FAULTS = (
    "mptcp.connection.echoed_key_mismatch",
    "mptcp.connection.missing_algorithm",
    "mptcp.connection.unsupported_algorithm",
    "mptcp.dss.infinite_mapping",
    "_ws.malformed",
)
PREFERENCES = ("tcp.check_checksum:FALSE", "mptcp.analyze_mappings:TRUE", "mptcp.analyze_mptcp:TRUE")


@pytest.fixture
def capture(hosts: Lab, tmp_path: Path) -> Iterator[Path]:
    """Record what host `a` sends and receives; `tshark` reads the file afterwards."""
    if shutil.which("tshark") is None or shutil.which("dumpcap") is None:
        pytest.skip("needs tshark")
    file = tmp_path / "capture.pcapng"
    words = ["dumpcap", "-q", "-i", "link1", "-i", "link2", "-f", "tcp", "-w", str(file)]
    recorder = hosts.a.popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(file.exists, "the capture")
    yield file
    if recorder.poll() is None:
        hosts.a.stop(recorder)


def read(file: Path, display_filter: str, *fields: str) -> list[list[str]]:
    """Return the fields of the packets that match."""
    options = [word for preference in PREFERENCES for word in ("-o", preference)]
    options += ["-Y", display_filter, "-T", "fields", *(word for field in fields for word in ("-e", field))]
    command = ["tshark", "-r", str(file), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


@roles
def test_tshark_finds_one_connection_and_no_fault(
    hosts: Lab, daemon: Daemon, capture: Path, to_a: bool
) -> None:
    pair = connect(hosts, **kernel_peer(to_a))
    pair.client.sendall(b"x")
    assert pair.server.recv(1) == b"x"
    wait_until(lambda: daemon.subflows() > 1, "a second path")
    exchange_both(pair, BYTES, BYTES)
    wait_for_nothing(daemon)
    for recorder in [each for each in hosts.a.processes if "dumpcap" in str(each.args)]:
        hosts.a.stop(recorder)
    # it gives a packet no number before it knows the connection
    assert {row[0] for row in read(capture, "mptcp", "mptcp.stream")} - {""} == {"0"}
    joined = read(capture, "tcp.options.mptcp.subtype == 1 && tcp.flags.syn == 1", "tcp.stream")
    assert joined
    assert len({row[0] for row in read(capture, "mptcp && tcp.len > 0", "tcp.stream")}) > 1
    assert {fault: read(capture, fault, "frame.number") for fault in FAULTS} == {
        fault: [] for fault in FAULTS
    }
