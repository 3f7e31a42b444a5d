"""Data sequence mappings: what places data, what does not, and checksums (RFC 8684 §3.3.1)."""

from __future__ import annotations

import pytest

from mpcore.counters import Counter
from mpcore.wire.values import Dss, MpTcpRst, Timestamps
from tests.helpers.checkers import ack, field, flags, has, lacks
from tests.helpers.plane import ACK, IDSN_REMOTE, ISN_REMOTE, Plane, dss_checksum

DATA = bytes(range(256)) * 16


def test_data_is_placed_by_its_mapping() -> None:
    plane = Plane()
    output = plane.peer(DATA[:100])
    assert output.data() == DATA[:100]
    output.to_network(flags("."), ack(ISN_REMOTE + 101), field(Dss, data_ack=(IDSN_REMOTE + 1) % 2**64))


def test_a_mapping_is_remembered_for_segments_without_one() -> None:
    """RFC 8684 §3.3.1: a mapping may cover many segments."""
    plane = Plane()
    mapping = plane.dss(DATA[:100], seq=1, data=0, size=300)
    assert plane.peer(DATA[:100], options=(mapping,)).data() == DATA[:100]
    assert (
        plane.peer(DATA[100:200], seq=101, options=(Dss(data_ack=mapping.data_ack),)).data() == DATA[100:200]
    )


def test_a_mapping_may_come_after_a_later_piece_of_its_data() -> None:
    plane = Plane()
    mapping = plane.dss(b"", seq=1, data=0, size=300)
    assert plane.peer(DATA[200:300], seq=201, options=(mapping,)).host == []
    assert plane.peer(DATA[:200], options=(mapping,)).data() == DATA[:300]


def test_a_declared_mapping_is_not_changed() -> None:
    """RFC 8684 §3.3.1: a contradiction ends the subflow."""
    plane = Plane()
    plane.peer(DATA[:100], options=(plane.dss(DATA[:100], seq=1, data=0, size=300),))
    output = plane.peer(DATA[100:200], seq=101, data=500)
    assert output.any_to_network(flags("R."), has(MpTcpRst))
    assert plane.counter(Counter.DSS_NOT_MATCHING) == 1


def test_data_without_a_mapping_is_not_acknowledged_and_in_the_end_ends_the_subflow() -> None:
    """RFC 8684 §3.7, last rule: the path no longer lets options through."""
    plane = Plane()
    plane.join()
    plane.step()
    plane.peer(DATA[:100])
    for turn in range(16):
        output = plane.peer(DATA[:50], seq=101, options=())
        if turn < 15:
            output.to_network(flags("."), ack(ISN_REMOTE + 101))
    assert output.any_to_network(flags("R."), field(MpTcpRst, reason=6))
    assert plane.counter(Counter.UNMAPPED_DATA) == 16
    assert plane.counter(Counter.MIDDLEBOX_RESET) == 1


def test_data_outside_the_window_of_the_connection_gets_no_data_ack() -> None:
    """RFC 8684 §3.8: drop it; RFC 8684 §3.3.4: TCP's window test is the connection's."""
    plane = Plane()
    output = plane.peer(DATA[:100], data=1 << 30)
    assert output.host == []
    output.to_network(flags("."), field(Dss, data_ack=(IDSN_REMOTE + 1) % 2**64))
    assert plane.counter(Counter.NO_DSS_IN_WINDOW) == 1


@pytest.mark.parametrize("data", [-1, -100, -(1 << 40)])
def test_data_before_the_start_of_the_stream_is_dropped(data: int) -> None:
    plane = Plane()
    assert plane.peer(DATA[:50], data=data).host == []
    assert plane.counter(Counter.NO_DSS_IN_WINDOW) == 1


def test_data_that_was_received_before_is_dropped() -> None:
    plane = Plane()
    plane.join()
    plane.peer(DATA[:100])
    output = plane.peer(DATA[:100], path=1, data=0)
    assert output.data() == b""
    assert plane.counter(Counter.DUPLICATE_DATA) == 1


