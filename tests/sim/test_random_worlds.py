"""Worlds drawn by chance: whatever links do, every byte arrives, both sides close, nothing is left behind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from mpcore.config import load_config
from mpcore.endpoint import Endpoint
from mpcore.events import ConnectionFellBack
from mpcore.sim import (
    Close,
    LinkPlan,
    LinkSettings,
    TcpSettings,
    TransferResult,
    cut,
    interface_down,
    interface_up,
    restore,
    run_transfer,
)
from mpcore.sim.scenario import Action
from tests.helpers.pair import MS, SECOND

FAULTS = ("bad_checksums", "unreadable", "bad_acks", "paws_rejected")
HOST_REPAIRS_MAX = 200
LINGER_NS = 400 * SECOND

probability = st.sampled_from([0.0, 0.0, 0.002, 0.01, 0.05])


@dataclass(frozen=True)
class World:
    """Everything that a transfer depends on."""

    links: tuple[LinkSettings, ...]
    up: int
    down: int
    seed: int
    settings: tuple[str, ...]
    script: tuple[tuple[int, str, str], ...]
    closes: tuple[Close, Close]
    tcp: TcpSettings
    carriers: bool


@st.composite
def link_settings(draw: st.DrawFn) -> LinkSettings:
    return LinkSettings(
        rate_bps=draw(st.sampled_from([2_000_000, 10_000_000, 50_000_000])),
        delay_ns=draw(st.sampled_from([0, MS, 10 * MS, 80 * MS])),
        jitter_ns=draw(st.sampled_from([0, 0, 3 * MS])),
        loss=draw(probability),
        reorder=draw(probability),
        reorder_ns=draw(st.sampled_from([MS, 8 * MS])),
        duplicate=draw(probability),
        queue_bytes=draw(st.sampled_from([20_000, 200_000])),
    )


@st.composite
def scripts(draw: st.DrawFn, links: int) -> tuple[tuple[int, str, str], ...]:
    """Cuts and lost addresses once joins are done; the last link stays: there always is a way."""
    if links < 2 or draw(st.booleans()):
        return ()
    steps = st.tuples(
        st.integers(300, 2000).map(lambda ms: ms * MS),
        st.sampled_from(["cut", "restore", "down", "up"]),
        st.sampled_from([f"link{index}" for index in range(links - 1)]),
    )
    return tuple(sorted(draw(st.lists(steps, max_size=4))))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    links = tuple(draw(st.lists(link_settings(), min_size=1, max_size=3)))
    script = draw(scripts(len(links)))
    if script:
        links = tuple(replace(link, loss=0.0, delay_ns=min(link.delay_ns, 10 * MS)) for link in links)
    reorder = draw(st.sampled_from(["runs", "regular", "tree", "shortcuts", "allshortcuts"]))
    chosen = [
        f"mptcp.reorder={reorder}",
        f"mptcp.scheduler={draw(st.sampled_from(['lowest-rtt', 'round-robin']))}",
        f"mptcp.congestion={draw(st.sampled_from(['lia', 'reno', 'cubic']))}",
        f"mptcp.checksum={draw(st.sampled_from(['false', 'true']))}",
        f"limits.reorder_nodes={draw(st.sampled_from([16, 4096]))}",
        f"limits.send_buffer_bytes={draw(st.sampled_from([65536, 8 << 20]))}",
        f"limits.receive_buffer_bytes={draw(st.sampled_from([65536, 8 << 20]))}",
        f"limits.subflow_segments={draw(st.sampled_from([64, 16384]))}",
    ]
    size = st.sampled_from([0, 1, 1000, 40_000, 300_000])
    return World(
        links=links,
        up=draw(size),
        down=draw(size),
        seed=draw(st.integers(0, 1 << 20)),
        settings=tuple(chosen),
        script=script,
        closes=draw(
            st.sampled_from(
                [
                    (Close.WHEN_SENT, Close.WHEN_SENT),
                    (Close.WHEN_SENT, Close.AFTER_PEER),
                    (Close.AFTER_PEER, Close.WHEN_SENT),
                ]
            )
        ),
        tcp=TcpSettings(receive_buffer_bytes=draw(st.sampled_from([20_000, 1 << 20]))),
        carriers=draw(st.booleans()),
    )


def action(name: str, link: str) -> Action:
    if name == "cut":
        return cut(link)
    if name == "restore":
        return restore(link)
    return interface_down("client", link) if name == "down" else interface_up("client", link)


def run(world: World, **changes: Any) -> TransferResult:
    def make(rng: Random, now_ns: int) -> Endpoint:
        endpoint = Endpoint(load_config(None, world.settings), rng=rng, now_ns=now_ns)
        if world.carriers:
            endpoint.engine.hold_carriers(1000)
        return endpoint

    return run_transfer(
        [LinkPlan(settings=link) for link in world.links],
        up_bytes=world.up,
        down_bytes=world.down,
        seed=world.seed,
        client_endpoint=make,
        server_endpoint=make,
        client_tcp=world.tcp,
        server_tcp=world.tcp,
        client_close=world.closes[0],
        server_close=world.closes[1],
        script=[(time_ns, action(name, link)) for time_ns, name, link in world.script],
        carriers=world.carriers,
        linger_ns=LINGER_NS,
        **changes,
    )


def fallbacks(result: TransferResult) -> set[str]:
    """Return why the client's connection went on as plain TCP, if it did."""
    events = (event for _, event in result.events["client"])
    return {event.reason for event in events if isinstance(event, ConnectionFellBack)}


def assert_nothing_is_left(result: TransferResult) -> None:
    for name, node in result.network.nodes.items():
        endpoint = node.endpoint
        assert isinstance(endpoint, Endpoint)
        assert len(endpoint.engine) == 0, f"{name}: {endpoint.snapshot()['connections']}"
        assert endpoint.engine.memory() == {
            "connections": 0, "chunks_in_use": 0, "events": 0, "packets": 0, "carriers": 0,
            "chunks_allocated": endpoint.engine.memory()["chunks_allocated"],
        }  # fmt: skip
        assert endpoint.poll_timeout() is None, name
        assert not node.host.connections, name


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_every_byte_arrives_and_nothing_is_left(world: World) -> None:
    result = run(world)
    note(f"{result.client_counters} {result.server_counters}")
    assert result.ok, f"{result.errors}, up {result.up}, down {result.down}"
    fallen = fallbacks(result)
    # links alone cost a connection its MPTCP only when its SYNs stay unanswered (RFC 8684 §3.1)
    assert fallen <= {"SYNs with MP_CAPABLE stayed unanswered"}
    for counters in (result.client_counters, result.server_counters):
        for fault in () if fallen else FAULTS:
            assert counters.get(fault, 0) == 0, fault
        # the sockets' own repair is for what memory refused: the subflows' comes first
        assert counters.get("retransmissions", 0) <= HOST_REPAIRS_MAX
    assert_nothing_is_left(result)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_world_gives_the_same_packets(seed: int) -> None:
    rough = LinkSettings(
        rate_bps=10_000_000, delay_ns=10 * MS, jitter_ns=3 * MS, loss=0.02, reorder=0.02, duplicate=0.01
    )
    world = World(
        links=(rough, rough),
        up=300_000,
        down=100_000,
        seed=seed,
        settings=("mptcp.checksum=true",),
        script=((300 * MS, "cut", "link0"),),
        closes=(Close.WHEN_SENT, Close.WHEN_SENT),
        tcp=TcpSettings(),
        carriers=False,
    )
    assert run(world).network.trace.digest() == run(world).network.trace.digest()
