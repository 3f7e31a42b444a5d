"""Two endpoints over two links: loss, reordering, duplication, cuts, middleboxes (RFC 8684)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from mpcore.events import ConnectionFellBack
from mpcore.sim import (
    LinkPlan,
    LinkSettings,
    TcpSettings,
    TransferResult,
    cut,
    interface_down,
    restore,
    run_transfer,
)
from mpcore.sim.apps import Close
from mpcore.sim.middlebox import (
    Coalesce,
    Drop,
    Duplicate,
    Middlebox,
    ModifyPayload,
    RewriteIsn,
    Side,
    Split,
    StripOptions,
    after_syn,
    on_data,
    on_syn,
)
from mpcore.wire.values import MpCapable, MpJoinSyn, Segment
from tests.helpers.pair import MS, SECOND

endpoint_module = pytest.importorskip("mpcore.endpoint")
config_module = pytest.importorskip("mpcore.config")

CLEAN = LinkPlan(settings=LinkSettings(rate_bps=20_000_000, delay_ns=10 * MS, queue_bytes=100_000))
ROUGH = LinkPlan(
    settings=LinkSettings(
        rate_bps=20_000_000,
        delay_ns=10 * MS,
        jitter_ns=2 * MS,
        loss=0.01,
        reorder=0.02,
        reorder_ns=4 * MS,
        duplicate=0.01,
        queue_bytes=100_000,
    )
)
SIZE = 500_001


def mptcp(rng: Random, now_ns: int) -> object:
    """Make an endpoint with the default configuration."""
    return endpoint_module.Endpoint(config_module.Config(), rng=rng, now_ns=now_ns)


def with_checksums(rng: Random, now_ns: int) -> object:
    """Make an endpoint that asks for DSS checksums (RFC 8684 §3.3)."""
    config = config_module.load_config(None, ["mptcp.checksum=true"])
    return endpoint_module.Endpoint(config, rng=rng, now_ns=now_ns)


def transfer(links: Sequence[LinkPlan], **changes: object) -> TransferResult:
    """Run a transfer with an endpoint at both ends, unless told otherwise."""
    usual: dict[str, object] = {
        "up_bytes": SIZE,
        "down_bytes": SIZE,
        "client_endpoint": mptcp,
        "server_endpoint": mptcp,
    }
    return run_transfer(links, **{**usual, **changes})  # type: ignore[arg-type]


def check(result: TransferResult, *, resets: bool = False) -> TransferResult:
    """Assert that every byte arrived, and that no host was led to doubt or reset anything.

    With `resets` a host may answer what arrives on a subflow that has ended already (RFC 9293 §3.10.7.1).
    """
    assert result.ok, f"{result.errors}, up {result.up}, down {result.down}"
    for counters in (result.client_counters, result.server_counters):
        for fault in ("bad_checksums", "unreadable", "bad_acks", "paws_rejected"):
            assert counters.get(fault, 0) == 0, fault
        assert resets or counters.get("resets_sent", 0) == 0
    return result


def boxed(*boxes: Middlebox, plan: LinkPlan = CLEAN) -> LinkPlan:
    return replace(plan, middleboxes=boxes)


def used(result: TransferResult, link: str) -> bool:
    """Return whether a link carried more than control packets both ways together."""
    return result.links[f"{link}>"].delivered_bytes + result.links[f"{link}<"].delivered_bytes > 50_000


def mptcp_syns(result: TransferResult, kind: type) -> list[Segment]:
    return [segment for segment in result.network.trace.segments("send", "link") if segment.find(kind)]


# Clean links.


@pytest.mark.parametrize("size", [0, 1, 999, SIZE])
def test_bytes_arrive_whole_over_two_links(size: int) -> None:
    result = check(transfer([CLEAN, CLEAN], up_bytes=size, down_bytes=size // 2))
    assert mptcp_syns(result, MpCapable)
    assert result.client_counters.get("retransmissions", 0) == 0
    assert result.server_counters.get("retransmissions", 0) == 0


def test_two_links_carry_more_than_one() -> None:
    """The point of it all."""
    one = check(transfer([CLEAN], up_bytes=4 << 20, down_bytes=0))
    two = check(transfer([CLEAN, CLEAN], up_bytes=4 << 20, down_bytes=0))
    assert mptcp_syns(two, MpJoinSyn)
    assert used(two, "link1")
    assert two.up.goodput_bps > 1.4 * one.up.goodput_bps


def test_ipv6() -> None:
    result = check(transfer([CLEAN, CLEAN], ipv6=True))
    assert used(result, "link1")


@pytest.mark.parametrize(
    ("client_close", "server_close"),
    [
        (Close.WHEN_SENT, Close.WHEN_SENT),
        (Close.WHEN_SENT, Close.AFTER_PEER),
        (Close.AFTER_PEER, Close.WHEN_SENT),
    ],
)
def test_connections_end_in_order_and_leave_nothing(client_close: Close, server_close: Close) -> None:
    """RFC 8684 §3.3.3: DATA_FIN both ways, then every subflow closes."""
    result = check(
        transfer([CLEAN, CLEAN], client_close=client_close, server_close=server_close, linger_ns=200 * SECOND)
    )
    for node in result.network.nodes.values():
        assert not node.host.connections
        assert node.endpoint.snapshot()["connections"] == []  # type: ignore[union-attr]


def test_a_small_receive_buffer_holds_the_sender_back() -> None:
    settings = TcpSettings(receive_buffer_bytes=30_000)
    check(transfer([CLEAN, CLEAN], client_tcp=settings, server_tcp=settings))


def test_checksums() -> None:
    check(transfer([ROUGH, ROUGH], client_endpoint=with_checksums, server_endpoint=with_checksums))


# Misfortune.


@pytest.mark.parametrize("seed", range(6))
def test_loss_reordering_and_duplication(seed: int) -> None:
    check(transfer([ROUGH, ROUGH], seed=seed))


def test_links_of_very_different_delay() -> None:
    far = replace(CLEAN, settings=replace(CLEAN.settings, delay_ns=150 * MS, loss=0.005))
    check(transfer([CLEAN, far], up_bytes=2_000_000))


@pytest.mark.parametrize("link", ["link0", "link1"])
@pytest.mark.parametrize("plan", [CLEAN, ROUGH], ids=["clean", "rough"])
def test_a_link_is_cut_for_good_and_the_transfer_goes_on(link: str, plan: LinkPlan) -> None:
    result = check(transfer([plan, plan], up_bytes=2_000_000, script=[(300 * MS, cut(link))]))
    assert result.up.longest_stall_ns < 10 * SECOND


def test_a_link_is_cut_and_comes_back() -> None:
    script = [(300 * MS, cut("link0")), (1500 * MS, restore("link0"))]
    check(transfer([CLEAN, CLEAN], up_bytes=4_000_000, script=script))


def test_an_address_goes_away() -> None:
    """RFC 8684 §3.4.2."""
    script = [(300 * MS, cut("link0")), (300 * MS, interface_down("client", "link0"))]
    result = check(transfer([CLEAN, CLEAN], up_bytes=2_000_000, script=script))
    assert result.up.longest_stall_ns < 2 * SECOND


# Peers and middleboxes that know nothing of it (RFC 8684 §3.7).


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_plain_peer_gets_plain_tcp(side: str) -> None:
    result = check(transfer([CLEAN, CLEAN], **{f"{side}_endpoint": None}))
    assert not used(result, "link1")


@pytest.mark.parametrize("side", [None, Side.A, Side.B])
@pytest.mark.parametrize(
    "matches", [None, on_syn, after_syn, on_data], ids=["all", "syn", "after-syn", "data"]
)
def test_options_are_stripped(side: Side | None, matches: object) -> None:
    box = StripOptions(side=side, matches=matches)  # type: ignore[arg-type]
    # joins that were under way when the connection fell back are reset
    check(transfer([boxed(box), CLEAN], limit_ns=120 * SECOND), resets=True)
    assert box.touched


def test_the_sender_falls_back_as_soon_as_its_data_is_acknowledged_without_a_data_ack() -> None:
    """RFC 8684 §3.7: also when mapped data of the peer had come before."""
    box = StripOptions(side=Side.A, matches=on_data)
    result = check(transfer([boxed(box), CLEAN]), resets=True)
    times = [time_ns for time_ns, event in result.events["client"] if isinstance(event, ConnectionFellBack)]
    assert times
    assert times[0] < 100 * MS


def test_options_are_stripped_from_joins_alone() -> None:
    """RFC 8684 §3.2: the subflow fails, the connection does not."""
    result = check(transfer([CLEAN, boxed(StripOptions())]))
    assert not used(result, "link1")


def test_syns_with_the_option_are_lost() -> None:
    """RFC 8684 §3.7: after some attempts the SYN goes without."""
    box = Drop(matches=lambda segment: bool(segment.find(MpCapable)))
    check(transfer([boxed(box)], limit_ns=120 * SECOND))


@pytest.mark.parametrize(
    "box",
    [
        lambda: Split(700),
        lambda: Coalesce(1400),
        lambda: RewriteIsn({Side.A: 12345, Side.B: 2**31}),
        Duplicate,
    ],
    ids=["split", "coalesce", "isn", "duplicate"],
)
def test_segments_are_mangled_on_one_link(box: type[Middlebox]) -> None:
    result = check(transfer([CLEAN, boxed(box())], limit_ns=200 * SECOND))
    assert mptcp_syns(result, MpJoinSyn)


def test_a_changed_payload_is_found_by_the_checksum() -> None:
    """RFC 8684 §3.7: with another subflow alive, the bad one is reset and its data sent again."""
    box = ModifyPayload(side=Side.A, after=20, limit=1)
    result = transfer(
        [CLEAN, boxed(box)],
        client_endpoint=with_checksums,
        server_endpoint=with_checksums,
        up_bytes=2_000_000,
    )
    check(result, resets=True)
    assert box.touched


@pytest.mark.parametrize("side", [Side.A, Side.B])
@pytest.mark.parametrize("after", [0, 1, 40])
def test_a_changed_payload_on_the_only_path_leaves_tcp(side: Side, after: int) -> None:
    """RFC 8684 §3.7: MP_FAIL, an infinite mapping; from then on the middlebox may change what it likes."""
    box = ModifyPayload(side=side, after=after, limit=1)
    result = transfer(
        [boxed(box)], client_endpoint=with_checksums, server_endpoint=with_checksums, limit_ns=200 * SECOND
    )
    assert box.touched
    assert result.finished
    assert result.errors == ()
    # all bytes came, one of them as the middlebox made it
    assert (result.up.received, result.down.received) == (SIZE, SIZE)
    assert (result.up.intact, result.down.intact) == (side is Side.B, side is Side.A)
    for name in ("client", "server"):
        assert any(isinstance(event, ConnectionFellBack) for _, event in result.events[name])


@pytest.mark.parametrize("box", [lambda: Split(700), lambda: Coalesce(1400)], ids=["split", "coalesce"])
@pytest.mark.parametrize("make", [mptcp, with_checksums], ids=["plain", "checksums"])
def test_segments_are_mangled_on_every_link(box: type[Middlebox], make: object) -> None:
    """RFC 8684 §3.3.1: mappings outlive another segmentation, with checksums over several segments."""
    check(
        transfer(
            [boxed(box()), boxed(box())],
            client_endpoint=make,
            server_endpoint=make,
            limit_ns=200 * SECOND,
        ),
        resets=True,
    )


# Reproducibility.


def test_the_same_seed_gives_the_same_packets() -> None:
    digests = [transfer([ROUGH, ROUGH], seed=5).network.trace.digest() for _ in range(2)]
    assert digests[0] == digests[1]
