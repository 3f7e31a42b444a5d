"""What a subflow takes and what it refuses (RFC 9293 §3.10.7.4, RFC 5961, RFC 7323), one counter a rule."""

from __future__ import annotations

import pytest

from mpcore.actions import Direction, Role, VerdictKind
from mpcore.counters import Counter
from mpcore.wire.values import (
    AddAddr,
    Dss,
    MpFail,
    MpFastclose,
    MpTcpRst,
    Segment,
    TcpOption,
    Timestamps,
    UnknownOption,
)
from tests.helpers.checkers import ack, field, flags, has, lacks, payload, seq
from tests.helpers.plane import (
    ACK,
    FIN,
    IDSN_LOCAL,
    IDSN_REMOTE,
    ISN_LOCAL,
    ISN_REMOTE,
    KEY_LOCAL,
    KEY_REMOTE,
    RST,
    SECOND,
    SYN,
    TS_REMOTE,
    Plane,
    host_seq,
    peer_seq,
)

DATA = bytes(range(256)) * 8
DAY = 86400 * SECOND


def challenged(plane: Plane, segment: Segment) -> None:
    """Assert that a segment only draws an ACK with the true numbers."""
    plane_ack = ISN_REMOTE + 1
    output = plane.give(Direction.FROM_NETWORK, segment)
    output.to_network(flags("."), seq(peer_seq(1)), ack(plane_ack), lacks(MpTcpRst))
    assert output.host == []
    assert plane.subflow()["state"] == "established"


# Sequence numbers.


@pytest.mark.parametrize("number", [1 + 9_000_000, 1 << 30, (1 << 31) - 1, -100_000, -(1 << 30)])
def test_a_segment_outside_the_window_is_answered_and_dropped(number: int) -> None:
    """RFC 9293 §3.10.7.4, first check; its options have no meaning either (RFC 8684 §3)."""
    plane = Plane()
    challenged(plane, plane.peer_segment(DATA[:10], seq=number, options=(MpFastclose(KEY_LOCAL),)))
    assert plane.counter(Counter.OUT_OF_WINDOW) == 1


def test_the_window_is_that_of_the_connection() -> None:
    """RFC 8684 §3.3.4: what another subflow was offered may be used on this one."""
    plane = Plane()
    plane.join()
    plane.host(window=0)
    plane.peer(path=1)
    plane.host(window=60000)
    assert plane.peer(DATA[:10], path=1, seq=300_000).network
    assert plane.counter(Counter.OUT_OF_WINDOW) == 0


def test_an_overtaken_bare_ack_is_not_answered() -> None:
    plane = Plane()
    plane.peer(DATA[:1000])
    assert plane.peer(seq=501).network == []


def test_a_probe_whose_sender_missed_our_last_ack_is_answered() -> None:
    """RFC 9293 §3.10.7.4: what is not acceptable is answered; its number is far below what has come since."""
    plane = Plane()
    plane.peer(DATA[:1000])
    plane.advance(SECOND)
    plane.peer(seq=0).to_network(flags("."), ack(ISN_REMOTE + 1001))


def test_old_data_is_answered_by_an_ack() -> None:
    plane = Plane()
    plane.peer(DATA[:1000])
    plane.peer(DATA[:100]).to_network(flags("."), ack(ISN_REMOTE + 1001))


def test_a_keepalive_is_answered() -> None:
    """RFC 9293 §3.8.4."""
    plane = Plane()
    plane.peer(seq=0).to_network(flags("."), ack(ISN_REMOTE + 1))


# RST and SYN (RFC 5961).


@pytest.mark.parametrize(
    ("options", "reason"),
    [((), 1), ((MpTcpRst(3),), 6), ((MpTcpRst(3, flags=0x0E),), 6), ((MpTcpRst(2, flags=0x01),), 7)],
    ids=["no word", "for good", "with flags of the future", "for now"],
)
def test_a_reset_at_the_exact_number_ends_the_subflow(options: tuple[MpTcpRst, ...], reason: int) -> None:
    """RFC 5961 §3.2; RFC 8684 §3.6: flag T tells whether the cause may pass, the others are ignored."""
    plane = Plane()
    output = plane.peer(flags=RST | ACK, options=options)
    assert output.network == []
    assert ("subflow closed", 0, reason) in output.events
    assert plane.counter(Counter.RST_RX) == len(options)


