"""Contexts that share searches (RFC 5534 §4.2): who may, and what none of them may do to the others."""

import pytest

from mpcore.shim6.reap_states import ReapState
from mpcore.shim6.states import ContextState
from mpcore.sim.shim6_identity import toy_identity
from mpcore.wire.shim6 import (
    I1,
    I2,
    R1,
    R2,
    CgaParameterData,
    CgaSignature,
    I2bis,
    Keepalive,
    Locator,
    LocatorList,
    LocatorPreferences,
    Message,
    Preference,
    PreferenceFlag,
    Probe,
    ProbeEntry,
    R1bis,
    ResponderValidator,
    Shim6Option,
    UlidPair,
    UpdateRequest,
    VerificationMethod,
    find_option,
)
from tests.shim6.test_reap import (
    EXPLORING,
    INBOUND_OK,
    TAG,
    ULIDS,
    established,
    explore,
    pair_of,
    probe_to,
    probes,
    say,
)  # fmt: skip
from tests.shim6.world import A1, B1, B2, C1, Lone, peer_options

BROKEN = Preference(PreferenceFlag.BROKEN)


def claims(owner: str, ulid: bytes, *listed: bytes, generation: int = 9) -> tuple[Shim6Option, ...]:
    """What a host with a key says: a signed list of any addresses (RFC 5535 §8.1)."""
    locators = tuple(Locator(one, VerificationMethod.CGA) for one in listed)
    identity = toy_identity(owner, ulid, [ulid], locators)
    assert identity.parameters is not None
    assert identity.sign is not None
    signed = LocatorList(generation, locators)
    return (signed, CgaParameterData(identity.parameters), CgaSignature(identity.sign(signed)))


def begin_from(lone: Lone, source: bytes, options: tuple[Shim6Option, ...], *named: Shim6Option) -> R2:
    """Let a host complete an exchange that it began, of tag 0xC0C."""
    (r1,) = lone.hear(I1(0xC0C, 5, named), source)
    assert isinstance(r1, R1)
    validator = find_option(r1, ResponderValidator)
    assert validator is not None
    answers = lone.hear(I2(0xC0C, 5, r1.responder_nonce, (validator, *named, *options)), source)
    return next(one for one in answers if isinstance(one, R2))


def test_a_stranger_that_lists_the_peers_locators_does_not_get_its_payload() -> None:
    """RFC 5533 §7.2: not to a locator that is not the peer's; anybody may sign for anything."""
    lone = established()
    explore(lone)
    begin_from(lone, C1, claims("m", C1, B1, B2))
    assert lone.manager.find(A1, C1) is not None
    assert lone.context().pair == ULIDS
    assert lone.context().reap.state is ReapState.EXPLORING
    assert probes(lone.wait(2)), "the search goes on"
    assert {context.pair.peer for context in lone.manager.contexts() if context.key.ulid_peer == B1} == {B1}


def test_a_stranger_that_lists_the_peers_locators_does_not_search_for_it() -> None:
    """Nobody answers its probes, so the peer's own contexts would wait for it in vain."""
    lone = established()
    begin_from(lone, C1, claims("m", C1, B1, B2))
    stranger = lone.manager.find(A1, C1)
    assert stranger is not None
    explorer = lone.manager._reap.explorer
    assert explorer.group_of(stranger) is not explorer.group_of(lone.context())


def test_an_exchange_from_elsewhere_proves_nothing_of_the_ulids() -> None:
    """RFC 5533 §7.2, §7.13: whoever names the ULIDs by option has not been seen at them."""
    lone = established()
    explore(lone)
    begin_from(lone, C1, peer_options(), UlidPair(B2, A1))
    assert lone.manager.find(A1, B2) is not None
    assert lone.context().pair == ULIDS
    assert lone.context().reap.state is ReapState.EXPLORING
    group = lone.manager._reap.explorer.group_of(lone.context())
    assert not any(record.answered_ns == lone.now_ns for record in group.records.values())
    stranger = lone.manager.find(A1, B2)
    assert stranger is not None
    assert lone.manager._reap.explorer.group_of(stranger) is not group


def searching(lone: Lone, *numbers: int) -> None:
    """Let contexts with payload that nothing answers search."""
    for fii in numbers:
        say(lone, fii)
    explore(lone)
    lone.wait(3)
    assert {context.reap.state for context in lone.manager.contexts()} == {ReapState.EXPLORING}


def prefer(lone: Lone, fii: int, *preferences: Preference) -> list[Message]:
    context = lone.manager.find(A1, B1, fii)
    assert context is not None
    return lone.hear(UpdateRequest(context.tag_local, 70, (LocatorPreferences(7, preferences),)))


