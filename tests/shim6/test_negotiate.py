"""Establishment and recovery between two cores (RFC 5533 §7), and what one core does with forged messages."""

from itertools import pairwise

import pytest

from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.effects import InstallContext, RemoveContext
from mpcore.shim6.events import ContextEstablished, ContextFailed
from mpcore.shim6.settings import SECOND, Shim6Settings
from mpcore.shim6.states import ContextState
from mpcore.sim.shim6_identity import toy_identities
from mpcore.wire.shim6 import (
    I1,
    I2,
    R1,
    R2,
    CgaParameterData,
    ErrorCode,
    ErrorMessage,
    ForkedInstance,
    I2bis,
    Keepalive,
    KeepaliveTimeout,
    LocatorList,
    LocatorPreferences,
    Preference,
    Probe,
    R1bis,
    ResponderValidator,
    Shim6Option,
    UlidPair,
    UpdateRequest,
    emit_message,
    find_option,
)
from tests.shim6.world import A1, A2, B1, B2, C1, Lone, Pairing, count, peer_options

TAG = 0xB0B


def validator_of(message: R1 | R1bis) -> ResponderValidator:
    option = find_option(message, ResponderValidator)
    assert option is not None
    return option


def r1_of(lone: Lone, i1: I1, source: bytes = B1, destination: bytes = A1) -> R1:
    (r1,) = lone.hear(i1, source, destination)
    assert isinstance(r1, R1)
    return r1


def i2_of(r1: R1, *options: Shim6Option, tag: int = TAG) -> I2:
    return I2(tag, 5, r1.responder_nonce, (validator_of(r1), *options, *peer_options()))


# The exchange.


def test_four_messages_make_a_context() -> None:
    """RFC 5533 §7.3, Figure 3."""
    pairing = Pairing()
    pairing.a.establish(A1, B1)
    pairing.cloud.run(1)
    assert pairing.kinds == ["I1", "R1", "I2", "R2"]
    assert pairing.both("established")
    a, b = pairing.context(pairing.a), pairing.context(pairing.b)
    assert a is not None
    assert b is not None
    assert (a.tag_peer, b.tag_peer) == (b.tag_local, a.tag_local)
    assert set(a.peer.addresses) == {B1, B2}
    assert set(b.peer.addresses) == {A1, A2}
    assert [a.initiator, b.initiator] == [True, False]
    assert len(pairing.a.happened(ContextEstablished)) == 1


def test_the_responder_keeps_nothing_of_an_i1() -> None:
    """RFC 5533 §7.10: no state, for however many I1."""
    lone = Lone()
    for nonce in range(50):
        r1_of(lone, I1(nonce, nonce))
    assert lone.manager.contexts() == ()
    assert lone.manager.poll_timeout() is None


def test_crossing_i1_messages_are_answered_by_r2() -> None:
    """RFC 5533 §7.4, Figure 4."""
    pairing = Pairing()
    pairing.a.establish(A1, B1)
    pairing.b.establish(B1, A1)
    pairing.cloud.run(1)
    assert sorted(pairing.kinds[:4]) == ["I1", "I1", "R2", "R2"]
    assert pairing.both("established")
    assert pairing.kinds[4:] == []


def test_crossing_i2_and_i1() -> None:
    """RFC 5533 §7.4, Figure 5."""
    pairing = Pairing()
    pairing.a.establish(A1, B1)
    pairing.cloud.run(0.025)  # R1 is under way
    pairing.b.establish(B1, A1)
    pairing.cloud.run(1)
    assert sorted(pairing.kinds) == ["I1", "I1", "I2", "R1", "R2", "R2"]
    assert pairing.both("established")


def test_both_ends_in_i2_sent() -> None:
    """RFC 5533 §7.13: I2 in I2-SENT is answered by R2."""
    pairing = Pairing()
    pairing.a.establish(A1, B1)
    pairing.cloud.run(0.015)  # I1 has come, R1 is under way: b, which forgot it, begins itself
    pairing.cloud.cut(B1, A1)
    pairing.b.establish(B1, A1)  # its I1 is lost
    pairing.cloud.mend(B1, A1)
    pairing.cloud.run(20)
    assert pairing.both("established")


