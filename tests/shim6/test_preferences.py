"""What is known of locators when a context begins: it has the same effect as when it is told later."""

import pytest

from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.events import ControlBlocked
from mpcore.shim6.reap_states import ReapState
from mpcore.sim.shim6_identity import toy_identity
from mpcore.wire.shim6 import Locator, MessageType, Preference, PreferenceFlag, VerificationMethod
from tests.shim6.test_returning import pairs
from tests.shim6.world import A1, A2, B1, B2, Pairing, count, remembered

BROKEN = Preference(PreferenceFlag.BROKEN)
LATER = Preference(priority=20)


def content(pairing: Pairing) -> bool:
    a, b = pairing.context(pairing.a), pairing.context(pairing.b)
    return a is not None and b is not None and a.reap.state == b.reap.state == ReapState.OPERATIONAL


def wish(pairing: Pairing, address: bytes, preference: Preference) -> None:
    node = pairing.a if address in (A1, A2) else pairing.b
    node.manager.prefer_local_address(address, preference, pairing.cloud.clock.now_ns)
    node.drain()


@pytest.mark.parametrize("preference", [BROKEN, LATER], ids=["broken", "liked-less"])
@pytest.mark.parametrize("one", [A1, B1], ids=["initiator", "responder"])
def test_a_locator_that_is_drained_is_left_by_new_contexts_too(one: bytes, preference: Preference) -> None:
    """RFC 5533 §5.15.3, §10.4: in I2 and R2 preferences mean the same; the ULID stays what identifies."""
    pairing = Pairing()
    wish(pairing, one, preference)
    pairing.establish()
    pairing.converse()
    assert pairing.cloud.run(5, lambda: content(pairing) and not any(one in pair for pair in pairs(pairing)))
    assert pairing.recovers(1)


def test_a_list_without_the_ulid_is_followed_from_the_first() -> None:
    """RFC 5533 §5.10: the ULID is then an identifier and no locator."""
    pairing = Pairing()
    locators = [Locator(B2, VerificationMethod.HBA)]
    pairing.b.identities = [toy_identity("b", one, [B1, B2], locators) for one in (B1, B2)]
    pairing.b.restart()
    pairing.establish()
    pairing.converse()
    assert pairing.cloud.run(5, lambda: content(pairing) and not any(B1 in pair for pair in pairs(pairing)))
    assert pairing.recovers(1)


def test_a_restored_context_leaves_what_its_peer_called_broken() -> None:
    """RFC 5533 §10.4: the update came, and the host was restarted before a pair was found."""
    pairing = Pairing()
    pairing.establish()
    pairing.converse()
    for probed in ((A1, B2), (A2, B2), (A2, B1)):
        pairing.cloud.cut(*probed)
    wish(pairing, B1, LATER)
    pairing.cloud.run(0.2)
    records = remembered(pairing.a)
    for probed in ((A1, B2), (A2, B2), (A2, B1)):
        pairing.cloud.mend(*probed)
    pairing.a.restart(records)
    assert pairing.cloud.run(5, lambda: content(pairing) and not any(B1 in pair for pair in pairs(pairing)))


def test_what_changes_while_an_exchange_waits_is_told_after_it() -> None:
    """RFC 5533 §7.13: a repeated I2 changes nothing at the peer, so what it says may not be what it has."""
    pairing = Pairing()
    wish(pairing, A2, BROKEN)
    pairing.cloud.firewall = lambda packet: packet.data is not None and packet.data[2] == MessageType.R2
    pairing.a.establish(A1, B1)
    pairing.cloud.run(1)
    pairing.cloud.firewall = lambda packet: False
    b = pairing.context(pairing.b)
    assert b is not None
    assert [entry.broken for entry in b.peer] == [False, True]
    wish(pairing, A2, Preference())
    assert pairing.cloud.run(20, lambda: pairing.both("established"))
    assert pairing.cloud.run(1, lambda: [entry.broken for entry in b.peer] == [False, False])


def test_a_peer_whose_every_locator_is_broken_is_no_reason_to_search() -> None:
    """There is nothing to probe: payload stays on the ULIDs, and no firewall is to blame for the silence."""
    pairing = Pairing()
    for one in (B1, B2):
        wish(pairing, one, BROKEN)
    pairing.establish()
    pairing.converse()
    pairing.cloud.run(100)
    assert not pairing.a.happened(ControlBlocked)
    assert count(pairing.a.manager, Shim6Counter.EXPLORATION) == 0
    assert pairing.recovers(1)
    wish(pairing, B2, Preference())
    assert pairing.cloud.run(70, lambda: pairs(pairing) == {(A1, B2)} or pairs(pairing) == {(A2, B2)})
