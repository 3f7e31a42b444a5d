"""What an MP_CAPABLE must be at each step of the handshake (RFC 8684 §3.1).

Each function returns None for an option that will do, and else why the connection is plain TCP.
"""

from mpcore.mptcp.states import FallbackReason
from mpcore.wire.values import CapableFlag, MpCapable, MpJoinSyn, MpJoinSynAck, MpV0Option, Segment

VERSION = 1
_EXTENSION, _HMAC_SHA256 = CapableFlag.EXTENSION.value, CapableFlag.HMAC_SHA256.value
_ALGORITHMS = 0x1F  # D to H


def syn_fault(segment: Segment, option: MpCapable | None) -> FallbackReason | None:
    """Return why a peer's SYN is not the start of MPTCP.

    A higher version is none: the answer then names ours (RFC 8684 §3.1).
    """
    if option is None:
        v0 = segment.find(MpV0Option) is not None
        return FallbackReason.WRONG_VERSION if v0 else FallbackReason.NOT_OFFERED
    if segment.find(MpJoinSyn) is not None:
        return FallbackReason.BOTH_OPTIONS
    if option.version < VERSION:
        return FallbackReason.WRONG_VERSION
    if option.key_sender is not None:
        return FallbackReason.NOT_OFFERED
    return _flags_fault(option.flags)


def syn_ack_fault(segment: Segment, option: MpCapable | None) -> FallbackReason | None:
    """Return why a SYN/ACK does not accept MPTCP."""
    if option is None:
        v0 = segment.find(MpV0Option) is not None
        return FallbackReason.WRONG_VERSION if v0 else FallbackReason.NOT_ACCEPTED
    if segment.find(MpJoinSynAck) is not None:
        return FallbackReason.BOTH_OPTIONS
    if option.version != VERSION:
        return FallbackReason.WRONG_VERSION
    if option.key_sender is None or option.key_receiver is not None:
        return FallbackReason.NOT_ACCEPTED
    return _flags_fault(option.flags)


def third_ack_fault(option: MpCapable | None, key_local: int) -> FallbackReason | None:
    """Return why the packet that completes the handshake does not confirm MPTCP."""
    if option is None or option.key_receiver is None:
        return FallbackReason.NOT_CONFIRMED
    if option.version != VERSION:
        return FallbackReason.WRONG_VERSION
    if option.key_receiver != key_local:
        return FallbackReason.WRONG_KEYS
    return _flags_fault(option.flags)


def _flags_fault(flags: int) -> FallbackReason | None:
    """RFC 8684 §3.1: B must be 0, and HMAC-SHA256 is the one algorithm that exists."""
    if flags & (_EXTENSION | _ALGORITHMS) != _HMAC_SHA256:
        return FallbackReason.WRONG_FLAGS
    return None
