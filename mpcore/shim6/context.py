"""One ULID-pair context, and the table that finds it by whatever a packet tells (RFC 5533 §6.1, §12.4)."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from mpcore.shim6.effects import Path
from mpcore.shim6.locators import LocalLocators, Pair, PeerLocators
from mpcore.shim6.reap_states import ReapState
from mpcore.shim6.settings import DEFAULT_SEND_TIMEOUT_NS, SECOND
from mpcore.shim6.states import HAS_PEER_TAG, ContextState
from mpcore.wire.shim6 import Preference, ProbeEntry

_RECENT_PAIRS_MAX = 32
_SENT_PROBES_MAX = 32
_NONCES_KEPT = 16
_PREFIX_SIZE = 8
_PAUSE_NS = 5 * SECOND  # of outgoing payload

KeyT = TypeVar("KeyT", int, Pair)


class ContextKey(NamedTuple):
    """What identifies a context; `fii` is 0 unless it is forked (RFC 5533 §4.2)."""

    ulid_local: bytes
    ulid_peer: bytes
    fii: int = 0

    @property
    def ulids(self) -> Pair:
        """The pair of ULIDs, which are the first locators too."""
        return Pair(self.ulid_local, self.ulid_peer)


@dataclass(slots=True)
class Handshake:
    """What an exchange needs until its R2, and after it to know a late one.

    `pair` is the pair that the last message left on: R2 has to come back on it (RFC 5533 §7.16).
    """

    pair: Pair
    initiator_nonce: int
    started_ns: int
    responder_nonce: int = 0
    validator: bytes = b""
    packet_tag: int = 0
    tries: int = 0
    recovering: bool = False
    heard: bool = False  # an I1 of the peer came meanwhile
    failure: str | None = None  # why the last exchange came to nothing
    held_until_ns: int = 0  # until when the peer is left alone because of that


@dataclass(slots=True)
class SentProbe:
    """A probe of ours: to list it, and to know its report."""

    entry: ProbeEntry
    sent_ns: int
    reported_ns: int | None = None

    @property
    def pair(self) -> Pair:
        """The pair that it was sent on."""
        return Pair(self.entry.source, self.entry.destination)


@dataclass(slots=True)
class Reachability:
    """REAP of one context (RFC 5534 §6). The timers themselves are the manager's."""

    state: ReapState = ReapState.OPERATIONAL
    keepalive_timeout_ns: int = DEFAULT_SEND_TIMEOUT_NS
    keepalive_interval_ns: int = 0
    sent: deque[SentProbe] = field(default_factory=lambda: deque(maxlen=_SENT_PROBES_MAX))
    received: deque[ProbeEntry] = field(default_factory=lambda: deque(maxlen=15))
    settled_ns: int | None = None  # when the last exploration ended
    heard_ns: int = -1  # when payload or a Keepalive last came
    stalled_ns: int | None = None  # heard_ns when an exploration began that no payload has followed yet
    payload_ns: int = -1  # when payload last came
    message_ns: int = -1  # when a message of Shim6 with this host's tag last came
    moved_ns: int = 0  # when the current pair was taken
    futile: int = 0  # searches in a row away from pairs that carried no payload, and the last of them
    futile_ns: int = 0
    suspects: set[Pair] = field(default_factory=set)  # those pairs
    blocked: Pair | None = None  # the pair last found to pass probes and no payload
    doubts: int = 0  # how often the transports were asked since an answer is owed
    chosen: Pair | None = None  # on which the peer's last Operational probe came: the one that it has chosen
    unanswered: bool = False  # payload comes, and no probe of the search under way is answered
    refused: bool = False  # the peer's host says that it does not know Shim6, and nothing says that it does
    said_ns: int = -1  # when payload last left
    speaking_ns: int = -1  # when it began to leave without a pause

    def note_said(self, now_ns: int) -> None:
        """Payload leaves."""
        if self.said_ns < 0 or now_ns - self.said_ns > _PAUSE_NS:
            self.speaking_ns = now_ns
        self.said_ns = now_ns

    def spoke_for_ns(self, now_ns: int) -> int:
        """Return for how long payload has left without a pause until now."""
        return now_ns - self.speaking_ns if self.said_ns >= 0 and now_ns - self.said_ns <= _PAUSE_NS else 0


@dataclass(slots=True)
class Update:
    """The one Update Request that may be outstanding (RFC 5533 §10.3).

    `news` is what the peer has not acknowledged: generation, preferences, and the Keepalive Timeout in
    seconds; None when it has all.
    `again`: the peer has heeded another request than the last one, maybe after it.
    `answered` are the nonces of the peer's own last requests, the latest at the end.
    """

    nonce: int = 0
    tries: int = 0
    news: tuple[int, tuple[Preference, ...], int] | None = None
    again: bool = False
    answered: deque[int] = field(default_factory=lambda: deque(maxlen=_NONCES_KEPT))

    @classmethod
    def after(cls, nonce: int | None) -> "Update":
        """Return the state in which the peer's last request had this nonce; None: there was none."""
        update = cls()
        if nonce is not None:
            update.answered.append(nonce)
        return update

    def is_latest(self, nonce: int) -> bool:
        """Tell whether the peer's last request had this nonce: its acknowledgement was lost."""
        return bool(self.answered) and self.answered[-1] == nonce

    def was_superseded(self, nonce: int) -> bool:
        """Tell whether an earlier request of the peer had this nonce."""
        return nonce in self.answered and not self.is_latest(nonce)


