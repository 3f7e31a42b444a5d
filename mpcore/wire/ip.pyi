from typing import Any

from typing_extensions import Buffer

def describe(data: Buffer) -> dict[str, Any]: ...
def emit_header(
    src: bytes, dst: bytes, protocol: int, payload_size: int, *, ttl: int = 64, tos: int = 0
) -> bytes: ...
