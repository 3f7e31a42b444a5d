"""What a scheduler of one's own is: asked for each segment which subflow carries it.

It is for experiments: the data plane takes the GIL and makes a few objects for each segment, which the
schedulers that `mptcp.scheduler` names do not. To use one: subclass Scheduler and give an instance to
`mpcore.endpoint.Endpoint`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple


class SubflowState(NamedTuple):
    """A subflow at the moment when a segment is to be sent."""

    path_index: int  # within its connection, the same for as long as the subflow lives
    local: bytes  # address, 4 or 16 octets: it tells the interface
    remote: bytes
    srtt_ns: int  # smoothed round trip (RFC 6298 §2), 0 before the first sample
    min_rtt_ns: int  # the least one seen, 0 before the first sample
    cwnd: int  # congestion window in octets
    inflight: int  # octets sent, neither acknowledged nor presumed lost
    mss: int  # payload of a full segment in octets
    backup: bool  # RFC 8684 §3.3.8: all that are offered are backups, or none
    has_room: bool  # whether it may send now


class Scheduler:
    """Takes the first subflow that has room; override `choose`."""

    def choose(self, subflows: tuple[SubflowState, ...]) -> int:
        """Return the position in `subflows` of the one that is to carry the next segment.

        Args:
            subflows: those of a connection that may carry it, at least one of them with room; backups only
                when nothing else is left (RFC 8684 §3.3.8)

        To choose a subflow without room is to wait for it. An exception or a position that is none is counted
        as MpcoreExtSchedulerFault, and lowest-rtt decides. Nothing of the endpoint may be called from here.
        """
        return next(position for position, subflow in enumerate(subflows) if subflow.has_room)


def chooser(scheduler: Scheduler) -> Callable[[tuple[tuple[Any, ...], ...]], int]:
    """Return `scheduler` as `Engine.use_scheduler` takes it."""
    return lambda rows: scheduler.choose(tuple(map(SubflowState._make, rows)))
