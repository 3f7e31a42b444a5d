"""One option a line: name, bytes in hex, value. Written out by hand from the figures of RFC 8684 §3."""

from mpcore.wire.values import (
    AddAddr,
    Dss,
    MalformedMptcp,
    MpCapable,
    MpExperimental,
    MpFail,
    MpFastclose,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MpPrio,
    MptcpOption,
    MpTcpRst,
    MpV0Option,
    RemoveAddr,
)

KEY_A, KEY_B = 0x0123456789ABCDEF, 0xFEDCBA9876543210
A, B = "0123456789abcdef", "fedcba9876543210"
V4, V6 = "0a000102", "20010db8000000000000000000000001"
HMAC8, HMAC20 = "a0a1a2a3a4a5a6a7", "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3"
H8, H20 = bytes.fromhex(HMAC8), bytes.fromhex(HMAC20)

# Canonical forms: parse and emit are inverse.
CANONICAL: list[tuple[str, str, MptcpOption]] = [
    # §3.1
    ("capable-syn", "1e04 01 01", MpCapable()),
    ("capable-syn-checksum", "1e04 01 81", MpCapable(flags=0x81)),
    ("capable-syn-version-2", "1e04 02 01", MpCapable(version=2)),
    ("capable-syn-ack", f"1e0c 01 01 {B}", MpCapable(key_sender=KEY_B)),
    ("capable-ack", f"1e14 01 01 {A} {B}", MpCapable(key_sender=KEY_A, key_receiver=KEY_B)),
    ("capable-data", f"1e16 01 01 {A} {B} 0064", MpCapable(1, 0x01, KEY_A, KEY_B, 100)),
    ("capable-data-checksum", f"1e18 01 81 {A} {B} 0064 beef", MpCapable(1, 0x81, KEY_A, KEY_B, 100, 0xBEEF)),
    # §3.2
    ("join-syn", "1e0c 10 05 11223344 55667788", MpJoinSyn(0x11223344, 0x55667788, 5)),
    ("join-syn-backup", "1e0c 11 05 11223344 55667788", MpJoinSyn(0x11223344, 0x55667788, 5, True)),
    ("join-syn-ack", f"1e10 10 06 {HMAC8} 55667788", MpJoinSynAck(H8, 0x55667788, 6)),
    ("join-syn-ack-backup", f"1e10 11 06 {HMAC8} 55667788", MpJoinSynAck(H8, 0x55667788, 6, True)),
    ("join-ack", f"1e18 10 00 {HMAC20}", MpJoinAck(H20)),
    # §3.3
    ("dss-empty", "1e04 20 00", Dss()),
    ("dss-ack32", "1e08 20 01 deadbeef", Dss(data_ack=0xDEADBEEF, ack64=False)),
    ("dss-ack64", "1e0c 20 03 00000001deadbeef", Dss(data_ack=0x1DEADBEEF)),
    (
        "dss-map32",
        "1e0e 20 04 deadbeef 00000001 05a0",
        Dss(data_seq=0xDEADBEEF, seq64=False, subflow_seq=1, data_len=1440),
    ),
    (
        "dss-map64-checksum",
        "1e14 20 0c 00000001deadbeef 00000001 05a0 1234",
        Dss(data_seq=0x1DEADBEEF, subflow_seq=1, data_len=1440, checksum=0x1234),
    ),
    (
        "dss-ack32-map64-fin",
        "1e16 20 1d 00000007 00000001deadbeef 00000000 0001",
        Dss(7, False, 0x1DEADBEEF, True, 0, 1, data_fin=True),
    ),
    (
        "dss-longest",
        "1e1c 20 0f 0000000000000007 00000001deadbeef 00000001 05a0 1234",
        Dss(7, True, 0x1DEADBEEF, True, 1, 1440, 0x1234),
    ),
    # §3.4.1
    ("add-v4", f"1e10 30 02 {V4} {HMAC8}", AddAddr(2, bytes.fromhex(V4), hmac=H8)),
    ("add-v4-port", f"1e12 30 02 {V4} 1f90 {HMAC8}", AddAddr(2, bytes.fromhex(V4), 8080, hmac=H8)),
    ("add-v6", f"1e1c 30 02 {V6} {HMAC8}", AddAddr(2, bytes.fromhex(V6), hmac=H8)),
    ("add-v6-port", f"1e1e 30 02 {V6} 1f90 {HMAC8}", AddAddr(2, bytes.fromhex(V6), 8080, hmac=H8)),
    ("add-v4-echo", f"1e08 31 02 {V4}", AddAddr(2, bytes.fromhex(V4), echo=True)),
    ("add-v4-port-echo", f"1e0a 31 02 {V4} 1f90", AddAddr(2, bytes.fromhex(V4), 8080, echo=True)),
    ("add-v6-echo", f"1e14 31 02 {V6}", AddAddr(2, bytes.fromhex(V6), echo=True)),
    ("add-v6-port-echo", f"1e16 31 02 {V6} 1f90", AddAddr(2, bytes.fromhex(V6), 8080, echo=True)),
    # §3.4.2
    ("remove-one", "1e04 40 02", RemoveAddr((2,))),
    ("remove-three", "1e06 40 02 03 ff", RemoveAddr((2, 3, 255))),
    # §3.3.8
    ("prio-backup", "1e03 51", MpPrio(True)),
    ("prio-regular", "1e03 50", MpPrio(False)),
    ("prio-version-0", "1e04 51 07", MpPrio(True, 7)),
    # §3.7, §3.5, §3.6
    ("fail", "1e0c 60 00 00000001deadbeef", MpFail(0x1DEADBEEF)),
    ("fastclose", f"1e0c 70 00 {A}", MpFastclose(KEY_A)),
    ("reset", "1e04 80 00", MpTcpRst(0)),
    ("reset-transient", "1e04 81 02", MpTcpRst(2, 1)),
    # §8, and RFC 6824 §3.1, §3.4.1
    ("experimental", "1e05 f1 02 03", MpExperimental(b"\xf1\x02\x03")),
    ("v0-capable-syn", f"1e0c 00 01 {A}", MpV0Option(0, bytes.fromhex("0001" + A))),
    ("v0-capable-ack", f"1e14 00 01 {A} {B}", MpV0Option(0, bytes.fromhex("0001" + A + B))),
    ("v0-add-v4", f"1e08 34 02 {V4}", MpV0Option(3, bytes.fromhex("3402" + V4))),
    ("v0-add-v6-port", f"1e16 36 02 {V6} 1f90", MpV0Option(3, bytes.fromhex("3602" + V6 + "1f90"))),
]

