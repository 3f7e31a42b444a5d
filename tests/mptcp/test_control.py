"""The control core of a connection: between path manager, address book and joins (RFC 8684 §3.2-3.4)."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

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
from mpcore.counters import Counter
from mpcore.errors import LocalProtocolError
from mpcore.events import AddressAnnounced, AddressRemoved, PriorityChanged
from mpcore.mptcp import failures, keys
from mpcore.mptcp.control import ConnectionControl
from mpcore.policy.base import ConnectionView, LocalAddress, PathManager, RemoteAddress
from mpcore.policy.fullmesh import FullMesh
from mpcore.wire.values import AddAddr, Dss, MpPrio, RemoveAddr, parse_options

KEY_A, KEY_B = 11, 22
A0, A1, B0, B1 = (bytes([10, 0, net, host]) for net, host in ((0, 1), (1, 1), (0, 2), (1, 2)))
TOKEN = keys.token(KEY_A)


def connection(role: Role = Role.CLIENT, peer_no_join: bool = False) -> OpenConnection:
    return OpenConnection(
        role=role,
        version=4,
        local=A0,
        remote=B0,
        local_port=40000,
        remote_port=80,
        key_local=KEY_A,
        key_remote=KEY_B,
        isn_local=1,
        isn_remote=2,
        mss_local=1460,
        mss_remote=1460,
        wscale_local=7,
        wscale_remote=7,
        sack=True,
        timestamps=True,
        ts_local=1,
        ts_remote=2,
        window=65535,
        checksum=False,
        peer_no_join=peer_no_join,
    )


def control(
    role: Role = Role.CLIENT,
    manager: PathManager | None = None,
    peer_no_join: bool = False,
    established: bool = True,
    reachable: Callable[[bytes, bytes], bool] = lambda local, remote: True,
    **settings: Any,
) -> ConnectionControl:
    config = msgspec.structs.replace(MptcpConfig(), **settings)
    found = ConnectionControl(
        connection(role, peer_no_join), config, manager or FullMesh(), reachable=reachable
    )
    if established:
        found.handle_established(0)
    return found


def ready(action: OpenSubflow, initiator: bool = True) -> SubflowReady:
    return SubflowReady(
        token=TOKEN,
        version=4,
        local=action.local,
        remote=action.remote,
        local_port=61000,
        remote_port=action.remote_port,
        local_id=action.local_id,
        remote_id=action.remote_id,
        backup=action.backup,
        peer_backup=False,
        isn_local=1,
        isn_remote=2,
        mss_local=1460,
        mss_remote=1460,
        wscale_local=7,
        wscale_remote=7,
        sack=True,
        timestamps=True,
        ts_local=1,
        ts_remote=2,
        window=65535,
        hmac=bytes(20) if initiator else None,
    )


def announced(number: int, address: bytes, port: int | None = None) -> AddAddr:
    return AddAddr(number, address, port, hmac=keys.add_addr_hmac(KEY_B, KEY_A, number, address, port))


JOIN_A1_B0 = OpenSubflow(A1, B0, 80, 1, 0)
JOIN_A1_B1 = OpenSubflow(A1, B1, 80, 1, 1)
JOIN_A0_B1 = OpenSubflow(A0, B1, 80, 0, 1)


def test_nothing_is_joined_before_the_connection_is_established() -> None:
    """RFC 8684 §3.2: no MP_JOIN before the peer has shown both keys."""
    core = control(established=False)
    assert core.add_local_address(A1, "eth1", 0) == []
    assert not core.join_context().accepts
    assert core.handle_established(0) == [StartJoin(TOKEN, JOIN_A1_B0)]
    assert core.handle_established(0) == []
    assert core.join_context().accepts


def test_joins_of_the_peer_are_taken_before_own_ones_are_decided_on() -> None:
    """RFC 8684 §3.2: both keys are shown, whenever this host comes to its own paths."""
    core = control(established=False)
    core.add_local_address(A1, "eth1", 0)
    core.confirm()
    assert core.join_context().accepts
    assert core.handle_established(0) == [StartJoin(TOKEN, JOIN_A1_B0)]
    assert core.handle_established(0) == []


def test_new_local_address_is_joined() -> None:
    core = control()
    assert core.add_local_address(A0, "eth0", 0) == []
    assert core.add_local_address(A1, "eth1", 0) == [StartJoin(TOKEN, JOIN_A1_B0)]
    assert core.add_local_address(A1, "eth1", 0) == []


def test_announced_address_is_echoed_and_joined() -> None:
    """RFC 8684 §3.4.1."""
    core = control()
    echo, event, join = core.handle_option(0, announced(1, B1), 0)
    assert isinstance(echo, SendOptions)
    assert (echo.path_index, parse_options(echo.data)) == (0, (AddAddr(1, B1, echo=True),))
    assert event == AddressAnnounced(TOKEN, B1, 1, 80)
    assert join == StartJoin(TOKEN, JOIN_A0_B1)
    assert core.handle_option(0, announced(1, B1), 1) == [echo]
    assert core.handle_option(0, announced(2, bytes([127, 0, 0, 1])), 1) == []


def test_server_announces_and_repeats() -> None:
    """RFC 8684 §3.4.1."""
    core = control(Role.SERVER)
    (sent,) = core.add_local_address(A1, "eth1", 0)
    assert isinstance(sent, SendOptions)
    assert sent.path_index is None
    when = core.poll_timeout()
    assert when is not None
    assert core.handle_timeout(when) == [sent]
    core.handle_option(0, AddAddr(1, A1, echo=True), when)
    assert core.poll_timeout() is None


FIRST_PAUSE_NS, SECOND = failures.FIRST_PAUSE_NS, 1_000_000_000


def unanswered(action: OpenSubflow) -> JoinFailed:
    return JoinFailed(TOKEN, action, "no answer", unanswered=True)


def test_failed_join_is_not_tried_again_until_announced_again() -> None:
    """RFC 8684 §3.4.1, §3.9.3: no further attempt on that address and port, unless it is refreshed."""
    core = control()
    (*_, join) = core.handle_option(0, announced(1, B1), 0)
    assert join == StartJoin(TOKEN, JOIN_A0_B1)
    core.handle_join_failed(unanswered(JOIN_A0_B1), 0)
    assert core.poll_timeout() is None
    later = 1000 * SECOND
    with pytest.raises(LocalProtocolError, match="failed"):
        core.apply(JOIN_A0_B1, later)
    assert core.handle_option(0, announced(1, B1), later)[-1] == join


def test_new_local_address_clears_its_failures() -> None:
    core = control()
    core.add_local_address(A1, "eth1", 0)
    core.handle_join_failed(JoinFailed(TOKEN, JOIN_A1_B0, "refused by the peer"), 0)
    core.remove_local_address(A1, 0)
    assert core.add_local_address(A1, "eth1", 0) == [StartJoin(TOKEN, JOIN_A1_B0)]


def test_transient_refusal_is_tried_again_after_a_pause() -> None:
    """RFC 8684 §3.6, flag T."""
    core = control()
    core.add_local_address(A1, "eth1", 0)
    core.handle_join_failed(JoinFailed(TOKEN, JOIN_A1_B0, "refused", transient=True), 0)
    with pytest.raises(LocalProtocolError, match="pause"):
        core.apply(JOIN_A1_B0, FIRST_PAUSE_NS - 1)
    assert core.poll_timeout() == FIRST_PAUSE_NS
    assert core.handle_timeout(FIRST_PAUSE_NS) == [StartJoin(TOKEN, JOIN_A1_B0)]
    assert core.poll_timeout() is None


def test_a_silent_path_to_an_address_that_has_answered_is_tried_ever_more_seldom() -> None:
    """RFC 8684 §3.9.3 is about addresses that never answered; the peer's first one has."""
    core = control()
    core.add_local_address(A1, "eth1", 0)
    now_ns, pauses = 0, []
    for _ in range(10):
        core.handle_join_failed(unanswered(JOIN_A1_B0), now_ns)
        due = core.poll_timeout()
        assert due is not None
        pauses.append(due - now_ns)
        assert core.handle_timeout(due - 1) == []
        assert core.handle_timeout(due) == [StartJoin(TOKEN, JOIN_A1_B0)]
        now_ns = due + 15 * SECOND
    assert pauses == [min(FIRST_PAUSE_NS << n, failures.LAST_PAUSE_NS) for n in range(10)]


