"""Updates of locators and preferences (RFC 5533 §10)."""

from itertools import pairwise

import pytest

from mpcore.errors import LocalProtocolError
from mpcore.shim6.context import Context
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.events import PeerError, PeerUpdated
from mpcore.shim6.locators import Pair
from mpcore.shim6.reap_states import ReapState
from mpcore.shim6.settings import SECOND, Shim6Settings
from mpcore.shim6.states import ContextState
from mpcore.sim.shim6 import CloudSettings
from mpcore.sim.shim6_identity import toy_identity
from mpcore.wire.shim6 import (
    I1,
    I2,
    R1,
    R2,
    CgaSignature,
    ErrorCode,
    ErrorMessage,
    I2bis,
    KeepaliveTimeout,
    Locator,
    LocatorList,
    LocatorPreferences,
    Message,
    Preference,
    PreferenceFlag,
    Probe,
    ProbeEntry,
    R1bis,
    ReachabilityState,
    ResponderValidator,
    UpdateAck,
    UpdateRequest,
    VerificationMethod,
    emit_message,
    find_option,
)
from tests.shim6.world import A1, A2, B1, B2, C1, Lone, Pairing, address, peer_options

TAG = 0xB0B
BROKEN = Preference(PreferenceFlag.BROKEN)
A3 = address(7, 0xA1)


def established(settings: Shim6Settings | None = None) -> Lone:
    lone = Lone(settings)
    lone.manager.establish(A1, B1, 0)
    nonce = lone.context().handshake.initiator_nonce
    lone.hear(R1(nonce, 1, (ResponderValidator(b"v"),)))
    lone.hear(R2(TAG, nonce, peer_options(generation=7)))
    assert lone.context().state is ContextState.ESTABLISHED
    lone.sent.clear()
    return lone


def requests(messages: list[Message]) -> list[UpdateRequest]:
    return [one for one in messages if isinstance(one, UpdateRequest)]


def update(lone: Lone, nonce: int, *options: object) -> list[Message]:
    return lone.hear(UpdateRequest(lone.context().tag_local, nonce, options))  # type: ignore[arg-type]


# Ours to the peer.


def test_a_lost_address_is_announced_as_broken() -> None:
    """RFC 5533 §5.15.3, §10.1: preferences alone, for the list that the peer has."""
    lone = established()
    lone.manager.set_local_address(A2, False, lone.now_ns)
    (request,) = requests(lone.drain())
    preferences = find_option(request, LocatorPreferences)
    assert preferences is not None
    assert preferences.generation == lone.context().local.generation
    assert preferences.elements == (Preference(), BROKEN)
    assert find_option(request, LocatorList) is None
    lone.hear(UpdateAck(lone.context().tag_local, request.request_nonce))
    assert requests(lone.wait(200)) == []


def test_a_request_is_repeated_until_it_is_acknowledged() -> None:
    """RFC 5533 §10.2: 4 s doubled and clamped to 120 s, jitter after that, the same nonce, for ever."""
    lone = established(Shim6Settings(quiescence_ns=10**18))
    lone.manager.set_local_address(A2, False, 0)
    nonces, times = set(), []
    for _ in range(12):
        while not (found := requests(lone.drain())):
            due_ns = lone.manager.poll_timeout()
            assert due_ns is not None
            lone.now_ns = due_ns
            lone.manager.handle_timeout(due_ns)
        nonces.add(found[0].request_nonce)
        times.append(lone.now_ns)
        # An answer to our payload, so that reachability stays out of this.
        lone.manager.note_activity(lone.context().number, None, lone.now_ns, lone.now_ns)
    assert len(nonces) == 1
    for number, (earlier, later) in enumerate(pairwise(times)):
        nominal = min(4 << number, 120)
        assert 0.5 <= (later - earlier) / SECOND / nominal <= 1.5


