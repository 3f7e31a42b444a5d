"""The data plane against a slow one, on chains, fragments and hostile bytes; tables, counts and limits."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.actions import Direction, VerdictKind
from mpcore.config import ForkRule
from mpcore.counters import Counter
from mpcore.errors import CapacityError, LocalProtocolError
from mpcore.shim6.effects import Path
from mpcore.shim6.engine import Shim6Engine
from mpcore.wire.rewrite import context_tag, fix_checksums
from mpcore.wire.shim6 import (
    I1,
    I2,
    R2,
    Keepalive,
    Message,
    Probe,
    ProbeEntry,
    UpdateAck,
    UpdateRequest,
    emit_message,
)
from tests.helpers.shim6 import (
    DESTINATION,
    ESP,
    FRAGMENT,
    HOP_BY_HOP,
    ICMPV6,
    NOTHING,
    ROUTING,
    SHIM6,
    TCP,
    UDP,
    SlowPlane,
    icmp6,
    ip6,
    packet,
)
from tests.shim6.world import A1, A2, B1, B2, C1

OUT, IN = Direction.FROM_HOST, Direction.FROM_NETWORK
PASS, REWRITE, DROP, PUNT = VerdictKind.PASS, VerdictKind.REWRITE, VerdictKind.DROP, VerdictKind.PUNT
TAG_A, TAG_B = 0x1234_5678_9ABC, 0x7FFF_FFFF_FFFF
UNTOUCHED = Path(
    number=1, ulid_local=A1, ulid_peer=B1, fii=0, tag_local=TAG_A, tag_peer=TAG_B,
    locator_local=A1, locator_peer=B1, sending=True, watched=False,
)  # fmt: skip
SWITCHED = replace(UNTOUCHED, locator_local=A2, locator_peer=B2)
FORK = replace(SWITCHED, number=2, fii=7, tag_local=5, tag_peer=6)
GSO, CHECKSUM_NOT_READY, TRUNCATED = 4, 1, 2


def engine(
    *paths: Path,
    max_contexts: int = 8,
    punts: int = 10**6,
    messages: int = 10**6,
    any_locator: bool = False,
) -> Shim6Engine:
    made = Shim6Engine(
        max_contexts=max_contexts,
        seed=bytes(range(16)),
        punts_per_second=punts,
        messages_per_second=messages,
        any_locator=any_locator,
    )
    for path in paths:
        made.install(path)
    return made


def shimmed(tag: int, following: int = TCP, rest: bytes = b"upper layer", *, length: int = 0) -> bytes:
    """A packet of the peer on the locators of SWITCHED."""
    return ip6(B2, A2, SHIM6, bytes([following, length]) + (2**47 | tag).to_bytes(6) + rest)


def control(message: Message) -> bytes:
    """A control message of the peer, or of who says so."""
    return ip6(B2, A2, SHIM6, emit_message(message))


def moved(plane: Shim6Engine) -> dict[str, int]:
    return {counter.name: count for counter, count in zip(Counter, plane.counters(), strict=True) if count}


# Against the slow one.

kinds = st.lists(
    st.sampled_from([HOP_BY_HOP, ROUTING, DESTINATION, FRAGMENT, ESP, SHIM6, UDP, ICMPV6, NOTHING]),
    max_size=6,
)
addresses = st.sampled_from([A1, A2, B1, B2, C1, b"\xff\x02" + bytes(13) + b"\1", bytes(16)])
payload_header = st.builds(
    lambda tag, following, length: bytes([following, length]) + (2**47 | tag).to_bytes(6),
    st.sampled_from([TAG_A, TAG_B, 5]),
    st.sampled_from([TCP, UDP, FRAGMENT, DESTINATION, ROUTING, SHIM6, HOP_BY_HOP, ICMPV6]),
    st.sampled_from([0, 0, 0, 1]),
)


@st.composite
def any_packets(draw: st.DrawFn) -> bytes:
    """Packets with chains in any order, cut short or with bytes behind them."""
    chain = [*draw(kinds), draw(st.sampled_from([TCP, UDP, SHIM6, SHIM6, ICMPV6]))]
    upper = draw(st.binary(max_size=64))
    if chain[-1] == SHIM6 and draw(st.booleans()):
        upper = draw(payload_header) + upper
    if chain[-1] == ICMPV6:
        upper = bytes([draw(st.sampled_from([128, 129, 130, 135, 143, 144]))]) + upper
    ends = draw(st.one_of(st.tuples(addresses, addresses), st.sampled_from([(A1, B1), (B2, A2), (B1, A1)])))
    data = packet(*ends, *chain, upper=upper)
    cut = draw(st.integers(0, len(data)))
    return draw(st.sampled_from([data, data, data + upper, data[:cut]]))


@given(any_packets(), st.sampled_from([(), (UNTOUCHED,), (SWITCHED,), (SWITCHED, FORK)]), st.booleans())
def test_all_packets_get_what_the_rfc_says(data: bytes, paths: tuple[Path, ...], watched: bool) -> None:
    paths = tuple(replace(path, watched=watched) for path in paths)
    plane, slow = engine(*paths), SlowPlane(list(paths))
    assert plane.process(OUT, data, 1) == slow.outgoing(data)
    assert plane.process(IN, data, 2) == slow.incoming(data)


@given(st.binary(max_size=200), st.sampled_from([OUT, IN]))
def test_any_bytes_at_all(data: bytes, direction: Direction) -> None:
    plane = engine(SWITCHED)
    for start in (b"", b"\x60", b"\x60\0\0\0\0\x20\x8c"):
        plane.process(direction, start + data, 1)


@given(st.lists(st.tuples(st.booleans(), any_packets()), max_size=30))
def test_each_packet_moves_one_counter(packets: list[tuple[bool, bytes]]) -> None:
    plane = engine(SWITCHED, punts=3)
    for out, data in packets:
        plane.process(OUT if out else IN, data, 1)
    assert sum(moved(plane).values()) == len(packets)


@given(kinds.filter(lambda chain: not {SHIM6, ICMPV6} & set(chain)), st.binary(max_size=1400))
def test_what_one_host_sends_the_other_gets_unchanged(chain: list[int], upper: bytes) -> None:
    ours = engine(SWITCHED)
    theirs = engine(
        Path(
            number=9,
            ulid_local=B1,
            ulid_peer=A1,
            fii=0,
            tag_local=TAG_B,
            tag_peer=TAG_A,
            locator_local=B2,
            locator_peer=A2,
            sending=True,
            watched=False,
        )
    )
    data = packet(A1, B1, *chain, UDP, upper=upper)
    verdict, sent = ours.process(OUT, data, 1)
    if verdict == PASS or sent is None:
        return
    verdict, got = theirs.process(IN, sent, 1)
    assert verdict == DROP or got == data  # DROP: hop-by-hop options or routing behind what hides them


# One rule at a time.


def test_ulids_as_locators_leave_packets_alone() -> None:
    # RFC 5533 §11
    plane = engine(UNTOUCHED)
    assert plane.process(OUT, packet(A1, B1, TCP), 1) == (PASS, None)
    assert plane.process(IN, packet(B1, A1, TCP), 2) == (PASS, None)
    assert moved(plane) == {"SHIM6_UNTOUCHED_TX": 1, "SHIM6_UNTOUCHED_RX": 1}


def test_a_context_that_only_receives_does_not_send() -> None:
    # RFC 5533 §11: CT(peer) is known in ESTABLISHED and I2BIS-SENT only
    plane = engine(replace(SWITCHED, sending=False, tag_peer=None))
    assert plane.process(OUT, packet(A1, B1, TCP), 1) == (PASS, None)


def test_the_header_goes_back_with_the_ulids() -> None:
    # RFC 5533 §11.1: back on the ULIDs there is no need for it
    plane = engine(SWITCHED)
    assert plane.process(OUT, packet(A1, B1, TCP), 1)[0] == REWRITE
    plane.update(UNTOUCHED)
    assert plane.process(OUT, packet(A1, B1, TCP), 2) == (PASS, None)


def test_a_removed_context_is_unknown_in_both_directions() -> None:
    plane = engine(SWITCHED)
    plane.remove(1)
    assert plane.process(OUT, packet(A1, B1, TCP), 1) == (PASS, None)
    assert plane.process(IN, shimmed(TAG_A), 1) == (PUNT, None)
    assert (len(plane), plane.stats(1), plane.number_of_tag(TAG_A)) == (0, None, None)


def test_the_tag_may_change() -> None:
    plane = engine(SWITCHED)
    plane.update(replace(SWITCHED, tag_local=99))
    assert plane.process(IN, shimmed(TAG_A), 1)[0] == PUNT
    assert plane.process(IN, shimmed(99), 1)[0] == REWRITE


def test_without_a_rule_forks_are_found_by_their_tag_only() -> None:
    # RFC 5533 §12.4: a packet of the transport belongs to the context with FII 0
    plane = engine(FORK)
    assert plane.process(OUT, packet(A1, B1, TCP), 1) == (PASS, None)
    assert plane.process(IN, shimmed(FORK.tag_local), 1)[0] == REWRITE


def with_class(data: bytes, traffic_class: int) -> bytes:
    """Return a packet of version 6 with a traffic class."""
    return bytes([0x60 | traffic_class >> 4, traffic_class << 4 & 0xF0]) + data[2:]


def tag_of(sent: tuple[int, bytes | None]) -> int | None:
    """Return the tag with which a packet leaves; None when it leaves as it is."""
    verdict, data = sent
    assert (verdict == REWRITE) is (data is not None)
    return None if data is None else context_tag(data)


def test_packets_that_a_rule_fits_leave_by_its_fork() -> None:
    """RFC 5533 §4.2: by DSCP, whatever ECN says, or by mark; the first rule that fits counts."""
    plane = engine(UNTOUCHED, FORK, replace(FORK, number=3, fii=1 << 31, tag_local=55, tag_peer=66))
    plane.add_fork_rule(ForkRule(fii=7, dscp=46))
    plane.add_fork_rule(ForkRule(fii=1 << 31, mark=0x10, mark_mask=0xF0))
    data = packet(A1, B1, TCP)
    for mark, dscp, ecn, tag in (
        (0, 0, 0, None),
        (0, 46, 0, FORK.tag_peer),
        (0, 46, 3, FORK.tag_peer),
        (0, 47, 0, None),
        (0x10, 0, 0, 66),
        (0xF00001F, 0, 2, 66),
        (0x30, 0, 0, None),
        (0x10, 46, 0, FORK.tag_peer),
    ):
        sent = plane.process(OUT, with_class(data, dscp << 2 | ecn), 1, 0, mark)
        assert tag_of(sent) == tag, (mark, dscp, ecn)
    assert {one.number for one in plane.take_activity() if one.sent_ns} == {1, 2, 3}


def test_without_its_fork_a_packet_is_the_plain_contexts() -> None:
    plane = engine(SWITCHED)
    plane.add_fork_rule(ForkRule(fii=7, dscp=46))
    data = with_class(packet(A1, B1, TCP), 46 << 2)
    assert tag_of(plane.process(OUT, data, 1)) == TAG_B
    plane.install(FORK)
    assert tag_of(plane.process(OUT, data, 1)) == FORK.tag_peer
    plane.remove(FORK.number)
    assert tag_of(plane.process(OUT, data, 1)) == TAG_B


def test_a_fork_that_cannot_send_yet_leaves_its_packets_to_the_plain_context() -> None:
    """RFC 5533 §11: before R2 nothing is known of the peer's tag, and the ULIDs may be dead."""
    plane = engine(SWITCHED, replace(FORK, tag_peer=None))
    plane.add_fork_rule(ForkRule(fii=7, dscp=46))
    data = with_class(packet(A1, B1, TCP), 46 << 2)
    assert tag_of(plane.process(OUT, data, 1)) == TAG_B
    assert [one.number for one in plane.take_activity()] == [1]


