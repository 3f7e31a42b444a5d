# SPDX-License-Identifier: GPL-2.0-or-later
# scapy.contrib.description = Multipath TCP (MPTCP) options (RFC 8684, RFC 6824)
# scapy.contrib.status = loads

"""`load_contrib("mptcp")`: Multipath TCP (MPTCP) options."""

from mpcore.scapy import (
    MPTCPDSS,
    MPTCPAddAddr,
    MPTCPAddAddrV0,
    MPTCPCapable,
    MPTCPCapableV0,
    MPTCPExperimental,
    MPTCPFail,
    MPTCPFastclose,
    MPTCPJoinAck,
    MPTCPJoinSyn,
    MPTCPJoinSynAck,
    MPTCPMalformed,
    MPTCPOption,
    MPTCPPrio,
    MPTCPRemoveAddr,
    MPTCPReset,
    mptcp_options,
)

__all__ = [
    "MPTCPDSS",
    "MPTCPAddAddr",
    "MPTCPAddAddrV0",
    "MPTCPCapable",
    "MPTCPCapableV0",
    "MPTCPExperimental",
    "MPTCPFail",
    "MPTCPFastclose",
    "MPTCPJoinAck",
    "MPTCPJoinSyn",
    "MPTCPJoinSynAck",
    "MPTCPMalformed",
    "MPTCPOption",
    "MPTCPPrio",
    "MPTCPRemoveAddr",
    "MPTCPReset",
    "mptcp_options",
]
