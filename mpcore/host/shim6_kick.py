"""Tells TCP sockets that their context took other locators: what size fits, and to go on at once."""

import logging
import socket
import struct
from collections.abc import Callable, Collection, Iterator, Mapping

from mpcore.errors import HostError
from mpcore.host.rawsock import RawSender
from mpcore.host.rtnetlink import RouteSocket, parse_attributes
from mpcore.host.shim6_sockets import LIVING
from mpcore.host.sock_diag import (
    INET_DIAG_INFO,
    INFO_WANTED,
    NETLINK_SOCK_DIAG,
    REQUEST,
    SOCK_DIAG_BY_FAMILY,
)
from mpcore.shim6.kick import Backoff, kicks, questions, read_answer
from mpcore.shim6.locators import Pair
from mpcore.shim6.own_errors import TcpFlow, segment_too_big

ANSWER = struct.Struct("=4x2s2s16s16s32x")  # struct inet_diag_msg
BACKOFF_AT = 4  # octets into struct tcp_info, as the other two
COUNTS = struct.Struct("=Q72xQQ")  # acknowledged, then sent and retransmitted octets
COUNTS_AT = 120
ASKED_MAX = 4096
VAIN_DOUBLINGS = 2  # of the timer: what was sent three times is not lost to a full queue

log = logging.getLogger(__name__)


class TcpKicker:
    """Asks the sockets of a pair of ULIDs for their sequence numbers, and tells each that answers.

    Args:
        mark: keeps the packets out of the queue
        show: lets the answers between these pairs of ULIDs, and no others, come to the queue
        on_kick: called for each socket that is kicked
    """

    def __init__(
        self, mark: int, show: Callable[[Collection[Pair]], None], on_kick: Callable[[], None]
    ) -> None:
        self._mark = mark
        self._show = show
        self._on_kick = on_kick
        self._asked: dict[TcpFlow, Backoff] = {}
        self._mtus: Mapping[Pair, int] = {}
        self._sender: RawSender | None = None

    def __bool__(self) -> bool:
        """Tell whether answers are awaited."""
        return bool(self._asked)

    def close(self) -> None:
        """Close the socket."""
        if self._sender is not None:
            self._sender.close()

    def ask(self, pairs: Collection[Pair], mtus: Mapping[Pair, int]) -> None:
        """Ask the sockets between `pairs` of ULIDs whose timer doubled, and all between those in `mtus`.

        `mtus` has how long packets between them may be, in octets. Earlier questions are over.
        """
        self._asked.clear()
        self._mtus = mtus
        try:
            for found in read_backoffs() if pairs or mtus else ():
                wanted = found.pair in mtus or (found.doublings and found.pair in pairs)
                if wanted and len(self._asked) < ASKED_MAX:
                    self._asked[found.flow] = found
            self._show({each.pair for each in self._asked.values()})
            self._send([packet for flow in self._asked for packet in questions(flow)])
        except (HostError, OSError) as error:
            log.warning("TCP is not told of changed paths, and waits for its timer: %s", error)

    def note_sent(self, packet: bytes) -> None:
        """Take a packet of this host, between its ULIDs: an answer leads to what the socket is to be told."""
        answer = read_answer(packet)
        asked = self._asked.pop(answer[0], None) if answer is not None else None
        if answer is None or asked is None:
            return
        mtu = self._mtus.get(asked.pair)
        resized = [] if mtu is None else [segment_too_big(asked.flow, answer[1], mtu)]
        try:
            self._send([*resized, *kicks(asked, answer[1])])
        except OSError as error:
            log.warning("TCP waits for its timer: %s", error)
            return
        if asked.doublings:
            self._on_kick()

    def _send(self, packets: list[bytes]) -> None:
        if packets:
            if self._sender is None:
                self._sender = RawSender(6, mark=self._mark)
            self._sender.send_batch(packets)


def struggling(pairs: Collection[Pair]) -> set[Pair]:
    """Return those pairs of ULIDs between which a TCP socket repeats in vain. Raises HostError, OSError."""
    return {each.pair for each in read_backoffs() if each.doublings >= VAIN_DOUBLINGS and each.pair in pairs}


def read_backoffs() -> Iterator[Backoff]:
    """Yield what the TCP sockets of IPv6 here tell. Raises HostError, OSError."""
    request = REQUEST.pack(socket.AF_INET6, socket.IPPROTO_TCP, INFO_WANTED, LIVING)
    with RouteSocket(protocol=NETLINK_SOCK_DIAG) as kernel:
        for message in kernel.dump_by(SOCK_DIAG_BY_FAMILY, request):
            if len(message.body) < ANSWER.size:
                continue
            local_port, peer_port, local, peer = ANSWER.unpack_from(message.body)
            info = parse_attributes(message.body[ANSWER.size :]).get(INET_DIAG_INFO, b"")
            if len(info) >= COUNTS_AT + COUNTS.size:
                acknowledged, sent, again = COUNTS.unpack_from(info, COUNTS_AT)
                flow = TcpFlow(local, int.from_bytes(local_port), peer, int.from_bytes(peer_port))
                yield Backoff(flow, info[BACKOFF_AT], max(sent - again - acknowledged, -1))
