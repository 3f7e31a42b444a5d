"""One MP_JOIN handshake under way: its numbers, its packets and its proofs (RFC 8684 §3.2).

Timestamps count milliseconds from a random start (RFC 7323 §5.4, §7.1).
"""

from dataclasses import dataclass

from mpcore.actions import OpenSubflow, SubflowReady, Transmit
from mpcore.mptcp import keys
from mpcore.mptcp.flow import FlowKey
from mpcore.mptcp.syn import ACK, CWR, ECE, RST, SYN, SynParameters, agreed_scales, next_seq
from mpcore.wire.values import (
    MaxSegmentSize,
    MpJoinSyn,
    MpJoinSynAck,
    MpTcpRst,
    ResetReason,
    SackPermitted,
    Segment,
    TcpOption,
    Timestamps,
    WindowScale,
    emit_segment,
)

WINDOW = 65535  # a SYN's window is never scaled (RFC 7323 §2.2)
MILLISECOND_NS = 1_000_000


def refusal(ready: SubflowReady) -> Transmit:
    """Return the RST for a subflow that found no place after its handshake (RFC 8684 §3.6)."""
    segment = Segment(
        version=ready.version,
        src=ready.local,
        dst=ready.remote,
        src_port=ready.local_port,
        dst_port=ready.remote_port,
        seq=next_seq(ready.isn_local),
        ack=next_seq(ready.isn_remote),
        flags=RST | ACK,
        window=0,
        options=(MpTcpRst(ResetReason.LACK_OF_RESOURCES),),
    )
    return Transmit(False, ready.local, emit_segment(segment))


@dataclass(slots=True, kw_only=True)
class Joining:
    """The state of a join.

    `action` is what this host asked for, None where the peer began; `ecn`: this host wants ECN on it.
    """

    key: FlowKey
    token: int
    key_local: int
    key_remote: int
    isn: int
    nonce: int
    ts_base: int
    started_ns: int
    mss: int
    wscale: int
    local_id: int
    backup: bool
    ecn: bool = False
    action: OpenSubflow | None = None
    token_remote: int = 0
    remote: SynParameters | None = None
    nonce_remote: int = 0
    remote_id: int = 0
    peer_backup: bool = False
    ts_recent: int = 0
    retransmissions: int = 0

    def syn(self, now_ns: int) -> Transmit:
        """Return the initiator's SYN; one that is repeated does not ask for ECN again (RFC 3168 §6.1.1.1)."""
        flags = SYN | ECE | CWR if self.ecn and not self.retransmissions else SYN
        option = MpJoinSyn(self.token_remote, self.nonce, self.local_id, self.backup)
        common = (MaxSegmentSize(self.mss), SackPermitted(), self._stamp(now_ns))
        return self._emit(flags, 0, [*common, *self._scale(), option])

    def syn_ack(self, now_ns: int) -> Transmit:
        """Return the responder's SYN/ACK: of TCP's options, those that the SYN offered."""
        remote = self._heard()
        hmac = self.hmac_local()[: keys.JOIN_SYNACK_HMAC_SIZE]
        options: list[TcpOption] = [MaxSegmentSize(self.mss)]
        if remote.sack:
            options.append(SackPermitted())
        if remote.timestamps:
            options.append(self._stamp(now_ns))
        if remote.wscale >= 0:
            options.extend(self._scale())
        option = MpJoinSynAck(hmac, self.nonce, self.local_id, self.backup)
        flags = SYN | ACK | (ECE if self.ecn and remote.ecn else 0)
        return self._emit(flags, next_seq(remote.isn), [*options, option])

    def repeats(self, segment: Segment, option: MpJoinSyn) -> bool:
        """Tell whether a SYN is the one already answered."""
        return (segment.seq, option.nonce, option.token) == (self._heard().isn, self.nonce_remote, self.token)

    def hear(self, segment: Segment) -> None:
        """Remember the peer's latest timestamp."""
        stamp = segment.find(Timestamps)
        if stamp is not None:
            self.ts_recent = stamp.value

    def hmac_local(self) -> bytes:
        """Return the HMAC by which this host proves its keys."""
        return keys.join_hmac(self.key_local, self.key_remote, self.nonce, self.nonce_remote)

    def hmac_remote(self) -> bytes:
        """Return the HMAC by which the peer proves its keys."""
        return keys.join_hmac(self.key_remote, self.key_local, self.nonce_remote, self.nonce)

    def ready(self, now_ns: int, hmac: bytes | None) -> SubflowReady:
        """Return the effect that hands the subflow to the engine; `ts_local` is the timestamp of now."""
        version, address_local, port_local, address_remote, port_remote = self.key
        remote = self._heard()
        offered = SynParameters(self.isn, WINDOW, self.mss, self.wscale, True, True, 0)
        wscale_local, wscale_remote = agreed_scales(offered, remote)
        return SubflowReady(
            token=self.token,
            version=version,
            local=address_local,
            remote=address_remote,
            local_port=port_local,
            remote_port=port_remote,
            local_id=self.local_id,
            remote_id=self.remote_id,
            backup=self.backup,
            peer_backup=self.peer_backup,
            isn_local=self.isn,
            isn_remote=remote.isn,
            mss_local=self.mss,
            mss_remote=remote.mss,
            wscale_local=wscale_local,
            wscale_remote=wscale_remote,
            sack=remote.sack,
            timestamps=remote.timestamps,
            ts_local=self._ts_value(now_ns),
            ts_remote=self.ts_recent or remote.ts_value,
            window=remote.window,
            hmac=hmac,
            ecn=self.ecn and remote.ecn,
            rtt_ns=0 if self.retransmissions else now_ns - self.started_ns,
        )

    def _heard(self) -> SynParameters:
        assert self.remote is not None, "the peer's SYN is known from here on"
        return self.remote

    def _ts_value(self, now_ns: int) -> int:
        return (self.ts_base + (now_ns - self.started_ns) // MILLISECOND_NS) & 0xFFFFFFFF

    def _stamp(self, now_ns: int) -> Timestamps:
        return Timestamps(self._ts_value(now_ns), self.ts_recent)

    def _scale(self) -> list[WindowScale]:
        return [WindowScale(self.wscale)] if self.wscale >= 0 else []

    def _emit(self, flags: int, ack: int, options: list[TcpOption]) -> Transmit:
        version, local, port_local, remote, port_remote = self.key
        segment = Segment(
            version=version,
            src=local,
            dst=remote,
            src_port=port_local,
            dst_port=port_remote,
            seq=self.isn,
            ack=ack,
            flags=flags,
            window=WINDOW,
            options=tuple(options),
        )
        return Transmit(False, local, emit_segment(segment))
