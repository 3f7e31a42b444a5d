"""Which sockets are asked for their numbers, and what each that answers is told."""

import pytest

from mpcore.host import shim6_kick
from mpcore.host.shim6_kick import ASKED_MAX, TcpKicker
from mpcore.shim6.kick import Backoff, kicks, questions
from mpcore.shim6.locators import Pair
from mpcore.shim6.own_errors import TcpFlow, segment_too_big
from mpcore.wire.values import Segment, TcpFlag, emit_segment
from tests.shim6.world import A1, A2, B1, C1

MARK = 0x4000000
ULIDS, OTHERS = Pair(A1, B1), Pair(A1, C1)
WAITING = Backoff(TcpFlow(A1, 4000, B1, 80), doublings=2, outstanding=100)
CONTENT = Backoff(TcpFlow(A1, 4001, B1, 80), doublings=0, outstanding=0)
ELSEWHERE = Backoff(TcpFlow(A1, 4002, C1, 80), doublings=3, outstanding=0)
MTU = 1492


class Kernel:
    """Stands for sockets, raw socket and sets; `sent` and `shown` are what came to them."""

    def __init__(self) -> None:
        self.sockets = [WAITING, CONTENT, ELSEWHERE]
        self.sent: list[bytes] = []
        self.shown: list[set[Pair]] = []
        self.kicked = 0

    def make_sender(self, version: int, *, mark: int) -> "Kernel":
        assert (version, mark) == (6, MARK)
        return self

    def send_batch(self, packets: list[bytes]) -> int:
        self.sent += packets
        return len(packets)

    def close(self) -> None:
        pass

    def count(self) -> None:
        self.kicked += 1


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(shim6_kick, "RawSender", made.make_sender)
    monkeypatch.setattr(shim6_kick, "read_backoffs", lambda: iter(made.sockets))
    return made


@pytest.fixture
def kicker(kernel: Kernel) -> TcpKicker:
    return TcpKicker(MARK, lambda pairs: kernel.shown.append(set(pairs)), kernel.count)


def answer(flow: TcpFlow, seq: int = 500, payload: bytes = b"") -> bytes:
    return emit_segment(
        Segment(
            6, flow.local, flow.peer, flow.local_port, flow.peer_port, seq, 7, TcpFlag.ACK.value, 9,
            payload=payload,
        )
    )  # fmt: skip


def test_those_that_wait_are_asked_and_told_to_go_on(kernel: Kernel, kicker: TcpKicker) -> None:
    """RFC 6069 §4, for the pairs whose path has changed."""
    kicker.ask([ULIDS], {})
    assert kernel.sent == questions(WAITING.flow)
    assert kernel.shown == [{ULIDS}]
    kernel.sent.clear()
    kicker.note_sent(answer(WAITING.flow))
    assert kernel.sent == kicks(WAITING, 500)
    assert kernel.kicked == 1
    assert not kicker


def test_all_are_told_of_a_smaller_size(kernel: Kernel, kicker: TcpKicker) -> None:
    """RFC 8201 §4: a socket believes it by the number of a segment of its own."""
    kicker.ask([], {ULIDS: MTU})
    assert kernel.sent == [*questions(WAITING.flow), *questions(CONTENT.flow)]
    kernel.sent.clear()
    kicker.note_sent(answer(CONTENT.flow))
    assert kernel.sent == [segment_too_big(CONTENT.flow, 500, MTU)]
    assert kernel.kicked == 0
    kernel.sent.clear()
    kicker.note_sent(answer(WAITING.flow))
    assert kernel.sent == [segment_too_big(WAITING.flow, 500, MTU), *kicks(WAITING, 500)]
    assert kernel.kicked == 1


def test_only_the_first_answer_of_one_that_was_asked_counts(kernel: Kernel, kicker: TcpKicker) -> None:
    kicker.ask([ULIDS], {})
    kernel.sent.clear()
    for packet in (answer(CONTENT.flow), answer(ELSEWHERE.flow), answer(WAITING.flow, payload=b"data"), b""):
        kicker.note_sent(packet)
    assert not kernel.sent
    for _ in range(2):
        kicker.note_sent(answer(WAITING.flow))
    assert kernel.sent == kicks(WAITING, 500)


def test_nobody_is_asked_when_no_path_has_changed(kernel: Kernel, kicker: TcpKicker) -> None:
    kicker.ask([ULIDS, OTHERS], {})
    assert kernel.shown == [{ULIDS, OTHERS}]
    kernel.sent.clear()
    kicker.ask([], {})
    assert kernel.shown[-1] == set()
    assert not kicker
    assert not kernel.sent


def test_the_sockets_that_are_asked_are_bounded(kernel: Kernel, kicker: TcpKicker) -> None:
    kernel.sockets = [
        Backoff(TcpFlow(A2, port, B1, 80), doublings=1, outstanding=0) for port in range(1, ASKED_MAX + 10)
    ]
    kicker.ask([Pair(A2, B1)], {})
    assert len(kernel.sent) == 2 * ASKED_MAX


def test_sockets_that_cannot_be_listed_wait_for_their_timers(
    kernel: Kernel, kicker: TcpKicker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("no sock_diag")

    monkeypatch.setattr(shim6_kick, "read_backoffs", fail)
    kicker.ask([ULIDS], {})
    assert "no sock_diag" in caplog.text
    assert not kicker
