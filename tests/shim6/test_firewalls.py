"""Firewalls that drop Shim6 in part, and peers that do not know it: recognised, told, and lived with."""

import pytest

from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.events import ContextFailed, ContextFellBack, ControlBlocked, PayloadBlocked
from mpcore.shim6.reap_states import ReapState
from mpcore.shim6.settings import SECOND, Shim6Settings
from mpcore.shim6.snapshot import trouble_of
from mpcore.sim.shim6 import Packet
from mpcore.wire.shim6 import Preference
from tests.shim6.test_returning import failed_over, pairs
from tests.shim6.world import A1, A2, B1, B2, Pairing, count


@pytest.mark.parametrize("sources", [(A1, A2), (A1, A2, B1, B2)], ids=["one-way", "both-ways"])
def test_a_firewall_that_drops_payload_headers_is_recognised(sources: tuple[bytes, ...]) -> None:
    """RFC 5533 §15.2: Shim6 messages pass. The ULIDs are used as soon as they work, as without Shim6."""
    pairing = Pairing()
    pairing.establish()
    pairing.converse()
    pairing.cloud.run(1)
    pairing.cloud.firewall = lambda packet: packet.tag is not None and packet.source in sources
    for dead in (A1, B1):
        pairing.cloud.kill(dead)
    assert pairing.cloud.run(120, lambda: bool(pairing.a.happened(PayloadBlocked)))
    (event,) = pairing.a.happened(PayloadBlocked)
    assert isinstance(event, PayloadBlocked)
    assert (event.local, event.peer) == (A2, B2)
    assert count(pairing.a.manager, Shim6Counter.PAYLOAD_BLOCKED) == 1
    assert "2001:db8:2::a1 to 2001:db8:4::b1 probes pass and payload does not" in str(trouble(pairing))
    pairing.cloud.run(60)
    assert (A1, B1) in pairs(pairing)
    for dead in (A1, B1):
        pairing.cloud.revive(dead)
    assert pairing.recovers(60)


@pytest.mark.parametrize("sources", [(A1, A2), (A1, A2, B1, B2)], ids=["one-way", "both-ways"])
def test_payload_that_passes_nowhere_is_recognised_on_several_pairs(sources: tuple[bytes, ...]) -> None:
    """Each search finds another pair that answers probes: nothing ends where it began."""
    pairing = Pairing()
    pairing.establish()
    pairing.converse()
    pairing.cloud.run(1)
    pairing.cloud.firewall = lambda packet: packet.tag is not None and packet.source in sources
    for ends in ((A1, B1), (B1, A1)):
        pairing.cloud.cut(*ends)
    assert pairing.cloud.run(120, lambda: bool(pairing.a.happened(PayloadBlocked)))
    for ends in ((A1, B1), (B1, A1)):
        pairing.cloud.mend(*ends)
    assert pairing.recovers(60)
    assert (A1, B1) in pairs(pairing)


def test_the_peer_follows_when_this_host_has_gone_back_to_the_ulids() -> None:
    """Its own answers are lost behind the header, and its Keepalives are not: nothing else would tell it."""
    pairing = Pairing(settings_b=Shim6Settings(return_after_ns=3600 * SECOND))
    pairing.establish()
    pairing.converse(every_s=20)
    pairing.cloud.firewall = lambda packet: packet.tag is not None
    b = pairing.context(pairing.b)
    assert b is not None
    for dead in (A1, B1):
        pairing.cloud.kill(dead)
    assert pairing.cloud.run(300, lambda: bool(pairing.a.happened(PayloadBlocked)))
    for dead in (A1, B1):
        pairing.cloud.revive(dead)
    assert b.pair != (B1, A1)
    assert pairing.cloud.run(45, lambda: b.pair == (B1, A1))
    assert pairing.recovers(21)


def test_a_peer_that_was_away_is_not_taken_for_a_firewall() -> None:
    pairing = failed_over(Shim6Settings(return_after_ns=0))
    for _ in range(3):
        pairing.b.up = False
        pairing.cloud.run(20)
        pairing.b.up = True
        assert pairing.recovers(60)
    assert not pairing.a.happened(PayloadBlocked)
    a = pairing.context(pairing.a)
    assert a is not None
    assert a.reap.state is ReapState.OPERATIONAL


def test_pairs_that_worked_for_long_before_they_failed_are_not_taken_for_blocked() -> None:
    """RFC 5534 §4.1: a peer that hears nothing explores within its Send Timeout, not so much later."""
    pairing = Pairing(settings_a=Shim6Settings(send_timeout_ns=20 * SECOND))  # so b notices first
    pairing.establish()
    pairing.converse()
    a = pairing.context(pairing.a)
    assert a is not None
    for _ in range(3):
        pairing.cloud.run(40)
        before = a.pair
        pairing.cloud.cut(*before)
        assert pairing.cloud.run(30, lambda: a.pair != before)  # noqa: B023
    assert not pairing.a.happened(PayloadBlocked)


