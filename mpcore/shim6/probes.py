"""Probes as values: what one lists, and which reports of the peer can be believed (RFC 5534 §5.2, §6.1)."""

from mpcore.shim6.context import Context, SentProbe
from mpcore.shim6.locators import LocalAddresses, Pair
from mpcore.shim6.policy import Answer
from mpcore.shim6.reap_states import ReapInput, ReapState
from mpcore.shim6.tags import RandomSource
from mpcore.wire.shim6 import PROBES_MAX, Probe, ProbeEntry, ReachabilityState

WIRE_STATES = {
    ReapState.OPERATIONAL: ReachabilityState.OPERATIONAL,
    ReapState.EXPLORING: ReachabilityState.EXPLORING,
    ReapState.INBOUND_OK: ReachabilityState.INBOUND_OK,
}
INPUTS = {
    ReachabilityState.OPERATIONAL: ReapInput.PROBE_OPERATIONAL,
    ReachabilityState.EXPLORING: ReapInput.PROBE_EXPLORING,
    ReachabilityState.INBOUND_OK: ReapInput.PROBE_INBOUND_OK,
}


def make_probe(
    context: Context, pair: Pair, rng: RandomSource, now_ns: int, report_lifetime_ns: int
) -> Probe:
    """Return the next probe of a context on `pair`, and remember it.

    It lists itself first, then our probes that the peer has not reported, newest first, and reports all that
    came since the exploration began; some seconds after its end too, because the peer repeats its InboundOk
    until it has seen them. The context has a peer tag.
    """
    reap = context.reap
    entry = ProbeEntry(pair.local, pair.peer, rng.getrandbits(32))
    unreported = [probe.entry for probe in reversed(reap.sent) if probe.reported_ns is None]
    reap.sent.append(SentProbe(entry, now_ns))
    fresh = reap.settled_ns is None or now_ns - reap.settled_ns <= report_lifetime_ns
    received = tuple(reap.received) if fresh else ()
    tag = context.tag_peer
    assert tag is not None
    return Probe(tag, WIRE_STATES[reap.state], (entry, *unreported[: PROBES_MAX - 1]), received)


def record_probe(context: Context, source: bytes, destination: bytes, probe: Probe) -> bool:
    """Remember a probe of the peer for our reports; False when its addresses were changed on the way.

    What the IP header says is what counts: a report of the addresses that the peer believes it used would
    tell it that a pair works which does not exist here.
    """
    claimed = probe.sent[0]
    seen = ProbeEntry(source, destination, claimed.nonce, claimed.data)
    if seen not in context.reap.received:
        context.reap.received.append(seen)
    return seen == claimed


def believe_reports(
    context: Context, probe: Probe, addresses: LocalAddresses, now_ns: int
) -> tuple[list[Answer], int]:
    """Return the pairs on which our probes are known to have arrived, and the number of false reports.

    A report counts only with the nonce and the pair of a probe that this context sent in this exploration:
    otherwise a peer, or anybody who knows the tag, could send our traffic anywhere (RFC 5533 §7.2). A pair
    whose locators were withdrawn since is passed over.
    """
    sent = {(one.entry.source, one.entry.destination, one.entry.nonce): one for one in context.reap.sent}
    answers, foreign = [], 0
    for report in probe.received:
        mine = sent.get((report.source, report.destination, report.nonce))
        if mine is None:
            foreign += 1
            continue
        if mine.reported_ns is None:
            mine.reported_ns = now_ns
        if is_usable(context, mine.pair, addresses):
            answers.append(Answer(mine.pair, mine.reported_ns - mine.sent_ns))
    return answers, foreign


def reports_any(context: Context, probe: Probe) -> bool:
    """Tell whether a probe of the peer reports one of ours."""
    mine = {one.entry.nonce for one in context.reap.sent}
    return any(report.nonce in mine for report in probe.received)


def is_usable(context: Context, pair: Pair, addresses: LocalAddresses) -> bool:
    """Tell whether payload may take a pair, as far as this host and the peer's lists say."""
    locator = context.peer.get(pair.peer)
    return (
        locator is not None
        and not locator.broken
        and pair.local in context.local
        and addresses.usable(pair.local)
    )
