"""Unmodified programs: curl, iperf3; their peers have MPTCP sockets without knowing."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL

import pytest

from mpcore.lab.pattern import pattern_sha256
from mpcore.lab.sockets import build_mptcp_preload, is_listening
from mpcore.lab.topology import Lab
from tests.helpers.netns import nstat_delta
from tests.kernel.support import Daemon, fallbacks, link_bytes, wait_for_nothing, wait_until

pytestmark = pytest.mark.kernel

HTTP_PORT, IPERF_PORT = 8080, 5201
SEED, BYTES = 11, 20_000_003
LEFT_UNREAD_S = 90.0


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


@pytest.fixture
def web_server(hosts: Lab) -> Iterator[str]:
    """A web server with MPTCP on host `b`; the URL of BYTES bytes."""
    module = [sys.executable, "-m", "mpcore.lab.http_server", "::", str(HTTP_PORT), "--mptcp"]
    server = hosts.b.popen(module, stderr=DEVNULL)
    wait_until(lambda: is_listening(hosts.b, HTTP_PORT), "the web server")
    yield f"http://[{hosts.links[0].address(hosts.b, 6)}]:{HTTP_PORT}/{BYTES}/{SEED}"
    hosts.b.stop(server)


def test_curl_fetches_over_both_links(hosts: Lab, daemon: Daemon, web_server: str, tmp_path: Path) -> None:
    needs("curl", "sha256sum")
    moved = nstat_delta(hosts.b)
    file = tmp_path / "fetched"
    hosts.a.run(["curl", "-sS", "--noproxy", "*", "-o", str(file), web_server])
    assert file.stat().st_size == BYTES
    assert hosts.a.run(["sha256sum", str(file)]).stdout.split()[0] == pattern_sha256(SEED, BYTES)
    assert moved()["MPTcpExtMPCapableACKRX"] == 1
    assert moved()["MPTcpExtMPJoinAckRx"] >= 1
    assert fallbacks(moved()) == {}
    wait_for_nothing(daemon)


@pytest.mark.parametrize("reverse", [False, True], ids=["upload", "download"])
def test_iperf3_uses_both_links(hosts: Lab, daemon: Daemon, tmp_path: Path, reverse: bool) -> None:
    needs("iperf3", "gcc")
    server = hosts.b.popen(
        ["iperf3", "-s", "-1", "-p", str(IPERF_PORT)], env=build_mptcp_preload(tmp_path), stdout=DEVNULL
    )
    before = link_bytes(hosts)
    try:
        wait_until(lambda: is_listening(hosts.b, IPERF_PORT), "iperf3's server")
        target = hosts.links[0].address(hosts.b)
        words = ["-c", target, "-p", str(IPERF_PORT), "-t", "2", "-J", *(["-R"] if reverse else [])]
        result = json.loads(hosts.a.run(["iperf3", *words]).stdout)
    finally:
        hosts.b.stop(server)
    carried = [after - earlier for earlier, after in zip(before, link_bytes(hosts), strict=True)]
    assert min(carried) > result["end"]["sum_received"]["bytes"] // 10, carried
    # a server that closes before it has read everything lets its kernel keep the rest, unread, for a minute
    wait_for_nothing(daemon, timeout_s=LEFT_UNREAD_S)
