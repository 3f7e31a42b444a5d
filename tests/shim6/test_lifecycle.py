"""How long contexts, and refusals of them, last (RFC 5533 §9)."""

import json

import pytest

from mpcore.shim6.events import ContextRemoved
from mpcore.shim6.settings import SECOND
from mpcore.shim6.states import ContextState
from mpcore.wire.shim6 import (
    I1,
    UlidPair,
    emit_message,
)
from tests.shim6.test_negotiate import TAG, i2_of, r1_of
from tests.shim6.world import A1, A2, B1, C1, Lone, Pairing


def told_unsupported(lone: Lone) -> None:
    """Let an ICMPv6 error answer the I1 of the context of A1."""
    context = lone.context()
    data = emit_message(I1(context.tag_local, context.handshake.initiator_nonce))
    quoted = bytes([0x60, 0, 0, 0, 0, len(data), 140, 64]) + A1 + B1 + data
    assert lone.manager.handle_icmp(4, 1, quoted, lone.now_ns).absorb


def wait_for_failure(lone: Lone) -> None:
    """Until the context of A2 has failed, and its hold-down has begun."""
    while (other := lone.manager.find(A2, B1)) is not None and other.state is not ContextState.E_FAILED:
        lone.wait(1)
    assert other is not None


@pytest.mark.parametrize("first", [True, False], ids=["the-longer-first", "the-shorter-first"])
def test_a_hold_down_is_not_ended_by_that_of_another_ulid(first: bool) -> None:
    """RFC 5533 §7.8: ICMP_HOLDDOWN_TIME is 600 s, NO_R1_HOLDDOWN_TIME 60 s, of the same peer."""
    lone = Lone()
    lone.manager.establish(A2, B1, 0)
    if not first:
        lone.wait(40)
    lone.manager.establish(A1, B1, lone.now_ns)
    if not first:
        wait_for_failure(lone)
    told_unsupported(lone)
    began_ns = lone.now_ns
    wait_for_failure(lone)
    while lone.manager.find(A2, B1) is not None:
        lone.wait(1)
    assert lone.now_ns - began_ns < 300 * SECOND
    assert lone.manager.establish(A2, B1, lone.now_ns) is None
    lone.wait_until(began_ns + 599 * SECOND)
    assert lone.manager.establish(A2, B1, lone.now_ns) is None
    lone.wait(2)
    assert lone.manager.establish(A2, B1, lone.now_ns) is not None


def test_a_hold_down_ends_when_its_context_is_discarded_on_demand() -> None:
    """The operator knows better, and may try again at once."""
    lone = Lone()
    lone.manager.establish(A1, B1, 0)
    told_unsupported(lone)
    assert lone.manager.establish(A2, B1, 0) is None
    lone.manager.discard(A1, B1)
    assert lone.manager.establish(A2, B1, 0) is not None


def test_a_quiet_context_is_discarded_after_five_minutes() -> None:
    """RFC 5533 §9."""
    lone = Lone()
    lone.hear(i2_of(r1_of(lone, I1(TAG, 5))))
    lone.wait(250)
    lone.manager.note_activity(lone.context().number, lone.now_ns, None, lone.now_ns)
    lone.wait(250)
    assert lone.context().state is ContextState.ESTABLISHED
    lone.wait(51)
    assert lone.manager.contexts() == ()
    events = [lone.manager.poll_event() for _ in range(20)]
    assert sum(isinstance(event, ContextRemoved) for event in events) == 1
    assert lone.manager.poll_timeout() is None


def test_a_context_that_a_socket_may_use_stays() -> None:
    """RFC 5533 §9: an open socket is reason enough."""
    lone = Lone()
    lone.manager._shared.in_use = lambda context: True
    lone.hear(i2_of(r1_of(lone, I1(TAG, 5))))
    lone.wait(2000)
    assert lone.context().state is ContextState.ESTABLISHED


def test_a_ulid_that_is_not_valid_any_more_ends_its_contexts() -> None:
    """RFC 5533 §1.5; one that is merely unassigned does not."""
    lone = Lone()
    lone.hear(i2_of(r1_of(lone, I1(TAG, 5))))
    lone.manager.set_local_address(A1, False, 0)
    assert lone.context().state is ContextState.ESTABLISHED
    lone.manager.forget_local_address(A1, 0)
    assert lone.manager.contexts() == ()


def test_a_ulid_that_comes_back_after_its_lifetime_may_have_contexts_again() -> None:
    """RFC 5533 §1.5: what it had has ended, and meanwhile nothing begins."""
    lone = Lone()
    lone.hear(i2_of(r1_of(lone, I1(TAG, 5))))
    lone.manager.forget_local_address(A1, 0, for_good=False)
    assert lone.manager.contexts() == ()
    assert lone.hear(I1(TAG, 5)) == []
    lone.manager.set_local_address(A1, True, 0)
    lone.hear(i2_of(r1_of(lone, I1(TAG, 5))))
    assert lone.context().local.addresses == (A1, A2)


def test_a_fork_lives_as_long_as_packets_without_header_flow() -> None:
    """RFC 5533 §4.2, §9: such a packet may be the fork's."""
    pairing = Pairing()
    pairing.a.establish(A1, B1)
    pairing.a.establish(A1, B1, 7)
    pairing.cloud.run(1)
    pairing.converse(every_s=10)
    pairing.cloud.run(1000)
    assert pairing.a.manager.find(A1, B1, 7) is not None
    pairing.silence()
    pairing.cloud.run(700)
    assert pairing.a.manager.contexts() == ()


def test_there_is_no_context_with_oneself_or_a_strange_address() -> None:
    lone = Lone()
    for local, peer in ((A1, A2), (C1, B1), (A1, b"\xfe\x80" + bytes(13) + b"\x01"), (A1, bytes(16))):
        assert lone.manager.establish(local, peer, 0) is None
    assert lone.hear(I1(1, 1, (UlidPair(A2, A1),))) == []


def test_the_snapshot_is_ready_for_json() -> None:
    lone = Lone()
    lone.hear(i2_of(r1_of(lone, I1(TAG, 5))))
    (shown,) = lone.manager.snapshot()
    assert json.loads(json.dumps(shown)) == shown
    assert shown["ulid_local"] == "2001:db8:1::a1"
    assert shown["locators_peer"] == ["2001:db8:3::b1", "2001:db8:4::b1"]
    assert shown["state"] == "established"
    assert shown["reap_state"] == "operational"
