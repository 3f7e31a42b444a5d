"""Every Shim6 message and option against octets put together by hand from the figures of the RFCs."""

import struct

import pytest

from mpcore.errors import WireError
from mpcore.wire.shim6 import (
    I1,
    I2,
    R1,
    R2,
    CgaParameterData,
    CgaSignature,
    ErrorMessage,
    ForkedInstance,
    I2bis,
    Keepalive,
    KeepaliveTimeout,
    Locator,
    LocatorList,
    LocatorPreferences,
    Message,
    MessageType,
    OptionType,
    PayloadHeader,
    Preference,
    PreferenceFlag,
    Probe,
    ProbeEntry,
    R1bis,
    ReachabilityState,
    ResponderValidator,
    Shim6Option,
    UlidPair,
    UnknownMessage,
    UnknownOption,
    UpdateAck,
    UpdateRequest,
    VerificationMethod,
    emit_message,
    emit_payload_header,
    parse_message,
    parse_payload_header,
)

TAG, OTHER_TAG = 0x7ABBCCDDEEFF, 0x010203040506
TAG_HEX, OTHER_HEX = "7abbccddeeff", "010203040506"
NONCE, ANSWER = 0xDEADBEEF, 0x01020304
A = bytes.fromhex("20010db8000100000000000000000001")
B = bytes.fromhex("20010db8000200000000000000000002")


