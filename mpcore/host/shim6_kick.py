"""Kicks TCP sockets whose context took other locators, so that they do not sit out a doubled timer."""

import logging
import socket
import struct
from collections.abc import Callable, Collection, Iterator

from mpcore.errors import HostError
from mpcore.host.rawsock import RawSender
from mpcore.host.rtnetlink import RouteSocket, parse_attributes
from mpcore.host.shim6_sockets import LIVING, NETLINK_SOCK_DIAG, REQUEST, SOCK_DIAG_BY_FAMILY
from mpcore.shim6.kick import Backoff, TcpFlow, kicks, questions, read_answer
from mpcore.shim6.locators import Pair

INET_DIAG_INFO = 2
ANSWER = struct.Struct("=4x2s2s16s16s32x")  # struct inet_diag_msg
BACKOFF_AT = 4  # octets into struct tcp_info, as the other two
COUNTS = struct.Struct("=Q72xQQ")  # acknowledged, then sent and retransmitted octets
COUNTS_AT = 120
ASKED_MAX = 4096

log = logging.getLogger(__name__)


class TcpKicker:
    """Asks the sockets of a pair of ULIDs for their sequence numbers, and kicks each that answers.

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
        self._sender: RawSender | None = None

    def __bool__(self) -> bool:
        """Tell whether answers are awaited."""
        return bool(self._asked)

    def close(self) -> None:
        """Close the socket."""
        if self._sender is not None:
            self._sender.close()

    def ask(self, pairs: Collection[Pair]) -> None:
        """Ask the sockets between these ULIDs that wait on a doubled timer; earlier questions are over."""
        self._asked.clear()
        try:
            for found in read_backoffs() if pairs else ():
                if found.pair in pairs and len(self._asked) < ASKED_MAX:
                    self._asked[found.flow] = found
            self._show({each.pair for each in self._asked.values()})
            self._send([packet for flow in self._asked for packet in questions(flow)])
        except (HostError, OSError) as error:
            log.warning("TCP is not told of changed paths, and waits for its timer: %s", error)

    def note_sent(self, packet: bytes) -> None:
        """Take a packet of this host, between its ULIDs: an answer leads to the kick."""
        answer = read_answer(packet)
        asked = self._asked.pop(answer[0], None) if answer is not None else None
        if answer is not None and asked is not None:
            try:
                self._send(kicks(asked, answer[1]))
            except OSError as error:
                log.warning("TCP waits for its timer: %s", error)
                return
            self._on_kick()

    def _send(self, packets: list[bytes]) -> None:
        if packets:
            if self._sender is None:
                self._sender = RawSender(6, mark=self._mark)
            self._sender.send_batch(packets)


def read_backoffs() -> Iterator[Backoff]:
    """Yield the TCP sockets of IPv6 here whose timer doubled. Raises HostError, OSError."""
    request = REQUEST.pack(socket.AF_INET6, socket.IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), LIVING)
    with RouteSocket(protocol=NETLINK_SOCK_DIAG) as kernel:
        for message in kernel.dump_by(SOCK_DIAG_BY_FAMILY, request):
            if len(message.body) < ANSWER.size:
                continue
            local_port, peer_port, local, peer = ANSWER.unpack_from(message.body)
            info = parse_attributes(message.body[ANSWER.size :]).get(INET_DIAG_INFO, b"")
            if len(info) >= COUNTS_AT + COUNTS.size and info[BACKOFF_AT]:
                acknowledged, sent, again = COUNTS.unpack_from(info, COUNTS_AT)
                flow = TcpFlow(local, int.from_bytes(local_port), peer, int.from_bytes(peer_port))
                yield Backoff(flow, info[BACKOFF_AT], max(sent - again - acknowledged, -1))
