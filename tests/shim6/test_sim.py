"""Two cores on a bad network, restarted at every step; and one with ten thousand contexts."""

import os
import subprocess
import sys
from bisect import bisect_left
from collections import Counter
from ipaddress import IPv6Network
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpcore.config import ForkRule
from mpcore.shim6.context import Context
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.events import ExplorationFinished
from mpcore.shim6.reap_states import ReapState
from mpcore.shim6.settings import SECOND, Shim6Settings
from mpcore.shim6.states import ContextState
from mpcore.sim.shim6 import Cloud, CloudSettings, Packet, Shim6Node
from mpcore.wire.shim6 import MessageType, Preference, PreferenceFlag
from tests.shim6.world import A1, A2, B1, B2, Pairing, address, remembered

ROUND_TRIP_S = 0.02
ENDS = tuple((one, other) for one in (A1, A2) for other in (B1, B2))
FORKS = (ForkRule(fii=1, dscp=1, local_prefixes=(IPv6Network("2001:db8:2::/48"),)), ForkRule(fii=2, dscp=2))
RECEIVED = [counter for counter in Shim6Counter if counter.name.endswith("_RX")]


class Story(Pairing):
    """Both sides talk to each other all the time; a asks for the context, and heuristics do later.

    In a `crowd` they do so between all their ULIDs, and a has forks that carry something to b: their contexts
    search together. With `crash`, (side, step), that host is restarted when so many control messages were
    sent before; with `remembers` it then still has the contexts that were established.
    """

    def __init__(
        self,
        seed: int = 0,
        cloud: CloudSettings | None = None,
        crash: tuple[str, int] | None = None,
        *,
        remembers: bool = False,
        crowd: bool = False,
    ) -> None:
        super().__init__(seed, cloud=cloud, settings_a=Shim6Settings(forks=FORKS if crowd else ()))
        self.forked_ns: dict[int, int] = {fork.fii: -1 for fork in FORKS if crowd}
        self.talks = ENDS if crowd else ((A1, B1),)
        self.heard_ns: dict[tuple[bytes, bytes], int] = {}
        for node in (self.a, self.b):
            node.on_payload = self._hear
        self.remembers = remembers
        self.down: set[bytes] = set()  # addresses whose link the host knows to be down
        self.a.flow_octets = self.b.flow_octets = 1000
        self.crash = crash
        self.cloud.watch = self._watch_and_crash
        for one, other in self.talks:
            self.a.establish(one, other)
            self._talk(self.a, one, other)
            self._talk(self.b, other, one)
        for fii in self.forked_ns:
            self._talk_by_fork(fii)

    def play(self) -> None:
        """An update, and then the failure of a link in use."""
        self.cloud.run(2)
        liked = Preference(priority=20)
        self.b.manager.prefer_local_address(B1, liked, self.cloud.clock.now_ns)
        self.b.drain()
        self.cloud.run(3)
        self.cloud.kill(A1)
        self.cloud.run(25)
        self.cloud.kill(B2)
        self.cloud.run(25)

    def _watch_and_crash(self, packet: Packet) -> None:
        self._watch(packet)
        if self.crash is not None and len(self.messages) == self.crash[1] + 1:
            node = self.cloud.nodes[self.crash[0]]
            self.crash = None
            self.cloud.clock.call_later(1, lambda: node.restart(remembered(node) if self.remembers else ()))

    def _talk(self, node: Shim6Node, local: bytes, peer: bytes) -> None:
        node.say(local, peer, self.cloud.clock.now_ns)  # the content is the time
        self.cloud.clock.call_later(SECOND // 2, lambda: self._talk(node, local, peer))

    def _talk_by_fork(self, fii: int) -> None:
        self.a.say(A1, B1, -(self.cloud.clock.now_ns << 2 | fii), fii)
        self.cloud.clock.call_later(SECOND // 2, lambda: self._talk_by_fork(fii))

    def _hear(self, packet: Packet) -> None:
        if packet.content < 0:
            said_ns, fii = -packet.content >> 2, -packet.content & 3
            self.forked_ns[fii] = max(said_ns, self.forked_ns[fii])
            return
        if packet.content >= self.heard_ns.get((packet.source, packet.destination), 0):
            self.heard_ns[packet.source, packet.destination] = packet.content  # when it was said

    def heard(self, since_ns: int) -> bool:
        """Whether each conversation brought both sides something that was said at this time or later."""
        ways = [way for one, other in self.talks for way in ((one, other), (other, one))]
        heard_ns = [self.heard_ns.get(way, -1) for way in ways]
        return min(heard_ns + list(self.forked_ns.values())) >= since_ns

    def _ends(self) -> list[tuple[Context | None, Context | None]]:
        return [
            (self.a.manager.find(one, other), self.b.manager.find(other, one)) for one, other in self.talks
        ]

    def settled(self) -> bool:
        """Both have all contexts, and what each has to tell of itself is acknowledged."""
        return all(
            end is not None and end.state is ContextState.ESTABLISHED and end.update.news is None
            for ends in self._ends()
            for end in ends
        )

    def agrees(self) -> bool:
        """Both have the contexts, with each other's tags, and are content with their pairs."""
        return self.settled() and all(
            a is not None
            and b is not None
            and (a.tag_peer, b.tag_peer) == (b.tag_local, a.tag_local)
            and a.reap.state == b.reap.state == ReapState.OPERATIONAL
            for a, b in self._ends()
        )


def story_length(*, crowd: bool = False) -> int:
    story = Story(crowd=crowd)
    story.play()
    return len(story.messages)


@pytest.mark.parametrize("remembers", [False, True], ids=["forgets", "remembers"])
@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("step", range(story_length()))
def test_either_side_may_crash_at_every_step(side: str, step: int, remembers: bool) -> None:
    """RFC 5533 §7.5: whatever a host forgets, and whenever, the conversation goes on."""
    survive(Story(crash=(side, step), remembers=remembers))


@pytest.mark.parametrize("remembers", [False, True], ids=["forgets", "remembers"])
@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("step", range(0, story_length(crowd=True), 11))
def test_all_conversations_of_two_hosts_survive_a_crash(side: str, step: int, remembers: bool) -> None:
    """Contexts that search together do not wait for one that is gone, or is being recovered."""
    survive(Story(crash=(side, step), remembers=remembers, crowd=True))


def survive(story: Story) -> None:
    story.play()
    assert story.crash is None
    now_ns = story.cloud.clock.now_ns
    if not story.cloud.run(80, lambda: story.heard(now_ns)):
        # Nobody knew the other's locators any more: initial contact is not the shim's to repair (§13).
        story.cloud.revive(A1)
        story.cloud.revive(B2)
        assert story.cloud.run(150, lambda: story.heard(now_ns))
    assert story.cloud.run(300, story.agrees)


ACTIONS = st.one_of(
    st.tuples(st.just("restart"), st.sampled_from("ab")),
    st.tuples(st.just("resume"), st.sampled_from("ab")),
    st.tuples(st.just("kill"), st.sampled_from((A1, A2, B1, B2))),
    st.tuples(st.just("revive"), st.sampled_from((A1, A2, B1, B2))),
    st.tuples(st.just("cut"), st.sampled_from(ENDS)),
    st.tuples(st.just("cut-back"), st.sampled_from(ENDS)),
    st.tuples(st.just("establish"), st.sampled_from("ab")),
    st.tuples(st.just("link"), st.sampled_from((A1, A2, B1, B2))),
    st.tuples(st.just("hint"), st.sampled_from("ab")),
    st.tuples(st.just("prefer"), st.sampled_from((A1, A2, B1, B2))),
    st.tuples(st.just("drain"), st.sampled_from((A1, A2, B1, B2))),
    st.tuples(st.just("discard"), st.sampled_from("ab")),
)


def perform(story: Story, action: str, subject: object) -> None:
    cloud, now_ns = story.cloud, story.cloud.clock.now_ns
    match action, subject:
        case (("restart" | "resume"), str(name)):
            node = cloud.nodes[name]
            node.restart(remembered(node) if action == "resume" else ())
            story.down -= set(node.addresses)  # it takes them for usable until it is told
        case "establish", "a":
            story.a.establish(A1, B1)
        case "establish", "b":
            story.b.establish(B1, A1)
        case "hint", "a":
            story.a.manager.hint(A1, B1, now_ns)
            story.a.drain()
        case "hint", "b":
            story.b.manager.hint(B1, A1, now_ns)
            story.b.drain()
        case "discard", str(name):
            cloud.nodes[name].manager.discard(*((A1, B1) if name == "a" else (B1, A1)))
            cloud.nodes[name].drain()
        case "prefer", bytes(one):
            node = story.a if one in (A1, A2) else story.b
            node.manager.prefer_local_address(one, Preference(priority=now_ns % 3), now_ns)
            node.drain()
        case "drain", bytes(one):
            node = story.a if one in (A1, A2) else story.b
            node.manager.prefer_local_address(one, Preference(PreferenceFlag.BROKEN), now_ns)
            node.drain()
        case "kill", bytes(one):
            cloud.kill(one)
        case "revive", bytes(one):
            cloud.revive(one)
        case "link", bytes(one):
            node = story.a if one in (A1, A2) else story.b
            up = one not in story.down
            story.down ^= {one}
            node.manager.set_local_address(one, not up, now_ns)
            node.drain()
        case "cut", (bytes(one), bytes(other)):
            cloud.cut(one, other)
        case "cut-back", (bytes(one), bytes(other)):
            cloud.cut(other, one)


def heal(story: Story) -> None:
    """The network works, links that were down come up, and what was drained is not any more."""
    now_ns = story.cloud.clock.now_ns
    story.cloud.settings = CloudSettings()
    for one, other in ENDS:
        story.cloud.mend(one, other)
        story.cloud.mend(other, one)
    for node, addresses in ((story.a, (A1, A2)), (story.b, (B1, B2))):
        for one in addresses:
            story.cloud.revive(one)
            if one in story.down:
                node.manager.set_local_address(one, True, now_ns)
            if node.manager.local_preference(one).flags:
                node.manager.prefer_local_address(one, Preference(), now_ns)
        node.drain()
    story.down.clear()


# The same worlds each time: one in thousands is beyond what the protocol can mend.
@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    loss=st.sampled_from((0.0, 0.1, 0.4)),
    duplicate=st.sampled_from((0.0, 0.3)),
    jitter_ms=st.sampled_from((0, 50, 3000)),
    crowd=st.booleans(),
    script=st.lists(st.tuples(st.floats(0.001, 30), ACTIONS), max_size=12),
)
@example(
    seed=61,
    loss=0.0,
    duplicate=0.0,
    jitter_ms=3000,
    crowd=False,
    script=[(4.0, ("restart", "b")), (5.0, ("restart", "b"))],
)
# A late R2 of a peer that has crashed since, after an Update Request of the same peer.
@example(
    seed=25811,
    loss=0.1,
    duplicate=0.0,
    jitter_ms=3000,
    crowd=False,
    script=[(4.5, ("restart", "a")), (5.0, ("restart", "b"))],
)
def test_after_any_misfortune_both_sides_agree_again(
    seed: int,
    loss: float,
    duplicate: float,
    jitter_ms: int,
    crowd: bool,
    script: list[tuple[float, tuple[str, object]]],
) -> None:
    """Loss, duplicates, reordering, crashes and failures in any order; then a network that works.

    Nobody helps: what is stuck then stays stuck. At last each link of a fails, which is survived: an I2 of an
    earlier life that came late leaves an old tag, which shows when it is used, and is mended (RFC 5533 §7.5).
    """
    bad = CloudSettings(loss=loss, duplicate=duplicate, jitter_ns=jitter_ms * 1_000_000)
    story = Story(seed, bad, crowd=crowd)
    for gap_s, (action, subject) in script:
        story.cloud.run(gap_s)
        perform(story, action, subject)
    heal(story)
    story.cloud.run(5)
    now_ns = story.cloud.clock.now_ns
    assert story.cloud.run(150, lambda: story.heard(now_ns))
    for dead in (A1, A2):
        # Initial contact, and so recovery, is not the shim's to repair when a link fails (RFC 5533 §13).
        assert story.cloud.run(500, story.settled)
        story.cloud.kill(dead)
        now_ns = story.cloud.clock.now_ns
        assert story.cloud.run(120, lambda: story.heard(now_ns))  # noqa: B023
        story.cloud.revive(dead)
        story.cloud.run(5)
    assert story.cloud.run(300, story.agrees)
    for node in (story.a, story.b):
        due_ns = node.manager.poll_timeout()
        assert due_ns is None or due_ns >= story.cloud.clock.now_ns


def test_every_message_moves_one_counter_of_its_kind() -> None:
    story = Story(3, CloudSettings(duplicate=0.3, jitter_ns=100_000_000))
    arrived: Counter[str] = Counter()
    for name, node in story.cloud.nodes.items():
        original = node.receive

        def receive(packet: Packet, name: str = name, original: object = original) -> None:
            arrived[name] += packet.data is not None
            original(packet)  # type: ignore[operator]

        node.receive = receive  # type: ignore[method-assign]
    story.cloud.run(5)
    story.cloud.kill(A1)
    story.cloud.run(60)
    for name, node in story.cloud.nodes.items():
        counters = node.manager.counters()
        assert sum(counters[counter.mib] for counter in RECEIVED) == arrived[name]


def reproduced(seed: int) -> str:
    story = Story(seed, CloudSettings(loss=0.2, duplicate=0.1, jitter_ns=50_000_000))
    story.cloud.run(5)
    story.cloud.kill(A1)
    story.cloud.run(40)
    story.b.restart()
    story.cloud.run(40)
    return story.cloud.digest()


def test_the_same_seed_gives_the_same_world_whatever_the_hash_seed() -> None:
    code = "from tests.shim6.test_sim import reproduced; print(reproduced(5))"
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert digests == {reproduced(5) + "\n"}
    assert reproduced(6) not in digests


def search_time(seed: int, probe_burst: int, works: tuple[int, int] = (3, 2)) -> float:
    """Seconds from the first probe until the one working pair of sixteen is in use."""
    cloud = Cloud(seed)
    burst = Shim6Settings(probe_burst=probe_burst)
    a = cloud.add_node("a", [address(1 + number, 1) for number in range(4)], burst)
    b = cloud.add_node("b", [address(11 + number, 2) for number in range(4)], burst)
    a.establish(a.addresses[0], b.addresses[0])
    cloud.run(1)
    for one in a.addresses:
        for other in b.addresses:
            if (one, other) != (a.addresses[works[0]], b.addresses[works[1]]):
                cloud.cut(one, other)
                cloud.cut(other, one)
    a.manager.suspect_local_address(a.addresses[0], cloud.clock.now_ns)
    a.drain()
    assert cloud.run(900, lambda: bool(a.happened(ExplorationFinished)))
    (finished,) = a.happened(ExplorationFinished)
    assert isinstance(finished, ExplorationFinished)
    assert (finished.local, finished.peer) == (a.addresses[works[0]], b.addresses[works[1]])
    return finished.duration_ns / SECOND


def test_a_burst_finds_the_one_pair_of_sixteen_in_a_round_trip() -> None:
    """RFC 5534 §4.3 wants one after the other; published measurements show what that costs."""
    assert max(search_time(seed, 1) for seed in range(6)) > 2
    assert max(search_time(seed, 16) for seed in range(6)) < 0.1


@pytest.mark.parametrize("works", list(product(range(4), range(4))))
def test_a_burst_finds_any_pair_of_sixteen_within_two_round_trips(works: tuple[int, int]) -> None:
    assert search_time(1, 16, works) <= 2 * ROUND_TRIP_S


@pytest.mark.parametrize("back", [False, True], ids=["one-way", "both-ways"])
@pytest.mark.parametrize("seed", range(4))
def test_the_distinct_pair_is_found_in_a_round_trip_and_half_a_second(seed: int, back: bool) -> None:
    """RFC 5534 §4.3, default timers: after a silent cut of all pairs but the one that shares no address."""
    pairing = Pairing(seed)
    pairing.establish()
    pairing.converse()
    pairing.cloud.run(1)
    for one, other in ENDS:
        if (one, other) != (A2, B2):
            pairing.cloud.cut(one, other)
            if back:
                pairing.cloud.cut(other, one)
    assert pairing.recovers(25)
    durations = [event.duration_ns for event in pairing.a.happened(ExplorationFinished)]  # type: ignore[attr-defined]
    assert durations
    assert max(durations) / SECOND <= ROUND_TRIP_S + 0.5


def test_tags_of_seven_bits_are_confused_and_sorted_out() -> None:
    """RFC 5533 §7.15, Appendix C.4: after crashes tags come again for other contexts of the same hosts."""
    few = Shim6Settings(tag_bits=7, verifications_per_second=10**6, answers_per_second=1000)
    pairing = Pairing(7, settings_a=few, settings_b=few)
    forks = range(60)
    for _ in range(3):
        for fii in forks:
            pairing.a.establish(A1, B1, fii)
        pairing.cloud.run(30)
        pairing.a.restart()
    for fii in forks:
        pairing.a.establish(A1, B1, fii)
    pairing.cloud.run(60)
    assert pairing.b.manager.counters()[Shim6Counter.CONFUSED.mib] > 0
    for fii in forks:
        a, b = pairing.a.manager.find(A1, B1, fii), pairing.b.manager.find(B1, A1, fii)
        assert a is not None
        assert b is not None
        assert a.state == b.state == ContextState.ESTABLISHED
        assert (a.tag_peer, b.tag_peer) == (b.tag_local, a.tag_local)


PEERS, CONTEXTS_PER_PEER = 100, 100


def test_ten_thousand_contexts_recover_with_two_hundred_probes_a_second() -> None:
    """RFC 5534 §9 foresees a probe a second per context; 10 000 contexts share 100 explorations here."""
    generous = Shim6Settings(
        r1_per_second=10**6, verifications_per_second=10**6, answers_per_second=1000, max_contexts=20000
    )
    cloud = Cloud(1)
    host = cloud.add_node("host", [A1, A2], generous)
    peers = [
        cloud.add_node(f"peer {number}", [address(0x1000 + number, 1), address(0x2000 + number, 1)], generous)
        for number in range(PEERS)
    ]
    for peer in peers:
        for fii in range(CONTEXTS_PER_PEER):
            host.establish(A1, peer.addresses[0], fii)
    cloud.run(25)
    contexts = host.manager.contexts()
    assert Counter(context.state for context in contexts) == {
        ContextState.ESTABLISHED: PEERS * CONTEXTS_PER_PEER
    }
    probes: list[int] = []

    def watch(packet: Packet) -> None:
        if packet.data is not None and packet.data[2] == MessageType.PROBE and packet.source in (A1, A2):
            probes.append(cloud.clock.now_ns)

    cloud.watch = watch
    cloud.kill(A1)
    for context in contexts:
        host.manager.note_activity(context.number, cloud.clock.now_ns, None, cloud.clock.now_ns)
    host.drain()
    cloud.run(20)
    assert {context.pair.local for context in contexts} == {A2}
    assert {context.reap.state for context in contexts} == {ReapState.OPERATIONAL}
    for peer in peers:
        assert {context.pair.peer for context in peer.manager.contexts()} == {A2}
    assert len(probes) <= 4 * PEERS
    assert (
        max(number + 1 - bisect_left(probes, time - SECOND + 1) for number, time in enumerate(probes)) <= 200
    )
