"""What the analysis says of conversations whose every byte is known."""

import pytest

from mpcore.analysis.model import Check, Fallback, Subflow
from mpcore.analysis.reordering import reorder_costs
from mpcore.mptcp import keys
from mpcore.store.reorder import ALGORITHMS
from mpcore.wire.values import (
    AddAddr,
    Dss,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MpPrio,
    MpTcpRst,
    MpV0Option,
    RemoveAddr,
    Timestamps,
    UnknownOption,
)
from tests.analysis.conversation import (
    ACK,
    FIN,
    KEY_A,
    KEY_B,
    RST,
    SYN,
    Conversation,
    Wire,
    checksum_of,
    first_byte,
    inspected,
    join_hmac,
    token,
)

V4 = b"\x0a\0\0\x09"


@pytest.fixture
def talk() -> Conversation:
    conversation = Conversation()
    conversation.open()
    return conversation


def test_keys_give_tokens_and_first_numbers(talk: Conversation) -> None:
    """RFC 8684 §3.1."""
    connection = talk.connection()
    assert (connection.version, connection.start_captured, connection.fallback) == (1, True, None)
    assert [one.key for one in connection.directions] == [KEY_A, KEY_B]
    assert [one.token for one in connection.directions] == [token(KEY_A), token(KEY_B)]
    assert [one.first for one in connection.directions] == [first_byte(KEY_A), first_byte(KEY_B)]
    assert connection.ends == (talk.first.a, talk.first.b)
    assert connection.subflows[0].established


def test_plain_tcp_is_counted_and_left_alone(talk: Conversation) -> None:
    plain = Wire(talk.frames, a=(b"\x0a\0\0\7", 1))
    plain.send(0, Timestamps(1, 2), flags=SYN)
    plain.send(1, flags=SYN | ACK)
    plain.send(0, payload=b"hello")
    before = Wire(talk.frames, a=(b"\x0a\0\0\x08", 1))
    before.send(0, payload=b"began before the capture")
    before.send(1)
    inspection = talk.inspected()
    assert (inspection.tracker.plain, len(inspection.tracker.connections)) == (2, 1)


def joined(talk: Conversation) -> Subflow:
    return talk.connection().subflows[1]


def test_a_join_is_verified(talk: Conversation) -> None:
    """RFC 8684 §3.2: token and both HMACs."""
    talk.join(backup=True)
    subflow = joined(talk)
    assert (subflow.joined, subflow.direction, subflow.established) == (True, 0, True)
    assert subflow.token == token(KEY_B)
    assert {subflow.token_check, subflow.synack_check, subflow.ack_check} == {Check.RIGHT}
    assert (subflow.sides[0].address_id, subflow.sides[0].backup) == (1, True)


@pytest.mark.parametrize("spoil", ["synack", "ack"])
def test_a_wrong_hmac_is_told(talk: Conversation, spoil: str) -> None:
    """RFC 8684 §3.2."""
    talk.join(spoil=spoil)
    subflow = joined(talk)
    checks = {"synack": subflow.synack_check, "ack": subflow.ack_check}
    assert checks[spoil] is Check.WRONG
    assert list(checks.values()).count(Check.RIGHT) == 1


def test_the_responder_may_join_too(talk: Conversation) -> None:
    """Its token names the initiator's key, and the directions are the other way round."""
    wire = Wire(talk.frames, a=(b"\x0a\0\0\2", 50), b=(b"\x0a\0\0\1", 60))
    wire.send(0, MpJoinSyn(token(KEY_A), 1, 3), flags=SYN)
    wire.send(1, MpJoinSynAck(join_hmac((KEY_A, KEY_B), (2, 1))[:8], 2, 0), flags=SYN | ACK)
    wire.send(0, MpJoinAck(join_hmac((KEY_B, KEY_A), (1, 2))[:20]))
    wire.send(0, Dss(data_seq=first_byte(KEY_B), subflow_seq=1, data_len=3), payload=b"abc")
    subflow = joined(talk)
    assert (subflow.direction, subflow.synack_check, subflow.ack_check) == (1, Check.RIGHT, Check.RIGHT)
    assert [one.data.total for one in talk.connection().directions] == [0, 3]


