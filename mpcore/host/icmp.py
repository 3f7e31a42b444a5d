"""ICMP errors as they arrive at this host, for the subflows that its own TCP does not know.

A raw socket gets copies: the kernel goes on to tell the sockets that are meant. Filters keep everything but
errors away.
"""

import socket
import struct
from contextlib import suppress

from mpcore.errors import HostError
from mpcore.wire.icmp import TOO_BIG_6, UNREACHABLE_4, UNREACHABLE_6

MESSAGES_A_TURN = 64  # what more comes waits in the socket, or is lost there
MESSAGE_BYTES = 1 << 16
SOL_RAW, ICMP_FILTER = 255, 1
ICMP6_FILTER = 1


class IcmpErrors:
    """The errors of one IP version (4 or 6). Raises HostError when there is no such socket."""

    def __init__(self, version: int) -> None:
        self.version = version
        try:
            self._socket = _open(version)
        except OSError as error:
            raise HostError(f"no raw ICMP socket for IPv{version}: {error}") from error

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def read(self) -> list[bytes]:
        """Return messages that have come, each from its ICMP type on."""
        messages: list[bytes] = []
        with suppress(BlockingIOError):
            while len(messages) < MESSAGES_A_TURN:
                packet = self._socket.recv(MESSAGE_BYTES)
                # a raw IPv4 socket gives the IP header too, one of IPv6 does not
                messages.append(packet[(packet[0] & 0x0F) * 4 :] if self.version == 4 and packet else packet)
        return messages


def _open(version: int) -> socket.socket:
    if version == 4:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
        # one bit a type, set where it is kept away
        sock.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", ~(1 << UNREACHABLE_4) & 0xFFFFFFFF))
        return sock
    sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
    first = ~(1 << UNREACHABLE_6 | 1 << TOO_BIG_6) & 0xFFFFFFFF
    sock.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("=8I", first, *[0xFFFFFFFF] * 7))
    return sock
