"""A path manager of one's own: the second link is joined only once the first one has gone.

A policy sees a read-only view of a connection and returns actions; the core checks them against RFC 8684.
An endpoint takes one as `manager`; `mpcore run` knows those that mptcp.path_manager names.

    joined while both links are there: 0
    joined after the first one is gone: 1, all data arrived: True
"""

from collections.abc import Sequence
from random import Random

from mpcore.actions import Action, Role
from mpcore.config import Config
from mpcore.endpoint import Endpoint
from mpcore.events import SubflowEstablished
from mpcore.policy.base import ConnectionView, LocalAddress, PathManager, missing_pairs, open_pair
from mpcore.sim import LinkPlan, LinkSettings, interface_down, run_transfer

GOES_NS = 600_000_000


class Spare(PathManager):
    """Keeps other addresses for the time when the one in use goes."""

    name = "spare"

    def on_address_removed(self, view: ConnectionView, address: LocalAddress) -> Sequence[Action]:
        """Join from what is left, then take back what the address has carried."""
        joins: list[Action] = []
        if view.role is Role.CLIENT:
            joins = [open_pair(*pair) for pair in list(missing_pairs(view))[:1]]
        return [*joins, *super().on_address_removed(view, address)]


def endpoint(rng: Random, now_ns: int) -> Endpoint:
    """Make an endpoint with that policy."""
    return Endpoint(Config(), rng=rng, now_ns=now_ns, manager=Spare())


def main() -> None:
    """Move some bytes while an interface goes."""
    link = LinkPlan(settings=LinkSettings(rate_bps=20_000_000, delay_ns=10_000_000))
    result = run_transfer(
        (link, link),
        up_bytes=3_000_000,
        client_endpoint=endpoint,
        server_endpoint=endpoint,
        script=[(GOES_NS, interface_down("client", "link0"))],
    )
    times = [when for when, event in result.events["client"] if isinstance(event, SubflowEstablished)]
    print(f"joined while both links are there: {sum(when < GOES_NS for when in times)}")
    print(f"joined after the first one is gone: {len(times)}, all data arrived: {result.ok}")


if __name__ == "__main__":
    main()