def test_a_join_to_a_connection_before_the_capture_stays_unverified() -> None:
    talk = Conversation()
    talk.join(1)
    talk.join(2)
    connection = talk.connection()
    assert [one.token_check for one in connection.subflows] == [Check.UNKNOWN] * 2
    assert [one.ack_check for one in connection.subflows] == [Check.UNKNOWN] * 2
    assert connection.directions[1].token == token(KEY_B)


def test_data_on_two_subflows(talk: Conversation) -> None:
    """RFC 8684 §3.3.1: what came over which subflow, and in which order."""
    other = talk.join()
    talk.first.data(0, 0, b"a" * 10)
    talk.first.data(0, 20, b"c" * 10)
    other.data(0, 10, b"b" * 10)
    direction = talk.connection().directions[0]
    assert (direction.data.starts, direction.data.ends) == ([0], [30])
    assert (direction.mappings, direction.pieces, direction.early_pieces, direction.early_bytes) == (
        3,
        3,
        1,
        10,
    )
    assert (direction.expected, direction.reinjected_bytes, direction.unmapped_bytes) == (30, 0, 0)
    assert list(direction.subflows) == [0, 0, 1]
    assert [one.sides[0].mapped.total for one in talk.connection().subflows] == [20, 10]


def test_a_retransmission_is_no_reinjection(talk: Conversation) -> None:
    other = talk.join()
    talk.first.data(0, 0, b"a" * 10)
    talk.first.data(0, 0, b"a" * 10, at=1)
    connection = talk.connection()
    side = connection.subflows[0].sides[0]
    assert (side.retransmitted_segments, side.retransmitted_bytes, side.sent.total) == (1, 10, 10)
    assert connection.directions[0].reinjected_bytes == 0
    other.data(0, 4, b"a" * 10)
    direction = talk.connection().directions[0]
    assert (direction.reinjected_bytes, direction.data.total) == (6, 14)


def test_a_repaired_loss_is_late(talk: Conversation) -> None:
    """The original never reached the point of capture."""
    talk.first.data(0, 10, b"b" * 10, at=11)
    talk.first.data(0, 0, b"a" * 10, at=1)
    side = talk.connection().subflows[0].sides[0]
    assert (side.late_segments, side.retransmitted_segments) == (1, 0)


def test_one_mapping_for_many_segments(talk: Conversation) -> None:
    """RFC 8684 §3.3.1: one mapping may span segments, and be repeated in them."""
    mapping = Dss(data_seq=first_byte(KEY_A), subflow_seq=1, data_len=30)
    talk.first.send(0, mapping, payload=b"x" * 10)
    talk.first.send(0, payload=b"y" * 10)
    talk.first.send(0, mapping, payload=b"z" * 10)
    direction = talk.connection().directions[0]
    assert (direction.mappings, direction.data.total, direction.unmapped_bytes) == (1, 30, 0)


def test_one_segment_with_the_end_of_a_mapping_and_the_next(talk: Conversation) -> None:
    mapping = Dss(data_seq=first_byte(KEY_A), subflow_seq=1, data_len=10)
    talk.first.send(0, mapping, payload=b"x" * 5)
    following = Dss(data_seq=first_byte(KEY_A) + 10, subflow_seq=11, data_len=10)
    talk.first.send(0, following, payload=b"y" * 15)
    direction = talk.connection().directions[0]
    assert (direction.mappings, direction.data.total, direction.unmapped_bytes) == (2, 20, 0)


def test_32_bits_mean_the_nearest_number() -> None:
    """RFC 8684 §3.3.1: a number of 32 bits is expanded by what is expected."""
    talk = Conversation()
    talk.open()
    for offset in range(0, 5_000_000_000, 1_000_000_000):
        talk.first.data(0, offset, b"x", data_seq=(first_byte(KEY_A) + offset) % 2**32, seq64=False)
        acked = (first_byte(KEY_A) + offset + 1) % 2**32
        talk.first.send(1, Dss(data_ack=acked, ack64=False))
    direction = talk.connection().directions[0]
    assert direction.data.starts == list(range(0, 5_000_000_000, 1_000_000_000))
    assert direction.acked == 4_000_000_001


def test_sequence_numbers_wrap() -> None:
    """The subflow's numbers pass 2**32, and those of the data are relative to the ISN."""
    talk = Conversation()
    talk.first.isn = (2**32 - 5, 2**32 - 1)
    talk.open()
    for offset in range(0, 30, 10):
        talk.first.data(0, offset, b"x" * 10)
    side = talk.connection().subflows[0].sides[0]
    assert (side.sent.starts, side.sent.ends) == ([1], [31])
    assert side.retransmitted_segments == 0


