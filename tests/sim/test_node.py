"""The place of an endpoint between host and network: every verdict, injection, flushes, timers, routing."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from mpcore.actions import Direction, Transmit, Verdict, VerdictKind
from mpcore.sim import TcpSettings, run_transfer, shared_bottleneck
from mpcore.sim.clock import SimulationError
from mpcore.sim.network import host_address
from mpcore.sim.packets import SYN
from mpcore.sim.scenario import EndpointFactory
from mpcore.wire.values import MaxSegmentSize, UnknownOption, emit_segment, parse_segment
from tests.helpers.checkers import expect, flags, option
from tests.helpers.pair import LINK, MS, SECOND, Pair
from tests.sim.endpoints import PASS, Handler, PassThrough

LEAVE = Verdict(VerdictKind.LEAVE)
DROP = Verdict(VerdictKind.DROP)


def factory(made: list[PassThrough], handler: Handler | None = None) -> EndpointFactory:
    """Return a factory that notes the endpoint it makes."""

    def make(rng: Random, now_ns: int) -> PassThrough:
        made.append(PassThrough(rng, now_ns, handler))
        return made[-1]

    return make


def client_with(handler: Handler | None = None) -> tuple[Pair, PassThrough]:
    made: list[PassThrough] = []
    pair = Pair([LINK, LINK], client_endpoint=factory(made, handler))
    return pair, made[0]


@pytest.mark.parametrize("size", [0, 1, 100_001])
def test_a_pass_through_endpoint_changes_nothing(size: int) -> None:
    plain = run_transfer([LINK], up_bytes=size, down_bytes=size)
    passed = run_transfer(
        [LINK], up_bytes=size, down_bytes=size, client_endpoint=PassThrough, server_endpoint=PassThrough
    )
    assert passed.ok, passed.errors
    wire = [[record.text() for record in result.network.trace.of("send")] for result in (plain, passed)]
    assert wire[0] == wire[1]


def test_the_endpoint_sees_super_packets_and_both_directions() -> None:
    made: list[PassThrough] = []
    pair = Pair(client_endpoint=factory(made), client_tcp=TcpSettings(congestion=False))
    endpoint = made[0]
    client, _ = pair.open()
    client.write(bytes(200_000))
    pair.run_for(SECOND)
    sizes = dict.fromkeys(Direction, 0)
    for direction, data, _ in endpoint.seen:
        sizes[direction] = max(sizes[direction], len(data))
    assert sizes[Direction.FROM_HOST] > 20_000
    assert sizes[Direction.FROM_NETWORK] > 0
    assert len(pair.server_app.received) == 200_000


def test_a_flow_that_was_left_never_comes_back() -> None:
    def handler(direction: Direction, data: bytes, now_ns: int) -> Verdict:
        return LEAVE if parse_segment(data).flags & SYN and direction is Direction.FROM_NETWORK else PASS

    pair, endpoint = client_with(handler)
    client, _ = pair.open()
    client.write(bytes(10_000))
    pair.run_for(SECOND)
    assert len(endpoint.seen) == 2, "SYN, and the SYN/ACK that was left"
    assert len(pair.server_app.received) == 10_000
    assert pair.client.counters["bypassed"] > 0


def test_a_rewritten_syn_goes_out_with_its_new_options() -> None:
    extra = UnknownOption(253, b"hi")

    def handler(direction: Direction, data: bytes, now_ns: int) -> Verdict:
        segment = parse_segment(data)
        if direction is Direction.FROM_HOST and segment.flags & SYN:
            changed = replace(segment, options=(*segment.options, extra))
            return Verdict(VerdictKind.REWRITE, emit_segment(changed))
        return PASS

    pair, _ = client_with(handler)
    pair.open()
    expect(pair.trace.of("send", "link0>")[0].packet, flags("S"), option(extra), option(MaxSegmentSize(1460)))


def test_a_rewritten_super_packet_is_cut_by_the_segment_size_and_lost_where_options_leave_no_room() -> None:
    def handler(direction: Direction, data: bytes, now_ns: int) -> Verdict:
        segment = parse_segment(data)
        if direction is Direction.FROM_HOST and segment.payload:
            changed = replace(segment, options=(*segment.options, UnknownOption(253, bytes(18))))
            return Verdict(VerdictKind.REWRITE, emit_segment(changed))
        return PASS

    pair, _ = client_with(handler)
    client, _ = pair.open()
    client.write(bytes(14_480))
    pair.run_for(10 * MS)
    assert pair.network.link("link0").to_b.statistics.dropped_mtu == 10


def test_a_dropped_packet_is_gone() -> None:
    pair, endpoint = client_with(lambda *_: DROP)
    pair.connect()
    pair.run_for(SECOND // 2)
    assert len(endpoint.seen) == 1
    assert pair.sent() == []


def test_a_verdict_of_the_engine_alone_is_an_error() -> None:
    pair, _ = client_with(lambda *_: Verdict(VerdictKind.PUNT))
    with pytest.raises(SimulationError, match="PUNT"):
        pair.connect()


def test_injected_packets_reach_the_host_and_the_answer_reaches_the_endpoint() -> None:
    pair, endpoint = client_with()
    client, server = pair.open()
    data = pair.trace.of("send", "link0<")[-1].packet
    segment = replace(parse_segment(data), flags=0x10, options=(), payload=b"x" * 30_000)
    segment = replace(segment, seq=(server.sender.isn + 1) % 2**32, ack=(client.sender.isn + 1) % 2**32)
    endpoint.transmits.append(Transmit(True, b"", emit_segment(segment)))
    before = len(endpoint.seen)
    pair.client._pump()
    assert pair.client_app.received == b"x" * 30_000
    assert [entry[0] for entry in endpoint.seen[before:]] == [Direction.FROM_HOST], "the host's ACK"


def test_transmits_leave_by_the_interface_of_their_source() -> None:
    pair, endpoint = client_with()
    pair.open()
    segment = replace(pair.sent("link0>")[0], src=host_address(1, 1), dst=host_address(1, 2))
    endpoint.transmits.append(Transmit(False, segment.src, emit_segment(segment)))
    pair.client._pump()
    expect(pair.trace.of("send", "link1>")[0].packet, flags("S"))


def test_a_transmit_from_another_address_than_it_says_is_an_error() -> None:
    pair, endpoint = client_with()
    pair.open()
    data = pair.trace.of("send", "link0>")[0].packet
    endpoint.transmits.append(Transmit(False, host_address(1, 1), data))
    with pytest.raises(SimulationError, match="source"):
        pair.client._pump()


def test_a_packet_without_a_way_out_is_counted() -> None:
    pair, endpoint = client_with()
    pair.open()
    segment = replace(pair.sent("link0>")[0], src=bytes((192, 0, 2, 1)))
    endpoint.transmits.append(Transmit(False, segment.src, emit_segment(segment)))
    pair.client._pump()
    assert pair.client.counters["no_route"] == 1


def test_flush_comes_after_the_last_packet_of_an_instant() -> None:
    pair, endpoint = client_with()
    pair.open()
    pair.run_for(MS)
    endpoint.flushes.clear()
    endpoint.seen.clear()
    data = pair.trace.of("send", "link0<")[0].packet
    when = pair.clock.now_ns + MS
    order: list[str] = []
    endpoint.flush = lambda now_ns: order.append(f"flush {now_ns - when}")  # type: ignore[method-assign]
    for _ in range(3):
        pair.clock.call_at(when, lambda: (order.append("packet"), pair.client.receive(data)))
    pair.run_for(2 * MS)
    assert order[:4] == ["packet", "packet", "packet", "flush 0"]


def test_timeouts_are_kept_and_moved() -> None:
    pair, endpoint = client_with()
    endpoint.deadline, endpoint.next_deadline = 30 * MS, 70 * MS
    pair.open()
    pair.run_for(SECOND)
    assert endpoint.timeouts == [30 * MS, 70 * MS]


def test_a_timeout_that_does_not_move_is_an_error() -> None:
    pair, endpoint = client_with()
    endpoint.deadline = endpoint.next_deadline = 30 * MS
    pair.open()
    with pytest.raises(SimulationError, match="not later"):
        pair.run_for(SECOND)


def test_events_are_kept_with_their_time() -> None:
    pair, endpoint = client_with()
    endpoint.events.append("something")
    pair.open()
    assert pair.client.events == [(0, "something")]
    assert [record.packet for record in pair.trace.of("event")] == [b"'something'"]


def test_addresses_come_and_go() -> None:
    pair, endpoint = client_with()
    first, second = host_address(0, 1), host_address(1, 1)
    assert endpoint.addresses == {first: "link0", second: "link1"}
    pair.client.interface_down("link1")
    assert endpoint.addresses == {first: "link0"}
    pair.client.interface_up("link1")
    assert endpoint.addresses == {first: "link0", second: "link1"}


def test_an_interface_that_is_down_carries_nothing() -> None:
    pair = Pair()
    client, _ = pair.open()
    pair.client.interface_down("link0")
    client.write(b"lost")
    assert pair.client.counters["no_route"] == 1
    with pytest.raises(SimulationError, match="link7"):
        pair.client.interface_down("link7")


def test_links_share_a_bottleneck() -> None:
    network = shared_bottleneck(
        [LINK, LINK], replace(LINK, settings=replace(LINK.settings, rate_bps=10_000_000))
    )
    result = run_transfer(network=network, up_bytes=1 << 20, down_bytes=1000)
    assert result.ok, result.errors
    assert 8_000_000 < result.up.goodput_bps < 10_000_000
    assert result.links["bottleneck>"].delivered == result.links["link0>"].delivered
