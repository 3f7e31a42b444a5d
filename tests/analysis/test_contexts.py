"""Shim6 contexts: exchanges, locators, and the TCP that travels between locators (RFC 5533, RFC 5534)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.analysis.capture import Frame
from mpcore.analysis.contexts import Context
from mpcore.analysis.document import context_document
from mpcore.analysis.inspection import Inspection
from mpcore.wire import shim6
from mpcore.wire.ip import emit_header
from mpcore.wire.values import MpCapable, Segment, emit_segment
from tests.analysis.conversation import ACK, KEY_A, KEY_B, RAW_LINK, SYN, inspected

A, B = (bytes.fromhex("20010db8000000000000000000000001"), bytes.fromhex("20010db8000000000000000000000002"))
A2, B2 = (
    bytes.fromhex("20010db8000100000000000000000001"),
    bytes.fromhex("20010db8000100000000000000000002"),
)
TAG_A, TAG_B = 0x111111111111, 0x222222222222


def packet(src: bytes, dst: bytes, data: bytes) -> Frame:
    whole = emit_header(src, dst, shim6.PROTOCOL_SHIM6, len(data)) + data
    return Frame(0, RAW_LINK, 0, whole, len(whole))


def message(src: bytes, dst: bytes, value: shim6.Message) -> Frame:
    return packet(src, dst, shim6.emit_message(value))


def locators(*addresses: bytes) -> shim6.LocatorList:
    return shim6.LocatorList(1, tuple(shim6.Locator(one, shim6.VerificationMethod.HBA) for one in addresses))


EXCHANGE = [
    message(A, B, shim6.I1(TAG_A, 7)),
    message(B, A, shim6.R1(7, 8, (shim6.ResponderValidator(b"v"),))),
    message(A, B, shim6.I2(TAG_A, 7, 8, (shim6.ResponderValidator(b"v"), locators(A, A2)))),
    message(B, A, shim6.R2(TAG_B, 7, (locators(B, B2),))),
]


def only(frames: list[Frame]) -> tuple[Inspection, Context]:
    inspection = inspected(frames)
    (context,) = inspection.contexts.found
    return inspection, context


def test_the_handshake_makes_a_context() -> None:
    """RFC 5533 §5.4 to §5.7."""
    _, context = only(EXCHANGE)
    assert (context.ulids, context.tags, context.established) == ((A, B), [TAG_A, TAG_B], True)
    assert [type(one.value).__name__ for one in context.messages] == ["I1", "R1", "I2", "R2"]
    assert [one.sender for one in context.messages] == [0, 1, 0, 1]
    assert context.locators == [(A, A2), (B, B2)]


def test_what_comes_later_is_found_by_its_tag() -> None:
    """RFC 5533 §12.4: by the tag that the receiver allocated."""
    probe = shim6.Probe(TAG_B, 1, (shim6.ProbeEntry(A2, B2, 5),))
    later = [
        message(A2, B2, probe),
        message(B2, A2, shim6.Keepalive(TAG_A)),
        message(A, B, shim6.UpdateRequest(TAG_B, 9, (locators(A2),))),
        message(B, A, shim6.UpdateAck(TAG_A, 9)),
    ]
    _, context = only(EXCHANGE + later)
    assert [one.sender for one in context.messages[4:]] == [0, 1, 0, 1]
    assert context.locators[0] == (A2,)
    document = context_document(context, 0)["messages"]
    assert (document[4]["state"], document[4]["sent"], document[4]["src"]) == (
        "exploring",
        1,
        "2001:db8:1::1",
    )
    assert document[6]["locators"] == ["2001:db8:1::1"]


def test_recovery_keeps_the_context() -> None:
    """RFC 5533 §7.17, §7.18: B has lost the context and makes it again under another tag."""
    later = [
        message(B, A, shim6.R1bis(TAG_B, 30)),
        message(A, B, shim6.I2bis(TAG_A, 40, 30, TAG_B, (shim6.ResponderValidator(b"v"),))),
        message(B, A, shim6.R2(TAG_B + 1, 40)),
    ]
    _, context = only(EXCHANGE + later)
    assert [one.sender for one in context.messages[4:]] == [1, 0, 1]
    assert context.tags == [TAG_A, TAG_B + 1]


def test_ulids_may_differ_from_the_addresses_and_contexts_be_forked() -> None:
    """RFC 5533 §5.15.6, §5.15.7."""
    options = (shim6.UlidPair(A, B), shim6.ForkedInstance(3))
    frames = [message(A2, B2, shim6.I1(TAG_A, 7, options)), *EXCHANGE]
    found = inspected(frames).contexts.found
    assert [(one.ulids, one.instance) for one in found] == [((A, B), 3), ((A, B), 0)]


def test_both_hosts_may_begin() -> None:
    """RFC 5533 §7.4: I1 and I1 cross; both are of one context."""
    _, context = only([message(A, B, shim6.I1(TAG_A, 7)), message(B, A, shim6.I1(TAG_B, 70))])
    assert (context.tags, [one.sender for one in context.messages]) == ([TAG_A, TAG_B], [0, 1])


def shimmed(src: bytes, dst: bytes, tag: int, segment: Segment) -> Frame:
    header = shim6.emit_payload_header(shim6.PayloadHeader(6, tag))
    return packet(src, dst, header + emit_segment(segment)[40:])


def test_mptcp_between_locators_is_mptcp_between_ulids() -> None:
    """RFC 5533 §5.2: the connection is one of ULIDs, whatever the packets have."""
    syn = Segment(6, A, B, 1, 2, 0, 0, SYN, 0, (MpCapable(),))
    answer = Segment(6, B, A, 2, 1, 0, 1, SYN | ACK, 0, (MpCapable(key_sender=KEY_B),))
    third = Segment(6, A, B, 1, 2, 1, 1, ACK, 0, (MpCapable(key_sender=KEY_A, key_receiver=KEY_B),))
    plain = emit_segment(syn)
    frames = [
        *EXCHANGE,
        Frame(0, RAW_LINK, 0, plain, len(plain)),
        shimmed(B2, A2, TAG_A, answer),
        shimmed(A2, B2, TAG_B, third),
    ]
    inspection, context = only(frames)
    (connection,) = inspection.tracker.connections
    assert (connection.ends, connection.directions[0].key) == (((A, 1), (B, 2)), KEY_A)
    assert dict(context.packets) == {(1, B2, A2): 1, (0, A2, B2): 1}
    assert inspection.checksums == {"right": 3}
    assert context_document(context, 0)["payload"][0]["bytes"] == len(emit_segment(answer)) - 40


def test_what_belongs_to_no_context_is_counted() -> None:
    inspection = inspected([message(A, B, shim6.Keepalive(5)), message(A, B, shim6.R1(1, 2)), EXCHANGE[0]])
    assert inspection.contexts.unknown == 2


@given(st.binary(max_size=80), st.sampled_from([b"", bytes([59, 1, 1, 0]), bytes([6, 0, 0x80])]))
def test_any_bytes_disturb_nothing(data: bytes, start: bytes) -> None:
    inspection = inspected([*EXCHANGE, packet(A, B, start + data)])
    assert inspection.contexts.found[0].established
    assert inspection.packets == 5


def test_a_wrong_checksum_is_malformed() -> None:
    """RFC 5533 §12.3."""
    data = bytearray(shim6.emit_message(shim6.I1(TAG_A, 7)))
    data[4] ^= 1
    inspection = inspected([packet(A, B, bytes(data))])
    assert (inspection.contexts.malformed, inspection.contexts.found) == (1, [])


@pytest.mark.parametrize("size", range(16))
def test_a_cut_message_is_malformed(size: int) -> None:
    data = shim6.emit_message(shim6.I1(TAG_A, 7))[:size]
    inspection = inspected([packet(A, B, data)])
    assert (inspection.contexts.malformed, inspection.contexts.unknown) == (1, 0)
