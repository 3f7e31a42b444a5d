"""Router advertisements as they arrive at this host: the kernel tells what it took of them, not of whom."""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from mpcore.errors import HostError
from mpcore.wire.router import ROUTER_ADVERTISEMENT

MESSAGES_A_TURN = 64  # what more comes waits in the socket, or is lost there
MESSAGE_BYTES = 1 << 16
ICMP6_FILTER = 1
_HOP_LIMIT = struct.Struct("=i")


@dataclass(frozen=True, slots=True)
class Advertisement:
    """A message from its ICMPv6 type on, the number of its interface, and what its IPv6 header says."""

    interface: int
    source: bytes
    hop_limit: int
    message: bytes


class RouterListener:
    """Hears on all interfaces. Raises HostError when there is no such socket."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(
                socket.AF_INET6,
                socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
                socket.IPPROTO_ICMPV6,
            )
        except OSError as error:
            raise HostError(f"no socket for router advertisements: {error}; run as root") from error
        # one bit a type, set where it is kept away
        words = [0xFFFFFFFF] * 8
        words[ROUTER_ADVERTISEMENT // 32] ^= 1 << ROUTER_ADVERTISEMENT % 32
        self._socket.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("=8I", *words))
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def read(self) -> Iterator[Advertisement]:
        """Yield what has come, without waiting."""
        with suppress(OSError):  # nothing more, or an error of an interface that has gone
            for _ in range(MESSAGES_A_TURN):
                message, more, _, sender = self._socket.recvmsg(
                    MESSAGE_BYTES, socket.CMSG_SPACE(_HOP_LIMIT.size)
                )
                source = socket.inet_pton(socket.AF_INET6, sender[0].partition("%")[0])
                yield Advertisement(sender[3], source, _hop_limit(more), message)


def _hop_limit(more: list[tuple[int, int, bytes]]) -> int:
    """Return the hop limit; -1 where the kernel has not told it."""
    for level, kind, data in more:
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT) and len(data) >= _HOP_LIMIT.size:
            return int(_HOP_LIMIT.unpack_from(data)[0])
    return -1