def test_newer_information_supersedes_what_is_under_way() -> None:
    """RFC 5533 §10.3: new nonce, all that is not acknowledged; the old acknowledgement does not count."""
    lone = established()
    lone.manager.set_local_address(A2, False, 0)
    (first,) = requests(lone.drain())
    identity = toy_identity(
        "a", A1, [A1, A2, A3], [Locator(one, VerificationMethod.HBA) for one in (A1, A2, A3)]
    )
    lone.manager.set_local_address(A3, True, 0)
    lone.manager.set_identity(identity, 0)
    second = requests(lone.drain())[-1]
    assert second.request_nonce != first.request_nonce
    locators = find_option(second, LocatorList)
    preferences = find_option(second, LocatorPreferences)
    assert locators is not None
    assert preferences is not None
    assert [one.address for one in locators.locators] == [A1, A2, A3]
    assert preferences.generation == locators.generation
    assert preferences.elements == (Preference(), BROKEN, Preference())
    lone.hear(UpdateAck(lone.context().tag_local, first.request_nonce))
    assert lone.count(Shim6Counter.WRONG_NONCE) == 1
    assert lone.context().update.news is not None
    lone.hear(UpdateAck(lone.context().tag_local, second.request_nonce))
    assert lone.context().update.news is None


def test_a_request_that_comes_after_the_one_that_superseded_it_does_not_stay() -> None:
    """RFC 5533 §10.3: both are new to the peer, nothing tells their order; so the last is said once more."""
    pairing = Pairing()
    pairing.establish()
    b = pairing.context(pairing.b)
    assert b is not None
    for preference, delay_ns in ((BROKEN, 100_000_000), (Preference(), 10_000_000)):
        pairing.cloud.settings = CloudSettings(delay_ns=delay_ns)
        pairing.a.manager.prefer_local_address(A2, preference, pairing.cloud.clock.now_ns)
        pairing.a.drain()
    pairing.cloud.run(1)
    assert [entry.broken for entry in b.peer] == [False, True]
    pairing.cloud.run(20)
    assert [entry.broken for entry in b.peer] == [False, False]
    pairing.messages.clear()
    pairing.cloud.run(200)
    assert "UpdateRequest" not in pairing.kinds


def test_acknowledgements_of_what_was_never_sent_draw_one_request() -> None:
    """RFC 5533 §10.5: they acknowledge nothing; a request of an earlier life may be behind them."""
    lone = established()
    for nonce in range(1, 101):
        assert lone.hear(UpdateAck(lone.context().tag_local, nonce)) == []
    assert lone.count(Shim6Counter.WRONG_NONCE) == 100
    (request,) = requests(lone.wait(10))
    assert find_option(request, LocatorPreferences) is not None
    lone.hear(UpdateAck(lone.context().tag_local, request.request_nonce))
    lone.hear(UpdateAck(lone.context().tag_local, request.request_nonce))
    assert requests(lone.wait(100)) == []


@pytest.mark.parametrize("lost", [False, True], ids=["nothing-lost", "a-request-lost"])
def test_a_recovery_may_leave_the_peer_as_it_was(lost: bool) -> None:
    """RFC 5533 §7.20, §7.14: a peer that has the context, for its R1bis was late, answers by R2 alone."""
    lone = established()
    lone.manager.set_local_address(A2, not lost, 0)
    lone.drain()
    (i2bis,) = lone.hear(R1bis(TAG, 9, (ResponderValidator(b"v"),)))
    assert isinstance(i2bis, I2bis)
    answers = lone.hear(R2(TAG, i2bis.initiator_nonce, peer_options(generation=7)))
    found = [find_option(one, LocatorPreferences) for one in requests(answers)]
    assert [one.elements for one in found if one is not None] == [(Preference(), BROKEN)] * lost
    assert len(found) == lost


