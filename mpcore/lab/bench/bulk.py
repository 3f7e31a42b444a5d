"""Bulk transfers between the hosts of a stage, each byte compared."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from subprocess import Popen

from mpcore.lab.bench.model import Measure, Sample
from mpcore.lab.bench.stage import Meter, Pair, Stack, Stage
from mpcore.lab.commands import LabError
from mpcore.lab.host import Host
from mpcore.lab.stream import Streamed
from mpcore.lab.wait import wait_for_line

PROGRAM = (sys.executable, "-m", "mpcore.lab.stream")
SEED = 8684
GIVE_UP_S = 20.0
_SEGMENT_BYTES = 1428  # payload of a full packet: MTU 1500, timestamps, a DSS option


class Way(Enum):
    """Where the data goes: `UP` from the client, host `a`, `DOWN` to it."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Bulk:
    """A transfer under way."""

    sender: Popen[bytes]
    receiver: Popen[bytes]

    def result(self, seconds: float) -> Streamed:
        """Wait for the end, `seconds` away, and return what the receiver saw.

        It is not intact when bytes are missing, or when the sender is not told that the receiver has closed.
        """
        received = _end(self.receiver, seconds)
        try:
            sent = _end(self.sender, 0)
        except LabError:
            return replace(received, intact=False, error="the sender did not see the end")
        if received.bytes != sent.bytes:
            return replace(received, intact=False, error=f"{sent.bytes - received.bytes} bytes are missing")
        return received


def _end(process: Popen[bytes], seconds: float) -> Streamed:
    return Streamed(**json.loads(wait_for_line(process, "{", timeout_s=seconds + GIVE_UP_S)))


@contextmanager
def bulk(
    stage: Stage, pair: Pair, way: Way, seconds: float, *, link: int = 0, address: str | None = None
) -> Iterator[Bulk]:
    """Start a transfer of `seconds` from `a` to the address of `b` on one link; yield it once connected.

    `address` replaces the one that `link` has of version 4.
    """
    client, server = stage.lab.hosts
    address = address or stage.lab.links[link].address(server)
    tasks = ("send", "receive") if way is Way.UP else ("receive", "send")
    # The listener is on all addresses: the kernel takes an MP_JOIN only where something listens.
    everywhere = "::" if ":" in address else "0.0.0.0"
    listener = _start(server, "listen", everywhere, 0, tasks[1], pair.server, seconds)
    connector = None
    try:
        port = int(wait_for_line(listener, "listening").split()[1])
        connector = _start(client, "connect", address, port, tasks[0], pair.client, seconds)
        for process in (connector, listener):
            wait_for_line(process, "connected")
        yield Bulk(connector, listener) if way is Way.UP else Bulk(listener, connector)
    finally:
        if connector is not None:
            client.stop(connector)
        server.stop(listener)


def _start(
    host: Host, role: str, address: str, port: int, task: str, stack: Stack, seconds: float
) -> Popen[bytes]:
    words = [*PROGRAM, role, address, str(port), task, "--seconds", str(seconds), "--seed", str(SEED)]
    return host.popen([*words, "--mptcp"] if stack is Stack.KERNEL else words)


def goodput(pair: Pair, way: Way, seconds: float, *, link: int = 0) -> Measure:
    """Return the measurement of a transfer's goodput, in Mbit/s."""
    return partial(_goodput, pair=pair, way=way, seconds=seconds, link=link)


def _goodput(stage: Stage, *, pair: Pair, way: Way, seconds: float, link: int) -> Sample:
    with stage.playing(pair):
        meter = Meter(stage)
        with bulk(stage, pair, way, seconds, link=link) as transfer:
            received = transfer.result(seconds)
            details = meter.details(received.bytes / 1e9)
    details["segments_per_s"] = round(received.mbps * 1e6 / 8 / _SEGMENT_BYTES)
    if received.error:
        details["error"] = received.error
    return Sample(received.mbps, received.intact and not received.error, details)


def variants(pairs: tuple[Pair, ...], measure: Callable[[Pair, Way], Measure]) -> dict[str, Measure]:
    """Return each pair's measurement in both directions, by the names that `label` gives."""
    return {label(pair, way): measure(pair, way) for way in Way for pair in pairs}


def label(pair: Pair, way: Way) -> str:
    """Return the name of a variant: `mpcore>kernel up`."""
    return f"{pair} {way.value}"
