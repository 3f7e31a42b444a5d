"""Whether an address of this host leads to a peer by its own interface: only then is it another path."""

from collections.abc import Callable

from mpcore.host.netlink import AddressMonitor
from mpcore.host.routing import leaves_by
from mpcore.host.rtnetlink import RouteSocket

VALID_NS = 1_000_000_000  # routes may change without a word
ENTRIES_MAX = 4096


class Reachability:
    """Asks the kernel's routes, and remembers its answers for a second.

    Args:
        kernel: the socket to ask by
        monitor: knows which interface has an address
        clock: returns nanoseconds
    """

    def __init__(self, kernel: RouteSocket, monitor: AddressMonitor, clock: Callable[[], int]) -> None:
        self._kernel = kernel
        self._monitor = monitor
        self._clock = clock
        self._answers: dict[tuple[bytes, bytes], bool] = {}
        self._expires_ns = 0

    def __call__(self, local: bytes, remote: bytes) -> bool:
        """Tell whether packets from `local` to `remote` leave by the interface of `local`."""
        now_ns = self._clock()
        if now_ns >= self._expires_ns or len(self._answers) >= ENTRIES_MAX:
            self._answers.clear()
            self._expires_ns = now_ns + VALID_NS
        answer = self._answers.get((local, remote))
        if answer is None:
            answer = self._answers[local, remote] = self._ask(local, remote)
        return answer

    def forget(self) -> None:
        """Ask afresh: addresses have changed."""
        self._answers.clear()

    def _ask(self, local: bytes, remote: bytes) -> bool:
        for each in self._monitor.addresses():
            if each.address == local:
                return leaves_by(self._kernel, local, remote, each.interface)
        return False
