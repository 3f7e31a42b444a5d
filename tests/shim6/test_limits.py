"""Floods, messages that make no sense, and the limits that they meet (RFC 5533 §16.2)."""


import pytest

from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.settings import Shim6Settings
from mpcore.wire.shim6 import (
    I1,
    I2,
    R1,
    ErrorCode,
    ErrorMessage,
    ForkedInstance,
    Keepalive,
    Locator,
    LocatorList,
    UnknownMessage,
    UnknownOption,
    VerificationMethod,
    emit_message,
)
from tests.shim6.test_negotiate import TAG, r1_of, validator_of
from tests.shim6.world import A1, B1, B2, Lone, peer_options


def test_floods_meet_limits_and_are_counted() -> None:
    """RFC 5533 §16.2: R1 and R1bis are larger than what asks for them."""
    lone = Lone(Shim6Settings(r1_per_second=10, r1bis_per_second=4))
    assert sum(len(lone.hear(I1(nonce, nonce))) for nonce in range(100)) == 10
    assert sum(len(lone.hear(Keepalive(nonce))) for nonce in range(100)) == 4
    assert lone.count(Shim6Counter.LIMIT_R1) == 90
    assert lone.count(Shim6Counter.LIMIT_R1BIS) == 96
    lone.wait(1)
    assert len(lone.hear(I1(1, 1))) == 1
    assert lone.manager.contexts() == ()


def establish_by(lone: Lone, method: VerificationMethod, contexts: int) -> None:
    """Let a peer begin contexts at once, with lists that are all different, and right."""
    lone.manager._shared.verifier.refused = lambda *claim: None  # type: ignore[method-assign]
    for number in range(contexts):
        r1 = r1_of(lone, I1(number, 5, (ForkedInstance(number + 1),)))
        _, parameters = peer_options()
        listed = LocatorList(number, (Locator(B1, method), Locator(B2, method)))
        options = (validator_of(r1), ForkedInstance(number + 1), listed, parameters)
        lone.hear(I2(number, 5, r1.responder_nonce, options))


@pytest.mark.parametrize(
    ("method", "verifications", "accepted"),
    [(VerificationMethod.CGA, 2, 2), (VerificationMethod.HBA, 1, 5), (VerificationMethod.HBA, 0, 0)],
)
def test_verifications_are_limited(method: VerificationMethod, verifications: int, accepted: int) -> None:
    """RFC 5533 §16.2: a signature takes one of the allowance, a locator that a hash proves a tenth."""
    lone = Lone(Shim6Settings(verifications_per_second=verifications))
    establish_by(lone, method, 8)
    assert len(lone.manager.contexts()) == accepted
    assert lone.count(Shim6Counter.LIMIT_VERIFY) == 8 - accepted


@pytest.mark.parametrize(
    ("method", "contexts"), [(VerificationMethod.HBA, 1500), (VerificationMethod.CGA, 300)]
)
def test_the_limits_leave_room_for_a_busy_second(method: VerificationMethod, contexts: int) -> None:
    """As many contexts as one core can make in a second are not refused for being too many."""
    lone = Lone(Shim6Settings())
    establish_by(lone, method, contexts)
    assert len(lone.manager.contexts()) == contexts


def test_contexts_are_limited_in_all_and_per_prefix() -> None:
    for settings in (Shim6Settings(max_contexts=3), Shim6Settings(max_contexts_per_prefix=3)):
        lone = Lone(settings)
        for fii in range(5):
            lone.manager.establish(A1, B1, 0, fii)
        assert len(lone.manager.contexts()) == 3
        assert lone.count(Shim6Counter.LIMIT_CONTEXTS) == 2


def test_unknown_types_and_critical_options_are_answered_by_error() -> None:
    """RFC 5533 §12.3: Error 0 points to the type, Error 1 to the option; nothing else is processed."""
    lone = Lone(Shim6Settings(errors_per_second=3))
    (error,) = lone.hear(UnknownMessage(99, 0, bytes(10)))
    assert isinstance(error, ErrorMessage)
    assert (error.code, error.pointer) == (ErrorCode.UNKNOWN_MESSAGE, 42)
    (error,) = lone.hear(I1(TAG, 5, (UnknownOption(99, b"x", critical=True),)))
    assert isinstance(error, ErrorMessage)
    assert (error.code, error.pointer) == (ErrorCode.CRITICAL_OPTION, 40 + 16)
    (r1,) = lone.hear(I1(TAG, 5, (UnknownOption(99, b"x"),)))
    assert isinstance(r1, R1)
    assert lone.hear(ErrorMessage(0, 42, bytes(48))) == []
    for _ in range(10):
        lone.hear(UnknownMessage(99, 0, bytes(10)))
    assert lone.count(Shim6Counter.LIMIT_ERROR) == 9


@pytest.mark.parametrize("source", [bytes(16), b"\xff\x02" + bytes(14), b"\x0a\0\0\1"])
def test_impossible_addresses_are_dropped(source: bytes) -> None:
    """RFC 5533 §12.3."""
    lone = Lone()
    assert lone.hear(I1(1, 1), source) == []
    assert lone.count(Shim6Counter.BAD_ADDRESS) == 1


def test_garbage_is_counted() -> None:
    lone = Lone()
    data = emit_message(I1(1, 1))
    for broken in (b"", data[:-1], data[:4] + b"\0\0" + data[6:], bytes(16)):
        lone.manager.handle_control(B1, A1, broken, 0)
    assert lone.count(Shim6Counter.MALFORMED_RX) == 4
    assert lone.drain() == []
