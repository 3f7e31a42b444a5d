"""The counters: index, MIB name and meaning of each.

Names that begin with `MPTcpExt` are the kernel's own (`nstat 'MPTcpExt*'`) and mean the same; `MpcoreExt` are
mpcore's, `Shim6Ext` those of Shim6's data plane. The compiled modules count by index, with the constants of
`mpcore/store/counters.pxd`: `COUNTER_` and the name of the member here. The order is stable: a new counter
goes to the end of both files.
"""

from collections.abc import Sequence
from enum import IntEnum


class Counter(IntEnum):
    """Index of a counter.

    Attributes:
        mib: its name in `mpcore show counters`
        meaning: what one step of it tells, in a few words
    """

    mib: str
    meaning: str

    def __new__(cls, mib: str, meaning: str) -> "Counter":
        """Give the next index to the member."""
        index = len(cls.__members__)
        member = int.__new__(cls, index)
        member._value_ = index
        member.mib = mib
        member.meaning = meaning
        return member

    MPCAPABLE_SYN_TX = "MPTcpExtMPCapableSYNTX", "SYNs sent with MP_CAPABLE"
    MPCAPABLE_SYN_RX = "MPTcpExtMPCapableSYNRX", "SYNs received with MP_CAPABLE"
    MPCAPABLE_SYNACK_RX = "MPTcpExtMPCapableSYNACKRX", "SYN/ACKs received with MP_CAPABLE"
    MPCAPABLE_ACK_RX = "MPTcpExtMPCapableACKRX", "third ACKs received with MP_CAPABLE and both keys"
    MPCAPABLE_FALLBACK_ACK = "MPTcpExtMPCapableFallbackACK", "server fell back: ACK or data without MPTCP"
    MPCAPABLE_FALLBACK_SYNACK = "MPTcpExtMPCapableFallbackSYNACK", "client fell back: plain SYN/ACK"
    MPCAPABLE_DATA_FALLBACK = "MPTcpExtMPCapableDataFallback", "fell back: early data came without a mapping"
    MPCAPABLE_SYN_TX_DROP = "MPTcpExtMPCapableSYNTXDrop", "SYNs repeated without MP_CAPABLE: no answer"
    FALLBACK_TOKEN_INIT = "MPTcpExtMPFallbackTokenInit", "connections left plain for want of a unique token"
    DSS_FALLBACK = "MPTcpExtDssFallback", "fell back: data without a mapping on the only subflow"
    SIMULT_CONNECT_FALLBACK = "MPTcpExtSimultConnectFallback", "fell back: both sides opened at once"
    JOIN_SYN_TX = "MPTcpExtMPJoinSynTx", "SYNs sent with MP_JOIN"
    JOIN_SYN_RX = "MPTcpExtMPJoinSynRx", "SYNs received with MP_JOIN"
    JOIN_SYN_BACKUP_RX = "MPTcpExtMPJoinSynBackupRx", "the same with the backup bit"
    JOIN_SYNACK_RX = "MPTcpExtMPJoinSynAckRx", "SYN/ACKs received with MP_JOIN"
    JOIN_SYNACK_BACKUP_RX = "MPTcpExtMPJoinSynAckBackupRx", "the same with the backup bit"
    JOIN_ACK_RX = "MPTcpExtMPJoinAckRx", "third ACKs received with MP_JOIN"
    JOIN_NO_TOKEN_FOUND = "MPTcpExtMPJoinNoTokenFound", "MP_JOIN with a token of no connection"
    JOIN_SYNACK_HMAC_FAILURE = "MPTcpExtMPJoinSynAckHMacFailure", "SYN/ACKs whose HMAC was wrong"
    JOIN_ACK_HMAC_FAILURE = "MPTcpExtMPJoinAckHMacFailure", "third ACKs whose HMAC was wrong"
    JOIN_REJECTED = "MPTcpExtMPJoinRejected", "MP_JOIN refused by a limit or by policy"
    JOIN_PORT_SYN_RX = "MPTcpExtMPJoinPortSynRx", "SYNs with MP_JOIN to an announced port"
    JOIN_PORT_SYNACK_RX = "MPTcpExtMPJoinPortSynAckRx", "SYN/ACKs with MP_JOIN from an announced port"
    JOIN_PORT_ACK_RX = "MPTcpExtMPJoinPortAckRx", "third ACKs with MP_JOIN to an announced port"
    MISMATCH_PORT_SYN_RX = "MPTcpExtMismatchPortSynRx", "SYNs with MP_JOIN to a port not announced"
    MISMATCH_PORT_ACK_RX = "MPTcpExtMismatchPortAckRx", "third ACKs with MP_JOIN to a port not announced"
    DSS_NOT_MATCHING = "MPTcpExtDSSNotMatching", "new mapping that contradicts the one in use"
    DSS_NO_MATCH_TCP = "MPTcpExtDSSNoMatchTCP", "mapping that does not fit the TCP sequence number"
    DSS_CORRUPTION_FALLBACK = "MPTcpExtDSSCorruptionFallback", "fell back over a corrupt mapping"
    DSS_CORRUPTION_RESET = "MPTcpExtDSSCorruptionReset", "subflows reset over a corrupt mapping"
    DATA_CSUM_ERR = "MPTcpExtDataCsumErr", "mappings whose DSS checksum was wrong"
    OFO_QUEUE = "MPTcpExtOFOQueue", "pieces put into the reordering queue"
    OFO_QUEUE_TAIL = "MPTcpExtOFOQueueTail", "of these, pieces put at its end"
    OFO_MERGE = "MPTcpExtOFOMerge", "pieces merged with a neighbour in the queue"
    DUPLICATE_DATA = "MPTcpExtDuplicateData", "pieces dropped: all of their data was there"
    NO_DSS_IN_WINDOW = "MPTcpExtNoDSSInWindow", "pieces dropped: outside the data-level window"
    RCV_PRUNED = "MPTcpExtRcvPruned", "pieces dropped: no memory for them"
    MPTCP_RETRANS = "MPTcpExtMPTCPRetrans", "segments sent again at the data level"
    ADD_ADDR = "MPTcpExtAddAddr", "ADD_ADDR received"
    ADD_ADDR_TX = "MPTcpExtAddAddrTx", "ADD_ADDR sent"
    ADD_ADDR_DROP = "MPTcpExtAddAddrDrop", "ADD_ADDR not used: wrong HMAC or full table"
    ADD_ADDR_TX_DROP = "MPTcpExtAddAddrTxDrop", "ADD_ADDR not sent for want of option space"
    ECHO_ADD = "MPTcpExtEchoAdd", "ADD_ADDR echoes received"
    ECHO_ADD_TX = "MPTcpExtEchoAddTx", "ADD_ADDR echoes sent"
    ECHO_ADD_TX_DROP = "MPTcpExtEchoAddTxDrop", "ADD_ADDR echoes not sent for want of option space"
    PORT_ADD = "MPTcpExtPortAdd", "ADD_ADDR received with a port"
    RM_ADDR = "MPTcpExtRmAddr", "REMOVE_ADDR received"
    RM_ADDR_DROP = "MPTcpExtRmAddrDrop", "REMOVE_ADDR not used"
    RM_ADDR_TX = "MPTcpExtRmAddrTx", "REMOVE_ADDR sent"
    RM_ADDR_TX_DROP = "MPTcpExtRmAddrTxDrop", "REMOVE_ADDR not sent for want of option space"
    RM_SUBFLOW = "MPTcpExtRmSubflow", "subflows closed because an address went"
    PRIO_TX = "MPTcpExtMPPrioTx", "MP_PRIO sent"
    PRIO_RX = "MPTcpExtMPPrioRx", "MP_PRIO received"
    FAIL_TX = "MPTcpExtMPFailTx", "MP_FAIL sent"
    FAIL_RX = "MPTcpExtMPFailRx", "MP_FAIL received"
    FASTCLOSE_TX = "MPTcpExtMPFastcloseTx", "MP_FASTCLOSE sent"
    FASTCLOSE_RX = "MPTcpExtMPFastcloseRx", "MP_FASTCLOSE received"
    RST_TX = "MPTcpExtMPRstTx", "MP_TCPRST sent"
    RST_RX = "MPTcpExtMPRstRx", "MP_TCPRST received"
    INFINITE_MAP_TX = "MPTcpExtInfiniteMapTx", "infinite mappings sent"
    INFINITE_MAP_RX = "MPTcpExtInfiniteMapRx", "infinite mappings received"
    SUBFLOW_STALE = "MPTcpExtSubflowStale", "subflows set aside because nothing came back"
    SUBFLOW_RECOVER = "MPTcpExtSubflowRecover", "subflows that came back into use"
    CURR_ESTAB = "MPTcpExtMPCurrEstab", "connections established now (a level, not a sum)"
    PACKETS_FROM_HOST = "MpcoreExtPacketsFromHost", "packets caught on their way out of a local socket"
    PACKETS_FROM_NETWORK = "MpcoreExtPacketsFromNetwork", "packets caught on their way in"
    BYTES_FROM_HOST = "MpcoreExtBytesFromHost", "bytes of packets from the host, headers included"
    BYTES_FROM_NETWORK = "MpcoreExtBytesFromNetwork", "bytes of packets from the network, headers included"
    PASSED = "MpcoreExtPassed", "verdict: untouched"
    REWRITTEN = "MpcoreExtRewritten", "verdict: passed with new bytes"
    DROPPED = "MpcoreExtDropped", "verdict: consumed or refused"
    HELD = "MpcoreExtHeld", "verdict: kept in the kernel's queue for later"
    PUNTED = "MpcoreExtPunted", "packets that the control plane decided on"
    LEFT = "MpcoreExtLeft", "verdict: the connection needs mpcore no more"
    TRANSMIT_HOST = "MpcoreExtTransmitHost", "packets handed to local sockets"
    TRANSMIT_NETWORK = "MpcoreExtTransmitNetwork", "packets sent to the network"
    TRANSMIT_FULL = "MpcoreExtTransmitFull", "packets not sent: their transmit ring was full"
    INJECTED_BYTES = "MpcoreExtInjectedBytes", "payload bytes handed to local sockets"
    HOST_RETRANSMIT = "MpcoreExtHostRetransmit", "segments that the local socket sent again"
    SUBFLOW_RETRANSMIT = "MpcoreExtSubflowRetransmit", "segments sent again on their subflow"
    SUBFLOW_TIMEOUT = "MpcoreExtSubflowTimeout", "retransmission timeouts of subflows"
    SUBFLOW_TAIL_PROBE = "MpcoreExtSubflowTailProbe", "tail loss probes sent"
    REINJECTED = "MpcoreExtReinjected", "segments sent again on another subflow"
    MALFORMED_IP = "MpcoreExtMalformedIp", "packets whose IP header is not legal"
    MALFORMED_TCP = "MpcoreExtMalformedTcp", "packets whose TCP header is not legal"
    MALFORMED_OPTION = "MpcoreExtMalformedOption", "MPTCP options that are not legal, and were ignored"
    BAD_CHECKSUM = "MpcoreExtBadChecksum", "packets whose TCP checksum is wrong"
    PAWS_DROPPED = "MpcoreExtPawsDropped", "packets with an old timestamp"
    OUT_OF_WINDOW = "MpcoreExtOutOfWindow", "packets outside the subflow's window"
    ACK_AHEAD = "MpcoreExtAckAhead", "subflow ACKs for data never sent"
    UNMAPPED_DATA = "MpcoreExtUnmappedData", "payload without a mapping"
    DATA_ACK_AHEAD = "MpcoreExtDataAckAhead", "DATA_ACKs for data never sent"
    MEMORY_REFUSED = "MpcoreExtMemoryRefused", "allocations refused by limits.memory_bytes"
    TABLE_FULL = "MpcoreExtTableFull", "connections left plain: limits.max_connections reached"
    RESET_IGNORED = "MpcoreExtResetIgnored", "RSTs that no rule accepts"
    SYN_IGNORED = "MpcoreExtSynIgnored", "SYNs on an established subflow"
    UNKNOWN_FLOW = "MpcoreExtUnknownFlow", "packets of no known connection"
    CARRIED = "MpcoreExtCarried", "super-packets sent in a waiting packet of the host"
    ACK_OLD = "MpcoreExtAckOld", "subflow ACKs from before the largest window"
    SACK_IGNORED = "MpcoreExtSackIgnored", "SACK blocks that make no sense, and were ignored"
    SUBFLOW_UNDO = "MpcoreExtSubflowUndo", "losses and timeouts of subflows that turned out not to be any"
    SHIM6_FOREIGN = "Shim6ExtForeign", "packets that are not IPv6, or too damaged to look at"
    SHIM6_EXEMPT = "Shim6ExtExempt", "packets never shimmed: discovery, link scope, own control messages"
    SHIM6_PLAIN = "Shim6ExtPlain", "packets between addresses that have no context"
    SHIM6_UNTOUCHED_TX = "Shim6ExtUntouchedTX", "packets of contexts that left between their ULIDs"
    SHIM6_UNTOUCHED_RX = "Shim6ExtUntouchedRX", "packets of contexts that came between their ULIDs"
    SHIM6_PAYLOAD_TX = "Shim6ExtPayloadTX", "packets that left with locators and the payload header"
    SHIM6_PAYLOAD_RX = "Shim6ExtPayloadRX", "packets that got their ULIDs back"
    SHIM6_CONTROL_RX = "Shim6ExtControlRX", "control messages handed to the control core"
    SHIM6_PAYLOAD_PUNTED = "Shim6ExtPayloadPunted", "payload headers that the control core decided on"
    SHIM6_ICMP_RX = "Shim6ExtIcmpRX", "ICMPv6 errors about packets of contexts or with a Shim6 header"
    SHIM6_ICMP_MAPPED = "Shim6ExtIcmpMapped", "of these, handed up with their ULIDs put back"
    SHIM6_ICMP_ABSORBED = "Shim6ExtIcmpAbsorbed", "of these, dropped: the shim acts on them"
    SHIM6_PAYLOAD_MALFORMED = "Shim6ExtPayloadMalformed", "dropped: Shim6 headers cut short or too long"
    SHIM6_PAYLOAD_ADDRESS = "Shim6ExtPayloadAddress", "dropped: payload headers on link or group addresses"
    SHIM6_PAYLOAD_INSANE = "Shim6ExtPayloadInsane", "dropped: payload headers before what has no place there"
    SHIM6_PAYLOAD_STRANGE = "Shim6ExtPayloadStrange", "dropped: payload headers on locators of no context"
    SHIM6_FRAGMENT = "Shim6ExtFragment", "dropped: Shim6 headers within fragments"
    SHIM6_SUPER_PACKET = "Shim6ExtSuperPacket", "dropped: super-packets, which cannot carry the header"
    SHIM6_UNSENDABLE = "Shim6ExtUnsendable", "dropped: packets of the host that the header does not fit into"
    SHIM6_LIMIT_PUNT = "Shim6ExtLimitPunt", "dropped: more packets to decide on in a second than allowed"
    SHIM6_LIMIT_TALK = "Shim6ExtLimitTalk", "packets not counted: too many conversations at once"
    CE_RX = "MpcoreExtCeRx", "packets of subflows that a congested router had marked (CE)"
    ECN_REDUCED = "MpcoreExtEcnReduced", "windows reduced because the peer told of a mark"
    ICMP_RX = "MpcoreExtIcmpRx", "ICMP errors about packets of subflows"
    ICMP_IGNORED = "MpcoreExtIcmpIgnored", "of these, ignored: about nothing in flight, or no reason to act"
    MTU_REDUCED = "MpcoreExtMtuReduced", "segment sizes lowered because a path takes no larger packets"
    SCHEDULER_FAULT = "MpcoreExtSchedulerFault", "choices made by lowest-rtt because the program's own failed"


COUNTER_COUNT = len(Counter)
COUNTERS_BY_MIB = {counter.mib: counter for counter in Counter}


def name_counters(values: Sequence[int]) -> dict[str, int]:
    """Return `values`, one a counter in order of index, by MIB name."""
    return {counter.mib: value for counter, value in zip(Counter, values, strict=True)}
