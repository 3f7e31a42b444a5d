"""Sockets of the kernel's own MPTCP, and programs that open them without knowing."""

import socket
import struct
from pathlib import Path

from mpcore.lab.commands import run_command
from mpcore.lab.host import Host

IPPROTO_MPTCP = 262
SOL_MPTCP = 284
MPTCP_INFO = 1

_PRELOAD_SOURCE = """\
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
int socket(int family, int type, int protocol)
{
    int inet = family == AF_INET || family == AF_INET6;
    if (inet && (type & 0xf) == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP))
        protocol = 262; /* IPPROTO_MPTCP */
    return (int)syscall(SYS_socket, family, type, protocol);
}
"""


def open_socket(version: int, mptcp: bool) -> socket.socket:
    """Return an unconnected stream socket for IP `version`, of the kernel's MPTCP or of its TCP."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return socket.socket(family, socket.SOCK_STREAM, IPPROTO_MPTCP if mptcp else socket.IPPROTO_TCP)


def listen_socket(address: str, port: int, mptcp: bool) -> socket.socket:
    """Return a listening socket on `address`; port 0 lets the kernel choose."""
    listener = open_socket(6 if ":" in address else 4, mptcp)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(128)
    return listener


def subflow_count(sock: socket.socket) -> int:
    """Return how many subflows the kernel has on this connection now; 0 means that it is plain TCP."""
    try:
        info = sock.getsockopt(SOL_MPTCP, MPTCP_INFO, 16)
    except OSError:
        return 0
    additional, flags = info[0], struct.unpack_from("=I", info, 8)[0]
    fallback = flags & 1
    return 0 if fallback else int(additional) + 1


def build_mptcp_preload(folder: Path) -> dict[str, str]:
    """Compile, in `folder`, a library by which unmodified programs get MPTCP sockets.

    Returns the environment that loads it. It is what `mptcpize run` does; owning it spares a package.
    Needs gcc.
    """
    source, library = folder / "mptcp_sockets.c", folder / "mptcp_sockets.so"
    source.write_text(_PRELOAD_SOURCE)
    run_command(["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)])
    return {"LD_PRELOAD": str(library)}


def is_listening(host: Host, port: int) -> bool:
    """Tell whether some program of `host` listens on TCP `port`."""
    return bool(host.run(["ss", "-Hltn", f"sport = :{port}"]).stdout.strip())