def test_a_fork_on_its_ulids_has_the_header_all_the_same() -> None:
    """Without, the peer would take its packets for the plain context's, and answer by that."""
    fork = replace(FORK, locator_local=A1, locator_peer=B1)
    plane, peer = engine(UNTOUCHED, fork), engine(replace(
        fork, ulid_local=B1, ulid_peer=A1, tag_local=fork.tag_peer, tag_peer=fork.tag_local,
        locator_local=B1, locator_peer=A1,
    ))  # fmt: skip
    plane.add_fork_rule(ForkRule(fii=7, dscp=46))
    data = with_class(packet(A1, B1, TCP), 46 << 2)
    verdict, sent = plane.process(OUT, data, 1)
    assert verdict == REWRITE
    assert sent is not None
    assert (sent[8:40], len(sent)) == (A1 + B1, len(data) + 8)
    assert peer.process(IN, sent, 1) == (REWRITE, data)
    assert peer.take_activity()[0].received_ns == 1


def test_a_packet_of_a_fork_that_was_cut_short_does_not_leave_by_the_ulids() -> None:
    plane = engine(UNTOUCHED, FORK)
    plane.add_fork_rule(ForkRule(fii=7, dscp=46))
    data = with_class(packet(A1, B1, TCP), 46 << 2)
    assert plane.process(OUT, data[:-1], 1, TRUNCATED)[0] == DROP
    assert plane.process(OUT, packet(A1, B1, TCP)[:-1], 1, TRUNCATED)[0] == PASS


