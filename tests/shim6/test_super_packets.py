"""Super-packets become segments and segments become one packet, beside what a slow reading of TCP says."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.counters import Counter
from mpcore.shim6.engine import Shim6Engine
from mpcore.shim6.own_errors import TcpFlow
from mpcore.shim6.segment import segment_of
from mpcore.wire.checksum import checksum
from tests.helpers.shim6 import DESTINATION, HOP_BY_HOP, ROUTING, TCP, UDP, ip6, packet
from tests.shim6.test_data import SWITCHED, engine, moved
from tests.shim6.world import A1, A2, B1, B2

FIN, PSH, ACK, ECE, CWR, URG = 0x01, 0x08, 0x10, 0x40, 0x80, 0x20
HEADER = struct.Struct(">HHIIBBHHH")
SHIM6_SIZE = 8
TIMESTAMPS = bytes([1, 1, 8, 10]) + bytes(range(8))


def segment(
    seq: int,
    payload: bytes,
    *,
    flags: int = ACK,
    options: bytes = TIMESTAMPS,
    ack: int = 77,
    window: int = 500,
    port: int = 80,
    ends: tuple[bytes, bytes] = (B1, A1),
    hop_limit: int = 64,
) -> bytes:
    """An IPv6 packet with a TCP segment whose checksum is right."""
    offset = (HEADER.size + len(options)) // 4 << 4
    words = [port, 4000, seq & 0xFFFFFFFF, ack, offset, flags, window]
    bare = HEADER.pack(*words, 0, 0) + options + payload
    pseudo = b"".join([*ends, len(bare).to_bytes(4), bytes([0, 0, 0, TCP])])
    whole = HEADER.pack(*words, checksum(pseudo + bare), 0) + options + payload
    return ip6(*ends, TCP, whole, hop_limit)


def is_right(data: bytes) -> bool:
    """Tell whether the checksum of a segment behind an IPv6 header is right."""
    pseudo = data[8:40] + (len(data) - 40).to_bytes(4) + bytes([0, 0, 0, TCP])
    return checksum(pseudo + data[40:]) == 0


def restored(data: bytes) -> bytes:
    """A packet that left, as the peer's transport will have it."""
    assert data[6] == 140
    assert data[8:40] == A2 + B2
    assert int.from_bytes(data[4:6]) == len(data) - 40
    size = (len(data) - 40 - SHIM6_SIZE).to_bytes(2)
    return data[:4] + size + data[40:41] + data[7:8] + A1 + B1 + data[48:]


# Cutting.

payloads = st.builds(
    lambda size, seed: bytes((i * seed) & 0xFF for i in range(size)),
    st.integers(1, 6000),
    st.integers(1, 255),
)


@given(
    payloads,
    st.integers(40, 1500),
    st.integers(0, 2**32 - 1),
    st.sampled_from([b"", TIMESTAMPS, TIMESTAMPS + bytes([1, 1, 5, 10]) + bytes(8)]),
    st.sampled_from([ACK, ACK | PSH, ACK | PSH | FIN, ACK | CWR, ACK | ECE | PSH]),
)
def test_a_super_packet_leaves_as_the_kernel_would_have_cut_it(
    payload: bytes, mss: int, seq: int, options: bytes, flags: int
) -> None:
    """RFC 9293 §3.7.1, RFC 6691: options count; RFC 3168 §6.1.2: CWR once; RFC 5533 §4.6, §11.1."""
    plane = engine(SWITCHED)
    whole = segment(seq, payload, flags=flags, options=options, ends=(A1, B1))
    left = plane.cut(whole, mss, 1)
    assert left is not None
    step = max(mss - len(options), 1)
    expected = []
    for at in range(0, len(payload), step):
        own = flags if at == 0 else flags & ~CWR
        if at + step < len(payload):
            own &= ~(FIN | PSH)
        part = payload[at : at + step]
        expected.append(segment(seq + at, part, flags=own, options=options, ends=(A1, B1)))
    assert [restored(each) for each in left] == expected
    assert all(is_right(restored(each)) for each in left)
    assert moved(plane) == {"SHIM6_CUT": 1, "SHIM6_PAYLOAD_TX": len(left)}


