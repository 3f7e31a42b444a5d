"""Captures of the real kernel and of mpcore (made by `tests.vectors.record`), and what holds in them."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mpcore.analysis import Capture, Inspection, inspect, to_document
from tests.vectors.record import FOLDER, RECORDINGS

# Bytes that the programs sent, by direction.
SIZES = {
    "kernel.pcapng": (100_000, 60_000),
    "kernel-v6.pcapng": (100_000, 1000),
    "mpcore.pcap": (50_000, 50_000),
    "failover.pcapng": (1_500_000, 1000),
}
MULTIPATH = sorted(SIZES)


def inspection_of(name: str) -> Inspection:
    with Capture(FOLDER / name) as capture:
        return inspect(capture)


def connection_of(name: str) -> dict[str, Any]:
    (connection,) = to_document(inspection_of(name))["connections"]
    return dict(connection)


def test_every_recording_is_here_and_small() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(RECORDINGS) == {*MULTIPATH, "fallback.pcapng"}
    assert max(path.stat().st_size for path in FOLDER.iterdir()) < 300_000


@pytest.mark.parametrize("name", MULTIPATH)
def test_every_byte_is_placed(name: str) -> None:
    connection = connection_of(name)
    assert tuple(one["bytes"] for one in connection["directions"]) == SIZES[name]
    for direction in connection["directions"]:
        assert (direction["unmapped_bytes"], direction["missed_bytes"]) == (0, 0)
        assert direction["data_acked"] == direction["bytes"] + 1  # and the DATA_FIN, RFC 8684 §3.3.3
        share = sum(
            side["data_bytes"]
            for subflow in connection["subflows"]
            for side in subflow["sides"]
            if side["from"] == direction["from"]
        )
        assert share == direction["bytes"] + direction["reinjected_bytes"]
    assert (connection["fallback"], connection["end"]) == (None, "data-fin")


@pytest.mark.parametrize("name", MULTIPATH)
def test_every_secret_is_right(name: str) -> None:
    """RFC 8684 §3.2, §3.4.1."""
    connection = connection_of(name)
    joins = [one for one in connection["subflows"] if one["kind"] == "join"]
    assert joins
    for join in joins:
        assert {join["token_verified"], join["synack_hmac"], join["ack_hmac"]} == {"right"}
        assert join["token"] == connection["tokens"][1]
    assert {one["hmac"] for one in connection["events"] if one["event"] == "add-addr"} == {"right"}


@pytest.mark.parametrize("name", MULTIPATH)
def test_data_went_by_more_than_one_subflow(name: str) -> None:
    shares = [one["sides"][0]["data_share"] for one in connection_of(name)["subflows"]]
    assert sum(share > 0 for share in shares) >= 2


@pytest.mark.parametrize("name", MULTIPATH)
def test_every_algorithm_had_the_same_to_do(name: str) -> None:
    for direction in connection_of(name)["directions"]:
        costs = direction["reordering"]
        assert len(costs) == 5
        assert {cost["inserts"] for cost in costs} == {direction["out_of_order_pieces"]}


def test_the_kernel_s_checksums_are_right() -> None:
    """RFC 8684 §3.3.1."""
    connection = connection_of("kernel.pcapng")
    assert connection["checksum_required"]
    counts = [one["dss_checksums"] for one in connection["directions"]]
    assert sum(one.get("right", 0) for one in counts) > 0
    assert sum(one.get("wrong", 0) for one in counts) == 0


def test_the_dead_link_s_data_came_by_the_other() -> None:
    connection = connection_of("failover.pcapng")
    assert connection["directions"][0]["reinjected_bytes"] > 0
    assert connection["subflows"][0]["sides"][0]["retransmitted_segments"] > 0


def test_a_server_without_mptcp() -> None:
    """RFC 8684 §3.1."""
    fallback = connection_of("fallback.pcapng")["fallback"]
    assert fallback == {
        "reason": "the SYN/ACK has no MP_CAPABLE",
        "rule": "RFC 8684 §3.1",
        "packet": 2,
    }


@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_no_tcp_checksum_is_wrong(name: str) -> None:
    assert "wrong" not in inspection_of(name).checksums


@pytest.mark.parametrize("name", MULTIPATH)
def test_wireshark_finds_the_same_tokens(name: str, tmp_path: Path) -> None:
    program = shutil.which("tshark")
    if program is None:
        pytest.skip("tshark is not installed")
    argv = [program, "-r", str(FOLDER / name), "-T", "fields", "-e", "mptcp.expected_token"]
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=True, timeout=60)
    found = {f"{int(word, 0):08x}" for line in done.stdout.split() for word in line.split(",")}
    assert found == set(connection_of(name)["tokens"])