def test_rules_of_forks_have_an_end() -> None:
    plane = engine()
    for fii in range(1, 9):
        plane.add_fork_rule(ForkRule(fii=fii, dscp=fii))
    with pytest.raises(CapacityError, match="8 rules"):
        plane.add_fork_rule(ForkRule(fii=9, dscp=9))


def test_all_47_bits_of_a_tag_count() -> None:
    plane = engine(replace(SWITCHED, tag_local=TAG_B))
    for bit in range(47):
        assert plane.process(IN, shimmed(TAG_B ^ (1 << bit)), 1)[0] == PUNT
    assert plane.process(IN, shimmed(TAG_B), 1)[0] == REWRITE


def test_other_locators_are_asked_about_once() -> None:
    plane = engine(SWITCHED)
    other = ip6(B1, A2, SHIM6, bytes([TCP, 0]) + (2**47 | TAG_A).to_bytes(6) + b"upper layer")
    assert plane.process(IN, other, 1)[0] == PUNT
    plane.accept_pair(1, B1, A2)
    assert plane.process(IN, other, 1) == (REWRITE, packet(B1, A1, TCP, upper=b"upper layer"))
    assert plane.process(IN, shimmed(TAG_A), 1)[0] == REWRITE
    plane.update(SWITCHED)
    assert plane.process(IN, other, 1)[0] == PUNT