@pytest.mark.parametrize("victim", ["I1", "R1", "I2", "R2"])
def test_a_lost_message_is_made_up_for(victim: str) -> None:
    """RFC 5533 §7.8, §7.12, §7.14: R1 and R2 are never repeated by themselves."""
    pairing = Pairing()
    watch = pairing.cloud.watch

    def lose_once(packet: object) -> None:
        watch(packet)  # type: ignore[arg-type]
        lost = pairing.kinds[-1] == victim and pairing.kinds.count(victim) == 1
        for ends in ((A1, B1), (B1, A1)):
            (pairing.cloud.cut if lost else pairing.cloud.mend)(*ends)

    pairing.cloud.watch = lose_once
    pairing.a.establish(A1, B1)
    assert pairing.cloud.run(7, lambda: pairing.both("established"))


def test_i1_is_repeated_with_growing_jittered_gaps_and_then_given_up() -> None:
    """RFC 5533 §7.8, §14: 4 retransmissions, U(0.5, 1.5) · 4 s · 2^n; the peer is left alone for 60 s."""
    lone = Lone()
    lone.manager.establish(A1, B1, 0)
    lone.drain()
    times = [0]
    while lone.context().state is ContextState.I1_SENT:
        due_ns = lone.manager.poll_timeout()
        assert due_ns is not None
        if any(isinstance(one, I1) for one in lone.wait_until(due_ns)):
            times.append(due_ns)
    assert len(times) == 5
    for number, (earlier, later) in enumerate(pairwise(times)):
        assert 0.5 <= (later - earlier) / (4 * SECOND << number) <= 1.5
    assert lone.context().state is ContextState.E_FAILED
    assert lone.manager.establish(A1, B1, lone.now_ns) is None
    assert lone.manager.establish(A1, B1, lone.now_ns, fii=3) is None
    assert isinstance(lone.manager.poll_event(), ContextFailed)
    lone.wait(61)
    assert lone.manager.contexts() == ()
    assert lone.manager.establish(A1, B1, lone.now_ns) is not None


def test_an_unanswered_i2_falls_back_to_i1() -> None:
    """RFC 5533 §7.12, §14: two retransmissions of I2."""
    lone = Lone()
    lone.manager.establish(A1, B1, 0)
    (i1,) = lone.drain()
    assert isinstance(i1, I1)
    lone.hear(R1(i1.initiator_nonce, 9, (ResponderValidator(b"any length"),)))
    kinds = [type(one).__name__ for one in lone.wait(42)]
    assert kinds[:3] == ["I2", "I2", "I1"]


def test_an_exchange_that_goes_round_for_ever_is_ended() -> None:
    lone = Lone()
    lone.manager.establish(A1, B1, 0)
    lone.drain()
    for _ in range(100):
        if lone.context().state is ContextState.E_FAILED:
            break
        if lone.context().state is ContextState.I1_SENT:
            nonce = lone.context().handshake.initiator_nonce
            lone.hear(R1(nonce, 9, (ResponderValidator(b"v"),)))
        lone.wait(5)
    assert lone.context().state is ContextState.E_FAILED
    assert lone.now_ns < 400 * SECOND


def test_icmp_unrecognised_next_header_means_no_support() -> None:
    """RFC 5533 §7.8: ICMPv6 4/1 with our I1; 10 minutes, and the peer may begin meanwhile."""
    lone = Lone()
    lone.manager.establish(A1, B1, 0)
    (i1,) = lone.drain()
    data = emit_message(i1)
    quoted = bytes([0x60, 0, 0, 0, 0, len(data), 140, 64]) + A1 + B1 + data
    assert lone.manager.handle_icmp(4, 1, quoted, 0).absorb
    assert lone.context().state is ContextState.NO_SUPPORT
    lone.wait(599)
    assert lone.manager.establish(A1, B1, lone.now_ns) is None
    r1 = r1_of(lone, I1(TAG, 5))
    lone.hear(i2_of(r1))
    assert lone.context().state is ContextState.ESTABLISHED
    lone.wait(2)
    assert lone.context().state is ContextState.ESTABLISHED


def test_a_forged_icmp_error_changes_nothing() -> None:
    """RFC 5534 §8: it must quote the very I1, nonce and all."""
    lone = Lone()
    lone.manager.establish(A1, B1, 0)
    (i1,) = lone.drain()
    assert isinstance(i1, I1)
    for forged in (
        I1(i1.initiator_tag ^ 1, i1.initiator_nonce),
        I1(i1.initiator_tag, i1.initiator_nonce ^ 1),
    ):
        data = emit_message(forged)
        quoted = bytes([0x60, 0, 0, 0, 0, len(data), 140, 64]) + A1 + B1 + data
        assert not lone.manager.handle_icmp(4, 1, quoted, 0).absorb
    assert lone.context().state is ContextState.I1_SENT


