"""Numbers of Shim6 and REAP that Python code names (RFC 5533 §17, RFC 5534 §5)."""

from enum import IntEnum, IntFlag

PROTOCOL_SHIM6 = 140
"""Next Header value of the Shim6 header, control message or payload extension header alike."""

NO_NEXT_HEADER = 59
"""What stands in Next Header of a control message (RFC 8200 §4.7)."""

TAG_MAX = (1 << 47) - 1
"""The largest context tag: 47 bits (RFC 5533 §5.2)."""

PACKET_MAX = 1280
"""Octets of the largest packet that carries a control message, IPv6 header included (RFC 5533 §5.1)."""

MESSAGE_MAX = PACKET_MAX - 40
"""Octets of the largest control message; extension headers in front of it make it smaller still."""

PAYLOAD_HEADER_SIZE = 8
"""Octets of the payload extension header (RFC 5533 §5.2)."""

PROBES_MAX = 15
"""The most sent, and the most received, probes that one Probe lists: the counts have 4 bits each."""


class MessageType(IntEnum):
    """Control messages (RFC 5533 §5.3, table 1); 64 to 127 name a context of the receiver."""

    I1 = 1
    R1 = 2
    I2 = 3
    R2 = 4
    R1BIS = 5
    I2BIS = 6
    UPDATE_REQUEST = 64
    UPDATE_ACK = 65
    KEEPALIVE = 66
    PROBE = 67
    ERROR = 68


class OptionType(IntEnum):
    """Options (RFC 5533 §5.15, table 3), without the critical bit."""

    RESPONDER_VALIDATOR = 1
    LOCATOR_LIST = 2
    LOCATOR_PREFERENCES = 3
    CGA_PARAMETERS = 4
    CGA_SIGNATURE = 5
    ULID_PAIR = 6
    FORKED_INSTANCE = 7
    KEEPALIVE_TIMEOUT = 10


class VerificationMethod(IntEnum):
    """How a locator is verified (RFC 5533 §5.15.2, table 4).

    The text of RFC 5533 §17 has the two swapped; implementations and Wireshark follow the table.
    """

    HBA = 1
    CGA = 2


class ErrorCode(IntEnum):
    """Codes of the Error message (RFC 5533 §5.14, table 2); 120 to 127 are for debugging."""

    UNKNOWN_MESSAGE = 0
    CRITICAL_OPTION = 1
    VERIFICATION_FAILED = 2
    GENERATION = 3
    LOCATOR_COUNT = 4


class PreferenceFlag(IntFlag):
    """Flags of a locator (RFC 5533 §5.15.3)."""

    BROKEN = 0x01
    TRANSIENT = 0x02


class ReachabilityState(IntEnum):
    """What a Probe says of its sender (RFC 5534 §5.2)."""

    OPERATIONAL = 0
    EXPLORING = 1
    INBOUND_OK = 2
