from collections.abc import Callable
from typing import final

from mpcore.host.nfqueue import PacketQueue
from mpcore.host.rawsock import RawSender
from mpcore.host.waiter import Served
from mpcore.shim6_endpoint import Shim6Endpoint

@final
class Shim6Pump(Served):
    on_told: Callable[[], None] | None
    on_ack: Callable[[bytes], None] | None
    on_too_big: Callable[[bytes], None] | None
    def __init__(
        self,
        endpoint: Shim6Endpoint,
        queue: PacketQueue,
        open_sender: Callable[[bytes], RawSender],
        segment_size: Callable[[bytes], int],
    ) -> None: ...
    def turn(self, batches: int) -> int: ...