@pytest.mark.parametrize(("worked_ns", "pause_ns"), [(1, 2 * FIRST_PAUSE_NS), (100 * SECOND, FIRST_PAUSE_NS)])
def test_a_subflow_that_was_lost_is_joined_again(worked_ns: int, pause_ns: int) -> None:
    """A path may work again; one that never works for long is given longer pauses."""
    core = control()
    core.add_local_address(A1, "eth1", 0)
    core.handle_subflow_ready(1, ready(JOIN_A1_B0), 0)
    assert core.handle_subflow_closed(1, 0, failed=True) == []
    assert core.poll_timeout() == FIRST_PAUSE_NS
    assert core.handle_timeout(FIRST_PAUSE_NS) == [StartJoin(TOKEN, JOIN_A1_B0)]
    core.handle_subflow_ready(1, ready(JOIN_A1_B0), FIRST_PAUSE_NS)
    end_ns = FIRST_PAUSE_NS + worked_ns
    core.handle_subflow_closed(1, end_ns, failed=True)
    assert core.poll_timeout() == end_ns + pause_ns


def test_a_subflow_that_was_reset_for_good_is_not_joined_again() -> None:
    """RFC 8684 §3.6: SHOULD NOT, where flag T is not set."""
    core = control()
    core.add_local_address(A1, "eth1", 0)
    core.handle_subflow_ready(1, ready(JOIN_A1_B0), 0)
    assert core.handle_subflow_closed(1, 0, failed=True, for_good=True) == []
    assert core.poll_timeout() is None
    with pytest.raises(LocalProtocolError, match="failed"):
        core.apply(JOIN_A1_B0, 10_000 * SECOND)