def test_an_r2_sent_again_may_tell_something_new() -> None:
    """RFC 5533 §7.14: it says what is true now, but the peer takes it only if it had none."""
    lone = Lone()
    (r1,) = lone.hear(I1(TAG, 5))
    assert isinstance(r1, R1)
    i2 = I2(TAG, 5, r1.responder_nonce, (*r1.options, *peer_options()))
    lone.hear(i2)
    lone.manager.hint(A1, B1, lone.now_ns)  # what is new waits for the end of a search
    lone.manager.prefer_local_address(A2, BROKEN, lone.now_ns)
    (r2,) = [one for one in lone.hear(i2) if isinstance(one, R2)]
    assert find_option(r2, LocatorPreferences) is not None
    lone.manager.prefer_local_address(A2, Preference(), lone.now_ns)
    assert lone.context().update.news is not None


def test_news_that_were_sent_and_are_taken_back_need_an_update() -> None:
    """RFC 5533 §10.3: the peer may have got the first request, whatever became of its acknowledgement."""
    lone = established()
    lone.manager.set_local_address(A2, False, 0)
    (first,) = requests(lone.drain())
    lone.manager.set_local_address(A2, True, 0)
    (second,) = requests(lone.drain())
    assert second.request_nonce != first.request_nonce
    preferences = find_option(second, LocatorPreferences)
    assert preferences is not None
    assert preferences.elements == (Preference(), Preference())
    lone.hear(UpdateAck(lone.context().tag_local, second.request_nonce))
    assert requests(lone.wait(100)) == []


def test_news_that_were_not_sent_and_are_taken_back_need_no_update() -> None:
    lone = established(Shim6Settings(updates_per_second=1))
    lone.manager.set_local_address(A2, False, 0)
    (first,) = requests(lone.drain())
    lone.hear(UpdateAck(lone.context().tag_local, first.request_nonce))
    lone.manager.set_local_address(A2, True, 0)
    assert requests(lone.drain()) == []  # it waits for the host's rate
    lone.manager.set_local_address(A2, False, 0)
    assert requests(lone.wait(100)) == []


def test_a_new_send_timeout_is_told() -> None:
    """RFC 5534 §5.3: the Keepalive Timeout option, also to go back to the default."""
    lone = established()
    for seconds in (3, 15):
        lone.manager.set_send_timeout(seconds * SECOND, lone.now_ns)
        (request,) = requests(lone.drain())
        assert find_option(request, KeepaliveTimeout) == KeepaliveTimeout(seconds)
        assert find_option(request, LocatorList) is None
        lone.hear(UpdateAck(lone.context().tag_local, request.request_nonce))
        assert requests(lone.wait(100)) == []
    lone.manager.set_send_timeout(15 * SECOND, lone.now_ns)
    assert requests(lone.drain()) == []


def test_a_new_send_timeout_counts_from_the_next_packet_on() -> None:
    lone = established()
    lone.manager.set_send_timeout(3 * SECOND, lone.now_ns)
    (request,) = requests(lone.drain())
    lone.hear(UpdateAck(lone.context().tag_local, request.request_nonce))
    lone.manager.note_activity(lone.context().number, lone.now_ns, None, lone.now_ns)
    assert not any(isinstance(message, Probe) for message in lone.wait(2.9))
    assert any(isinstance(message, Probe) for message in lone.wait(0.5))


@pytest.mark.parametrize("seconds", [0, 0.5, 65536])
def test_a_send_timeout_that_cannot_be_told_is_refused(seconds: float) -> None:
    lone = established()
    with pytest.raises(LocalProtocolError, match="1 to 65535 seconds"):
        lone.manager.set_send_timeout(round(seconds * SECOND), lone.now_ns)
    assert lone.manager.settings == Shim6Settings()


def test_a_signed_list_carries_its_signature() -> None:
    """RFC 5533 §5.15.5, §10.1."""
    lone = established()
    locators = [Locator(A1, VerificationMethod.HBA), Locator(A3, VerificationMethod.CGA)]
    lone.manager.set_local_address(A3, True, 0)
    lone.manager.set_identity(toy_identity("a", A1, [A1, A2], locators), 0)
    (request,) = requests(lone.drain())
    assert find_option(request, CgaSignature) is not None