def test_more_segments_than_are_made_at_once() -> None:
    plane = engine(SWITCHED)
    left = plane.cut(segment(0, bytes(60_000), ends=(A1, B1)), 112, 1)
    assert left is not None
    assert len(left) == 600
    assert plane.stats(1)["packets_sent"] == 1  # type: ignore[index]


@pytest.mark.parametrize("kinds", [(DESTINATION,), (HOP_BY_HOP,), (HOP_BY_HOP, DESTINATION)])
def test_extension_headers_stand_in_each_segment(kinds: tuple[int, ...]) -> None:
    """RFC 5533 §4.6: hop-by-hop options in front of the header, destination options behind it."""
    plane = engine(SWITCHED)
    upper = segment(5, bytes(3000), ends=(A1, B1))[40:]
    left = plane.cut(packet(A1, B1, *kinds, TCP, upper=upper), 1012, 1)
    assert left is not None
    assert len(left) == 3
    for each in left:
        assert len(each) == 40 + 8 * len(kinds) + SHIM6_SIZE + 32 + 1000
        at = 40 + (8 if HOP_BY_HOP in kinds else 0)
        assert each[at + 1] == 0
        assert each[at + 2] & 0x80


@pytest.mark.parametrize(
    "data",
    [
        packet(A1, B1, ROUTING, TCP, upper=segment(5, bytes(3000), ends=(A1, B1))[40:]),
        packet(A1, B1, *[DESTINATION] * 7, TCP, upper=segment(5, bytes(3000), ends=(A1, B1))[40:]),
        packet(A1, B1, UDP, upper=bytes(3000)),
        packet(A1, B1, TCP, upper=segment(5, bytes(3000), ends=(A1, B1))[40:53]),
    ],
)
def test_what_cannot_be_cut_is_dropped_and_counted(data: bytes) -> None:
    plane = engine(SWITCHED)
    assert plane.cut(data, 1000, 1) == []
    assert moved(plane) == {"SHIM6_SUPER_PACKET": 1}


@given(st.binary(max_size=200), st.integers(0, 2000))
def test_no_bytes_make_it_read_beyond_them(tail: bytes, mss: int) -> None:
    plane = engine(SWITCHED)
    data = ip6(A1, B1, TCP, tail)
    for each in plane.cut(data, mss, 1) or ():
        assert len(each) <= len(data) + SHIM6_SIZE


def test_a_super_packet_without_context_is_none_of_ours() -> None:
    assert engine().cut(segment(0, bytes(3000), ends=(A1, B1)), 1000, 1) is None


# Joining.


def joined(*packets: bytes) -> tuple[list[bytes | None], int]:
    plane = Shim6Engine(max_contexts=1, seed=bytes(16))
    return plane.join(list(packets)), plane.counters()[Counter.SHIM6_JOINED]


