"""The emulator between two pairs of sockets: no root, no kernel link, the same code."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from mpcore.lab.emulator import SLOT_BYTES, Emulator
from mpcore.sim.packets import checksums_ok
from mpcore.wire.values import Segment, emit_segment, parse_segment

PERFECT: dict[str, Any] = {
    "rate_mbit": None,
    "queue_ms": 1000.0,
    "delay_ms": 0.0,
    "jitter_ms": 0.0,
    "loss": 0.0,
    "reorder": 0.0,
    "duplicate": 0.0,
    "mark": 0.0,
    "seed": 1,
}


class Wire:
    """Two ends with an emulator between them; `settings` are those of both directions."""

    def __init__(self, capacity: int, settings: dict[str, Any]) -> None:
        self.a, left = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.b, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.inner = (left, right)
        for end in self.inner:
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        self.emulator = Emulator(left.fileno(), right.fileno(), capacity)
        for way in (0, 1):
            self.emulator.configure(way, **(PERFECT | settings))
        self.control, self.stop = os.pipe()
        self.ended: bool | None = None
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.ended = self.emulator.run(self.control)

    def collect(self, expected: int) -> list[bytes]:
        """Return the packets that arrive at `b`, `expected` of them."""
        self.b.settimeout(20)
        return [self.b.recv(SLOT_BYTES) for _ in range(expected)]

    def send(self, count: int, size: int = 100) -> None:
        """Send `count` numbered packets from `a`, from another thread's view at once."""
        for number in range(count):
            self.a.send(number.to_bytes(4, "big").ljust(size, b"."))


@contextmanager
def wire(capacity: int = 4096, **settings: Any) -> Iterator[Wire]:
    made = Wire(capacity, settings)
    made.thread.start()
    try:
        yield made
    finally:
        os.close(made.stop)
        made.thread.join()
        os.close(made.control)
        for end in (made.a, made.b, *made.inner):
            with suppress(OSError):
                end.close()


def numbers(packets: list[bytes]) -> list[int]:
    return [int.from_bytes(packet[:4], "big") for packet in packets]


def settled(made: Wire, count: int) -> dict[str, int]:
    """Wait until each of `count` packets has met its fate, and return the statistics."""
    while True:
        stats = made.emulator.stats(0)
        gone = stats["lost"] + stats["overflowed"] + stats["no_room"] + stats["refused"]
        if stats["received"] == count and stats["delivered"] - stats["duplicated"] + gone == count:
            return stats
        time.sleep(0.001)


def test_a_perfect_link_carries_all_in_order_both_ways() -> None:
    with wire() as made:
        made.send(500, size=1500)
        packets = made.collect(500)
        assert numbers(packets) == list(range(500))
        assert {len(packet) for packet in packets} == {1500}
        made.b.send(b"back")
        assert made.a.recv(100) == b"back"
        assert made.emulator.stats(1)["delivered"] == 1


def test_no_packet_is_early() -> None:
    with wire(delay_ms=20.0) as made:
        sent = time.monotonic()
        made.send(1)
        made.collect(1)
        assert time.monotonic() - sent >= 0.020


def test_jitter_keeps_the_order() -> None:
    with wire(delay_ms=3.0, jitter_ms=3.0) as made:
        made.send(300)
        assert numbers(made.collect(300)) == list(range(300))


def test_a_rate_spreads_packets_over_time() -> None:
    """A hundred packets of 1000 bytes are 800,000 bits: 100 ms at 8 Mbit/s."""
    with wire(rate_mbit=8.0) as made:
        sent = time.monotonic()
        made.send(100, size=1000)
        assert numbers(made.collect(100)) == list(range(100))
        assert time.monotonic() - sent >= 0.100


def test_a_full_queue_refuses_packets() -> None:
    """Ten milliseconds of 8 Mbit/s hold ten packets of 1000 bytes, and one is on the line."""
    with wire(rate_mbit=8.0, queue_ms=10.0) as made:
        sent = time.monotonic()
        made.send(200, size=1000)
        stats = settled(made, 200)
        elapsed_ms = (time.monotonic() - sent) * 1000
        assert 11 <= stats["delivered"] <= 12 + elapsed_ms
        assert stats["delivered"] + stats["overflowed"] == 200


def fate(seed: int) -> list[int]:
    """Return the numbers of those of 1000 packets that survive a loss of a tenth."""
    with wire(loss=0.1, seed=seed) as made:
        made.send(1000)
        return numbers(made.collect(settled(made, 1000)["delivered"]))


def test_losses_are_near_their_share_and_repeat_with_the_seed() -> None:
    survivors = fate(7)
    assert survivors == sorted(set(survivors))
    assert 850 <= len(survivors) <= 950
    assert fate(7) == survivors
    assert fate(8) != survivors


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_no_loss_and_nothing_but_loss(share: float) -> None:
    with wire(loss=share) as made:
        made.send(100)
        assert settled(made, 100)["lost"] == 100 * share


def test_some_packets_come_twice_one_after_the_other() -> None:
    with wire(duplicate=0.2) as made:
        made.send(500)
        stats = settled(made, 500)
        came = numbers(made.collect(stats["delivered"]))
        assert len(came) == 500 + stats["duplicated"]
        assert 50 <= stats["duplicated"] <= 150
        assert came == sorted(came)


def test_some_packets_overtake_and_none_is_lost() -> None:
    with wire(delay_ms=20.0, reorder=0.2) as made:
        made.send(300)
        came = numbers(made.collect(300))
        assert sorted(came) == list(range(300))
        assert came != sorted(came)
        assert made.emulator.stats(0)["reordered"] > 0


def test_what_finds_no_room_is_counted() -> None:
    with wire(capacity=4, delay_ms=50.0) as made:
        made.send(20)
        stats = settled(made, 20)
        assert stats["no_room"] + stats["delivered"] == 20
        assert stats["no_room"] > 0


def test_settings_can_change_and_the_end_is_told_apart() -> None:
    with wire(loss=1.0) as made:
        made.send(10)
        assert settled(made, 10)["lost"] == 10
        os.write(made.stop, b"!")
        made.thread.join()
        assert made.ended is True
        made.emulator.configure(0, **PERFECT)
        made.a.close()
        made.inner[0].close()


def test_it_ends_when_an_end_of_the_link_goes() -> None:
    with wire() as made:
        made.a.close()
        made.thread.join(20)
        assert made.ended is False


@pytest.mark.parametrize("version", [4, 6])
def test_packets_whose_senders_take_marks_are_marked(version: int) -> None:
    """RFC 3168 §5, and the IPv4 checksum holds (RFC 1624)."""
    size = 4 if version == 4 else 16
    plain = Segment(version, bytes(range(size)), bytes(size), 1, 2, 3, 4, 16, 5, (), b"payload")
    sent = [emit_segment(replace(plain, tos=0xB8 | ecn)) for ecn in range(4)]
    with wire(mark=1.0) as made:
        for packet in sent:
            made.a.send(packet)
        came = made.collect(4)
    assert [parse_segment(packet).tos & 3 for packet in came] == [0, 3, 3, 3]
    assert all(checksums_ok(packet) and parse_segment(packet).tos & ~3 == 0xB8 for packet in came)
    assert made.emulator.stats(0)["marked"] == 2


def test_a_link_must_hold_a_packet() -> None:
    with pytest.raises(ValueError, match="a packet at least"):
        Emulator(0, 0, 0)
