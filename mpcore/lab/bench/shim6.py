"""Bulk TCP between hosts with Shim6: what a context costs on its ULIDs, and once it has left them."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum
from functools import partial
from typing import Any, Self

from mpcore.config import Config
from mpcore.host.control_client import ControlClient
from mpcore.lab.accounting import machine_busy_s
from mpcore.lab.bench.bulk import Way, bulk
from mpcore.lab.bench.model import Measure, Sample
from mpcore.lab.bench.queue_peers import build_accept
from mpcore.lab.bench.stage import TCP, Stage
from mpcore.lab.commands import LabError
from mpcore.lab.host import Host
from mpcore.lab.link import MTU_BYTES, Link
from mpcore.lab.shim6_hosts import Shim6Host, make_shim6_hosts, shim6_daemons, wait_for_contexts
from mpcore.lab.wait import wait_for_line, wait_until
from mpcore.wire.shim6_constants import PAYLOAD_HEADER_SIZE

SEND_TIMEOUT_S = 15.0  # the default
_QUEUES = "/proc/net/netfilter/nfnetlink_queue"
_QUEUED_COLUMN = 7  # id_sequence: packets that the queue has had
_PROGRAM = (sys.executable, "-m", "mpcore.lab.bench.queue_peers")


class Path(Enum):
    """What carries the transfer."""

    PLAIN = "no mpcore"
    ULIDS = "context on its ULIDs"
    MOVED = "context on other locators"
    CALLBACK = "Python callback"
    ACCEPT = "accepting C loop"


class Shim6Stage(Stage):
    """A laboratory whose hosts have hash-based addresses instead of the links' own."""

    hosts: tuple[Shim6Host, Shim6Host]

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.hosts = make_shim6_hosts(self.lab, self.folder)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self


def shim6_goodput(path: Path, way: Way, seconds: float) -> Measure:
    """Return the measurement of a transfer's goodput, in Mbit/s, on a Shim6Stage."""
    return partial(_measure, path=path, way=way, seconds=seconds)


def _measure(stage: Stage, *, path: Path, way: Way, seconds: float) -> Sample:
    if not isinstance(stage, Shim6Stage):
        raise LabError("Shim6 is measured on a stage of its own")
    if path in (Path.CALLBACK, Path.ACCEPT):
        with _queue_peers(stage, path):
            return _goodput(stage, way, seconds)
    if path is Path.PLAIN:
        return _goodput(stage, way, seconds)
    for each in stage.hosts:
        each.state_file.unlink(missing_ok=True)  # each run makes a context of its own
    with shim6_daemons(stage.hosts, SEND_TIMEOUT_S):
        establish(*stage.hosts, move=path is Path.MOVED)
        return _goodput(stage, way, seconds)


def establish(a: Shim6Host, b: Shim6Host, *, move: bool) -> None:
    """Make a context between the ULIDs of both, and let it leave them with `move`."""
    with ControlClient(str(a.folder / "control.sock")) as client:
        client.call("shim6_establish", local=a.ulid, peer=b.ulid, fii=0)
        wait_for_contexts(a, b)
        if move:
            client.call("shim6_explore", context=a.contexts(b.ulid)[0]["tag_local"], leave=True)
            wait_until(lambda: _has_left(a, b) and _has_left(b, a), "the context to leave its ULIDs")


def _has_left(host: Shim6Host, peer: Shim6Host) -> bool:
    return any(entry["current_local"] != host.ulid for entry in host.contexts(peer.ulid))


@contextmanager
def _queue_peers(stage: Shim6Stage, path: Path) -> Iterator[None]:
    """Let a program in each host handle the packets that a context on other locators would queue.

    Packets leave room for the header: what would come of it otherwise is Path MTU Discovery, by ICMPv6 errors
    that a callback had to map back.
    """
    first = stage.lab.links[0]
    with ExitStack() as stack:
        _set_mtu(first, MTU_BYTES - PAYLOAD_HEADER_SIZE)
        stack.callback(_set_mtu, first, MTU_BYTES)
        for own, peer in (stage.hosts, stage.hosts[::-1]):
            stack.enter_context(_queue_peer(own, peer, path))
        yield


@contextmanager
def _queue_peer(own: Shim6Host, peer: Shim6Host, path: Path) -> Iterator[None]:
    shim6 = Config().shim6
    queue = ["-j", "NFQUEUE", "--queue-num", str(shim6.queue_number)]
    words = [*_PROGRAM, str(shim6.queue_number), str(shim6.queue_length)]
    if path is Path.CALLBACK:
        words += ["callback", own.addresses[1], peer.addresses[1], peer.ulid, own.ulid]
        incoming = ["-p", "140"]
    else:
        words += ["accept", str(build_accept(own.folder))]
        incoming = ["-s", peer.ulid, "-d", own.ulid]
    rules = [["OUTPUT", "-s", own.ulid, "-d", peer.ulid, *queue], ["INPUT", *incoming, *queue]]
    program = own.host.popen(words)
    try:
        wait_for_line(program, "ready")
        for rule in rules:
            own.host.run(["ip6tables", "-w", "-t", "mangle", "-A", *rule])
        yield
    finally:
        for rule in rules:
            own.host.run(["ip6tables", "-w", "-t", "mangle", "-D", *rule], check=False)
        own.host.stop(program)


def _set_mtu(link: Link, mtu: int) -> None:
    for host in (link.a, link.b):
        host.ip("link", "set", link.interface, "mtu", str(mtu))


def _goodput(stage: Shim6Stage, way: Way, seconds: float) -> Sample:
    queued, begin_s = sum(map(_queued, stage.lab.hosts)), time.monotonic()
    busy_s = machine_busy_s()
    with bulk(stage, TCP, way, seconds, address=stage.hosts[1].ulid) as transfer:
        received = transfer.result(seconds)
    lasted_s = time.monotonic() - begin_s
    queued = sum(map(_queued, stage.lab.hosts)) - queued
    details: dict[str, Any] = {
        "bytes": received.bytes,
        "queued": queued,
        "queued_per_s": round(queued / lasted_s, 1),
        "cpu_s_per_gb": round((machine_busy_s() - busy_s) / max(received.bytes / 1e9, 1e-9), 3),
    }
    if received.error:
        details["error"] = received.error
    return Sample(received.mbps, received.intact and not received.error, details)


def _queued(host: Host) -> int:
    """Return how many packets the kernel has put in queues of `host` so far."""
    lines = host.run(["cat", _QUEUES], check=False).stdout.splitlines()
    return sum(int(line.split()[_QUEUED_COLUMN]) for line in lines)
