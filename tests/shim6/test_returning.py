"""Back to the pair that is liked more, once it works again; and pairs on which payload does not pass."""

from itertools import pairwise

from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.events import PathChanged
from mpcore.shim6.reap_states import ReapState
from mpcore.shim6.settings import SECOND, Shim6Settings
from mpcore.wire.shim6 import Preference, Probe, ReachabilityState
from tests.shim6.test_reap import established, pair_of, probe_to, probes
from tests.shim6.world import A1, A2, B1, B2, Pairing, count


def failed_over(settings: Shim6Settings | None = None, seed: int = 0) -> Pairing:
    """A conversation that has left its ULIDs because link A1 died."""
    pairing = Pairing(seed, settings_a=settings, settings_b=settings)
    pairing.establish()
    pairing.converse()
    pairing.cloud.run(1)
    pairing.cloud.kill(A1)
    assert pairing.recovers(25)
    assert pairs(pairing) != {(A1, B1)}
    return pairing


def pairs(pairing: Pairing) -> set[tuple[bytes, bytes]]:
    """The pairs in use, as host a sees them."""
    a, b = pairing.context(pairing.a), pairing.context(pairing.b)
    assert a is not None
    assert b is not None
    return {tuple(a.pair), tuple(reversed(b.pair))}


def changes(pairing: Pairing) -> list[float]:
    """Seconds at which host a changed its pair."""
    return [time / SECOND for time, event in pairing.a.events if isinstance(event, PathChanged)]


def test_the_ulids_are_taken_back_when_they_work_again() -> None:
    pairing = failed_over()
    pairing.cloud.run(30)
    pairing.cloud.revive(A1)
    before = len(pairing.a.received)
    assert pairing.cloud.run(80, lambda: pairs(pairing) == {(A1, B1)})
    assert count(pairing.a.manager, Shim6Counter.RETURN) > 0
    pairing.cloud.run(1)
    times = [time for time, _ in pairing.a.received[before:]]
    assert max(after - earlier for earlier, after in pairwise(times)) < 0.15 * SECOND  # nothing was lost


def test_without_an_interval_the_pair_stays() -> None:
    pairing = failed_over(Shim6Settings(return_after_ns=0))
    pairing.cloud.revive(A1)
    taken = pairs(pairing)
    pairing.cloud.run(600)
    assert pairs(pairing) == taken
    assert count(pairing.a.manager, Shim6Counter.RETURN) == 0


def test_payload_is_not_disturbed_while_the_ulids_stay_dead() -> None:
    pairing = failed_over()
    pairing.cloud.run(1)
    before = len(pairing.a.received)
    pairing.cloud.run(600)
    assert count(pairing.a.manager, Shim6Counter.RETURN) >= 2
    times = [time for time, _ in pairing.a.received[before:]]
    assert max(after - earlier for earlier, after in pairwise(times)) < 0.15 * SECOND
    # The rest grows with every vain search.
    assert count(pairing.a.manager, Shim6Counter.RETURN) <= 5


def test_a_pair_that_keeps_failing_is_left_alone_longer_and_longer() -> None:
    pairing = failed_over()
    for _ in range(4):
        pairing.cloud.revive(A1)
        assert pairing.cloud.run(900, lambda: pairs(pairing) == {(A1, B1)})
        pairing.cloud.run(5)
        pairing.cloud.kill(A1)
        assert pairing.recovers(25)
    returns = changes(pairing)[1::2]
    gaps = [after - earlier for earlier, after in pairwise(returns)]
    assert gaps == sorted(gaps)
    assert gaps[-1] > 2 * gaps[0]


def test_an_address_that_is_back_is_tried_at_once() -> None:
    """RFC 5534 §4.1: local knowledge needs no timer, in this direction either."""
    pairing = Pairing()
    pairing.establish()
    pairing.converse()
    manager, clock = pairing.a.manager, pairing.cloud.clock
    pairing.cloud.kill(A1)
    manager.set_local_address(A1, False, clock.now_ns)
    pairing.a.drain()
    pairing.cloud.run(3)
    assert pairs(pairing) != {(A1, B1)}
    pairing.cloud.revive(A1)
    manager.set_local_address(A1, True, clock.now_ns)
    pairing.a.drain()
    # Both ends: the peer is told by an update that the locator is not broken any more.
    assert pairing.cloud.run(5, lambda: pairs(pairing) == {(A1, B1)})


def test_an_idle_context_is_not_worth_a_probe() -> None:
    pairing = failed_over()
    pairing.silence()
    pairing.cloud.run(100)
    pairing.messages.clear()
    pairing.cloud.run(150)
    assert not [message for *_, message in pairing.messages if isinstance(message, Probe)]


def test_a_wish_for_an_own_address_moves_this_hosts_packets_too() -> None:
    pairing = Pairing()
    pairing.establish()
    pairing.a.manager.prefer_local_address(A1, Preference(priority=20), pairing.cloud.clock.now_ns)
    pairing.a.drain()
    pairing.cloud.run(3)
    assert {local for local, _ in pairs(pairing)} == {A2}


def test_contexts_of_the_same_hosts_follow_each_to_its_own_liking() -> None:
    pairing = failed_over()
    pairing.a.establish(A2, B2)
    pairing.cloud.run(1)
    other = pairing.a.manager.find(A2, B2)
    assert other is not None
    assert other.pair == (A2, B2)
    pairing.cloud.revive(A1)
    assert pairing.cloud.run(80, lambda: pairs(pairing) == {(A1, B1)})
    pairing.cloud.run(60)
    assert other.pair == (A2, B2)


def test_a_search_for_a_liked_pair_does_not_make_the_peer_search() -> None:
    """The peer is heard, so the probes say InboundOk (RFC 5534 §6.8), and only this direction moves."""
    lone = established()
    lone.manager.prefer_local_address(A1, Preference(priority=20), lone.now_ns)
    (first,) = probes(lone.drain())
    liked = pair_of(first)
    assert liked.local == A2
    assert first.state == ReachabilityState.INBOUND_OK
    probe_to(lone, ReachabilityState.OPERATIONAL, first.sent[0])
    assert lone.context().pair == liked
    assert lone.context().reap.state is ReapState.OPERATIONAL