def test_updates_without_an_answer_say_nothing_of_payload() -> None:
    """Searches of contexts that carry nothing would else let those beside them leave good pairs."""
    pairing = Pairing()
    pairing.establish()
    a = pairing.context(pairing.a)
    assert a is not None
    for priority in (2, 3, 4):
        before = a.pair
        pairing.cloud.cut(*before)
        wish = Preference(priority=priority)
        pairing.a.manager.prefer_local_address(A1, wish, pairing.cloud.clock.now_ns)
        pairing.a.drain()
        assert pairing.cloud.run(60, lambda: a.pair != before)  # noqa: B023
        pairing.cloud.run(15)
    assert not pairing.a.happened(PayloadBlocked)


@pytest.mark.parametrize("sources", [(A1, A2), (B1, B2)], ids=["ours", "the-peers"])
def test_a_firewall_that_drops_protocol_140_one_way_is_reported(sources: tuple[bytes, ...]) -> None:
    """Nothing is established, the operator is told, and payload goes on between the ULIDs."""
    pairing = Pairing()
    pairing.cloud.firewall = lambda packet: packet.data is not None and packet.source in sources
    pairing.a.establish(A1, B1)
    pairing.b.establish(B1, A1)
    pairing.converse()
    pairing.cloud.run(300)
    heard, deaf = (pairing.a, pairing.b) if sources[0] == A1 else (pairing.b, pairing.a)
    (one_way,) = heard.happened(ContextFailed)
    (no_answer,) = deaf.happened(ContextFailed)
    assert isinstance(one_way, ContextFailed)
    assert isinstance(no_answer, ContextFailed)
    assert "one direction" in one_way.reason
    assert "drops protocol 140" in no_answer.reason
    assert pairing.recovers(1)


def test_a_firewall_that_drops_protocol_140_both_ways_is_reported() -> None:
    pairing = Pairing()
    pairing.cloud.firewall = lambda packet: packet.data is not None
    pairing.a.establish(A1, B1)
    pairing.converse()
    pairing.cloud.run(300)
    (failed,) = pairing.a.happened(ContextFailed)
    assert isinstance(failed, ContextFailed)
    assert "drops protocol 140" in failed.reason
    assert pairing.recovers(1)


def test_the_reason_is_shown_while_the_peer_is_left_alone() -> None:
    pairing = Pairing(settings_a=Shim6Settings(no_r1_holddown_ns=3600 * SECOND))
    pairing.cloud.firewall = lambda packet: packet.data is not None
    pairing.a.establish(A1, B1)
    assert trouble(pairing) is None
    pairing.cloud.run(300)
    assert "drops protocol 140" in str(trouble(pairing))


@pytest.mark.parametrize("sources", [(A1, A2), (B1, B2), (A1, A2, B1, B2)], ids=["ours", "theirs", "both"])
def test_a_firewall_that_comes_later_and_drops_control_messages_is_recognised(
    sources: tuple[bytes, ...],
) -> None:
    """The context stands, payload passes: only probes get no answer, and nothing moves because of that."""
    pairing = Pairing()
    pairing.establish()
    pairing.converse()
    pairing.cloud.run(1)
    pairing.cloud.firewall = lambda packet: packet.data is not None and packet.source in sources
    pairing.a.manager.hint(A1, B1, pairing.cloud.clock.now_ns)
    pairing.a.drain()
    before = len(pairing.a.received)
    assert pairing.cloud.run(60, lambda: bool(pairing.a.happened(ControlBlocked)))
    assert count(pairing.a.manager, Shim6Counter.CONTROL_BLOCKED) == 1
    assert "no probe is answered" in str(trouble(pairing))
    pairing.cloud.run(600)
    assert len(pairing.a.happened(ControlBlocked)) == 1
    assert len(pairing.a.received) - before > 6000  # ten answers a second
    assert pairs(pairing) == {(A1, B1)}
    pairing.cloud.firewall = lambda packet: False
    assert pairing.cloud.run(130, lambda: trouble(pairing) is None)
    a = pairing.context(pairing.a)
    assert a is not None
    assert a.reap.state is ReapState.OPERATIONAL


def test_a_dead_peer_is_no_firewall() -> None:
    pairing = Pairing()
    pairing.establish()
    pairing.converse()
    pairing.cloud.run(1)
    pairing.b.up = False
    pairing.cloud.run(200)
    assert not pairing.a.happened(ControlBlocked)
    assert trouble(pairing) is None


