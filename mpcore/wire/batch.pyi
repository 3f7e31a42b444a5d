from collections.abc import Iterable, Sequence
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

from mpcore.wire.rewrite import Shim6Flow, TcpRewrite

HEADERS_DTYPE: np.dtype[np.void]

@final
class PacketBatch:
    def __new__(cls, buffer: Buffer, offsets: npt.ArrayLike, sizes: npt.ArrayLike) -> Self: ...
    @staticmethod
    def of(packets: Iterable[Buffer]) -> PacketBatch: ...
    @staticmethod
    def room(count: int, size: int) -> PacketBatch: ...
    @property
    def buffer(self) -> Any: ...
    @property
    def offsets(self) -> npt.NDArray[np.uint64]: ...
    @property
    def sizes(self) -> npt.NDArray[np.uint32]: ...
    @property
    def statuses(self) -> npt.NDArray[np.int8]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, i: int, /) -> bytes: ...

def parse_batch(batch: PacketBatch, out: npt.NDArray[np.void] | None = None) -> npt.NDArray[np.void]: ...
def checksum_batch(batch: PacketBatch) -> npt.NDArray[np.uint16]: ...
def context_tags(batch: PacketBatch) -> npt.NDArray[np.int64]: ...
def shim6_insert_batch(
    batch: PacketBatch,
    flows: Sequence[Shim6Flow],
    index: npt.ArrayLike | None = None,
    out: PacketBatch | None = None,
) -> PacketBatch: ...
def shim6_remove_batch(
    batch: PacketBatch,
    flows: Sequence[Shim6Flow],
    index: npt.ArrayLike | None = None,
    out: PacketBatch | None = None,
) -> PacketBatch: ...
def rewrite_batch(
    batch: PacketBatch,
    rules: Sequence[TcpRewrite],
    index: npt.ArrayLike | None = None,
    out: PacketBatch | None = None,
) -> PacketBatch: ...
