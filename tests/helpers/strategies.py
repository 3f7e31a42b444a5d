"""Hypothesis strategies for wire values: canonical ones, so that parsing gives back what was emitted."""

from hypothesis import strategies as st

from mpcore.wire.values import (
    OPTIONS_MAX,
    AddAddr,
    Dss,
    MaxSegmentSize,
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
    Sack,
    SackPermitted,
    Segment,
    TcpOption,
    Timestamps,
    UnknownOption,
    WindowScale,
    emit_option,
)

u4 = st.integers(0, 0xF)
u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
u64 = st.integers(0, 0xFFFFFFFFFFFFFFFF)
maybe16 = st.none() | u16
versions = st.integers(1, 15)


def raw(size: int) -> st.SearchStrategy[bytes]:
    """Return bytes of exactly this length."""
    return st.binary(min_size=size, max_size=size)


addresses = raw(4) | raw(16)
capables = st.one_of(
    st.builds(MpCapable, versions, u8),
    st.builds(MpCapable, versions, u8, u64),
    st.builds(MpCapable, versions, u8, u64, u64),
    st.builds(MpCapable, versions, u8, u64, u64, u16, maybe16),
)
joins = st.one_of(
    st.builds(MpJoinSyn, u32, u32, u8, st.booleans()),
    st.builds(MpJoinSynAck, raw(8), u32, u8, st.booleans()),
    st.builds(MpJoinAck, raw(20)),
)


@st.composite
def dss_options(draw: st.DrawFn) -> Dss:
    """Return a DSS with any of its parts, of either width."""
    fields: dict[str, int | bool | None] = {"data_fin": draw(st.booleans())}
    if draw(st.booleans()):
        fields["ack64"] = draw(st.booleans())
        fields["data_ack"] = draw(u64 if fields["ack64"] else u32)
    if draw(st.booleans()):
        fields["seq64"] = draw(st.booleans())
        fields["data_seq"] = draw(u64 if fields["seq64"] else u32)
        fields |= {"subflow_seq": draw(u32), "data_len": draw(u16), "checksum": draw(maybe16)}
    return Dss(**fields)  # type: ignore[arg-type]


add_addrs = st.one_of(
    st.builds(AddAddr, u8, addresses, maybe16, st.just(False), raw(8)),
    st.builds(AddAddr, u8, addresses, maybe16, st.just(True)),
)
v0_options = st.one_of(
    st.builds(lambda rest: MpV0Option(0, b"\x00" + rest), raw(9) | raw(17)),
    st.builds(lambda rest: MpV0Option(3, b"\x34" + rest), raw(5) | raw(7)),
    st.builds(lambda rest: MpV0Option(3, b"\x36" + rest), raw(17) | raw(19)),
)
mptcp_options: st.SearchStrategy[MptcpOption] = st.one_of(
    dss_options(),
    capables,
    joins,
    add_addrs,
    st.builds(RemoveAddr, st.lists(u8, min_size=1, max_size=37).map(tuple)),
    st.builds(MpPrio, st.booleans(), st.none() | u8),
    st.builds(MpFail, u64),
    st.builds(MpFastclose, u64),
    st.builds(MpTcpRst, u8, u4),
    st.builds(
        MpExperimental, st.builds(lambda low, rest: bytes([0xF0 | low]) + rest, u4, st.binary(max_size=37))
    ),
    v0_options,
)
unknown_options = st.builds(
    UnknownOption, st.sampled_from([9, 19, 29, 34, 253, 254]), st.binary(max_size=18)
) | st.builds(UnknownOption, st.sampled_from([2, 3, 4, 8]), raw(7))
tcp_options: st.SearchStrategy[TcpOption] = st.one_of(
    mptcp_options,
    st.builds(MaxSegmentSize, u16),
    st.builds(WindowScale, u8),
    st.builds(SackPermitted),
    st.builds(Timestamps, u32, u32),
    st.builds(Sack, st.lists(st.tuples(u32, u32), min_size=1, max_size=4).map(tuple)),
    unknown_options,
)


def _fitting(options: list[TcpOption]) -> tuple[TcpOption, ...]:
    kept: list[TcpOption] = []
    room = OPTIONS_MAX
    for option in options:
        size = len(emit_option(option))
        if size <= room:
            kept.append(option)
            room -= size
    return tuple(kept)


option_lists = st.lists(tcp_options, max_size=8).map(_fitting)


@st.composite
def segments(draw: st.DrawFn, max_payload: int = 200) -> Segment:
    """Return a segment of either IP version."""
    version, size = draw(st.sampled_from([(4, 4), (6, 16)]))
    return Segment(
        version=version,
        src=draw(raw(size)),
        dst=draw(raw(size)),
        src_port=draw(u16),
        dst_port=draw(u16),
        seq=draw(u32),
        ack=draw(u32),
        flags=draw(u8),
        window=draw(u16),
        options=draw(option_lists),
        payload=draw(st.binary(max_size=max_payload)),
        urgent=draw(u16),
        ttl=draw(u8),
        tos=draw(u8),
    )


@st.composite
def option_bytes(draw: st.DrawFn) -> bytes:
    """Return up to 40 bytes that mostly look like options, of right, wrong and impossible lengths."""
    kinds = st.sampled_from([0, 1, 2, 3, 4, 5, 8, 30, 30, 30, 30, 34])
    size = st.sampled_from([2, 3, 4, 8, 10, 12, 14, 16, 18, 20, 22, 24, 28, 30, 34]) | u8
    data = b""
    while len(data) < OPTIONS_MAX and draw(st.integers(0, 5)):
        data += bytes([draw(kinds), draw(size)]) + draw(st.binary(max_size=34))
    data = data[:OPTIONS_MAX]
    return data + b"\x01" * (-len(data) % 4)


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes:
    """Return `data` with a few octets changed, and perhaps cut short or made longer."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        changed[draw(st.integers(0, len(changed) - 1))] = draw(u8)
    return bytes(changed[: draw(st.integers(0, len(changed)))]) if draw(st.booleans()) else bytes(changed)