def test_a_new_locator_is_no_source_before_the_peer_has_it() -> None:
    """RFC 5533 §7.2."""
    lone = established()
    lone.manager.set_local_address(A3, True, 0)
    lone.manager.set_identity(
        toy_identity("a", A1, [A1, A2, A3], [Locator(one, VerificationMethod.HBA) for one in (A1, A2, A3)]), 0
    )
    (request,) = requests(lone.drain())
    assert lone.context().local.sources == (A1, A2)
    lone.hear(UpdateAck(lone.context().tag_local, request.request_nonce))
    assert lone.context().local.sources == (A1, A2, A3)


def test_a_locator_that_the_peer_took_a_probe_from_is_a_source() -> None:
    """RFC 5533 §12.4: no host takes one from what is no locator of its peer."""
    lone = established()
    context = lone.context()
    context.local.accepted = frozenset((A1,))
    lone.manager.prefer_local_address(A2, Preference(priority=3), lone.now_ns)
    lone.hear(Probe(context.tag_local, ReachabilityState.EXPLORING, (ProbeEntry(B2, A2, 1),)), B2, A2)
    answer = next(one for *_, one in lone.sent if isinstance(one, Probe))
    assert answer.sent[0].source == A2
    lone.sent.clear()
    reports = Probe(
        context.tag_local, ReachabilityState.OPERATIONAL, (ProbeEntry(B2, A2, 2),), (answer.sent[0],)
    )
    lone.hear(reports, B2, A2)
    assert context.pair == (A2, B2)
    (source,) = [source for source, _, one in lone.sent if isinstance(one, UpdateRequest)]
    assert source == A2


def test_many_contexts_are_updated_at_the_hosts_rate() -> None:
    lone = Lone(Shim6Settings(updates_per_second=5, answers_per_second=1000))
    for fii in range(20):
        lone.manager.establish(A1, B1, 0, fii)
    for fii in range(20):
        context = lone.manager.find(A1, B1, fii)
        assert context is not None
        nonce = context.handshake.initiator_nonce
        lone.hear(R1(nonce, 1, (ResponderValidator(b"v"),)))
        lone.hear(R2(fii + 1, nonce, peer_options()))
    lone.manager.set_local_address(A2, False, 0)
    assert len(requests(lone.drain())) == 5
    assert len(requests(lone.wait_until(SECOND))) == 5


def test_an_address_that_is_moved_to_is_told_by_recovery_when_nothing_else_is_left() -> None:
    """RFC 5533 §10.4, §7.18: a request from an unknown address gets R1bis, and I2bis tells the rest."""
    pairing = Pairing()
    pairing.establish()
    now_ns = pairing.cloud.clock.now_ns
    pairing.cloud.kill(A1)
    pairing.cloud.kill(A2)
    pairing.cloud.own(A3, pairing.a)
    manager = pairing.a.manager
    for gone in (A1, A2):
        manager.set_local_address(gone, False, now_ns)
    manager.set_local_address(A3, True, now_ns)
    locators = [Locator(A1, 1), Locator(A2, 1), Locator(A3, VerificationMethod.CGA)]
    manager.set_identity(toy_identity("a", A1, [A1, A2], locators), now_ns)
    pairing.a.drain()
    assert pairing.cloud.run(30, lambda: "R2" in pairing.kinds)
    pairing.cloud.run(1)
    assert pairing.both("established")
    a, b = pairing.context(pairing.a), pairing.context(pairing.b)
    assert a is not None
    assert b is not None
    assert a.pair == (A3, B1)
    assert b.pair == (B1, A3)


