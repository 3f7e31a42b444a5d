"""What the daemon's dealings with the kernel cost: system calls, messages, packets that did not leave."""

from collections.abc import Iterable, Mapping

from mpcore.counters import Counter

_QUEUE = {
    "receive_calls": Counter.QUEUE_READS,
    "send_calls": Counter.QUEUE_WRITES,
    "verdict_messages": Counter.QUEUE_MESSAGES,
    "malformed": Counter.QUEUE_MALFORMED,
    "refused": Counter.QUEUE_REFUSED,
    "stale": Counter.QUEUE_STALE,
    "overruns": Counter.QUEUE_OVERRUN,
    "oversize": Counter.QUEUE_OVERSIZE,
    "send_failures": Counter.QUEUE_SEND_FAILED,
}
_RAW = {
    "calls": Counter.RAW_WRITES,
    "sent": Counter.RAW_SENT,
    "sent_bytes": Counter.RAW_SENT_BYTES,
    "malformed": Counter.RAW_MALFORMED,
    "full": Counter.RAW_FULL,
    "refused": Counter.RAW_REFUSED,
    "unreachable": Counter.RAW_UNREACHABLE,
    "too_big": Counter.RAW_TOO_BIG,
    "failed": Counter.RAW_FAILED,
}


def costs(
    queues: Iterable[Mapping[str, int]], senders: Iterable[Mapping[str, int]], wakeups: int
) -> dict[str, int]:
    """Return counters by MIB name.

    Args:
        queues: `stats()` of each packet queue
        senders: `stats()` of raw sockets, or sums of them
        wakeups: how often the loop has waited
    """
    counted = {Counter.LOOP_WAKEUPS.mib: wakeups}
    for names, sources in ((_QUEUE, list(queues)), (_RAW, list(senders))):
        for name, counter in names.items():
            counted[counter.mib] = sum(source.get(name, 0) for source in sources)
    return counted
