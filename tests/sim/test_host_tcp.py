"""Two model hosts talking plain TCP: what a program may rely on, and what a peer would see."""

from dataclasses import replace

import pytest

from mpcore.sim import LinkPlan, LinkSettings, TcpSettings, cut, restore, run_transfer
from mpcore.sim.apps import Close
from mpcore.sim.middlebox import Drop, SegmentBox, Side
from mpcore.sim.packets import ACK, FIN, RST, SYN
from mpcore.sim.tcp_states import State
from mpcore.wire.values import (
    MaxSegmentSize,
    Sack,
    SackPermitted,
    Segment,
    Timestamps,
    WindowScale,
    emit_segment,
)
from tests.helpers.checkers import ack, expect, field, flags, has, lacks, option, payload, seq, window
from tests.helpers.pair import LINK, MS, SECOND, Pair

LOSSY = LinkPlan(
    settings=LinkSettings(
        rate_bps=50_000_000, delay_ns=5 * MS, loss=0.03, reorder=0.03, reorder_ns=3 * MS, duplicate=0.02
    )
)


def dropping(count: int, **selection: object) -> LinkPlan:
    """Return a link that loses the first `count` segments that match."""

    class First(Drop):
        def change(self, side: Side, segment: Segment) -> list[Segment]:
            return [] if self.touched <= count else [segment]

    return replace(LINK, middleboxes=(First(**selection),))  # type: ignore[arg-type]


# Handshake.


def test_the_handshake_offers_and_agrees() -> None:
    pair = Pair(client_tcp=TcpSettings(isn=1000), server_tcp=TcpSettings(isn=5000, window_scale=9))
    pair.open()
    syn, syn_ack, third = pair.sent()[:3]
    offers = (option(MaxSegmentSize(1460)), option(SackPermitted()), has(Timestamps), window(65535))
    expect(syn, flags("S"), seq(1000), option(WindowScale(7)), *offers)
    expect(syn_ack, flags("S."), seq(5000), ack(1001), option(WindowScale(9)), *offers)
    expect(third, flags("."), seq(1001), ack(5001), payload(b""), has(Timestamps), lacks(MaxSegmentSize))
    stamp = syn.find(Timestamps)
    assert stamp is not None
    expect(syn_ack, field(Timestamps, echo=stamp.value))


@pytest.mark.parametrize("ipv6", [False, True])
def test_the_announced_segment_size_leaves_room_for_headers(ipv6: bool) -> None:
    pair = Pair(client_tcp=TcpSettings(mtu=1400), ipv6=ipv6)
    _, server = pair.open()
    expect(pair.sent()[0], option(MaxSegmentSize(1340 if ipv6 else 1360)))
    server.write(bytes(100_000))
    pair.run_for(SECOND)
    assert max(len(segment.payload) for segment in pair.sent("link0<")) == (1328 if ipv6 else 1348)
    assert len(pair.client_app.received) == 100_000


def test_what_one_side_does_not_offer_nobody_uses() -> None:
    pair = Pair(server_tcp=TcpSettings(window_scale=None, sack=False, timestamps=False))
    client, _ = pair.open()
    expect(pair.sent()[1], lacks(WindowScale, SackPermitted, Timestamps))
    client.write(b"hello")
    pair.run_for(SECOND)
    expect(pair.sent("link0>")[-1], lacks(Timestamps, Sack), window(65535))
    assert pair.server_app.received == b"hello"


def test_a_lost_syn_and_a_lost_syn_ack_are_sent_again() -> None:
    pair = Pair([dropping(2, matches=lambda segment: bool(segment.flags & SYN))])
    pair.open()
    assert pair.clock.now_ns >= SECOND
    assert pair.client.host.counters["syn_retransmissions"] == 2


