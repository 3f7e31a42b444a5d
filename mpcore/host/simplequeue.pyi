from typing import Self, final

from mpcore.host.nfqueue import PacketQueue

@final
class SimpleQueue(PacketQueue):
    """Queue `number` through netfilterqueue alone, with a Python callback. Raises HostError."""

    def __new__(
        cls,
        number: int,
        *,
        max_length: int = 1024,
        mark_seen: int = 0x10000000,
        mark_leave: int = 0x20000000,
        mark_taken: int = 0,
        slots: int = 64,
    ) -> Self: ...
    @property
    def number(self) -> int: ...