@dataclass(slots=True)
class Context:
    """All that is kept of one context; `number` names it on this host and is never used again."""

    number: int
    key: ContextKey
    state: ContextState
    tag_local: int
    pair: Pair
    local: LocalLocators
    peer: PeerLocators
    handshake: Handshake
    created_ns: int
    active_ns: int
    tag_peer: int | None = None
    initiator: bool = True
    located: bool = True  # its exchange was with a locator of the peer, and not from elsewhere by ULID option
    installed: Path | None = None
    reap: Reachability = field(default_factory=Reachability)
    update: Update = field(default_factory=Update)
    recent_pairs: dict[Pair, int] = field(default_factory=dict)
    answers: deque[int] = field(default_factory=deque)

    def used_pair(self, pair: Pair, now_ns: int) -> None:
        """Remember that a packet with the peer's tag left on this pair."""
        self.recent_pairs.pop(pair, None)
        if len(self.recent_pairs) >= _RECENT_PAIRS_MAX:
            del self.recent_pairs[next(iter(self.recent_pairs))]
        self.recent_pairs[pair] = now_ns

    def expects(self, pair: Pair, now_ns: int, lifetime_ns: int) -> bool:
        """Tell whether an R1bis may come on this pair.

        RFC 5533 §7.18 names the current pair only, but the peer's loss of the context often shows first in
        the answer to a probe, which left on another pair (RFC 5533 §7.5, first case).
        """
        used_ns = self.recent_pairs.get(pair)
        return pair == self.pair or (used_ns is not None and now_ns - used_ns <= lifetime_ns)

    def owns(self, local: bytes, peer: bytes) -> bool:
        """Tell whether a packet between these addresses can belong to the context (RFC 5533 §12.4)."""
        return peer in self.peer and local in self.local

    def path(self) -> Path:
        """Return what the data plane has to know."""
        sending = self.state in HAS_PEER_TAG
        return Path(
            number=self.number,
            ulid_local=self.key.ulid_local,
            ulid_peer=self.key.ulid_peer,
            fii=self.key.fii,
            tag_local=self.tag_local,
            tag_peer=self.tag_peer if sending else None,
            locator_local=self.pair.local,
            locator_peer=self.pair.peer,
            sending=sending,
            watched=self.state is not ContextState.ESTABLISHED,
        )


class ContextTable:
    """Contexts by number, ULIDs, local tag, peer's tag and initiator nonce; all changes go through here."""

    def __init__(self) -> None:
        self.by_number: dict[int, Context] = {}
        self.by_key: dict[ContextKey, Context] = {}
        self.by_tag_local: dict[int, Context] = {}
        self._by_ulids: dict[Pair, list[Context]] = {}
        self._by_tag_peer: dict[int, list[Context]] = {}
        self._by_nonce: dict[int, Context] = {}
        self._per_prefix: dict[bytes, int] = {}
        self._next_number = 1

    def __len__(self) -> int:
        return len(self.by_number)

    def __iter__(self) -> Iterator[Context]:
        return iter(list(self.by_number.values()))

    def next_number(self) -> int:
        """Return a number that no context had."""
        self._next_number += 1
        return self._next_number - 1

    def add(self, context: Context) -> None:
        """Take in a new context, whose key, tag and nonce are free."""
        self.by_number[context.number] = context
        self.by_key[context.key] = context
        self.by_tag_local[context.tag_local] = context
        self._by_ulids.setdefault(context.key.ulids, []).append(context)
        self._by_nonce[context.handshake.initiator_nonce] = context
        prefix = context.key.ulid_peer[:_PREFIX_SIZE]
        self._per_prefix[prefix] = self._per_prefix.get(prefix, 0) + 1

    def remove(self, context: Context) -> None:
        """Forget a context."""
        self.set_tag_peer(context, None)
        self._by_nonce.pop(context.handshake.initiator_nonce, None)
        del self.by_tag_local[context.tag_local]
        del self.by_key[context.key]
        del self.by_number[context.number]
        _take_out(self._by_ulids, context.key.ulids, context)
        prefix = context.key.ulid_peer[:_PREFIX_SIZE]
        self._per_prefix[prefix] -= 1
        if not self._per_prefix[prefix]:
            del self._per_prefix[prefix]

    def of_prefix(self, ulid_peer: bytes) -> int:
        """Return how many contexts there are with peers in the /64 of this one."""
        return self._per_prefix.get(ulid_peer[:_PREFIX_SIZE], 0)

    def set_tag_peer(self, context: Context, tag: int | None) -> None:
        """Set the peer's tag."""
        if context.tag_peer is not None:
            _take_out(self._by_tag_peer, context.tag_peer, context)
        context.tag_peer = tag
        if tag is not None:
            self._by_tag_peer.setdefault(tag, []).append(context)

    def with_tag_peer(self, tag: int) -> tuple[Context, ...]:
        """Return the contexts whose peer uses this tag; more than one when there are several peers."""
        return tuple(self._by_tag_peer.get(tag, ()))

    def between(self, ulids: Pair) -> tuple[Context, ...]:
        """Return the contexts of a pair of ULIDs: the plain one and its forks."""
        return tuple(self._by_ulids.get(ulids, ()))

    def set_nonce(self, context: Context, nonce: int) -> None:
        """Set the initiator nonce of a new exchange."""
        self._by_nonce.pop(context.handshake.initiator_nonce, None)
        context.handshake.initiator_nonce = nonce
        self._by_nonce[nonce] = context

    def with_nonce(self, nonce: int) -> Context | None:
        """Return the context whose exchange has this initiator nonce."""
        return self._by_nonce.get(nonce)

    def has_nonce(self, nonce: int) -> bool:
        """Tell whether an exchange has this initiator nonce."""
        return nonce in self._by_nonce


def _take_out(index: dict[KeyT, list[Context]], key: KeyT, context: Context) -> None:
    """Remove a context from a list in an index, and the list when it is empty."""
    index[key].remove(context)
    if not index[key]:
        del index[key]