def test_after_a_fallback_nothing_is_tried_again() -> None:
    core = control()
    core.add_local_address(A1, "eth1", 0)
    core.handle_join_failed(unanswered(JOIN_A1_B0), 0)
    core.handle_fallback()
    assert core.poll_timeout() is None
    assert core.handle_timeout(FIRST_PAUSE_NS) == []


def test_peer_that_takes_no_joins_at_its_first_address_is_obeyed() -> None:
    """RFC 8684 §3.1, flag C: MUST NOT open subflows toward this address and port."""
    core = control(peer_no_join=True)
    assert core.add_local_address(A1, "eth1", 0) == []
    with pytest.raises(LocalProtocolError, match="flag C"):
        core.apply(JOIN_A1_B0, 0)
    effects = core.handle_option(0, announced(1, B1), 0)
    assert [each for each in effects if isinstance(each, StartJoin)] == [
        StartJoin(TOKEN, JOIN_A0_B1),
        StartJoin(TOKEN, JOIN_A1_B1),
    ]


def test_number_of_subflows_is_bounded() -> None:
    core = control(max_subflows=2)
    core.add_local_address(A1, "eth1", 0)
    core.handle_subflow_ready(1, ready(JOIN_A1_B0), 0)
    effects = core.handle_option(0, announced(1, B1), 0)
    assert [each for each in effects if isinstance(each, StartJoin)] == [StartJoin(TOKEN, JOIN_A0_B1)]
    assert core.join_context().room == 1
    assert core.view.room == 0
    with pytest.raises(LocalProtocolError, match="max_subflows"):
        core.apply(JOIN_A1_B1, 0)


def test_lost_address_ends_its_subflows_and_is_withdrawn() -> None:
    """RFC 8684 §3.4.2."""
    core = control()
    core.add_local_address(A1, "eth1", 0)
    core.handle_subflow_ready(1, ready(JOIN_A1_B0), 0)
    close, sent = core.remove_local_address(A1, 0)
    assert close == CloseSubflow(1, 0)
    assert isinstance(sent, SendOptions)
    assert parse_options(sent.data) == (RemoveAddr((1,)),)
    assert core.remove_local_address(A1, 0) == []


def test_peers_removal_closes_subflows() -> None:
    """RFC 8684 §3.4.2: by id; unknown ids are ignored."""
    core = control()
    core.handle_option(0, announced(1, B1), 0)
    core.handle_subflow_ready(1, ready(JOIN_A0_B1), 0)
    assert core.handle_option(0, RemoveAddr((9,)), 0) == []
    assert core.counts[Counter.RM_ADDR_DROP] == 1
    assert core.handle_option(0, RemoveAddr((1,)), 0) == [CloseSubflow(1, 0), AddressRemoved(TOKEN, 1)]
    assert core.handle_subflow_closed(1, 0) == []
    assert core.view.remote_addresses == (RemoteAddress(B0, 0, 80),)


def test_priority_in_both_directions() -> None:
    """RFC 8684 §3.3.8: it concerns the subflow that carries it."""
    core = control()
    heard = core.handle_option(0, MpPrio(True), 0)
    assert heard == [SetBackup(0, True, True), PriorityChanged(TOKEN, 0, True)]
    sent, change = core.apply(SetPriority(0, True), 0)
    assert isinstance(sent, SendOptions)
    assert (sent.path_index, parse_options(sent.data)) == (0, (MpPrio(True),))
    assert change == SetBackup(0, True, False)
    assert core.view.subflows[0].backup


