from typing import NamedTuple

from typing_extensions import Buffer

class IcmpError(NamedTuple):
    type: int
    code: int
    pointer: int
    quote: bytes

def read_error(packet: Buffer) -> IcmpError | None: ...
def restore_error(packet: Buffer, ulid_local: bytes, ulid_peer: bytes) -> bytes | None: ...
