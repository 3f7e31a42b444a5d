import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.wire import ip
from mpcore.wire.checksum import checksum
from tests.helpers.strategies import addresses, raw, u8

V4 = ip.emit_header(b"\x0a\0\0\1", b"\x0a\0\0\2", 6, 20) + bytes(20)
V6_SRC, V6_DST = b"\x20\x01" + bytes(13) + b"\1", b"\x20\x01" + bytes(13) + b"\2"


# Protocols that are no extension header.
upper_layers = u8.filter(lambda number: number not in (0, 43, 44, 51, 60))


def v6(following: int, payload: bytes) -> bytes:
    return ip.emit_header(V6_SRC, V6_DST, following, len(payload)) + payload


def extension(following: int, words: int = 0) -> bytes:
    return bytes([following, words]) + bytes(6 + 8 * words)


def status(packet: bytes) -> str:
    return str(ip.describe(packet)["status"])


def changed(packet: bytes, at: int, value: int) -> bytes:
    return packet[:at] + bytes([value]) + packet[at + 1 :]


@given(addresses, st.data(), upper_layers, st.binary(max_size=50), u8, u8)
def test_emit_and_describe_are_inverse(
    src: bytes, draw: st.DataObject, protocol: int, payload: bytes, ttl: int, tos: int
) -> None:
    dst = draw.draw(raw(len(src)))
    header = ip.emit_header(src, dst, protocol, len(payload), ttl=ttl, tos=tos)
    found = ip.describe(header + payload + b"beyond the packet")
    assert found == {
        "status": "ok",
        "version": 4 if len(src) == 4 else 6,
        "protocol": protocol,
        "tos": tos,
        "ttl": ttl,
        "header_size": len(header),
        "total_size": len(header) + len(payload),
        "src": src,
        "dst": dst,
    }
    assert len(src) == 16 or checksum(header) == 0


@pytest.mark.parametrize("size", range(40))
def test_every_cut_of_a_v4_packet(size: int) -> None:
    assert status(V4[:size]) == "truncated"


@pytest.mark.parametrize("size", range(60))
def test_every_cut_of_a_v6_packet(size: int) -> None:
    assert status(v6(6, bytes(20))[:size]) == "truncated"


def test_lengths_that_contradict() -> None:
    # RFC 791 §3.1: a header has five words at least, and the total counts it.
    assert status(changed(V4, 0, 0x44)) == "malformed"
    assert status(changed(V4, 3, 19)) == "malformed"
    assert status(b"\x55" + V4[1:]) == "malformed"


def test_v4_options_are_part_of_the_header() -> None:
    packet = changed(V4, 0, 0x46)
    assert ip.describe(packet)["header_size"] == 24


@pytest.mark.parametrize(("at", "value"), [(6, 0x20), (6, 0x60), (7, 0x01), (6, 0x10)])
def test_v4_fragments(at: int, value: int) -> None:
    # RFC 791 §3.1: more fragments, or an offset
    assert status(changed(V4, at, value)) == "fragment"


def test_v6_extension_headers_are_skipped() -> None:
    # RFC 8200 §4; the authentication header counts in words of four octets minus two (RFC 4302 §2.2)
    chain = extension(60, 2) + extension(43) + extension(51) + bytes([44, 4]) + bytes(22) + extension(6)
    found = ip.describe(v6(0, chain + bytes(20)))
    assert (found["status"], found["protocol"]) == ("ok", 6)
    assert found["header_size"] == 40 + len(chain)


def test_v6_fragments() -> None:
    # RFC 8200 §4.5: offset in units of eight octets, then two reserved bits, then M
    for low, wanted in ((0x0001, "fragment"), (0x0008, "fragment"), (0x0006, "ok"), (0, "ok")):
        header = bytes([6, 0]) + low.to_bytes(2, "big") + bytes(4)
        assert status(v6(44, header + bytes(20))) == wanted


def test_v6_routing_with_segments_left() -> None:
    # RFC 8200 §4.4, §8.1: the checksum covers the last destination
    header = bytes([6, 0, 0, 1]) + bytes(4)
    assert status(v6(43, header + bytes(20))) == "malformed"


@pytest.mark.parametrize("size", range(16))
def test_v6_extension_beyond_the_packet(size: int) -> None:
    assert status(v6(0, extension(6, 1)[:size])) == "malformed"
    assert status(v6(60, extension(43) + extension(6)[:size])) == ("ok" if size >= 8 else "malformed")


def test_v6_endless_chain() -> None:
    assert status(v6(0, extension(0) * 14 + extension(6))) == "ok"
    assert status(v6(0, extension(0) * 15 + extension(6))) == "malformed"


def test_emit_refuses_what_has_no_header() -> None:
    with pytest.raises(ValueError, match="4 or 16"):
        ip.emit_header(b"123", b"123", 6, 0)
    with pytest.raises(ValueError, match="do not fit"):
        ip.emit_header(b"1234", b"1234", 6, 65516)
    assert len(ip.emit_header(b"1" * 16, b"1" * 16, 6, 65535)) == 40