@given(st.lists(st.integers(1, 1400), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_what_follows_goes_up_as_one(sizes: list[int], seq: int) -> None:
    """A run ends behind a segment shorter than its first; a longer one begins another."""
    packets, at = [], seq
    for number, size in enumerate(sizes):
        packets.append(segment(at, bytes([number]) * size))
        at += size
    got, count = joined(*packets)
    stream = b"".join(each[72:] for each in got if each is not None)
    assert stream == b"".join(each[72:] for each in packets)
    assert all(is_right(each) for each in got if each is not None)
    assert count == got.count(None)
    full = [size for size in sizes if size == sizes[0]]
    if len(full) == len(sizes):
        assert got[1:] == [None] * (len(sizes) - 1)


@pytest.mark.parametrize(
    "second",
    [
        segment(1001, b"x" * 1000),
        segment(999, b"x" * 1000),
        segment(1000, b"x" * 1000, ack=78),
        segment(1000, b"x" * 1000, window=499),
        segment(1000, b"x" * 1000, options=TIMESTAMPS[:-1] + b"\xff"),
        segment(1000, b"x" * 1000, options=b""),
        segment(1000, b"x" * 1000, flags=ACK | FIN),
        segment(1000, b"x" * 1000, flags=ACK | ECE),
        segment(1000, b"x" * 1000, flags=ACK | CWR),
        segment(1000, b"x" * 1000, flags=ACK | URG),
        segment(1000, b"x" * 1000, port=81),
        segment(1000, b"x" * 1000, ends=(B2, A1)),
        segment(1000, b"x" * 1000, hop_limit=63),
        segment(1000, b""),
        segment(1000, b"x" * 1001),
        segment(1000, b"x" * 1000) + b"behind it",
        segment(1000, b"x" * 1000)[:-1],
        b"\x60\x30" + segment(1000, b"x" * 1000)[2:],  # marked by a router (RFC 3168 §5)
    ],
)
def test_what_tcp_would_see_differently_goes_up_alone(second: bytes) -> None:
    first = segment(0, b"a" * 1000)
    assert joined(first, second) == ([first, second], 0)


def test_nothing_follows_a_push_or_a_short_one() -> None:
    first, last = segment(0, b"a" * 1000), segment(1000, b"b" * 1000, flags=ACK | PSH)
    more, short = segment(2000, b"c" * 1000), segment(3000, b"d" * 10)
    got, count = joined(first, last, more, short, segment(3010, b"e" * 10))
    assert got[0] == segment(0, b"a" * 1000 + b"b" * 1000, flags=ACK | PSH)
    assert got[2] == segment(2000, b"c" * 1000 + b"d" * 10)
    assert got[4] == segment(3010, b"e" * 10)
    assert (got[1], got[3], count) == (None, None, 2)


def test_connections_may_alternate() -> None:
    packets = [segment(1000 * n, bytes([port]) * 1000, port=port) for n in range(3) for port in range(1, 12)]
    got, _ = joined(*packets)
    whole = {each[41]: each for each in got if each is not None and len(each) > 2500}
    assert len(whole) >= 7  # of eleven connections, as many at once as there is room for
    assert all(each == segment(0, bytes([port]) * 3000, port=port) for port, each in whole.items())


def test_damage_stays_visible() -> None:
    """RFC 9293 §3.1: a wrong checksum among many is wrong in what they become."""
    packets = [segment(1000 * n, bytes([n]) * 1000) for n in range(5)]
    damaged = bytearray(packets[3])
    damaged[500] ^= 1
    got, _ = joined(*packets[:3], bytes(damaged), packets[4])
    assert got[0] is not None
    assert len(got[0]) == 72 + 5000
    assert not is_right(got[0])


def test_no_packet_grows_beyond_what_the_kernel_takes() -> None:
    got, _ = joined(*[segment(1400 * n, bytes(1400)) for n in range(64)])
    sizes = [len(each) for each in got if each is not None]
    assert max(sizes) <= 64_000
    assert len(sizes) == 2


@given(st.lists(st.binary(max_size=120), max_size=8), st.integers(0, 255))
def test_any_bytes_may_come(tails: list[bytes], kind: int) -> None:
    packets = [ip6(B1, A1, TCP if number % 2 else kind, tail) for number, tail in enumerate(tails)]
    got, count = joined(*packets, *tails)
    assert count == got.count(None)


# Whose it is.


def test_whose_segment_a_packet_is() -> None:
    flow = TcpFlow(A1, 80, B1, 4000)
    data = segment(9, b"x", ends=(A1, B1))
    assert segment_of(data[:48]) == (flow, 9)
    assert segment_of(packet(A1, B1, HOP_BY_HOP, DESTINATION, TCP, upper=data[40:])) == (flow, 9)
    assert segment_of(packet(A1, B1, UDP, upper=data[40:])) is None


@given(st.binary(max_size=100))
def test_no_headers_raise(data: bytes) -> None:
    segment_of(data)
    segment_of(ip6(A1, B1, HOP_BY_HOP, data))
