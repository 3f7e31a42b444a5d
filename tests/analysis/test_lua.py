"""The Lua dissector that is shipped, tried by tshark on every message and option of Shim6."""

import shutil
import struct
import subprocess
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner

from mpcore.cli.inspect import inspect_command
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
    PayloadHeader,
    Preference,
    Probe,
    ProbeEntry,
    R1bis,
    ResponderValidator,
    UlidPair,
    UnknownMessage,
    UnknownOption,
    UpdateAck,
    UpdateRequest,
    emit_message,
    emit_payload_header,
)
from tests.helpers.shim6 import SHIM6, UDP, ip6

TAG, OTHER_TAG, NONCE, ANSWER = 0x7ABBCCDDEEFF, 0x010203040506, 0xDEADBEEF, 0x01020304
A = bytes.fromhex("20010db8000100000000000000000001")
B = bytes.fromhex("20010db8000200000000000000000002")
SCRIPT = str(files("mpcore") / "analysis" / "shim6.lua")
_RAW_IP = 101

LIST = LocatorList(7, (Locator(A, 1), Locator(B, 2), Locator(B, 1)))
PREFERENCES = LocatorPreferences(7, (Preference(1, 2, 3), Preference(2, 5, 6), Preference(0, 8, 9)))
CLAIM = (LIST, PREFERENCES, CgaParameterData(b"p" * 30), CgaSignature(b"s" * 9), KeepaliveTimeout(10))
VALIDATOR = ResponderValidator(b"opaque")
WHOSE = (UlidPair(A, B), ForkedInstance(0xF11))
ENTRY, REPORT = ProbeEntry(A, B, NONCE, 1), ProbeEntry(B, A, ANSWER, 2)

# Message, and what fields have to say of it, as tshark prints them.
CASES: dict[str, tuple[Message, dict[str, str]]] = {
    "i1": (
        I1(TAG, NONCE, WHOSE),
        {
            "ct.initiator": "0x00007abbccddeeff",
            "nonce.initiator": "0xdeadbeef",
            "opt.ulid.sender": "2001:db8:1::1",
            "opt.ulid.receiver": "2001:db8:2::2",
            "opt.fii": "3857",
        },
    ),
    "r1": (
        R1(NONCE, ANSWER, (VALIDATOR,)),
        {
            "nonce.initiator": "0xdeadbeef",
            "nonce.responder": "0x01020304",
            "opt.type": "1",
            "opt.data": b"opaque".hex(),
        },
    ),
    "i2": (
        I2(TAG, NONCE, ANSWER, (VALIDATOR, *CLAIM)),
        {
            "ct.initiator": "0x00007abbccddeeff",
            "nonce.responder": "0x01020304",
            "opt.type": "1,2,3,4,5,10",
            "opt.generation": "0x00000007,0x00000007",
            "opt.locators": "3",
            "opt.method": "1,2,1",
            "opt.locator": "2001:db8:1::1,2001:db8:2::2,2001:db8:2::2",
            "opt.priority": "2,5,8",
            "opt.weight": "3,6,9",
            "opt.timeout": "10",
        },
    ),
    "r2": (R2(TAG, NONCE, CLAIM), {"ct.responder": "0x00007abbccddeeff", "opt.type": "2,3,4,5,10"}),
    "r1bis": (
        R1bis(TAG, ANSWER, (VALIDATOR,)),
        {"ct.packet": "0x00007abbccddeeff", "nonce.responder": "0x01020304", "opt.type": "1"},
    ),
    "i2bis": (
        I2bis(OTHER_TAG, NONCE, ANSWER, TAG, (VALIDATOR, *WHOSE)),
        {
            "ct.initiator": "0x0000010203040506",
            "ct.packet": "0x00007abbccddeeff",
            "opt.type": "1,6,7",
        },
    ),
    "update-request": (
        UpdateRequest(TAG, NONCE, CLAIM),
        {"ct.receiver": "0x00007abbccddeeff", "nonce.request": "0xdeadbeef", "opt.type": "2,3,4,5,10"},
    ),
    "update-ack": (UpdateAck(TAG, NONCE), {"nonce.request": "0xdeadbeef", "opt.type": ""}),
    "keepalive": (Keepalive(TAG), {"ct.receiver": "0x00007abbccddeeff"}),
    "probe": (
        Probe(TAG, 2, (ENTRY,), (REPORT, ENTRY)),
        {
            "ct.receiver": "0x00007abbccddeeff",
            "probe.sent": "1",
            "probe.received": "2",
            "probe.state": "2",
            "probe.src": "2001:db8:1::1,2001:db8:2::2,2001:db8:1::1",
            "probe.nonce": "0xdeadbeef,0x01020304,0xdeadbeef",
        },
    ),
    "error": (ErrorMessage(1, 42, ip6(A, B, SHIM6, bytes(16))), {"error.code": "1", "error.pointer": "42"}),
    "unknown-option": (
        Keepalive(TAG, (UnknownOption(99, b"12345", True),)),
        {"opt.type": "99", "opt.critical": "1", "opt.data": b"12345".hex()},
    ),
    "unknown-message": (UnknownMessage(100, 0, bytes(10)), {"type": "100"}),
}