def test_data_with_the_third_ack() -> None:
    """RFC 8684 §3.1: MP_CAPABLE with a length maps the first bytes."""
    talk = Conversation()
    talk.first.send(0, MpCapable(), flags=SYN)
    talk.first.send(1, MpCapable(key_sender=KEY_B), flags=SYN | ACK)
    talk.first.send(0, MpCapable(1, 1, KEY_A, KEY_B, data_len=5), payload=b"first")
    direction = talk.connection().directions[0]
    assert (direction.data.starts, direction.data.ends, direction.mappings) == ([0], [5], 1)


def test_a_key_known_from_the_third_ack_alone() -> None:
    """A capture that begins with the third ACK still knows both keys, and then verifies joins."""
    talk = Conversation()
    talk.first.send(0, MpCapable(key_sender=KEY_A, key_receiver=KEY_B))
    talk.join()
    connection = talk.connection()
    assert not connection.start_captured
    assert joined(talk).ack_check is Check.RIGHT


def test_a_connection_before_the_capture_is_told_from_its_data() -> None:
    talk = Conversation()
    talk.first.data(0, 5000, b"x" * 10)
    talk.first.data(0, 5010, b"y" * 10)
    talk.first.data(1, 0, b"z" * 10)
    connection = talk.connection()
    assert (connection.start_captured, connection.fallback) == (False, None)
    assert [one.data.total for one in connection.directions] == [20, 10]


def test_data_fin_counts_one_number(talk: Conversation) -> None:
    """RFC 8684 §3.3.3: with the last data, or alone."""
    talk.first.data(0, 0, b"abc", data_len=4, data_fin=True)
    seq = first_byte(KEY_B)
    talk.first.send(
        1, Dss(data_ack=first_byte(KEY_A) + 4, data_seq=seq, subflow_seq=0, data_len=1, data_fin=True)
    )
    there, back = talk.connection().directions
    assert (there.data.total, there.fin_offset, there.acked, there.missed_bytes) == (3, 3, 4, 0)
    assert (back.data.total, back.fin_offset, back.mappings) == (0, 0, 0)


def test_what_is_acknowledged_but_not_there_was_missed(talk: Conversation) -> None:
    """RFC 8684 §3.3.2: a DATA_ACK proves that the data arrived, so the hole is the capture's."""
    talk.first.data(0, 0, b"a" * 10)
    talk.first.data(0, 50, b"c" * 10, at=51)
    talk.first.send(1, Dss(data_ack=first_byte(KEY_A) + 50))
    talk.first.data(0, 60, b"d" * 10, at=61)
    direction = talk.connection().directions[0]
    assert (direction.missed_bytes, direction.expected) == (40, 70)
    assert (direction.pieces, direction.early_pieces) == (3, 1)
    costs = {cost.algorithm: cost for cost in reorder_costs(direction)}
    assert {cost.inserts for cost in costs.values()} == {1}


def test_checksums_of_mappings(talk: Conversation) -> None:
    """RFC 8684 §3.3.1: over one segment, over several, and wrong."""
    first = talk.first
    first.data(0, 0, b"whole", checksum=checksum_of(0, 1, b"whole", KEY_A))
    sum_of_both = checksum_of(5, 6, b"in two parts", KEY_A)
    first.data(0, 5, b"in two", data_len=12, checksum=sum_of_both)
    first.send(0, payload=b" parts")
    first.data(0, 17, b"spoilt", checksum=1)
    first.data(0, 23, b"begun", data_len=9, checksum=1)
    first.data(0, 32, b"!", checksum=checksum_of(32, 33, b"!", KEY_A), at=33)
    checksums = talk.connection().directions[0].checksums
    assert checksums == {Check.RIGHT: 3, Check.WRONG: 1, Check.UNKNOWN: 1}


def test_a_checksum_with_32_bits_on_the_wire_covers_64(talk: Conversation) -> None:
    """RFC 8684 §3.3.1."""
    seq = first_byte(KEY_A) % 2**32
    talk.first.data(0, 0, b"data", data_seq=seq, seq64=False, checksum=checksum_of(0, 1, b"data", KEY_A))
    assert talk.connection().directions[0].checksums == {Check.RIGHT: 1}


