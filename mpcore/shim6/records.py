"""Established contexts as values that outlive the process, and contexts made of such values again.

A record says what two hosts agree on, and what this host knows of the peer. Timers, probes and exchanges
under way are left out: an exploration begins anew, and what else was lost the peer repeats, or recovers by
R1bis (RFC 5533 §7.5).
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from mpcore.errors import LocalProtocolError
from mpcore.shim6.context import Context, ContextKey, Handshake, Reachability, Update
from mpcore.shim6.locators import LocalLocators, Pair, PeerLocator, PeerLocators
from mpcore.shim6.policy import is_routable
from mpcore.shim6.reap_states import ReapState
from mpcore.shim6.states import ContextState
from mpcore.wire.shim6 import TAG_MAX, Locator, Preference

Address = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Tag = Annotated[int, msgspec.Meta(ge=0, le=TAG_MAX)]
Number32 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]
Octet = Annotated[int, msgspec.Meta(ge=0, le=0xFF)]
Seconds16 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Nanoseconds = Annotated[int, msgspec.Meta(ge=1, le=1 << 62)]
PreferenceRecord = tuple[Octet, Octet, Octet]  # flags, priority, weight
LocatorRecord = tuple[Address, Octet]  # method

_LOCATORS_MAX = 64
_PARAMETERS_MAX = 1280


WishesRecord = Annotated[tuple[tuple[Address, PreferenceRecord], ...], msgspec.Meta(max_length=1024)]


class PeerRecord(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Ls(peer): locators with what the peer says of each, and whether a probe has shown it."""

    locators: Annotated[
        tuple[tuple[Address, Octet, PreferenceRecord, bool], ...],
        msgspec.Meta(min_length=1, max_length=_LOCATORS_MAX),
    ]
    generation: Number32 | None
    past_generations: Annotated[tuple[Number32, ...], msgspec.Meta(max_length=_LOCATORS_MAX)]
    parameters: Annotated[bytes, msgspec.Meta(max_length=_PARAMETERS_MAX)] | None


class LocalRecord(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Ls(local) of one context, and what of it the peer has acknowledged."""

    locators: Annotated[tuple[LocatorRecord, ...], msgspec.Meta(min_length=1, max_length=_LOCATORS_MAX)]
    generation: Number32
    accepted: Annotated[tuple[Address, ...], msgspec.Meta(max_length=2 * _LOCATORS_MAX)]
    told_generation: Number32 | None
    told: Annotated[tuple[PreferenceRecord, ...], msgspec.Meta(max_length=_LOCATORS_MAX)] | None
    told_keepalive: Seconds16


class ContextRecord(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One context in ESTABLISHED. `initiator_nonce` knows a late R2, `searching` that its pair had failed."""

    ulid_local: Address
    ulid_peer: Address
    fii: Number32
    tag_local: Tag
    tag_peer: Tag
    locator_local: Address
    locator_peer: Address
    initiator: bool
    initiator_nonce: Number32
    answered_nonce: Number32 | None
    keepalive_timeout_ns: Nanoseconds
    searching: bool
    local: LocalRecord
    peer: PeerRecord

    @property
    def key(self) -> ContextKey:
        """What identifies the context."""
        return ContextKey(self.ulid_local, self.ulid_peer, self.fii)

    @property
    def pair(self) -> Pair:
        """The pair that its payload took."""
        return Pair(self.locator_local, self.locator_peer)


def record_of(context: Context) -> ContextRecord | None:
    """Return what outlives the process; None for a context that is not established."""
    if context.state is not ContextState.ESTABLISHED or context.tag_peer is None:
        return None
    return ContextRecord(
        ulid_local=context.key.ulid_local,
        ulid_peer=context.key.ulid_peer,
        fii=context.key.fii,
        tag_local=context.tag_local,
        tag_peer=context.tag_peer,
        locator_local=context.pair.local,
        locator_peer=context.pair.peer,
        initiator=context.initiator,
        initiator_nonce=context.handshake.initiator_nonce,
        answered_nonce=context.update.answered[-1] if context.update.answered else None,
        keepalive_timeout_ns=context.reap.keepalive_timeout_ns,
        searching=context.reap.state is not ReapState.OPERATIONAL,
        local=_record_local(context.local),
        peer=_record_peer(context.peer),
    )


def record_wishes(wishes: Mapping[bytes, Preference]) -> WishesRecord:
    """Return what the operator wishes of this host's addresses, as it outlives the process."""
    return tuple((address, _record_preference(wish)) for address, wish in wishes.items())


def wishes_of(record: WishesRecord) -> dict[bytes, Preference]:
    """Return the wishes that a record holds."""
    return {address: Preference(*wish) for address, wish in record}


def _record_local(local: LocalLocators) -> LocalRecord:
    return LocalRecord(
        locators=tuple((locator.address, locator.method) for locator in local.locators),
        generation=local.generation,
        accepted=tuple(sorted(local.accepted)),
        told_generation=local.told_generation,
        told=None if local.told is None else tuple(_record_preference(one) for one in local.told),
        told_keepalive=local.told_keepalive,
    )


def _record_peer(peer: PeerLocators) -> PeerRecord:
    return PeerRecord(
        locators=tuple(
            (entry.address, entry.method, _record_preference(entry.preference), entry.probed)
            for entry in peer
        ),
        generation=peer.generation,
        past_generations=tuple(peer.past_generations),
        parameters=peer.parameters,
    )


def _record_preference(preference: Preference) -> PreferenceRecord:
    return preference.flags, preference.priority, preference.weight


def context_of(record: ContextRecord, number: int, now_ns: int) -> Context:
    """Return the context that a record describes, as if it had been active just now.

    Raises:
        LocalProtocolError: no context can be like that
    """
    context = Context(
        number=number,
        key=record.key,
        state=ContextState.ESTABLISHED,
        tag_local=record.tag_local,
        pair=record.pair,
        local=_local_of(record.local),
        peer=_peer_of(record.peer),
        handshake=Handshake(record.pair, record.initiator_nonce, now_ns),
        created_ns=now_ns,
        active_ns=now_ns,
        initiator=record.initiator,
        reap=Reachability(keepalive_timeout_ns=record.keepalive_timeout_ns),
        update=Update.after(record.answered_nonce),
    )
    if not all(is_routable(one) for one in (record.ulid_local, *context.peer.addresses, record.ulid_peer)):
        raise LocalProtocolError("an address of it cannot be in any packet between hosts")
    if len(set(context.peer.addresses)) < len(context.peer.addresses):
        raise LocalProtocolError("a locator of its peer occurs twice")
    if context.pair != context.key.ulids and not context.owns(*context.pair):
        raise LocalProtocolError("its pair of locators is not its own")
    return context


def _local_of(record: LocalRecord) -> LocalLocators:
    return LocalLocators(
        tuple(Locator(address, method) for address, method in record.locators),
        record.generation,
        frozenset(record.accepted),
        record.told_generation,
        None if record.told is None else tuple(Preference(*one) for one in record.told),
        record.told_keepalive,
    )


def _peer_of(record: PeerRecord) -> PeerLocators:
    entries = [
        PeerLocator(address, method, Preference(*preference), probed)
        for address, method, preference, probed in record.locators
    ]
    peer = PeerLocators(entries, record.generation, record.parameters)
    peer.past_generations.extend(record.past_generations)
    return peer