def test_of_many_locators_the_current_ones_stay() -> None:
    plane = engine(SWITCHED)
    for number in range(50):
        plane.accept_pair(1, number.to_bytes(16), A2)
    assert plane.process(IN, shimmed(TAG_A), 1)[0] == REWRITE


def test_the_tag_alone_is_enough_where_that_is_wanted() -> None:
    # RFC 5533 §12.4
    plane = engine(SWITCHED, any_locator=True)
    data = ip6(C1, A1, SHIM6, bytes([TCP, 0]) + (2**47 | TAG_A).to_bytes(6) + b"upper layer")
    assert plane.process(IN, data, 1)[0] == REWRITE


@pytest.mark.parametrize(
    ("following", "rest"),
    [
        (SHIM6, bytes(24)),
        (DESTINATION, bytes([SHIM6]) + bytes(40)),
        (FRAGMENT, bytes([SHIM6]) + bytes(40)),
        (FRAGMENT, bytes(7)),
        (HOP_BY_HOP, bytes(24)),
        (ROUTING, bytes(24)),
        (ICMPV6, bytes([135]) + bytes(40)),
        (DESTINATION, b""),
    ],
)
def test_payload_that_no_context_may_carry_is_dropped(following: int, rest: bytes) -> None:
    # RFC 5533 §4.6; the kernel must not meet a header that it would say is unknown
    plane = engine(SWITCHED)
    assert plane.process(IN, shimmed(TAG_A, following, rest), 1) == (DROP, None)
    assert moved(plane) == {"SHIM6_PAYLOAD_INSANE": 1}


