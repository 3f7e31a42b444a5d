"""Small messages between the hosts of a stage: round trips, short connections, connections that stay idle."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from subprocess import PIPE, Popen

from mpcore.lab.bench.model import Measure, Sample
from mpcore.lab.bench.stage import Pair, Stack, Stage
from mpcore.lab.commands import LabError
from mpcore.lab.echo_client import Echoed
from mpcore.lab.host import Host
from mpcore.lab.wait import wait_for_line, wait_until

SERVER = (sys.executable, "-m", "mpcore.lab.echo_server")
CLIENT = (sys.executable, "-m", "mpcore.lab.echo_client")
GIVE_UP_S = 40.0


@contextmanager
def echo_server(stage: Stage, pair: Pair) -> Iterator[tuple[Popen[bytes], int]]:
    """Run an echo server on host `b`; yields it and its port."""
    host = stage.lab.b
    server = host.popen([*SERVER, "0.0.0.0", "0", *_socket(pair.server)])
    try:
        yield server, int(wait_for_line(server, "listening").split()[1])
    finally:
        host.stop(server)


@contextmanager
def echo_client(stage: Stage, pair: Pair, port: int, *words: str) -> Iterator[Popen[bytes]]:
    """Run an echo client on host `a`."""
    address = stage.lab.links[0].address(stage.lab.b)
    argv = [*CLIENT, address, str(port), *words, *_socket(pair.client)]
    client = stage.lab.a.popen(argv, stdin=PIPE)
    try:
        yield client
    finally:
        stage.lab.a.stop(client)


def _socket(stack: Stack) -> list[str]:
    return ["--mptcp"] if stack is Stack.KERNEL else []


def _result(client: Popen[bytes]) -> Echoed:
    return Echoed(**json.loads(wait_for_line(client, "{", timeout_s=GIVE_UP_S)))


def round_trip(pair: Pair, count: int) -> Measure:
    """Return the measurement of the median round trip, in microseconds, over `count` of them."""
    return partial(_round_trip, pair=pair, count=count)


def _round_trip(stage: Stage, *, pair: Pair, count: int) -> Sample:
    with (
        stage.playing(pair),
        echo_server(stage, pair) as (_, port),
        echo_client(stage, pair, port, "rounds", "--count", str(count)) as client,
    ):
        result = _result(client)
    return Sample(result.median_us, result.wrong == 0, {"p99_us": round(result.p99_us, 1)})


def short_connections(pair: Pair, seconds: float) -> Measure:
    """Return the measurement of connections a second, each with one message and its answer.

    Daemons are pinned to the first core and the programs to the others.
    """
    return partial(_short_connections, pair=pair, seconds=seconds)


def _short_connections(stage: Stage, *, pair: Pair, seconds: float) -> Sample:
    cores = sorted(os.sched_getaffinity(0))
    others = set(cores[1:]) or set(cores)
    with stage.playing(pair), echo_server(stage, pair) as (server, port):
        for daemon in stage.daemons.values():
            _pin(daemon, {cores[0]})
        _pin(server, others)
        with echo_client(stage, pair, port, "churn", "--seconds", str(seconds)) as client:
            _pin(client, others)
            result = _result(client)
    return Sample(result.count / result.seconds, result.wrong == 0, {"wrong": result.wrong})


def _pin(process: Popen[bytes], cores: set[int]) -> None:
    """Let all threads of `process` run on `cores` only."""
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


def idle_memory(pair: Pair, count: int) -> Measure:
    """Return the measurement of the memory that an idle connection takes of mpcore's daemon, in KB.

    It is the growth of the resident memory over `count` connections, divided by them; where both hosts run a
    daemon, that of the client's host counts.
    """
    return partial(_idle_memory, pair=pair, count=count)


def _idle_memory(stage: Stage, *, pair: Pair, count: int) -> Sample:
    with stage.playing(pair), echo_server(stage, pair) as (_, port):
        host = stage.lab.a if stage.lab.a in stage.daemons else stage.lab.b
        with echo_client(stage, pair, port, "hold", "--count", "1") as client:
            _result(client)
        before_kb, joined = _resident_kb(stage, host), stage.joins()
        with echo_client(stage, pair, port, "hold", "--count", str(count)) as client:
            result = _result(client)
            _wait_for_joins(stage, joined + count)
            grown_kb = _resident_kb(stage, host) - before_kb
            joins = stage.joins() - joined
    return Sample(grown_kb / count, result.wrong == 0, {"connections": count, "joins": joins})


def _wait_for_joins(stage: Stage, wanted: int) -> None:
    """Wait until each connection has its second subflow; those that got none are seen in the details."""
    try:
        wait_until(lambda: stage.joins() >= wanted, "all second subflows", timeout_s=10)
    except LabError:
        return


def _resident_kb(stage: Stage, host: Host) -> int:
    """Return the resident memory of the daemon of `host`, in KB."""
    for line in Path(f"/proc/{stage.daemons[host].pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise LabError("the daemon's memory cannot be read")
