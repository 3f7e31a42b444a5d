"""Two measurements with unmodified programs: goodput by iperf3, survival of a lost link by curl."""

import hashlib
import json
import select
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from subprocess import DEVNULL
from typing import IO, Any

from mpcore.lab.accounting import kernel_counters, machine_busy_s
from mpcore.lab.commands import LabError
from mpcore.lab.host import Host
from mpcore.lab.link import Link
from mpcore.lab.pattern import pattern_sha256
from mpcore.lab.sockets import is_listening
from mpcore.lab.topology import Lab
from mpcore.lab.wait import wait_until

IPERF_PORT = 5201
HTTP_PORT = 8080
SEED = 8684
READ_BYTES = 1 << 16
GIVE_UP_S = 30.0


@dataclass(frozen=True, slots=True)
class Goodput:
    """What iperf3's receiver got, and what it cost the whole machine, both hosts together."""

    mbps: float
    cpu_s_per_gb: float
    joins: int  # additional subflows that the server took, on iperf3's two connections; 0 for plain TCP
    gigabytes: float


@dataclass(frozen=True, slots=True)
class Failover:
    """A download during which link 1 fell silent: the longest gap seen by the receiver, and what arrived."""

    stall_ms: float
    bytes: int
    intact: bool


def measure_goodput(
    lab: Lab, seconds: int, *, client_env: dict[str, str] | None, server_env: dict[str, str] | None
) -> Goodput:
    """Send from host `a` to host `b` for `seconds`; the environments choose the sockets of iperf3.

    Raises LabError when iperf3 cannot do it.
    """
    server = lab.b.popen(
        ["iperf3", "-s", "-p", str(IPERF_PORT)], env=server_env, stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        wait_until(lambda: is_listening(lab.b, IPERF_PORT), "iperf3's server")
        joins, busy = _joins(lab.b), machine_busy_s()
        target = lab.links[0].address(lab.b)
        argv = ["iperf3", "-c", target, "-p", str(IPERF_PORT), "-t", str(seconds), "-J"]
        result = _iperf_result(lab.a, argv, client_env, seconds)
        busy = machine_busy_s() - busy
        received = result["end"]["sum_received"]
        gigabytes = received["bytes"] / 1e9
        if not gigabytes:
            raise LabError("iperf3's server received nothing")
        return Goodput(received["bits_per_second"] / 1e6, busy / gigabytes, _joins(lab.b) - joins, gigabytes)
    finally:
        lab.b.stop(server)


def _joins(host: Host) -> int:
    return kernel_counters(host)["MPTcpExtMPJoinAckRx"]


def _iperf_result(host: Host, argv: list[str], env: dict[str, str] | None, seconds: int) -> dict[str, Any]:
    client = host.popen(argv, env=env)
    killer = threading.Timer(seconds + GIVE_UP_S, client.kill)
    killer.start()
    try:
        assert client.stdout is not None
        output = client.stdout.read()
    finally:
        killer.cancel()
        status = host.stop(client)
    try:
        result: dict[str, Any] = json.loads(output)
    except ValueError:
        raise LabError(f"iperf3 ended with status {status} and without a result") from None
    if "error" in result:
        raise LabError(f"iperf3: {result['error']}")
    return result


def measure_failover(
    lab: Lab,
    size: int,
    *,
    client_env: dict[str, str] | None,
    server_mptcp: bool,
    give_up_s: float = GIVE_UP_S,
) -> Failover:
    """Let curl in host `a` fetch `size` bytes from host `b` and cut link 1 silently when half has arrived.

    A download without progress for `give_up_s` seconds is given up.
    """
    module = [sys.executable, "-m", "mpcore.lab.http_server", "0.0.0.0", str(HTTP_PORT)]
    server = lab.b.popen([*module, "--mptcp"] if server_mptcp else module)
    cut = LaterCut(lab.links[0])
    try:
        wait_until(lambda: is_listening(lab.b, HTTP_PORT), "the web server")
        curl = lab.a.popen(curl_command(lab.links[0].address(lab.b), size), env=client_env)
        assert curl.stdout is not None
        stall_s, received, digest = watch(curl.stdout, size // 2, cut.start, give_up_s)
        lab.a.stop(curl)
        return Failover(stall_s * 1000, received, digest == pattern_sha256(SEED, size))
    finally:
        cut.undo()
        lab.b.stop(server)


def curl_command(address: str, size: int, *options: str) -> list[str]:
    """Return the command line by which curl fetches `size` bytes from the web server at `address`."""
    host = f"[{address}]" if ":" in address else address
    return ["curl", "-sS", "--noproxy", "*", *options, f"http://{host}:{HTTP_PORT}/{size}/{SEED}"]


def watch(
    pipe: IO[bytes], half: int, at_half: Callable[[], None], give_up_s: float = GIVE_UP_S
) -> tuple[float, int, str]:
    """Read `pipe` to its end and return the longest gap (s) after the first byte, the bytes, their SHA-256.

    Calls `at_half` once `half` bytes have come. Gives up after `give_up_s` seconds without progress.
    """
    digest, received, longest, last = hashlib.sha256(), 0, 0.0, 0.0
    while select.select([pipe], [], [], give_up_s)[0]:
        chunk = pipe.read1(READ_BYTES)  # type: ignore[attr-defined]
        now = time.monotonic()
        longest = max(longest, now - last) if received else 0.0
        last = now
        if not chunk:
            return longest, received, digest.hexdigest()
        digest.update(chunk)
        if received < half <= received + len(chunk):
            at_half()
        received += len(chunk)
    return give_up_s, received, digest.hexdigest()


class LaterCut:
    """Cuts a link in the background, so that the receiver's clock goes on meanwhile, and takes it back.

    `since_s` is when it began to, by the monotonic clock; None before.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.thread: threading.Thread | None = None
        self.since_s: float | None = None

    def start(self) -> None:
        """Begin to cut."""
        self.since_s = time.monotonic()
        self.thread = threading.Thread(target=self.link.cut)
        self.thread.start()

    def undo(self) -> None:
        """Restore the link if it was cut."""
        if self.thread is not None:
            self.thread.join()
            self.link.restore()