def test_a_pair_that_payload_passes_again_is_no_trouble() -> None:
    """The firewall was opened: what is known of the pair is taken back once payload came on it."""
    pairing = Pairing()
    pairing.establish()
    pairing.converse()
    pairing.cloud.run(1)
    pairing.cloud.firewall = lambda packet: packet.tag is not None
    for dead in (A1, B1):
        pairing.cloud.kill(dead)
    assert pairing.cloud.run(120, lambda: trouble(pairing) is not None)
    pairing.cloud.firewall = lambda packet: False
    assert pairing.recovers(300)
    assert pairing.cloud.run(300, lambda: trouble(pairing) is None)


# A peer that knows Shim6 no more.


def left_behind(*, says_so: bool, speaks: bool = False, seed: int = 0) -> Pairing:
    """The peer stops its Shim6 when the conversation is on other locators; then the ULIDs work again."""
    pairing = failed_over(Shim6Settings(return_after_ns=0), seed)
    pairing.b.lose_shim6(says_so=says_so)

    def speak() -> None:
        pairing.b.say(B1, A1)
        pairing.cloud.clock.call_later(SECOND // 2, speak)

    if speaks:
        speak()
    pairing.cloud.run(1)
    pairing.cloud.revive(A1)
    return pairing


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("speaks", [False, True], ids=["silent", "speaks"])
def test_the_ulids_are_taken_back_when_the_peer_says_that_it_knows_shim6_no_more(
    speaks: bool, seed: int
) -> None:
    """RFC 5533 §8 makes it a hint: it is believed when a probe of each pair has brought nothing else.

    Also where payload of the peer hastens the next probe just when all pairs were tried.
    """
    pairing = left_behind(says_so=True, speaks=speaks, seed=seed)
    assert pairing.cloud.run(5, lambda: bool(pairing.a.happened(ContextFellBack)))
    assert pairing.recovers(1)
    a = pairing.context(pairing.a)
    assert a is not None
    assert a.pair == a.key.ulids
    (event,) = pairing.a.happened(ContextFellBack)
    assert isinstance(event, ContextFellBack)
    assert event.refused
    assert count(pairing.a.manager, Shim6Counter.FELL_BACK) == 1
    assert "knows Shim6 no more" in str(trouble(pairing))
    before = len(pairing.a.received)
    pairing.cloud.run(600)
    assert len(pairing.a.received) - before > 5990  # ten answers a second
    assert len(pairing.a.happened(ContextFellBack)) == 1


def test_a_peer_that_knows_shim6_again_is_no_trouble() -> None:
    pairing = left_behind(says_so=True)
    assert pairing.recovers(20)
    pairing.b.knows_shim6 = True
    assert pairing.cloud.run(300, lambda: pairing.both("established") and trouble(pairing) is None)
    assert pairing.recovers(1)


def test_the_ulids_are_taken_back_after_long_silence() -> None:
    """A firewall may drop the errors. By then another pair is no likelier than the one without header."""
    pairing = left_behind(says_so=False)
    assert pairing.recovers(300)
    (event,) = pairing.a.happened(ContextFellBack)
    assert isinstance(event, ContextFellBack)
    assert not event.refused
    assert trouble(pairing) is None


def test_the_ulids_are_not_taken_back_while_their_own_address_is_gone() -> None:
    pairing = failed_over(Shim6Settings(return_after_ns=0))
    a = pairing.context(pairing.a)
    assert a is not None
    pairing.a.manager.set_local_address(A1, False, pairing.cloud.clock.now_ns)
    pairing.a.drain()
    pairing.b.lose_shim6()
    pairing.cloud.run(300)
    assert a.pair.local == A2
    assert not pairing.a.happened(ContextFellBack)
    pairing.a.manager.set_local_address(A1, True, pairing.cloud.clock.now_ns)
    pairing.a.drain()
    pairing.cloud.revive(A1)
    assert pairing.recovers(10)


def test_a_peer_that_answers_is_believed_more_than_errors_about_it() -> None:
    """Somebody on the path may forge them, with the right tags; then they are hints, no more."""
    pairing = failed_over(Shim6Settings(return_after_ns=0))
    lied = 0

    def lie(packet: Packet) -> None:
        nonlocal lied
        if packet.source in (A1, A2) and packet.quoted is None and (packet.data or packet.tag):
            lied += 1
            pairing.a.manager.handle_icmp(4, 1, packet.octets(), pairing.cloud.clock.now_ns, 6)

    pairing.cloud.watch = lie
    pairing.cloud.run(60)
    assert lied > 100
    assert not pairing.a.happened(ContextFellBack)
    assert pairs(pairing) != {(A1, B1)}
    assert pairing.recovers(1)


def trouble(pairing: Pairing) -> str | None:
    """What host a would show to its operator."""
    context = pairing.context(pairing.a)
    assert context is not None
    return trouble_of(context)
