import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.wire import mptcp, tcp
from mpcore.wire.values import (
    AddAddr,
    Dss,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoinAck,
    MpPrio,
    MptcpOption,
    MpTcpRst,
    MpV0Option,
    RemoveAddr,
    emit_option,
    parse_mptcp_option,
)
from tests.helpers.strategies import dss_options, maybe16, raw, u4, u8, u32, u64
from tests.vectors.mptcp_options import CANONICAL, MALFORMED, RESERVED


def describe(*options: MptcpOption | bytes) -> dict[str, object]:
    data = b"".join(option if isinstance(option, bytes) else emit_option(option) for option in options)
    return mptcp.describe(tcp.emit_header(1, 2, 3, 4, 0x10, 5, data))


def dss_flags(option: Dss) -> int:
    flags = 0x10 * option.data_fin
    if option.data_ack is not None:
        flags |= 0x01 | 0x02 * option.ack64
    if option.data_seq is not None:
        flags |= 0x04 | 0x08 * option.seq64
    return flags


@given(dss_options(), st.integers(0, 7).map(lambda bits: bits << 5))
def test_emit_dss_is_the_inverse_of_parsing(option: Dss, reserved: int) -> None:
    # RFC 8684 §3.3: reserved bits are sent as zero.
    data = mptcp.emit_dss(
        dss_flags(option) | reserved,
        data_ack=option.data_ack or 0,
        data_seq=option.data_seq or 0,
        subflow_seq=option.subflow_seq or 0,
        data_len=option.data_len or 0,
        checksum=option.checksum,
    )
    assert data == emit_option(option)


def test_emit_dss_writes_the_low_half_of_a_long_number() -> None:
    data = mptcp.emit_dss(0x05, data_ack=0x1_00000002, data_seq=0x3_00000004, subflow_seq=5, data_len=6)
    assert parse_mptcp_option(data) == Dss(2, False, 4, False, 5, 6)


@given(u8, u64, u64, maybe16, maybe16)
def test_emit_capable_ack(
    flags: int, sender: int, receiver: int, length: int | None, checksum: int | None
) -> None:
    # RFC 8684 §3.1: a checksum goes with a length only.
    data = mptcp.emit_capable_ack(flags, sender, receiver, length, checksum)
    wanted = MpCapable(1, flags, sender, receiver, length, None if length is None else checksum)
    assert data == emit_option(wanted)


@given(raw(20), st.booleans(), u64, u8, u4)
def test_emit_the_others(hmac: bytes, backup: bool, number: int, reason: int, flags: int) -> None:
    assert mptcp.emit_join_ack(hmac) == emit_option(MpJoinAck(hmac))
    assert mptcp.emit_prio(backup) == emit_option(MpPrio(backup))
    assert mptcp.emit_fail(number) == emit_option(MpFail(number))
    assert mptcp.emit_fastclose(number) == emit_option(MpFastclose(number))
    assert mptcp.emit_rst(reason, flags) == emit_option(MpTcpRst(reason, flags))


@pytest.mark.parametrize(("name", "text", "value"), CANONICAL + RESERVED)
def test_vectors_are_seen_once(name: str, text: str, value: MptcpOption) -> None:
    # Version 0 is recognised by its MP_CAPABLE only; its other forms and experiments are ignored.
    found = describe(bytes.fromhex(text))
    unseen = name in ("experimental", "prio-version-0") or (
        isinstance(value, MpV0Option) and value.subtype == 3
    )
    assert found["ignored"] == (1 if unseen else 0)
    assert len(found) == (1 if unseen else 2)


def test_version_0_shows_in_the_version() -> None:
    found = describe(bytes.fromhex("1e0c 00 01 0123456789abcdef"))
    assert found["mp_capable"] == {
        "size": 12,
        "version": 0,
        "flags": 1,
        "key_sender": 0x0123456789ABCDEF,
        "key_receiver": None,
        "data_len": None,
        "checksum": None,
    }


@pytest.mark.parametrize(("name", "text", "_value"), MALFORMED)
def test_malformed_options_are_ignored(name: str, text: str, _value: MptcpOption) -> None:
    # RFC 8684 §3: they are not an error. An option without a subtype is not even seen.
    data = bytes.fromhex(text)
    assert describe(data) == {"ignored": 0 if len(data) == 2 else 1}


def test_options_that_share_a_segment() -> None:
    found = describe(Dss(data_ack=7), MpPrio(True), RemoveAddr((1,)), AddAddr(2, b"\x0a\0\0\1", echo=True))
    assert found["ignored"] == 0
    assert found["mp_prio"] is True
    assert found["remove_addr"] == bytes.fromhex("1e044001")
    assert found["add_addr"] == bytes.fromhex("1e0831020a000001")
    assert isinstance(found["dss"], dict)
    assert found["dss"]["data_ack"] == 7


def test_the_first_of_a_subtype_counts() -> None:
    found = describe(MpFail(1), MpFail(2))
    assert (found["mp_fail"], found["ignored"]) == (1, 1)


def test_a_malformed_option_does_not_hide_the_next() -> None:
    found = describe(bytes.fromhex("1e056000ff"), MpFail(2))
    assert (found["mp_fail"], found["ignored"]) == (2, 1)


@given(u64, st.integers(-(2**31) + 1, 2**31 - 1))
def test_expand_gives_back_what_was_near(reference: int, distance: int) -> None:
    # RFC 8684 §3.3.1, at any place of the number space
    number = (reference + distance) % 2**64
    assert mptcp.expand(reference, number % 2**32) == number


@pytest.mark.parametrize(
    ("reference", "value", "wanted"),
    [
        (0x1_FFFFFFFF, 0x00000000, 0x2_00000000),
        (0x2_00000000, 0xFFFFFFFF, 0x1_FFFFFFFF),
        (0x1_80000000, 0x80000000, 0x1_80000000),
        (0xFFFFFFFF_FFFFFFF0, 0x00000010, 0x10),
        (0x10, 0xFFFFFFF0, 0xFFFFFFFF_FFFFFFF0),
        (0, 0x7FFFFFFF, 0x7FFFFFFF),
    ],
)
def test_expand_at_wraps(reference: int, value: int, wanted: int) -> None:
    assert mptcp.expand(reference, value) == wanted


@given(u64, u32)
def test_expand_keeps_the_low_half(reference: int, value: int) -> None:
    assert mptcp.expand(reference, value) % 2**32 == value


def test_not_a_segment() -> None:
    with pytest.raises(ValueError, match="not a TCP segment"):
        mptcp.describe(b"")
