"""Bad input that no other test is about: each gets what the RFC says, and moves the counter that tells of it.

docs/shim6-bad-input.md is the whole list; tests/shim6/test_bad_input_table.py holds it against the code.
"""

from dataclasses import replace
from random import Random

import pytest

from mpcore.shim6.cga_locators import can_sign
from mpcore.shim6.cga_parameters import emit_parameters
from mpcore.shim6.cga_verifier import CgaVerifier
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.hba import make_hba_set
from mpcore.shim6.locators import Pair
from mpcore.shim6.manager import Shim6Manager
from mpcore.shim6.reap_states import ReapState
from mpcore.shim6.settings import Shim6Settings
from mpcore.shim6.states import ContextState
from mpcore.wire.shim6 import (
    I1,
    I2,
    R1,
    R2,
    CgaParameterData,
    CgaSignature,
    ErrorCode,
    ErrorMessage,
    ForkedInstance,
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
    ReachabilityState,
    ResponderValidator,
    Shim6Option,
    UlidPair,
    UnknownOption,
    UpdateAck,
    UpdateRequest,
    VerificationMethod,
    emit_message,
    find_option,
)
from tests.shim6.test_context_update import TAG, established, update
from tests.shim6.world import A1, A2, B1, B2, C1, Lone, Pairing, address, count, peer_options

C = Shim6Counter
BROKEN = Preference(PreferenceFlag.BROKEN)
CRITICAL = UnknownOption(99, b"x", critical=True)


def begun(settings: Shim6Settings | None = None) -> tuple[Lone, int]:
    """A context in I1-SENT, and its nonce."""
    lone = Lone(settings)
    lone.manager.establish(A1, B1, 0)
    (i1,) = lone.drain()
    assert isinstance(i1, I1)
    return lone, i1.initiator_nonce


def proven(lone: Lone, message: I1, source: bytes = B1, destination: bytes = A1) -> tuple[int, Shim6Option]:
    """Responder nonce and validator that an I1 draws."""
    (r1,) = lone.hear(message, source, destination)
    assert isinstance(r1, R1)
    validator = find_option(r1, ResponderValidator)
    assert validator is not None
    return r1.responder_nonce, validator


def shot(lone: Lone) -> tuple[object, ...]:
    """All that a message could have changed of the context."""
    one = lone.context()
    preferences = [entry.preference for entry in one.peer]
    return (
        one.state,
        one.tag_peer,
        one.pair,
        one.peer.addresses,
        one.peer.generation,
        preferences,
        one.reap.state,
    )


# Answers to nothing.


@pytest.mark.parametrize(
    "message",
    [R1(77, 1, (ResponderValidator(b"v"),)), R2(TAG, 77, ()), R1bis(77, 1, (ResponderValidator(b"v"),))],
    ids=lambda message: type(message).__name__,
)
def test_answers_to_what_was_never_asked(message: Message) -> None:
    """RFC 5533 §7.11, §7.16, §7.18, §12.4: the nonce or the tag is nobody's."""
    lone = established()
    before = shot(lone)
    assert lone.hear(message) == []
    assert lone.count(C.NO_CONTEXT) == 1
    assert shot(lone) == before


def test_an_r1_from_elsewhere_or_without_validator() -> None:
    """RFC 5533 §7.11: nonce and locators have to match; §5.5: the validator is a MUST."""
    lone, nonce = begun()
    good = R1(nonce, 9, (ResponderValidator(b"v"),))
    for source in (C1, B2):
        assert lone.hear(good, source) == []
    assert lone.count(C.STRANGE_LOCATOR) == 2
    assert lone.hear(R1(nonce, 9)) == []
    assert lone.count(C.NO_VALIDATOR) == 1
    assert lone.context().state is ContextState.I1_SENT


def test_an_r1bis_without_validator_and_in_a_state_that_has_no_use_for_it() -> None:
    """RFC 5533 §5.8, §7.18; a copy of one that was acted on begins nothing again."""
    lone = established()
    assert lone.hear(R1bis(TAG, 9)) == []
    assert lone.count(C.NO_VALIDATOR) == 1
    r1bis = R1bis(TAG, 9, (ResponderValidator(b"v"),))
    assert [type(one) for one in lone.hear(r1bis)] == [I2bis]
    assert lone.hear(r1bis) == []
    assert lone.count(C.UNEXPECTED) == 1


