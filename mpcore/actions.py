"""What cores and policies ask for: verdicts and packets, actions of policies, effects of cores.

All are plain values: a policy returns actions and touches nothing; a control core returns effects, and the
endpoint applies them to the engine. Addresses are 4 or 16 raw octets, ports and keys integers, times integer
nanoseconds, windows and sizes octets. `token` is the local token of the connection (RFC 8684 §3.1).
"""

from enum import IntEnum

from mpcore.value import value


class Direction(IntEnum):
    """Where a packet comes from; values as in mpcore/store/packet.pxd."""

    FROM_HOST = 0
    FROM_NETWORK = 1


class VerdictKind(IntEnum):
    """What becomes of a packet; values as in mpcore/store/packet.pxd."""

    PASS = 0
    REWRITE = 1
    HOLD = 2
    DROP = 3
    PUNT = 4
    LEAVE = 5


class Role(IntEnum):
    """Which end of the first subflow's handshake this host is."""

    CLIENT = 0
    SERVER = 1


@value
class Verdict:
    """The verdict on one packet; `data` is the new packet when `kind` is REWRITE."""

    kind: VerdictKind
    data: bytes | None = None


@value
class Transmit:
    """A packet to send: to a local socket, or to the network from the address `local`.

    With `carrier` it is no packet of its own: the host's super-packet of that id, on HOLD, leaves with `data`
    in place of its own bytes and is cut to segments as it would have been; without data it is dropped.
    """

    to_host: bool
    local: bytes
    data: bytes
    carrier: int | None = None


# Actions: what a policy asks for.


@value
class OpenSubflow:
    """Join a subflow from `local` to `remote`; the source port is drawn when `local_port` is None."""

    local: bytes
    remote: bytes
    remote_port: int
    local_id: int
    remote_id: int
    backup: bool = False
    local_port: int | None = None


@value
class AdvertiseAddress:
    """Send ADD_ADDR for a local address; without `port` the peer uses that of the first subflow."""

    address: bytes
    address_id: int
    port: int | None = None


@value
class WithdrawAddress:
    """Send REMOVE_ADDR for a local address."""

    address_id: int


@value
class CloseSubflow:
    """End a subflow: with FIN, or at once with RST and MP_TCPRST of that reason (RFC 8684 §3.6)."""

    path_index: int
    reset_reason: int | None = None


@value
class SetPriority:
    """Tell the peer by MP_PRIO whether it may use the subflow before others fail (RFC 8684 §3.3.8)."""

    path_index: int
    backup: bool


Action = OpenSubflow | AdvertiseAddress | WithdrawAddress | CloseSubflow | SetPriority


# Effects: what a control core has decided, for the endpoint to apply.


@value(kw_only=True)
class OpenConnection:
    """A connection whose MP_CAPABLE handshake succeeded; what the engine needs for its first subflow.

    `window` is the peer's, unscaled, from its SYN. `wscale_*` are -1 when scaling is not in use. `ecn`: both
    ends agreed on it; `ecn_wanted`: this host asked for it or would have agreed (RFC 3168 §6.1.1). `rtt_ns`:
    what the handshake took, 0 where a repeat leaves it unknown (RFC 6298 §3).
    """

    role: Role
    version: int
    local: bytes
    remote: bytes
    local_port: int
    remote_port: int
    key_local: int
    key_remote: int
    isn_local: int
    isn_remote: int
    mss_local: int
    mss_remote: int
    wscale_local: int
    wscale_remote: int
    sack: bool
    timestamps: bool
    ts_local: int
    ts_remote: int
    window: int
    checksum: bool
    peer_no_join: bool
    ecn: bool = False
    ecn_wanted: bool = False
    rtt_ns: int = 0


@value(kw_only=True)
class SubflowReady:
    """A joined subflow whose handshake succeeded.

    `hmac` is what the initiator's third ACK carries: the engine sends that ACK, repeats it until the peer's
    answer and sends no data before it. It is None at the responder, whose subflow is established; there the
    engine sends the fourth ACK (RFC 8684 §3.2). `backup` is this host's wish, `peer_backup` the peer's.
    `rtt_ns`: what the handshake took, 0 where a repeat leaves it unknown (RFC 6298 §3).
    """

    token: int
    version: int
    local: bytes
    remote: bytes
    local_port: int
    remote_port: int
    local_id: int
    remote_id: int
    backup: bool
    peer_backup: bool
    isn_local: int
    isn_remote: int
    mss_local: int
    mss_remote: int
    wscale_local: int
    wscale_remote: int
    sack: bool
    timestamps: bool
    ts_local: int
    ts_remote: int
    window: int
    hmac: bytes | None
    ecn: bool = False
    rtt_ns: int = 0


@value
class JoinFailed:
    """A join that this host began and that came to nothing.

    `reason` is for people; `transient` tells that its cause may pass (RFC 8684 §3.6, flag T), `unanswered`
    that there was no word of the peer.
    """

    token: int
    action: OpenSubflow
    reason: str
    transient: bool = False
    unanswered: bool = False


@value
class FallBack:
    """The connection goes on as plain TCP."""

    reason: str


@value
class StartJoin:
    """Begin the MP_JOIN handshake that a policy asked for and the core allowed.

    Each one ends in a SubflowReady or a JoinFailed that the connection's control core must hear of.
    """

    token: int
    action: OpenSubflow


@value
class SendOptions:
    """Send option bytes on an ACK of their own; on any live subflow when `path_index` is None."""

    path_index: int | None
    data: bytes


@value
class CheckSubflow:
    """Ask a subflow for an answer soon; one that has `lost` its way is not relied on until it gave one."""

    path_index: int
    lost: bool


@value
class SetBackup:
    """Change how the engine's scheduler treats a subflow: by the peer's wish, or by this host's."""

    path_index: int
    backup: bool
    by_peer: bool