def test_closed_subflow_frees_its_place() -> None:
    core = control(max_subflows=1)
    core.add_local_address(A1, "eth1", 0)
    core.handle_subflow_ready(1, ready(JOIN_A1_B0), 0)
    core.handle_option(0, announced(1, B1), 0)
    assert core.handle_subflow_closed(1, 0, failed=True) == [StartJoin(TOKEN, JOIN_A0_B1)]
    assert core.handle_subflow_closed(9, 0) == []


def test_an_address_that_leads_nowhere_is_joined_once_a_route_is_there() -> None:
    routed = {A0}
    core = control(reachable=lambda local, remote: local in routed)
    assert core.add_local_address(A1, "eth1", 0) == []
    assert core.handle_routes(1) == []
    routed.add(A1)
    assert core.handle_routes(2) == [StartJoin(TOKEN, JOIN_A1_B0)]
    assert core.handle_routes(3) == [], "the join is under way"


def test_a_subflow_whose_route_goes_is_checked_and_again_when_it_is_back() -> None:
    routed = {A0, A1}
    core = control(reachable=lambda local, remote: local in routed)
    core.add_local_address(A1, "eth1", 0)
    core.handle_subflow_ready(1, ready(JOIN_A1_B0), 0)
    assert core.handle_routes(1) == []
    routed.remove(A1)
    assert core.handle_routes(2) == [CheckSubflow(1, lost=True)]
    assert core.handle_routes(3) == [], "told once"
    routed.add(A1)
    assert core.handle_routes(4) == [CheckSubflow(1, lost=False)]
    routed.remove(A1)
    core.handle_routes(5)
    core.handle_subflow_closed(1, 6)
    core.handle_subflow_ready(1, ready(JOIN_A1_B0), 6)
    assert core.handle_routes(7) == [CheckSubflow(1, lost=True)], "another subflow under the same number"


def test_another_router_is_a_reason_to_try_soon_what_was_silent() -> None:
    """And no more than once a second, however often routers change."""
    core = control()
    core.add_local_address(A1, "eth1", 0)
    for _ in range(6):
        core.handle_join_failed(unanswered(JOIN_A1_B0), 0)
    assert core.handle_routes(10 * SECOND) == []
    assert core.handle_routes(10 * SECOND, new_router=True) == [StartJoin(TOKEN, JOIN_A1_B0)]
    core.handle_join_failed(unanswered(JOIN_A1_B0), 20 * SECOND)
    assert core.handle_routes(20 * SECOND, new_router=True) == []
    assert core.poll_timeout() == 21 * SECOND
    core.handle_join_failed(JoinFailed(TOKEN, JOIN_A1_B0, "refused by the peer"), 30 * SECOND)
    assert core.handle_routes(99 * SECOND, new_router=True) == []
    assert core.poll_timeout() is None


def test_fallback_ends_all_of_it() -> None:
    """RFC 8684 §3.7: no joins and no signalling after a fallback."""
    core = control(Role.SERVER)
    core.add_local_address(A1, "eth1", 0)
    core.handle_fallback()
    assert core.poll_timeout() is None
    assert not core.join_context().accepts
    assert core.handle_option(0, announced(1, B1), 0) == []
    assert core.remove_local_address(A1, 0) == []
    with pytest.raises(LocalProtocolError):
        core.apply(CloseSubflow(0), 0)


class Curious(PathManager):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def on_established(self, view: ConnectionView) -> Sequence[Action]:
        self.asked.append("established")
        return ()

    def on_address_added(self, view: ConnectionView, address: LocalAddress) -> Sequence[Action]:
        self.asked.append("added")
        return ()

    def on_address_removed(self, view: ConnectionView, address: LocalAddress) -> Sequence[Action]:
        self.asked.append("removed")
        return ()


def test_a_path_manager_is_asked_from_establishment_to_the_end_only() -> None:
    manager = Curious()
    core = control(manager=manager, established=False)
    core.add_local_address(A1, "eth1", 0)
    core.remove_local_address(A1, 0)
    assert manager.asked == []
    core.handle_established(0)
    core.add_local_address(A1, "eth1", 0)
    assert manager.asked == ["established", "added"]
    core.handle_fallback()
    core.remove_local_address(A1, 0)
    assert manager.asked == ["established", "added"]


def test_of_two_joins_on_one_path_only_the_one_that_failed_ends() -> None:
    core = control(max_subflows=2)
    core.add_local_address(A1, "eth1", 0)
    core.apply(JOIN_A1_B0, 0)
    assert core.view.room == 0
    core.handle_join_failed(JoinFailed(TOKEN, JOIN_A1_B0, "no answer"), 0)
    assert core.view.room == 1


