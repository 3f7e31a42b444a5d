"""The file of contexts: what comes back, and what damage, strangers and other boots do to it."""

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.host import shim6_state
from mpcore.host.shim6_state import StateFile
from mpcore.shim6.records import record_of
from mpcore.wire.shim6 import R1, R2, Preference, PreferenceFlag, ResponderValidator
from tests.shim6.world import A1, A2, B1, Lone, peer_options

TAG = 0xB0B


def add(lone: Lone, fii: int = 0) -> None:
    lone.manager.establish(A1, B1, 0, fii)
    context = lone.manager.find(A1, B1, fii)
    assert context is not None
    nonce = context.handshake.initiator_nonce
    lone.hear(R1(nonce, 1, (ResponderValidator(b"v"),)))
    lone.hear(R2(TAG + fii, nonce, peer_options()))


def host(contexts: int = 1) -> Lone:
    lone = Lone()
    lone.manager.watch_changes()
    for fii in range(contexts):
        add(lone, fii)
    return lone


def state(path: Path, boot: str = "this") -> StateFile:
    return StateFile(path, interval_ns=1000, boot=boot)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "inner" / "shim6.state"


def test_what_is_saved_comes_back_and_only_root_may_read_it(path: Path) -> None:
    lone = host(3)
    state(path).save(lone.manager, 0)
    assert state(path).load().contexts == [record_of(context) for context in lone.manager.contexts()]
    assert path.stat().st_mode & 0o7777 == 0o600


def test_changes_are_appended_no_more_often_than_asked(path: Path) -> None:
    lone, file = host(3), state(path)
    file.save(lone.manager, 0)
    size = path.stat().st_size
    lone.manager.discard(A1, B1, 1)
    lone.manager.set_local_address(A2, False, 0)
    file.save(lone.manager, 999)
    assert path.stat().st_size == size
    file.save(lone.manager, file.poll_timeout())
    assert path.stat().st_size > size
    found = state(path).load().contexts
    assert {record.fii for record in found} == {0, 2}
    assert all(record in found for record in map(record_of, lone.manager.contexts()))


def test_the_first_write_of_a_daemon_leaves_nothing_out(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed right after its start it has lost none of the contexts that it had taken over."""
    monkeypatch.setattr(shim6_state, "CHANGES_A_TURN", 2)
    lone = host(5)
    state(path).save_all(lone.manager)
    records, second = state(path).load().contexts, Lone()
    second.manager.watch_changes()
    assert second.manager.restore(records, 0) == 5
    state(path).save(second.manager, 0)
    assert state(path).load().contexts == records


def test_many_changes_are_appended_turn_by_turn(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lone, file = host(5), state(path)
    file.save(lone.manager, 0)
    monkeypatch.setattr(shim6_state, "CHANGES_A_TURN", 2)
    lone.manager.set_local_address(A2, False, 0)
    turns = 0
    while lone.manager.has_changes:
        due_ns = file.poll_timeout()
        file.save(lone.manager, due_ns)
        turns += 1
    assert turns == 3
    assert due_ns == 1000
    assert state(path).load().contexts == [record_of(context) for context in lone.manager.contexts()]


def test_the_end_of_the_daemon_saves_all(path: Path) -> None:
    lone, file = host(), state(path)
    file.save(lone.manager, 0)
    add(lone, 1)
    file.save_all(lone.manager)
    assert len(state(path).load().contexts) == 2


def test_history_is_dropped_in_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shim6_state, "COMPACT_BYTES_MIN", 1000)
    lone, file = host(), state(path)
    for round_ in range(200):
        lone.manager.set_local_address(A2, bool(round_ % 2), 0)
        file.save(lone.manager, 1000 * round_)
        assert path.stat().st_size < 5000
    assert state(path).load().contexts == [record_of(lone.context())]


def test_wishes_of_the_operator_are_kept_too(path: Path) -> None:
    """RFC 5533 §5.15.3: a locator that is drained stays so."""
    lone, file = host(), state(path)
    file.save(lone.manager, 0)
    assert state(path).load().wishes == {}
    drained, plain = Preference(PreferenceFlag.BROKEN, 3, 4), Preference()
    lone.manager.prefer_local_address(A2, drained, 0)
    file.save(lone.manager, file.poll_timeout())
    assert state(path).load().wishes == {A2: drained}
    second = Lone()
    second.manager.restore_wishes({A2: drained, B1: drained})
    assert second.manager.local_preference(A2) == drained
    assert not second.manager._shared.addresses.usable(B1)
    lone.manager.prefer_local_address(A2, plain, 0)
    file.save(lone.manager, file.poll_timeout())
    assert state(path).load().wishes == {}
    assert len(state(path).load().contexts) == 1


def test_a_file_of_the_version_before_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shim6_state, "VERSION", 1)
    state(path).save(host(2).manager, 0)
    monkeypatch.undo()
    assert len(state(path).load().contexts) == 2


def test_no_file_is_no_trouble(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert state(path).load().contexts == []
    assert caplog.records == []


def test_another_boot_has_no_use_for_it(path: Path) -> None:
    state(path).save(host().manager, 0)
    assert state(path, boot="other").load().contexts == []


@pytest.mark.parametrize("content", [b"", b"[mptcp]\n", shim6_state.MAGIC, shim6_state.MAGIC + bytes(30)])
def test_a_file_of_something_else_is_left_with_a_warning(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    path.chmod(0o600)
    assert state(path).load().contexts == []
    assert "is no file of contexts, or a damaged one: starting without any" in caplog.text


def test_another_version_is_left_with_a_warning(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shim6_state, "VERSION", 3)
    state(path).save(host().manager, 0)
    monkeypatch.undo()
    assert state(path).load().contexts == []
    assert "has version 3, not 2" in caplog.text


def test_a_file_that_others_may_write_is_not_trusted(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state(path).save(host().manager, 0)
    path.chmod(0o620)
    assert state(path).load().contexts == []
    assert "needs mode 0600" in caplog.text


def test_a_link_is_not_followed(path: Path) -> None:
    state(path).save(host().manager, 0)
    link = path.with_name("link")
    link.symlink_to(path)
    assert state(link).load().contexts == []


def test_a_torn_end_costs_only_itself(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A daemon killed while it writes leaves half of a frame."""
    lone = host(2)
    state(path).save(lone.manager, 0)
    path.write_bytes(path.read_bytes()[:-5])
    assert [record.fii for record in state(path).load().contexts] == [0]
    assert "is damaged: 1 contexts before that are taken over" in caplog.text


def test_trouble_with_the_disk_is_logged_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    state(tmp_path / "file" / "state").save(host().manager, 0)
    assert "contexts are not kept over a restart" in caplog.text


SAVED: list[bytes] = []


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6), st.integers(0, 2000))
def test_no_damage_raises(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]], cut: int
) -> None:
    logging.getLogger("mpcore.host.shim6_state").setLevel(logging.ERROR)
    path = tmp_path_factory.getbasetemp() / "damaged.state"
    if not SAVED:
        state(path).save(host(2).manager, 0)
        SAVED.append(path.read_bytes())
    data = bytearray(SAVED[0])
    for at, value in damage:
        data[at % len(data)] = value
    path.write_bytes(data[: len(data) - cut % 200])
    assert len(state(path).load().contexts) <= 2
    logging.getLogger("mpcore.host.shim6_state").setLevel(logging.NOTSET)
