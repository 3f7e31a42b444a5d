"""What makes a host search before its Send Timeout: hints and local knowledge (RFC 5534 §3, §4.1)."""

from dataclasses import replace

import pytest

from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.reap_states import ReapState
from mpcore.shim6.settings import SECOND, Shim6Settings
from mpcore.wire.shim6 import Probe
from tests.shim6.test_reap import (
    INBOUND_OK,
    SETTINGS,
    TAG,
    established,
    explore,
    hear_payload,
    pair_of,
    probe_to,
    probes,
    say,
)
from tests.shim6.world import A1, A2, B1, B2, Lone, Pairing, count

# This host's own knowledge, and hearsay.


def test_a_local_failure_acts_at_once() -> None:
    """RFC 5534 §4.1: no Send Timeout."""
    lone = established()
    lone.manager.set_local_address(A1, False, lone.now_ns)
    (probe,) = probes(lone.drain())
    assert pair_of(probe) == (A2, B2)
    assert {pair_of(one).local for one in probes(lone.wait(60))} == {A2}


def test_a_router_that_is_gone_acts_at_once_and_spares_its_address_for_the_end() -> None:
    lone = established()
    lone.manager.suspect_local_address(A1, lone.now_ns)
    order = [pair_of(one) for one in (*probes(lone.drain()), *probes(lone.wait(2)))]
    assert order[0] == (A2, B2)
    assert order[3] == (A1, B1)


def test_a_hint_of_the_network_probes_the_current_pair_first_and_a_lie_moves_nothing() -> None:
    """RFC 5533 §8, RFC 5534 §3.3, §8: ICMP is no proof."""
    pairing = Pairing()
    pairing.establish()
    a = pairing.context(pairing.a)
    assert a is not None
    tcp = bytes([0x60, 0, 0, 0, 0, 0, 6, 64]) + A1 + B1
    for _ in range(20):
        limited = count(pairing.a.manager, Shim6Counter.LIMIT_HINT)
        verdict = pairing.a.manager.handle_icmp(1, 0, tcp, pairing.cloud.clock.now_ns)
        assert verdict.absorb == (count(pairing.a.manager, Shim6Counter.LIMIT_HINT) == limited)
        pairing.a.drain()
        pairing.cloud.run(0.5)
    assert a.pair == (A1, B1)
    assert a.reap.state is ReapState.OPERATIONAL
    sent = [ends for _, *ends, message in pairing.messages if isinstance(message, Probe)]
    assert [A2, B2] not in sent
    assert count(pairing.a.manager, Shim6Counter.LIMIT_HINT) > 0


def test_a_true_hint_saves_the_send_timeout() -> None:
    pairing = Pairing()
    pairing.establish()
    pairing.converse()
    pairing.cloud.kill(B1)
    pairing.a.manager.hint(A1, B1, pairing.cloud.clock.now_ns)
    pairing.a.drain()
    assert pairing.recovers(2)


# What TCP knows.


def asked_about(lone: Lone, seconds: float) -> list[float]:
    """Return when, in seconds from now, the transports of the only context are to be asked."""
    begin_ns, found = lone.now_ns, []
    while lone.now_ns < begin_ns + seconds * SECOND:
        lone.wait(0.1)
        if lone.manager.take_doubtful():
            found.append(round((lone.now_ns - begin_ns) / SECOND, 1))
    return found


def test_transports_are_asked_ever_more_seldom_while_an_answer_is_owed() -> None:
    """RFC 5534 §3.3: long before the Send Timeout, which starts with the first packet without an answer."""
    lone = established()
    say(lone)
    assert asked_about(lone, 14) == [1.5, 4.5, 10.5]
    lone.wait(5)
    assert lone.context().reap.state is ReapState.EXPLORING
    assert asked_about(lone, 60) == []


def test_what_repeats_in_vain_saves_the_send_timeout() -> None:
    """RFC 5534 §3.3, §4.3: the search begins as if it had passed, at the pair most unlike the one in use."""
    lone = established()
    say(lone)
    lone.manager.give_up_waiting(A1, B1, lone.now_ns)
    assert lone.drain() == []
    assert asked_about(lone, 2) == [1.5]
    lone.manager.give_up_waiting(A1, B1, lone.now_ns)
    assert [pair_of(one) for one in probes(lone.drain())] == [(A2, B2)]
    assert lone.count(Shim6Counter.REPEATS_IN_VAIN) == 1
    lone.wait(20)
    assert lone.count(Shim6Counter.SEND_TIMEOUT) == 0


