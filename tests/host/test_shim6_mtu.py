"""When the kernel is told the path MTU of a context, and when it is not."""

from dataclasses import replace

import pytest

from mpcore.errors import HostError
from mpcore.host import shim6_mtu
from mpcore.host.shim6_mtu import PathMtu
from mpcore.shim6.effects import Path
from mpcore.shim6.locators import Pair
from mpcore.shim6.own_errors import too_big
from tests.shim6.world import A1, A2, B1, B2

MARK = 0x4000000
HOME = Path(
    number=1, ulid_local=A1, ulid_peer=B1, fii=0, tag_local=1, tag_peer=2,
    locator_local=A1, locator_peer=B1, sending=True, watched=False,
)  # fmt: skip
AWAY = replace(HOME, locator_local=A2, locator_peer=B2)
ULIDS = Pair(A1, B1)


class FakeSender:
    """Stands for the raw socket."""

    sent: list[bytes]

    def __init__(self, version: int, *, mark: int) -> None:
        assert (version, mark) == (6, MARK)

    def send(self, packet: bytes) -> bool:
        self.sent.append(packet)
        return True

    def close(self) -> None:
        pass


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    FakeSender.sent = []
    monkeypatch.setattr(shim6_mtu, "RawSender", FakeSender)
    monkeypatch.setattr(shim6_mtu, "path_mtu", lambda pair: {A2: 1500, A1: 9000}[pair.local])
    return FakeSender.sent


def test_a_context_that_leaves_its_ulids_has_eight_octets_less(sent: list[bytes]) -> None:
    """RFC 5533 §8: of the path that is used from now on, not of the one between the ULIDs."""
    assert PathMtu(MARK).note_paths({1: AWAY}) == {ULIDS: 1492}
    assert sent == [too_big(A1, B1, 1492)]


def test_the_kernel_is_told_once_for_each_path(sent: list[bytes]) -> None:
    mtus = PathMtu(MARK)
    assert mtus.note_paths({1: AWAY})
    assert not mtus.note_paths({1: replace(AWAY, watched=True)})
    assert mtus.note_paths({1: replace(AWAY, locator_peer=B1)})
    assert not mtus.note_paths({1: HOME})
    assert mtus.note_paths({1: AWAY})
    assert len(sent) == 3


@pytest.mark.parametrize("path", [None, HOME, replace(AWAY, sending=False), replace(AWAY, tag_peer=None)])
def test_what_is_not_rewritten_keeps_its_size(sent: list[bytes], path: Path | None) -> None:
    assert not PathMtu(MARK).note_paths({1: path})
    assert not sent


def test_less_than_any_path_has_cannot_be_told(sent: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8201 §4: a kernel ignores an MTU below 1280."""
    monkeypatch.setattr(shim6_mtu, "path_mtu", lambda pair: 1280)
    assert not PathMtu(MARK).note_paths({1: AWAY})
    assert not sent


@pytest.mark.parametrize("error", [OSError("no route"), HostError("no raw socket")])
def test_a_path_that_cannot_be_asked_about_is_found_out_later(
    sent: list[bytes], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(pair: Pair) -> int:
        raise error

    monkeypatch.setattr(shim6_mtu, "path_mtu", fail)
    assert not PathMtu(MARK).note_paths({1: AWAY})
    assert not sent
