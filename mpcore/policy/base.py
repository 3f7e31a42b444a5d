"""What a path manager is: decisions on subflows and addresses, and nothing else.

A path manager sees a read-only view of one connection and returns actions; the control core checks each
against RFC 8684 and the limits, and leaves out what they forbid. One path manager serves all connections, so
it keeps no state of its own about them. To write one: subclass PathManager, override the `on_*` that matter,
and give an instance to `mpcore.endpoint.Endpoint`.
"""

from collections.abc import Iterator, Sequence

from mpcore.actions import Action, CloseSubflow, OpenSubflow, Role, WithdrawAddress
from mpcore.value import value


@value
class LocalAddress:
    """An address of this host that takes part; id 0 is that of the first subflow (RFC 8684 §3.2)."""

    address: bytes
    address_id: int
    interface: str
    backup: bool = False


@value
class RemoteAddress:
    """An address that the peer accepts joins at."""

    address: bytes
    address_id: int
    port: int


@value
class SubflowView:
    """A subflow, or a join under way; the latter has `path_index` None."""

    path_index: int | None
    local: bytes
    remote: bytes
    local_port: int | None
    remote_port: int
    local_id: int
    remote_id: int
    backup: bool


@value
class ConnectionView:
    """One connection as a path manager sees it.

    `remote_addresses` begins with the peer's first address, unless the peer takes no joins there
    (RFC 8684 §3.1, flag C). `room` is how many more subflows the limits allow. `deserted` are local addresses
    that the peer joined before and lost, which may be announced again now (RFC 8684 §3.4.1).
    """

    role: Role
    token: int
    local_addresses: tuple[LocalAddress, ...]
    remote_addresses: tuple[RemoteAddress, ...]
    subflows: tuple[SubflowView, ...]
    max_subflows: int
    room: int
    deserted: tuple[LocalAddress, ...] = ()

    def joined(self, local: bytes, remote: bytes) -> bool:
        """Tell whether a subflow between two addresses exists or is being joined."""
        return any(subflow.local == local and subflow.remote == remote for subflow in self.subflows)


class PathManager:
    """Opens nothing and announces nothing; takes back what an address that went has carried."""

    name = "none"

    def on_established(self, view: ConnectionView) -> Sequence[Action]:
        """Decide once the peer has shown that it holds both keys: joins are allowed from here on."""
        return ()

    def on_address_added(self, view: ConnectionView, address: LocalAddress) -> Sequence[Action]:
        """Decide on a new address of this host."""
        return ()

    def on_address_removed(self, view: ConnectionView, address: LocalAddress) -> Sequence[Action]:
        """Decide on an address that this host lost; the view no longer has it.

        RFC 8684 §3.4.2: the peer should be told, and the subflows of the address be reset.
        """
        dead = [subflow for subflow in view.subflows if subflow.local == address.address]
        closing = [CloseSubflow(each.path_index, 0) for each in dead if each.path_index is not None]
        return (*closing, WithdrawAddress(address.address_id))

    def on_address_announced(self, view: ConnectionView, address: RemoteAddress) -> Sequence[Action]:
        """Decide on an address that the peer announced, or announced again to be tried again."""
        return ()

    def on_address_withdrawn(self, view: ConnectionView, address_id: int) -> Sequence[Action]:
        """Decide on an address that the peer withdrew; its subflows are being closed already."""
        return ()

    def on_subflow_closed(self, view: ConnectionView, subflow: SubflowView) -> Sequence[Action]:
        """Decide on the end of a subflow; the view no longer has it."""
        return ()

    def on_paths_changed(self, view: ConnectionView) -> Sequence[Action]:
        """Decide anew: routes have changed, or a path that failed may be tried again."""
        return ()


def distinct_locals(view: ConnectionView) -> Iterator[LocalAddress]:
    """Yield the local addresses that are paths of their own, those of the first subflow's family first.

    An interface takes part in that family where it can: the other one would only be the same path once more,
    and the host's super-packets cannot cross to it.
    """
    family = next((len(each.address) for each in view.remote_addresses if each.address_id == 0), 0)
    same = [each for each in view.local_addresses if len(each.address) == family]
    yield from same
    served = {each.interface for each in same}
    for local in view.local_addresses:
        if len(local.address) != family and local.interface not in served:
            yield local


def missing_pairs(view: ConnectionView) -> Iterator[tuple[LocalAddress, RemoteAddress]]:
    """Yield pairs of one family that no subflow uses (RFC 8684 §3.2: no duplicate subflows on a path)."""
    taken = {(each.local, each.remote) for each in view.subflows}
    for local in distinct_locals(view):
        for remote in view.remote_addresses:
            if len(local.address) == len(remote.address) and (local.address, remote.address) not in taken:
                yield local, remote


def open_pair(local: LocalAddress, remote: RemoteAddress, backup: bool | None = None) -> OpenSubflow:
    """Return the action that joins a pair, as backup when the local address is one or `backup` says so."""
    return OpenSubflow(
        local=local.address,
        remote=remote.address,
        remote_port=remote.port,
        local_id=local.address_id,
        remote_id=remote.address_id,
        backup=local.backup if backup is None else backup,
    )
