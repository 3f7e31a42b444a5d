"""The parts of the model host's TCP that need no network: states, sender, receiver, timing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.errors import LocalProtocolError
from mpcore.sim.tcp_receiver import Receiver
from mpcore.sim.tcp_sender import Sender, expand
from mpcore.sim.tcp_settings import TcpSettings
from mpcore.sim.tcp_states import TRANSITIONS, Input, State, step
from mpcore.sim.tcp_timing import Reno, RoundTrip

MS = 1_000_000
MSS = 1000


@given(st.sampled_from(State), st.sampled_from(Input))
def test_every_pair_of_state_and_input_is_a_step_or_a_local_error(state: State, given_input: Input) -> None:
    if (state, given_input) in TRANSITIONS:
        assert step(state, given_input) in State
    else:
        with pytest.raises(LocalProtocolError):
            step(state, given_input)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**40), st.integers(-(2**31), 2**31 - 1))
def test_expand_finds_the_offset_near_the_expected_one(initial: int, near: int, distance: int) -> None:
    offset = near + distance
    assert expand((initial + offset) % 2**32, initial, near) == offset


def sender(window: int, **settings: int) -> Sender:
    """Return an established sender whose peer offers `window` bytes."""
    made = Sender(0, TcpSettings(**settings))  # type: ignore[arg-type]
    made.mss = MSS
    made.next = made.sent = 1
    made.acknowledge(1)
    made.update_window(1, 1, window)
    return made


@given(
    st.binary(min_size=1, max_size=9000),
    st.integers(1, 5000),
    st.lists(st.integers(1, 4000), min_size=1, max_size=50),
)
def test_the_sender_stays_in_the_window_and_loses_no_byte(data: bytes, window: int, acks: list[int]) -> None:
    made, wire = sender(window, super_packet_bytes=3000), bytearray()
    assert made.write(data) == len(data)
    for step_bytes in acks + [window] * len(data):
        while chunk := made.next_chunk(None):
            assert chunk.end <= made.window_edge
            assert len(chunk.payload) <= 3000
            made.mark_sent(chunk)
            wire += chunk.payload
        made.acknowledge(min(made.una + step_bytes, made.next))
        made.update_window(1, made.una, window)
    assert bytes(wire) == data
    assert made.una == 1 + len(data)


def test_the_send_buffer_is_bounded() -> None:
    made = sender(10, send_buffer_bytes=100)
    assert made.write(bytes(150)) == 100
    assert made.write(b"x") == 0
    chunk = made.next_chunk(None)
    assert chunk is not None
    made.mark_sent(chunk)
    made.acknowledge(11)
    assert made.room == 10


def test_less_than_a_segment_waits_while_something_is_under_way() -> None:
    """RFC 9293 §3.8.6.2.1: silly windows are not filled."""
    made = sender(2500)
    made.write(bytes(5000))
    first = made.next_chunk(None)
    assert first is not None
    assert len(first.payload) == 2000
    made.mark_sent(first)
    assert made.next_chunk(None) is None


def test_a_fin_waits_for_a_place_in_the_window() -> None:
    made = sender(3)
    made.write(b"abc")
    made.finish()
    chunk = made.next_chunk(None)
    assert chunk is not None
    assert (chunk.payload, chunk.fin) == (b"abc", False)
    made.mark_sent(chunk)
    assert made.next_chunk(None) is None
    made.acknowledge(4)
    made.update_window(1, 4, 1)
    last = made.next_chunk(None)
    assert last is not None
    assert (last.payload, last.fin) == (b"", True)


def test_an_old_segment_does_not_take_the_window_back() -> None:
    """RFC 9293 §3.10.7.4: SND.WL1 and SND.WL2."""
    made = sender(1000)
    assert made.update_window(5, 1, 4000)
    assert not made.update_window(4, 1, 10)
    assert made.window_edge == 4001


@given(st.binary(min_size=1, max_size=200), st.data())
def test_the_receiver_orders_any_cuts_in_any_order(data: bytes, draw: st.DataObject) -> None:
    pieces = draw.draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(1, 60)), max_size=30))
    covering = [(start, 25) for start in range(0, len(data), 25)]
    made, got = Receiver(7, TcpSettings()), b""
    made.window_field()
    for start, size in draw.draw(st.permutations(pieces + covering)):
        piece = data[start : start + size]
        made.accept(1 + start, piece, start + size >= len(data))
        got += made.read(1000)
    assert got == data
    assert made.finished
    assert made.wire_ack() == 7 + len(data) + 2
    assert not made.has_holes


def test_the_receiver_takes_nothing_beyond_its_window() -> None:
    made = Receiver(0, TcpSettings(receive_buffer_bytes=10))
    assert made.window_field() == 10
    assert made.accept(1, bytes(20), fin=True) == 10
    assert (made.readable, made.finished, made.window_field()) == (10, False, 0)


def test_the_window_never_shrinks_and_opens_by_useful_steps() -> None:
    """RFC 9293 §3.8.6.2.2."""
    made = Receiver(0, TcpSettings(receive_buffer_bytes=4000, mtu=1500))
    made.window_field()
    made.accept(1, bytes(4000), fin=False)
    made.read(100)
    assert not made.update_due(MSS)
    assert made.window_field() == 0
    made.read(1900)
    assert made.update_due(MSS)
    assert made.window_field() == 2000


def test_a_probe_from_before_the_window_is_not_acceptable() -> None:
    made = Receiver(0, TcpSettings())
    made.window_field()
    made.accept(1, bytes(10), fin=False)
    made.wire_ack()
    assert not made.acceptable(10, 0)
    assert made.acceptable(11, 0)
    assert made.acceptable(10, 2)
    assert not made.acceptable(5, 5)


def test_sack_blocks_tell_of_what_came_early() -> None:
    made = Receiver(100, TcpSettings())
    made.window_field()
    for start in (11, 21, 41, 61, 81):
        made.accept(start, bytes(10), fin=False)
    assert made.sack_blocks() == ((111, 131), (141, 151), (161, 171))


def test_the_timeout_follows_the_round_trip_time_and_doubles() -> None:
    """RFC 6298 §2."""
    made = RoundTrip(TcpSettings())
    assert made.timeout_ns() == 1000 * MS
    made.sample(100 * MS)
    assert made.timeout_ns() == 300 * MS
    made.backoff = 2
    assert made.timeout_ns() == 1200 * MS
    made.backoff = 40
    assert made.timeout_ns() == TcpSettings().rto_max_ns


def test_the_timeout_is_never_below_200_ms() -> None:
    made = RoundTrip(TcpSettings())
    for _ in range(20):
        made.sample(1 * MS)
    assert made.timeout_ns() == 200 * MS


def test_three_duplicates_halve_the_window() -> None:
    """RFC 5681 §3.2."""
    made = Reno(MSS)
    made.acknowledged(10 * MSS, 1 + 10 * MSS)
    assert made.window == 20 * MSS
    assert [made.duplicate(20 * MSS, 30 * MSS) for _ in range(3)] == [False, False, True]
    assert made.window == 13 * MSS
    assert made.acknowledged(5 * MSS, 15 * MSS), "a partial acknowledgement repeats the next hole (RFC 6582)"
    assert not made.acknowledged(15 * MSS, 30 * MSS)
    assert made.window == 10 * MSS