def ones_complement(data: bytes) -> int:
    """Compute the Internet checksum the slow way, word after word."""
    total = 0
    for (word,) in struct.iter_unpack(">H", data):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def assemble(kind: int, after_checksum: str, code: int = 0, next_header: int = 59) -> bytes:
    """Return a control message from its octets 6 and on, in hex."""
    body = bytes.fromhex(after_checksum)
    size = 6 + len(body)
    assert size % 8 == 0
    head = struct.pack(">BBBB", next_header, size // 8 - 1, kind, code << 1)
    return head + struct.pack(">H", ones_complement(head + b"\0\0" + body)) + body


FIXED_PARTS: list[tuple[Message, bytes]] = [
    # RFC 5533 §5.4 to §5.11
    (I1(TAG, NONCE), assemble(1, TAG_HEX + "deadbeef")),
    (R1(NONCE, ANSWER), assemble(2, "0000" + "deadbeef" + "01020304")),
    (I2(TAG, NONCE, ANSWER), assemble(3, TAG_HEX + "deadbeef" + "01020304" + "00000000")),
    (R2(TAG, NONCE), assemble(4, TAG_HEX + "deadbeef")),
    (R1bis(TAG, ANSWER), assemble(5, TAG_HEX + "01020304")),
    (
        I2bis(TAG, NONCE, ANSWER, OTHER_TAG),
        assemble(6, TAG_HEX + "deadbeef" + "01020304" + "000000000000" + OTHER_HEX),
    ),
    (UpdateRequest(TAG, NONCE), assemble(64, TAG_HEX + "deadbeef")),
    (UpdateAck(TAG, NONCE), assemble(65, TAG_HEX + "deadbeef")),
    # RFC 5534 §5.1: reserved where others have a nonce
    (Keepalive(TAG), assemble(66, TAG_HEX + "00000000")),
    # RFC 5534 §5.2: received in the high nibble, then the sent probes first
    (
        Probe(
            TAG,
            ReachabilityState.INBOUND_OK,
            (ProbeEntry(A, B, NONCE, 1), ProbeEntry(B, A, 2)),
            (ProbeEntry(B, B, ANSWER, 3),),
        ),
        assemble(
            67,
            TAG_HEX + "12" + "80" + "0000"
            + A.hex() + B.hex() + "deadbeef" + "00000001"
            + B.hex() + A.hex() + "00000002" + "00000000"
            + B.hex() + B.hex() + "01020304" + "00000003",
        ),
    ),
    # RFC 5533 §5.14: the code has the place of the reserved bits, the pointer that of the tag
    (
        ErrorMessage(1, 64, bytes.fromhex("60000000000d8c40") + A + B + b"thirteen bits"),
        assemble(68, "0040" + "60000000000d8c40" + A.hex() + B.hex() + b"thirteen bits".hex() + "000000", 1),
    ),
    (UnknownMessage(60, 5, b"0123456789"), assemble(60, b"0123456789".hex(), 5)),
]  # fmt: skip


@pytest.mark.parametrize(("message", "octets"), FIXED_PARTS, ids=lambda value: type(value).__name__)
def test_fixed_part(message: Message, octets: bytes) -> None:
    assert emit_message(message) == octets
    assert parse_message(octets) == message


LIST_OF_TWO = LocatorList(
    0x0A0B0C0D, (Locator(A, VerificationMethod.HBA), Locator(B, VerificationMethod.CGA))
)
OPTIONS: list[tuple[Message, Shim6Option, str]] = [
    # RFC 5533 §5.15.1: 5 octets and their head make 9, so 7 of padding
    (R1(0, 0), ResponderValidator(b"valid"), "0002" "0005" "76616c6964" "00000000000000"),
    (R1(0, 0), ResponderValidator(b""), "0002" "0000" "00000000"),
    (R1(0, 0), ResponderValidator(b"four"), "0002" "0004" "666f7572"),
    # RFC 5533 §5.15.2: 5 + 2 + 5 of padding + 32 = 44, padding counted
    (R2(0, 0), LIST_OF_TWO, "0004" "002c" "0a0b0c0d" "02" "0102" "0000000000" + A.hex() + B.hex()),
    (R2(0, 0), LocatorList(1, ()), "0004" "000c" "00000001" "00" "00000000000000"),
    (R2(0, 0), LocatorList(1, (Locator(A, 1),) * 7), "0004" "007c" "00000001" "07" + "01" * 7 + A.hex() * 7),
    (
        R2(0, 0),
        LocatorList(1, (Locator(A, 1),) * 8),
        "0004" "0094" "00000001" "08" + "01" * 8 + "00" * 7 + A.hex() * 8,
    ),
    # RFC 5533 §5.15.3
    (
        R2(0, 0),
        LocatorPreferences(
            7, (Preference(PreferenceFlag.BROKEN, 1, 2), Preference(PreferenceFlag.TRANSIENT, 3, 4))
        ),
        "0006" "000b" "00000007" "03" "010102" "020304" "00",
    ),
    (R2(0, 0), LocatorPreferences(7, (Preference(3),), 1), "0006" "0006" "00000007" "01" "03" "000000000000"),
    (
        R2(0, 0),
        LocatorPreferences(7, (Preference(0, 9),), 2),
        "0006" "0007" "00000007" "02" "0009" "0000000000",
    ),
    # RFC 5533 §5.15.4 to §5.15.7
    (R2(0, 0), CgaParameterData(b"pds"), "0008" "0003" "706473" "00"),
    (R2(0, 0), CgaSignature(b"signed"), "000a" "0006" "7369676e6564" "000000000000"),
    (I1(0, 0), UlidPair(A, B), "000c" "0024" "00000000" + A.hex() + B.hex()),
    (I1(0, 0), ForkedInstance(0xCAFEBABE), "000e" "0004" "cafebabe"),
    # RFC 5534 §5.3
    (R2(0, 0), KeepaliveTimeout(15), "0014" "0004" "0000" "000f"),
    # RFC 5533 §5.15: the type has 15 bits, the critical bit is the last
    (Keepalive(0), UnknownOption(0x7FFF, b"", critical=True), "ffff" "0000" "00000000"),
    (Keepalive(0), UnknownOption(8, b"x" * 12), "0010" "000c" + "78" * 12),
]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "option", "octets"), OPTIONS, ids=[type(option).__name__ for _, option, _ in OPTIONS]
)
def test_option(message: Message, option: Shim6Option, octets: str) -> None:
    bare = emit_message(message)
    full = assemble(bare[2], bare[6:].hex() + octets)
    with_option = type(message)(**fields(message) | {"options": (option,)})
    assert emit_message(with_option) == full
    assert parse_message(full) == with_option


def fields(message: Message) -> dict[str, object]:
    return {name: getattr(message, name) for name in message.__slots__}


def test_payload_header() -> None:
    """RFC 5533 §5.2: no length, bit P set, and the rest of the 8 octets is the tag."""
    octets = bytes.fromhex("0600" "fabbccddeeff")  # fmt: skip
    assert emit_payload_header(PayloadHeader(6, TAG)) == octets
    assert parse_payload_header(octets + b"a segment") == PayloadHeader(6, TAG)
    assert emit_payload_header(PayloadHeader(44, 0)) == bytes.fromhex("2c00800000000000")


@pytest.mark.parametrize("octets", ["", "06008000000000", "0601800000000000", "0600000000000000"])
def test_no_payload_header(octets: str) -> None:
    with pytest.raises(WireError):
        parse_payload_header(bytes.fromhex(octets))


def test_numbers() -> None:
    """RFC 5533 §5.3, §5.15 and §5.15.2: HBA is 1 and CGA is 2, as table 4 has it."""
    assert [int(kind) for kind in MessageType] == [1, 2, 3, 4, 5, 6, 64, 65, 66, 67, 68]
    assert [int(kind) for kind in OptionType] == [1, 2, 3, 4, 5, 6, 7, 10]
    assert (VerificationMethod.HBA, VerificationMethod.CGA) == (1, 2)