# Validators.


def test_the_validator_covers_all_but_the_initiator_nonce() -> None:
    """RFC 5533 §7.10.1; §7.11 lets the nonce change."""
    lone = Lone()
    r1 = r1_of(lone, I1(TAG, 5))
    good = i2_of(r1)
    wrong = [
        (i2_of(r1, tag=TAG ^ 1), B1, A1),
        (i2_of(r1, ForkedInstance(1)), B1, A1),
        (i2_of(r1, UlidPair(B2, A1)), B1, A1),
        (good, B2, A1),
        (good, B1, A2),
        (I2(TAG, 5, r1.responder_nonce, (ResponderValidator(b""), *peer_options())), B1, A1),
    ]
    for message, source, destination in wrong:
        assert lone.hear(message, source, destination) == []
    assert lone.count(Shim6Counter.WRONG_VALIDATOR) == len(wrong)
    assert lone.manager.contexts() == ()
    (r2,) = lone.hear(I2(TAG, 999, r1.responder_nonce, good.options))
    assert isinstance(r2, R2)
    assert r2.initiator_nonce == 999


def test_a_responder_nonce_lives_for_thirty_seconds_and_little_more() -> None:
    """RFC 5533 §7.13, VALIDATOR_MIN_LIFETIME."""
    for age_s, accepted in ((30, True), (41, False)):
        lone = Lone()
        i2 = i2_of(r1_of(lone, I1(TAG, 5)))
        lone.wait(age_s)
        assert bool(lone.hear(i2)) is accepted
        assert lone.count(Shim6Counter.STALE_NONCE) == (not accepted)


def test_validators_survive_a_change_of_the_secret() -> None:
    """RFC 5533 §16.2: the secret before is kept for a while."""
    lone = Lone()
    accepted = 0
    for number in range(80):
        r1 = r1_of(lone, I1(number, 5))
        lone.wait(29)
        i2 = I2(number, 5, r1.responder_nonce, (validator_of(r1), *peer_options()))
        accepted += any(isinstance(one, R2) for one in lone.hear(i2))
    assert accepted == 80


def test_a_validator_of_r1bis_is_none_of_r1() -> None:
    lone = Lone()
    (r1bis,) = lone.hear(Keepalive(TAG))
    assert isinstance(r1bis, R1bis)
    assert lone.hear(I2(TAG, 5, r1bis.responder_nonce, (validator_of(r1bis), *peer_options()))) == []
    assert lone.count(Shim6Counter.WRONG_VALIDATOR) == 1


def test_an_exchange_message_without_validator_is_dropped() -> None:
    """RFC 5533 §5.6, §5.9: the option is a MUST."""
    lone = Lone()
    nonce = r1_of(lone, I1(TAG, 5)).responder_nonce
    assert lone.hear(I2(TAG, 5, nonce, peer_options())) == []
    assert lone.hear(I2bis(TAG, 5, nonce, TAG, peer_options())) == []
    assert lone.count(Shim6Counter.NO_VALIDATOR) == 2


def test_a_validator_of_any_length_is_copied() -> None:
    """RFC 5533 §5.15.1."""
    for size in (0, 1, 20, 100):
        lone = Lone()
        lone.manager.establish(A1, B1, 0)
        (i1,) = lone.drain()
        assert isinstance(i1, I1)
        (i2,) = lone.hear(R1(i1.initiator_nonce, 9, (ResponderValidator(bytes(size)),)))
        assert isinstance(i2, I2)
        assert find_option(i2, ResponderValidator) == ResponderValidator(bytes(size))
        assert i2.responder_nonce == 9


# What is learnt, and what is not.


def test_an_i1_never_changes_a_context() -> None:
    """RFC 5533 §7.9, §7.6: an I1 with another tag gets R1, the context stays."""
    pairing = Pairing()
    pairing.establish()
    b = pairing.context(pairing.b)
    assert b is not None
    before = (b.tag_local, b.tag_peer, b.pair, b.peer.addresses)
    pairing.b.manager.handle_control(A1, B1, emit_message(I1(0x5EED, 1)), pairing.cloud.clock.now_ns)
    pairing.b.drain()
    assert pairing.kinds[-1] == "R1"
    assert (b.tag_local, b.tag_peer, b.pair, b.peer.addresses) == before


