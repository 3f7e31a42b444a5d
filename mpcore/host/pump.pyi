from collections.abc import Callable
from typing import final

from mpcore.endpoint import Endpoint
from mpcore.host.nfqueue import PacketQueue
from mpcore.host.rawsock import RawSender
from mpcore.host.waiter import Served

def now_ns() -> int: ...

@final
class Pump(Served):
    def __init__(
        self,
        endpoint: Endpoint,
        queue: PacketQueue,
        open_sender: Callable[[int], RawSender],
        before_verdicts: Callable[[], None] | None = None,
    ) -> None: ...
    def turn(self, batches: int) -> int: ...
    def work(self) -> None: ...
    def close(self) -> None: ...
    def sender(self, port: int) -> RawSender: ...
    def sender_stats(self) -> dict[str, int]: ...
