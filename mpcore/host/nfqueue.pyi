from collections.abc import Sequence
from typing import Self, final

from typing_extensions import disjoint_base

from mpcore.actions import VerdictKind
from mpcore.host.queued import QueuedPacket

@disjoint_base
class PacketQueue:
    """A queue of packets that wait in the kernel for a verdict; the base of every backend."""

    @property
    def mark_seen(self) -> int: ...
    @property
    def mark_leave(self) -> int: ...
    @property
    def mark_taken(self) -> int: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...
    def stats(self) -> dict[str, int]: ...
    def recv(self, timeout_ms: int = 0) -> list[QueuedPacket]: ...
    def verdict(self, packet: QueuedPacket, kind: VerdictKind, data: bytes | None = None) -> None: ...
    def verdicts(
        self, decisions: Sequence[tuple[QueuedPacket, VerdictKind, bytes | None]], *, held: bool = False
    ) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...

@final
class NetlinkQueue(PacketQueue):
    """The kernel's queue `number`, driven by raw netlink. Raises HostError when it cannot be had."""

    def __new__(
        cls,
        number: int,
        *,
        max_length: int = 8192,
        gso: bool = True,
        fail_open: bool = True,
        mark_seen: int = 0x10000000,
        mark_leave: int = 0x20000000,
        mark_taken: int = 0,
        slots: int = 64,
        repeat_received: bool = False,
        descriptor: int = -1,
    ) -> Self: ...
    @property
    def number(self) -> int: ...