@pytest.mark.parametrize("number", [2, 100, 50_000])
def test_a_reset_inside_the_window_is_challenged(number: int) -> None:
    """RFC 5961 §3.2."""
    plane = Plane()
    plane.host(window=2000)
    plane.peer(DATA[:1])
    plane.host(ack=1, window=2000)
    output = plane.peer(seq=number + 1, flags=RST, options=())
    output.to_network(flags("."), ack(ISN_REMOTE + 2))
    assert plane.counter(Counter.RESET_IGNORED) == 1


@pytest.mark.parametrize("number", [1 << 30, -1, -5000])
def test_a_reset_outside_the_window_is_dropped_in_silence(number: int) -> None:
    """RFC 5961 §3.2."""
    plane = Plane()
    assert plane.peer(seq=number, flags=RST, options=()).network == []
    assert plane.counter(Counter.RESET_IGNORED) == 1
    assert plane.subflow()["state"] == "established"


@pytest.mark.parametrize("number", [1, 1000, 1 << 30, -5])
@pytest.mark.parametrize("bits", [SYN, SYN | ACK])
def test_a_syn_on_a_living_subflow_is_challenged(number: int, bits: int) -> None:
    """RFC 5961 §4.2: whatever its number."""
    plane = Plane()
    challenged(plane, plane.peer_segment(seq=number, flags=bits, options=()))
    assert plane.counter(Counter.SYN_IGNORED) == 1


def test_a_repeated_syn_ack_draws_the_third_ack_again() -> None:
    plane = Plane(establish=False)
    plane.host()
    plane.peer(seq=0, flags=SYN | ACK, options=()).to_network(flags("."), ack(ISN_REMOTE + 1))
    assert plane.counter(Counter.SYN_IGNORED) == 0


def test_challenges_are_few() -> None:
    """RFC 5961 §7."""
    plane = Plane()
    for _ in range(3):
        answers = sum(len(plane.peer(seq=1, flags=SYN, options=()).network) for _ in range(50))
        assert answers == 10
        plane.advance(SECOND)
    assert plane.counter(Counter.CHALLENGE_ACK) == 30


# Timestamps (RFC 7323).


def test_an_old_timestamp_is_refused() -> None:
    """RFC 7323 §5.3 R1."""
    plane = Plane()
    plane.peer(DATA[:10])
    output = plane.peer(DATA[10:20], seq=11, ts=TS_REMOTE - 1)
    output.to_network(flags("."), ack(ISN_REMOTE + 11))
    assert plane.counter(Counter.PAWS_DROPPED) == 1


def test_a_reset_needs_no_timestamp() -> None:
    """RFC 7323 §5.2: PAWS does not judge RSTs."""
    plane = Plane()
    assert ("subflow closed", 0, 1) in plane.peer(flags=RST, ts=TS_REMOTE - 1000).events


def test_a_timestamp_from_before_a_long_silence_says_nothing() -> None:
    """RFC 7323 §5.5: after 24 days the clock may have wrapped."""
    plane = Plane()
    plane.now_ns += 25 * DAY
    assert plane.peer(DATA[:10], ts=TS_REMOTE - 5).data() == DATA[:10]


def test_after_a_long_silence_the_new_timestamps_count() -> None:
    """RFC 7323 §5.5: with the old one kept, the second segment and all after it would be refused."""
    plane = Plane()
    plane.now_ns += 25 * DAY
    assert plane.peer(DATA[10:20], seq=11, ts=TS_REMOTE - 50).verdict == VerdictKind.DROP
    assert plane.peer(DATA[:10], ts=TS_REMOTE - 50).data() == DATA[:20]
    assert plane.peer(DATA[20:30], seq=21, ts=TS_REMOTE - 49).data() == DATA[20:30]
    assert plane.counter(Counter.PAWS_DROPPED) == 0
    plane.peer(DATA[30:40], seq=31, ts=TS_REMOTE - 60)
    assert plane.counter(Counter.PAWS_DROPPED) == 1


def test_the_timestamp_to_echo_is_that_of_the_oldest_data_not_acknowledged() -> None:
    """RFC 7323 §4.3: a segment beyond a hole does not move it."""
    plane = Plane()
    output = plane.peer(DATA[:10], seq=101, ts=TS_REMOTE + 50)
    output.to_network(field(Timestamps, echo=TS_REMOTE))
    plane.peer(DATA[:100], ts=TS_REMOTE + 60).to_network(field(Timestamps, echo=TS_REMOTE + 60))


