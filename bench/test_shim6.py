"""Shim6's data plane in batches: ns a packet, by what becomes of it and by the number of contexts."""

import random
from functools import cache

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.measure import measure
from mpcore.actions import Direction, VerdictKind
from mpcore.shim6.effects import Path
from mpcore.shim6.engine import Shim6Engine
from mpcore.wire.rewrite import Shim6Flow

BATCH = 256
PAYLOAD_BYTES = 1400
_PREFIX = bytes.fromhex("20010db8")


def address(network: int, host: int) -> bytes:
    return _PREFIX + network.to_bytes(2) + bytes(2) + host.to_bytes(8)


def path(number: int, *, switched: bool) -> Path:
    network = 1 if switched else 0
    return Path(
        number=number,
        ulid_local=address(0, 1),
        ulid_peer=address(2, number),
        fii=0,
        tag_local=number,
        tag_peer=number,
        locator_local=address(network, 1),
        locator_peer=address(2 + network, number),
        sending=True,
        watched=False,
    )


def plain(src: bytes, dst: bytes) -> bytes:
    body = b"\x04\0\x04\1" + bytes(PAYLOAD_BYTES)
    return b"\x60\0\0\0" + len(body).to_bytes(2) + b"\x11\x40" + src + dst + body


@cache
def world(contexts: int, switched: bool) -> tuple[Shim6Engine, list[bytes], list[bytes]]:
    """Return an engine with contexts, and packets of random ones of them from the host and the network."""
    engine = Shim6Engine(max_contexts=contexts, seed=bytes(range(16)))
    paths = [path(number + 1, switched=switched) for number in range(contexts)]
    for each in paths:
        engine.install(each)
    chosen = random.Random(1).choices(paths, k=BATCH)
    out = [plain(each.ulid_local, each.ulid_peer) for each in chosen]
    back = [plain(each.ulid_peer, each.ulid_local) for each in chosen]
    if switched:
        back = [
            Shim6Flow(each.locator_peer, each.locator_local, each.tag_local).insert(data)
            for each, data in zip(chosen, back, strict=True)
        ]
    return engine, out, back


@pytest.mark.parametrize("contexts", [1, 10_000])
@pytest.mark.parametrize("switched", [False, True], ids=["ulids", "locators"])
@pytest.mark.parametrize("direction", list(Direction), ids=["out", "in"])
def test_batch(benchmark: BenchmarkFixture, direction: Direction, switched: bool, contexts: int) -> None:
    """The time includes the copy of the batch into its buffer."""
    engine, out, back = world(contexts, switched)
    packets = out if direction is Direction.FROM_HOST else back
    verdicts = engine.process_many(direction, packets, 1)
    assert set(verdicts) == {VerdictKind.REWRITE if switched else VerdictKind.PASS}
    way = "from the host" if direction is Direction.FROM_HOST else "from the network"
    measure(
        benchmark,
        f"Shim6 data plane, {way}, {'between locators' if switched else 'on its ULIDs'}, {BATCH} at once",
        lambda: engine.process_many(direction, packets, 1),
        packets=BATCH,
        name="mpcore" if contexts == 1 else f"mpcore, {contexts:,} contexts",
    )
