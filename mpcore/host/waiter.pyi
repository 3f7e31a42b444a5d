from collections.abc import Sequence
from typing import final

from typing_extensions import disjoint_base

@disjoint_base
class Served: ...

@final
class Waiter:
    wakeups: int

    def __init__(self, epoll: int, served: Sequence[Served]) -> None: ...
    def serve(self, due_ns: int | None, batches: int) -> list[int]: ...
