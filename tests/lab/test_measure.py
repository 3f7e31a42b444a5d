import io
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mpcore.lab import measure
from mpcore.lab.accounting import machine_busy_s, process_cpu_s
from mpcore.lab.commands import LabError
from mpcore.lab.demo import DemoResult, mpcore_daemon
from mpcore.lab.measure import Failover, Goodput, measure_failover, measure_goodput
from mpcore.lab.sockets import build_mptcp_preload
from mpcore.lab.topology import Lab
from tests.helpers.netns import make_lab

READY = (sys.executable, "-c", "import signal; print('ready', flush=True); signal.pause()")


@pytest.mark.kernel
def test_goodput_is_near_the_rate_of_one_link_and_then_of_two(
    lab: Lab,
    tmp_path: Path,
) -> None:
    tcp = measure_goodput(lab, 2, client_env=None, server_env=None)
    assert 85 < tcp.mbps < 100
    assert tcp.joins == 0
    assert tcp.gigabytes == pytest.approx(tcp.mbps * 2 / 8000, rel=0.1)
    kernel = build_mptcp_preload(tmp_path)
    both = measure_goodput(lab, 2, client_env=kernel, server_env=kernel)
    assert 150 < both.mbps < 200
    assert both.joins >= 1


@pytest.mark.kernel
def test_a_download_over_kernel_mptcp_survives_a_silent_link(tmp_path: Path) -> None:
    with make_lab(200, 200) as lab:
        kernel = build_mptcp_preload(tmp_path)
        result = measure_failover(lab, 20_000_000, client_env=kernel, server_mptcp=True)
        assert result.intact
        assert result.bytes == 20_000_000
        assert result.stall_ms > 0


@pytest.mark.kernel
def test_a_download_over_tcp_does_not_and_says_so() -> None:
    with make_lab(200, 200) as lab:
        result = measure_failover(lab, 20_000_000, client_env=None, server_mptcp=False, give_up_s=2.0)
        assert not result.intact
        assert result.stall_ms >= 2000
        assert 10_000_000 <= result.bytes < 20_000_000


@pytest.mark.kernel
def test_the_daemon_runs_while_the_block_lasts(lab: Lab, tmp_path: Path) -> None:
    with mpcore_daemon(lab.a, tmp_path, command=READY) as daemon:
        assert daemon.poll() is None
    assert daemon.returncode is not None
    assert lab.a.processes == []


@pytest.mark.kernel
def test_a_daemon_that_fails_is_quoted(lab: Lab, tmp_path: Path) -> None:
    failing = (sys.executable, "-c", "import sys; sys.exit('no queue here')")
    with (
        pytest.raises(LabError, match="no queue here"),
        mpcore_daemon(lab.a, tmp_path, command=failing),
    ):
        pytest.fail("it never became ready")


def test_processor_time_is_counted() -> None:
    before = machine_busy_s()
    worker = subprocess.Popen(
        [sys.executable, "-c", "while True: pass"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        measure.wait_until(lambda: process_cpu_s(worker.pid) >= 0.3, "a busy process to be counted", 60)
    finally:
        worker.kill()
        worker.wait()
    assert machine_busy_s() - before >= 0.25


def test_watching_reports_bytes_and_hash_and_calls_once_at_half() -> None:
    half = threading.Event()
    _, received, digest = measure.watch(_piped(b"x" * 100_000), 50_000, half.set)
    assert received == 100_000
    assert half.is_set()
    assert digest == measure.hashlib.sha256(b"x" * 100_000).hexdigest()


def _piped(data: bytes) -> io.BufferedReader:
    reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert reader.stdin is not None
    assert isinstance(reader.stdout, io.BufferedReader)
    threading.Thread(target=lambda: (reader.stdin.write(data), reader.stdin.close(), reader.wait())).start()
    return reader.stdout


def _result(*, intact: bool) -> DemoResult:
    goodput = {mode: Goodput(950.04, 0.5, 0, 0.6) for mode in ("tcp", "kernel_mptcp", "mpcore")}
    return DemoResult(1000, 5, 0.01, goodput, Failover(120.0, 200, intact), Failover(80.0, 200, True), 0.2)


def test_the_document_has_the_promised_keys() -> None:
    document = json.loads(json.dumps(_result(intact=True).to_dict()))
    modes = {"tcp", "kernel_mptcp", "mpcore"}
    assert set(document["goodput_mbps"]) == set(document["cpu_s_per_gb"]) == modes
    assert document["failover"] == {"stall_ms": 120.0, "bytes": 200, "intact": True}


def test_the_table_tells_a_lost_byte() -> None:
    assert _result(intact=True).intact
    assert not _result(intact=False).intact
    assert "NO" in _result(intact=False).to_table()