def test_a_second_r2_is_dropped() -> None:
    """RFC 5533 §7.16: only in a state that waits for one."""
    lone = established()
    before = shot(lone)
    nonce = lone.context().handshake.initiator_nonce
    assert lone.hear(R2(TAG + 1, nonce, peer_options(generation=9))) == []
    assert lone.count(C.UNEXPECTED) == 1
    assert shot(lone) == before


def test_a_forged_r1bis_costs_a_recovery_and_no_more() -> None:
    """RFC 5533 §7.18, §7.19: payload goes on meanwhile, and the peer knows the I1 for that of its context."""
    pairing = Pairing()
    pairing.establish()
    pairing.converse()
    pairing.cloud.run(1)
    a, b = pairing.context(pairing.a), pairing.context(pairing.b)
    assert a is not None
    assert b is not None
    tags = (a.tag_local, b.tag_local)
    now_ns = pairing.cloud.clock.now_ns
    recent = pairing.b.manager._negotiator._responder.nonce(now_ns)
    forged = R1bis(b.tag_local, recent, (ResponderValidator(b"guess"),))
    pairing.a.manager.handle_control(B1, A1, emit_message(forged), now_ns)
    pairing.a.drain()
    before = len(pairing.a.received)
    pairing.cloud.run(60)
    assert len(pairing.a.received) - before > 590
    assert pairing.both("established")
    assert (a.tag_local, b.tag_local) == (b.tag_peer, a.tag_peer) == tags
    assert count(pairing.b.manager, C.WRONG_VALIDATOR) > 0
    assert pairing.kinds.count("R2") == 1


# Exchanges.


def test_a_nonce_of_the_future_is_no_nonce_of_ours() -> None:
    """RFC 5533 §7.13: recent means not older than so much, and not newer than now."""
    lone = Lone()
    nonce, validator = proven(lone, I1(TAG, 5))
    for wrong in (nonce + 1, nonce + (1 << 31), nonce - 5):
        assert lone.hear(I2(TAG, 5, wrong & 0xFFFFFFFF, (validator, *peer_options()))) == []
    assert lone.count(C.STALE_NONCE) == 3
    assert lone.manager.contexts() == ()


def test_an_i2_from_an_address_that_nothing_binds_to_the_peer() -> None:
    """RFC 5533 §7.13: with a context, the source has to be known or in the list. The validator was honest."""
    lone = established()
    before, ulids = shot(lone), UlidPair(B1, A1)
    nonce, validator = proven(lone, I1(TAG + 5, 5, (ulids,)), C1)
    assert lone.hear(I2(TAG + 5, 5, nonce, (validator, ulids, *peer_options(generation=9))), C1) == []
    assert lone.count(C.STRANGE_LOCATOR) == 1
    assert shot(lone) == before


def test_an_i1_is_refused_where_only_this_host_begins() -> None:
    lone = Lone(Shim6Settings(respond=False))
    assert lone.hear(I1(TAG, 5)) == []
    assert lone.count(C.UNEXPECTED) == 1


def test_a_context_by_recovery_is_refused_where_only_this_host_begins() -> None:
    """Anybody can draw an R1bis by an invented tag: its validator proves an address, and no context."""
    lone = Lone(Shim6Settings(respond=False))
    (r1bis,) = lone.hear(Keepalive(0x123))
    assert isinstance(r1bis, R1bis)
    validator = find_option(r1bis, ResponderValidator)
    assert validator is not None
    i2bis = I2bis(TAG, 5, r1bis.responder_nonce, 0x123, (validator, *peer_options()))
    assert lone.hear(i2bis) == []
    assert lone.count(C.UNEXPECTED) == 1
    assert lone.manager.contexts() == ()
    assert lone.verifier.calls == 0


def test_a_context_that_this_host_began_may_be_recovered_by_its_peer() -> None:
    """RFC 5533 §7.5, §7.9: the peer has lost it, and says so by I1 or in answer to R1bis."""
    lone = established(Shim6Settings(respond=False))
    nonce, validator = proven(lone, I1(TAG + 5, 5))
    (r2, *_) = lone.hear(I2(TAG + 5, 5, nonce, (validator, *peer_options(generation=9))))
    assert isinstance(r2, R2)
    assert lone.context().tag_peer == TAG + 5


def test_a_list_that_is_too_long_or_empty() -> None:
    """A bound of this host's, checked before anything is verified."""
    lone = Lone(Shim6Settings(max_locators=2))
    nonce, validator = proven(lone, I1(TAG, 5))
    parameters = peer_options()[1]
    for listed in ((), tuple(Locator(address(9, number), 1) for number in range(3))):
        assert lone.hear(I2(TAG, 5, nonce, (validator, LocatorList(7, listed), parameters))) == []
    assert lone.count(C.TOO_MANY_LOCATORS) == 2
    assert lone.verifier.calls == 0