def test_a_replayed_i2_gets_r2_and_changes_nothing() -> None:
    """RFC 5533 §7.14: the R2 was lost; nothing of REAP or the pair is reset."""
    lone = Lone()
    i2 = i2_of(r1_of(lone, I1(TAG, 5)))
    lone.hear(i2)
    context = lone.context()
    context.pair = type(context.pair)(A2, B2)
    effects = len(lone.effects)
    (r2,) = lone.hear(i2)
    assert isinstance(r2, R2)
    assert context.pair == (A2, B2)
    assert len(lone.effects) == effects
    assert lone.verifier.calls == 1  # the verdict was kept


def test_a_replayed_i2_does_not_undo_an_update() -> None:
    """RFC 5533 §7.14: the copy came late, and the peer's locators are others now."""
    lone = Lone()
    i2 = i2_of(r1_of(lone, I1(TAG, 5)))
    lone.hear(i2)
    lone.hear(UpdateRequest(lone.context().tag_local, 4, peer_options(generation=8)))
    (r2,) = lone.hear(i2)
    assert isinstance(r2, R2)
    assert lone.context().peer.generation == 8


def test_replays_are_limited_per_context() -> None:
    lone = Lone(Shim6Settings(answers_per_second=5))
    i2 = i2_of(r1_of(lone, I1(TAG, 5)))
    assert sum(len(lone.hear(i2)) for _ in range(50)) == 5
    assert lone.count(Shim6Counter.LIMIT_ANSWER) == 45


def test_a_restarted_initiator_gets_its_context_anew() -> None:
    """RFC 5533 §7.5, Figure 7."""
    pairing = Pairing()
    pairing.establish()
    pairing.a.restart()
    pairing.a.establish(A1, B1)
    pairing.cloud.run(1)
    assert pairing.kinds[:4] == ["I1", "R1", "I2", "R2"]
    assert pairing.both("established")


def test_locators_that_are_not_the_peers_are_refused_with_an_error() -> None:
    """RFC 5533 §7.2: Error 2, pointing to the method; nothing of the message is used."""
    lone = Lone()
    r1 = r1_of(lone, I1(TAG, 5))
    listed, parameters = peer_options()
    assert isinstance(listed, LocatorList)
    bad = LocatorList(7, (listed.locators[0], type(listed.locators[1])(C1, 1)))
    (error,) = lone.hear(I2(TAG, 5, r1.responder_nonce, (validator_of(r1), bad, parameters)))
    assert isinstance(error, ErrorMessage)
    assert error.code == ErrorCode.VERIFICATION_FAILED
    # Validator of 16 octets: 24; the list's header, generation and count: 4 + 5; the second method.
    assert error.pointer == 40 + 24 + 24 + 4 + 5 + 1
    assert error.packet[error.pointer] == 1
    assert lone.manager.contexts() == ()


def test_parameters_of_somebody_else_are_dropped_in_silence() -> None:
    """RFC 5533 §7.13."""
    lone = Lone()
    r1 = r1_of(lone, I1(TAG, 5))
    other = toy_identities("c", [C1])[0].parameters
    assert other is not None
    assert lone.hear(I2(TAG, 5, r1.responder_nonce, (validator_of(r1), CgaParameterData(other)))) == []
    assert lone.count(Shim6Counter.WRONG_PARAMETERS) == 1


def test_a_peer_without_locator_list_has_its_ulid() -> None:
    lone = Lone()
    r1 = r1_of(lone, I1(TAG, 5))
    lone.hear(I2(TAG, 5, r1.responder_nonce, (validator_of(r1),)))
    assert lone.context().peer.addresses == (B1,)


def test_preferences_need_a_list_and_its_generation() -> None:
    """RFC 5533 §10.4: Error 3, and Error 4 for another number of elements."""
    lone = Lone()
    r1 = r1_of(lone, I1(TAG, 5))
    for preferences, code in (
        (LocatorPreferences(8, (Preference(), Preference())), ErrorCode.GENERATION),
        (LocatorPreferences(7, (Preference(),)), ErrorCode.LOCATOR_COUNT),
    ):
        (error,) = lone.hear(i2_of(r1, preferences))
        assert isinstance(error, ErrorMessage)
        assert error.code == code
    assert lone.manager.contexts() == ()


