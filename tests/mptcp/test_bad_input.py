"""What no honest peer sends: each is answered as its RFC demands, and moves a counter of its own.

docs/bad-input.md lists all of them, also those whose tests are elsewhere.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from mpcore.actions import Direction, Role, VerdictKind
from mpcore.counters import Counter
from mpcore.wire.values import (
    AddAddr,
    Dss,
    MpCapable,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MpPrio,
    MpTcpRst,
    TcpFlag,
    TcpOption,
    emit_segment,
)
from tests.helpers.checkers import ack, flags, has, lacks
from tests.helpers.plane import (
    ACK,
    IDSN_LOCAL,
    IDSN_REMOTE,
    ISN_REMOTE,
    KEY_LOCAL,
    KEY_REMOTE,
    RST,
    Output,
    Plane,
    peer_seq,
)

DATA = bytes(range(256)) * 16
URG = TcpFlag.URG
OTHER_KEY = 0x2122232425262728


def moved(plane: Plane, counter: Counter, times: int = 1) -> None:
    """Assert that the input was counted, and that the connection is sound."""
    assert plane.counter(counter) == times
    assert plane.gone or plane.engine.faults(plane.handle) == []


def without_effect(plane: Plane, output: Output) -> None:
    """Assert that nothing was sent, nothing was told to the program, and the subflow lives."""
    assert (output.host, output.network, output.events) == ([], [], [])
    assert plane.subflow()["state"] == "established"


# The packet.


def test_a_wrong_tcp_checksum() -> None:
    """RFC 9293 §3.1: the segment is damaged, so nothing in it is to be believed."""
    plane = Plane()
    packet = bytearray(emit_segment(plane.peer_segment(DATA[:100])))
    packet[-1] ^= 1
    verdict = plane.engine.process(Direction.FROM_NETWORK, bytes(packet), plane.now_ns)
    assert VerdictKind(verdict) is VerdictKind.DROP
    without_effect(plane, plane.step())
    moved(plane, Counter.BAD_CHECKSUM)


@pytest.mark.parametrize(
    ("place", "value", "counter"),
    [
        (0, 0x41, Counter.MALFORMED_IP),  # a header of 4 octets
        (2, 0xFF, Counter.MALFORMED_IP),  # longer than what came
        (32, 0x10, Counter.MALFORMED_TCP),  # a header of 4 octets
        (32, 0xF0, Counter.MALFORMED_TCP),  # a header beyond the end
    ],
)
def test_headers_that_are_not_legal(place: int, value: int, counter: Counter) -> None:
    """RFC 9293 §3.1, RFC 791 §3.1: left to the kernel, which drops them too."""
    plane = Plane(timestamps=False)
    packet = bytearray(emit_segment(plane.peer_segment(options=())))
    packet[place] = value
    verdict = plane.engine.process(Direction.FROM_NETWORK, bytes(packet), plane.now_ns)
    assert VerdictKind(verdict) is VerdictKind.PASS
    without_effect(plane, plane.step())
    moved(plane, counter)


# The subflow's TCP.


def test_urgent_data_is_taken_in_line() -> None:
    """RFC 8684 §3.3.1: it SHOULD be mapped to the stream like any other."""
    plane = Plane()
    assert plane.peer(DATA[:10], flags=ACK | URG).data() == DATA[:10]
    moved(plane, Counter.URGENT_RX)


def test_too_many_gaps() -> None:
    """RFC 9293 §3.10.7.4: what has no place is not acknowledged, so that it comes again."""
    plane = Plane()
    for gap in range(1, 1025):
        plane.peer(DATA[:10], seq=1 + 20 * gap)
    output = plane.peer(DATA[:10], seq=1 + 20 * 1025)
    output.to_network(flags("."), ack(ISN_REMOTE + 1))
    moved(plane, Counter.RANGES_FULL)
    assert plane.peer(DATA[:20]).data() == DATA[:20] + DATA[:10]


# Options out of place.


def first_of_server(option: TcpOption) -> tuple[Plane, Output]:
    plane = Plane(role=Role.SERVER, timestamps=False)
    return plane, plane.peer(extra=(option,))


MISPLACED = [
    MpTcpRst(3),
    MpCapable(key_sender=KEY_REMOTE),
    MpCapable(key_sender=KEY_REMOTE, key_receiver=OTHER_KEY),
    MpCapable(key_sender=OTHER_KEY, key_receiver=KEY_LOCAL),
    MpJoinSyn(1, 2, 3),
    MpJoinSynAck(bytes(8), 1, 2),
    MpJoinAck(bytes(20)),
]


@pytest.mark.parametrize("option", MISPLACED, ids=lambda option: type(option).__name__)
def test_an_option_out_of_place(option: TcpOption) -> None:
    """RFC 8684 §3.1, §3.2, §3.6: each belongs to a segment of one kind; on others it means nothing."""
    plane, output = first_of_server(option)
    without_effect(plane, output)
    moved(plane, Counter.MISPLACED_OPTION)


def test_mp_capable_of_the_server_after_the_handshake() -> None:
    """RFC 8684 §3.1: only the initiator repeats it."""
    plane = Plane(role=Role.CLIENT, timestamps=False)
    keys = MpCapable(key_sender=KEY_REMOTE, key_receiver=KEY_LOCAL)
    without_effect(plane, plane.peer(extra=(keys,)))
    moved(plane, Counter.MISPLACED_OPTION)


def test_mp_capable_of_the_initiator_may_come_again() -> None:
    """RFC 8684 §3.1: its first data repeats the keys, and may be sent twice."""
    plane = Plane(role=Role.SERVER)
    keys = MpCapable(key_sender=KEY_REMOTE, key_receiver=KEY_LOCAL, data_len=10)
    assert plane.peer(DATA[:10], options=(keys,)).data() == DATA[:10]
    plane.peer(DATA[:10], options=(keys,))
    moved(plane, Counter.MISPLACED_OPTION, 0)


def test_mp_capable_with_data_maps_nothing_on_a_joined_subflow() -> None:
    """RFC 8684 §3.1: it maps the first bytes of the first subflow alone."""
    plane = Plane(role=Role.SERVER)
    plane.join()
    plane.step()
    keys = MpCapable(key_sender=KEY_REMOTE, key_receiver=KEY_LOCAL, data_len=10)
    assert plane.peer(DATA[:10], path=1, options=(keys,)).data() == b""
    moved(plane, Counter.MISPLACED_OPTION)
    moved(plane, Counter.UNMAPPED_DATA)


def test_options_of_living_subflows_on_a_reset() -> None:
    """RFC 8684 §3.6: a RST ends its subflow; what else it says of the connection is not obeyed."""
    plane = Plane()
    plane.join()
    plane.step()
    plane.host(DATA[:100])
    before = plane.state["bytes_sent"]
    options = (Dss(data_ack=(IDSN_LOCAL + 101) % 2**64), MpPrio(True))
    output = plane.peer(flags=RST | ACK, options=options)
    assert ("subflow closed", 0, 1) in output.events
    assert plane.state["bytes_sent"] == before
    moved(plane, Counter.MISPLACED_OPTION, 2)


def test_an_option_twice_in_one_segment() -> None:
    """RFC 8684 §3: the first of its kind counts."""
    plane = Plane()
    plane.host(DATA[:100])
    first, second = (Dss(data_ack=(IDSN_LOCAL + 1 + offset) % 2**64) for offset in (0, 100))
    assert plane.peer(ack=101, options=(first, second)).host == []
    moved(plane, Counter.MALFORMED_OPTION)


# Mappings.


def test_a_mapping_of_other_bytes_than_the_segments() -> None:
    """RFC 8684 §3.3.1: it MUST apply to some or all of the segment that carries it."""
    plane = Plane()
    elsewhere = plane.dss(DATA[:100], seq=5001, data=5000)
    output = plane.peer(DATA[:100], options=(elsewhere,))
    assert output.data() == b""
    output.to_network(flags("."), ack(ISN_REMOTE + 1))
    moved(plane, Counter.DSS_NO_MATCH_TCP)
    assert plane.peer(DATA[:100]).data() == DATA[:100]


def test_a_mapping_that_contradicts_another_further_on() -> None:
    """RFC 8684 §3.3.1: a mapping, once declared, is not changed, for any of its bytes."""
    plane = Plane()
    plane.peer(DATA[:100], seq=301, options=(plane.dss(b"", seq=301, data=300, size=300),))
    output = plane.peer(DATA[:100], options=(plane.dss(b"", seq=1, data=5, size=500),))
    assert output.any_to_network(flags("R."), has(MpTcpRst))
    moved(plane, Counter.DSS_NOT_MATCHING)


def test_mp_capable_that_maps_no_bytes() -> None:
    """RFC 8684 §3.1: a length of 0 would be an infinite mapping, which has no place here."""
    plane = Plane(role=Role.SERVER)
    keys = MpCapable(key_sender=KEY_REMOTE, key_receiver=KEY_LOCAL, data_len=0)
    output = plane.peer(DATA[:10], options=(keys,))
    assert output.any_to_network(flags("R."), has(MpTcpRst))
    moved(plane, Counter.DSS_NO_MATCH_TCP)


# DATA_FIN.


def test_a_second_data_fin_elsewhere() -> None:
    """RFC 8684 §3.3.3: the stream ends once; the first stands."""
    plane = Plane()
    plane.peer(options=(plane.dss(b"", seq=0, data=100, fin=True),))
    plane.peer(options=(plane.dss(b"", seq=0, data=200, fin=True),))
    moved(plane, Counter.DATA_FIN_REFUSED)
    assert plane.peer(DATA[:100]).data() == DATA[:100]
    assert plane.state["peer_fin"]


def test_a_data_fin_before_data_that_is_here() -> None:
    """RFC 8684 §3.3.3: it follows the last byte; the stream goes on to where it really ends."""
    plane = Plane()
    plane.peer(DATA[100:200], seq=101)
    plane.peer(options=(plane.dss(b"", seq=0, data=150, fin=True),))
    moved(plane, Counter.DATA_FIN_REFUSED)
    assert plane.peer(DATA[:100]).data() == DATA[:200]
    assert not plane.state["peer_fin"]


@pytest.mark.parametrize("mapped", [False, True])
def test_a_data_fin_without_a_number(mapped: bool) -> None:
    """RFC 8684 §3.3.3: it occupies one octet of the mapping that comes with it."""
    plane = Plane()
    option = Dss(data_ack=(IDSN_LOCAL + 1) % 2**64, data_fin=True)
    if mapped:
        option = replace(option, data_seq=(IDSN_REMOTE + 1) % 2**64, subflow_seq=0, data_len=0)
    without_effect(plane, plane.peer(options=(option,)))
    moved(plane, Counter.DATA_FIN_REFUSED)
    assert not plane.state["peer_fin"]


# Addresses.


def test_an_announcement_before_tcp_accepted_its_segment() -> None:
    """RFC 8684 §3: an option in a segment that TCP refuses has no meaning."""
    plane = Plane()
    outside = plane.peer_segment(seq=1 << 30, options=(AddAddr(2, bytes([10, 9, 9, 9]), hmac=bytes(8)),))
    output = plane.give(Direction.FROM_NETWORK, outside)
    assert output.events == []
    output.to_network(flags("."), lacks(MpTcpRst), ack(ISN_REMOTE + 1))
    moved(plane, Counter.OUT_OF_WINDOW)


# Several at once.


def test_an_attacker_who_guesses_changes_nothing() -> None:
    """RFC 5961 §3, §4, §5: whoever does not see the subflow cannot end it, and each attempt is counted."""
    plane = Plane()
    plane.host(DATA[:100], window=2000)
    for step in range(0, 1 << 32, 1 << 28):
        plane.peer(seq=2 + step, flags=RST, options=())
        plane.peer(seq=2 + step, flags=TcpFlag.SYN, options=())
        plane.peer(DATA[:10], seq=1 + step, ack=200 + step, options=())
    assert plane.subflow()["state"] == "established"
    moved(plane, Counter.RESET_IGNORED, 16)
    moved(plane, Counter.SYN_IGNORED, 16)
    assert plane.counter(Counter.OUT_OF_WINDOW) + plane.counter(Counter.ACK_AHEAD) == 16
    assert plane.peer(DATA[:50], ack=101).data() == DATA[:50]
    assert plane.subflow()["snd_una"] == 101
    assert peer_seq(101) == (peer_seq(1) + 100) % (1 << 32)
