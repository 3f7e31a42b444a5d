"""MPTCP options as values (RFC 8684 §3).

Keys, tokens, nonces and sequence numbers are ints, addresses and HMACs raw bytes. A value that was parsed is
legal in itself; whether it may stand in this segment, in this state, is the handshake's business. Reserved
bits are ignored on receipt and sent as zero.
"""

from typing import TypeAlias

from mpcore.value import value


@value
class MpCapable:
    """MP_CAPABLE (§3.1): no key in a SYN, one in a SYN/ACK, both in an ACK, with `data_len` on first data."""

    version: int = 1
    flags: int = 0x01
    key_sender: int | None = None
    key_receiver: int | None = None
    data_len: int | None = None
    checksum: int | None = None


@value
class MpJoinSyn:
    """MP_JOIN of a SYN (§3.2); `token` names the receiver's connection."""

    token: int
    nonce: int
    address_id: int
    backup: bool = False


@value
class MpJoinSynAck:
    """MP_JOIN of a SYN/ACK (§3.2); `hmac` is the leftmost 8 bytes."""

    hmac: bytes
    nonce: int
    address_id: int
    backup: bool = False


@value
class MpJoinAck:
    """MP_JOIN of the third ACK (§3.2); `hmac` is the leftmost 20 bytes."""

    hmac: bytes


@value
class Dss:
    """Data sequence signal (§3.3).

    `data_ack` and `data_seq` are as on the wire: with 32 bits unless `ack64`, `seq64`. A mapping is
    `data_seq`, `subflow_seq` (relative to the subflow's ISN) and `data_len` in bytes, all three or none.
    """

    data_ack: int | None = None
    ack64: bool = True
    data_seq: int | None = None
    seq64: bool = True
    subflow_seq: int | None = None
    data_len: int | None = None
    checksum: int | None = None
    data_fin: bool = False


@value
class AddAddr:
    """ADD_ADDR (§3.4.1); `hmac` is the rightmost 8 bytes, and absent from an echo only."""

    address_id: int
    address: bytes
    port: int | None = None
    echo: bool = False
    hmac: bytes | None = None


@value
class RemoveAddr:
    """REMOVE_ADDR (§3.4.2) of one or more address ids."""

    address_ids: tuple[int, ...]


@value
class MpPrio:
    """MP_PRIO (§3.3.8); only version 0 has an `address_id`."""

    backup: bool
    address_id: int | None = None


@value
class MpFail:
    """MP_FAIL (§3.7): the data sequence number of the mapping whose checksum failed."""

    data_seq: int


@value
class MpFastclose:
    """MP_FASTCLOSE (§3.5) with the key of the host that receives it."""

    receiver_key: int


@value
class MpTcpRst:
    """MP_TCPRST (§3.6); `flags` is four bits, T = 0x01 for a cause that may pass."""

    reason: int
    flags: int = 0


@value
class MpExperimental:
    """An option of subtype 15; `data` is all after kind and length."""

    data: bytes


@value
class MpV0Option:
    """An option in a form that only version 0 has (RFC 6824); `data` is all after kind and length."""

    subtype: int
    data: bytes


@value
class MalformedMptcp:
    """An option of unknown subtype or impossible length, ignored by all; `data` is after kind and length."""

    data: bytes


MptcpOption: TypeAlias = (
    MpCapable
    | MpJoinSyn
    | MpJoinSynAck
    | MpJoinAck
    | Dss
    | AddAddr
    | RemoveAddr
    | MpPrio
    | MpFail
    | MpFastclose
    | MpTcpRst
    | MpExperimental
    | MpV0Option
    | MalformedMptcp
)
