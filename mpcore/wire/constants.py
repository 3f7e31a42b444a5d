"""Numbers of TCP and MPTCP that Python code names; the compiled headers hold the same ones."""

from enum import IntEnum, IntFlag


class TcpFlag(IntFlag):
    """Control bits of the TCP header (RFC 9293 §3.1)."""

    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10
    URG = 0x20
    ECE = 0x40
    CWR = 0x80


class OptionKind(IntEnum):
    """Kinds of TCP options."""

    END = 0
    NOP = 1
    MAX_SEGMENT_SIZE = 2
    WINDOW_SCALE = 3
    SACK_PERMITTED = 4
    SACK = 5
    TIMESTAMPS = 8
    MD5 = 19
    AUTHENTICATION = 29
    MPTCP = 30
    FAST_OPEN = 34


class Subtype(IntEnum):
    """Subtypes of the MPTCP option (RFC 8684 §7.2)."""

    MP_CAPABLE = 0
    MP_JOIN = 1
    DSS = 2
    ADD_ADDR = 3
    REMOVE_ADDR = 4
    MP_PRIO = 5
    MP_FAIL = 6
    MP_FASTCLOSE = 7
    MP_TCPRST = 8
    EXPERIMENTAL = 15


class CapableFlag(IntFlag):
    """Flags of MP_CAPABLE (RFC 8684 §3.1)."""

    CHECKSUM = 0x80
    EXTENSION = 0x40
    NO_JOIN = 0x20
    HMAC_SHA256 = 0x01


class DssFlag(IntFlag):
    """Flags of DSS (RFC 8684 §3.3)."""

    ACK = 0x01
    ACK64 = 0x02
    MAP = 0x04
    SEQ64 = 0x08
    DATA_FIN = 0x10


class ResetReason(IntEnum):
    """Reasons of MP_TCPRST (RFC 8684 §3.6)."""

    UNSPECIFIED = 0
    PROTOCOL_ERROR = 1
    LACK_OF_RESOURCES = 2
    PROHIBITED = 3
    TOO_MUCH_OUTSTANDING = 4
    UNACCEPTABLE_PERFORMANCE = 5
    MIDDLEBOX = 6
