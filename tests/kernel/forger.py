"""A peer of the test's own making: it sends what no kernel would."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from mpcore.lab.topology import Lab
from mpcore.wire.values import Segment, TcpOption, emit_segment, parse_segment
from tests.helpers.netns import inside

SOURCE_PORT = 40_404


class Forger:
    """Sends IPv4 segments of its own making from host `b` to `port` of host `a`, and hears answers."""

    def __init__(self, hosts: Lab, port: int) -> None:
        self.here = hosts.links[1].address(hosts.b)
        self.there = hosts.links[1].address(hosts.a)
        self.port = port
        with inside(hosts.b):
            self._out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
            self._in = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        self._in.settimeout(5)

    def close(self) -> None:
        self._out.close()
        self._in.close()

    def send(self, seq: int, ack: int, flags: int, *options: TcpOption) -> None:
        segment = Segment(
            version=4,
            src=socket.inet_aton(self.here),
            dst=socket.inet_aton(self.there),
            src_port=SOURCE_PORT,
            dst_port=self.port,
            seq=seq,
            ack=ack,
            flags=flags,
            window=65535,
            options=options,
        )
        self.send_raw(emit_segment(segment))

    def send_raw(self, packet: bytes) -> None:
        self._out.sendto(packet, (self.there, 0))

    def hear(self) -> Segment:
        """Return the next segment for our port."""
        while True:
            segment = parse_segment(self._in.recv(4096))
            if segment.dst_port == SOURCE_PORT:
                return segment


@contextmanager
def forging(hosts: Lab, port: int) -> Iterator[Forger]:
    """Have a forger whose kernel does not answer in its place."""
    words = f"-p tcp --sport {SOURCE_PORT} --tcp-flags RST RST -j DROP".split()
    hosts.b.run(["iptables", "-w", "-A", "OUTPUT", *words])
    forger = Forger(hosts, port)
    try:
        yield forger
    finally:
        forger.close()
        hosts.b.run(["iptables", "-w", "-D", "OUTPUT", *words])
