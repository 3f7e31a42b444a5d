"""What both handshakes share: reading a SYN's parameters, finding and replacing TCP options, refusing.

Sizes are octets. Sources: RFC 9293 §3.7.1 (MSS), RFC 7323 (scaling, timestamps), RFC 8684 §3.
"""

from typing import get_args

from mpcore.errors import WireError
from mpcore.value import value
from mpcore.wire.values import (
    MaxSegmentSize,
    MptcpOption,
    MpTcpRst,
    OptionKind,
    SackPermitted,
    Segment,
    TcpFlag,
    Timestamps,
    UnknownOption,
    WindowScale,
    emit_options,
    emit_packet,
    emit_segment,
)

FIN, SYN, RST, ACK = TcpFlag.FIN.value, TcpFlag.SYN.value, TcpFlag.RST.value, TcpFlag.ACK.value
ECE, CWR = TcpFlag.ECE.value, TcpFlag.CWR.value

WSCALE_MAX = 14  # RFC 7323 §2.3
DEFAULT_MSS = {4: 536, 6: 1220}  # RFC 9293 §3.7.1
MSS_FLOOR = 88  # the smallest that Linux works with

_MPTCP_TYPES = frozenset(get_args(MptcpOption))
_FAST_OPEN = OptionKind.FAST_OPEN.value
_SIGNATURES = (OptionKind.MD5.value, OptionKind.AUTHENTICATION.value)
_EXPERIMENT_KINDS = (253, 254)  # RFC 4727
_FAST_OPEN_EXPERIMENT = b"\xf9\x89"  # RFC 7413 §4.1.1


@value
class SynParameters:
    """What one side's SYN or SYN/ACK says about itself.

    `wscale` is -1 when it was not offered; `ecn` tells that a SYN asks for ECN, or a SYN/ACK agrees to it.
    """

    isn: int
    window: int
    mss: int
    wscale: int
    sack: bool
    timestamps: bool
    ts_value: int
    ecn: bool = False


def syn_parameters(segment: Segment) -> SynParameters:
    """Return the parameters in the options of a SYN or SYN/ACK."""
    mss = segment.find(MaxSegmentSize)
    scale = segment.find(WindowScale)
    stamp = segment.find(Timestamps)
    return SynParameters(
        segment.seq,
        segment.window,
        mss.value if mss and mss.value else DEFAULT_MSS[segment.version],
        min(scale.shift, WSCALE_MAX) if scale else -1,
        segment.find(SackPermitted) is not None,
        stamp is not None,
        stamp.value if stamp else 0,
        _sets_up_ecn(segment.flags),
    )


def next_seq(seq: int) -> int:
    """Return the sequence number after a SYN's: the first octet's."""
    return (seq + 1) & 0xFFFFFFFF


def agreed_scales(local: SynParameters, remote: SynParameters) -> tuple[int, int]:
    """Return both shifts, or -1 twice: scaling needs both sides (RFC 7323 §2.2)."""
    both = local.wscale >= 0 and remote.wscale >= 0
    return (local.wscale, remote.wscale) if both else (-1, -1)


def speaks_mptcp(segment: Segment) -> bool:
    """Tell whether the segment carries any MPTCP option, well-formed or not."""
    return not _MPTCP_TYPES.isdisjoint(map(type, segment.options))


def asks_fast_open(segment: Segment) -> bool:
    """Tell whether TCP Fast Open is offered, in its own option or the experimental one (RFC 7413 §4.1.1)."""
    return any(
        option.kind == _FAST_OPEN
        or (option.kind in _EXPERIMENT_KINDS and option.data[:2] == _FAST_OPEN_EXPERIMENT)
        for option in _unknown(segment)
    )


def is_authenticated(segment: Segment) -> bool:
    """Tell whether TCP MD5 (RFC 2385) or TCP-AO (RFC 5925) signs the segment: it cannot be rewritten."""
    return any(option.kind in _SIGNATURES for option in _unknown(segment))


def with_option(segment: Segment, option: MptcpOption) -> bytes | None:
    """Return the packet with one more option, or None when the option has no room."""
    try:
        options = emit_options((*segment.options, option))
    except WireError:
        return None
    return emit_packet(segment, options)


def towards_host(segment: Segment, mss_reserve: int) -> bytes:
    """Return the packet as the host's TCP shall see it: no MPTCP, and room left in each segment."""
    options = [
        _less(option, mss_reserve) if isinstance(option, MaxSegmentSize) else option
        for option in segment.options
        if type(option) not in _MPTCP_TYPES
    ]
    return emit_packet(segment, emit_options(options))


def is_loopback(address: bytes) -> bool:
    """Tell whether an address never leaves this host: 127.0.0.0/8 or ::1."""
    return address[0] == 127 if len(address) == 4 else address == bytes(15) + b"\x01"


def reset_for(segment: Segment, reason: int | None) -> bytes:
    """Return the RST that refuses a segment (RFC 9293 §3.10.7.1), with an MP_TCPRST where there is a reason.

    Reasons are those of RFC 8684 §3.6.
    """
    if segment.flags & ACK:
        seq, ack, flags = segment.ack, 0, RST
    else:
        length = len(segment.payload) + bool(segment.flags & SYN) + bool(segment.flags & FIN)
        seq, ack, flags = 0, (segment.seq + length) & 0xFFFFFFFF, RST | ACK
    return emit_segment(
        Segment(
            version=segment.version,
            src=segment.dst,
            dst=segment.src,
            src_port=segment.dst_port,
            dst_port=segment.src_port,
            seq=seq,
            ack=ack,
            flags=flags,
            window=0,
            options=() if reason is None else (MpTcpRst(reason),),
        )
    )


def _sets_up_ecn(flags: int) -> bool:
    """Tell whether a SYN has both flags, or a SYN/ACK has ECE alone (RFC 3168 §6.1.1)."""
    return flags & (ECE | CWR) == (ECE if flags & ACK else ECE | CWR)


def _unknown(segment: Segment) -> list[UnknownOption]:
    return [option for option in segment.options if isinstance(option, UnknownOption)]


def _less(option: MaxSegmentSize, reserve: int) -> MaxSegmentSize:
    return MaxSegmentSize(min(option.value, max(option.value - reserve, MSS_FLOOR)))