def test_addresses_and_priorities(talk: Conversation) -> None:
    """RFC 8684 §3.4.1, §3.4.2, §3.3.8."""
    right = keys.add_addr_hmac(KEY_B, KEY_A, 2, V4, 80)
    talk.first.send(1, AddAddr(2, V4, 80, hmac=right))
    talk.first.send(0, AddAddr(2, V4, 80, echo=True))
    talk.first.send(1, AddAddr(3, V4, hmac=bytes(8)))
    talk.first.send(1, RemoveAddr((2, 3)))
    talk.first.send(0, MpPrio(True))
    connection = talk.connection()
    assert [(one.kind, one.direction) for one in connection.events] == [
        ("add-addr", 1), ("echo", 0), ("add-addr", 1), ("remove-addr", 1), ("prio", 0),
    ]  # fmt: skip
    assert [one.details.get("hmac") for one in connection.events][:3] == [Check.RIGHT, None, Check.WRONG]
    assert connection.events[3].details["ids"] == [2, 3]
    assert connection.subflows[0].sides[0].backup


def test_how_subflows_end(talk: Conversation) -> None:
    """RFC 8684 §3.5, §3.6."""
    other = talk.join()
    other.send(0, MpTcpRst(5, 0), flags=RST | ACK)
    talk.first.send(0, MpFastclose(KEY_B), flags=ACK)
    talk.first.send(1, flags=FIN | ACK)
    connection = talk.connection()
    assert (connection.subflows[1].sides[0].reset, connection.subflows[1].sides[0].reset_reason) == (7, 5)
    assert connection.subflows[0].sides[1].fin == 9
    (fastclose,) = connection.events
    assert (fastclose.kind, fastclose.details["key"]) == ("fastclose", Check.RIGHT)


def test_a_port_used_again_is_another_connection(talk: Conversation) -> None:
    talk.first.send(0, flags=FIN | ACK)
    again = Wire(talk.frames, isn=(70_000, 80_000))
    again.send(0, MpCapable(), flags=SYN)
    again.send(0, MpCapable(), flags=SYN)  # a repetition is not
    again.send(1, MpCapable(key_sender=1), flags=SYN | ACK)
    again.send(0, MpCapable(key_sender=2, key_receiver=1))
    connections = talk.inspected().tracker.connections
    assert [one.directions[0].key for one in connections] == [KEY_A, 2]


# Fallback


def fallback_of(talk: Conversation) -> tuple[Fallback, int] | None:
    return talk.connection().fallback


def test_fallback_by_the_syn_ack() -> None:
    """RFC 8684 §3.1."""
    talk = Conversation()
    talk.first.send(0, MpCapable(), flags=SYN)
    talk.first.send(1, flags=SYN | ACK)
    talk.first.send(0, payload=b"plain")
    assert fallback_of(talk) == (Fallback.SYN_ACK, 2)


def test_fallback_by_a_syn_without_the_option() -> None:
    """RFC 8684 §3.7: a SYN that gets no answer is repeated without MP_CAPABLE."""
    talk = Conversation()
    talk.first.send(0, MpCapable(), flags=SYN)
    talk.first.send(0, flags=SYN)
    talk.first.send(1, flags=SYN | ACK)
    assert fallback_of(talk) == (Fallback.SYN_REPEATED, 2)


def test_fallback_by_the_third_ack() -> None:
    """RFC 8684 §3.1."""
    talk = Conversation()
    talk.first.send(0, MpCapable(), flags=SYN)
    talk.first.send(1, MpCapable(key_sender=KEY_B), flags=SYN | ACK)
    talk.first.send(0)
    talk.first.send(0, payload=b"plain")
    assert fallback_of(talk) == (Fallback.THIRD_ACK, 3)


def test_fallback_by_data_without_dss(talk: Conversation) -> None:
    """RFC 8684 §3.7."""
    talk.first.send(1, payload=b"plain")
    talk.first.data(0, 0, b"mapped")
    assert fallback_of(talk) == (Fallback.NO_DSS, 4)


def test_fallback_by_a_checksum(talk: Conversation) -> None:
    """RFC 8684 §3.7: MP_FAIL and an infinite mapping."""
    talk.first.data(0, 0, b"mapped")
    talk.first.send(1, MpFail(first_byte(KEY_A)))
    talk.first.data(0, 6, b"for ever", data_len=0, checksum=0)
    talk.first.send(0, payload=b"without options")
    connection = talk.connection()
    assert connection.fallback == (Fallback.CHECKSUM, 5)
    assert connection.directions[0].data.total == 6 + 8 + 15