def test_a_data_sequence_number_of_32_bits_is_expanded() -> None:
    """RFC 8684 §3.3.1: the lower half, next to what is expected, across its wrap."""
    plane = Plane()
    for offset in range(0, 8192, 1024):
        short = (IDSN_REMOTE + 1 + offset) % 2**32
        mapping = Dss(data_ack=None, data_seq=short, seq64=False, subflow_seq=1 + offset, data_len=1024)
        plane.host(ack=offset)
        output = plane.peer(DATA[:1024], seq=1 + offset, options=(mapping,))
        assert output.data() == DATA[:1024], offset


# DSS checksums.


def test_a_checksum_over_one_segment() -> None:
    plane = Plane(checksum=True)
    assert plane.peer(DATA[:101]).data() == DATA[:101]


def test_a_checksum_over_several_segments_in_any_order() -> None:
    """RFC 8684 §3.3: nothing is delivered before the whole mapping is verified."""
    plane = Plane(checksum=True)
    mapping = plane.dss(DATA[:300], seq=1, data=0)
    assert plane.peer(DATA[200:300], seq=201, options=(mapping,)).host == []
    assert plane.peer(DATA[:100], seq=1, options=(mapping,)).host == []
    assert plane.peer(DATA[50:200], seq=51, options=(mapping,)).data() == DATA[:300]


def test_pieces_that_come_again_are_not_counted_twice() -> None:
    plane = Plane(checksum=True)
    mapping = plane.dss(DATA[:300], seq=1, data=0)
    for _ in range(4):
        assert plane.peer(DATA[200:300], seq=201, options=(mapping,)).host == []
    assert plane.peer(DATA[:200], seq=1, options=(mapping,)).data() == DATA[:300]


def test_a_wrong_checksum_on_one_of_several_subflows_resets_it() -> None:
    """RFC 8684 §3.7: with MP_FAIL; the data is not acknowledged."""
    plane = Plane(checksum=True)
    plane.join()
    plane.peer(path=1)
    wrong = Dss(
        data_ack=IDSN_REMOTE, data_seq=(IDSN_REMOTE + 1) % 2**64, subflow_seq=1, data_len=100, checksum=0x1234
    )
    output = plane.peer(DATA[:100], options=(wrong,))
    assert output.host == []
    assert output.any_to_network(flags("R."), has(MpTcpRst))
    assert plane.counter(Counter.DATA_CSUM_ERR) == 1
    assert plane.counter(Counter.FAIL_TX) == 1


@pytest.mark.parametrize("checksum", [False, True])
def test_a_checksum_that_was_not_agreed_or_lacks_resets_the_subflow(checksum: bool) -> None:
    """RFC 8684 §3.3: the reason is "MPTCP-specific error"."""
    plane = Plane(checksum=checksum)
    mapping = plane.dss(DATA[:100], seq=1, data=0)
    other = Dss(
        data_ack=mapping.data_ack, data_seq=mapping.data_seq, subflow_seq=1, data_len=100,
        checksum=None if checksum else dss_checksum(mapping.data_seq or 0, 1, 100, DATA[:100]),
    )  # fmt: skip
    output = plane.peer(DATA[:100], options=(other,))
    assert output.host == []
    assert output.any_to_network(flags("R."), field(MpTcpRst, reason=1))
    assert plane.counter(Counter.DSS_CHECKSUM_DISAGREED) == 1


def test_a_long_mapping_that_overlaps_a_short_one_stays_within_its_buffer() -> None:
    """Bytes beyond the collected mapping must not be written to its buffer."""
    plane = Plane(checksum=True, timestamps=False)
    first = Dss(
        data_ack=None, data_seq=(IDSN_REMOTE + 1) % 2**64, subflow_seq=1, data_len=65535, checksum=0x1111
    )
    plane.peer(DATA[:10], options=(first,))
    at = 60000
    second = Dss(
        data_ack=None,
        data_seq=(IDSN_REMOTE + 1 + at) % 2**64,
        subflow_seq=1 + at,
        data_len=60000,
        checksum=0x2222,
    )
    plane.peer(bytes(60000), seq=1 + at, options=(second,))
    plane.peer(bytes(1400), seq=1 + at, options=(second,))
    assert plane.state["bytes_received"] == 0


def test_options_that_say_nothing_of_data_leave_it_unmapped() -> None:
    plane = Plane()
    plane.peer(DATA[:10])
    output = plane.peer(DATA[:10], seq=11, options=(), flags=ACK)
    output.to_network(flags("."), ack(ISN_REMOTE + 11), lacks(MpTcpRst), has(Timestamps))