class Unruly(PathManager):
    """Asks for all that is forbidden."""

    def on_established(self, view: ConnectionView) -> Sequence[Action]:
        return [
            CloseSubflow(7),
            SetPriority(7, True),
            OpenSubflow(A1, bytes(16), 80, 1, 0),
            OpenSubflow(A1, B0, 80, 0, 0),
            AdvertiseAddress(A1, 0),
            WithdrawAddress(200),
        ]


def test_forbidden_actions_of_a_path_manager_are_left_out() -> None:
    core = control(manager=Unruly(), established=False)
    assert core.handle_established(0) == []


def test_peers_join_is_noted() -> None:
    core = control(Role.SERVER)
    core.handle_subflow_ready(1, ready(OpenSubflow(A0, B1, 45000, 0, 3), initiator=False), 0)
    assert core.view.subflows[1].remote_port == 45000
    assert core.handle_option(1, RemoveAddr((3,)), 0) == [CloseSubflow(1, 0), AddressRemoved(TOKEN, 3)]


def deserted_server() -> ConnectionControl:
    """Return a server's core whose address A1 the peer had joined and lost, once it is announced anew."""
    core = control(Role.SERVER)
    core.add_local_address(A1, "eth1", 0)
    core.handle_option(0, AddAddr(1, A1, echo=True), 0)
    core.handle_subflow_ready(1, ready(OpenSubflow(A1, B1, 45000, 1, 3), initiator=False), 0)
    core.remove_local_address(A1, 0)
    core.handle_subflow_closed(1, 0)
    assert sent_options(core.add_local_address(A1, "eth1", 0)) == [AddAddr]
    core.handle_option(0, AddAddr(1, A1, echo=True), 0)
    return core


def sent_options(effects: Sequence[object]) -> list[type]:
    """Return the kinds of the options that effects send; there are no other effects."""
    assert all(isinstance(each, SendOptions) for each in effects)
    return [type(option) for each in effects for option in parse_options(each.data)]  # type: ignore[attr-defined]


def test_a_peer_that_does_not_come_back_is_told_again_ever_more_seldom() -> None:
    """RFC 8684 §3.4.1: refreshing an ADD_ADDR asks for another attempt; §3.4.2: nobody confirms a removal."""
    core, now_ns, pauses = deserted_server(), 0, []
    for _ in range(7):
        due = core.poll_timeout()
        assert due is not None
        pauses.append(due - now_ns)
        assert core.handle_timeout(due - 1) == []
        assert sent_options(core.handle_timeout(due)) == [RemoveAddr, AddAddr]
        core.handle_option(0, AddAddr(1, A1, echo=True), due)
        assert core.handle_routes(due) == []
        now_ns = due
    assert pauses == [min(FIRST_PAUSE_NS << n, failures.LAST_PAUSE_NS) for n in range(7)]


def test_a_peer_that_comes_back_is_not_told_again() -> None:
    core = deserted_server()
    core.handle_subflow_ready(1, ready(OpenSubflow(A1, B1, 45001, 1, 3), initiator=False), SECOND)
    assert core.poll_timeout() is None
    assert core.handle_routes(2 * SECOND) == []
    core.handle_subflow_closed(1, 3 * SECOND, failed=True)
    assert core.poll_timeout() == 3 * SECOND + 2 * FIRST_PAUSE_NS


def test_a_peer_that_leaves_in_order_or_for_good_is_not_told_again() -> None:
    """RFC 8684 §3.6: what it does not want is not asked of it."""
    core = control(Role.SERVER)
    core.add_local_address(A1, "eth1", 0)
    core.handle_option(0, AddAddr(1, A1, echo=True), 0)
    for how in ({}, {"failed": True, "for_good": True}):
        core.handle_subflow_ready(1, ready(OpenSubflow(A1, B1, 45000, 1, 3), initiator=False), 0)
        core.handle_subflow_closed(1, 0, **how)
        assert core.poll_timeout() is None


def test_an_address_that_the_peer_never_joined_is_not_announced_again() -> None:
    core = control(Role.SERVER)
    core.add_local_address(A1, "eth1", 0)
    core.handle_option(0, AddAddr(1, A1, echo=True), 0)
    assert core.poll_timeout() is None
    assert core.handle_routes(SECOND, new_router=True) == []


def test_other_options_and_unknown_paths_do_nothing() -> None:
    core = control()
    assert core.handle_option(0, Dss(data_ack=1), 0) == []
    assert core.handle_option(5, MpPrio(True), 0) == []
