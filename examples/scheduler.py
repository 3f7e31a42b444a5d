"""A scheduler of one's own: data waits for the link whose round trip is shorter, the other stays idle.

A scheduler is asked for each segment. Choosing a subflow without room is to wait for it; without a scheduler
the second link would carry what the first one has no room for.

    with lowest-rtt: both links carry data: True, all arrived: True
    with Patient: both links carry data: False, all arrived: True
"""

from random import Random

from mpcore.config import Config
from mpcore.endpoint import Endpoint
from mpcore.policy.scheduler import Scheduler, SubflowState
from mpcore.sim import LinkPlan, LinkSettings, run_transfer

MS = 1_000_000


class Patient(Scheduler):
    """Keeps to the shortest path, also while its window is full."""

    def choose(self, subflows: tuple[SubflowState, ...]) -> int:
        """Return the position of the subflow with the least round trip."""
        return min(range(len(subflows)), key=lambda position: subflows[position].min_rtt_ns)


def transfer(scheduler: Scheduler | None) -> str:
    """Move some bytes over a short and a long link."""

    def endpoint(rng: Random, now_ns: int) -> Endpoint:
        return Endpoint(Config(), rng=rng, now_ns=now_ns, scheduler=scheduler)

    result = run_transfer(
        [LinkPlan(settings=LinkSettings(rate_bps=20_000_000, delay_ns=delay)) for delay in (5 * MS, 50 * MS)],
        up_bytes=3_000_000,
        client_endpoint=endpoint,
        server_endpoint=endpoint,
    )
    both = min(result.links[link].delivered_bytes for link in ("link0>", "link1>")) > 100_000
    return f"both links carry data: {both}, all arrived: {result.ok}"


def main() -> None:
    """Run the same transfer with the scheduler that is the default, and with that one."""
    print(f"with lowest-rtt: {transfer(None)}")
    print(f"with Patient: {transfer(Patient())}")


if __name__ == "__main__":
    main()