def test_a_list_without_the_structure_that_proves_it() -> None:
    """RFC 5533 §5.6."""
    lone = Lone()
    nonce, validator = proven(lone, I1(TAG, 5))
    assert lone.hear(I2(TAG, 5, nonce, (validator, peer_options()[0]))) == []
    assert lone.count(C.WRONG_PARAMETERS) == 1


def test_the_context_of_one_fork_is_not_reached_by_another() -> None:
    """RFC 5533 §12.4: ULIDs and instance name it together, also where I1 cross."""
    lone, nonce = begun()
    (r1,) = lone.hear(I1(TAG, 6, (ForkedInstance(3),)))
    assert isinstance(r1, R1)  # not R2: that I1 is about a context which is not here
    (r2,) = lone.hear(I1(TAG, 7))
    assert isinstance(r2, R2)
    assert lone.context().handshake.initiator_nonce == nonce


# Signatures.


def test_one_bad_signature_in_a_list_of_good_locators_spoils_all() -> None:
    """RFC 5533 §7.2: the list and its message are ignored; Error 2 points to the method that failed."""
    pytest.importorskip("cryptography", reason="signatures need the package cryptography")
    from mpcore.shim6.cga_keys import make_key, public_key_of, sign_locators

    key = make_key(1024)
    prefixes = [B1[:8], B2[:8]]
    peer = make_hba_set(prefixes, 0, Random(1), public_key=public_key_of(key))
    assert can_sign(peer.parameters)
    lone = Lone()
    lone.manager = Shim6Manager(lone.settings, rng=Random(2), verifier=CgaVerifier())
    lone.manager.set_local_address(A1, True, 0)
    ulid, second = peer.addresses
    nonce, validator = proven(lone, I1(TAG, 5), ulid)
    listed = LocatorList(
        7, (Locator(ulid, VerificationMethod.HBA), Locator(second, VerificationMethod.HBA), Locator(C1, 2))
    )
    given = CgaParameterData(emit_parameters(peer.parameters))
    signature = sign_locators(key, listed)
    flipped = bytes([signature[0] ^ 1, *signature[1:]])
    for bad, what in ((listed, flipped), (replace(listed, generation=8), signature)):
        message = I2(TAG, 5, nonce, (validator, bad, given, CgaSignature(what)))
        (error,) = lone.hear(message, ulid)
        assert isinstance(error, ErrorMessage)
        assert error.code == ErrorCode.VERIFICATION_FAILED
        assert error.packet[error.pointer] == VerificationMethod.CGA
    assert lone.count(C.REFUSED_LOCATOR) == 2
    assert lone.manager.contexts() == ()
    (r2,) = lone.hear(I2(TAG, 5, nonce, (validator, listed, given, CgaSignature(signature))), ulid)
    assert isinstance(r2, R2)


# Updates.


def test_a_request_that_was_superseded_does_not_come_back() -> None:
    """RFC 5533 §10.3, §16.2: preferences have no generation that would tell the old from the new."""
    lone = established()
    assert UpdateAck(TAG, 4) in update(lone, 4, LocatorPreferences(7, (Preference(), BROKEN)))
    assert UpdateAck(TAG, 5) in update(lone, 5, LocatorPreferences(7, (Preference(), Preference())))
    assert update(lone, 4, LocatorPreferences(7, (Preference(), BROKEN))) == []
    assert lone.count(C.REPLAYED_UPDATE) == 1
    assert not any(entry.broken for entry in lone.context().peer)
    assert UpdateAck(TAG, 5) in update(lone, 5, LocatorPreferences(7, (Preference(), Preference())))


def test_an_acknowledgement_of_nothing() -> None:
    """RFC 5533 §10.5: only the nonce of the last request counts, and only once."""
    lone = established()
    assert lone.hear(UpdateAck(lone.context().tag_local, 4)) == []
    lone.manager.set_local_address(A2, False, lone.now_ns)
    (request,) = lone.drain()
    assert isinstance(request, UpdateRequest)
    tag = lone.context().tag_local
    lone.hear(UpdateAck(tag, request.request_nonce ^ 1))
    assert lone.context().update.news is not None
    lone.hear(UpdateAck(tag, request.request_nonce))
    assert lone.context().update.news is None
    lone.hear(UpdateAck(tag, request.request_nonce))
    assert lone.count(C.WRONG_NONCE) == 3


# Messages with a tag.


