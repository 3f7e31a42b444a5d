"""The layers against the codec of `mpcore.wire`, and against any bytes."""

import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("scapy.layers.inet6", reason="Scapy is not installed")

from scapy.layers.inet import ICMP, IP, TCP, TCPerror
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import CookedLinux, Ether
from scapy.packet import Packet, Raw

import mpcore
from mpcore.analysis import Capture
from mpcore.scapy import MPTCPDSS, MPTCPMalformed, MPTCPOption, Shim6, Shim6Error, mptcp_options
from mpcore.wire import shim6
from mpcore.wire.values import Dss, MptcpOption, Segment, emit_segment
from tests.vectors.mptcp_options import CANONICAL, MALFORMED, RESERVED
from tests.vectors.record import FOLDER

FRAMES_OF_EACH = 120
ONE, OTHER = bytes(15) + b"\1", bytes(15) + b"\2"
LOCATORS = shim6.LocatorList(9, (shim6.Locator(ONE, 1), shim6.Locator(OTHER, 2)))
PREFERENCES = shim6.LocatorPreferences(9, (shim6.Preference(1, 2, 3), shim6.Preference()))
IDENTITY = (shim6.UlidPair(ONE, OTHER), shim6.ForkedInstance(4))
VALIDATOR = (shim6.ResponderValidator(b"opaque"),)
SIGNED = (LOCATORS, PREFERENCES, shim6.CgaParameterData(bytes(40)), shim6.CgaSignature(b"s" * 9))
SHIM6_MESSAGES = [
    shim6.I1(1, 2, IDENTITY),
    shim6.R1(1, 2, VALIDATOR),
    shim6.I2(1, 2, 3, VALIDATOR + IDENTITY + SIGNED),
    shim6.R2(1, 2, (LOCATORS, shim6.KeepaliveTimeout(10))),
    shim6.R1bis(1, 2, VALIDATOR),
    shim6.I2bis(1, 2, 3, 4, VALIDATOR + IDENTITY),
    shim6.UpdateRequest(1, 2, SIGNED),
    shim6.UpdateAck(1, 2),
    shim6.Keepalive(1),
    shim6.Probe(1, 2, (shim6.ProbeEntry(ONE, OTHER, 5, 6),), (shim6.ProbeEntry(OTHER, ONE, 7, 8),)),
    shim6.ErrorMessage(1, 42, bytes([0x60]) + bytes(47)),
]

Vector = tuple[str, str, MptcpOption]


def rebuilt(packet: Packet) -> bytes:
    """Return what the fields of a packet give, without what Scapy remembers of its bytes."""
    packet = packet.copy()
    packet.clear_cache()
    return bytes(packet)


@pytest.mark.parametrize("vector", CANONICAL + RESERVED + MALFORMED, ids=lambda vector: vector[0])
def test_every_form_is_dissected_and_built_back(vector: Vector) -> None:
    """RFC 8684 §3: reserved bits and malformed options included."""
    data = bytes.fromhex(vector[1].replace(" ", ""))
    option = MPTCPOption(data)
    assert rebuilt(option) == data
    assert isinstance(option, MPTCPMalformed) == (vector in MALFORMED)
    assert type(option) is not MPTCPOption


@given(st.binary(min_size=1, max_size=40))
def test_any_bytes_are_an_option(data: bytes) -> None:
    assert rebuilt(MPTCPOption(b"\x1e" + data)) == b"\x1e" + data


@given(st.binary(max_size=40))
def test_any_bytes_are_tcp_options(area: bytes) -> None:
    area += bytes(-len(area) % 4)
    header = bytearray(bytes(TCP(chksum=1)))
    header[12] = (20 + len(area)) // 4 << 4
    data = bytes(header) + area
    packet = TCP(data)
    assert bytes(packet) == data
    packet.window = 5
    bytes(packet)


@given(st.integers(0, 255), st.binary(max_size=200))
def test_any_bytes_are_shim6(kind: int, rest: bytes) -> None:
    data = bytes([59, len(rest) // 8 % 12, kind]) + rest
    packet = Shim6(data)
    assert bytes(packet) == data
    assert isinstance(packet, (Raw, Shim6))
    # What pads a message is not kept beyond its 8 octets.
    assert rebuilt(packet)[: len(data)] == data


@pytest.mark.parametrize("message", SHIM6_MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_of_the_codec_are_dissected_and_built_back(message: shim6.Message) -> None:
    """RFC 5533 §5, RFC 5534 §5: the codec and the layer were written apart."""
    data = shim6.emit_message(message)
    packet = Shim6(data)
    assert type(packet).__name__ == "Shim6" + type(message).__name__.removesuffix("Message")
    assert rebuilt(packet) == data
    packet.checksum = packet.len = None
    assert bytes(packet) == data
    assert not any(isinstance(option, Raw) for option in getattr(packet, "options", ()))


def test_a_segment_of_the_codec_is_read() -> None:
    mapping = Dss(data_ack=7, data_seq=9, subflow_seq=1, data_len=4)
    segment = Segment(4, b"\x0a\0\0\1", b"\x0a\0\0\2", 1, 2, 3, 0, 0x10, 5, (mapping,), b"data")
    (found,) = mptcp_options(IP(emit_segment(segment)))
    assert (found.dataAck, found.dataSeq, found.subflowSeq, found.dataLevelLength) == (7, 9, 1, 4)


def test_a_quoted_segment_has_options_too() -> None:
    quoted = bytes(IP() / TCP(options=[("MPTCP", MPTCPDSS(flags="A", dataAck=1))]))
    packet = IP(bytes(IP() / ICMP(type=3, code=4) / quoted))
    (option,) = [value for _, value in packet[TCPerror].options if isinstance(value, MPTCPOption)]
    assert option.dataAck == 1


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_recorded_packets_are_built_back(path: Path) -> None:
    """Real packets of the kernel and of mpcore, every option of theirs from its fields."""
    found = 0
    with Capture(path) as capture:
        for frame in islice(capture, FRAMES_OF_EACH):
            packet = (Ether if frame.link_type == 1 else CookedLinux)(frame.data)
            for option in mptcp_options(packet):
                assert not isinstance(option, MPTCPMalformed)
                option.clear_cache()
                found += 1
            packet.clear_cache()
            assert bytes(packet) == frame.data
    assert found


def test_a_packet_without_tcp_has_no_options() -> None:
    assert mptcp_options(IPv6() / Shim6Error()) == []


def test_scapy_is_loaded_only_when_asked_for() -> None:
    code = "import sys, mpcore; mpcore.scapy_ext; print('scapy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_the_extension_names_its_layers() -> None:
    class Ext:
        class MODE:
            CONTRIB = "contrib"

        def __init__(self) -> None:
            self.registered: list[str] = []

        def config(self, name: str, version: str) -> None:
            self.known = (name, version)

        def register(self, name: str, mode: str, path: object) -> None:
            assert mode == "contrib"
            self.registered.append(name)

    ext = Ext()
    mpcore.scapy_ext(ext)
    assert ext.known == ("mpcore", mpcore.__version__)
    assert ext.registered == ["mptcp", "shim6"]
