"""What is said to a TCP whose context took other locators, by the layout of RFC 8200, RFC 9293, RFC 4443."""

import pytest

from mpcore.shim6.kick import BACKOFF_MAX, Backoff, kicks, questions, read_answer
from mpcore.shim6.own_errors import TcpFlow
from mpcore.wire.unexpected import DISTANCE
from mpcore.wire.values import Segment, TcpFlag, emit_segment
from tests.shim6.world import A1, B1

FLOW = TcpFlow(A1, 4000, B1, 80)


def ones_sum(data: bytes) -> int:
    total = sum(int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def answer(payload: bytes = b"", seq: int = 1000) -> bytes:
    return emit_segment(
        Segment(
            version=6,
            src=A1,
            dst=B1,
            src_port=4000,
            dst_port=80,
            seq=seq,
            ack=7,
            flags=TcpFlag.ACK.value,
            window=9,
            payload=payload,
        )
    )


def test_questions_come_from_the_peer_and_carry_nothing() -> None:
    """RFC 9293 §3.10.7.4: one of two numbers half the space apart is outside any window."""
    found = questions(FLOW)
    assert [int.from_bytes(packet[44:48]) for packet in found] == [0, DISTANCE]
    for packet in found:
        assert packet[8:40] == B1 + A1
        assert packet[40:44] == bytes([0, 80, 15, 160])
        assert len(packet) == 60


def test_an_answer_is_a_segment_without_payload() -> None:
    assert read_answer(answer()) == (FLOW, 1000)
    assert read_answer(answer(b"data")) is None


@pytest.mark.parametrize("size", range(60))
def test_what_is_cut_short_is_no_answer(size: int) -> None:
    assert read_answer(answer()[:size]) is None


def test_other_protocols_are_no_answer() -> None:
    packet = bytearray(answer())
    packet[6] = 17
    assert read_answer(bytes(packet)) is None


def test_each_doubling_is_taken_back_for_both_numbers_that_may_be_the_first() -> None:
    """RFC 6069 §4; RFC 4443 §3.1: Destination Unreachable, code 0, with the segment in its quote."""
    packets = kicks(Backoff(FLOW, doublings=3, outstanding=100), next_seq=50)
    assert len(packets) == 6
    assert {int.from_bytes(packet[92:96]) for packet in packets} == {(50 - 100) % 2**32, (50 - 101) % 2**32}
    for packet in packets:
        assert packet[8:40] == B1 + A1
        assert packet[40:42] == bytes([1, 0])
        assert packet[56:88] == A1 + B1
        assert packet[88:92] == bytes([15, 160, 0, 80])
        body = packet[40:]
        assert ones_sum(packet[8:40] + len(body).to_bytes(4) + (58).to_bytes(4) + body) == 0xFFFF


def test_the_number_of_errors_is_bounded() -> None:
    assert len(kicks(Backoff(FLOW, doublings=255, outstanding=0), next_seq=0)) == 2 * BACKOFF_MAX
