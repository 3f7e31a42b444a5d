"""Reassemble the data of Multipath TCP connections from a capture: `reassemble.py [FILE.pcap]`.

The capture holds raw IP packets (link type RAW, nanoseconds), the handshake included: the keys tell where the
numbers begin, the tokens which subflows belong together. Without a file it makes a capture of its own, a
transfer over two links that lose, in the simulator, and prints

    150000 bytes to 10.0.0.2:5001: as sent
"""

import hashlib
import ipaddress
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from mpcore.config import Config
from mpcore.endpoint import Endpoint
from mpcore.mptcp.keys import idsn, token
from mpcore.sim import LinkPlan, LinkSettings, run_transfer
from mpcore.store.reorder import ReorderQueue
from mpcore.store.ring import ByteRing, ChunkPool
from mpcore.wire.mptcp import expand
from mpcore.wire.packet import Packet
from mpcore.wire.values import Dss, MpCapable, MpJoinSyn

Flow = tuple[bytes, int, bytes, int]
SPAN_BYTES = 1 << 30


class Stream:
    """One direction of a connection: a ring for the bytes, a queue for what is out of order."""

    def __init__(self, key: int, to: str) -> None:
        self.to = to
        self.first = self.expected = (idsn(key) + 1) % 2**64
        self.queue = ReorderQueue("runs")
        self.ring = ByteRing(ChunkPool(SPAN_BYTES >> 16), SPAN_BYTES, self.expected)
        self.size = 0
        self.digest = hashlib.sha256()

    def take(self, data_seq: int, payload: bytes, subflow: int) -> None:
        """Store bytes that stand at `data_seq`, and digest what is in order now."""
        behind = (self.expected - data_seq) % 2**64
        if behind < 2**63:  # all or a part of it is there already
            payload, data_seq = payload[behind:], self.expected
        if not payload:
            return
        self.queue.insert(data_seq, (data_seq + len(payload)) % 2**64, subflow % 32)
        self.ring.write(data_seq, payload)
        end = self.queue.advance(self.expected)
        while size := min((end - self.expected) % 2**64, 65536):
            part = self.ring.read(self.expected, size)
            assert part is not None
            self.digest.update(part)
            self.size += size
            self.expected = (self.expected + size) % 2**64
        self.ring.release(self.expected)


class Reassembler:
    """All connections of a capture."""

    def __init__(self) -> None:
        self.streams: dict[Flow, Stream] = {}
        self.isns: dict[Flow, int] = {}
        self.by_token: dict[int, tuple[Stream, Stream]] = {}

    def take(self, packet: Packet) -> None:
        """Take the next packet of the capture."""
        flow = (packet.src, packet.src_port, packet.dst, packet.dst_port)
        if packet.flags & 0x02:
            self.isns[flow] = packet.seq
        for option in packet.options:
            if isinstance(option, MpCapable) and option.key_receiver is not None:
                self._open(flow, option)
            elif isinstance(option, MpJoinSyn) and option.token in self.by_token:
                self._join(flow, *self.by_token[option.token])
        if flow in self.streams and flow in self.isns:
            self._take_payload(packet, self.streams[flow], packet.seq - self.isns[flow])

    def _take_payload(self, packet: Packet, stream: Stream, subflow_seq: int) -> None:
        """Take what the packet's mapping gives a place; a DATA_FIN counts as one byte without one."""
        for option in packet.options:
            if isinstance(option, MpCapable) and option.data_len:  # the first data of all has no DSS
                stream.take(stream.first, packet.payload, 0)
            elif isinstance(option, Dss) and option.data_seq is not None:
                data_seq = option.data_seq if option.seq64 else expand(stream.expected, option.data_seq)
                ahead = (subflow_seq - (option.subflow_seq or 0)) % 2**32
                size = max(0, (option.data_len or 0) - ahead)
                stream.take((data_seq + ahead) % 2**64, packet.payload[:size], packet.src_port)

    def _open(self, flow: Flow, capable: MpCapable) -> None:
        if flow in self.streams or capable.key_sender is None or capable.key_receiver is None:
            return
        up, down = (
            Stream(key, f"{ipaddress.ip_address(address)}:{port}")
            for key, address, port in ((capable.key_sender, *flow[2:]), (capable.key_receiver, *flow[:2]))
        )
        self._join(flow, up, down)
        self.by_token[token(capable.key_receiver)] = up, down
        self.by_token[token(capable.key_sender)] = down, up

    def _join(self, flow: Flow, up: Stream, down: Stream) -> None:
        self.streams[flow] = up
        self.streams[(*flow[2:], *flow[:2])] = down


def packets_of(capture: bytes) -> Iterator[Packet]:
    """Yield the packets of a capture file."""
    at = 24
    while at < len(capture):
        (size,) = struct.unpack_from("<I", capture, at + 8)
        yield Packet.parse(capture[at + 16 : at + 16 + size])
        at += 16 + size


def simulated() -> tuple[bytes, str]:
    """Return a capture and the digest of what the client sent."""

    def endpoint(rng: Random, now_ns: int) -> Endpoint:
        return Endpoint(Config(), rng=rng, now_ns=now_ns)

    link = LinkPlan(settings=LinkSettings(rate_bps=20_000_000, delay_ns=10_000_000, loss=0.01))
    result = run_transfer(
        (link, link), up_bytes=150_000, client_endpoint=endpoint, server_endpoint=endpoint, seed=1
    )
    return result.network.trace.pcap("receive"), result.up.sha256_sent


def main() -> None:
    """Reassemble, and print one line for each direction that carried something."""
    capture, sent = simulated() if len(sys.argv) < 2 else (Path(sys.argv[1]).read_bytes(), None)
    reassembler = Reassembler()
    for packet in packets_of(capture):
        reassembler.take(packet)
    for stream in dict.fromkeys(reassembler.streams.values()):
        if stream.size:
            verdict = (
                "" if sent is None else ": as sent" if stream.digest.hexdigest() == sent else ": damaged"
            )
            print(f"{stream.size} bytes to {stream.to}{verdict}")


if __name__ == "__main__":
    main()
