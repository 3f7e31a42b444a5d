"""A TCP segment in its IP packet as a value (RFC 791, RFC 8200, RFC 9293)."""

from typing import TypeVar

from mpcore.value import value
from mpcore.wire.tcp_options import TcpOption

OptionT = TypeVar("OptionT")


@value
class Segment:
    """An IP packet that holds one TCP segment.

    `src` and `dst` are raw addresses of 4 or 16 bytes by `version`; `seq` and `ack` are 32 bits; `flags` are
    those of `TcpFlag`; `window` is as on the wire, unscaled. IP options and extension headers are not kept.
    """

    version: int
    src: bytes
    dst: bytes
    src_port: int
    dst_port: int
    seq: int
    ack: int
    flags: int
    window: int
    options: tuple[TcpOption, ...] = ()
    payload: bytes = b""
    urgent: int = 0
    ttl: int = 64
    tos: int = 0

    def find(self, kind: type[OptionT]) -> OptionT | None:
        """Return the first option of this class, or None."""
        for option in self.options:
            if isinstance(option, kind):
                return option
        return None