# Reserved bits set: they are ignored, so emission gives other bytes.
RESERVED: list[tuple[str, str, MptcpOption]] = [
    ("join-syn", "1e0c 1f 05 11223344 55667788", MpJoinSyn(0x11223344, 0x55667788, 5, True)),
    ("join-ack", f"1e18 1f ff {HMAC20}", MpJoinAck(H20)),
    ("dss", "1e08 2f e1 deadbeef", Dss(data_ack=0xDEADBEEF, ack64=False)),
    ("dss-width-without-field", "1e04 20 0a", Dss()),
    ("add-echo", f"1e08 3f 02 {V4}", AddAddr(2, bytes.fromhex(V4), echo=True)),
    ("add-nibble-4-with-hmac", f"1e10 34 02 {V4} {HMAC8}", AddAddr(2, bytes.fromhex(V4), hmac=H8)),
    ("remove", "1e04 4f 02", RemoveAddr((2,))),
    ("prio", "1e03 5f", MpPrio(True)),
    ("fail", "1e0c 6f ff 00000001deadbeef", MpFail(0x1DEADBEEF)),
    ("fastclose", f"1e0c 7f ff {A}", MpFastclose(KEY_A)),
]


def _malformed(text: str) -> tuple[str, str, MptcpOption]:
    return text, text, MalformedMptcp(bytes.fromhex(text)[2:])


# One octet short or long, an unknown subtype, fields that the flags deny.
MALFORMED: list[tuple[str, str, MptcpOption]] = [
    _malformed(text)
    for text in (
        "1e02",
        "1e03 01",
        "1e05 01 01 00",
        f"1e0d 01 01 {A} 00",
        f"1e15 01 01 {A} {B} 00",
        f"1e17 01 01 {A} {B} 0064 be",
        "1e04 00 01",
        f"1e16 00 01 {A} {B} 0064",
        "1e03 10",
        "1e0b 10 05 11223344 556677",
        "1e03 20",
        "1e04 20 01",
        "1e08 20 03 deadbeef",
        "1e06 20 00 1234",
        "1e0a 20 01 deadbeef 1234",
        "1e0c 20 04 deadbeef 00000001",
        "1e0d 20 04 deadbeef 00000001 05",
        "1e0f 20 04 deadbeef 00000001 05a0 12",
        "1e11 20 04 deadbeef 00000001 05a0 1234 56",
        f"1e08 30 02 {V4}",
        f"1e0f 30 02 {V4} a0a1a2a3a4a5a6",
        f"1e10 31 02 {V4} {HMAC8}",
        f"1e0a 36 02 {V4} 1f90",
        "1e03 40",
        "1e05 50 07 07",
        "1e0b 60 00 000001deadbeef",
        "1e03 70",
        "1e05 80 00 00",
        "1e04 90 00",
        "1e04 e0 00",
    )
]