def test_the_timestamp_of_a_repeat_does_not_have_late_data_refused() -> None:
    """RFC 7323 §5.3 R2, R3: what lies before the window leaves no stamp."""
    plane = Plane()
    plane.peer(DATA[:10])
    plane.peer(DATA[10:20], seq=11, ts=TS_REMOTE + 1)
    plane.peer(DATA[:10], ts=TS_REMOTE + 100)
    assert plane.peer(DATA[20:30], seq=21, ts=TS_REMOTE + 99).data() == DATA[20:30]
    assert plane.counter(Counter.PAWS_DROPPED) == 0


# ACK numbers.


def test_an_ack_for_what_was_never_sent_is_answered_and_dropped() -> None:
    """RFC 9293 §3.10.7.4, fifth check."""
    plane = Plane()
    challenged(plane, plane.peer_segment(DATA[:10], ack=2))
    assert plane.counter(Counter.ACK_AHEAD) == 1


def test_an_ack_older_than_the_largest_window_is_answered_and_dropped() -> None:
    """RFC 5961 §5.2."""
    plane = Plane(establish=False)
    plane.host()
    for offset in range(0, 80_000, 1000):
        plane.host(bytes(1000), seq=offset)
        plane.acked = offset + 1000
        plane.peer(ack=offset + 1001, window=100)
    assert plane.peer(seq=0, ack=80_001 - 65_535, window=100).network
    assert plane.counter(Counter.ACK_OLD) == 0
    output = plane.peer(DATA[:10], ack=80_000 - 65_535, window=100)
    output.to_network(flags("."), seq(peer_seq(80_001)), ack(ISN_REMOTE + 1))
    assert plane.counter(Counter.ACK_OLD) == 1


def test_a_segment_without_ack_is_dropped() -> None:
    """RFC 9293 §3.10.7.4, fifth check."""
    plane = Plane()
    output = plane.peer(DATA[:10], flags=0)
    assert (output.host, output.network) == ([], [])
    assert plane.counter(Counter.NO_ACK_FLAG) == 1


# DATA_ACK.


def test_a_data_ack_ahead_is_ignored_with_its_window() -> None:
    """RFC 8684 §3.3.2: what was not sent cannot be acknowledged."""
    plane = Plane()
    plane.host(DATA[:100])
    before = plane.state["send_window"]
    plane.acked = 101
    output = plane.peer(ack=101, window=60000)
    assert output.host == []
    assert plane.state["send_window"] == before
    assert plane.counter(Counter.DATA_ACK_AHEAD) == 1


def test_data_is_acknowledged_to_the_host_by_data_ack_alone() -> None:
    """RFC 8684 §3.3.2: never inferred from the subflow's ACK."""
    plane = Plane()
    plane.host(DATA[:100])
    assert plane.peer(ack=101).host == []
    plane.acked = 100
    plane.peer(ack=101).to_host(flags("."), ack(ISN_LOCAL + 101))


def test_a_data_ack_of_32_bits_is_expanded() -> None:
    """RFC 8684 §3.3.2."""
    plane = Plane()
    plane.host(DATA[:1000])
    short = Dss(data_ack=(IDSN_LOCAL + 1 + 1000) % (1 << 32), ack64=False)
    plane.peer(ack=1001, options=(short,)).to_host(ack(ISN_LOCAL + 1001))


# MPTCP options.


@pytest.mark.parametrize(
    "option",
    [
        UnknownOption(30, b""),
        UnknownOption(30, b"\x20"),
        UnknownOption(30, b"\x20\x0f" + bytes(3)),
        UnknownOption(30, b"\x30\x01"),
        UnknownOption(30, b"\x60\x00" + bytes(7)),
        UnknownOption(30, b"\x70\x00" + bytes(9)),
        UnknownOption(30, b"\xf0\x00" + bytes(30)),
    ],
    ids=lambda option: option.data.hex(),
)
def test_a_malformed_option_is_ignored_and_counted(option: TcpOption) -> None:
    plane = Plane()
    plane.timestamps = False
    output = plane.peer(options=(option,))
    assert (output.host, output.network) == ([], [])
    assert plane.counter(Counter.MALFORMED_OPTION) == (1 if len(option.data) else 0)  # type: ignore[union-attr]


