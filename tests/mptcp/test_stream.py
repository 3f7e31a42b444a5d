"""The connection's two streams: windows, the socket's side, DATA_FIN, reinjection (RFC 8684 §3.3)."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from mpcore.counters import Counter
from mpcore.wire.values import Dss, MpFastclose, Sack, Segment, Timestamps
from tests.helpers.checkers import ack, field, flags, has, lacks, matches, payload, payload_size, seq
from tests.helpers.plane import (
    ACK,
    FIN,
    IDSN_LOCAL,
    IDSN_REMOTE,
    ISN_LOCAL,
    ISN_REMOTE,
    MS,
    RST,
    SCALE,
    SECOND,
    TS_LOCAL,
    TS_REMOTE,
    WINDOW_FIELD,
    Output,
    Plane,
    host_seq,
    peer_seq,
)

DATA = bytes(range(256)) * 40
MSS = 1420


def peer_edge(segment: Segment) -> int:
    """Return the right edge that a segment offers to the peer, as data offset."""
    dss = segment.find(Dss)
    assert isinstance(dss, Dss)
    assert dss.data_ack is not None
    return (dss.data_ack - IDSN_REMOTE - 1) % 2**64 + (segment.window << SCALE)


def host_edge(segment: Segment) -> int:
    """Return the right edge that a segment offers to the socket, as data offset."""
    return (segment.ack - ISN_LOCAL - 1) % 2**32 + (segment.window << SCALE)


def fin(plane: Plane, offset: int, **changes: Any) -> Output:
    """Give a DATA_FIN of its own, at a data offset."""
    return plane.peer(options=(plane.dss(b"", seq=0, data=offset, fin=True),), **changes)


# Windows.


def test_the_right_edge_towards_the_peer_never_moves_back() -> None:
    """RFC 8684 §3.3.4, RFC 9293 §3.8.6.2.1: not even by the rounding of the window's scale."""
    plane = Plane()
    rng = Random(1)
    edge = got = 0
    for _ in range(300):
        size = rng.randrange(1, 300)
        output = plane.peer(DATA[:size], seq=got + 1)
        got += size
        later = plane.host(ack=got, window=8192 - got // 128 if rng.random() < 0.5 else 8192 - got // 256)
        for segment in (*output.network, *later.network):
            assert peer_edge(segment) >= edge
            edge = peer_edge(segment)


def test_the_right_edge_towards_the_socket_never_moves_back() -> None:
    plane = Plane()
    rng = Random(2)
    edge = sent = 0
    for _ in range(300):
        size = rng.randrange(1, 300)
        plane.host(DATA[:size], seq=sent)
        sent += size
        plane.acked = sent
        for segment in plane.peer(ack=sent + 1, window=rng.randrange(2000, 8192)).host:
            assert host_edge(segment) >= edge
            edge = host_edge(segment)


def test_the_edge_stays_within_the_ring() -> None:
    plane = Plane(send_buffer_bytes=65536, receive_buffer_bytes=65536)
    output = plane.host(DATA[:1000], window=60000)
    assert all(peer_edge(segment) <= 65536 for segment in output.network)
    plane.acked = 1000
    assert host_edge(plane.peer(ack=1001, window=60000).to_host()) <= 1000 + 65536


def test_only_a_window_with_a_data_ack_counts() -> None:
    """RFC 8684 §3.3.4: the window is relative to DATA_ACK."""
    plane = Plane()
    before = plane.state["send_window"]
    mapping = Dss(data_seq=IDSN_REMOTE + 1, subflow_seq=1, data_len=10)
    plane.peer(DATA[:10], options=(mapping,), window=60000)
    assert plane.state["send_window"] == before


def test_data_waits_for_the_peers_window() -> None:
    plane = Plane(establish=False, window=3000)
    plane.host()
    plane.peer(window=3000 >> SCALE)
    output = plane.host(DATA[:5000])
    assert sum(len(segment.payload) for segment in output.network) <= 3000
    plane.acked = 2 * MSS
    output = plane.peer(ack=1 + 2 * MSS, window=8192)
    assert sum(len(segment.payload) for segment in output.network) == 5000 - 2 * MSS


def test_a_smaller_window_on_a_subflow_is_kept() -> None:
    """RFC 8684 §3.3.5: ack_i + rcv_wnd_i bounds what is sent on subflow i."""
    plane = Plane(scheduler="round-robin")
    plane.join()
    plane.peer(path=1, window=2)
    plane.peer(window=8192)
    sent = [0, 0]
    for offset in range(0, 8 * MSS, MSS):
        for segment in plane.host(bytes(MSS), seq=offset).network:
            sent[segment.src_port != plane.paths[0].local_port] += len(segment.payload)
    # the segment of the idle subflow asks for its window
    assert sent[1] <= max(65535, MSS)
    assert sum(sent) == 8 * MSS


def test_a_closed_window_is_asked_for() -> None:
    """RFC 9293 §3.8.6.1."""
    plane = Plane(establish=False, window=MSS)
    plane.host()
    plane.peer(window=MSS >> SCALE)
    plane.host(bytes(2 * MSS))
    plane.acked = MSS
    plane.peer(ack=1 + MSS, window=0)
    probes = [
        segment
        for segment in plane.advance(30 * SECOND).network
        if segment.seq == peer_seq(MSS) and not segment.payload
    ]
    assert 3 <= len(probes) <= 12
    assert not plane.gone


def test_a_closed_window_that_nobody_answers_for_ends_the_path() -> None:
    plane = Plane(establish=False, window=MSS)
    plane.host()
    plane.peer(window=MSS >> SCALE)
    plane.host(bytes(2 * MSS))
    plane.acked = MSS
    plane.peer(ack=1 + MSS, window=0)
    output = plane.advance(2000 * SECOND)
    assert ("subflow closed", 0, 2) in output.events


def test_the_sockets_probe_is_passed_on() -> None:
    """RFC 9293 §3.8.4: with silence at the other end, the socket gets silence too."""
    plane = Plane()
    plane.advance(10 * SECOND)
    output = plane.host(seq=-1)
    output.to_network(seq(peer_seq(0)), payload_size(0))
    output.to_host(flags("."))
    plane.advance(10 * SECOND)
    assert plane.host(seq=-1).host == []
    plane.peer()
    plane.advance(10 * SECOND)
    plane.host(seq=-1).to_host(flags("."))


# The socket's side.


def test_what_the_socket_repeats_is_not_sent_again() -> None:
    """Its repair is the subflows'."""
    plane = Plane()
    plane.host(DATA[:500])
    output = plane.host(DATA[:500])
    assert not output.any_to_network(payload(DATA[:500]))
    output.to_host(ack(ISN_LOCAL + 1))
    assert plane.counter(Counter.HOST_RETRANSMIT) == 1


def test_a_repeat_with_more_data_brings_what_is_new() -> None:
    plane = Plane()
    plane.host(DATA[:500])
    assert plane.host(DATA[300:900], seq=300).any_to_network(payload(DATA[500:900]))


def test_data_ahead_of_what_the_socket_gave_is_answered() -> None:
    plane = Plane()
    output = plane.host(DATA[:10], seq=100)
    output.to_host(ack(ISN_LOCAL + 1))
    assert output.network == []


def test_what_the_socket_does_not_acknowledge_is_injected_again() -> None:
    plane = Plane()
    plane.peer(DATA[:500])
    again = plane.advance(250 * MS)
    assert again.data() == DATA[:500]


def test_three_duplicate_acks_of_the_socket_inject_again() -> None:
    plane = Plane()
    plane.peer(DATA[:500])
    outputs = [plane.host() for _ in range(3)]
    assert [output.data() for output in outputs] == [b"", b"", DATA[:500]]


def test_a_socket_that_acknowledges_what_was_not_injected_changes_nothing() -> None:
    plane = Plane()
    plane.host(ack=1000)
    assert plane.state["receive_window"] > 0
    plane.peer(DATA[:10]).to_network(field(Dss, data_ack=(IDSN_REMOTE + 1) % 2**64))


def test_the_sockets_ack_is_the_data_ack() -> None:
    """RFC 8684 §3.3.2: what the program's buffer has."""
    plane = Plane()
    plane.peer(DATA[:500]).to_network(ack(ISN_REMOTE + 501), field(Dss, data_ack=(IDSN_REMOTE + 1) % 2**64))
    plane.host(ack=500).to_network(field(Dss, data_ack=(IDSN_REMOTE + 501) % 2**64))


def test_a_socket_that_never_acknowledges_is_given_up() -> None:
    plane = Plane()
    plane.peer(DATA[:500])
    output = plane.advance(1000 * SECOND)
    assert output.any_to_network(flags("R."), has(MpFastclose))
    assert plane.gone


FIRST_WINDOW = 14600  # what a socket takes before its own window is known


def beyond_the_sockets_window() -> Plane:
    """Return a plane whose peer has sent a hundred bytes more than the socket's window takes."""
    plane = Plane(establish=False)
    plane.host(window=1)
    plane.peer()
    for start in range(0, FIRST_WINDOW, 1460):
        assert plane.peer(bytes(1460), seq=1 + start).data() == bytes(1460)
        plane.host(ack=start + 1460, window=(FIRST_WINDOW - start - 1460) >> SCALE)
    assert plane.peer(DATA[:100], seq=1 + FIRST_WINDOW).host == []
    return plane


def test_a_socket_gets_no_more_than_its_window() -> None:
    """RFC 9293 §3.8.6.1: beyond it data would be dropped, and taken for lost."""
    plane = beyond_the_sockets_window()
    assert plane.state["bytes_received"] == FIRST_WINDOW + 100
    plane.host(ack=FIRST_WINDOW, window=1).to_host(payload(DATA[:100]))


def test_a_closed_window_of_the_socket_is_asked_for_as_long_as_it_answers() -> None:
    """RFC 9293 §3.8.6.1 (MUST-36, MUST-37): by an old number, for its news may be lost."""
    plane = beyond_the_sockets_window()
    probes = []
    for _ in range(20_000):
        for segment in plane.advance(100 * MS).host:
            assert (segment.seq, segment.payload) == (host_seq(FIRST_WINDOW - 1), b"")
            probes.append(plane.now_ns)
            plane.host(ack=FIRST_WINDOW, window=0)
    assert 20 < len(probes) < 60
    assert probes[1] - probes[0] < SECOND
    plane.host(ack=FIRST_WINDOW, window=WINDOW_FIELD).to_host(payload(DATA[:100]))


def test_a_socket_that_answers_but_takes_nothing_is_not_given_up() -> None:
    """RFC 9293 §3.8.6.1 (MUST-37): it dropped what was in its window, as a socket without memory does."""
    plane = Plane()
    plane.peer(DATA[:500])
    for _ in range(2000):
        if plane.advance(SECOND).host:
            plane.host(window=0)
    assert not plane.gone
    assert plane.host(window=WINDOW_FIELD).data() == b""
    assert plane.advance(60 * SECOND).data() == DATA[:500]


def test_a_closed_socket_that_is_gone_does_not_stay() -> None:
    """Its host drops it in silence while the peer goes on (Linux: tcp_fin_timeout)."""
    plane = Plane()
    plane.host(flags=FIN | ACK)
    plane.acked = 1
    plane.peer()
    probes = plane.advance(61 * SECOND).host
    assert [segment.seq for segment in probes] == [host_seq(-1)]
    plane.host(seq=1)
    plane.advance(61 * SECOND).to_host(flags("."), seq(host_seq(-1)))
    output = plane.host(seq=1, flags=RST)
    output.to_network(flags("R."), has(MpFastclose))
    assert plane.gone


def test_the_socket_sees_the_peers_timestamps_until_there_are_several_paths() -> None:
    """RFC 7323 §5.3: else it would refuse the peer's segments after falling back."""

    def stamp(output: Output) -> int:
        found = output.host[-1].find(Timestamps)
        assert isinstance(found, Timestamps)
        return found.value

    plane = Plane()
    plane.advance(10 * SECOND)
    assert stamp(plane.peer(DATA[:10], ts=TS_REMOTE + 3)) == TS_REMOTE + 3
    plane.join()
    plane.peer(path=1)
    plane.advance(SECOND)
    assert stamp(plane.peer(DATA[10:20], seq=11, ts=TS_REMOTE + 4)) == TS_REMOTE + 11_000


def test_the_socket_is_told_the_stamp_of_what_is_acknowledged() -> None:
    """RFC 7323 §4.3: the newest one would show a round trip of nothing, and that late data was lost."""

    def echo(acked: int, payload: bytes = b"") -> int:
        plane.acked = acked
        found = plane.peer(payload, ack=301).host[-1].find(Timestamps)
        assert isinstance(found, Timestamps)
        return found.echo

    plane = Plane()
    plane.host(DATA[:100], ts=TS_LOCAL + 10)
    plane.host(DATA[100:200], seq=100, ts=TS_LOCAL + 20)
    plane.host(DATA[200:300], seq=200, ts=TS_LOCAL + 30)
    plane.host(DATA[:100], seq=0, ts=TS_LOCAL + 40)
    assert echo(100) == TS_LOCAL + 10
    assert echo(200) == TS_LOCAL + 20
    plane.host(DATA[200:300], seq=200, ts=TS_LOCAL + 250)
    assert echo(300) == TS_LOCAL + 20, "older, never that of a repeat"
    plane.host(seq=300, ts=TS_LOCAL + 300)
    assert echo(300, DATA[:10]) == TS_LOCAL + 300


# DATA_FIN.


def test_data_fin_alone_takes_one_number() -> None:
    """RFC 8684 §3.3.3: subflow sequence number 0, data-level length 1."""
    plane = Plane()
    plane.host(DATA[:100])
    output = plane.host(seq=100, flags=FIN | ACK)
    output.to_network(
        payload_size(0),
        field(Dss, data_seq=IDSN_LOCAL + 101, data_len=1, subflow_seq=0, data_fin=True),
    )
    plane.acked = 101
    plane.peer(ack=101).to_host(ack(ISN_LOCAL + 102))


def test_data_fin_waits_for_the_last_byte() -> None:
    plane = Plane(establish=False, window=MSS)
    plane.host()
    plane.peer(window=MSS >> SCALE)
    output = plane.host(bytes(2 * MSS), flags=FIN | ACK)
    assert not any(getattr(segment.find(Dss), "data_fin", False) for segment in output.network)


def test_data_fin_is_repeated_on_every_subflow_until_acknowledged() -> None:
    plane = Plane()
    plane.join()
    plane.peer(path=1)
    plane.host(flags=FIN | ACK)
    again = plane.advance(1100 * MS)
    ports = {segment.src_port for segment in again.network if segment.find(Dss).data_fin}  # type: ignore[union-attr]
    assert len(ports) == 2


def test_the_peers_data_fin_becomes_the_sockets_fin() -> None:
    """RFC 8684 §3.3.3: after all data before it."""
    plane = Plane()
    assert fin(plane, 100).host == []
    plane.peer(DATA[:100])
    plane.host(ack=100)
    assert plane.state["peer_fin"]
    assert not plane.state["peer_fin_acked"]


def test_data_fin_first_data_later() -> None:
    plane = Plane()
    fin(plane, 300)
    plane.peer(DATA[200:300], seq=201)
    output = plane.peer(DATA[:200], seq=1)
    assert output.data() == DATA[:300]
    assert any(segment.flags & FIN and segment.seq == host_seq(300) for segment in output.host)


def test_data_fin_with_data() -> None:
    """RFC 8684 §3.3.3: the mapping is one longer than the data."""
    plane = Plane()
    output = plane.peer(DATA[:100], options=(plane.dss(DATA[:100], seq=1, data=0, fin=True),))
    assert output.data() == DATA[:100]
    assert any(segment.flags & FIN for segment in output.host)


def test_data_fin_with_data_counts_once_its_checksum_is_verified() -> None:
    plane = Plane(checksum=True)
    plane.join()
    plane.peer(path=1)
    mapping = plane.dss(DATA[:100], seq=1, data=0, fin=True)
    plane.peer(DATA[:50], options=(mapping,))
    assert not plane.state["peer_fin"]
    plane.peer(DATA[50:100], seq=51, options=(mapping,))
    assert plane.state["peer_fin"]


def test_a_data_fin_with_a_wrong_checksum_is_ignored() -> None:
    plane = Plane(checksum=True)
    wrong = Dss(data_ack=IDSN_LOCAL + 1, data_seq=(IDSN_REMOTE + 1) % 2**64, subflow_seq=0, data_len=1,
                checksum=0x1234, data_fin=True)  # fmt: skip
    plane.peer(options=(wrong,))
    assert not plane.state["peer_fin"]
    assert plane.counter(Counter.DATA_CSUM_ERR) == 1


@pytest.mark.parametrize("offset", [-1, 1 << 40])
def test_a_data_fin_outside_the_window_is_ignored(offset: int) -> None:
    plane = Plane()
    fin(plane, offset)
    assert not plane.state["peer_fin"]
    assert plane.counter(Counter.NO_DSS_IN_WINDOW) == 1


def test_the_first_data_fin_stands() -> None:
    plane = Plane()
    fin(plane, 100)
    fin(plane, 50)
    output = plane.peer(DATA[:100])
    assert output.data() == DATA[:100]


def test_data_beyond_the_data_fin_is_dropped() -> None:
    plane = Plane()
    fin(plane, 100)
    plane.peer(DATA[:200], seq=101, data=100)
    assert plane.counter(Counter.NO_DSS_IN_WINDOW) == 1


def test_both_ends_close_at_once() -> None:
    """RFC 8684 appendix D: CLOSING, then every subflow ends."""
    plane = Plane()
    plane.host(flags=FIN | ACK)
    fin(plane, 0).to_host(flags("F."))
    plane.acked = 1
    plane.peer()
    output = plane.host(seq=1, ack=1)
    assert output.any_to_network(flags("F."), seq(peer_seq(1)))
    assert plane.subflow()["state"] == "fin-wait-1"
    output = plane.peer(flags=FIN | ACK, ack=2)
    output.to_network(flags("."), ack(ISN_REMOTE + 2))
    assert plane.subflow()["state"] == "time-wait"
    plane.advance(5 * SECOND)
    assert plane.gone


def test_half_closed_the_other_direction_goes_on() -> None:
    plane = Plane()
    plane.host(flags=FIN | ACK)
    plane.acked = 1
    plane.peer()
    assert plane.peer(DATA[:100]).data() == DATA[:100]
    plane.host(seq=1, ack=100).to_network(field(Dss, data_ack=(IDSN_REMOTE + 101) % 2**64))


def test_what_is_late_after_the_end_does_not_reach_the_socket() -> None:
    plane = Plane()
    plane.host(flags=FIN | ACK)
    fin(plane, 0)
    plane.acked = 1
    plane.peer()
    plane.host(seq=1, ack=1)
    plane.peer(flags=FIN | ACK, ack=2)
    plane.advance(SECOND)
    output = plane.peer(flags=FIN | ACK, ack=2)
    assert output.host == []
    output.to_network(flags("."), ack(ISN_REMOTE + 2))


# Reinjection.


def spread(plane: Plane) -> dict[int, list[tuple[int, bytes]]]:
    """Let the host write 8 segments over two paths; return what went out, by source port."""
    out: dict[int, list[tuple[int, bytes]]] = {}
    for index in range(8):
        for segment in plane.host(bytes([index]) * MSS, seq=index * MSS).network:
            if segment.payload:
                out.setdefault(segment.src_port, []).append((segment.seq, segment.payload))
    return out


def two_paths(**changes: Any) -> Plane:
    plane = Plane(scheduler="round-robin", **changes)
    plane.join()
    plane.peer(path=1)
    return plane


@pytest.mark.parametrize("way", ["reset", "removed", "timeout"])
def test_what_a_dead_subflow_had_in_flight_goes_elsewhere(way: str) -> None:
    """RFC 8684 §3.3.6."""
    plane = two_paths()
    sent = spread(plane)
    lost = {data for _, data in sent[plane.paths[1].local_port]}
    assert lost
    if way == "reset":
        output = plane.peer(path=1, flags=RST, options=())
    elif way == "removed":
        plane.engine.remove_subflow(plane.handle, 1)
        output = plane.step()
    else:
        own = len(sent[plane.paths[0].local_port])
        plane.acked = 0
        plane.advance(20 * MS)
        plane.peer(ack=1 + own * MSS)
        output = plane.advance(3 * SECOND)
    again = {segment.payload for segment in output.network if segment.src_port == plane.paths[0].local_port}
    assert lost <= again
    assert plane.counter(Counter.REINJECTED) == plane.counter(Counter.MPTCP_RETRANS) >= len(lost)


def lose_most(plane: Plane, segments: int) -> tuple[Output, set[bytes]]:
    """Write segments over two paths; of those on path 0 only the last three arrive, on path 1 all do.

    Returns what the SACK of the former brings about, and the data that is missing.
    """
    sent: dict[int, list[tuple[int, bytes]]] = {each.local_port: [] for each in plane.paths}
    for index in range(segments):
        for segment in plane.host(bytes([index]) * MSS, seq=index * MSS).network:
            sent[segment.src_port].append((segment.seq, segment.payload))
    plane.advance(20 * MS)
    plane.peer(path=1, ack=1 + len(sent[plane.paths[1].local_port]) * MSS)
    numbers = [seq for seq, _ in sent[plane.paths[0].local_port]]
    output = plane.peer(extra=(Sack(((numbers[-3], numbers[-1] + MSS),)),))
    return output, {data for _, data in sent[plane.paths[0].local_port][:-3]}


def carried(plane: Plane, output: Output, path: int) -> set[bytes]:
    """Return the payloads that leave on a path."""
    port = plane.paths[path].local_port
    return {each.payload for each in output.network if each.payload and each.src_port == port}


def test_what_waits_for_a_window_to_be_repaired_ends_the_stream_elsewhere() -> None:
    """RFC 8684 §3.3.6: the path itself repairs it too, as its window allows."""
    plane = two_paths()
    output, missing = lose_most(plane, 16)
    here, there = carried(plane, output, 0), carried(plane, output, 1)
    assert here | there == missing
    assert not here & there
    assert here
    assert there
    assert plane.counter(Counter.REINJECTED) == len(there)


def test_losses_are_left_to_their_path_while_there_is_new_data_for_the_other() -> None:
    plane = two_paths()
    output, missing = lose_most(plane, 60)
    assert carried(plane, output, 1) == set()
    assert set() < carried(plane, output, 0) < missing
    assert plane.counter(Counter.REINJECTED) == 0


def test_a_backup_repairs_nothing_for_a_path_that_answers() -> None:
    """RFC 8684 §3.3.8."""
    plane = two_paths()
    plane.engine.set_backup(plane.handle, 1, True, True)
    output, missing = lose_most(plane, 8)
    assert set() < carried(plane, output, 0) < missing
    assert carried(plane, output, 1) == set()


def test_data_that_only_the_subflow_acknowledged_is_sent_again() -> None:
    """RFC 8684 §3.3.6: the timer at the data level."""
    plane = Plane()
    plane.host(DATA[:500])
    plane.advance(20 * MS)
    plane.peer(ack=501)
    output = plane.advance(3 * SECOND)
    assert output.any_to_network(payload(DATA[:500]), field(Dss, data_seq=IDSN_LOCAL + 1, subflow_seq=501))
    assert plane.counter(Counter.MPTCP_RETRANS) >= 1
    assert plane.counter(Counter.DATA_TIMEOUT) >= 1
    assert plane.counter(Counter.REINJECTED) == 0, "no other subflow had sent it"


def test_a_data_ack_that_does_not_come_is_asked_for_on_every_path() -> None:
    """RFC 8684 §3.3.6: the last one may have gone down with its path, and all data be there."""
    plane = two_paths()
    plane.host(DATA[:500])
    plane.advance(20 * MS)
    path = next(each for each in (0, 1) if plane.subflow(each)["snd_nxt"] > 1)
    plane.peer(path=path, ack=501)
    output = plane.advance(1100 * MS)  # the timer of a path that was never measured
    asked = [segment for segment in output.network if segment.find(Dss)]
    assert sorted({segment.src_port for segment in asked}) == [each.local_port for each in plane.paths]
    assert all(not segment.payload for segment in asked)
    assert plane.counter(Counter.MPTCP_RETRANS) == plane.counter(Counter.DATA_TIMEOUT) == 0
    assert plane.counter(Counter.PROBE_TX) == 2
    plane.acked = 500
    plane.peer(path=1 - path)
    assert plane.advance(3 * SECOND).network == []


def test_each_hole_at_the_data_level_is_filled_without_a_new_timeout() -> None:
    plane = Plane()
    for index in range(4):
        plane.host(bytes([index]) * MSS, seq=index * MSS)
    plane.advance(20 * MS)
    plane.peer(ack=1 + 4 * MSS)
    plane.advance(3 * SECOND)
    plane.acked = MSS
    plane.peer(ack=1 + 5 * MSS)
    output = plane.advance(20 * MS)
    assert output.any_to_network(payload(bytes([1]) * MSS))


def test_a_new_path_takes_over_what_none_could_carry() -> None:
    """RFC 8684 §3.4: break before make, under the number of the dead path too."""
    plane = two_paths()
    spread(plane)
    for path in (1, 0):
        plane.engine.remove_subflow(plane.handle, path)
    plane.step()
    assert plane.state["subflows"] == []
    plane.paths.pop()
    plane.join(remote=bytes([10, 0, 3, 2]))
    output = plane.peer(path=1)
    sent = [segment.payload for segment in output.network if segment.payload]
    assert sorted(sent) == [bytes([index]) * MSS for index in range(8)]


def test_a_connection_without_subflow_ends_after_its_time() -> None:
    plane = Plane(close_timeout_ns=10 * SECOND)
    plane.engine.remove_subflow(plane.handle, 0)
    plane.step()
    assert not plane.gone
    output = plane.advance(11 * SECOND)
    output.to_host(flags("R."))
    assert plane.gone


def test_a_peer_that_leaves_its_only_path_without_a_word_does_not_stay() -> None:
    """RFC 8684 §3.4: FIN on the last subflow and no DATA_FIN is a path lost, for which another may come."""
    plane = Plane(close_timeout_ns=60 * SECOND)
    plane.peer(flags=FIN | ACK)
    assert plane.subflow()["state"] == "close-wait"
    plane.advance(50 * SECOND)
    plane.host(DATA[:100])
    plane.advance(20 * MS)
    plane.acked = 100
    plane.peer(seq=2, ack=101)
    plane.advance(50 * SECOND)
    assert not plane.gone, "what the program still sends has its way"
    output = plane.advance(11 * SECOND)
    output.to_host(flags("R."))
    assert plane.gone


def test_a_path_half_closed_by_the_peer_is_enough_while_another_may_join() -> None:
    plane = Plane(close_timeout_ns=60 * SECOND)
    plane.peer(flags=FIN | ACK)
    plane.advance(30 * SECOND)
    plane.join()
    plane.peer(path=1)
    plane.advance(600 * SECOND)
    assert not plane.gone


def without_data_acks(plane: Plane, seconds: int, window: int = WINDOW_FIELD) -> list[Segment]:
    """Let the peer acknowledge subflows and never data; return what the socket got meanwhile."""
    host: list[Segment] = []
    for _ in range(10 * seconds):
        if plane.gone:
            break
        if plane.subflow()["inflight"]:
            stamp = TS_LOCAL + (plane.now_ns - SECOND) // MS
            plane.peer(ack=plane.subflow()["snd_nxt"], window=window, echo=stamp - 20)
        host += plane.advance(100 * MS).host
    return host


def test_a_peer_that_never_acknowledges_data_is_given_up() -> None:
    """RFC 9293 §3.8.3 (R2, 100 s at least) at the data level: the paths alone give no sign of it."""
    plane = Plane()
    plane.host(DATA[:500])
    without_data_acks(plane, 100)
    assert not plane.gone
    host = without_data_acks(plane, 500)
    assert plane.gone
    assert matches(host[-1], flags("R."))


def test_a_peer_that_answers_with_a_closed_window_may_take_its_time() -> None:
    """RFC 9293 §3.8.6.1 (MUST-37), where it dropped data of its own window."""
    plane = Plane()
    plane.host(DATA[:500])
    without_data_acks(plane, 1500, window=0)
    assert not plane.gone
    plane.acked = 500
    plane.peer(ack=plane.subflow()["snd_nxt"])
    assert plane.state["bytes_in_flight"] == 0


def test_a_socket_that_went_while_its_data_waited_does_not_stay() -> None:
    """Its host gave it up in silence; what comes back when it is asked is a RST."""
    plane = Plane()
    plane.host(DATA[:500])
    host = without_data_acks(plane, 150, window=0)
    probes = [segment for segment in host if segment.seq == host_seq(-1)]
    assert 1 <= len(probes) <= 3
    plane.host(seq=500, flags=RST)
    assert plane.gone


# Limits.


def test_little_memory_refuses_what_is_out_of_order_first() -> None:
    plane = Plane(memory_bytes=1 << 20, receive_buffer_bytes=8 << 20)
    plane.host(window=65535)
    for index in range(1, 16):
        plane.peer(DATA[:100], seq=1 + index * 65536)
    assert plane.counter(Counter.MEMORY_REFUSED) > 0
    assert plane.peer(DATA[:100]).data() == DATA[:100]


def test_a_full_reordering_queue_still_takes_what_comes_next() -> None:
    plane = Plane(reorder="regular", reorder_nodes=4)
    for index in range(1, 12):
        plane.peer(DATA[:10], seq=1 + index * 10)
    assert plane.counter(Counter.RCV_PRUNED) > 0
    assert plane.peer(DATA[:10], seq=1).data() == DATA[:10] * 5


def test_an_abort_tells_both_sides() -> None:
    """RFC 8684 §3.5."""
    plane = two_paths()
    plane.engine.abort(plane.handle, plane.now_ns)
    output = plane.step()
    output.to_host(flags("R."))
    assert all(segment.find(MpFastclose) for segment in output.network)
    assert len(output.network) == 2
    assert plane.gone
    assert plane.engine.memory()["chunks_in_use"] == 0


def test_a_subflow_closed_by_us_ends_with_fin_and_keeps_its_data() -> None:
    plane = two_paths()
    spread(plane)
    plane.engine.close_subflow(plane.handle, 1, None)
    output = plane.step()
    assert output.any_to_network(flags("F."), has(Dss), lacks(MpFastclose))
    assert plane.subflow(1)["state"] == "fin-wait-1"