def test_who_was_answered_meanwhile_waits_for_nothing() -> None:
    lone = established()
    say(lone)
    assert asked_about(lone, 2) == [1.5]
    hear_payload(lone)
    lone.manager.give_up_waiting(A1, B1, lone.now_ns)
    assert lone.context().reap.state is ReapState.OPERATIONAL
    assert lone.count(Shim6Counter.REPEATS_IN_VAIN) == 0


def test_transports_that_are_heard_are_asked_nothing() -> None:
    lone = established()
    for _ in range(20):
        say(lone)
        assert asked_about(lone, 0.5) == []
        hear_payload(lone)
        assert asked_about(lone, 0.5) == []


def test_nobody_is_asked_where_that_is_not_wanted() -> None:
    lone = established(replace(SETTINGS, ask_transports_ns=0))
    say(lone)
    assert asked_about(lone, 14) == []


# ICMPv6.


@pytest.mark.parametrize(
    ("icmp_type", "code", "absorbed"),
    [
        (1, 0, True),
        (1, 1, True),
        (1, 3, True),
        (1, 5, True),
        (1, 4, False),
        (2, 0, False),
        (3, 0, True),
        (4, 0, False),
    ],
)
def test_icmp_errors_are_absorbed_only_when_the_shim_acts(icmp_type: int, code: int, absorbed: bool) -> None:
    """RFC 5533 §8."""
    lone = established()
    tcp = bytes([0x60, 0, 0, 0, 0, 0, 6, 64]) + A1 + B1
    verdict = lone.manager.handle_icmp(icmp_type, code, tcp, lone.now_ns)
    assert verdict.absorb is absorbed
    assert verdict.path is None
    everything_up = established(Shim6Settings(deliver_all_icmp=True))
    assert not everything_up.manager.handle_icmp(icmp_type, code, tcp, everything_up.now_ns).absorb


def test_icmp_errors_go_up_again_when_a_search_was_in_vain() -> None:
    """RFC 5533 §8: a MUST, except when Shim6 successfully acts. Programs hear when nothing works."""
    lone = established()
    tcp = bytes([0x60, 0, 0, 0, 0, 0, 6, 64]) + A1 + B1
    assert lone.manager.handle_icmp(1, 0, tcp, lone.now_ns).absorb
    lone.wait(0.2)
    assert lone.manager.handle_icmp(1, 0, tcp, lone.now_ns).absorb
    lone.wait(10)  # all four pairs, and more
    assert lone.context().reap.state is ReapState.EXPLORING
    assert not lone.manager.handle_icmp(1, 0, tcp, lone.now_ns).absorb
    lone.manager.set_local_address(A2, False, lone.now_ns)
    lone.manager.set_local_address(A2, True, lone.now_ns)
    assert lone.manager.handle_icmp(1, 0, tcp, lone.now_ns).absorb, "there is something to try again"


def test_an_icmp_error_about_shimmed_payload_is_found_by_the_peers_tag() -> None:
    """RFC 5533 §8, §12.4: the quote holds CT(peer), and gets its ULIDs back on the way up."""
    lone = established()
    first = explore(lone)
    probe_to(lone, INBOUND_OK, first.sent[0])
    context = lone.context()
    assert context.pair == (A2, B2)
    header = bytes([6, 0]) + (1 << 47 | TAG).to_bytes(6)
    quoted = bytes([0x60, 0, 0, 0, 0, 8, 140, 64]) + A2 + B2 + header
    verdict = lone.manager.handle_icmp(2, 0, quoted, lone.now_ns)
    assert not verdict.absorb
    assert verdict.path is not None
    assert (verdict.path.ulid_local, verdict.path.ulid_peer) == (A1, B1)
    assert lone.manager.handle_icmp(4, 0, quoted, lone.now_ns, pointer=42).absorb
    wrong = quoted[:-1] + bytes([quoted[-1] ^ 1])
    assert lone.manager.handle_icmp(1, 0, wrong, lone.now_ns).path is None
    for size in range(len(quoted)):
        lone.manager.handle_icmp(1, 0, quoted[:size], lone.now_ns)
