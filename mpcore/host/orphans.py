"""Connections that a killed daemon took over: their ends number bytes differently, so neither can go on.

While the rules of `Rules.refuse_orphans` stand, each packet of such a connection is answered by a reset. A
program that only waits sends none; so each socket is made to say something, by a packet with a sequence
number that it does not expect (RFC 9293 §3.10.7.4: an unacceptable segment is answered by an ACK). A socket
of another connection answers too, and its peer takes no notice of one more ACK.
"""

import ipaddress
import logging
import struct
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mpcore.errors import HostError
from mpcore.host.rawsock import RawSender
from mpcore.wire.unexpected import unexpected_segments

TABLES = ("tcp", "tcp6")
CONNECTED = ("01", "04", "05", "08", "09", "0B")  # established, and those that close; not time-wait
LIBERAL = Path("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal")
ROUNDS = 2
INTERVAL_S = 0.6  # a socket answers such packets every half second at most (tcp_invalid_ratelimit)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connected:
    """A connected socket of this network namespace, as the kernel lists it."""

    local: bytes
    local_port: int
    remote: bytes
    remote_port: int


def connected_sockets(folder: Path = Path("/proc/self/net")) -> set[Connected]:
    """Return the connected TCP sockets; IPv4 ones that look like IPv6 by their real addresses."""
    found = set()
    for name in TABLES:
        with suppress(OSError):
            found |= set(_listed((folder / name).read_text()))
    return found


def _listed(text: str) -> Iterator[Connected]:
    for line in text.splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        if state in CONNECTED:
            yield Connected(*_endpoint(local), *_endpoint(remote))


def _endpoint(text: str) -> tuple[bytes, int]:
    """Return address and port; the address is printed in words of the host's byte order."""
    address, _, port = text.partition(":")
    words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    if len(packed) == 16:
        mapped = ipaddress.IPv6Address(packed).ipv4_mapped
        packed = packed if mapped is None else mapped.packed
    return packed, int(port, 16)


def end_orphans(mark: int) -> None:
    """Have every socket of a connection that is refused reset. For while the refusing rules stand."""
    sockets = connected_sockets()
    with liberal_tracking():
        for _ in range(ROUNDS):
            sockets &= connected_sockets()
            if not sockets:
                return
            probe(sockets, mark)
            time.sleep(INTERVAL_S)


@contextmanager
def liberal_tracking(path: Path = LIBERAL) -> Iterator[None]:
    """Have packets with strange sequence numbers known by their connection, and so by its mark.

    Connection tracking has seen the numbers of a subflow; those of the socket are ahead by all that other
    subflows carried.
    """
    before = ""
    with suppress(OSError):
        before = path.read_text()
        path.write_text("1")
    try:
        yield
    finally:
        if before:
            with suppress(OSError):
                path.write_text(before)


def probe(sockets: Collection[Connected], mark: int) -> None:
    """Make each socket send an ACK. `mark` keeps the probes out of queue and connection tracking."""
    for version in (4, 6):
        meant = [each for each in sockets if len(each.local) == (4 if version == 4 else 16)]
        if not meant:
            continue
        try:
            with RawSender(version, mark=mark) as sender:
                sender.send_batch([packet for each in meant for packet in _probes(each)])
        except HostError as error:
            log.warning("programs may wait on connections that are lost: %s", error)


def _probes(each: Connected) -> list[bytes]:
    return unexpected_segments(each.local, each.local_port, each.remote, each.remote_port)