def test_an_error_about_generation_makes_us_send_the_whole_list() -> None:
    """RFC 5533 §5.14, codes 3 and 4."""
    lone = established()
    lone.manager.set_local_address(A2, False, 0)
    (request,) = requests(lone.drain())
    data = emit_message(request)
    quoted = bytes([0x60, 0, 0, 0, 0, len(data), 140, 64]) + A1 + B1 + data
    (again,) = requests(lone.hear(ErrorMessage(ErrorCode.GENERATION, 60, quoted)))
    assert find_option(again, LocatorList) is not None
    assert again.request_nonce != request.request_nonce
    events = [lone.manager.poll_event() for _ in range(9)]
    assert sum(isinstance(event, PeerError) for event in events) == 1


def test_an_error_about_nothing_of_ours_is_dropped() -> None:
    lone = established()
    data = emit_message(UpdateRequest(TAG ^ 1, 1))
    quoted = bytes([0x60, 0, 0, 0, 0, len(data), 140, 64]) + A1 + B1 + data
    assert lone.hear(ErrorMessage(ErrorCode.GENERATION, 60, quoted)) == []
    assert lone.count(Shim6Counter.FOREIGN_ERROR) == 1


# The peer's to us.


def test_a_list_replaces_the_one_before_even_without_the_ulid() -> None:
    """RFC 5533 §5.10: the ULID stays an identifier."""
    lone = established()
    options = (LocatorList(8, (Locator(B2, 1),)),)
    (ack, *probes) = update(lone, 4, *options)
    assert ack == UpdateAck(TAG, 4)
    assert lone.context().peer.addresses == (B2,)
    assert lone.context().key.ulid_peer == B1
    # The current pair is gone, so another one is probed before it is used (§10.4).
    assert [type(one) for one in probes] == [Probe]
    assert lone.context().pair == (A1, B1)
    events = [lone.manager.poll_event() for _ in range(9)]
    assert PeerUpdated(A1, B1, 0, (B2,)) in events


def test_broken_is_explored_first_and_moved_then() -> None:
    """RFC 5533 §10.4: Lp(peer) BROKEN."""
    pairing = Pairing()
    pairing.establish()
    pairing.b.manager.prefer_local_address(B1, BROKEN, pairing.cloud.clock.now_ns)
    pairing.b.drain()
    pairing.cloud.run(2)
    for node, mine, theirs in ((pairing.a, (A1, A2), (B2,)), (pairing.b, (B2,), (A1, A2))):
        context = pairing.context(node)
        assert context is not None
        assert context.pair.local in mine
        assert context.pair.peer in theirs
        assert context.reap.state is ReapState.OPERATIONAL


@pytest.mark.parametrize(
    ("options", "counter", "code"),
    [
        ((LocatorList(8, (Locator(C1, 1),)),), Shim6Counter.REFUSED_LOCATOR, ErrorCode.VERIFICATION_FAILED),
        ((LocatorList(8, (Locator(B1, 9),)),), Shim6Counter.REFUSED_LOCATOR, ErrorCode.VERIFICATION_FAILED),
        ((LocatorPreferences(9, (BROKEN, BROKEN)),), Shim6Counter.WRONG_GENERATION, ErrorCode.GENERATION),
        ((LocatorPreferences(7, (BROKEN,)),), Shim6Counter.WRONG_COUNT, ErrorCode.LOCATOR_COUNT),
        (
            (LocatorList(8, (Locator(B2, 1),)), LocatorPreferences(7, (BROKEN,))),
            Shim6Counter.WRONG_GENERATION,
            ErrorCode.GENERATION,
        ),
    ],
)
def test_nothing_changes_before_everything_is_checked(
    options: tuple[object, ...], counter: Shim6Counter, code: ErrorCode
) -> None:
    """RFC 5533 §10.4."""
    lone = established()
    (error,) = update(lone, 4, *options)
    assert isinstance(error, ErrorMessage)
    assert error.code == code
    assert lone.count(counter) == 1
    peer = lone.context().peer
    assert (peer.addresses, peer.generation) == ((B1, B2), 7)
    assert not any(entry.broken for entry in peer)


