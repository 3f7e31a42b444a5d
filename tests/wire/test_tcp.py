import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.wire import tcp
from mpcore.wire.checksum import tcp_checksum
from mpcore.wire.constants import TcpFlag
from mpcore.wire.values import Sack, Timestamps, emit_option
from tests.helpers.strategies import addresses, raw, u8, u16, u32


def segment(options: bytes = b"", payload: bytes = b"") -> bytes:
    return tcp.emit_header(1, 2, 3, 4, TcpFlag.ACK, 5, options) + payload


@given(u16, u16, u32, u32, u8, u16, st.binary(max_size=100))
def test_header_fields(
    src_port: int, dst_port: int, seq: int, ack: int, flags: int, window: int, payload: bytes
) -> None:
    found = tcp.describe(tcp.emit_header(src_port, dst_port, seq, ack, flags, window) + payload)
    wanted = {
        "src_port": src_port,
        "dst_port": dst_port,
        "seq": seq,
        "ack": ack,
        "flags": flags,
        "window": window,
        "checksum": 0,
        "urgent": 0,
        "header_size": 20,
        "payload": payload,
    }
    assert found | wanted == found


@pytest.mark.parametrize("size", range(41))
def test_options_are_padded_with_nop(size: int) -> None:
    options = bytes(range(100, 100 + size))
    header = tcp.emit_header(1, 2, 3, 4, 0, 5, options)
    assert header[20:] == options + b"\x01" * (-size % 4)
    assert header[12] == len(header) << 2 & 0xFF


def test_options_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="room for 40"):
        segment(bytes(41))


def test_syn_options() -> None:
    options = bytes.fromhex("020405b4 0402 080a0000000100000002 01 03030a 2202 1d02")
    found = tcp.describe(segment(options))
    assert found["mss"] == 1460
    assert found["sack_permitted"]
    assert found["timestamps"] == (1, 2)
    assert found["wscale"] == 10
    assert found["fastopen"]
    assert found["auth"]
    assert not found["bad_options"]


def test_four_sack_blocks() -> None:
    blocks = ((1, 2), (3, 4), (5, 6), (0xFFFFFFFF, 7))
    assert tcp.describe(segment(emit_option(Sack(blocks))))["sack"] == blocks


@pytest.mark.parametrize(
    "text", ["0203 05", "0205 05b400", "0302", "0403 00", "0506 00000000", "0802", "0502"]
)
def test_known_kind_of_wrong_length_is_ignored(text: str) -> None:
    found = tcp.describe(segment(bytes.fromhex(text) + emit_option(Timestamps(1, 2))))
    assert found["timestamps"] == (1, 2)
    assert (found["mss"], found["wscale"], found["sack"]) == (None, None, ())
    assert not found["sack_permitted"]
    assert not found["bad_options"]


def test_the_first_of_a_kind_counts() -> None:
    assert tcp.describe(segment(bytes.fromhex("020405b4 02040001")))["mss"] == 1460


@pytest.mark.parametrize("text", ["0200 0000", "0201 0000", "0205 05b4", "1eff 0001", "01010102"])
def test_impossible_length_ends_the_walk(text: str) -> None:
    # RFC 9293 §3.1: the length counts kind and length octets; what came before the bad option stays.
    found = tcp.describe(segment(emit_option(Timestamps(1, 2)) + b"\1\1" + bytes.fromhex(text)))
    assert found["bad_options"]
    assert found["timestamps"] == (1, 2)
    assert found["mss"] is None


def test_end_of_options() -> None:
    found = tcp.describe(segment(b"\x00\x02\x04\x05" + b"\xb4\x05\x05\x05"))
    assert found["mss"] is None
    assert not found["bad_options"]


def test_at_most_four_mptcp_options() -> None:
    found = tcp.describe(segment(b"".join(bytes([30, 3, 0x50 + at]) for at in range(6)) + b"\x1e\x02"))
    assert [option[2] for option in found["mptcp"]] == [0x50, 0x51, 0x52, 0x53]


@pytest.mark.parametrize("size", range(32))
def test_every_cut(size: int) -> None:
    assert tcp.describe(segment(emit_option(Timestamps(1, 2)))[:size])["status"] == "truncated"


@pytest.mark.parametrize("words", range(5))
def test_header_shorter_than_five_words(words: int) -> None:
    data = bytearray(segment())
    data[12] = words << 4
    assert tcp.describe(bytes(data))["status"] == "malformed"


@given(addresses, st.data(), st.binary(max_size=50), st.integers(0, 7))
def test_checksum_ok(src: bytes, draw: st.DataObject, payload: bytes, bit: int) -> None:
    dst = draw.draw(raw(len(src)))
    data = segment(payload=payload)
    right = data[:16] + tcp_checksum(src, dst, data).to_bytes(2, "big") + data[18:]
    assert tcp.checksum_ok(src, dst, right)
    at = draw.draw(st.integers(0, len(right) - 1))
    assert not tcp.checksum_ok(src, dst, right[:at] + bytes([right[at] ^ 1 << bit]) + right[at + 1 :])
