"""The MP_JOIN handshake (RFC 8684 §3.2), spoken by mpcore alone: the host's TCP never sees a joined subflow.

    initiator                                    responder
    SYN, token of the peer, nonce A      ->      finds the connection by its token
    checks the HMAC, SubflowReady        <-      SYN/ACK, HMAC B, nonce B
    ACK, HMAC A (sent by the engine)     ->      checks the HMAC, SubflowReady
    may send data                        <-      ACK (sent by the engine)

This module ends where the peer has proved its keys: SubflowReady hands the subflow to the engine, which
repeats the third ACK until it is answered, and answers each repeat of it. SYN and SYN/ACK are repeated here.
"""

from collections.abc import Callable

from mpcore.actions import Direction, JoinFailed, OpenSubflow, SubflowReady, Transmit
from mpcore.config import LimitsConfig, MptcpConfig
from mpcore.counters import COUNTER_COUNT, Counter
from mpcore.errors import CapacityError
from mpcore.mptcp import keys
from mpcore.mptcp.flow import FlowKey, flow_key
from mpcore.mptcp.joining import Joining
from mpcore.mptcp.syn import ACK, RST, SYN, next_seq, reset_for, syn_parameters
from mpcore.store.deadlines import Deadlines
from mpcore.value import value
from mpcore.wire.values import (
    MpCapable,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MpTcpRst,
    ResetReason,
    Segment,
)

FIRST_TIMEOUT_NS = 1_000_000_000  # RFC 6298 §2; doubled each time
RETRANSMISSIONS = 3
PORT_ATTEMPTS = 64
_TRANSIENT = 0x01  # flag T of MP_TCPRST

JoinEffect = Transmit | SubflowReady | JoinFailed


@value(kw_only=True)
class JoinContext:
    """What a join needs to know of its connection, at this moment.

    Attributes:
        token: local token, by which the peer's joins find the connection
        wscale: window shift of this host in this connection, -1 for none
        accepts: subflows may be added: it is established, has not fallen back, and is not closing
        room: subflows that limits still allow, those being joined not counted
        local_port, remote_port: of the first subflow; None where nobody needs to know
        local_id: gives the address id of a local address, None for one that takes no part
        backup_addresses: local addresses whose subflows this host wants as backup
        ecn: this host wants ECN
    """

    token: int
    key_local: int
    key_remote: int
    wscale: int
    accepts: bool
    room: int
    local_id: Callable[[bytes], int | None]
    backup_addresses: frozenset[bytes] = frozenset()
    ecn: bool = False
    local_port: int | None = None
    remote_port: int | None = None


