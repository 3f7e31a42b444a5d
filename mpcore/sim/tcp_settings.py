"""The knobs of the model host's TCP."""

from __future__ import annotations

from dataclasses import dataclass

_MS = 1_000_000
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSettings:
    """What an operator would set with sysctl; the defaults follow Linux where it matters to a peer."""

    mtu: int = 1500  # of the device, which gives the MSS that is announced
    send_buffer_bytes: int = 1 << 20
    receive_buffer_bytes: int = 1 << 20
    window_scale: int | None = 7  # None: not offered (RFC 7323 §2)
    sack: bool = True  # offers SACK and reports holes; the model's own sender does not use what it learns
    timestamps: bool = True
    super_packet_bytes: int = (
        65160  # most payload handed down in one piece; what the wire sees is cut to the MSS
    )
    ecn: bool = False  # asks for ECN and agrees to it (RFC 3168 §6.1.1); the model's own data takes no marks
    quick_ack: bool = False  # acknowledge every segment at once
    delayed_ack_ns: int = 40 * _MS
    congestion: bool = True  # Reno; False sends whatever the peer's window allows
    rto_min_ns: int = 200 * _MS
    rto_max_ns: int = 120 * _SECOND
    rto_initial_ns: int = 1 * _SECOND  # RFC 6298 §2.1
    syn_retries: int = 6
    data_retries: int = 15
    time_wait_ns: int = 60 * _SECOND
    isn: int | None = None  # for tests of wrapping; None draws one
