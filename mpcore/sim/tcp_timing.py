"""Round-trip times and congestion window of the model host's TCP."""

from __future__ import annotations

from mpcore.sim.tcp_settings import TcpSettings

_INITIAL_SEGMENTS = 10  # RFC 6928
_DUPLICATES = 3  # RFC 5681 §3.2
_MAX_WINDOW = 1 << 30


class RoundTrip:
    """RFC 6298: the retransmission timeout and its doubling."""

    def __init__(self, settings: TcpSettings) -> None:
        self.srtt_ns: int | None = None
        self.backoff = 0
        self._variation_ns = 0
        self._settings = settings

    def sample(self, rtt_ns: int) -> None:
        """Take a measurement (§2.2, §2.3)."""
        if self.srtt_ns is None:
            self.srtt_ns, self._variation_ns = rtt_ns, rtt_ns // 2
            return
        self._variation_ns = (3 * self._variation_ns + abs(self.srtt_ns - rtt_ns)) // 4
        self.srtt_ns = (7 * self.srtt_ns + rtt_ns) // 8

    def timeout_ns(self) -> int:
        """Return the timeout to use now."""
        base = (
            self._settings.rto_initial_ns if self.srtt_ns is None else self.srtt_ns + 4 * self._variation_ns
        )
        base = max(base, self._settings.rto_min_ns)
        return min(base << self.backoff, self._settings.rto_max_ns)


class Reno:
    """RFC 5681 with the partial acknowledgements of RFC 6582; window in bytes."""

    def __init__(self, mss: int) -> None:
        self.window = _INITIAL_SEGMENTS * mss
        self.recovery_until: int | None = None  # offset that ends a fast recovery
        self._threshold = _MAX_WINDOW
        self._mss = mss
        self._duplicates = 0

    def acknowledged(self, newly: int, una: int) -> bool:
        """Take new data acknowledged; returns whether the next hole shall be sent again at once."""
        self._duplicates = 0
        if self.recovery_until is not None:
            if una < self.recovery_until:
                self.window = max(self.window - newly + self._mss, self._mss)
                return True
            self.recovery_until = None
            self.window = self._threshold
        elif self.window < self._threshold:
            self.window = min(self.window + newly, _MAX_WINDOW)
        else:
            self.window = min(self.window + max(self._mss * newly // self.window, 1), _MAX_WINDOW)
        return False

    def duplicate(self, outstanding: int, sent: int) -> bool:
        """Take a duplicate acknowledgement; returns whether it starts a fast retransmission."""
        self._duplicates += 1
        if self.recovery_until is not None:
            self.window += self._mss
        elif self._duplicates == _DUPLICATES:
            self._threshold = max(outstanding // 2, 2 * self._mss)
            self.window = self._threshold + _DUPLICATES * self._mss
            self.recovery_until = sent
            return True
        return False

    def timed_out(self, outstanding: int) -> None:
        """Start again with one segment (§3.1)."""
        self._threshold = max(outstanding // 2, 2 * self._mss)
        self.window = self._mss
        self.recovery_until = None
        self._duplicates = 0
