"""Connections by what names them: the tokens of their two keys."""

from dataclasses import dataclass, field

from mpcore.analysis.data import FULL_64
from mpcore.analysis.model import Connection
from mpcore.mptcp import secrets


@dataclass(slots=True)
class Registry:
    """All connections of a capture."""

    connections: list[Connection] = field(default_factory=list)
    _by_token: dict[int, tuple[Connection, int]] = field(default_factory=dict)  # and whose token it is

    def create(self, time_ns: int) -> Connection:
        """Return a new connection."""
        connection = Connection(len(self.connections) + 1, time_ns)
        self.connections.append(connection)
        return connection

    def find(self, token: int) -> tuple[Connection, int] | None:
        """Return the connection that a token names, and the direction from the host that uses it."""
        found = self._by_token.get(token)
        return None if found is None else (found[0], found[1] ^ 1)

    def find_key(self, version: int, key: int) -> tuple[Connection, int] | None:
        """Return as `find` does, by the key that the token comes from."""
        return self.find(secrets.token(version, key))

    def join(self, token: int, time_ns: int) -> tuple[Connection, int]:
        """Return as `find` does; a connection without its first subflow where the token is new."""
        found = self.find(token)
        if found is None:
            connection = self.create(time_ns)
            connection.directions[1].token = token
            self._by_token[token] = (connection, 1)
            found = connection, 0
        return found

    def learn(self, connection: Connection, number: int, key: int) -> None:
        """Take the key of direction `number`, and what comes from it (RFC 8684 §3.1)."""
        direction = connection.directions[number]
        if direction.key is not None:
            return
        direction.key = key
        direction.token = secrets.token(connection.version, key)
        if direction.first is None:
            direction.first = (secrets.initial_data_seq(connection.version, key) + 1) % FULL_64
        self._by_token.setdefault(direction.token, (connection, number))
