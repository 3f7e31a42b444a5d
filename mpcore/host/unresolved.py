"""Packets that wait for a neighbour that is not there: what a path took along that has just been left.

When the interface of a ULID goes, its packets leave by another until the context has moved, and there the
kernel looks for the peer in vain, for three seconds. TCP repeats nothing that still waits in its own host, so
the kernel has to give up at once.
"""

import logging
import socket
from collections.abc import Collection
from contextlib import suppress

from mpcore.errors import HostError
from mpcore.host.rtnetlink import RouteSocket, attribute, parse_attributes
from mpcore.host.shim6_hints import NDA_DST, NEIGHBOUR, RTM_NEWNEIGH

RTM_DELNEIGH, RTM_GETNEIGH = 29, 30
NUD_INCOMPLETE = 0x01

log = logging.getLogger(__name__)


def forget_unresolved(addresses: Collection[bytes]) -> None:
    """End the search for neighbours with these addresses, on all interfaces, and drop what waits for them."""
    if not addresses:
        return
    try:
        with RouteSocket() as kernel:
            for message in kernel.dump(RTM_GETNEIGH, socket.AF_INET6):
                if message.kind != RTM_NEWNEIGH or len(message.body) < NEIGHBOUR.size:
                    continue
                _, index, state, _, _ = NEIGHBOUR.unpack_from(message.body)
                address = parse_attributes(message.body[NEIGHBOUR.size :]).get(NDA_DST, b"")
                if state & NUD_INCOMPLETE and address in addresses:
                    _forget(kernel, index, address)
    except (HostError, OSError) as error:
        log.warning("packets may wait for a neighbour that is not there: %s", error)


def _forget(kernel: RouteSocket, index: int, address: bytes) -> None:
    head = NEIGHBOUR.pack(socket.AF_INET6, index, 0, 0, 0)
    with suppress(OSError):  # it is gone by itself, or found
        kernel.request(RTM_DELNEIGH, head + attribute(NDA_DST, address))
