"""Reachability of contexts: failure detection and what leads to an exploration (RFC 5534 §4, §6)."""

from collections.abc import Callable

from mpcore.shim6.blocking import PayloadJudge
from mpcore.shim6.context import Context
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.events import PathChanged, PayloadResumed
from mpcore.shim6.exploration import Explorer
from mpcore.shim6.locators import Pair
from mpcore.shim6.policy import Cause, PairPolicy
from mpcore.shim6.probes import INPUTS, believe_reports, is_usable, record_probe, reports_any
from mpcore.shim6.reap_states import ReapAction, ReapInput, ReapState, step
from mpcore.shim6.returning import Returner
from mpcore.shim6.settings import DEFAULT_SEND_TIMEOUT_NS
from mpcore.shim6.shared import Shared, TimerKind
from mpcore.shim6.states import ContextState
from mpcore.wire.shim6 import Keepalive, Probe, ReachabilityState

_TIMERS = (TimerKind.SEND, TimerKind.DOUBT, TimerKind.KEEPALIVE, TimerKind.KEEPALIVE_INTERVAL)


class Reap:
    """REAP for all contexts. Only those in ESTABLISHED take part (RFC 5534 §4.2, §5.1)."""

    def __init__(self, shared: Shared, policy: PairPolicy) -> None:
        self.explorer = Explorer(shared, policy, self._retransmit)
        self.returner = Returner(shared, self.explorer, self.suspect)
        self._judge = PayloadJudge(shared, self.explorer, self._move)
        self.explorer.on_vain_round = self._judge.judge_round
        self.on_moved: Callable[[Context, int], None] = lambda context, now_ns: None
        self._shared = shared
        self._actions: dict[ReapAction, Callable[[Context, int], None]] = {
            ReapAction.START_SEND: self._start_send,
            ReapAction.RESTART_SEND: self._restart_send,
            ReapAction.STOP_SEND: self._stop_send,
            ReapAction.START_KEEPALIVE: self._start_keepalive,
            ReapAction.STOP_KEEPALIVE: self._stop_keepalive,
            ReapAction.SEND_KEEPALIVE: self._send_keepalive,
            ReapAction.FORGET_REPORTS: self._forget_reports,
            ReapAction.EXPLORE: self._explore,
            ReapAction.JOIN: self._join,
            ReapAction.PROBE: self.explorer.probe,
            ReapAction.REPORT: self.explorer.probe,
            ReapAction.ANSWER: self._answer,
            ReapAction.CHOOSE_PAIR: self._choose_pair,
            ReapAction.FINISH: self._finish,
        }
        # What the actions of one input have in common.
        self._cause = Cause.SEND_TIMEOUT
        self._probe: tuple[Pair, Probe] | None = None

    def attach(self, context: Context, pair: Pair, now_ns: int) -> None:
        """A context was established, or recovered, by an exchange that has just worked on `pair` both ways.

        Where that is no pair of the context, it proves nothing of those that are (RFC 5533 §7.2).
        """
        group = self.explorer.join(context)
        if not context.located:
            pair = context.key.ulids
        context.reap.chosen = pair
        self._settle(context, pair, now_ns)
        if context.located:
            group.record(pair).answered_ns = now_ns
            if self.explorer.leads(context) or not self.explorer.likes_only(context):
                self._adopt(self.explorer.finish(context, now_ns), pair, now_ns)

    def resume(self, context: Context) -> None:
        """A context was established in an earlier life of this host; whether its pair works will be seen."""
        self.explorer.join(context)
        self._shared.publish(context)

    def regroup(self, context: Context, now_ns: int) -> None:
        """The locators of a context changed: what it searches for, it searches among other contexts now."""
        group = self.explorer.join(context)
        searching = context.reap.state is not ReapState.OPERATIONAL
        if searching and group.exploration is None and context.state is ContextState.ESTABLISHED:
            self.explorer.begin(context, Cause.SEND_TIMEOUT, now_ns)

    def detach(self, context: Context) -> None:
        """A context is no longer one that payload can use."""
        self.explorer.leave(context)
        for kind in _TIMERS:
            self._shared.deadlines.cancel((kind, context.number))
        context.reap.state = ReapState.OPERATIONAL
        context.reap.sent.clear()
        context.reap.received.clear()

    def begin_keepalive_timeout(self, context: Context, seconds: int | None) -> None:
        """Take the option of an exchange; without it the default holds, whatever was before (RFC 5534 §7)."""
        context.reap.keepalive_timeout_ns = DEFAULT_SEND_TIMEOUT_NS
        self.set_keepalive_timeout(context, seconds)

    def set_keepalive_timeout(self, context: Context, seconds: int | None) -> None:
        """Take the peer's Keepalive Timeout option, which governs our Keepalives (RFC 5534 §5.3)."""
        if seconds is None:
            return
        least_ns = self._shared.settings.keepalive_timeout_min_ns
        context.reap.keepalive_timeout_ns = max(least_ns, seconds * 1_000_000_000)

    @property
    def keepalive_seconds(self) -> int | None:
        """What to ask of the peer by the option, when it is not the default (RFC 5534 §5.3)."""
        settings = self._shared.settings
        is_default = settings.send_timeout_ns == DEFAULT_SEND_TIMEOUT_NS
        return None if is_default else settings.keepalive_seconds

    def payload_in(self, context: Context, now_ns: int) -> None:
        """Payload, or a message other than Keepalive and Probe, has come."""
        context.reap.heard_ns = now_ns
        self._judge.note_payload(context, now_ns)
        self._step(context, ReapInput.PAYLOAD_IN, now_ns)

    def payload_out(self, context: Context, now_ns: int) -> None:
        """Payload, or a message other than Keepalive and Probe, has been sent."""
        self._step(context, ReapInput.PAYLOAD_OUT, now_ns)

    def note_resumed(self, context: Context, received_ns: int) -> None:
        """Payload of the peer's transports has come, which may end a silence."""
        if context.reap.stalled_ns is None:
            return
        stall_ns = max(0, received_ns - context.reap.stalled_ns)
        context.reap.stalled_ns = None
        self._shared.events.append(PayloadResumed(*context.key, stall_ns))

    def keepalive_in(self, context: Context, now_ns: int) -> None:
        """A Keepalive has come."""
        context.reap.heard_ns = now_ns
        self._step(context, ReapInput.KEEPALIVE, now_ns)

    def probe_in(
        self, context: Context, source: bytes, destination: bytes, probe: Probe, now_ns: int
    ) -> None:
        """A Probe has come, between addresses of the context."""
        self._renew_reports(context, now_ns)
        if not record_probe(context, source, destination, probe):
            self._shared.count(Shim6Counter.PROBE_ADDRESSES)
        self._probe = (Pair(destination, source), probe)
        if probe.state == ReachabilityState.OPERATIONAL:
            self._note_choice(context, self._probe[0], now_ns)
        event = INPUTS[ReachabilityState(probe.state)]
        if event is ReapInput.PROBE_INBOUND_OK and self._still_asks(context, probe):
            event = ReapInput.PROBE_WHILE_LIKING
        self._step(context, event, now_ns)
        self._probe = None

    def suspect(self, context: Context, cause: Cause, now_ns: int) -> bool:
        """Something but a timeout says that the current pair may not work, or another is wanted.

        Returns whether there is a search now that may find one: one that has tried all in vain may not.
        """
        if context.state is not ContextState.ESTABLISHED:
            return False
        if cause is Cause.HINT and not self._may_hint(context, now_ns):
            self._shared.count(Shim6Counter.LIMIT_HINT)
            return False
        self._cause = cause
        event = ReapInput.LIKING if cause is Cause.PREFERENCE else ReapInput.SUSPICION
        self._step(context, event, now_ns)
        self._cause = Cause.SEND_TIMEOUT
        exploration = self.explorer.group_of(context).exploration
        return exploration is not None and not exploration.vain

    def give_up_waiting(self, context: Context, now_ns: int) -> None:
        """Transports repeat in vain: if an answer is still owed, it is as if the Send Timeout had passed."""
        if context.reap.doubts and self._shared.deadlines.armed((TimerKind.SEND, context.number)):
            self._shared.count(Shim6Counter.REPEATS_IN_VAIN)
            self._stop_send(context, now_ns)
            self._step(context, ReapInput.SEND_TIMEOUT, now_ns)

    def note_refusal(self, context: Context) -> None:
        """An ICMPv6 error says that the peer's host does not know Shim6: a hint, until nothing else comes."""
        if context.state is ContextState.ESTABLISHED:
            self.explorer.note_refusal(context)

    def handle_timeout(self, kind: TimerKind, number: int, now_ns: int) -> None:
        """A timer of REAP has run out."""
        if kind is TimerKind.EXPLORATION:
            self.explorer.handle_timeout(number, now_ns)
            return
        if kind is TimerKind.PROBES:
            self.explorer.pump(now_ns)
            return
        if kind is TimerKind.RETURN:
            self.returner.handle_timeout(number, now_ns)
            return
        context = self._shared.contexts.by_number.get(number)
        if context is None or context.state is not ContextState.ESTABLISHED:
            return
        if kind is TimerKind.SEND:
            self._shared.count(Shim6Counter.SEND_TIMEOUT)
            self._step(context, ReapInput.SEND_TIMEOUT, now_ns)
        elif kind is TimerKind.DOUBT:
            self._doubt(context, now_ns)
        elif kind is TimerKind.KEEPALIVE:
            self._shared.deadlines.cancel((TimerKind.KEEPALIVE_INTERVAL, number))
            self._step(context, ReapInput.KEEPALIVE_TIMEOUT, now_ns)
        else:
            self._send_keepalive(context, now_ns)

    def _step(self, context: Context, event: ReapInput, now_ns: int) -> None:
        if context.state is not ContextState.ESTABLISHED:
            return
        actions, state = step(context.reap.state, event)
        # The state that a probe carries is the one after its sending (RFC 5534 §6.1).
        context.reap.state = state
        for action in actions:
            self._actions[action](context, now_ns)

    def _retransmit(self, context: Context, now_ns: int) -> None:
        self._step(context, ReapInput.RETRANSMIT, now_ns)

    def _may_hint(self, context: Context, now_ns: int) -> bool:
        group = self.explorer.group_of(context)
        last_ns = group.hinted_ns
        if last_ns is not None and now_ns - last_ns < self._shared.settings.hint_interval_ns:
            return group.exploration is not None
        group.hinted_ns = now_ns
        return True

    def _start_send(self, context: Context, now_ns: int) -> None:
        if not self._shared.deadlines.armed((TimerKind.SEND, context.number)):
            self._restart_send(context, now_ns)

    def _restart_send(self, context: Context, now_ns: int) -> None:
        # Up to a tenth more than the peer was told: its last Keepalive may be as late as that.
        timeout_ns = self._shared.settings.send_timeout_ns
        later_ns = self._shared.rng.randrange(0, timeout_ns // 10 + 1)
        self._shared.deadlines.arm((TimerKind.SEND, context.number), now_ns + timeout_ns + later_ns)
        context.reap.doubts = 0
        self._arm_doubt(context, now_ns)

    def _arm_doubt(self, context: Context, now_ns: int) -> None:
        """Long before the Send Timeout a transport may know that it is not heard (RFC 5534 §3.3)."""
        if self._shared.settings.ask_transports_ns:
            later_ns = self._shared.settings.ask_transports_ns << context.reap.doubts
            self._shared.deadlines.arm((TimerKind.DOUBT, context.number), now_ns + later_ns)

    def _doubt(self, context: Context, now_ns: int) -> None:
        if not self._shared.deadlines.armed((TimerKind.SEND, context.number)):
            return
        self._shared.doubtful.add(context.key.ulids)
        context.reap.doubts += 1
        self._arm_doubt(context, now_ns)

    def _stop_send(self, context: Context, now_ns: int) -> None:
        self._shared.deadlines.cancel((TimerKind.SEND, context.number))
        self._shared.deadlines.cancel((TimerKind.DOUBT, context.number))

    def _start_keepalive(self, context: Context, now_ns: int) -> None:
        """Start the timer and the interval at which Keepalives go out while it runs.

        The interval is just below half of the timeout, which ends with the second one: two Keepalives when a
        conversation falls silent (RFC 5534 §9), and one of them may get lost.
        """
        if self._shared.deadlines.armed((TimerKind.KEEPALIVE, context.number)):
            return
        half_ns = context.reap.keepalive_timeout_ns // 2
        interval_ns = half_ns - self._shared.rng.randrange(0, half_ns // 10 + 1)
        self._shared.deadlines.arm((TimerKind.KEEPALIVE_INTERVAL, context.number), now_ns + interval_ns)
        self._shared.deadlines.arm((TimerKind.KEEPALIVE, context.number), now_ns + 2 * interval_ns)

    def _stop_keepalive(self, context: Context, now_ns: int) -> None:
        self._shared.deadlines.cancel((TimerKind.KEEPALIVE, context.number))
        self._shared.deadlines.cancel((TimerKind.KEEPALIVE_INTERVAL, context.number))

    def _send_keepalive(self, context: Context, now_ns: int) -> None:
        if context.tag_peer is not None:
            context.used_pair(context.pair, now_ns)
            self._shared.send(context.pair, Keepalive(context.tag_peer))

    def _note_stall(self, context: Context) -> None:
        self._shared.touch(context)
        if context.reap.stalled_ns is None and context.reap.heard_ns >= 0:
            context.reap.stalled_ns = context.reap.heard_ns

    def _forget_reports(self, context: Context, now_ns: int) -> None:
        """Begin with empty lists: what was sent and received before says nothing of this exploration.

        The probe that started it is kept (RFC 5534 App. A, example 5, where it is reported later).
        """
        context.reap.sent.clear()
        context.reap.received.clear()
        context.reap.settled_ns = None
        if self._probe is not None:
            back, probe = self._probe
            record_probe(context, back.peer, back.local, probe)

    def _still_asks(self, context: Context, probe: Probe) -> bool:
        """Tell whether a search for a better pair goes on after a probe, which knows nothing of it yet."""
        exploration = self.explorer.group_of(context).exploration
        if exploration is None or exploration.cause is not Cause.PREFERENCE:
            return False
        return not reports_any(context, probe)

    def _note_choice(self, context: Context, pair: Pair, now_ns: int) -> None:
        """The peer settled on `pair`: if that is another than before, it may work in this direction again."""
        before, context.reap.chosen = context.reap.chosen, pair
        if before not in (None, pair) and context.pair != pair:
            self.returner.hurry_pair(context, pair, now_ns)

    def _renew_reports(self, context: Context, now_ns: int) -> None:
        """Drop reports that nobody asks for any more, so that a probe of a new search is reported alone.

        A peer that hears this host and looks for a better pair never makes it leave Operational.
        """
        reap, lifetime_ns = context.reap, self._shared.settings.report_lifetime_ns
        if reap.state is not ReapState.OPERATIONAL:
            return
        if reap.settled_ns is None or now_ns - reap.settled_ns > lifetime_ns:
            reap.received.clear()
            reap.settled_ns = now_ns

    def _explore(self, context: Context, now_ns: int) -> None:
        self._note_stall(context)
        self.explorer.begin(context, self._cause, now_ns)

    def _join(self, context: Context, now_ns: int) -> None:
        assert self._probe is not None
        self._note_stall(context)
        self.explorer.begin(context, Cause.PEER_EXPLORES, now_ns, first=self._probe[0])

    def _answer(self, context: Context, now_ns: int) -> None:
        """Answer a probe: an Exploring one the way it came, others on the current pair.

        Who explores has an own search, so where nothing leads back on that way, that finds another.
        """
        assert self._probe is not None
        back, probe = self._probe
        exploring = probe.state == ReachabilityState.EXPLORING
        if exploring or not is_usable(context, context.pair, self._shared.addresses):
            self.explorer.answer(context, back, now_ns)
        else:
            self.explorer.answer(context, None, now_ns)

    def _choose_pair(self, context: Context, now_ns: int) -> None:
        """Take the pair from the peer's reports (RFC 5534 §6.8); without one the current pair stays."""
        assert self._probe is not None
        answers, foreign = believe_reports(context, self._probe[1], self._shared.addresses, now_ns)
        self._shared.counters[Shim6Counter.FORGED_REPORT] += foreign
        if not answers:
            return
        group = self.explorer.group_of(context)
        for answer in answers:
            record = group.record(answer.pair)
            record.answered_ns, record.delay_ns = now_ns, answer.delay_ns
            context.local.note_accepted(answer.pair.local)
            locator = context.peer.get(answer.pair.peer)
            if locator is not None:
                locator.probed = True
        exploration = group.exploration
        cause = exploration.cause if exploration is not None else Cause.SEND_TIMEOUT
        order = exploration.order if exploration is not None else []
        situation = self.explorer.situation(context, cause, now_ns)
        self._move(context, self.explorer.policy.choose(situation, answers, order), now_ns)

    def _finish(self, context: Context, now_ns: int) -> None:
        context.reap.settled_ns = now_ns
        exploration = self.explorer.group_of(context).exploration
        others = self.explorer.finish(context, now_ns)
        self._adopt(others, context.pair, now_ns)
        if exploration is not None and exploration.leader is context:
            self._judge.judge(context, exploration, now_ns)
        self.on_moved(context, now_ns)
        self.returner.consider(context, now_ns)

    def _adopt(self, others: list[Context], pair: Pair, now_ns: int) -> None:
        for other in others:
            self._settle(other, pair, now_ns)
            self.on_moved(other, now_ns)

    def _settle(self, context: Context, pair: Pair, now_ns: int) -> None:
        """Be operational on a pair that is known to work; Keepalives that the peer waits for stay due."""
        self._stop_send(context, now_ns)
        context.reap.state = ReapState.OPERATIONAL
        context.reap.settled_ns = now_ns
        locator = context.peer.get(pair.peer)
        if locator is not None:
            locator.probed = True
        self._move(context, pair, now_ns)

    def _move(self, context: Context, pair: Pair, now_ns: int) -> None:
        old = context.pair
        self._shared.touch(context)
        if pair != old:
            context.used_pair(old, now_ns)  # answers to what just left on it may still come
            context.pair = pair
            context.reap.moved_ns = now_ns
            self._shared.count(Shim6Counter.PATH_CHANGED)
            self._shared.events.append(PathChanged(*context.key, *old, *pair))
        self._shared.publish(context)