def test_fallback_by_an_infinite_mapping(talk: Conversation) -> None:
    """RFC 8684 §3.7."""
    talk.first.data(0, 0, b"for ever", data_len=0)
    assert fallback_of(talk) == (Fallback.INFINITE, 4)


def test_a_late_option_is_no_fallback(talk: Conversation) -> None:
    """One segment without a mapping, in a connection that has mappings, is an oddity only."""
    talk.first.data(0, 0, b"mapped")
    talk.first.send(0, payload=b"odd")
    connection = talk.connection()
    assert connection.fallback is None
    assert (connection.directions[0].unmapped_bytes, connection.directions[0].unmapped_packet) == (3, 5)


# Version 0, and what is malformed


def v0(*fields: bytes) -> MpV0Option:
    return MpV0Option(0, b"\x00\x81" + b"".join(fields))


def test_version_0() -> None:
    """RFC 6824 §3.1, §3.2: keys in the SYN already, SHA-1, checksums."""
    talk = Conversation()
    key_a, key_b = KEY_A.to_bytes(8, "big"), KEY_B.to_bytes(8, "big")
    talk.first.send(0, v0(key_a), flags=SYN)
    talk.first.send(1, v0(key_b), flags=SYN | ACK)
    talk.first.send(0, v0(key_a, key_b))
    wire = Wire(talk.frames, a=(b"\x0a\0\0\5", 50))
    wire.send(0, MpJoinSyn(token(KEY_B, 0), 1, 3), flags=SYN)
    wire.send(1, MpJoinSynAck(join_hmac((KEY_B, KEY_A), (2, 1), 0)[:8], 2, 0), flags=SYN | ACK)
    wire.send(0, MpJoinAck(join_hmac((KEY_A, KEY_B), (1, 2), 0)[:20]))
    mapping = Dss(data_seq=first_byte(KEY_A, 0), subflow_seq=1, data_len=4)
    wire.send(0, mapping, payload=b"data")
    wire.send(1, MpV0Option(3, b"\x34\x07" + V4))
    connection = talk.connection()
    assert (connection.version, connection.checksum_required, connection.fallback) == (0, True, None)
    subflow = connection.subflows[1]
    assert {subflow.token_check, subflow.synack_check, subflow.ack_check} == {Check.RIGHT}
    assert connection.directions[0].data.starts == [0]
    assert connection.events[0].details == {"id": 7, "address": V4, "port": None, "subflow": 2}


def test_malformed_options_are_counted_and_ignored(talk: Conversation) -> None:
    """RFC 8684 §3: an option of impossible length means nothing."""
    talk.first.send(0, UnknownOption(30, b"\x20\x01"))
    talk.first.send(0, UnknownOption(30, b"\x90"))
    spoilt = talk.frames[-1]
    data = bytearray(spoilt.data)
    data[41] = 60  # the length octet of the option, beyond the header
    talk.frames.append(spoilt._replace(data=bytes(data)))
    inspection = talk.inspected()
    assert (inspection.tracker.malformed_options, inspection.tracker.unreadable_options) == (2, 1)
    assert inspection.tracker.connections[0].fallback is None


# Reordering


def test_every_algorithm_is_tried_on_what_was_out_of_order(talk: Conversation) -> None:
    other = talk.join()
    for block in range(0, 2000, 200):
        other.data(0, block + 100, b"x" * 100)
        talk.first.data(0, block, b"x" * 100)
    direction = talk.connection().directions[0]
    costs = reorder_costs(direction)
    assert tuple(cost.algorithm for cost in costs) == ALGORITHMS
    assert {cost.inserts for cost in costs} == {direction.early_pieces} == {10}
    assert {cost.max_bytes for cost in costs} == {100}


def test_without_data_nothing_is_tried(talk: Conversation) -> None:
    assert reorder_costs(talk.connection().directions[0]) == []


def test_frames_that_are_no_segments_disturb_nothing(talk: Conversation) -> None:
    junk = [frame._replace(data=frame.data[:25]) for frame in talk.frames]
    assert inspected([*junk, *talk.frames]).segments == 3
