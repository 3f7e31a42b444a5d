"""A packet of a queue as Python sees it, in tests and tools; the driver works on `packet_t` alone."""

from dataclasses import dataclass
from enum import IntFlag


class PacketFlag(IntFlag):
    """What the kernel said about the copy of a packet; the numbers are those of `mpcore/store/packet.pxd`."""

    CHECKSUM_NOT_READY = 1
    TRUNCATED = 2
    GSO = 4


@dataclass(frozen=True, slots=True)
class QueuedPacket:
    """A packet that waits in the kernel for its verdict."""

    id: int
    from_host: bool
    data: bytes
    mark: int
    hook: int
    flags: PacketFlag
