"""The few rtnetlink(7) messages that mpcore speaks: requests, dumps and attributes, over one socket.

All numbers are in host byte order. The kernel is spoken to directly: these messages are few, and the daemon
needs a descriptor to wait on and no other event loop beside its own.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from mpcore.errors import HostError

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_CREATE_NEW = 0x600  # NLM_F_CREATE | NLM_F_EXCL
TYPE_MASK = 0x3FFF
HEADER = struct.Struct("=IHHII")
RECEIVE_BYTES = 1 << 18
TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the kernel: its type and what follows the netlink header."""

    kind: int
    seq: int
    body: bytes


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute, padded to four bytes."""
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def attribute32(kind: int, value: int) -> bytes:
    """Return an attribute with a 32-bit number."""
    return attribute(kind, struct.pack("=I", value))


def parse_attributes(data: bytes) -> dict[int, bytes]:
    """Return attributes by type; the walk ends at the first with an impossible length."""
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        if size < 4 or size > len(data):
            break
        found[kind & TYPE_MASK] = data[4:size]
        data = data[(size + 3) & ~3 :]
    return found


def parse_messages(data: bytes) -> Iterator[Message]:
    """Yield the messages of a datagram; what does not make sense ends it."""
    while len(data) >= HEADER.size:
        size, kind, _, seq, _ = HEADER.unpack_from(data)
        if size < HEADER.size or size > len(data):
            return
        yield Message(kind, seq, data[HEADER.size : size])
        data = data[(size + 3) & ~3 :]


class RouteSocket:
    """An rtnetlink socket in this process's network namespace. Raises HostError.

    `groups` is the mask of the RTMGRP_ events that `events` returns. With another `protocol` of netlink(7)
    the messages are that one's.
    """

    def __init__(self, groups: int = 0, protocol: int = socket.NETLINK_ROUTE) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
            self._socket.bind((0, groups))
        except OSError as error:
            raise HostError(f"no rtnetlink socket: {error}; allow AF_NETLINK to this process") from error
        # not settimeout(), with which Python waits in spite of MSG_DONTWAIT
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", TIMEOUT_S, 0))
        self._seq = 0
        self.pending: list[Message] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor, readable when events wait, for epoll; -1 when closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def request(self, kind: int, body: bytes, flags: int = 0) -> None:
        """Ask for a change and wait for the kernel's answer. Raises OSError with the kernel's errno."""
        self._send(kind, NLM_F_REQUEST | NLM_F_ACK | flags, body)
        for message in self._answers():
            raise OSError(errno.EPROTO, f"unexpected rtnetlink message {message.kind}")

    def ask(self, kind: int, body: bytes) -> list[Message]:
        """Return what the kernel answers to a question about one object. Raises OSError with its errno."""
        self._send(kind, NLM_F_REQUEST | NLM_F_ACK, body)
        return list(self._answers())

    def dump(self, kind: int, family: int) -> list[Message]:
        """Return every object of a kind. Raises OSError."""
        # the largest of the fixed headers is that of links; the kernel takes the family from its first byte
        return self.dump_by(kind, struct.pack("=B15x", family))

    def dump_by(self, kind: int, body: bytes) -> list[Message]:
        """Return every object that a request's body describes. Raises OSError."""
        self._send(kind, NLM_F_REQUEST | NLM_F_DUMP, body)
        return list(self._answers())

    def events(self) -> list[Message]:
        """Return the events that wait, without waiting. Raises OSError; ENOBUFS means that some were lost."""
        found, self.pending = self.pending, []
        while True:
            try:
                found += self.receive()
            except BlockingIOError:
                return found

    def receive(self) -> list[Message]:
        """Return the events of one datagram. Raises OSError: BlockingIOError when none waits."""
        return list(parse_messages(self._socket.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)))

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._seq += 1
        self._socket.send(HEADER.pack(HEADER.size + len(body), kind, flags, self._seq, 0) + body)

    def _answers(self) -> Iterator[Message]:
        """Yield the answers to the last request until the one that ends them; events meanwhile are kept."""
        while True:
            for message in parse_messages(self._socket.recv(RECEIVE_BYTES)):
                if message.seq != self._seq:
                    self.pending.append(message)
                elif message.kind in (NLMSG_ERROR, NLMSG_DONE):
                    raise_status(message.body)
                    return
                else:
                    yield message


def raise_status(body: bytes) -> None:
    """Raise OSError when the kernel's answer is an error."""
    status = struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
    if status:
        raise OSError(-status, os.strerror(-status))