def test_fastclose_with_the_right_key_ends_everything() -> None:
    """RFC 8684 §3.5: RST to the host, RST on every subflow."""
    plane = Plane()
    plane.join()
    plane.step()
    output = plane.peer(extra=(MpFastclose(KEY_LOCAL),))
    output.to_host(flags("R."))
    assert [segment.flags & RST for segment in output.network] == [RST, RST]
    assert plane.gone


def test_fastclose_on_a_reset_ends_everything() -> None:
    """RFC 8684 §3.5, the other form."""
    plane = Plane()
    plane.join()
    plane.step()
    output = plane.peer(flags=RST | ACK, options=(MpFastclose(KEY_LOCAL),))
    output.to_host(flags("R."))
    output.to_network(flags("R."))
    assert plane.gone


@pytest.mark.parametrize("bits", [ACK, RST | ACK])
def test_fastclose_with_a_wrong_key_ends_nothing_more(bits: int) -> None:
    """RFC 8684 §3.5: ignore; a RST still ends its own subflow."""
    plane = Plane()
    plane.peer(flags=bits, options=(MpFastclose(KEY_REMOTE),))
    assert not plane.gone
    assert plane.counter(Counter.FASTCLOSE_RX) == 0
    assert plane.counter(Counter.FASTCLOSE_BAD_KEY) == 1


def test_the_hosts_reset_becomes_a_fastclose() -> None:
    """RFC 8684 §3.5."""
    plane = Plane()
    plane.join()
    plane.step()
    output = plane.host(flags=RST)
    assert len(output.network) == 2
    for segment in output.network:
        assert segment.find(MpFastclose) == MpFastclose(KEY_REMOTE)
        assert segment.flags & RST
    assert plane.gone


def test_an_option_is_reported_once_and_its_ack_is_no_duplicate() -> None:
    plane = Plane()
    option = AddAddr(2, bytes([10, 9, 9, 9]), hmac=bytes(8))
    output = plane.peer(options=(option,))
    assert [event[0] for event in output.events] == ["option"]


# FIN.


def test_nothing_is_taken_after_a_fin() -> None:
    """RFC 9293 §3.10.7.4, eighth check."""
    plane = Plane()
    plane.peer(DATA[:100], flags=FIN | ACK)
    output = plane.peer(DATA[100:200], seq=102, data=100)
    assert output.data() == b""
    assert plane.state["bytes_received"] == 100
    assert plane.counter(Counter.DATA_AFTER_FIN) == 1


def test_a_fin_ahead_of_its_data_waits() -> None:
    plane = Plane()
    plane.peer(seq=101, flags=FIN | ACK)
    assert plane.subflow()["state"] == "established"
    plane.peer(DATA[:300], seq=1).to_network(ack(ISN_REMOTE + 102))
    assert plane.state["bytes_received"] == 100
    assert plane.subflow()["state"] == "close-wait"


def test_a_subflows_fin_does_not_end_the_stream() -> None:
    """RFC 8684 §3.3.3."""
    plane = Plane()
    assert plane.peer(flags=FIN | ACK).host == []


# Falling back (RFC 8684 §3.7).


@pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER])
def test_a_first_packet_without_options_falls_back(role: Role) -> None:
    plane = Plane(role=role, establish=False)
    plane.host()
    output = plane.peer(DATA[:10], options=())
    assert output.verdict is VerdictKind.LEAVE
    assert ("fell back", 0, 1) in output.events
    assert plane.gone
    assert plane.counter(Counter.MPCAPABLE_DATA_FALLBACK) == 1


def test_an_ack_of_the_first_data_without_options_falls_back() -> None:
    """RFC 8684 §3.7: the peer has fallen back, or will; nobody acknowledges at the data level any more."""
    plane = Plane()
    plane.host(DATA[:100])
    output = plane.peer(ack=101, options=())
    assert output.verdict is VerdictKind.LEAVE
    assert plane.counter(Counter.MPCAPABLE_DATA_FALLBACK) == 1


def test_an_ack_without_options_means_nothing_once_data_was_acknowledged() -> None:
    """RFC 8684 §3.7: then options are known to come through, and may be left out."""
    plane = Plane()
    plane.host(DATA[:100])
    plane.acked = 100
    plane.peer(ack=101)
    plane.host(DATA[100:200], seq=100)
    assert plane.peer(ack=201, options=()).verdict is VerdictKind.DROP