def test_a_connection_attempt_ends_when_nobody_answers() -> None:
    pair = Pair([replace(LINK, middleboxes=(Drop(side=Side.A),))], client_tcp=TcpSettings(syn_retries=2))
    pair.connect()
    pair.run_for(60 * SECOND)
    assert pair.client_app.error == "timed out"
    assert len(pair.sent()) == 0
    assert pair.client.host.counters["segments_sent"] == 3


def test_a_port_without_a_listener_answers_with_a_reset() -> None:
    pair = Pair()
    local, remote = pair.client.interfaces[0].address, pair.server.interfaces[0].address
    pair.client.host.connect(local, remote, 9, pair.client_app)
    pair.run_for(SECOND)
    assert pair.client_app.error == "reset"
    syn = pair.sent()[0]
    expect(pair.sent()[1], flags("R."), seq(0), ack(syn.seq + 1), window(0))


# Transfers.


@pytest.mark.parametrize("size", [0, 1, 1447, 1448, 1449, 77_777, 1 << 20])
@pytest.mark.parametrize("ipv6", [False, True])
def test_bytes_arrive_whole_both_ways_at_once(size: int, ipv6: bool) -> None:
    result = run_transfer([LINK], up_bytes=size, down_bytes=size * 2 // 3, ipv6=ipv6)
    assert result.ok, result.errors
    assert result.client_counters.get("retransmissions", 0) == 0
    assert result.server_counters.get("retransmissions", 0) == 0


def test_goodput_reaches_the_rate_of_the_link() -> None:
    result = run_transfer([LINK], up_bytes=4 << 20)
    assert 0.85 < result.up.goodput_bps / 100_000_000 < 1448 / 1500


@pytest.mark.parametrize("isn", [0xFFFFFFFF, 0xFFFFFFF0, 0xFFFF0000, 0x7FFFFFFF])
def test_sequence_numbers_wrap(isn: int) -> None:
    settings = TcpSettings(isn=isn)
    result = run_transfer(
        [LOSSY], up_bytes=200_000, down_bytes=200_000, client_tcp=settings, server_tcp=settings
    )
    assert result.ok, result.errors


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("congestion", [True, False])
def test_loss_reordering_and_duplication_are_repaired(seed: int, congestion: bool) -> None:
    settings = TcpSettings(congestion=congestion, receive_buffer_bytes=65536)
    result = run_transfer(
        [LOSSY], up_bytes=100_001, down_bytes=99_999, seed=seed, client_tcp=settings, server_tcp=settings
    )
    assert result.ok, result.errors
    assert result.client_counters["retransmissions"] > 0


def test_a_lone_lost_segment_waits_for_the_timeout() -> None:
    """RFC 6298: nothing else can tell; at least 200 ms."""
    pair = Pair([dropping(1, matches=lambda segment: bool(segment.payload))])
    client, _ = pair.open()
    began = pair.clock.now_ns
    client.write(b"once")
    pair.network.run(stop=lambda: bool(pair.server_app.received))
    assert pair.clock.now_ns - began >= 200 * MS
    assert (client.retransmissions, pair.server_app.received) == (1, b"once")


def test_timeouts_double() -> None:
    """RFC 6298 §5.5."""
    pair = Pair([dropping(4, matches=lambda segment: bool(segment.payload))])
    client, _ = pair.open()
    began = pair.clock.now_ns
    client.write(b"once")
    pair.network.run(stop=lambda: bool(pair.server_app.received))
    assert client.retransmissions == 4
    assert (200 + 400 + 800 + 1600) * MS <= pair.clock.now_ns - began < 3_100 * MS


def test_three_duplicate_acks_bring_the_lost_segment_back_at_once() -> None:
    """RFC 5681 §3.2."""
    drop_third = dropping(1, matches=lambda segment: bool(segment.payload), after=2)
    pair = Pair([drop_third])
    client, _ = pair.open()
    client.write(bytes(14_480))
    pair.run_for(100 * MS)
    assert len(pair.server_app.received) == 14_480
    assert (client.retransmissions, pair.client.host.counters["timeouts"]) == (1, 0)
    assert any(segment.find(Sack) for segment in pair.sent("link0<"))


def test_a_dead_path_ends_the_connection() -> None:
    pair = Pair(client_tcp=TcpSettings(data_retries=3))
    client, _ = pair.open()
    pair.network.link("link0").cut()
    client.write(b"into the void")
    pair.run_for(60 * SECOND)
    assert (pair.client_app.error, client.state) == ("timed out", State.CLOSED)


def test_a_cut_link_stalls_and_a_mended_one_goes_on() -> None:
    result = run_transfer(
        [LINK], up_bytes=1 << 20, script=[(50 * MS, cut("link0")), (2 * SECOND, restore("link0"))]
    )
    assert result.ok, result.errors
    assert result.up.longest_stall_ns > 1_900 * MS
    assert result.links["link0>"].dropped_down > 0


# Flow control.


def test_a_full_window_is_probed_and_opens_again() -> None:
    """RFC 9293 §3.8.6.1."""
    pair = Pair(server_tcp=TcpSettings(receive_buffer_bytes=20_000), server_paused=True)
    client, server = pair.open()
    client.write(bytes(100_000))
    pair.run_for(5 * SECOND)
    assert 20_000 <= server.readable < 21_000, "rounding to the scale may promise a little more, as in Linux"
    expect(pair.sent("link0<")[-1], window(0))
    probe = pair.sent("link0>")[-1]
    expect(probe, flags("."), payload(b""), seq(client.sender.isn + client.sender.una - 1))
    probes = pair.client.host.counters["window_probes"]
    assert 2 <= probes <= 10, "probes must come, ever more rarely"
    pair.server_app.paused = False
    pair.server_app.on_readable(server)
    pair.run_for(SECOND)
    assert len(pair.server_app.received) == 100_000
    assert client.retransmissions == 0


def test_a_window_may_stay_closed_for_longer_than_all_retries() -> None:
    pair = Pair(
        client_tcp=TcpSettings(data_retries=3),
        server_tcp=TcpSettings(receive_buffer_bytes=4096),
        server_paused=True,
    )
    client, server = pair.open()
    client.write(bytes(10_000))
    pair.run_for(3600 * SECOND)
    assert client.state is State.ESTABLISHED
    pair.server_app.paused = False
    pair.server_app.on_readable(server)
    pair.run_for(200 * SECOND)
    assert len(pair.server_app.received) == 10_000


def test_a_lost_window_update_is_found_by_a_probe() -> None:
    box = dropping(
        1, side=Side.B, matches=lambda segment: segment.window > 100 and not segment.flags & SYN, after=12
    )
    pair = Pair([box], server_tcp=TcpSettings(receive_buffer_bytes=20_000), server_paused=True)
    client, server = pair.open()
    client.write(bytes(30_000))
    pair.run_for(SECOND)
    pair.server_app.paused = False
    pair.server_app.on_readable(server)
    pair.run_for(10 * SECOND)
    assert len(pair.server_app.received) == 30_000


def test_nothing_is_sent_beyond_the_window() -> None:
    pair = Pair(server_tcp=TcpSettings(receive_buffer_bytes=5000, window_scale=None), server_paused=True)
    client, _ = pair.open()
    client.write(bytes(50_000))
    pair.run_for(SECOND)
    highest = max(segment.seq + len(segment.payload) - client.sender.isn for segment in pair.sent("link0>"))
    assert highest % (1 << 32) <= 5001


def test_every_second_segment_is_acknowledged_and_a_lone_one_late() -> None:
    """RFC 9293 §3.8.6.3."""
    pair = Pair()
    client, _ = pair.open()
    client.write(bytes(2 * 1448))
    pair.run_for(100 * MS)
    before = len(pair.sent("link0<"))
    client.write(bytes(1448))
    pair.run_for(30 * MS)
    assert len(pair.sent("link0<")) == before, "a lone segment's ACK waits"
    pair.run_for(30 * MS)
    assert len(pair.sent("link0<")) == before + 1
    client.write(bytes(2 * 1448))
    pair.run_for(11 * MS)
    assert len(pair.sent("link0<")) == before + 2


def test_quick_acks_come_at_once() -> None:
    pair = Pair(server_tcp=TcpSettings(quick_ack=True))
    client, _ = pair.open()
    client.write(b"x")
    pair.run_for(11 * MS)
    assert client.sender.outstanding == 0


def test_super_packets_reach_the_wire_as_segments() -> None:
    pair = Pair(client_tcp=TcpSettings(congestion=False))
    handed: list[int] = []
    original = pair.client.host._env.output
    object.__setattr__(
        pair.client.host._env, "output", lambda data, size: (handed.append(len(data)), original(data, size))
    )
    client, _ = pair.open()
    client.write(bytes(65_160))
    pair.run_for(SECOND)
    assert max(handed) > 65_000
    assert max(len(segment.payload) for segment in pair.sent("link0>")) == 1448
    assert len(pair.server_app.received) == 65_160


# Closing.


@pytest.mark.parametrize(
    ("client_close", "server_close"),
    [
        (Close.WHEN_SENT, Close.WHEN_SENT),
        (Close.WHEN_SENT, Close.AFTER_PEER),
        (Close.AFTER_PEER, Close.WHEN_SENT),
    ],
)
@pytest.mark.parametrize("plan", [LINK, LOSSY], ids=["clean", "lossy"])
def test_either_side_may_close_first(client_close: Close, server_close: Close, plan: LinkPlan) -> None:
    result = run_transfer(
        [plan],
        up_bytes=30_000,
        down_bytes=20_000,
        client_close=client_close,
        server_close=server_close,
        linger_ns=200 * SECOND,
    )
    assert result.ok, result.errors
    assert all(not node.host.connections for node in result.network.nodes.values()), "every socket is gone"


def test_half_close_lets_the_other_side_go_on() -> None:
    pair = Pair()
    client, server = pair.open()
    client.shutdown()
    pair.run_for(SECOND)
    assert (client.state, server.state) == (State.FIN_WAIT_2, State.CLOSE_WAIT)
    assert pair.server_app.ended
    assert client.write(b"no more") == 0
    server.write(bytes(50_000))
    pair.run_for(SECOND)
    assert len(pair.client_app.received) == 50_000
    server.shutdown()
    pair.run_for(SECOND)
    assert (client.state, server.state) == (State.TIME_WAIT, State.CLOSED)
    pair.run_for(60 * SECOND)
    assert client.state is State.CLOSED
    assert pair.client_app.error is None


def test_simultaneous_close() -> None:
    pair = Pair()
    client, server = pair.open()
    client.shutdown()
    server.shutdown()
    pair.run_for(7 * MS)
    assert (client.state, server.state) == (State.CLOSING, State.CLOSING)
    pair.run_for(SECOND)
    assert (client.state, server.state) == (State.TIME_WAIT, State.TIME_WAIT)


def test_a_lost_fin_is_sent_again() -> None:
    pair = Pair([dropping(1, matches=lambda segment: bool(segment.flags & FIN))])
    client, _ = pair.open()
    client.shutdown()
    pair.run_for(SECOND)
    assert pair.server_app.ended
    assert client.retransmissions == 1


def test_abort_resets_the_peer() -> None:
    pair = Pair()
    client, _ = pair.open()
    client.abort()
    pair.run_for(SECOND)
    assert pair.server_app.error == "reset"
    assert not pair.server.host.connections


# Segments that a careless engine might inject.


def inject(pair: Pair, **changes: object) -> None:
    """Deliver to the client a segment like its peer's next, with some fields changed."""
    client, server = pair.client_socket, pair.server_socket
    assert client is not None
    assert server is not None
    local, port, remote, remote_port = server.flow
    usual = Segment(
        version=4,
        src=local,
        dst=remote,
        src_port=port,
        dst_port=remote_port,
        seq=(server.sender.isn + server.sender.next) % 2**32,
        ack=(client.sender.isn + client.sender.next) % 2**32,
        flags=ACK,
        window=1000,
    )
    pair.client.host.deliver(emit_segment(replace(usual, **changes)))  # type: ignore[arg-type]


def test_a_reset_needs_the_exact_number() -> None:
    """RFC 5961 §3.2."""
    pair = Pair()
    client, server = pair.open()
    inject(pair, flags=RST, seq=(server.sender.isn + server.sender.next + 10) % 2**32)
    assert client.state is State.ESTABLISHED
    assert pair.client.host.counters["challenge_acks"] == 1
    inject(pair, flags=RST, seq=(server.sender.isn - 10_000_000) % 2**32)
    assert client.state is State.ESTABLISHED
    inject(pair, flags=RST)
    assert pair.client_app.error == "reset"


def test_an_acknowledgement_of_what_was_never_sent_is_refused() -> None:
    pair = Pair()
    client, _ = pair.open()
    inject(pair, ack=(client.sender.isn + 5000) % 2**32, payload=b"evil")
    pair.run_for(SECOND)
    assert pair.client.host.counters["bad_acks"] == 1
    assert pair.client_app.received == b""


def test_an_old_timestamp_is_refused() -> None:
    """RFC 7323 §5.3."""
    pair = Pair()
    pair.open()
    newest = pair.sent("link0<")[-1].find(Timestamps)
    assert newest is not None
    inject(pair, payload=b"old", options=(Timestamps((newest.value - 1) % 2**32, 0),))
    assert pair.client.host.counters["paws_rejected"] == 1
    inject(pair, payload=b"new", options=(Timestamps(newest.value, 0),))
    assert pair.client_app.received == b"new"


def test_a_missing_timestamp_is_counted() -> None:
    pair = Pair()
    pair.open()
    inject(pair, payload=b"bare")
    assert pair.client.host.counters["timestamps_missing"] == 1


def test_a_wrong_checksum_is_dropped() -> None:
    pair = Pair()
    pair.open()
    packet = bytearray(pair.trace.of("send", "link0<")[0].packet)
    packet[-1] ^= 1
    pair.client.host.deliver(bytes(packet))
    assert pair.client.host.counters["bad_checksums"] == 1


def test_a_segment_for_no_socket_draws_a_reset() -> None:
    """RFC 9293 §3.10.7.1: what happens when a packet that belongs to an endpoint leaks to the host."""
    pair = Pair()
    pair.open()
    inject(pair, src_port=81, payload=b"stray")
    assert pair.client.host.counters["resets_sent"] == 1
    expect(pair.trace.of("send", "link0>")[-1].packet, flags("R"))


def test_unreadable_packets_are_counted() -> None:
    pair = Pair()
    pair.server.receive(b"\x45" + bytes(30))
    pair.server.receive(b"")
    assert pair.server.counters["unreadable"] == 2


class Reverse(SegmentBox):
    """Holds data segments in pairs and swaps them."""

    held: Segment | None = None

    def change(self, side: Side, segment: Segment) -> list[Segment]:
        if self.held is None:
            self.held = segment
            return []
        first, self.held = self.held, None
        return [segment, first]


def test_systematic_reordering_needs_no_timeout() -> None:
    box = Reverse(side=Side.A, matches=lambda segment: len(segment.payload) == 1448)
    pair = Pair([replace(LINK, middleboxes=(box,))])
    client, _ = pair.open()
    client.write(bytes(10 * 1448))
    pair.run_for(100 * MS)
    assert len(pair.server_app.received) == 14_480
    assert pair.client.host.counters["timeouts"] == 0