@pytest.mark.parametrize("kind", ["update", "ack", "keepalive", "probe"])
def test_a_wrong_tag_or_a_wrong_address_draws_r1bis_and_changes_nothing(kind: str) -> None:
    """RFC 5533 §12.4, §7.17: without state; RFC 5534 §8 on spoofed Keepalives and Probes."""
    lone = established()
    before, tag = shot(lone), lone.context().tag_local

    def forged(tag: int, source: bytes, destination: bytes) -> Message:
        return {
            "update": UpdateRequest(tag, 4, peer_options(generation=9)),
            "ack": UpdateAck(tag, 4),
            "keepalive": Keepalive(tag),
            "probe": Probe(tag, ReachabilityState.EXPLORING, (ProbeEntry(source, destination, 1),)),
        }[kind]

    ends = ((tag ^ 1, B1, A1), (tag, C1, A1), (tag, B1, C1))
    for number, source, destination in ends:
        (answer,) = lone.hear(forged(number, source, destination), source, destination)
        assert isinstance(answer, R1bis)
        assert answer.packet_tag == number
    assert lone.count(C.UNKNOWN_TAG) == len(ends)
    assert shot(lone) == before


def test_messages_that_an_exchange_cannot_use_yet() -> None:
    """RFC 5533 §10.4, Appendix B: in I1-SENT they are dropped, and so is payload."""
    lone, _ = begun()
    tag = lone.context().tag_local
    for message in (UpdateRequest(tag, 4), UpdateAck(tag, 4), Keepalive(tag)):
        assert lone.hear(message) == []
    assert lone.count(C.UNEXPECTED) == 3
    assert lone.manager.handle_payload(B1, A1, tag, 0) is None
    assert lone.count(C.PAYLOAD_REFUSED) == 1


def test_a_spoofed_keepalive_hides_a_failure_and_does_no_more() -> None:
    """RFC 5534 §8: whoever knows the tag and the addresses can do that; it moves nothing."""
    lone = established()
    before = shot(lone)
    for _ in range(5):
        assert lone.hear(Keepalive(lone.context().tag_local)) == []
        lone.wait(1)
    assert shot(lone) == before


@pytest.mark.parametrize("state", ReachabilityState)
@pytest.mark.parametrize("source", [B1, B2])
def test_a_spoofed_probe_costs_a_search_and_no_payload(state: ReachabilityState, source: bytes) -> None:
    """RFC 5534 §6.7, §8: whoever is on the path can ask for a search, which the true peer's reports end."""
    pairing = Pairing()
    pairing.establish()
    pairing.converse()
    pairing.cloud.run(1)
    a = pairing.context(pairing.a)
    assert a is not None
    now_ns = pairing.cloud.clock.now_ns
    reports = (ProbeEntry(A2, B2, 77), ProbeEntry(A1, B2, 78))
    probe = Probe(a.tag_local, state, (ProbeEntry(source, A1, 9),), reports)
    pairing.a.manager.handle_control(source, A1, emit_message(probe), now_ns)
    pairing.a.drain()
    before = len(pairing.a.received)
    pairing.cloud.run(30)
    assert a.pair == (A1, B1) or (source, state) == (B2, ReachabilityState.EXPLORING)
    assert a.pair in {(A1, B1), (A1, B2)}
    assert a.reap.state is ReapState.OPERATIONAL
    assert len(pairing.a.received) - before > 290
    assert len([one for one in pairing.kinds if one == "Probe"]) < 20


def test_payload_with_an_unknown_tag_draws_a_bounded_number_of_r1bis() -> None:
    """RFC 5533 §7.17, §12.2."""
    lone = Lone(Shim6Settings(r1bis_per_second=2))
    for tag in range(5):
        assert lone.manager.handle_payload(B1, A1, tag, 0) is None
    assert [type(one) for one in lone.drain()] == [R1bis, R1bis]
    assert (lone.count(C.UNKNOWN_TAG), lone.count(C.LIMIT_R1BIS)) == (5, 3)


# Options and Errors.