def test_a_fin_acknowledged_without_options_is_no_data() -> None:
    """RFC 8684 §3.7: Linux's last ACK has none."""
    plane = Plane()
    plane.engine.close_subflow(plane.handle, 0)
    plane.step()
    assert plane.peer(ack=2, options=()).verdict is VerdictKind.DROP


def test_a_join_without_options_is_reset() -> None:
    """RFC 8684 §3.7: with the reason "middlebox interference"."""
    plane = Plane()
    plane.join(hmac=bytes(20))
    plane.step()
    output = plane.peer(path=1, options=())
    output.to_network(flags("R."), field(MpTcpRst, reason=6))
    assert plane.counter(Counter.MIDDLEBOX_RESET) == 1


def test_what_was_received_is_given_to_the_host_before_falling_back() -> None:
    """The peer will not send again what the subflow acknowledged."""
    plane = Plane(checksum=True)
    mapping = plane.dss(DATA[:200], seq=1, data=0)
    plane.peer(DATA[:100], options=(mapping,))
    bad = bytes(100)
    output = plane.peer(bad, seq=101, options=(mapping,))
    assert output.verdict is VerdictKind.LEAVE
    output.to_network(field(MpFail, data_seq=(IDSN_REMOTE + 1) % 2**64))
    output.to_host(seq(host_seq(0)), payload(DATA[:100]))
    assert plane.gone
    assert plane.counter(Counter.DSS_CORRUPTION_FALLBACK) == 1


def test_mp_fail_is_answered_and_followed_by_an_infinite_mapping() -> None:
    """RFC 8684 §3.7: on the first segment not acknowledged."""
    plane = Plane(checksum=True)
    plane.host(DATA[:100])
    output = plane.peer(options=(MpFail(IDSN_LOCAL + 1),))
    assert output.verdict is VerdictKind.LEAVE
    assert output.any_to_network(field(MpFail, data_seq=(IDSN_REMOTE + 1) % 2**64))
    assert output.any_to_network(
        payload(DATA[:100]), field(Dss, data_len=0, checksum=0, subflow_seq=1, data_seq=IDSN_LOCAL + 1)
    )
    assert plane.counter(Counter.INFINITE_MAP_TX) == 1


def test_mp_fail_changes_nothing_where_data_is_spread() -> None:
    """RFC 8684 §3.7: plain TCP needs one subflow with all data in order."""
    plane = Plane(checksum=True)
    plane.join()
    plane.step()
    output = plane.peer(options=(MpFail(IDSN_LOCAL + 1),))
    assert output.verdict is VerdictKind.DROP
    assert not plane.gone
    assert plane.counter(Counter.FAIL_IGNORED) == 1


def test_an_infinite_mapping_falls_back() -> None:
    """RFC 8684 §3.7."""
    plane = Plane()
    infinite = Dss(
        data_ack=IDSN_LOCAL + 1, data_seq=(IDSN_REMOTE + 1) % 2**64, subflow_seq=1, data_len=0, checksum=None
    )
    output = plane.peer(DATA[:10], options=(infinite,))
    assert output.verdict is VerdictKind.LEAVE
    assert plane.counter(Counter.INFINITE_MAP_RX) == 1


def test_an_infinite_mapping_beside_other_subflows_resets() -> None:
    """RFC 8684 §3.7: it needs one subflow with all data in order."""
    plane = Plane()
    plane.join()
    plane.step()
    infinite = Dss(data_ack=IDSN_LOCAL + 1, data_seq=IDSN_REMOTE + 1, subflow_seq=1, data_len=0)
    assert plane.peer(DATA[:10], options=(infinite,)).any_to_network(flags("R."), has(MpTcpRst))
    assert plane.counter(Counter.INFINITE_MAP_REFUSED) == 1


def test_segments_of_a_reset_subflow_in_the_same_batch_are_dropped() -> None:
    plane = Plane()
    plane.join()
    plane.step()
    plane.give(Direction.FROM_NETWORK, plane.peer_segment(flags=RST, options=()), settle=False)
    plane.give(Direction.FROM_NETWORK, plane.peer_segment(DATA[:10]), settle=False)
    assert plane.step().host == []
