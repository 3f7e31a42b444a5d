"""The name of the program that has a conversation, for `shim6.applications`: by sock_diag(7) and proc(5)."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mpcore.errors import HostError
from mpcore.host.rtnetlink import RouteSocket
from mpcore.host.sock_diag import NETLINK_SOCK_DIAG, REQUEST, SOCK_DIAG_BY_FAMILY
from mpcore.shim6.heuristic import FlowKey

_PORTS = struct.Struct("!HH")
_PORTS_AT, _SOURCE, _DESTINATION = 4, slice(8, 24), slice(24, 40)
_INODE = struct.Struct("=I")
_INODE_AT = 68
_ANY = bytes(16)
_ALL_STATES = 0xFFF


def program_of(key: FlowKey, proc: Path = Path("/proc")) -> str | None:
    """Return the name of the program whose socket has the conversation, as in /proc/PID/comm.

    None where there is no such socket or it cannot be told. Reads the descriptors of all processes.
    """
    if key.protocol not in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
        return None
    try:
        inode = _inode_of(key)
    except (HostError, OSError):
        return None
    return None if not inode else _owner_of(f"socket:[{inode}]", proc)


def _inode_of(key: FlowKey) -> int | None:
    """Return the inode of the connected socket, else of an unconnected one of this port."""
    wide = None
    with RouteSocket(protocol=NETLINK_SOCK_DIAG) as kernel:
        request = REQUEST.pack(socket.AF_INET6, key.protocol, 0, _ALL_STATES)
        for message in kernel.dump_by(SOCK_DIAG_BY_FAMILY, request):
            body = message.body
            if len(body) < _INODE_AT + _INODE.size:
                continue
            local, peer = _PORTS.unpack_from(body, _PORTS_AT)
            if local != key.port_local or body[_SOURCE] not in (key.ulid_local, _ANY):
                continue
            inode = int(_INODE.unpack_from(body, _INODE_AT)[0])
            if (peer, body[_DESTINATION]) == (key.port_peer, key.ulid_peer):
                return inode
            if body[_DESTINATION] == _ANY and key.protocol == socket.IPPROTO_UDP:
                wide = inode
    return wide


def _owner_of(link: str, proc: Path) -> str | None:
    for process in _processes(proc):
        with suppress(OSError):  # it has ended meanwhile, or is not this user's to look at
            for descriptor in os.scandir(process / "fd"):
                if _target(descriptor.path) == link:
                    return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    return None


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _processes(proc: Path) -> Iterator[Path]:
    yield from (entry for entry in proc.iterdir() if entry.name.isdecimal())