def test_a_pair_that_one_context_found_is_not_taken_where_the_peer_calls_it_broken() -> None:
    """RFC 5533 §10.4: preferences are a context's own; what cannot take the pair searches on by itself."""
    lone = established(contexts=2)
    prefer(lone, 1, Preference(), BROKEN)
    searching(lone, 0, 1)
    answered = False
    while not answered:
        for probe in probes(lone.wait(1)):
            if pair_of(probe).peer == B2 and probe.receiver_tag == TAG:
                probe_to(lone, INBOUND_OK, probe.sent[0], pair=pair_of(probe))
                answered = True
    first, second = lone.context(), lone.manager.find(A1, B1, 1)
    assert second is not None
    assert (first.pair.peer, first.reap.state) == (B2, ReapState.OPERATIONAL)
    assert (second.pair.peer, second.reap.state) == (B1, ReapState.EXPLORING)
    lone.sent.clear()
    later = [probe for probe in probes(lone.wait(60)) if probe.receiver_tag == TAG + 1]
    assert later
    assert {pair_of(probe).peer for probe in later} == {B1}


def test_a_context_that_follows_another_goes_on_with_its_keepalives() -> None:
    """RFC 5534 §4.1: the peer waits for them after its payload, whatever pair this host takes."""
    lone = established(contexts=2)
    second = lone.manager.find(A1, B1, 1)
    assert second is not None
    say(lone)
    lone.wait(10)
    lone.manager.note_activity(second.number, None, lone.now_ns, lone.now_ns)
    first = probes(lone.wait(7))[0]
    probe_to(lone, INBOUND_OK, first.sent[0], pair=pair_of(first))
    assert second.pair == pair_of(first) != ULIDS
    assert TAG + 1 in {one.receiver_tag for one in lone.wait(10) if isinstance(one, Keepalive)}


def recover(lone: Lone, fii: int) -> None:
    """Tell a context, on the pair of its last probe, that the peer has lost it."""
    sent = [one for *_, one in lone.sent if isinstance(one, Probe) and one.receiver_tag == TAG + fii]
    pair = pair_of(sent[-1])
    answers = lone.hear(R1bis(TAG + fii, 9, (ResponderValidator(b"v"),)), pair.peer, pair.local)
    assert [type(one) for one in answers] == [I2bis]


def test_a_search_goes_on_when_the_one_that_leads_it_is_recovered_in_vain() -> None:
    """RFC 5534 §4.3, §6.5: probes are sent until one is answered; the others need theirs."""
    lone = established(contexts=2)
    lone.manager.hint(A1, B1, lone.now_ns)
    lone.drain()
    assert {context.reap.state for context in lone.manager.contexts()} == {ReapState.EXPLORING}
    recover(lone, 0)
    for _ in range(8):
        assert TAG + 1 in {probe.receiver_tag for probe in probes(lone.wait(65))}
    state = lone.manager.find(A1, B1)
    assert state is None or state.state is not ContextState.ESTABLISHED


def test_whoever_begins_to_search_does_not_wait_for_a_leader_that_cannot() -> None:
    lone = established(contexts=2)
    say(lone)
    explore(lone)
    recover(lone, 0)
    say(lone, 1)
    lone.sent.clear()
    first = probes(lone.wait(17))
    assert TAG + 1 in {probe.receiver_tag for probe in first}


@pytest.mark.parametrize("asked", [False, True], ids=["by-itself", "by-the-peer"])
def test_whoever_begins_to_search_is_not_bound_to_a_pace_that_has_slowed_down(asked: bool) -> None:
    """RFC 5534 §4.3: back-off counts within one exploration, and its own would begin at once."""
    lone = established(contexts=2)
    say(lone)
    explore(lone)
    lone.wait(300)
    second = lone.manager.find(A1, B1, 1)
    assert second is not None
    lone.sent.clear()
    if asked:
        lone.hear(Probe(second.tag_local, EXPLORING, (ProbeEntry(B1, A1, 1),)))
    else:
        say(lone, 1)
        lone.wait(17)
    lone.wait(3)
    sent = [one for *_, one in lone.sent if isinstance(one, Probe) and one.receiver_tag == TAG + 1]
    assert len({pair_of(probe) for probe in sent}) == 4


def test_a_search_ends_with_the_last_context_that_needs_it() -> None:
    lone = established(contexts=2)
    say(lone)
    explore(lone)
    lone.wait(1)
    group = lone.manager._reap.explorer.group_of(lone.context())
    assert group.exploration is not None
    lone.manager.discard(A1, B1)
    assert group.exploration is None
    assert probes(lone.wait(100)) == []