@pytest.mark.parametrize(
    ("data", "kind", "counter"),
    [
        (ip6(B2, A2, SHIM6, b"\x06\0\x80"), DROP, "SHIM6_PAYLOAD_MALFORMED"),
        (shimmed(TAG_A, length=1, rest=bytes(40)), DROP, "SHIM6_PAYLOAD_MALFORMED"),
        (
            ip6(b"\xfe\x80" + B2[2:], A2, SHIM6, bytes([TCP, 0]) + (2**47 | TAG_A).to_bytes(6) + bytes(20)),
            DROP,
            "SHIM6_PAYLOAD_ADDRESS",
        ),
        (packet(B2, A2, FRAGMENT, SHIM6, upper=shimmed(TAG_A)[40:]), DROP, "SHIM6_FRAGMENT"),
        (shimmed(TAG_A)[:44], PASS, "SHIM6_FOREIGN"),
        (b"\x45" + bytes(40), PASS, "SHIM6_FOREIGN"),
    ],
)
def test_each_refusal_has_its_counter(data: bytes, kind: VerdictKind, counter: str) -> None:
    # RFC 5533 §5.2, §12.3
    plane = engine(SWITCHED)
    assert plane.process(IN, data, 1) == (kind, None)
    assert moved(plane) == {counter: 1}


def test_echo_requests_are_packets_of_a_transport() -> None:
    plane = engine(SWITCHED)
    assert plane.process(OUT, packet(A1, B1, ICMPV6, upper=bytes([128]) + bytes(20)), 1)[0] == REWRITE
    assert plane.process(OUT, packet(A1, B1, ICMPV6, upper=bytes([135]) + bytes(20)), 1)[0] == PASS


def test_super_packets_and_packets_cut_short_do_not_leave() -> None:
    plane = engine(SWITCHED)
    assert plane.cut(packet(A1, B1, TCP), 1000, 1) == []  # there is no whole header of TCP
    assert plane.process(OUT, packet(A1, B1, TCP)[:60], 1, TRUNCATED) == (DROP, None)
    assert plane.process(OUT, ip6(A1, B1, UDP, bytes(65530)), 1) == (DROP, None)
    assert moved(plane) == {"SHIM6_SUPER_PACKET": 1, "SHIM6_UNSENDABLE": 2}


def test_an_open_checksum_is_closed_over_the_ulids() -> None:
    # RFC 5533 §11.1: ULP checksums cover the ULIDs
    plane = engine(SWITCHED)
    closed = bytes.fromhex("0001000200100000") + b"12345678"
    fixed = bytearray(ip6(A1, B1, UDP, closed))
    fix_checksums(fixed)
    _, sent = plane.process(OUT, ip6(A1, B1, UDP, closed), 1, CHECKSUM_NOT_READY)
    assert sent is not None
    assert sent[48:] == bytes(fixed[40:])


# Errors.


