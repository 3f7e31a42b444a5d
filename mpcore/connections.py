"""The endpoint's record of its connections: by handle, by token, by the ports of their subflows."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from mpcore.actions import OpenConnection, SubflowReady
from mpcore.mptcp.control import ConnectionControl
from mpcore.store.deadlines import Deadlines

FIRST_PATH = 0


@dataclass(slots=True)
class Connection:
    """One connection: the engine's handle, how it came about, its control core.

    `subflows` are the joined ones by path index; the first subflow is `opened`'s. `fallback` says why the
    connection is plain TCP, None while it is multipath.
    """

    handle: int
    opened: OpenConnection
    control: ConnectionControl
    subflows: dict[int, SubflowReady] = field(default_factory=dict)
    fallback: str | None = None
    first_alive: bool = True

    @property
    def token(self) -> int:
        """Local token."""
        return self.control.token

    def paths_from(self, address: bytes) -> list[int]:
        """Return the path indices that use a local address."""
        found = [index for index, ready in self.subflows.items() if ready.local == address]
        return [FIRST_PATH, *found] if self.first_alive and self.opened.local == address else found

    def remove_path(self, path_index: int) -> tuple[bytes, bytes, int, int, bool]:
        """Forget a path; return its local and remote address, their ids, and whether it was a backup."""
        if path_index == FIRST_PATH:
            self.first_alive = False
            return self.opened.local, self.opened.remote, 0, 0, False
        ready = self.subflows.pop(path_index)
        return ready.local, ready.remote, ready.local_id, ready.remote_id, ready.backup


class ConnectionTable:
    """All connections of an endpoint, and when each control core wants to be woken."""

    def __init__(self) -> None:
        self.deadlines: Deadlines[int] = Deadlines()
        self._by_handle: dict[int, Connection] = {}
        self._by_token: dict[int, Connection] = {}

    def __len__(self) -> int:
        return len(self._by_handle)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._by_handle.values()))

    def add(self, connection: Connection) -> None:
        """Take a connection in."""
        self._by_handle[connection.handle] = connection
        self._by_token[connection.token] = connection

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        self.deadlines.cancel(connection.handle)
        self._by_handle.pop(connection.handle, None)
        self._by_token.pop(connection.token, None)

    def add_path(self, connection: Connection, path_index: int, ready: SubflowReady) -> None:
        """Note a joined subflow."""
        connection.subflows[path_index] = ready

    def arm(self, connection: Connection) -> None:
        """Set the wake-up of a connection's control core as it wishes."""
        when_ns = connection.control.poll_timeout()
        if when_ns is None:
            self.deadlines.cancel(connection.handle)
        elif connection.handle in self._by_handle:
            self.deadlines.arm(connection.handle, when_ns)

    def by_handle(self, handle: int) -> Connection | None:
        """Return a connection by the engine's handle."""
        return self._by_handle.get(handle)

    def by_token(self, token: int) -> Connection | None:
        """Return a connection by its local token."""
        return self._by_token.get(token)

    def has_token(self, token: int) -> bool:
        """Tell whether a local token is taken."""
        return token in self._by_token
