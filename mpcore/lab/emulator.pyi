from typing import Self, final

SLOT_BYTES: int

@final
class Emulator:
    def __new__(cls, left: int, right: int, capacity: int = 32768) -> Self: ...
    def configure(
        self,
        way: int,
        *,
        rate_mbit: float | None,
        queue_ms: float,
        delay_ms: float,
        jitter_ms: float,
        loss: float,
        reorder: float,
        duplicate: float,
        mark: float,
        seed: int,
    ) -> None: ...
    def run(self, control: int) -> bool: ...
    def stats(self, way: int) -> dict[str, int]: ...

def enter_namespace(path: str) -> None: ...