class Joins:
    """All joins under way on this host, begun by either side.

    Args:
        config: ports to draw from, and exclusions
        limits: `max_joins_per_connection` for each connection, `max_half_open` in all
        rng: source of nonces, initial sequence numbers and timestamps
        lookup: finds an established connection by its local token
        knows: tells whether there is one
        flow_in_use: tells whether a local port is taken for this peer
        mtu: octets that a packet from a local address may have
        counts: one integer a `Counter`, which this object raises

    Attributes:
        leave_unknown_tokens: let SYNs with unknown tokens pass to the kernel, where programs of this host
            speak MPTCP themselves and the token may be theirs
    """

    def __init__(
        self,
        config: MptcpConfig,
        limits: LimitsConfig,
        rng: keys.RandomSource,
        lookup: Callable[[int], JoinContext | None],
        *,
        knows: Callable[[int], bool] | None = None,
        flow_in_use: Callable[[FlowKey], bool] = lambda key: False,
        mtu: Callable[[bytes], int] = lambda address: 1500,
        counts: list[int] | None = None,
    ) -> None:
        self._config = config
        self._limits = limits
        self._rng = rng
        self._lookup = lookup
        self._knows = knows if knows is not None else lambda token: lookup(token) is not None
        self._flow_in_use = flow_in_use
        self._mtu = mtu
        self._joins: dict[FlowKey, Joining] = {}
        self._by_token: dict[int, set[FlowKey]] = {}
        self._deadlines: Deadlines[FlowKey] = Deadlines()
        self.counts = counts if counts is not None else [0] * COUNTER_COUNT
        self.leave_unknown_tokens = False

    def __len__(self) -> int:
        return len(self._joins)

    def claims(self, direction: Direction, segment: Segment) -> bool:
        """Tell whether a packet of no established subflow belongs here; it is then consumed."""
        key = flow_key(direction, segment)
        if key in self._joins:
            return True
        if direction is Direction.FROM_HOST or segment.flags & (SYN | ACK | RST) != SYN:
            return False
        option = segment.find(MpJoinSyn)
        if option is None or segment.find(MpCapable) is not None:
            return False
        if self._knows(option.token):
            return True
        _, _, local_port, remote, remote_port = key
        foreign = not self._config.enabled or self._config.excludes(remote, local_port, remote_port)
        return not (foreign or self.leave_unknown_tokens)

    def pending(self, token: int) -> int:
        """Return how many joins of a connection are under way."""
        return len(self._by_token.get(token, ()))

    def start(self, context: JoinContext, action: OpenSubflow, now_ns: int) -> Transmit:
        """Begin a join and return its SYN.

        Raises:
            CapacityError: too many joins are under way, or no port is free
        """
        self._require_place(context.token)
        key = self._draw_port(action)
        join = self._create(context, key, now_ns, local_id=action.local_id, backup=action.backup)
        join.action = action
        join.remote_id = action.remote_id
        # RFC 8684 §3.2: the token names the receiver's connection.
        join.token_remote = keys.token(context.key_remote)
        self._arm(join, now_ns)
        self._count(Counter.JOIN_SYN_TX)
        return join.syn(now_ns)

    def handle_packet(self, direction: Direction, segment: Segment, now_ns: int) -> list[JoinEffect]:
        """Return the effects of a claimed packet."""
        if direction is Direction.FROM_HOST:
            return []  # the host's TCP has no say in a joined subflow
        key = flow_key(direction, segment)
        join = self._joins.get(key)
        if join is None or (join.action is None and segment.flags & (SYN | ACK | RST) == SYN):
            return self._answer_syn(key, join, segment, now_ns)
        if join.action is None:
            return self._handle_third(join, segment, now_ns)
        return self._handle_syn_ack(join, join.action, segment, now_ns)

    def poll_timeout(self) -> int | None:
        """Return when a SYN or SYN/ACK is due to be repeated or given up."""
        return self._deadlines.first()

    def handle_timeout(self, now_ns: int) -> list[JoinEffect]:
        """Repeat what was not answered; give up what was repeated enough or has no connection to join."""
        effects: list[JoinEffect] = []
        for key in self._deadlines.expired(now_ns):
            join = self._joins[key]
            if join.retransmissions < RETRANSMISSIONS and self._is_wanted(join):
                join.retransmissions += 1
                self._arm(join, now_ns)
                effects.append(join.syn(now_ns) if join.action else join.syn_ack(now_ns))
                continue
            self._forget(key)
            if join.action:
                effects.append(JoinFailed(join.token, join.action, "no answer", unanswered=True))
        return effects

    def handle_unreachable(self, key: FlowKey, seq: int) -> list[JoinEffect]:
        """There is no way to the peer, says a router of our SYN with the number `seq` (RFC 1122 §4.2.3.9)."""
        join = self._joins.get(key)
        if join is None or join.action is None or seq != join.isn:
            return []
        self._forget(key)
        return [JoinFailed(join.token, join.action, "unreachable, says the network", transient=True)]

    def forget_connection(self, token: int) -> None:
        """Drop the joins of a connection that is over or has fallen back."""
        for key in tuple(self._by_token.get(token, ())):
            self._forget(key)

    # Initiator

    def _handle_syn_ack(
        self, join: Joining, action: OpenSubflow, segment: Segment, now_ns: int
    ) -> list[JoinEffect]:
        if not segment.flags & ACK or segment.ack != next_seq(join.isn):
            return self._refuse_numbers(segment)
        if segment.flags & RST:
            self._forget(join.key)
            cause = segment.find(MpTcpRst)
            transient = cause is not None and bool(cause.flags & _TRANSIENT)
            return [JoinFailed(join.token, action, "refused by the peer", transient)]
        if not segment.flags & SYN:
            return []
        self._forget(join.key)
        problem = self._check_syn_ack(join, segment)
        if problem is not None:
            # RFC 8684 §3.2: wrong HMAC or missing option, the subflow must be reset.
            failed = JoinFailed(join.token, action, problem)
            return [self._reset(segment, ResetReason.PROTOCOL_ERROR), failed]
        return [join.ready(now_ns, join.hmac_local()[: keys.JOIN_ACK_HMAC_SIZE])]

    def _check_syn_ack(self, join: Joining, segment: Segment) -> str | None:
        option = segment.find(MpJoinSynAck)
        if option is None:
            self._count(Counter.JOIN_UNPROVEN)
            return "no MP_JOIN in the SYN/ACK"
        self._count(Counter.JOIN_SYNACK_RX)
        context = self._lookup(join.token)
        if context is not None and context.remote_port not in (None, segment.src_port):
            self._count(Counter.JOIN_PORT_SYNACK_RX)
        if option.backup:
            self._count(Counter.JOIN_SYNACK_BACKUP_RX)
        join.remote = syn_parameters(segment)
        join.nonce_remote, join.remote_id, join.peer_backup = option.nonce, option.address_id, option.backup
        if not keys.hmac_equal(option.hmac, join.hmac_remote()[: keys.JOIN_SYNACK_HMAC_SIZE]):
            self._count(Counter.JOIN_SYNACK_HMAC_FAILURE)
            return "wrong HMAC in the SYN/ACK"
        return None if context is not None and context.accepts else "the connection takes no more subflows"

    # Responder

    def _answer_syn(
        self, key: FlowKey, join: Joining | None, segment: Segment, now_ns: int
    ) -> list[JoinEffect]:
        option = segment.find(MpJoinSyn)
        if option is None or segment.flags & (SYN | ACK | RST) != SYN:
            return []
        self._count(Counter.JOIN_SYN_RX)
        if option.backup:
            self._count(Counter.JOIN_SYN_BACKUP_RX)
        if join is not None:
            if join.repeats(segment, option):
                return [join.syn_ack(now_ns)]
            self._forget(key)
        return self._accept_syn(key, segment, option, now_ns)

    def _accept_syn(self, key: FlowKey, segment: Segment, option: MpJoinSyn, now_ns: int) -> list[JoinEffect]:
        context = self._lookup(option.token)
        if context is None:
            # RFC 8684 §3.2: an unknown token must be answered with RST.
            self._count(Counter.JOIN_NO_TOKEN_FOUND)
            return [self._reset(segment, ResetReason.PROTOCOL_ERROR)]
        if context.local_port not in (None, segment.dst_port):
            self._count(Counter.JOIN_PORT_SYN_RX)
        local_id = context.local_id(key[1])
        if local_id is None or not self._admits(context):
            self._count(Counter.JOIN_REJECTED)
            return [self._reset(segment, ResetReason.PROHIBITED)]
        join = self._create(
            context, key, now_ns, local_id=local_id, backup=key[1] in context.backup_addresses
        )
        join.remote = syn_parameters(segment)
        join.ts_recent = join.remote.ts_value
        join.nonce_remote, join.remote_id, join.peer_backup = option.nonce, option.address_id, option.backup
        self._arm(join, now_ns)
        return [join.syn_ack(now_ns)]

    def _handle_third(self, join: Joining, segment: Segment, now_ns: int) -> list[JoinEffect]:
        assert join.remote is not None
        kind = segment.flags & (SYN | ACK | RST)
        if segment.seq != next_seq(join.remote.isn):
            self._count(Counter.JOIN_BAD_NUMBERS)
            return []
        if kind & RST:
            self._forget(join.key)
            return []
        if kind != ACK or segment.ack != next_seq(join.isn):
            return self._refuse_numbers(segment)
        self._forget(join.key)
        option = segment.find(MpJoinAck)
        if option is None or not keys.hmac_equal(option.hmac, join.hmac_remote()[: keys.JOIN_ACK_HMAC_SIZE]):
            # RFC 8684 §3.2: without the expected HMAC the subflow must be reset.
            self._count(Counter.JOIN_UNPROVEN if option is None else Counter.JOIN_ACK_HMAC_FAILURE)
            return [self._reset(segment, ResetReason.PROTOCOL_ERROR)]
        self._count(Counter.JOIN_ACK_RX)
        context = self._lookup(join.token)
        if context is not None and context.local_port not in (None, segment.dst_port):
            self._count(Counter.JOIN_PORT_ACK_RX)
        if context is None or not self._admits(context):
            # Others may have taken the last place since the SYN.
            self._count(Counter.JOIN_REJECTED)
            return [self._reset(segment, ResetReason.PROHIBITED)]
        join.hear(segment)
        return [join.ready(now_ns, None)]

    def _admits(self, context: JoinContext) -> bool:
        """Tell whether policy and limits let the peer add a subflow (RFC 8684 §3.2, §5)."""
        room = context.room - self.pending(context.token)
        return context.accepts and room > 0 and self._has_place(context.token)

    # Both

    def _is_wanted(self, join: Joining) -> bool:
        context = self._lookup(join.token)
        return context is not None and context.accepts

    def _has_place(self, token: int) -> bool:
        per_connection = self._limits.max_joins_per_connection
        return self.pending(token) < per_connection and len(self._joins) < self._limits.max_half_open

    def _require_place(self, token: int) -> None:
        if not self._has_place(token):
            raise CapacityError("too many joins are under way; see limits.max_joins_per_connection")

    def _draw_port(self, action: OpenSubflow) -> FlowKey:
        """Return a free key for a subflow, from its fixed port or from the ports set aside for joins."""
        low, high = self._config.join_port_min, self._config.join_port_max
        version = 4 if len(action.local) == 4 else 6
        for _ in range(PORT_ATTEMPTS):
            port = action.local_port or self._rng.randrange(low, high + 1)
            key = (version, action.local, port, action.remote, action.remote_port)
            if key not in self._joins and not self._flow_in_use(key):
                return key
        raise CapacityError("no free source port for a subflow; widen mptcp.join_port_min and join_port_max")

    def _create(
        self, context: JoinContext, key: FlowKey, now_ns: int, *, local_id: int, backup: bool
    ) -> Joining:
        join = Joining(
            key=key,
            token=context.token,
            key_local=context.key_local,
            key_remote=context.key_remote,
            isn=self._rng.getrandbits(32),
            nonce=keys.nonzero(self._rng, 32),
            ts_base=self._rng.getrandbits(32),
            started_ns=now_ns,
            mss=self._mtu(key[1]) - (40 if key[0] == 4 else 60),
            wscale=context.wscale,
            local_id=local_id,
            backup=backup,
            ecn=context.ecn,
        )
        self._joins[key] = join
        self._by_token.setdefault(context.token, set()).add(key)
        return join

    def _arm(self, join: Joining, now_ns: int) -> None:
        self._deadlines.arm(join.key, now_ns + (FIRST_TIMEOUT_NS << join.retransmissions))

    def _forget(self, key: FlowKey) -> None:
        join = self._joins.pop(key)
        self._deadlines.cancel(key)
        mates = self._by_token[join.token]
        mates.discard(key)
        if not mates:
            del self._by_token[join.token]

    def _refuse_numbers(self, segment: Segment) -> list[JoinEffect]:
        """Answer a segment whose ACK is not ours: an old connection is behind it (RFC 9293 §3.10.7.3)."""
        self._count(Counter.JOIN_BAD_NUMBERS)
        if segment.flags & RST or not segment.flags & ACK:
            return []
        return [Transmit(False, segment.dst, reset_for(segment, None))]

    def _reset(self, segment: Segment, reason: ResetReason) -> Transmit:
        self._count(Counter.RST_TX)
        return Transmit(False, segment.dst, reset_for(segment, reason))

    def _count(self, counter: Counter) -> None:
        self.counts[counter] += 1
