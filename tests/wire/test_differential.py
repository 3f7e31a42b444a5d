"""The parsers in C against the values in Python, on the same bytes."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mpcore.errors import WireError
from mpcore.wire import ip, mptcp, tcp
from mpcore.wire.values import (
    AddAddr,
    Dss,
    DssFlag,
    MaxSegmentSize,
    MpCapable,
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
    Sack,
    SackPermitted,
    TcpOption,
    Timestamps,
    UnknownOption,
    WindowScale,
    emit_segment,
    parse_mptcp_option,
    parse_options,
    parse_segment,
)
from tests.helpers.strategies import mutations, option_bytes, segments


def first(options: tuple[TcpOption, ...], kind: type) -> Any:
    return next((option for option in options if isinstance(option, kind)), None)


def tcp_meaning(options: tuple[TcpOption, ...]) -> dict[str, Any]:
    mss, scale = first(options, MaxSegmentSize), first(options, WindowScale)
    stamps, sack = first(options, Timestamps), first(options, Sack)
    kinds = {option.kind for option in options if isinstance(option, UnknownOption)}
    return {
        "mss": mss and mss.value,
        "wscale": scale and scale.shift,
        "sack_permitted": SackPermitted() in options,
        "timestamps": stamps and (stamps.value, stamps.echo),
        "sack": sack.blocks if sack else (),
        "fastopen": 34 in kinds,
        "auth": bool(kinds & {19, 29}),
    }


def capable(option: MptcpOption, size: int) -> dict[str, Any] | None:
    keys: tuple[int | None, ...]
    if isinstance(option, MpV0Option) and option.subtype == 0:
        key_a, key_b = (int.from_bytes(option.data[at : at + 8], "big") for at in (2, 10))
        version, flags, keys = 0, option.data[1], (key_a, key_b if size == 20 else None, None, None)
    elif isinstance(option, MpCapable):
        version, flags = option.version, option.flags
        keys = (option.key_sender, option.key_receiver, option.data_len, option.checksum)
    else:
        return None
    names = ("key_sender", "key_receiver", "data_len", "checksum")
    return {"size": size, "version": version, "flags": flags, **dict(zip(names, keys, strict=True))}


def join(option: MptcpOption, size: int) -> dict[str, Any] | None:
    found = {
        "size": size,
        "backup": False,
        "address_id": 0,
        "token": 0,
        "nonce": 0,
        "hmac64": 0,
        "hmac": None,
    }
    match option:
        case MpJoinSyn(token, nonce, address_id, backup):
            return found | {"token": token, "nonce": nonce, "address_id": address_id, "backup": backup}
        case MpJoinSynAck(hmac, nonce, address_id, backup):
            number = int.from_bytes(hmac, "big")
            return found | {"hmac64": number, "nonce": nonce, "address_id": address_id, "backup": backup}
        case MpJoinAck(hmac):
            return found | {"hmac": hmac}
    return None


def dss(option: Dss) -> dict[str, Any]:
    flags = DssFlag.DATA_FIN if option.data_fin else DssFlag(0)
    if option.data_ack is not None:
        flags |= DssFlag.ACK | (DssFlag.ACK64 if option.ack64 else 0)
    if option.data_seq is not None:
        flags |= DssFlag.MAP | (DssFlag.SEQ64 if option.seq64 else 0)
    names = ("data_ack", "data_seq", "subflow_seq", "data_len", "checksum")
    return {"flags": flags, **{name: getattr(option, name) for name in names}}


def mptcp_meaning_of(data: bytes) -> tuple[str, Any] | None:
    """Return the key and value that the C parser must give for one option, None when it must ignore it."""
    option = parse_mptcp_option(data)
    match option:
        case MpCapable() | MpV0Option(subtype=0):
            return "mp_capable", capable(option, len(data))
        case MpJoinSyn() | MpJoinSynAck() | MpJoinAck():
            return "mp_join", join(option, len(data))
        case Dss():
            return "dss", dss(option)
        case AddAddr():
            return "add_addr", data
        case RemoveAddr():
            return "remove_addr", data
        case MpPrio(backup, None):
            return "mp_prio", backup
        case MpFail(data_seq):
            return "mp_fail", data_seq
        case MpFastclose(key):
            return "mp_fastclose", key
        case MpTcpRst(reason, flags):
            return "mp_tcprst", (reason, flags)
    return None


def check_mptcp(segment: bytes, looked_at: tuple[bytes, ...]) -> None:
    wanted: dict[str, Any] = {}
    for data in looked_at:
        meaning = mptcp_meaning_of(data)
        if meaning:
            wanted.setdefault(*meaning)
    wanted["ignored"] = len(looked_at) - len(wanted)
    assert mptcp.describe(segment) == wanted


def check_tcp(segment: bytes) -> dict[str, Any]:
    found = tcp.describe(segment)
    if found["status"] != "ok":
        return found
    check_mptcp(segment, found["mptcp"])
    try:
        options = parse_options(segment[20 : found["header_size"]])
    except WireError:
        assert found["bad_options"]
        return found
    assert not found["bad_options"]
    assert found | tcp_meaning(options) == found
    values = [
        option
        for option in options
        if isinstance(option, MptcpOption) and getattr(option, "data", None) != b""
    ]
    assert [parse_mptcp_option(data) for data in found["mptcp"]] == values[:4]
    return found


@given(option_bytes())
@settings(max_examples=500)
def test_hostile_options(options: bytes) -> None:
    assert check_tcp(tcp.emit_header(1, 2, 3, 4, 0x10, 5, options) + b"payload")["status"] == "ok"


@given(
    segments().map(emit_segment) | segments().map(emit_segment).flatmap(mutations) | st.binary(max_size=100)
)
@settings(max_examples=500)
def test_segments(data: bytes) -> None:
    header = ip.describe(data)
    is_tcp = header["status"] == "ok" and header["protocol"] == 6
    found = check_tcp(data[header["header_size"] : header["total_size"]]) if is_tcp else {"status": "none"}
    try:
        segment = parse_segment(data)
    except WireError:
        assert found["status"] != "ok" or found["bad_options"]
        return
    assert (found["status"], found["bad_options"]) == ("ok", False)
    for name in ("version", "src", "dst", "ttl", "tos"):
        assert header[name] == getattr(segment, name)
    for name in ("src_port", "dst_port", "seq", "ack", "flags", "window", "urgent", "payload"):
        assert found[name] == getattr(segment, name)


@st.composite
def extension_chains(draw: st.DrawFn) -> bytes:
    """Return an IPv6 packet with extension headers that may lie about their lengths."""
    kinds = draw(st.lists(st.sampled_from([0, 43, 44, 51, 60]), min_size=1, max_size=17))
    chain = b""
    for following in [*kinds[1:], 6]:
        words = draw(st.integers(0, 2))
        body = draw(st.sampled_from([bytes(22), bytes(22), b"\0\0" + bytes(20), b"\0\1" + bytes(20)]))
        chain += bytes([following, words]) + body[: draw(st.sampled_from([6, 6, 14, 22]))]
    payload = chain + tcp.emit_header(1, 2, 3, 4, 0x10, 5)
    return ip.emit_header(bytes(16), bytes(15) + b"\1", kinds[0], len(payload)) + payload


@given(extension_chains())
@settings(max_examples=300)
def test_extension_headers(data: bytes) -> None:
    header = ip.describe(data)
    try:
        segment = parse_segment(data)
    except WireError:
        rest = data[header["header_size"] :] if header["status"] == "ok" and header["protocol"] == 6 else b""
        assert tcp.describe(rest).get("bad_options", True)
        return
    assert header["status"] == "ok"
    assert segment.payload == tcp.describe(data[header["header_size"] :])["payload"]