def test_an_old_list_does_not_come_back() -> None:
    """RFC 5533 §16.2: a signature never expires."""
    lone = established()
    update(lone, 4, *peer_options(generation=8))
    assert update(lone, 5, *peer_options(generation=7)) == []
    assert lone.count(Shim6Counter.OLD_GENERATION) == 1
    assert [type(one) for one in update(lone, 6, *peer_options(generation=8))] == [UpdateAck]


def test_a_list_of_before_the_last_exchange_may_come_again() -> None:
    """RFC 5533 §7.16: an R2 of a peer that crashed since came after the list that the peer has now.

    Refused in silence, its Update Requests would go on for ever, and their answer is what shows the peer that
    its tag is not known here (RFC 5533 §7.17).
    """
    lone = Lone()
    lone.manager.establish(A1, B1, 0)
    nonce = lone.context().handshake.initiator_nonce
    lone.hear(R1(nonce, 1, (ResponderValidator(b"v"),)))
    update(lone, 4, *peer_options(generation=8))
    lone.hear(R2(TAG, nonce, peer_options(generation=7)))
    assert UpdateAck(TAG, 5) in update(lone, 5, *peer_options(generation=8))
    assert lone.count(Shim6Counter.OLD_GENERATION) == 0


def test_a_repeated_request_is_acknowledged_again() -> None:
    lone = established()
    for _ in range(3):
        assert UpdateAck(TAG, 4) in update(lone, 4, LocatorPreferences(7, (Preference(), BROKEN)))
    events = [lone.manager.poll_event() for _ in range(9)]
    assert sum(isinstance(event, PeerUpdated) for event in events) == 1


def test_a_request_from_strange_addresses_is_answered_by_r1bis() -> None:
    """RFC 5533 §10.4, §12.4: the tag was reused, or the peer has moved."""
    lone = established()
    request = UpdateRequest(lone.context().tag_local, 4, peer_options(generation=8))
    for source, destination in ((C1, A1), (B1, C1)):
        (answer,) = lone.hear(request, source, destination)
        assert isinstance(answer, R1bis)
    assert lone.context().peer.generation == 7


def test_a_liked_pair_is_moved_to_once_it_answers() -> None:
    """RFC 5533 §10.4: new preferences may make another pair the better one."""
    pairing = Pairing()
    pairing.establish()
    now_ns = pairing.cloud.clock.now_ns
    pairing.b.manager.prefer_local_address(B1, Preference(priority=20), now_ns)
    pairing.b.drain()
    pairing.cloud.run(3)
    a: Context | None = pairing.context(pairing.a)
    assert a is not None
    assert a.pair.peer == B2
    # Where the better one does not answer, the current one stays.
    pairing.cloud.cut(A1, B1)
    pairing.cloud.cut(A2, B1)
    before = a.pair
    pairing.b.manager.prefer_local_address(B2, Preference(priority=30), pairing.cloud.clock.now_ns)
    pairing.b.drain()
    pairing.cloud.run(30)
    assert a.pair == before
    assert a.reap.state is ReapState.OPERATIONAL


def test_a_moment_without_any_address_is_survived() -> None:
    """A host between two networks has none; the context waits."""
    pairing = Pairing()
    pairing.establish()
    pairing.converse()
    manager = pairing.a.manager
    for one in (A1, A2):
        manager.set_local_address(one, False, pairing.cloud.clock.now_ns)
        pairing.cloud.kill(one)
    pairing.a.drain()
    pairing.messages.clear()
    pairing.cloud.run(30)
    assert not [
        source
        for _, source, _, message in pairing.messages
        if isinstance(message, Probe) and source in (A1, A2)
    ]
    pairing.cloud.revive(A2)
    manager.set_local_address(A2, True, pairing.cloud.clock.now_ns)
    pairing.a.drain()
    assert pairing.recovers(5)
    a = pairing.context(pairing.a)
    assert a is not None
    assert a.pair in (Pair(A2, B1), Pair(A2, B2))
