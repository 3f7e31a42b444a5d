"""run_transfer: what it reports."""

from mpcore.sim import LinkPlan, LinkSettings, cut, run_transfer
from mpcore.sim.apps import Transfer
from mpcore.sim.clock import Clock
from mpcore.sim.rng import stream
from tests.helpers.pair import LINK, MS, SECOND, Pair


def test_a_transfer_reports_both_directions() -> None:
    result = run_transfer([LINK], up_bytes=100_000, down_bytes=50_000)
    assert result.ok
    assert (result.up.received, result.down.received) == (100_000, 50_000)
    assert result.up.sha256_received != result.down.sha256_received
    assert result.up.first_ns is not None
    assert result.up.last_ns is not None
    assert 0 < result.up.first_ns < result.up.last_ns <= result.duration_ns
    assert 0 < result.up.goodput_bps < 100_000_000


def test_a_transfer_that_cannot_end_is_not_ok() -> None:
    result = run_transfer([LINK], up_bytes=1 << 20, script=[(20 * MS, cut("link0"))], limit_ns=5 * SECOND)
    assert not result.finished
    assert not result.ok
    assert result.up.received < result.up.size


def test_a_reset_is_an_error() -> None:
    def abort(network: object) -> None:
        for connection in list(result_network.nodes["server"].host.connections.values()):
            connection.abort()

    pair = Pair()
    result_network = pair.network
    result = run_transfer(network=result_network, up_bytes=1 << 20, script=[(30 * MS, abort)])
    assert "reset" in result.errors
    assert not result.ok


def test_directions_of_a_link_may_differ() -> None:
    slow = LinkSettings(rate_bps=1_000_000, delay_ns=5 * MS)
    plan = LinkPlan(settings=LinkSettings(rate_bps=10_000_000, delay_ns=5 * MS), reverse=slow)
    result = run_transfer([plan], up_bytes=200_000, down_bytes=50_000)
    assert result.up.goodput_bps > 2 * result.down.goodput_bps
    assert result.links["link0<"].delivered_bytes > 50_000


def test_a_slow_reader_is_paced_and_loses_nothing() -> None:
    pair = Pair()
    reader = Transfer(pair.clock, stream(0, "reader"), 0, read_bytes=10_000, read_interval_ns=10 * MS)
    pair.server.host.listen(80, lambda connection: reader)
    writer = Transfer(pair.clock, stream(0, "writer"), 300_000)
    local, remote = pair.client.interfaces[0].address, pair.server.interfaces[0].address
    pair.client.host.connect(local, remote, 80, writer)
    pair.run_for(10 * SECOND)
    assert reader.received_hash.digest() == writer.sent_hash.digest()
    assert reader.received.longest_stall_ns == 10 * MS
    assert reader.received.last_ns is not None
    assert reader.received.last_ns >= 300 * MS


def test_named_streams_of_chance_are_independent_and_repeatable() -> None:
    assert stream(1, "a").random() == stream(1, "a").random()
    assert len({stream(seed, name).random() for seed in (1, 2) for name in ("a", "b")}) == 4


def test_a_transfer_makes_the_same_bytes_for_the_same_stream() -> None:
    first, second = (Transfer(Clock(), stream(5, "x"), 1000) for _ in range(2))
    first._make()
    second._make()
    assert first.sent_hash.digest() == second.sent_hash.digest()
