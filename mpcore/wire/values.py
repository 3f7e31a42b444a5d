"""The wire as immutable values: one import for options, segments and their numbers.

`parse_*` takes any bytes and gives a value or raises WireError; `emit_*` is its inverse. The data plane does
not use these: it has the views of `mpcore.wire.ip`, `tcp` and `mptcp` in C.
"""

from mpcore.wire.codec import (
    emit_option,
    emit_options,
    emit_packet,
    emit_segment,
    parse_options,
    parse_segment,
)
from mpcore.wire.constants import (
    CapableFlag,
    DssFlag,
    OptionKind,
    ResetReason,
    Subtype,
    TcpFlag,
)
from mpcore.wire.mptcp_codec import parse_mptcp_option
from mpcore.wire.mptcp_options import (
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
from mpcore.wire.segment import Segment
from mpcore.wire.tcp_options import (
    OPTIONS_MAX,
    MaxSegmentSize,
    Sack,
    SackPermitted,
    TcpOption,
    Timestamps,
    UnknownOption,
    WindowScale,
)

__all__ = [
    "OPTIONS_MAX",
    "AddAddr",
    "CapableFlag",
    "Dss",
    "DssFlag",
    "MalformedMptcp",
    "MaxSegmentSize",
    "MpCapable",
    "MpExperimental",
    "MpFail",
    "MpFastclose",
    "MpJoinAck",
    "MpJoinSyn",
    "MpJoinSynAck",
    "MpPrio",
    "MpTcpRst",
    "MpV0Option",
    "MptcpOption",
    "OptionKind",
    "RemoveAddr",
    "ResetReason",
    "Sack",
    "SackPermitted",
    "Segment",
    "Subtype",
    "TcpFlag",
    "TcpOption",
    "Timestamps",
    "UnknownOption",
    "WindowScale",
    "emit_option",
    "emit_options",
    "emit_packet",
    "emit_segment",
    "parse_mptcp_option",
    "parse_options",
    "parse_segment",
]