def test_a_forked_context_is_another_context() -> None:
    """RFC 5533 §4.2, §7.7."""
    pairing = Pairing()
    pairing.a.establish(A1, B1)
    pairing.a.establish(A1, B1, 7)
    pairing.cloud.run(1)
    for node, ulids in ((pairing.a, (A1, B1)), (pairing.b, (B1, A1))):
        plain, forked = node.manager.find(*ulids), node.manager.find(*ulids, 7)
        assert plain is not None
        assert forked is not None
        assert plain.state == forked.state == "established"
        assert plain.tag_local != forked.tag_local


def test_the_ulid_pair_option_names_the_context_on_other_locators() -> None:
    """RFC 5533 §5.15.6, §7.9: its sender is the sender of the message."""
    lone = Lone()
    ulids = UlidPair(B1, A1)
    r1 = r1_of(lone, I1(TAG, 5, (ulids,)), B2, A2)
    (r2,) = lone.hear(I2(TAG, 5, r1.responder_nonce, (validator_of(r1), ulids, *peer_options())), B2, A2)
    assert isinstance(r2, R2)
    assert lone.context().key == (A1, B1, 0)
    assert lone.context().pair == (A2, B2)


def test_a_context_for_a_ulid_of_somebody_else_is_not_made() -> None:
    lone = Lone()
    assert lone.hear(I1(TAG, 5, (UlidPair(B1, C1),))) == []
    assert lone.count(Shim6Counter.NOT_OUR_ULID) == 1


def test_the_data_plane_hears_of_a_context_once_payload_may_come() -> None:
    """RFC 5533 §11, §12.2."""
    lone = Lone()
    lone.manager.establish(A1, B1, 0)
    (i1,) = lone.drain()
    assert isinstance(i1, I1)
    assert lone.effects == []
    lone.hear(R1(i1.initiator_nonce, 9, (ResponderValidator(b"v"),)))
    (installed,) = lone.effects
    assert isinstance(installed, InstallContext)
    assert not installed.path.sending
    assert installed.path.watched
    lone.hear(R2(TAG, i1.initiator_nonce, peer_options()))
    path = lone.context().installed
    assert path is not None
    assert path.sending
    assert not path.watched
    assert (path.tag_peer, path.locator_local, path.locator_peer) == (TAG, A1, B1)
    assert lone.manager.discard(A1, B1)
    lone.drain()
    assert lone.effects[-1] == RemoveContext(path.number, path.tag_local)


# Recovery.


@pytest.mark.parametrize("trigger", ["payload", "probe", "keepalive"])
def test_a_context_that_the_peer_lost_is_recovered(trigger: str) -> None:
    """RFC 5533 §7.5, Figure 6: R1bis, I2bis, R2."""
    pairing = Pairing()
    pairing.establish()
    now_ns = pairing.cloud.clock.now_ns
    a = pairing.context(pairing.a)
    assert a is not None
    pairing.b.restart()
    if trigger == "payload":
        a.pair = type(a.pair)(A2, B2)
        pairing.a.manager._shared.publish(a)
        pairing.a.drain()
        pairing.a.say(A1, B1)
    elif trigger == "probe":
        pairing.a.manager.suspect_local_address(A1, now_ns)
        pairing.a.drain()
    else:
        pairing.a.manager.note_activity(a.number, None, now_ns, now_ns)
        pairing.a.drain()
    assert pairing.cloud.run(30, lambda: "R2" in pairing.kinds)
    pairing.cloud.run(1)
    assert [kind for kind in pairing.kinds if "bis" in kind or kind == "R2"] == ["R1bis", "I2bis", "R2"]
    assert pairing.both("established")
    assert count(pairing.a.manager, Shim6Counter.RECOVERED) == 1
    b = pairing.context(pairing.b)
    assert b is not None
    assert (b.pair.local, b.pair.peer) == (a.pair.peer, a.pair.local)


