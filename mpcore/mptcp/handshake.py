"""The MP_CAPABLE handshake (RFC 8684 §3.1), spoken on behalf of a host whose TCP knows nothing of it.

The host's own SYN and SYN/ACK are the subflow's: they are rewritten on their way, so that the peer sees MPTCP
and the host sees TCP. As client:

    host SYN        -> + MP_CAPABLE(4)                     REWRITE to the network
    network SYN/ACK -> - MP_CAPABLE(12), smaller MSS       REWRITE to the host, OpenConnection

and from then on the engine owns the connection: the host's third ACK is the first packet that it consumes,
and it sends MP_CAPABLE(20) itself. As server:

    network SYN     -> - MP_CAPABLE(4), smaller MSS        REWRITE to the host
    host SYN/ACK    -> + MP_CAPABLE(12) with our key       REWRITE to the network, the same each time
    network ACK with MP_CAPABLE(20, 22, 24)                OpenConnection, DROP and `reprocess`: the engine's

Everything else ends in LEAVE with a FallbackReason: the kernel carries the connection alone. The smaller MSS
leaves room for the DSS option in segments cut at the host's size. ECN is agreed on by the two hosts' own
flags (RFC 3168 §6.1.1): the engine obeys marks, and a connection that falls back goes on with what both TCPs
agreed on. A handshake is kept until it ends, until HALF_OPEN_TIMEOUT_NS after its last packet, or until newer
ones need its place.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from mpcore.actions import Direction, OpenConnection, Role, Verdict, VerdictKind
from mpcore.config import LimitsConfig, MptcpConfig
from mpcore.counters import COUNTER_COUNT, Counter
from mpcore.mptcp import keys
from mpcore.mptcp.blackhole import BlackholeCache
from mpcore.mptcp.capable import VERSION, syn_ack_fault, syn_fault, third_ack_fault
from mpcore.mptcp.flow import FlowKey, flow_key
from mpcore.mptcp.states import FallbackReason
from mpcore.mptcp.syn import (
    ACK,
    RST,
    SYN,
    SynParameters,
    agreed_scales,
    asks_fast_open,
    is_authenticated,
    is_loopback,
    next_seq,
    speaks_mptcp,
    syn_parameters,
    towards_host,
    with_option,
)
from mpcore.value import value
from mpcore.wire.values import CapableFlag, Dss, MpCapable, Segment, Timestamps

HALF_OPEN_TIMEOUT_NS = 60_000_000_000  # longer than the longest gap between a host's SYN/ACKs
_CHECKSUM, _NO_JOIN = CapableFlag.CHECKSUM.value, CapableFlag.NO_JOIN.value
_HMAC_SHA256 = CapableFlag.HMAC_SHA256.value
MSS_RESERVE = 28  # the largest DSS option (RFC 8684 §3.3)


@value
class Decision:
    """What becomes of a packet of a handshake.

    Attributes:
        verdict: the packet's verdict
        open: a connection that the engine takes over now
        reprocess: hand the packet to the engine once `open` is applied
        transmits: packets to send to the network
        reason: why the connection is plain TCP, when `verdict` is LEAVE
    """

    verdict: Verdict
    open: OpenConnection | None = None
    reprocess: bool = False
    transmits: tuple[bytes, ...] = ()
    reason: str | None = None


# A SYN with MP_CAPABLE that is none (RFC 8684 §3.1).
_CAPABLE_FAULTS = (FallbackReason.BOTH_OPTIONS, FallbackReason.WRONG_VERSION, FallbackReason.WRONG_FLAGS)

_PASS = Decision(Verdict(VerdictKind.PASS))
_DROP = Decision(Verdict(VerdictKind.DROP))


@dataclass(slots=True)
class _HalfOpen:
    """A handshake under way; `flags` are those of our last MP_CAPABLE."""

    role: Role
    key_local: int
    token: int
    deadline_ns: int
    local: SynParameters | None = None
    remote: SynParameters | None = None
    peer_flags: int = 0
    retransmissions: int = 0
    sent_ns: int | None = None  # the SYN or SYN/ACK to be answered; None: it was repeated
    retreated: bool = False  # the last SYN had no MP_CAPABLE


class Negotiator:
    """Decides on each packet that belongs to no established connection and to no join.

    Args:
        config: roles, exclusions, checksum and patience
        limits: `max_half_open` bounds the handshakes kept
        rng: source of keys
        token_in_use: tells whether an established connection has this local token
        has_room: tells whether one more connection could be taken over
        counts: one integer a `Counter`, which this object raises

    Attributes:
        blackholes: peers that get no MP_CAPABLE for a while (RFC 8684 §3.9.3)
        own_mptcp_seen: a program of this host spoke MPTCP itself; the kernel has tokens unknown here
    """

    def __init__(
        self,
        config: MptcpConfig,
        limits: LimitsConfig,
        rng: keys.RandomSource,
        token_in_use: Callable[[int], bool],
        counts: list[int] | None = None,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._config = config
        self._limits = limits
        self._rng = rng
        self._token_in_use = token_in_use
        self._has_room = has_room
        self._half_open: OrderedDict[FlowKey, _HalfOpen] = OrderedDict()  # oldest activity first
        self._servers = 0  # how many of them are a server's
        self._tokens: set[int] = set()
        self.counts = counts if counts is not None else [0] * COUNTER_COUNT
        self.own_mptcp_seen = False
        self.blackholes = BlackholeCache(config.blackhole_ns)

    def __len__(self) -> int:
        return len(self._half_open)

    @property
    def awaits_third_ack(self) -> bool:
        """Whether a handshake goes on with a packet that is neither SYN nor RST."""
        return self._servers > 0

    def handle_packet(self, direction: Direction, segment: Segment, now_ns: int) -> Decision:
        """Return the decision on a packet; `now_ns` is monotonic."""
        self.handle_timeout(now_ns)
        key = flow_key(direction, segment)
        half = self._half_open.get(key)
        if half is None:
            return self._handle_unknown(direction, key, segment, now_ns)
        if half.role is Role.CLIENT:
            handle = self._client_host if direction is Direction.FROM_HOST else self._client_network
        else:
            handle = self._server_host if direction is Direction.FROM_HOST else self._server_network
        return handle(key, half, segment, now_ns)

    def poll_timeout(self) -> int | None:
        """Return when the oldest handshake expires."""
        return next((half.deadline_ns for half in self._half_open.values()), None)

    def handle_timeout(self, now_ns: int) -> None:
        """Forget handshakes that have expired."""
        while self._half_open:
            key, half = next(iter(self._half_open.items()))
            if half.deadline_ns > now_ns:
                return
            self._forget(key)

    def _handle_unknown(self, direction: Direction, key: FlowKey, segment: Segment, now_ns: int) -> Decision:
        if direction is Direction.FROM_HOST and speaks_mptcp(segment):
            self.own_mptcp_seen = True
        if segment.flags & (SYN | ACK | RST) != SYN:
            return _leave(FallbackReason.BEGAN_BEFORE)
        if direction is Direction.FROM_HOST:
            return self._start_client(key, segment, now_ns)
        return self._start_server(key, segment, now_ns)

    # Client

    def _start_client(self, key: FlowKey, segment: Segment, now_ns: int) -> Decision:
        reason = self._unfit(key, segment, self._config.client)
        if reason is None and speaks_mptcp(segment):
            reason = FallbackReason.OWN_MPTCP
        if reason is None and self.blackholes.holds(key[3], now_ns):
            reason = FallbackReason.BLACKHOLE
        if reason is not None:
            return _leave(reason)
        return self._start(Role.CLIENT, key, now_ns, lambda half: self._offer(key, half, segment))

    def _offer(self, key: FlowKey, half: _HalfOpen, segment: Segment) -> Decision:
        """Add MP_CAPABLE to the host's SYN: the version and the flags, no key yet."""
        half.local = syn_parameters(segment)
        data = with_option(segment, MpCapable(version=VERSION, flags=self._own_flags()))
        if data is None:
            self._forget(key)
            return _leave(FallbackReason.NO_OPTION_ROOM)
        self._count(Counter.MPCAPABLE_SYN_TX)
        return _rewrite(data)

    def _client_host(self, key: FlowKey, half: _HalfOpen, segment: Segment, now_ns: int) -> Decision:
        if not segment.flags & SYN:
            return _PASS
        if segment.flags & ACK:
            return self._simultaneous(key)
        if half.local is None or half.local.isn != segment.seq:
            self._forget(key)
            return self._start_client(key, segment, now_ns)
        half.retransmissions += 1
        half.sent_ns = None
        # RFC 8684 §3.7: a path that swallows the option must not swallow the connection.
        if half.retransmissions > self._config.syn_fallback_retries:
            if not half.retreated:
                self._count(Counter.MPCAPABLE_SYN_TX_DROP)
            half.retreated = True
            self._touch(key, half, now_ns)
            return _PASS
        self._touch(key, half, now_ns)
        return self._offer(key, half, segment)

    def _client_network(self, key: FlowKey, half: _HalfOpen, segment: Segment, now_ns: int) -> Decision:
        assert half.local is not None
        answers = bool(segment.flags & ACK) and segment.ack == next_seq(half.local.isn)
        if segment.flags & RST:
            if answers:
                self._forget(key)
            return _PASS
        if segment.flags & (SYN | ACK) == SYN:
            return self._simultaneous(key)
        if not segment.flags & SYN or not answers:
            return _PASS
        self._forget(key)
        if half.retreated and segment.find(MpCapable) is None:
            # it was the option that stayed unanswered, not the SYN
            self.blackholes.note(key[3], now_ns)
            return _leave(FallbackReason.SYN_UNANSWERED)
        self.blackholes.forget(key[3])
        return self._accept_synack(key, half, segment, now_ns)

    def _accept_synack(self, key: FlowKey, half: _HalfOpen, segment: Segment, now_ns: int) -> Decision:
        option = segment.find(MpCapable)
        reason = syn_ack_fault(segment, option)
        if option is None or option.key_sender is None or reason is not None:
            self._count(Counter.MPCAPABLE_FALLBACK_SYNACK)
            return _leave(reason or FallbackReason.NOT_ACCEPTED)
        self._count(Counter.MPCAPABLE_SYNACK_RX)
        half.remote = syn_parameters(segment)
        half.peer_flags = option.flags
        opened = self._open(key, half, option.key_sender, now_ns)
        return Decision(Verdict(VerdictKind.REWRITE, towards_host(segment, MSS_RESERVE)), open=opened)

    # Server

    def _start_server(self, key: FlowKey, segment: Segment, now_ns: int) -> Decision:
        option = segment.find(MpCapable)
        reason = self._unfit(key, segment, self._config.server) or syn_fault(segment, option)
        if option is None or reason is not None:
            if reason in _CAPABLE_FAULTS or (option is not None and reason is FallbackReason.NOT_OFFERED):
                self._count(Counter.CAPABLE_REFUSED)
            return _leave(reason or FallbackReason.NOT_OFFERED)
        self._count(Counter.MPCAPABLE_SYN_RX)
        return self._start(Role.SERVER, key, now_ns, lambda half: self._hear(half, segment, option))

    def _hear(self, half: _HalfOpen, segment: Segment, option: MpCapable) -> Decision:
        """Remember what the peer's SYN offers and show the host a plain one."""
        half.remote = syn_parameters(segment)
        half.peer_flags = option.flags
        return _rewrite(towards_host(segment, MSS_RESERVE))

    def _server_host(self, key: FlowKey, half: _HalfOpen, segment: Segment, now_ns: int) -> Decision:
        assert half.remote is not None
        if segment.flags & RST:
            self._forget(key)
            return _PASS
        if segment.flags & (SYN | ACK) == SYN:
            return self._simultaneous(key)
        if not segment.flags & SYN or segment.ack != next_seq(half.remote.isn):
            return _PASS
        half.sent_ns = now_ns if half.local is None else None
        half.local = syn_parameters(segment)
        # RFC 8684 §3.1: the answer has the version that both speak, and our key.
        option = MpCapable(version=VERSION, flags=self._answer_flags(half), key_sender=half.key_local)
        data = None if is_authenticated(segment) else with_option(segment, option)
        if data is None:
            self._forget(key)
            return _leave(FallbackReason.NO_OPTION_ROOM)
        self._touch(key, half, now_ns)
        return _rewrite(data)

    def _server_network(self, key: FlowKey, half: _HalfOpen, segment: Segment, now_ns: int) -> Decision:
        assert half.remote is not None
        if segment.flags & RST:
            if segment.seq == next_seq(half.remote.isn):
                self._forget(key)
            return _PASS
        if segment.flags & (SYN | ACK) == SYN:
            return self._syn_again(key, half, segment, now_ns)
        if segment.flags & SYN or half.local is None:
            return _PASS
        if not segment.flags & ACK or segment.ack != next_seq(half.local.isn):
            return _PASS
        return self._handle_third(key, half, segment, now_ns)

    def _syn_again(self, key: FlowKey, half: _HalfOpen, segment: Segment, now_ns: int) -> Decision:
        assert half.remote is not None
        option = segment.find(MpCapable)
        if option is None or segment.seq != half.remote.isn:
            # Another attempt of the peer; a repeat without the option is its retreat to TCP.
            self._forget(key)
            return self._start_server(key, segment, now_ns)
        self._touch(key, half, now_ns)
        return self._hear(half, segment, option)

    def _handle_third(self, key: FlowKey, half: _HalfOpen, segment: Segment, now_ns: int) -> Decision:
        assert half.remote is not None
        option = segment.find(MpCapable)
        follows = segment.seq != next_seq(half.remote.isn) or not segment.payload
        if option is None and follows and segment.find(Dss) is not None:
            # It overtook the packet with the keys, which the peer repeats until data is acknowledged
            # (RFC 8684 §3.1); so this one, data or DATA_FIN, will come again too.
            return _DROP
        self._forget(key)
        reason = third_ack_fault(option, half.key_local)
        if option is None or option.key_sender is None or reason is not None:
            self._count(Counter.MPCAPABLE_FALLBACK_ACK)
            return _leave(reason or FallbackReason.NOT_CONFIRMED)
        self._count(Counter.MPCAPABLE_ACK_RX)
        stamp = segment.find(Timestamps)
        opened = self._open(key, half, option.key_sender, now_ns, ts_remote=stamp.value if stamp else None)
        return Decision(Verdict(VerdictKind.DROP), open=opened, reprocess=True)

    # Both

    def _unfit(self, key: FlowKey, segment: Segment, enabled: bool) -> FallbackReason | None:
        """Return why a connection that begins with this SYN stays plain, as far as this host can tell."""
        _, local, local_port, remote, remote_port = key
        tests = (
            (not (self._config.enabled and enabled), FallbackReason.DISABLED),
            (not self._config.loopback and _stays_here(local, remote), FallbackReason.LOOPBACK),
            (self._config.excludes(remote, local_port, remote_port), FallbackReason.EXCLUDED),
            # RFC 8684 Appendix B: data in the SYN lies outside the data sequence space.
            (asks_fast_open(segment), FallbackReason.FAST_OPEN),
            (is_authenticated(segment), FallbackReason.AUTHENTICATED),
            (bool(segment.payload), FallbackReason.SYN_DATA),
        )
        return next((reason for applies, reason in tests if applies), None)

    def _start(
        self, role: Role, key: FlowKey, now_ns: int, proceed: Callable[[_HalfOpen], Decision]
    ) -> Decision:
        if not self._has_room():
            self._count(Counter.TABLE_FULL)
            return _leave(FallbackReason.TABLE_FULL)
        drawn = keys.new_key(self._rng, lambda token: token in self._tokens or self._token_in_use(token))
        if drawn is None:
            self._count(Counter.FALLBACK_TOKEN_INIT)
            return _leave(FallbackReason.TOKEN_TABLE_FULL)
        while len(self._half_open) >= self._limits.max_half_open:
            self._forget(next(iter(self._half_open)))
            self._count(Counter.HALF_OPEN_EVICTED)
        half = _HalfOpen(role, drawn, keys.token(drawn), now_ns + HALF_OPEN_TIMEOUT_NS, sent_ns=now_ns)
        self._half_open[key] = half
        self._servers += role is Role.SERVER
        self._tokens.add(half.token)
        return proceed(half)

    def _simultaneous(self, key: FlowKey) -> Decision:
        """Both ends sent a SYN: neither can tell whose key comes first, so the kernel goes on alone."""
        self._forget(key)
        self._count(Counter.SIMULT_CONNECT_FALLBACK)
        return _leave(FallbackReason.SIMULTANEOUS_OPEN)

    def _touch(self, key: FlowKey, half: _HalfOpen, now_ns: int) -> None:
        half.deadline_ns = now_ns + HALF_OPEN_TIMEOUT_NS
        self._half_open.move_to_end(key)

    def _forget(self, key: FlowKey) -> None:
        half = self._half_open.pop(key)
        self._servers -= half.role is Role.SERVER
        self._tokens.discard(half.token)

    def _count(self, counter: Counter) -> None:
        self.counts[counter] += 1

    def _own_flags(self) -> int:
        return _HMAC_SHA256 | (_CHECKSUM if self._config.checksum else 0)

    def _answer_flags(self, half: _HalfOpen) -> int:
        # RFC 8684 §3.1: checksums are used when either host asks for them.
        return self._own_flags() | (half.peer_flags & _CHECKSUM)

    def _open(
        self, key: FlowKey, half: _HalfOpen, key_remote: int, now_ns: int, ts_remote: int | None = None
    ) -> OpenConnection:
        """Return the effect that hands the connection to the engine; it counts as established now."""
        version, address_local, port_local, address_remote, port_remote = key
        local, remote = half.local, half.remote
        assert local is not None
        assert remote is not None
        wscale_local, wscale_remote = agreed_scales(local, remote)
        return OpenConnection(
            role=half.role,
            version=version,
            local=address_local,
            remote=address_remote,
            local_port=port_local,
            remote_port=port_remote,
            key_local=half.key_local,
            key_remote=key_remote,
            isn_local=local.isn,
            isn_remote=remote.isn,
            mss_local=local.mss,
            mss_remote=remote.mss,
            wscale_local=wscale_local,
            wscale_remote=wscale_remote,
            sack=local.sack and remote.sack,
            timestamps=local.timestamps and remote.timestamps,
            ts_local=local.ts_value,
            ts_remote=remote.ts_value if ts_remote is None else ts_remote,
            window=remote.window,
            checksum=bool(self._answer_flags(half) & _CHECKSUM),
            peer_no_join=bool(half.peer_flags & _NO_JOIN),
            ecn=local.ecn and remote.ecn,
            ecn_wanted=local.ecn,
            rtt_ns=now_ns - half.sent_ns if half.sent_ns is not None else 0,
        )


def _leave(reason: FallbackReason) -> Decision:
    return Decision(Verdict(VerdictKind.LEAVE), reason=reason)


def _rewrite(data: bytes) -> Decision:
    return Decision(Verdict(VerdictKind.REWRITE, data))


def _stays_here(local: bytes, remote: bytes) -> bool:
    return local == remote or is_loopback(local) or is_loopback(remote)
