"""Several subflows between the same two addresses, on different ports: for networks that balance by flow."""

from collections.abc import Sequence

from mpcore.actions import Action, Role
from mpcore.policy.base import ConnectionView, PathManager, SubflowView, open_pair


class NDiffPorts(PathManager):
    """Keeps `subflows` subflows between the addresses of the first one; only the client joins.

    Args:
        subflows: how many there shall be, the first included
    """

    name = "ndiffports"

    def __init__(self, subflows: int = 2) -> None:
        self.subflows = subflows

    def on_established(self, view: ConnectionView) -> Sequence[Action]:
        """Join until there are enough."""
        local = next((each for each in view.local_addresses if each.address_id == 0), None)
        remote = next((each for each in view.remote_addresses if each.address_id == 0), None)
        if view.role is Role.SERVER or local is None or remote is None:
            return ()
        lacking = min(self.subflows - len(view.subflows), view.room)
        return [open_pair(local, remote)] * max(lacking, 0)

    def on_subflow_closed(self, view: ConnectionView, subflow: SubflowView) -> Sequence[Action]:
        """Replace a subflow that ended, by another port."""
        return self.on_established(view)

    def on_paths_changed(self, view: ConnectionView) -> Sequence[Action]:
        """Join what could not be joined before."""
        return self.on_established(view)
