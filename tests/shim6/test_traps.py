"""Places where implementations of Shim6 go wrong; docs/shim6-bad-input.md has those of other tests too."""

from itertools import pairwise

from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.identity import Identities
from mpcore.sim import rng
from mpcore.sim.shim6_identity import toy_identities
from mpcore.wire.shim6 import (
    I1,
    I2,
    PROTOCOL_SHIM6,
    R1,
    R2,
    ErrorCode,
    ErrorMessage,
    LocatorList,
    LocatorPreferences,
    Preference,
    ResponderValidator,
    UpdateAck,
    UpdateRequest,
    find_option,
)
from tests.shim6.test_context_update import established, update
from tests.shim6.world import A1, A2, B1, B2, Lone, peer_options

TAG = 0xB0B


def test_the_protocol_is_that_of_iana() -> None:
    """RFC 5533 §17."""
    assert PROTOCOL_SHIM6 == 140


def test_a_generation_is_random_and_only_equality_is_tested() -> None:
    """RFC 5533 §10.1, against §5.15.2, which wants it increased by one."""
    known = Identities(rng.stream(1, "generations"))
    generations = []
    for _ in range(4):
        for identity in toy_identities("a", [A1, A2]):
            known.set(identity)
        generations.append(known.claim(A1).locators.generation)
    assert len(set(generations)) == 4
    assert not any(later - earlier == 1 for earlier, later in pairwise(generations))
    lone = established()  # the peer's list has 7
    assert UpdateAck(TAG, 4) in update(lone, 4, *peer_options(generation=3))


def test_messages_other_than_keepalive_and_probe_count_as_payload() -> None:
    """RFC 5534 §4.1, §6.1: an Update Request that comes is an answer, one that leaves wants one."""
    for heard in (False, True):
        lone = established()
        lone.wait(20)
        lone.manager.note_activity(lone.context().number, lone.now_ns, None, lone.now_ns)
        if heard:
            lone.hear(UpdateRequest(lone.context().tag_local, 4))
            lone.hear(UpdateAck(lone.context().tag_local, 99))  # stops the timer that our own answer started
        lone.wait(17)
        assert lone.count(Shim6Counter.SEND_TIMEOUT) == (not heard)


def test_preferences_before_any_list_are_out_of_step() -> None:
    """RFC 5533 §10.4: Error 3, as for another generation."""
    lone = Lone()
    (r1,) = lone.hear(I1(TAG, 5))
    assert isinstance(r1, R1)
    validator = find_option(r1, ResponderValidator)
    assert validator is not None
    (r2,) = lone.hear(I2(TAG, 5, r1.responder_nonce, (validator,)))
    assert isinstance(r2, R2)
    (error,) = update(lone, 4, LocatorPreferences(0, (Preference(),)))
    assert isinstance(error, ErrorMessage)
    assert error.code == ErrorCode.GENERATION
    assert lone.count(Shim6Counter.WRONG_GENERATION) == 1


def test_the_list_is_always_sent() -> None:
    """RFC 5533 §7.6 needs it to find contexts that were confused; §5.6 calls it optional."""
    lone = Lone()
    (r1,) = lone.hear(I1(TAG, 5))
    assert isinstance(r1, R1)
    validator = find_option(r1, ResponderValidator)
    assert validator is not None
    (r2,) = lone.hear(I2(TAG, 5, r1.responder_nonce, (validator, *peer_options())))
    assert find_option(r2, LocatorList) is not None
    other = Lone()
    other.manager.establish(A1, B1, 0)
    (i1,) = other.drain()
    assert isinstance(i1, I1)
    (i2,) = other.hear(R1(i1.initiator_nonce, 9, (validator,)))
    listed = find_option(i2, LocatorList)
    assert listed is not None
    assert {one.address for one in listed.locators} == {A1, A2}
    assert B2 not in other.context().peer
