"""Path managers as functions from a view to actions (RFC 8684 §3.4: policy is each host's own)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.actions import AdvertiseAddress, CloseSubflow, OpenSubflow, Role, WithdrawAddress
from mpcore.config import MptcpConfig
from mpcore.errors import ConfigError
from mpcore.policy import registry
from mpcore.policy.backup import Backup
from mpcore.policy.base import ConnectionView, LocalAddress, PathManager, RemoteAddress, SubflowView
from mpcore.policy.fullmesh import FullMesh
from mpcore.policy.ndiffports import NDiffPorts
from mpcore.policy.none import NoPaths

LOCALS = tuple(LocalAddress(bytes([10, 0, n, 1]), n, f"eth{n}", backup=n == 2) for n in range(3))
LOCAL_SIX = LocalAddress(bytes(15) + b"\x07", 3, "eth3")
REMOTES = tuple(RemoteAddress(bytes([10, 0, n, 2]), n, 80) for n in range(2))
FIRST = SubflowView(0, LOCALS[0].address, REMOTES[0].address, 40000, 80, 0, 0, False)


def view(role: Role = Role.CLIENT, room: int = 8) -> ConnectionView:
    return ConnectionView(role, 1, (*LOCALS, LOCAL_SIX), REMOTES, (FIRST,), 8, room)


def test_fullmesh_client_joins_each_missing_pair_of_one_family() -> None:
    """RFC 8684 §3.2: no duplicate of the first subflow's pair."""
    actions = FullMesh().on_established(view())
    pairs = {(each.local_id, each.remote_id) for each in actions if isinstance(each, OpenSubflow)}
    assert pairs == {(0, 1), (1, 0), (1, 1), (2, 0), (2, 1)}
    assert len(actions) == len(pairs)
    assert {each.local_id for each in actions if isinstance(each, OpenSubflow) and each.backup} == {2}


def test_fullmesh_server_announces_all_but_the_first_address() -> None:
    actions = FullMesh().on_established(view(Role.SERVER))
    assert actions == [AdvertiseAddress(each.address, each.address_id) for each in (*LOCALS[1:], LOCAL_SIX)]
    assert FullMesh().on_address_announced(view(Role.SERVER), REMOTES[1]) == []
    assert FullMesh().on_address_added(view(Role.SERVER), LOCALS[1]) == actions[:1]


def test_fullmesh_does_not_reopen_the_pair_that_just_closed() -> None:
    closed = SubflowView(1, LOCALS[1].address, REMOTES[1].address, 1, 80, 1, 1, False)
    actions = FullMesh().on_subflow_closed(view(), closed)
    pairs = {(each.local_id, each.remote_id) for each in actions if isinstance(each, OpenSubflow)}
    assert (1, 1) not in pairs
    assert (0, 1) in pairs


def test_backup_joins_with_the_b_bit() -> None:
    """RFC 8684 §3.3.8."""
    actions = Backup().on_established(view())
    assert len(actions) == 5
    assert all(isinstance(each, OpenSubflow) and each.backup for each in actions)


def test_changed_paths_are_a_reason_to_join_what_is_missing() -> None:
    assert FullMesh().on_paths_changed(view()) == FullMesh().on_established(view())
    assert FullMesh().on_paths_changed(view(Role.SERVER)) == []
    assert NDiffPorts().on_paths_changed(view()) == NDiffPorts().on_established(view())
    assert not NoPaths().on_paths_changed(view())


def test_ndiffports_repeats_the_first_pair() -> None:
    actions = NDiffPorts(4).on_established(view())
    assert actions == [OpenSubflow(LOCALS[0].address, REMOTES[0].address, 80, 0, 0)] * 3
    assert len(NDiffPorts(4).on_established(view(room=1))) == 1
    assert not NDiffPorts().on_established(view(Role.SERVER))
    assert not NDiffPorts().on_established(replace(view(), remote_addresses=()))
    assert len(NDiffPorts().on_subflow_closed(view(), FIRST)) == 1


@pytest.mark.parametrize("manager", [NoPaths(), FullMesh(), Backup(), NDiffPorts()])
def test_lost_address_is_given_up_by_all(manager: PathManager) -> None:
    """RFC 8684 §3.4.2."""
    gone = view()
    joining = SubflowView(None, LOCALS[0].address, REMOTES[1].address, None, 80, 0, 1, False)
    gone = replace(gone, local_addresses=gone.local_addresses[1:], subflows=(FIRST, joining))
    assert tuple(manager.on_address_removed(gone, LOCALS[0])) == (CloseSubflow(0, 0), WithdrawAddress(0))


def test_none_does_nothing() -> None:
    manager = NoPaths()
    assert not manager.on_established(view())
    assert not manager.on_address_added(view(), LOCALS[1])
    assert not manager.on_address_announced(view(), REMOTES[1])
    assert not manager.on_address_withdrawn(view(), 1)
    assert not manager.on_subflow_closed(view(), FIRST)


@given(
    st.sets(st.tuples(st.integers(0, 2), st.integers(0, 1))),
    st.sampled_from([FullMesh, Backup]),
)
def test_fullmesh_completes_any_part_of_the_mesh(
    present: set[tuple[int, int]], kind: type[PathManager]
) -> None:
    subflows = tuple(
        SubflowView(None, LOCALS[a].address, REMOTES[b].address, None, 80, a, b, False) for a, b in present
    )
    now = replace(view(), subflows=subflows)
    opened = [
        (each.local_id, each.remote_id)
        for each in kind().on_established(now)
        if isinstance(each, OpenSubflow)
    ]
    assert len(set(opened)) == len(opened)
    assert set(opened) | present == {(a, b) for a in range(3) for b in range(2)}
    assert not set(opened) & present


def test_every_name_of_the_configuration_exists() -> None:
    names = get_args(MptcpConfig.__annotations__["path_manager"])
    assert names
    for name in names:
        assert registry.path_manager(name).name == name


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="fullmesh"):
        registry.path_manager("nosuch")


@pytest.fixture
def registered() -> Iterator[str]:
    registry.register("mine", NoPaths)
    yield "mine"
    del registry._FACTORIES["mine"]


def test_path_managers_can_be_added(registered: str) -> None:
    assert isinstance(registry.path_manager(registered), NoPaths)
