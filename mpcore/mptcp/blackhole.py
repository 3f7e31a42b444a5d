"""Peers behind middleboxes that swallow SYNs with MP_CAPABLE (RFC 8684 §3.9.3): what was seen, for a while.

A peer is remembered once a SYN without the option was answered where those with it were not. Each time that
it happens again the memory lasts twice as long. Times are integer nanoseconds.
"""

from collections import OrderedDict

ENTRIES_MAX = 1024
DOUBLINGS_MAX = 6


class BlackholeCache:
    """Addresses to which MP_CAPABLE is not offered now; the oldest of too many is forgotten.

    Args:
        duration_ns: how long the first time, 0 for never
    """

    def __init__(self, duration_ns: int) -> None:
        self._duration_ns = duration_ns
        self._entries: OrderedDict[bytes, tuple[int, int]] = OrderedDict()  # address: (end, doublings)

    def __len__(self) -> int:
        return len(self._entries)

    def note(self, address: bytes, now_ns: int) -> None:
        """Remember that the option cost this peer's SYN its answer."""
        if not self._duration_ns:
            return
        _, doublings = self._entries.pop(address, (0, -1))
        doublings = min(doublings + 1, DOUBLINGS_MAX)
        self._entries[address] = (now_ns + (self._duration_ns << doublings), doublings)
        if len(self._entries) > ENTRIES_MAX:
            self._entries.popitem(last=False)

    def forget(self, address: bytes) -> None:
        """The peer answered a SYN with the option: the way to it is free."""
        self._entries.pop(address, None)

    def holds(self, address: bytes, now_ns: int) -> bool:
        """Tell whether to offer nothing to this peer; an entry that is over stays, to count from."""
        return self._entries.get(address, (now_ns, 0))[0] > now_ns
