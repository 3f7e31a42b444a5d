import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.wire import checksum
from tests.helpers.reference import internet_checksum, internet_sum
from tests.helpers.strategies import addresses, raw, u16, u32, u64


def test_example_of_rfc_1071() -> None:
    # RFC 1071 §3
    assert checksum.sum_of(bytes.fromhex("0001f203f4f5f6f7")) == 0xDDF2


def test_example_of_rfc_1624() -> None:
    # RFC 1624 §4: the older equation gives 0xffff here.
    assert checksum.update16(0xDD2F, 0x5555, 0x3285) == 0x0000


@pytest.mark.parametrize("size", [*range(130), 1447, 1448, 65535])
def test_every_length_and_alignment(size: int) -> None:
    data = bytes((7 * at + size) & 0xFF for at in range(size + 8))
    for start in range(8):
        view = memoryview(data)[start : start + size]
        assert checksum.sum_of(view) == internet_sum(bytes(view))


def test_carries_of_a_large_buffer() -> None:
    data = b"\xff" * (1 << 20)
    assert checksum.sum_of(data) == 0xFFFF
    assert checksum.checksum(data) == 0


@given(st.binary(max_size=300))
def test_sum_and_checksum(data: bytes) -> None:
    assert checksum.sum_of(data) == internet_sum(data)
    assert checksum.checksum(data) == internet_checksum(data)
    assert checksum.sum_of(bytearray(data)) == internet_sum(data)


@given(st.binary(max_size=100).map(lambda data: data + b"\0" * (len(data) % 2)), st.binary(max_size=100))
def test_sums_of_parts_add_up(left: bytes, right: bytes) -> None:
    assert checksum.sum_of(right, checksum.sum_of(left)) == internet_sum(left + right)


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_sums_join_at_an_odd_byte_too(left: bytes, right: bytes) -> None:
    # RFC 1071 §2 (B): the words of what follows an odd byte are swapped.
    joined = checksum.join_sums(checksum.sum_of(left), len(left), checksum.sum_of(right))
    assert joined == internet_sum(left + right)


@given(st.binary(min_size=2, max_size=60), st.data(), u16)
def test_update16_is_a_full_recomputation(data: bytes, draw: st.DataObject, new: int) -> None:
    # RFC 1624 §3, for any field but of data that becomes all zero: its checksum has two forms.
    at = draw.draw(st.integers(0, (len(data) - 2) // 2)) * 2
    changed = data[:at] + new.to_bytes(2, "big") + data[at + 2 :]
    old = int.from_bytes(data[at : at + 2], "big")
    updated = checksum.update16(internet_checksum(data), old, new)
    assert updated == internet_checksum(changed) or (not any(changed) and updated in (0, 0xFFFF))


@given(st.binary(min_size=4, max_size=60), st.data(), u32)
def test_update32_is_a_full_recomputation(data: bytes, draw: st.DataObject, new: int) -> None:
    at = draw.draw(st.integers(0, (len(data) - 4) // 2)) * 2
    changed = data[:at] + new.to_bytes(4, "big") + data[at + 4 :]
    old = int.from_bytes(data[at : at + 4], "big")
    updated = checksum.update32(internet_checksum(data), old, new)
    assert updated == internet_checksum(changed) or (not any(changed) and updated in (0, 0xFFFF))


@given(u64, u32, u16, st.binary(max_size=100))
def test_dss_checksum(data_seq: int, subflow_seq: int, data_len: int, payload: bytes) -> None:
    # RFC 8684 §3.3.1, figure 10: 64-bit DSN, SSN, length and 16 bits of zero.
    pseudo = (
        data_seq.to_bytes(8, "big") + subflow_seq.to_bytes(4, "big") + data_len.to_bytes(2, "big") + b"\0\0"
    )
    assert checksum.dss_checksum(data_seq, subflow_seq, data_len, payload) == internet_checksum(
        pseudo + payload
    )


def test_dss_checksum_of_a_data_fin_covers_the_pseudo_header_only() -> None:
    # RFC 8684 §3.3.3: DSN of the DATA_FIN, SSN 0, length 1.
    assert checksum.dss_checksum(0x0102030405060708, 0, 1) == 0xFFFF - (0x0102 + 0x0304 + 0x0506 + 0x0708 + 1)


@given(addresses, st.data(), st.binary(max_size=100))
def test_tcp_checksum(src: bytes, draw: st.DataObject, segment: bytes) -> None:
    # RFC 9293 §3.1 and RFC 8200 §8.1: the layouts differ, the sums of their fields do not.
    dst = draw.draw(raw(len(src)))
    pseudo = src + dst + len(segment).to_bytes(4, "big") + b"\0\0\0\x06"
    assert checksum.tcp_checksum(src, dst, segment) == internet_checksum(pseudo + segment)


@pytest.mark.parametrize(("src", "dst"), [(b"", b""), (b"1234", b"1" * 16), (b"12345", b"12345")])
def test_tcp_checksum_refuses_odd_addresses(src: bytes, dst: bytes) -> None:
    with pytest.raises(ValueError, match="4 or 16"):
        checksum.tcp_checksum(src, dst, b"")


def test_arguments_that_do_not_fit() -> None:
    with pytest.raises(OverflowError):
        checksum.update16(0x10000, 0, 0)
    with pytest.raises(TypeError):
        checksum.checksum("text")  # type: ignore[arg-type]