def record(file: Path, *packets: bytes) -> None:
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, _RAW_IP)
    records = (struct.pack("<IIII", 0, 0, len(one), len(one)) + one for one in packets)
    file.write_bytes(header + b"".join(records))


@cache
def program() -> str:
    """The path of a tshark that speaks Lua."""
    found = shutil.which("tshark")
    if found is None:
        pytest.skip("needs tshark")
    if "without Lua" in subprocess.run([found, "-v"], capture_output=True, text=True, check=True).stdout:
        pytest.skip("needs a tshark with Lua")
    return found


def dissect(file: Path, *fields: str) -> list[list[str]]:
    """What tshark prints of fields, a list for each packet."""
    words = [program(), "-X", f"lua_script:{SCRIPT}", "-r", str(file), "-T", "fields", "-E", "separator=|"]
    for field in fields:
        words += ["-e", field]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert "Lua" not in done.stderr.replace("Lua: Running as superuser", "")
    return [line.split("|") for line in done.stdout.splitlines()]


def test_every_message_and_option_is_read(tmp_path: Path) -> None:
    """RFC 5533 §5, RFC 5534 §5. Once for all: tshark takes a second to start."""
    file = tmp_path / "all.pcap"
    record(file, *(ip6(A, B, SHIM6, emit_message(message)) for message, _ in CASES.values()))
    names = sorted({name for _, expected in CASES.values() for name in expected})
    always = ["mpshim6.checksum.ok", "mpshim6.malformed"]
    rows = dissect(file, *always, *(f"mpshim6.{name}" for name in names))
    assert len(rows) == len(CASES)
    for case, (_, expected), (valid, malformed, *cells) in zip(CASES, CASES.values(), rows, strict=True):
        found = dict(zip(names, cells, strict=True))
        assert (case, valid, malformed) == (case, "1", "")
        assert {name: found[name] for name in expected} == expected, case


def test_payload_is_read_behind_its_header(tmp_path: Path) -> None:
    """RFC 5533 §5.2: P and 47 bits of tag, then what the packet carries."""
    file = tmp_path / "payload.pcap"
    datagram = struct.pack(">HHHH", 1234, 5678, 8, 0)
    record(file, ip6(A, B, SHIM6, emit_payload_header(PayloadHeader(UDP, TAG)) + datagram))
    assert dissect(file, "mpshim6.p", "mpshim6.ct", "udp.dstport") == [["1", "0x00007abbccddeeff", "5678"]]


def test_damage_is_shown_and_does_no_harm(tmp_path: Path) -> None:
    good = [emit_message(message) for message, _ in CASES.values()]
    file = tmp_path / "damaged.pcap"
    wrong = bytes([*good[0][:12], good[0][12] ^ 1, *good[0][13:]])
    cut = [ip6(A, B, SHIM6, one[:size]) for one in good for size in range(0, len(one), 7)]
    stretched = [ip6(A, B, SHIM6, one[:-4] + b"\xff\xff\xff\xff") for one in good]
    record(file, ip6(A, B, SHIM6, wrong), *cut, *stretched)
    rows = dissect(file, "mpshim6.checksum.ok", "_ws.lua.error")
    assert len(rows) == 1 + len(cut) + len(stretched)
    assert rows[0][0] == "0"
    assert {row[1] for row in rows} == {""}  # no error of the script


def test_the_command_tells_where_it_is() -> None:
    result = CliRunner().invoke(inspect_command, ["--lua"])
    assert result.exit_code == 0
    assert Path(result.output.strip()).read_text().startswith("-- Shim6")