def test_errors_about_contexts_are_asked_about_and_others_not() -> None:
    plane = engine(SWITCHED)
    error = bytes([1, 0, 0, 0, 0, 0, 0, 0])
    _, sent = plane.process(OUT, packet(A1, B1, TCP), 1)
    assert sent is not None
    assert plane.process(IN, icmp6(C1, A2, error + sent), 1)[0] == PUNT
    assert plane.process(IN, icmp6(C1, A1, error + packet(A1, B1, TCP)), 1)[0] == PUNT
    assert plane.process(IN, icmp6(C1, A1, error + packet(A1, C1, TCP)), 1)[0] == PASS


def test_errors_in_a_flood_are_not_looked_at() -> None:
    """One about a Shim6 header means nothing to a transport; one between ULIDs is a transport's own."""
    plane = engine(SWITCHED, punts=1)
    _, sent = plane.process(OUT, packet(A1, B1, TCP), 1)
    assert sent is not None
    error = bytes([1, 0, 0, 0, 0, 0, 0, 0])
    verdicts = [
        plane.process(IN, icmp6(C1, A1, error + quoted), 1)[0] for quoted in (sent, sent, packet(A1, B1, TCP))
    ]
    assert verdicts == [PUNT, DROP, PASS]
    assert moved(plane) == {"SHIM6_PAYLOAD_TX": 1, "SHIM6_ICMP_RX": 1, "SHIM6_LIMIT_PUNT": 2}


# Limits.


def test_strangers_cannot_ask_for_more_than_the_limit() -> None:
    plane = engine(SWITCHED, punts=3)
    verdicts = [plane.process(IN, shimmed(1234), 1)[0] for _ in range(5)]
    assert verdicts == [PUNT, PUNT, PUNT, DROP, DROP]
    assert plane.process(IN, shimmed(1234), 10**9 + 1)[0] == PUNT
    assert moved(plane) == {"SHIM6_PAYLOAD_PUNTED": 4, "SHIM6_LIMIT_PUNT": 2}


def test_payload_flows_while_its_context_is_recovered() -> None:
    """RFC 5533 §12.2: I2bis is repeated and the packet processed; a forged R1bis slows no flow down."""
    plane = engine(replace(SWITCHED, watched=True), punts=3)
    millisecond = 1_000_000
    verdicts = [plane.process(IN, shimmed(TAG_A), at * millisecond)[0] for at in range(1, 101)]
    assert [at for at, verdict in enumerate(verdicts) if verdict == PUNT] == [0, 50]
    assert set(verdicts) == {PUNT, REWRITE}
    for at in range(101, 900):
        plane.process(IN, shimmed(1234), at * millisecond)
        assert plane.process(IN, shimmed(TAG_A), at * millisecond)[0] != DROP
    assert moved(plane)["SHIM6_PAYLOAD_PUNTED"] == 3 + 3


def test_control_messages_of_strangers_are_bounded_and_those_of_peers_are_not() -> None:
    """RFC 5533 §16.2: forged I1 and I2 keep the core busy at a bounded rate only."""
    plane = engine(SWITCHED, messages=3)
    forged: list[Message] = [I1(TAG_A, 1), Keepalive(TAG_B), R2(TAG_A, 1), I2(TAG_A, 1, 2), UpdateAck(9, 1)]
    verdicts = [plane.process(IN, control(message), 1)[0] for message in forged]
    assert verdicts == [PUNT, PUNT, PUNT, DROP, DROP]
    probe = Probe(TAG_A, 0, (ProbeEntry(B2, A2, 1),))
    for message in (UpdateRequest(TAG_A, 1), UpdateAck(TAG_A, 1), Keepalive(TAG_A), probe):
        assert plane.process(IN, control(message), 1)[0] == PUNT
    cut = control(Keepalive(TAG_A))
    assert plane.process(IN, ip6(B2, A2, SHIM6, cut[40:51]), 1)[0] == DROP
    assert plane.process(IN, shimmed(1234), 1)[0] == PUNT  # an allowance of its own
    assert moved(plane) == {"SHIM6_CONTROL_RX": 7, "SHIM6_LIMIT_PUNT": 3, "SHIM6_PAYLOAD_PUNTED": 1}
    assert plane.process(IN, control(I1(1, 1)), 10**9 + 1)[0] == PUNT


