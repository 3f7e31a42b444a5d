"""The path MTU of packets between ULIDs, told to the kernel before they get the header of 8 octets.

Otherwise the first packets of full size that leave by other locators would not fit, each a Packet Too Big
and a retransmission. The kernel learns a path's MTU by such errors alone, so it is told by one: about no
packet that was sent, once for the destination. It keeps that for 10 minutes (`net.ipv6.route.mtu_expires`).

New connections and datagrams go by it at once. A TCP socket looks after its next packet only, which is of the
old size, so those that there are get an error of their own (`mpcore.host.shim6_kick`).
"""

import logging
import socket
from collections.abc import Mapping

from mpcore.errors import HostError
from mpcore.host.rawsock import RawSender
from mpcore.shim6.effects import Path
from mpcore.shim6.locators import Pair
from mpcore.shim6.own_errors import segment_too_big, too_big
from mpcore.shim6.segment import segment_of
from mpcore.wire.shim6_constants import PAYLOAD_HEADER_SIZE

IPV6_MTU = 24  # missing in the module socket
IPV6_MTU_MIN = 1280  # RFC 8200 §5
DISCARD_PORT = 9

log = logging.getLogger(__name__)


class PathMtu:
    """Tells this host's kernel, by packets with `mark`, which keeps them out of the queue."""

    def __init__(self, mark: int) -> None:
        self._mark = mark
        self._sender: RawSender | None = None
        self._paths: dict[int, tuple[Pair, Pair]] = {}  # ULIDs and locators of contexts that were told of

    def close(self) -> None:
        """Close the socket."""
        if self._sender is not None:
            self._sender.close()

    def note_paths(self, changes: Mapping[int, Path | None]) -> dict[Pair, int]:
        """Take in what became of contexts, and tell of those that take other locators from now on.

        Returns the MTU of each pair of ULIDs that the kernel was told of.
        """
        told: dict[Pair, int] = {}
        for number, path in changes.items():
            if path is None or not path.rewrites:
                self._paths.pop(number, None)
                continue
            ulids = Pair(path.ulid_local, path.ulid_peer)
            locators = Pair(path.locator_local, path.locator_peer)
            if self._paths.get(number) != (ulids, locators):
                self._paths[number] = ulids, locators
                mtu = self._tell(ulids, locators)
                if mtu is not None:
                    told[ulids] = mtu
        return told

    def refuse(self, headers: bytes) -> None:
        """Answer a segment between ULIDs, by its headers, too long for the link behind the header."""
        found = segment_of(headers)
        if found is None:
            return
        flow, seq = found
        # with forks there are several: the smallest fits all
        ways = [way for ulids, way in self._paths.values() if ulids == Pair(flow.local, flow.peer)]
        if not ways:
            return
        try:
            mtu = max(min(map(path_mtu, ways)) - PAYLOAD_HEADER_SIZE, IPV6_MTU_MIN)
            self._send(segment_too_big(flow, seq, mtu))
        except (HostError, OSError) as error:
            log.debug("a socket is not told of a path MTU: %s", error)

    def _send(self, packet: bytes) -> None:
        if self._sender is None:
            self._sender = RawSender(6, mark=self._mark)
        self._sender.send(packet)

    def _tell(self, ulids: Pair, locators: Pair) -> int | None:
        """Let packets between `ulids` have room for the header on the path of `locators`."""
        try:
            mtu = path_mtu(locators) - PAYLOAD_HEADER_SIZE
            if mtu < IPV6_MTU_MIN:
                return None  # no kernel believes in less; what is longer is fragmented behind the header
            self._send(too_big(ulids.local, ulids.peer, mtu))
        except (HostError, OSError) as error:
            log.debug("the path MTU of a context is left to be found out: %s", error)
            return None
        return mtu


def path_mtu(pair: Pair) -> int:
    """Return in octets what the kernel knows of the path between two addresses. Raises OSError."""
    local, peer = (socket.inet_ntop(socket.AF_INET6, address) for address in pair)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
        asking.bind((local, 0))
        asking.connect((peer, DISCARD_PORT))
        return asking.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)
