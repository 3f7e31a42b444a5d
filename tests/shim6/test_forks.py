"""Forked contexts: packets that leave by a way of their own (RFC 5533 §4.2)."""

from ipaddress import IPv6Network

from mpcore.config import ForkRule
from mpcore.shim6.context import Context
from mpcore.shim6.events import ContextFailed
from mpcore.shim6.forks import Forks
from mpcore.shim6.locators import Pair
from mpcore.shim6.policy import Candidate
from mpcore.shim6.settings import SECOND, Shim6Settings
from mpcore.sim.shim6 import Packet
from mpcore.wire.shim6 import ForkedInstance, Preference, find_option, parse_message
from tests.shim6.world import A1, A2, B1, B2, C1, Pairing

FII = 7
SECOND_PROVIDER = ForkRule(fii=FII, dscp=46, local_prefixes=(IPv6Network("2001:db8:2::/48"),))


class Forked(Pairing):
    """Host a talks to b all the time, by the plain context and by a fork that likes A2; b answers plainly."""

    def __init__(self, rule: ForkRule = SECOND_PROVIDER) -> None:
        super().__init__(settings_a=Shim6Settings(forks=(rule,), return_after_ns=20 * SECOND))
        self.forked_ns: list[int] = []  # what came by the fork
        self.b.on_payload = self._hear
        self._talk()

    def _talk(self) -> None:
        now_ns = self.cloud.clock.now_ns
        self.a.say(A1, B1, now_ns << 1)
        self.a.say(A1, B1, now_ns << 1 | 1, FII)
        self.cloud.clock.call_later(SECOND // 4, self._talk)

    def _hear(self, packet: Packet) -> None:
        if packet.content & 1:
            self.forked_ns.append(packet.content >> 1)
        else:
            self.b.say(packet.destination, packet.source, packet.content)

    def fork(self) -> Context:
        found = self.a.manager.find(A1, B1, FII)
        assert found is not None
        return found

    def pairs(self) -> tuple[Pair, Pair]:
        """Where payload of the plain context and of the fork leaves a."""
        plain = self.context(self.a)
        assert plain is not None
        return plain.pair, self.fork().pair

    def gets_both(self, within_s: float) -> bool:
        """Whether what is said from now on arrives by the fork, and by the plain context and back."""
        since_ns = self.cloud.clock.now_ns + SECOND // 2

        def come() -> bool:
            forked = bool(self.forked_ns) and self.forked_ns[-1] >= since_ns
            return forked and bool(self.a.received) and self.a.received[-1][1] >> 1 >= since_ns

        return self.cloud.run(within_s, come)


def forked() -> Forked:
    world = Forked()
    world.cloud.run(2)
    assert world.a.manager.contexts() == ()
    world.establish()
    world.cloud.run(3)
    return world


def test_a_fork_takes_the_way_that_it_likes_and_the_plain_context_stays() -> None:
    world = forked()
    plain, fork = world.pairs()
    assert plain == (A1, B1)
    assert fork.local == A2
    assert world.gets_both(2)


def test_a_fork_is_made_for_packets_beside_a_context_only() -> None:
    world = Forked()
    world.cloud.run(5)
    assert world.a.manager.contexts() == ()
    world.a.establish(A1, B1)
    world.cloud.run(1)
    assert [context.key.fii for context in world.a.manager.contexts()] == [0, FII]


def test_a_fork_that_is_made_does_not_end_the_search_of_another() -> None:
    """An exchange shows that its pair works, which is not what a search for a better one asks."""
    pairing = Pairing(settings_a=Shim6Settings(forks=(SECOND_PROVIDER, ForkRule(fii=8, dscp=8))))
    pairing.establish()
    for fii in (FII, 8):
        pairing.a.say(A1, B1, 0, fii)
    pairing.cloud.run(2)
    assert [context.pair.local for context in pairing.a.manager.contexts()] == [A1, A2, A1]


def test_one_direction_alone_is_forked() -> None:
    """RFC 5533 §4.2: the peer sends as it likes, and its Keepalives say that the fork works."""
    world = forked()
    world.cloud.run(60)
    peers = world.b.manager.find(B1, A1, FII)
    assert peers is not None
    assert peers.reap.said_ns < 0
    assert peers.reap.payload_ns > 0
    assert world.a.manager.counters()["Shim6ExtExploration"] == 1  # the one that led to the liked pair


def test_a_fork_whose_way_fails_takes_another_and_comes_back() -> None:
    """RFC 5534 §4: REAP of a fork is its own."""
    world = forked()
    world.cloud.kill(A2)
    assert world.gets_both(30)
    plain, fork = world.pairs()
    assert plain == (A1, B1)
    assert fork.local == A1
    world.cloud.revive(A2)
    assert world.cloud.run(120, lambda: world.fork().pair.local == A2)
    assert world.gets_both(2)


def test_the_plain_context_moves_where_the_fork_is_and_leaves_it_there() -> None:
    world = forked()
    world.cloud.kill(A1)
    assert world.gets_both(30)
    plain, fork = world.pairs()
    assert (plain.local, fork.local) == (A2, A2)
    world.cloud.revive(A1)
    assert world.cloud.run(120, lambda: world.pairs()[0] == (A1, B1))
    assert world.fork().pair.local == A2
    assert world.gets_both(2)


def test_a_fork_may_like_a_locator_of_the_peer() -> None:
    world = Forked(ForkRule(fii=FII, dscp=46, peer_prefixes=(IPv6Network("2001:db8:4::/64"),)))
    world.establish()
    assert world.cloud.run(5, lambda: world.fork().pair.peer == B2)
    assert world.gets_both(2)


def test_a_fork_without_a_wish_still_has_a_header() -> None:
    world = Forked(ForkRule(fii=FII, dscp=46))
    world.establish()
    world.cloud.run(2)
    assert world.fork().pair == (A1, B1)
    installed = world.fork().installed
    assert installed is not None
    assert installed.rewrites
    world.cloud.run(60)
    assert world.a.manager.counters()["Shim6ExtExploration"] == 0


def test_a_peer_that_knows_no_forks_keeps_its_plain_context() -> None:
    """One that drops messages with the option (RFC 5533 §5.15.7) is asked again after the hold-down only."""
    world = Forked()
    world.cloud.firewall = lambda packet: packet.data is not None and asks_for_a_fork(packet.data)
    world.establish()
    assert world.cloud.run(200, lambda: bool(world.a.happened(ContextFailed)))
    (failed,) = world.a.happened(ContextFailed)
    assert (failed.fii, failed.reason) == (FII, "no answer: the peer may not know forked contexts")
    assert world.gets_both(2)
    world.a.manager.discard(A1, B1)
    world.a.drain()
    world.a.establish(A1, B1)
    assert world.cloud.run(5, lambda: world.both("established"))
    asked = world.kinds.count("I1")
    world.cloud.run(20)
    assert world.kinds.count("I1") == asked


def asks_for_a_fork(data: bytes) -> bool:
    return find_option(parse_message(data), ForkedInstance) is not None


def test_a_restarted_host_goes_on_with_its_fork() -> None:
    world = forked()
    world.a.restart()
    world.establish()
    assert world.cloud.run(10, lambda: world.a.manager.find(A1, B1, FII) is not None)
    assert world.cloud.run(10, lambda: world.fork().pair.local == A2)
    assert world.gets_both(5)


def test_liked_locators_come_first_and_owners_order_each_part() -> None:
    rules = Forks([ForkRule(fii=FII, dscp=0, local_prefixes=(IPv6Network("2001:db8:2::/47"),))])
    candidates = [
        Candidate(one, Preference(priority=priority)) for one, priority in ((A1, 0), (B1, 5), (A2, 9))
    ]
    ranked = rules.rank_locals(FII, candidates)
    assert [one.address for one in sorted(ranked, key=lambda one: one.preference.priority)] == [B1, A2, A1]
    assert rules.rank_locals(0, candidates) is candidates
    assert rules.rank_peers(FII, candidates) is candidates
    strangers = [Candidate(C1, Preference())]
    assert rules.rank_locals(FII, strangers) is strangers
