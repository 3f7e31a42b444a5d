"""The control plane of one established connection: its addresses, its path manager, the rules between them.

The endpoint tells what happened (`handle_*`) and applies the effects that come back, in their order. Actions
of the path manager that RFC 8684 or the limits forbid are left out; the same actions asked for by `apply`, as
an operator does, raise LocalProtocolError instead. Nothing is asked of the path manager before `confirm`
(RFC 8684 §3.2: no join before the first DSS) or after `handle_fallback`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from mpcore.actions import (
    Action,
    AdvertiseAddress,
    CheckSubflow,
    CloseSubflow,
    JoinFailed,
    OpenConnection,
    OpenSubflow,
    Role,
    SendOptions,
    SetBackup,
    SetPriority,
    StartJoin,
    SubflowReady,
    WithdrawAddress,
)
from mpcore.config import MptcpConfig
from mpcore.counters import COUNTER_COUNT, Counter
from mpcore.errors import LocalProtocolError
from mpcore.events import AddressAnnounced, AddressRemoved, PriorityChanged
from mpcore.mptcp import keys
from mpcore.mptcp.failures import FailedPaths, Path
from mpcore.mptcp.join import JoinContext
from mpcore.mptcp.path_mgmt import AddressBook
from mpcore.policy.base import ConnectionView, LocalAddress, PathManager, RemoteAddress, SubflowView
from mpcore.wire.values import AddAddr, MpPrio, MptcpOption, RemoveAddr, emit_option

ControlEffect = (
    StartJoin
    | SendOptions
    | CloseSubflow
    | CheckSubflow
    | SetBackup
    | AddressAnnounced
    | AddressRemoved
    | PriorityChanged
)

FIRST_PATH = 0
NewsT = TypeVar("NewsT")


class ConnectionControl:
    """Keys, address book and path manager of one connection.

    Args:
        connection: the outcome of its handshake; its subflow has path index 0
        config: `max_subflows` and `add_addr_timeout_ns`
        manager: the path manager
        counts: one integer a `Counter`, which this object raises
        reachable: tells whether packets from a local to a remote address leave by the local one's interface
    """

    __slots__ = (
        "_active",
        "_answered",
        "_asked",
        "_config",
        "_connection",
        "_established",
        "_failed",
        "_joining",
        "_manager",
        "_reachable",
        "_served",
        "_strayed",
        "_subflows",
        "book",
        "counts",
        "token",
    )

    def __init__(
        self,
        connection: OpenConnection,
        config: MptcpConfig,
        manager: PathManager,
        counts: list[int] | None = None,
        reachable: Callable[[bytes, bytes], bool] = lambda local, remote: True,
    ) -> None:
        self._reachable = reachable
        self.token = keys.token(connection.key_local)
        self.counts = counts if counts is not None else [0] * COUNTER_COUNT
        self._connection = connection
        self._config = config
        self._manager = manager
        self.book = AddressBook(
            connection.key_local,
            connection.key_remote,
            connection.local,
            connection.remote,
            connection.remote_port,
            timeout_ns=config.add_addr_timeout_ns,
            counts=self.counts,
        )
        self._subflows = {FIRST_PATH: _first_subflow(connection)}
        self._joining: tuple[OpenSubflow, ...] = ()
        self._failed = FailedPaths()
        # what this host has connected to, or the peer from at first
        self._answered = frozenset({(connection.remote, connection.remote_port)})
        self._served: frozenset[bytes] = frozenset()  # local addresses that the peer joined or connected to
        if connection.role is Role.SERVER:
            self._served |= {connection.local}
        self._strayed: frozenset[int] = frozenset()  # subflows whose interface leads to the peer no more
        self._established = False
        self._asked = False
        self._active = True

    @property
    def view(self) -> ConnectionView:
        """The connection as its path manager sees it."""
        return ConnectionView(
            role=self._connection.role,
            token=self.token,
            local_addresses=self.book.local_addresses,
            remote_addresses=self._joinable(),
            subflows=(*self._subflows.values(), *map(_joining_view, self._joining)),
            max_subflows=self._config.max_subflows,
            room=self._room - len(self._joining),
            deserted=self._deserted(),
        )

    def _deserted(self) -> tuple[LocalAddress, ...]:
        """Return the addresses that the peer is to be reminded of now."""
        if not self._served:
            return ()
        return tuple(each for each in self.book.local_addresses if self._failed.is_open(_door(each.address)))

    def join_context(self) -> JoinContext:
        """Return what `Joins` needs to know of this connection."""
        return JoinContext(
            token=self.token,
            key_local=self._connection.key_local,
            key_remote=self._connection.key_remote,
            wscale=self._connection.wscale_local,
            accepts=self._established and self._active,
            room=self._room,
            local_id=self.book.local_id,
            local_port=self._connection.local_port,
            remote_port=self._connection.remote_port,
            backup_addresses=frozenset([each.address for each in self.book.local_addresses if each.backup]),
            ecn=self._connection.ecn_wanted,
        )

    # What happened

    def confirm(self) -> None:
        """The peer has shown that it holds both keys (RFC 8684 §3.1): its joins are taken from here on."""
        self._established = True

    def handle_established(self, now_ns: int) -> list[ControlEffect]:
        """Make the paths that a new connection is to have; the peer holds both keys (`confirm`)."""
        self.confirm()
        if self._asked or not self._active:
            return []
        self._asked = True
        return self._apply_all(self._manager.on_established(self.view), now_ns)

    def handle_fallback(self) -> None:
        """The connection is plain TCP, or closing: no joins and no addresses any more (RFC 8684 §3.7)."""
        self._active = False
        self.book.forget_announcements()

    def handle_option(self, path_index: int, option: MptcpOption, now_ns: int) -> list[ControlEffect]:
        """Take ADD_ADDR, REMOVE_ADDR or MP_PRIO of a segment that passed TCP's checks; ignore others."""
        subflow = self._subflows.get(path_index)
        if subflow is None or not self._active:
            return []
        match option:
            case AddAddr(echo=True):
                return [SendOptions(None, each) for each in self.book.handle_echo(option, now_ns)]
            case AddAddr():
                return self._handle_announcement(subflow, option, now_ns)
            case RemoveAddr():
                return self._handle_removal(option, now_ns)
            case MpPrio(backup=backup):
                # RFC 8684 §3.3.8: it concerns the subflow that carries it, and what is sent to its sender.
                self._count(Counter.PRIO_RX)
                return [SetBackup(path_index, backup, True), PriorityChanged(self.token, path_index, backup)]
        return []

    def handle_subflow_ready(self, path_index: int, ready: SubflowReady, now_ns: int) -> None:
        """A joined subflow got its path index."""
        if ready.hmac is not None:
            self._end_join(ready.local, ready.remote, ready.remote_port)
            self._failed.worked((ready.local, ready.remote, ready.remote_port), now_ns)
            self._answered |= {(ready.remote, ready.remote_port)}
        else:
            self.book.learn(ready.remote_id)
            self.book.expose(ready.local_id)
            self._served |= {ready.local}
            self._failed.worked(_door(ready.local), now_ns)
        self._subflows[path_index] = _view_of(path_index, ready)

    def handle_subflow_refused(self, ready: SubflowReady) -> None:
        """A joined subflow found no place here; its path may be tried again."""
        if ready.hmac is not None:
            self._end_join(ready.local, ready.remote, ready.remote_port)

    def handle_join_failed(self, failed: JoinFailed, now_ns: int) -> None:
        """A join came to nothing; unless its cause may pass, its path is not tried again (RFC 8684 §3.9.3).

        An address that has answered before may do so again: what keeps silent then is the path.
        """
        action = failed.action
        self._end_join(action.local, action.remote, action.remote_port)
        passing = failed.transient or (
            failed.unanswered and (action.remote, action.remote_port) in self._answered
        )
        self._failed.note(_path_of(action), now_ns, for_good=not passing)

    def handle_subflow_closed(
        self, path_index: int, now_ns: int, *, failed: bool = False, for_good: bool = False
    ) -> list[ControlEffect]:
        """A subflow ended; `failed`: peer or path gave it up, perhaps `for_good` (RFC 8684 §3.6, flag T)."""
        subflow = self._subflows.pop(path_index, None)
        if subflow is None:
            return []
        self._strayed -= {path_index}
        if failed and (subflow.remote, subflow.remote_port) in self._answered:
            self._failed.note((subflow.local, subflow.remote, subflow.remote_port), now_ns, for_good=for_good)
        if (failed and not for_good) or self.book.find_local(subflow.local) is None:
            self._note_deserted(subflow.local, now_ns)
        return self._ask(self._manager.on_subflow_closed, subflow, now_ns)

    def _note_deserted(self, local: bytes, now_ns: int) -> None:
        """Have the peer reminded of an address that it has joined before, unless it comes by itself."""
        if local in self._served and all(each.local != local for each in self._subflows.values()):
            self._failed.note(_door(local), now_ns, for_good=False)

    def add_local_address(
        self, address: bytes, interface: str, now_ns: int, *, backup: bool = False
    ) -> list[ControlEffect]:
        """An address of this host takes part from now on."""
        known = self.book.find_local(address) is not None
        added = self.book.add_local(address, interface, backup)
        if added is None:
            return []
        # News of an address is a reason to try its paths again.
        self._failed.forget(lambda path: path[0] == address)
        return [] if known else self._ask(self._manager.on_address_added, added, now_ns)

    def remove_local_address(self, address: bytes, now_ns: int) -> list[ControlEffect]:
        """An address of this host is gone."""
        removed = self.book.remove_local(address)
        if removed is None:
            return []
        return self._ask(self._manager.on_address_removed, removed, now_ns)

    def handle_routes(self, now_ns: int, *, new_router: bool = False) -> list[ControlEffect]:
        """Routes have changed: leave the paths that have lost theirs, and join those that have one now.

        With a `new_router` those that failed may work too.
        """
        if new_router:
            self._failed.hurry()
        checks = self._stray() if len(self._subflows) > 1 else []
        return [*checks, *self._ask_anew(now_ns)]

    def _stray(self) -> list[ControlEffect]:
        """Return a check of each subflow that has lost its way, or has it back, since the last time."""
        before = self._strayed
        self._strayed = frozenset(
            index for index, each in self._subflows.items() if not self._reachable(each.local, each.remote)
        )
        changed = (before ^ self._strayed) & self._subflows.keys()
        return [CheckSubflow(index, lost=index in self._strayed) for index in sorted(changed)]

    def poll_timeout(self) -> int | None:
        """Return when an announcement is due to be repeated, or a path to be tried again."""
        if not self._active:
            return None
        due = (self.book.poll_timeout(), self._failed.poll_timeout())
        return min((each for each in due if each is not None), default=None)

    def handle_timeout(self, now_ns: int) -> list[ControlEffect]:
        """Repeat announcements that were not echoed, and try paths again whose pause is over."""
        effects: list[ControlEffect] = [
            SendOptions(None, option) for option in self.book.handle_timeout(now_ns)
        ]
        if self._failed.take_due(now_ns):
            effects += self._ask_anew(now_ns)
        return effects

    # What is wanted

    def apply(self, action: Action, now_ns: int) -> list[ControlEffect]:
        """Return the effects of an action.

        Raises:
            LocalProtocolError: RFC 8684 or the limits forbid it now
        """
        problem = self._problem(action, now_ns)
        if problem is not None:
            raise LocalProtocolError(problem)
        match action:
            case OpenSubflow():
                self._joining = (*self._joining, action)
                self.book.expose(action.local_id)
                return [StartJoin(self.token, action)]
            case AdvertiseAddress(address, address_id, port):
                option = self.book.announce(address, address_id, port, now_ns)
                self._note_deserted(address, now_ns)
                return [] if option is None else [SendOptions(None, option)]
            case WithdrawAddress(address_id):
                option = self.book.withdraw(address_id)
                return [] if option is None else [SendOptions(None, option)]
            case CloseSubflow():
                return [action]
            case SetPriority(path_index, backup):
                return self._set_priority(path_index, backup)

    def _set_priority(self, path_index: int, backup: bool) -> list[ControlEffect]:
        self._subflows[path_index] = replace(self._subflows[path_index], backup=backup)
        self._count(Counter.PRIO_TX)
        return [SendOptions(path_index, emit_option(MpPrio(backup))), SetBackup(path_index, backup, False)]

    def _ask(
        self, decide: Callable[[ConnectionView, NewsT], Sequence[Action]], news: NewsT, now_ns: int
    ) -> list[ControlEffect]:
        """Ask the path manager about `news`, unless it is too early or too late for it."""
        if not (self._established and self._active):
            return []
        return self._apply_all(decide(self.view, news), now_ns)

    def _ask_anew(self, now_ns: int) -> list[ControlEffect]:
        """Ask the path manager what can be made of the paths as they are now."""
        if not (self._established and self._active):
            return []
        return self._apply_all(self._manager.on_paths_changed(self.view), now_ns)

    def _apply_all(self, actions: Sequence[Action], now_ns: int) -> list[ControlEffect]:
        effects: list[ControlEffect] = []
        for action in actions:
            if self._problem(action, now_ns) is None:
                effects.extend(self.apply(action, now_ns))
        return effects

    def _problem(self, action: Action, now_ns: int) -> str | None:
        """Return why an action is not possible now."""
        if not (self._established and self._active):
            return "the connection is not established, or has fallen back, or is closing"
        match action:
            case OpenSubflow():
                return self._join_problem(action, now_ns)
            case AdvertiseAddress(address, address_id):
                return self._id_problem(address, address_id)
            case CloseSubflow(path_index) | SetPriority(path_index):
                return None if path_index in self._subflows else f"there is no path {path_index}"
        return None

    def _join_problem(self, action: OpenSubflow, now_ns: int) -> str | None:
        if self._room <= len(self._joining):
            return "the connection has all the subflows that mptcp.max_subflows allows"
        if len(action.local) != len(action.remote):
            return "the addresses are of different families"
        if not self._takes_joins(RemoteAddress(action.remote, action.remote_id, action.remote_port)):
            return "the peer takes no joins at its first address and port (RFC 8684 §3.1, flag C)"
        if self._failed.blocks(_path_of(action), now_ns):
            return "this path failed: it has a pause, or waits for news of its address (RFC 8684 §3.9.3)"
        if not self._reachable(action.local, action.remote):
            return "no route leads from that address to the peer's by its own interface: no path of its own"
        return self._id_problem(action.local, action.local_id)

    def _id_problem(self, address: bytes, address_id: int) -> str | None:
        mine = self.book.local_id(address) == address_id
        return None if mine else f"address id {address_id} belongs to another address (RFC 8684 §3.2)"

    def _joinable(self) -> tuple[RemoteAddress, ...]:
        addresses = self.book.remote_addresses
        return tuple(filter(self._takes_joins, addresses)) if self._connection.peer_no_join else addresses

    def _takes_joins(self, address: RemoteAddress) -> bool:
        first = (self._connection.remote, self._connection.remote_port)
        return not (self._connection.peer_no_join and (address.address, address.port) == first)

    @property
    def _room(self) -> int:
        """Additional subflows still allowed, joins under way not counted."""
        extra = len(self._subflows) - (FIRST_PATH in self._subflows)
        return max(self._config.max_subflows - extra, 0)

    # The peer's addresses

    def _handle_announcement(self, subflow: SubflowView, option: AddAddr, now_ns: int) -> list[ControlEffect]:
        found = self.book.handle_announcement(option, subflow.remote_port, now_ns)
        if found is None:
            return []
        effects: list[ControlEffect] = [SendOptions(subflow.path_index, found.echo)]
        if not found.fresh:
            return effects
        address = found.address
        # RFC 8684 §3.4.1: a refresh asks for another attempt at an address that failed.
        self._failed.forget(lambda path: path[1:] == (address.address, address.port))
        event = AddressAnnounced(self.token, address.address, address.address_id, address.port)
        asked = self._ask(self._manager.on_address_announced, address, now_ns)
        return [*effects, event, *asked]

    def _handle_removal(self, option: RemoveAddr, now_ns: int) -> list[ControlEffect]:
        """RFC 8684 §3.4.2, as Linux does it: the paths are closed at once, without a keepalive first."""
        gone = self.book.handle_removal(option)
        if not gone:
            self._count(Counter.RM_ADDR_DROP)
        effects: list[ControlEffect] = []
        for address_id in gone:
            dead = [index for index, each in self._subflows.items() if each.remote_id == address_id]
            self.counts[Counter.RM_SUBFLOW] += len(dead)
            effects.extend(CloseSubflow(path_index, 0) for path_index in dead)
            effects.append(AddressRemoved(self.token, address_id))
            effects.extend(self._ask(self._manager.on_address_withdrawn, address_id, now_ns))
        return effects

    def _end_join(self, local: bytes, remote: bytes, remote_port: int) -> None:
        for index, each in enumerate(self._joining):
            if _path_of(each) == (local, remote, remote_port):
                self._joining = self._joining[:index] + self._joining[index + 1 :]
                return

    def _count(self, counter: Counter) -> None:
        self.counts[counter] += 1


def _path_of(action: OpenSubflow) -> Path:
    return action.local, action.remote, action.remote_port


def _door(local: bytes) -> Path:
    """Return what stands for the peer's joins at an address of this host, from wherever they come."""
    return local, b"", 0


def _first_subflow(connection: OpenConnection) -> SubflowView:
    return SubflowView(
        path_index=FIRST_PATH,
        local=connection.local,
        remote=connection.remote,
        local_port=connection.local_port,
        remote_port=connection.remote_port,
        local_id=0,
        remote_id=0,
        backup=False,
    )


def _joining_view(action: OpenSubflow) -> SubflowView:
    return SubflowView(
        path_index=None,
        local=action.local,
        remote=action.remote,
        local_port=action.local_port,
        remote_port=action.remote_port,
        local_id=action.local_id,
        remote_id=action.remote_id,
        backup=action.backup,
    )


def _view_of(path_index: int, ready: SubflowReady) -> SubflowView:
    return SubflowView(
        path_index=path_index,
        local=ready.local,
        remote=ready.remote,
        local_port=ready.local_port,
        remote_port=ready.remote_port,
        local_id=ready.local_id,
        remote_id=ready.remote_id,
        backup=ready.backup,
    )