def test_the_table_is_bounded() -> None:
    plane = engine(SWITCHED, FORK, max_contexts=2)
    third = replace(FORK, number=3, fii=8, tag_local=77)
    with pytest.raises(CapacityError):
        plane.install(third)
    plane.remove(2)
    plane.install(third)
    assert plane.process(IN, shimmed(77), 1)[0] == REWRITE


def test_a_tag_belongs_to_one_context() -> None:
    plane = engine(SWITCHED, FORK)
    with pytest.raises(CapacityError):
        plane.install(replace(FORK, number=3))
    with pytest.raises(LocalProtocolError):
        plane.update(replace(FORK, tag_local=TAG_A))
    with pytest.raises(LocalProtocolError):
        plane.update(replace(FORK, number=4))


def test_slots_are_used_again() -> None:
    plane = engine(max_contexts=4)
    for number in range(1, 200):
        plane.install(replace(FORK, number=number, fii=number, tag_local=number))
        plane.process(IN, shimmed(number), 1)
        if number > 3:
            plane.remove(number - 3)
    assert sorted(activity.number for activity in plane.take_activity()) == [197, 198, 199]


# What packets tell.


def test_activity_is_told_once() -> None:
    plane = engine(SWITCHED)
    data = packet(A1, B1, TCP)
    plane.process(OUT, data, 10)
    plane.process(OUT, data, 20)
    assert plane.take_activity() == [(1, 20, None)]
    plane.process(IN, shimmed(TAG_A), 30)
    plane.process(IN, packet(B1, A1, TCP), 40)  # without header, too (RFC 5533 §12.1)
    assert plane.take_activity() == [(1, None, 40)]
    plane.process(OUT, data, 50)
    plane.process(IN, shimmed(TAG_A), 60)
    assert plane.take_activity() == [(1, 50, 60)]
    assert plane.take_activity() == []
    stats = plane.stats(1)
    assert stats is not None
    assert (stats["packets_sent"], stats["bytes_sent"]) == (3, 3 * len(data))
    assert (stats["packets_received"], stats["last_sent_ns"], stats["last_received_ns"]) == (3, 50, 60)


def test_conversations_without_context_are_counted_by_ports() -> None:
    plane = engine()
    ports = bytes([0, 80, 1, 0])
    data = packet(A1, B1, TCP, upper=ports + bytes(20))
    back = packet(B1, A1, TCP, upper=ports[2:] + ports[:2] + bytes(20))
    for _ in range(3):
        plane.process(OUT, data, 1)
    plane.process(IN, back, 1)
    (talk,) = plane.take_talks()
    assert talk.key == (A1, B1, TCP, 80, 256)
    assert talk[1:] == (3, 3 * len(data), 1, len(back))
    assert plane.take_talks() == []


def test_conversations_are_bounded() -> None:
    plane = Shim6Engine(max_contexts=1, seed=bytes(16), max_talks=4)
    for port in range(10):
        plane.process(OUT, packet(A1, B1, UDP, upper=port.to_bytes(2) + bytes(20)), 1)
    assert len(plane.take_talks()) == 4
    assert moved(plane) == {"SHIM6_PLAIN": 10, "SHIM6_LIMIT_TALK": 6}


def test_a_batch_goes_on_behind_what_it_punts() -> None:
    plane = engine(SWITCHED)
    assert plane.process_many(IN, [shimmed(TAG_A), shimmed(1), shimmed(TAG_A)], 1) == [REWRITE, PUNT, REWRITE]
