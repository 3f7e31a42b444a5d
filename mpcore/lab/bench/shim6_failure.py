"""What a receiver notices when the link of a Shim6 context is lost: known to a host, or in silence."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

from mpcore.host.control_client import ControlClient
from mpcore.lab.bench.bulk import Way, bulk
from mpcore.lab.bench.failure import AFTER_S, BEFORE_S, wait_for_link
from mpcore.lab.bench.model import Measure, Sample
from mpcore.lab.bench.shim6 import SEND_TIMEOUT_S, Shim6Stage, establish
from mpcore.lab.bench.stage import TCP, Stage
from mpcore.lab.commands import LabError
from mpcore.lab.shim6_hosts import Shim6Host, shim6_daemons
from mpcore.lab.stream import Streamed

LATEST = 1.1  # of a Send Timeout: it is drawn, up to a tenth longer than it is set
# How many of them it takes: a peer that hears nothing any more still sends Keepalives for as long.
TIMEOUTS = {True: 2, False: 1}  # by whether only one way is cut
_US = 1e-6


class Loss(Enum):
    """How link 1 is lost. Host `a` knows of the first two; the others are silent."""

    DOWN = "link set down at a"
    ADDRESS = "address removed at a"
    CUT = "cut both ways"
    TOWARDS_A = "cut towards a"
    TOWARDS_B = "cut towards b"


KNOWN, SILENT = (Loss.DOWN, Loss.ADDRESS), (Loss.CUT, Loss.TOWARDS_A, Loss.TOWARDS_B)


@dataclass(frozen=True, slots=True)
class Run:
    """A transfer that lost its link at `lost_s` by this machine's clock."""

    lost_s: float
    received: Streamed
    search: tuple[float, float] | None  # when the first host began to search, when the last one ended

    def sample(self, value: float) -> Sample:
        """Return the run with its figure."""
        stall_ms = round(self.received.stall_ms(self.lost_s), 1)
        details: dict[str, Any] = {"bytes": self.received.bytes, "stall_ms": stall_ms}
        if self.search is not None:
            details["detection_ms"] = round((self.search[0] - self.lost_s) * 1000, 1)
        if self.received.error:
            details["error"] = self.received.error
        return Sample(value, self.received.intact and not self.received.error, details)


def shim6_stall(loss: Loss, way: Way) -> Measure:
    """Return the measurement of the longest gap of a transfer after the loss, in milliseconds."""
    return partial(_stall, loss=loss, way=way)


def shim6_search(loss: Loss, way: Way, send_timeout_s: float) -> Measure:
    """Return the measurement of the search that the loss leads to, in milliseconds.

    It lasts from the first host's beginning to the last one's end. Before it comes its detection, which is
    told apart.
    """
    return partial(_search, loss=loss, way=way, send_timeout_s=send_timeout_s)


def _stall(stage: Stage, *, loss: Loss, way: Way) -> Sample:
    run = _run(stage, loss, way, SEND_TIMEOUT_S, AFTER_S)
    return run.sample(run.received.stall_ms(run.lost_s))


def _search(stage: Stage, *, loss: Loss, way: Way, send_timeout_s: float) -> Sample:
    most_s = TIMEOUTS[loss is not Loss.CUT] * LATEST * send_timeout_s
    run = _run(stage, loss, way, send_timeout_s, most_s + AFTER_S)
    if run.search is None:
        raise LabError("no host has searched another pair")
    begin_s, end_s = run.search
    return run.sample((end_s - begin_s) * 1000)


def _run(stage: Stage, loss: Loss, way: Way, send_timeout_s: float, after_s: float) -> Run:
    if not isinstance(stage, Shim6Stage):
        raise LabError("Shim6 is measured on a stage of its own")
    hosts = stage.hosts
    for each in hosts:
        each.state_file.unlink(missing_ok=True)  # each run makes a context of its own
    with shim6_daemons(hosts, send_timeout_s):
        establish(*hosts, move=False)
        with bulk(stage, TCP, way, BEFORE_S + after_s, address=hosts[1].ulid) as transfer:
            time.sleep(BEFORE_S)
            lost_s = time.monotonic()
            with _lost(stage, loss):
                received = transfer.result(after_s)
                searches = [search for each in hosts for search in _searches(each) if search[0] > lost_s]
        ends = (min(begin for begin, _ in searches), max(end for _, end in searches)) if searches else None
    return Run(lost_s, received, ends)


@contextmanager
def _lost(stage: Shim6Stage, loss: Loss) -> Iterator[None]:
    """Lose link 1 while the block lasts, then wait until it is whole."""
    link, a, b = stage.lab.links[0], *stage.lab.hosts
    address = f"{stage.hosts[0].ulid}/64"
    towards = {Loss.CUT: (a, b), Loss.TOWARDS_A: (a,), Loss.TOWARDS_B: (b,)}.get(loss, ())
    if towards:
        link.cut(*towards)
    elif loss is Loss.DOWN:
        link.down(a)
    else:
        a.ip("addr", "del", address, "dev", link.interface)
    try:
        yield
    finally:
        if towards:
            link.restore(*towards)
        elif loss is Loss.DOWN:
            link.up(a)
        else:
            a.ip("addr", "add", address, "dev", link.interface, "nodad")
        wait_for_link(link)


def _searches(host: Shim6Host) -> list[tuple[float, float]]:
    """Return begin and end of the searches that a host's daemon remembers, by this machine's clock."""
    with ControlClient(str(host.folder / "control.sock")) as client:
        now_s = time.monotonic()
        entries = client.call("shim6_log")["explorations"]
    ends = [(now_s - entry["age_us"] * _US, entry["duration_us"] * _US) for entry in entries]
    return [(end_s - lasted_s, end_s) for end_s, lasted_s in ends]