def test_the_recovered_context_has_a_new_tag() -> None:
    """RFC 5533 §7.20: the Packet Context Tag is not used again; the ULIDs come as an option."""
    lone = Lone()
    (r1bis,) = lone.hear(Keepalive(TAG), B2, A2)
    assert isinstance(r1bis, R1bis)
    assert r1bis.packet_tag == TAG
    options = (validator_of(r1bis), UlidPair(B1, A1), *peer_options())
    (r2,) = lone.hear(I2bis(0xB0C, 5, r1bis.responder_nonce, TAG, options), B2, A2)
    assert isinstance(r2, R2)
    assert r2.responder_tag != TAG
    assert lone.context().pair == (A2, B2)
    assert lone.context().tag_peer == 0xB0C


def test_the_tag_of_the_lost_context_is_not_given_again() -> None:
    """RFC 5533 §7.20: with two tags there are, the other one is taken."""
    for seed in range(10):
        lone = Lone(Shim6Settings(tag_bits=1), seed)
        (r1bis,) = lone.hear(Keepalive(1))
        assert isinstance(r1bis, R1bis)
        (r2,) = lone.hear(I2bis(TAG, 5, r1bis.responder_nonce, 1, (validator_of(r1bis), *peer_options())))
        assert isinstance(r2, R2)
        assert r2.responder_tag == 0


def test_r2_counts_only_on_the_pair_of_the_exchange() -> None:
    """RFC 5533 §7.16, §12.4: the nonce alone is not enough."""
    lone = Lone()
    lone.manager.establish(A1, B1, 0)
    (i1,) = lone.drain()
    assert isinstance(i1, I1)
    lone.hear(R1(i1.initiator_nonce, 9, (ResponderValidator(b"v"),)))
    r2 = R2(TAG, i1.initiator_nonce, peer_options())
    for source, destination in ((B2, A1), (B1, A2)):
        lone.hear(r2, source, destination)
        assert lone.context().state is ContextState.I2_SENT
    assert lone.count(Shim6Counter.STRANGE_LOCATOR) == 2
    lone.hear(r2)
    assert lone.context().state is ContextState.ESTABLISHED


def test_r1bis_counts_only_on_pairs_in_use() -> None:
    """RFC 5533 §7.18, with the probed pairs of §7.5; the tag alone is not enough."""
    lone = Lone()
    lone.hear(i2_of(r1_of(lone, I1(TAG, 5))))
    r1bis = R1bis(TAG, 9, (ResponderValidator(b"v"),))
    assert lone.hear(r1bis, B2, A2) == []
    assert lone.count(Shim6Counter.NO_CONTEXT) == 1
    lone.manager.suspect_local_address(A1, lone.now_ns)
    (probe,) = lone.drain()
    assert isinstance(probe, Probe)
    assert (probe.sent[0].source, probe.sent[0].destination) == (A2, B2)
    (i2bis,) = lone.hear(r1bis, B2, A2)
    assert isinstance(i2bis, I2bis)
    assert find_option(i2bis, UlidPair) == UlidPair(A1, B1)
    assert i2bis.packet_tag == TAG
    assert lone.context().tag_peer == TAG


def test_payload_may_be_sent_while_recovering() -> None:
    """RFC 5533 §11: in I2BIS-SENT."""
    lone = Lone()
    lone.hear(i2_of(r1_of(lone, I1(TAG, 5))))
    lone.hear(R1bis(TAG, 9, (ResponderValidator(b"v"),)))
    path = lone.context().installed
    assert path is not None
    assert path.sending
    assert path.watched


def test_a_recovery_without_answer_begins_at_i1_again() -> None:
    """RFC 5533 §7.19."""
    lone = Lone()
    lone.hear(i2_of(r1_of(lone, I1(TAG, 5))))
    lone.hear(R1bis(TAG, 9, (ResponderValidator(b"v"),)))
    kinds = [type(one).__name__ for one in lone.wait(42)]
    assert [kind for kind in kinds if kind.startswith("I")][:3] == ["I2bis", "I2bis", "I1"]
    assert lone.context().state in (ContextState.I1_SENT, ContextState.E_FAILED)
    assert isinstance(lone.effects[-1], RemoveContext)


# Confusion.


