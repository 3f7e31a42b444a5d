"""Hardship: programs that do not read, no path for a while, hardly any memory (RFC 8684 §3.3, §3.4)."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from mpcore.config import load_config
from mpcore.counters import Counter
from mpcore.endpoint import Endpoint
from mpcore.sim import (
    LinkPlan,
    LinkSettings,
    TcpSettings,
    cut,
    interface_down,
    interface_up,
    restore,
    run_transfer,
)
from mpcore.sim.node import Node
from mpcore.wire.values import MpCapable, MpFastclose
from tests.helpers.checkers import flags, has, matches
from tests.helpers.pair import MS, PORT, SECOND, Pair, Recorder

CLEAN = LinkPlan(settings=LinkSettings(rate_bps=20_000_000, delay_ns=10 * MS, queue_bytes=100_000))
LITTLE_MEMORY = (
    "limits.memory_bytes=1048576",
    "limits.send_buffer_bytes=524288",
    "limits.receive_buffer_bytes=524288",
)
LOSSY = replace(CLEAN, settings=replace(CLEAN.settings, loss=0.02))


def factory(*settings: str):  # type: ignore[no-untyped-def]
    def make(rng: Random, now_ns: int) -> Endpoint:
        return Endpoint(load_config(None, settings), rng=rng, now_ns=now_ns)

    return make


def pair(*settings: str, plans: tuple[LinkPlan, ...] = (CLEAN, CLEAN), **changes: Any) -> Pair:
    return Pair(plans, client_endpoint=factory(*settings), server_endpoint=factory(*settings), **changes)


def engine_of(node: Node) -> Any:
    assert isinstance(node.endpoint, Endpoint)
    return node.endpoint.engine


def packets(world: Pair) -> int:
    return len(world.sent())


# Programs that do not read.


@pytest.mark.parametrize("plan", [CLEAN, LOSSY], ids=["clean", "lossy"])
def test_a_program_that_stops_reading_loses_nothing(plan: LinkPlan) -> None:
    """RFC 9293 §3.8.6.1: the window closes, is asked for, and opens again."""
    small = TcpSettings(receive_buffer_bytes=50_000)
    world = pair(plans=(plan, plan), server_paused=True, server_tcp=small)
    client, server = world.open()
    data = Random(1).randbytes(400_000)
    given = client.write(data)
    world.run_for(20 * SECOND)
    before = packets(world)
    world.run_for(20 * SECOND)
    assert packets(world) - before < 60, "probes, not a busy loop"
    world.server_app.paused = False
    received = bytearray()
    for _ in range(400):
        received += server.read()
        given += client.write(data[given:])
        world.run_for(100 * MS)
    received += world.server_app.received + server.read()
    assert len(received) == len(data)
    assert world.client_socket is not None
    assert world.client_app.error is None


def test_a_window_that_opens_by_a_lost_ack_is_found_by_a_probe() -> None:
    small = TcpSettings(receive_buffer_bytes=20_000)
    world = pair(server_paused=True, server_tcp=small)
    client, server = world.open()
    client.write(bytes(200_000))
    world.run_for(5 * SECOND)
    for link in ("link0", "link1"):
        world.network.link(link).cut()
    world.server_app.paused = False
    got = len(server.read())
    world.run_for(SECOND)
    for link in ("link0", "link1"):
        world.network.link(link).restore()
    world.run_for(60 * SECOND)
    assert got + len(world.server_app.received) == 200_000


# No path for a while.


def test_all_paths_are_gone_and_a_new_one_takes_over() -> None:
    """RFC 8684 §3.4: break before make."""
    script = [
        (300 * MS, cut("link0")),
        (300 * MS, interface_down("client", "link0")),
        (400 * MS, cut("link1")),
        (400 * MS, interface_down("client", "link1")),
        (6 * SECOND, restore("link1")),
        (6 * SECOND, interface_up("client", "link1")),
    ]
    result = run_transfer(
        [CLEAN, CLEAN],
        up_bytes=3_000_000,
        down_bytes=1_000_000,
        client_endpoint=factory(),
        server_endpoint=factory(),
        script=script,
        linger_ns=300 * SECOND,
    )
    assert result.ok, (result.errors, result.up, result.down)
    assert result.up.longest_stall_ns > 5 * SECOND
    for node in result.network.nodes.values():
        assert len(engine_of(node)) == 0


def test_without_any_path_a_connection_ends_after_its_time() -> None:
    """RFC 8684 §3.4: not for ever."""
    world = pair("mptcp.close_timeout_s=20")
    client, _ = world.open()
    world.run_for(SECOND)
    client.write(bytes(1000))
    for link in ("link0", "link1"):
        world.network.link(link).cut()
        world.client.interface_down(link)
    world.run_for(30 * SECOND)
    assert world.client_app.error == "reset"
    assert len(engine_of(world.client)) == 0


def test_a_peer_that_falls_silent_after_the_end_is_forgotten() -> None:
    """A DATA_FIN that nothing answers must not keep a connection for ever."""
    world = pair()
    client, _ = world.open()
    world.run_for(SECOND)
    for link in ("link0", "link1"):
        world.network.link(link).cut()
    client.shutdown()
    world.run_for(1200 * SECOND)
    assert len(engine_of(world.client)) == 0


@pytest.mark.parametrize("carriers", [False, True], ids=["segments", "super-packets"])
def test_with_several_paths_not_all_of_the_window_is_used(carriers: bool) -> None:
    """RFC 8684 §3.3.4: a Linux receiver whose memory is full behind a gap takes in nothing any more."""
    # all that fits leaves at once
    world = pair("mptcp.pacing=false", server_tcp=TcpSettings(receive_buffer_bytes=140_000))
    if carriers:
        world.network.nodes["client"].carriers = True
        engine_of(world.client).hold_carriers(1000)
    client, _ = world.open()
    world.run_for(SECOND)
    shares = []
    for step in range(60):
        if step == 40:
            world.network.link("link0").cut()
        if step % 10 == 0 or step > 40:
            client.write(bytes(250_000))
        world.run_for(10 * MS)
        assert isinstance(world.client.endpoint, Endpoint)
        (shown,) = world.client.endpoint.snapshot()["connections"]
        shares.append(shown["bytes_in_flight"] / shown["send_window"])
    assert 0.5 < max(shares) < 0.7, shares


# Ends without order.


def test_an_abort_reaches_the_other_program() -> None:
    """RFC 8684 §3.5."""
    world = pair()
    client, _ = world.open()
    world.run_for(SECOND)
    client.write(bytes(100_000))
    client.abort()
    world.run_for(SECOND)
    assert world.server_app.error == "reset"
    assert any(matches(segment, flags("R."), has(MpFastclose)) for segment in world.sent())
    world.run_for(10 * SECOND)
    assert len(engine_of(world.client)) == len(engine_of(world.server)) == 0


# Hardly any room.


@pytest.mark.parametrize(
    "settings",
    [
        ("limits.send_buffer_bytes=65536", "limits.receive_buffer_bytes=65536"),
        ("limits.reorder_nodes=16",),
        LITTLE_MEMORY,
        ("limits.subflow_segments=32",),
    ],
    ids=["rings", "nodes", "memory", "segments"],
)
@pytest.mark.parametrize("checksum", ["false", "true"])
def test_tiny_limits_cost_time_and_nothing_else(settings: tuple[str, ...], checksum: str) -> None:
    rough = replace(CLEAN, settings=replace(CLEAN.settings, loss=0.01, reorder=0.02, jitter_ns=2 * MS))
    far = replace(rough, settings=replace(rough.settings, delay_ns=60 * MS))
    make = factory(*settings, f"mptcp.checksum={checksum}")
    result = run_transfer(
        [rough, far],
        up_bytes=1_500_000,
        down_bytes=1_500_000,
        client_endpoint=make,
        server_endpoint=make,
        linger_ns=300 * SECOND,
    )
    assert result.ok, (result.errors, result.up, result.down)
    for node in result.network.nodes.values():
        assert engine_of(node).memory()["chunks_in_use"] == 0


def test_many_connections_share_little_memory() -> None:
    world = pair(*LITTLE_MEMORY)
    world.open()
    sockets, apps = [], [Recorder() for _ in range(12)]
    world.server.host.listen(PORT + 1, lambda connection: Recorder())
    for app in apps:
        remote = world.server.interfaces[0].address
        sockets.append(world.client.host.connect(world.client.interfaces[0].address, remote, PORT + 1, app))
    world.run_for(SECOND)
    left = [bytes(300_000)] * len(sockets)
    for _ in range(1200):
        for index, socket in enumerate(sockets):
            left[index] = left[index][socket.write(left[index]) :]
        world.run_for(100 * MS)
        if not any(left):
            break
    assert [len(rest) for rest in left] == [0] * len(sockets)
    assert [app.error for app in apps] == [None] * len(apps)


def test_beyond_the_limit_connections_are_plain() -> None:
    """They are refused at the SYN, so that the peer never thinks otherwise."""
    world = pair("limits.max_connections=1")
    world.open()
    second = Recorder()
    world.server.host.listen(PORT + 1, lambda connection: Recorder())
    before = packets(world)
    remote = world.server.interfaces[0].address
    socket = world.client.host.connect(world.client.interfaces[0].address, remote, PORT + 1, second)
    world.run_for(SECOND)
    assert second.established
    assert socket.write(b"hello") == 5
    world.run_for(SECOND)
    assert not any(segment.find(MpCapable) for segment in world.sent()[before:] if segment.flags & 2)
    assert isinstance(world.client.endpoint, Endpoint)
    assert world.client.endpoint.counters()[Counter.TABLE_FULL.mib] >= 1