@pytest.mark.parametrize(
    "message",
    [
        I1(1, 1, (CRITICAL,)),
        R1(1, 1, (CRITICAL,)),
        Keepalive(1, (CRITICAL,)),
        UpdateRequest(1, 1, (CRITICAL,)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_critical_option_stops_any_message(message: Message) -> None:
    """RFC 5533 §12.3: before anything else is looked at; Error 1 points to the type of the option."""
    lone = established()
    before = shot(lone)
    (error,) = lone.hear(message)
    assert isinstance(error, ErrorMessage)
    assert error.code == ErrorCode.CRITICAL_OPTION
    assert error.packet[error.pointer : error.pointer + 2] == (99 << 1 | 1).to_bytes(2)
    assert lone.count(C.CRITICAL_OPTION) == 1
    assert shot(lone) == before


def test_an_option_that_need_not_be_known_is_passed_over() -> None:
    """RFC 5533 §5.15."""
    lone = established()
    (ack,) = update(lone, 4, UnknownOption(99, b"x"))
    assert ack == UpdateAck(TAG, 4)
    assert lone.count(C.CRITICAL_OPTION) == 0


@pytest.mark.parametrize("source", [B2, C1])
def test_an_error_has_to_come_from_where_the_message_went(source: bytes) -> None:
    """RFC 5533 §12.4: what it quotes tells the context, and the pair has to be the quote's."""
    lone = established()
    lone.manager.set_local_address(A2, False, lone.now_ns)
    (request,) = lone.drain()
    data = emit_message(request)
    quoted = bytes([0x60, 0, 0, 0, 0, len(data), 140, 64]) + A1 + B1 + data
    error = ErrorMessage(ErrorCode.GENERATION, 60, quoted)
    assert lone.hear(error, source) == []
    assert lone.count(C.FOREIGN_ERROR) == 1
    assert [type(one) for one in lone.hear(error)] == [UpdateRequest]


def test_errors_repeated_draw_a_bounded_number_of_updates() -> None:
    """RFC 5533 §5.14, code 3: the whole list is sent again, as often as a context may answer."""
    lone = established(Shim6Settings(answers_per_second=3))
    lone.manager.set_local_address(A2, False, lone.now_ns)
    (request,) = lone.drain()
    data = emit_message(request)
    quoted = bytes([0x60, 0, 0, 0, 0, len(data), 140, 64]) + A1 + B1 + data
    sent = [lone.hear(ErrorMessage(ErrorCode.GENERATION, 60, quoted)) for _ in range(10)]
    assert sum(map(len, sent)) <= 3
    assert lone.count(C.LIMIT_ANSWER) == 7


def test_what_does_not_fit_into_a_message_is_counted_and_not_sent() -> None:
    """RFC 5533 §5.1: 1280 octets with the IPv6 header."""
    lone, nonce = begun()
    lone.hear(R1(nonce, 9, (ResponderValidator(bytes(1200)),)))
    assert lone.count(C.TOO_LARGE_TX) == 1
    assert lone.count(C.I2_TX) == 0


# ICMPv6.


def test_icmp_that_quotes_a_guess_is_foreign() -> None:
    """RFC 5534 §3.3: tag, pair and, for an exchange, the nonce have to be right."""
    lone = established()
    payload = bytes([6, 0]) + (1 << 47 | TAG ^ 1).to_bytes(6) + bytes(20)
    for pair, header in ((Pair(A1, B1), payload), (Pair(A1, C1), payload), (Pair(A1, B1), b"\x06")):
        quoted = bytes([0x60, 0, 0, 0, 0, len(header), 140, 64]) + pair.local + pair.peer + header
        assert not lone.manager.handle_icmp(1, 0, quoted, lone.now_ns).absorb
    assert lone.manager.handle_icmp(1, 0, b"", lone.now_ns).path is None
    assert lone.count(C.FOREIGN_ERROR) == 4
    assert lone.drain() == []


def test_icmp_4_1_about_anything_but_our_i1_is_a_hint_at_most() -> None:
    """RFC 5533 §7.8: it quotes the I1. A context that stands is not given up for it (RFC 5534 §8)."""
    lone = established()
    payload = bytes([6, 0]) + (1 << 47 | TAG).to_bytes(6) + bytes(20)
    quoted = bytes([0x60, 0, 0, 0, 0, len(payload), 140, 64]) + A1 + B1 + payload
    for _ in range(5):
        lone.manager.handle_icmp(4, 1, quoted, lone.now_ns, 40)
    assert lone.context().state is ContextState.ESTABLISHED
    assert lone.context().pair == (A1, B1)
    assert len(lone.drain()) == 1  # one probe, for all of them


def test_conversations_that_are_watched_are_bounded() -> None:
    """A port scan fills no table without end."""
    from mpcore.shim6.heuristic import FlowKey

    lone = Lone(Shim6Settings(max_flows=4))
    for port in range(10):
        key = FlowKey(A1, B1, 17, 1000, port)
        assert lone.manager.note_flow(key, 1, 100, sent=True, now_ns=port) is None
    assert lone.count(C.LIMIT_FLOWS) == 6