def test_a_tag_given_to_another_context_ends_the_old_one() -> None:
    """RFC 5533 §7.6, §7.15: never two contexts with one tag of one peer."""
    lone = Lone()
    lone.hear(i2_of(r1_of(lone, I1(TAG, 5))))
    old = lone.context()
    ulids = UlidPair(B2, A1)
    r1 = r1_of(lone, I1(TAG, 6, (ulids,)), B2)
    assert old.state is ContextState.ESTABLISHED  # the I1 alone does nothing
    sent = lone.hear(I2(TAG, 6, r1.responder_nonce, (validator_of(r1), ulids, *peer_options())), B2)
    assert lone.count(Shim6Counter.CONFUSED) == 1
    new = lone.manager.find(A1, B2)
    assert new is not None
    assert new.state is ContextState.ESTABLISHED
    assert new.tag_peer == TAG
    # It was in use a moment ago, so it is made again (the RFC's MAY).
    assert old.state is ContextState.I1_SENT
    assert sorted(type(one).__name__ for one in sent) == ["I1", "R2"]


def test_the_same_tag_of_another_host_is_no_confusion() -> None:
    """RFC 5533 §7.15: only with a common locator."""
    lone = Lone()
    lone.hear(i2_of(r1_of(lone, I1(TAG, 5))))
    r1 = r1_of(lone, I1(TAG, 6), C1)
    lone.hear(I2(TAG, 6, r1.responder_nonce, (validator_of(r1), *peer_options(3, "c", (C1,)))), C1)
    assert lone.count(Shim6Counter.CONFUSED) == 0
    assert {context.state for context in lone.manager.contexts()} == {ContextState.ESTABLISHED}


def test_tags_of_seven_bits_run_out_without_harm() -> None:
    """RFC 5533 Appendix C.4: unique while there are any."""
    lone = Lone(Shim6Settings(tag_bits=7))
    made = [lone.manager.establish(A1, B1, 0, fii) for fii in range(200)]
    tags = [context.tag_local for context in made if context is not None]
    assert len(tags) == len(set(tags)) == 128
    assert lone.count(Shim6Counter.LIMIT_CONTEXTS) == 72


# The Keepalive Timeout.


def test_the_keepalive_timeout_is_announced_when_it_is_not_the_default() -> None:
    """RFC 5534 §5.3: it tells the peer's Keepalive Timeout, and 0 is not believed."""
    lone = Lone(Shim6Settings(send_timeout_ns=10 * SECOND))
    r1 = r1_of(lone, I1(TAG, 5))
    (r2,) = lone.hear(i2_of(r1, KeepaliveTimeout(0)))
    assert find_option(r2, KeepaliveTimeout) == KeepaliveTimeout(10)
    assert lone.context().reap.keepalive_timeout_ns == SECOND
    (r2,) = (lone := Lone()).hear(i2_of(r1_of(lone, I1(TAG, 5)), KeepaliveTimeout(40)))
    assert find_option(r2, KeepaliveTimeout) is None
    assert lone.context().reap.keepalive_timeout_ns == 40 * SECOND


def test_without_the_option_an_exchange_means_the_default_keepalive_timeout() -> None:
    """RFC 5534 §7: 15 s if the peer did not send it; one that was restarted is not the one that did."""
    lone = Lone()
    lone.hear(i2_of(r1_of(lone, I1(TAG, 5)), KeepaliveTimeout(60)))
    assert lone.context().reap.keepalive_timeout_ns == 60 * SECOND
    lone.hear(UpdateRequest(lone.context().tag_local, 1, ()))
    assert lone.context().reap.keepalive_timeout_ns == 60 * SECOND, "an update says what has changed"
    lone.wait(2)
    lone.hear(I2(TAG + 1, 6, (r1 := r1_of(lone, I1(TAG + 1, 6))).responder_nonce,
                 (validator_of(r1), *peer_options(generation=8))))  # fmt: skip
    assert lone.context().tag_peer == TAG + 1
    assert lone.context().reap.keepalive_timeout_ns == 15 * SECOND


def test_a_recovered_context_begins_with_the_default_keepalive_timeout() -> None:
    """RFC 5534 §7, for R2 too."""
    lone = Lone()
    lone.manager.establish(A1, B1, 0)
    for tag, options in ((TAG, (KeepaliveTimeout(60),)), (TAG + 1, ())):
        if lone.context().state is ContextState.ESTABLISHED:
            lone.hear(R1bis(TAG, 9, (ResponderValidator(b"v"),)))
        else:
            lone.hear(R1(lone.context().handshake.initiator_nonce, 1, (ResponderValidator(b"v"),)))
        lone.hear(R2(tag, lone.context().handshake.initiator_nonce, (*peer_options(), *options)))
        assert lone.context().tag_peer == tag
    assert lone.context().reap.keepalive_timeout_ns == 15 * SECOND
