from collections.abc import Callable
from typing import final

from mpcore.host.nfqueue import PacketQueue
from mpcore.shim6_endpoint import Shim6Endpoint

@final
class Shim6Pump:
    on_ack: Callable[[bytes], None] | None
    def __init__(self, endpoint: Shim6Endpoint, queue: PacketQueue) -> None: ...
    def turn(self, batches: int) -> int: ...
