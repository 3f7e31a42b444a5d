"""A subflow for each pair of addresses: the client joins, the server announces."""

from collections.abc import Sequence

from mpcore.actions import Action, AdvertiseAddress, Role, WithdrawAddress
from mpcore.policy.base import (
    ConnectionView,
    LocalAddress,
    PathManager,
    RemoteAddress,
    SubflowView,
    distinct_locals,
    missing_pairs,
    open_pair,
)


class FullMesh(PathManager):
    """Joins every local address with every address of the peer, as far as there is room.

    Only the client side joins: servers are rarely able to reach a client behind a NAT (RFC 8684 §3.4), and
    two sides that both join would meet on the same paths. The server announces its other addresses instead.
    """

    name = "fullmesh"

    def on_established(self, view: ConnectionView) -> Sequence[Action]:
        """Join all pairs, or announce all addresses but the first subflow's."""
        if view.role is Role.CLIENT:
            return self._complete(view)
        return [_advertise(local) for local in distinct_locals(view) if local.address_id]

    def on_address_added(self, view: ConnectionView, address: LocalAddress) -> Sequence[Action]:
        """Use the new address, or announce it."""
        if view.role is Role.CLIENT:
            return self._complete(view)
        return [_advertise(address)] if address in distinct_locals(view) else []

    def on_address_announced(self, view: ConnectionView, address: RemoteAddress) -> Sequence[Action]:
        """Join the new address."""
        return self._complete(view)

    def on_subflow_closed(self, view: ConnectionView, subflow: SubflowView) -> Sequence[Action]:
        """Give the place to a pair that had none; the pair that failed waits for news or its time."""
        return self._complete(view, without=(subflow.local, subflow.remote))

    def on_paths_changed(self, view: ConnectionView) -> Sequence[Action]:
        """Join what could not be joined before, or have the peer do so.

        It is told of the loss once more: a peer that has not heard of it would take no new path for its own.
        """
        if view.role is Role.CLIENT:
            return self._complete(view)
        return [
            action
            for local in view.deserted
            for action in (WithdrawAddress(local.address_id), _advertise(local))
        ]

    def _complete(self, view: ConnectionView, without: tuple[bytes, bytes] | None = None) -> list[Action]:
        if view.role is Role.SERVER:
            return []
        pairs = [pair for pair in missing_pairs(view) if (pair[0].address, pair[1].address) != without]
        # More than there is room for: the core skips pairs that failed before, then stops at the limit.
        return [open_pair(local, remote, self._backup(local)) for local, remote in pairs]

    def _backup(self, local: LocalAddress) -> bool:
        return local.backup


def _advertise(local: LocalAddress) -> AdvertiseAddress:
    return AdvertiseAddress(local.address, local.address_id)
