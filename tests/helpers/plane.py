"""One connection of an engine, driven by hand: segments in, segments out, offsets in place of raw numbers.

Offsets are those of the data plane: a subflow's first byte is 1, the stream's first byte is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mpcore.actions import Direction, OpenConnection, Role, SubflowReady, VerdictKind
from mpcore.counters import Counter
from mpcore.engine import Engine
from mpcore.wire.values import Dss, Segment, TcpFlag, TcpOption, Timestamps, emit_segment, parse_segment
from tests.helpers.checkers import Checker, expect, matches

MS = 1_000_000
SECOND = 1_000_000_000
ACK, SYN, FIN, RST, PSH = TcpFlag.ACK, TcpFlag.SYN, TcpFlag.FIN, TcpFlag.RST, TcpFlag.PSH

LOCAL, REMOTE = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
LOCAL_PORT, REMOTE_PORT = 40000, 80
ISN_LOCAL, ISN_REMOTE = 0xFFFFF000, 5000  # the first wraps soon
IDSN_LOCAL, IDSN_REMOTE = 0x1111_2222_FFFF_F000, 0xFFFF_FFFF_FFFF_F000
KEY_LOCAL, KEY_REMOTE = 0x0102030405060708, 0x1112131415161718
TS_LOCAL, TS_REMOTE = 1000, 2000
MSS = 1460
WINDOW_FIELD, SCALE = 8192, 7
QUEUE_SLOTS = 1024

MODULUS = 1 << 32
LIMITS: dict[str, Any] = {
    "max_connections": 4,
    "max_subflows": 32,
    "memory_bytes": 64 << 20,
    "send_buffer_bytes": 1 << 20,
    "receive_buffer_bytes": 1 << 20,
    "reorder": "runs",
    "reorder_nodes": 256,
    "subflow_segments": 4096,
    "close_timeout_ns": 60 * SECOND,
    "seed": bytes(16),
}
EVENT_NAMES = {
    1: "option",
    2: "established",
    3: "fell back",
    4: "subflow established",
    5: "subflow closed",
    6: "closed",
}


@dataclass
class Output:
    """What came out: packets to the socket and to the network, events, the verdict if there was one."""

    host: list[Segment] = field(default_factory=list)
    network: list[Segment] = field(default_factory=list)
    events: list[tuple[str, int, int]] = field(default_factory=list)
    verdict: VerdictKind | None = None

    def to_network(self, *checkers: Checker) -> Segment:
        """Return the only packet to the network, which satisfies the checkers."""
        assert len(self.network) == 1, self.network
        return expect(self.network[0], *checkers)

    def to_host(self, *checkers: Checker) -> Segment:
        """Return the only packet to the socket, which satisfies the checkers."""
        assert len(self.host) == 1, self.host
        return expect(self.host[0], *checkers)

    def any_to_network(self, *checkers: Checker) -> bool:
        """Tell whether a packet to the network satisfies the checkers."""
        return any(matches(segment, *checkers) for segment in self.network)

    def data(self) -> bytes:
        """Return the payload given to the socket, in the order of its sequence numbers."""
        parts = sorted((segment.seq - ISN_REMOTE) % MODULUS for segment in self.host)
        by_seq = {(segment.seq - ISN_REMOTE) % MODULUS: segment.payload for segment in self.host}
        return b"".join(by_seq[part] for part in parts)


@dataclass
class Path:
    """The peer's view of a subflow."""

    local_port: int
    remote: bytes
    isn_local: int
    isn_remote: int
    ts: int = TS_REMOTE


class Plane:
    """An engine with one established connection, and its peer and socket in the test's hand."""

    def __init__(
        self,
        *,
        role: Role = Role.CLIENT,
        checksum: bool = False,
        sack: bool = True,
        timestamps: bool = True,
        ecn: bool = False,
        establish: bool = True,
        congestion: str = "reno",
        scheduler: str = "lowest-rtt",
        window: int = 65535,
        **limits: Any,
    ) -> None:
        self.now_ns = SECOND
        self.checksum = checksum
        self.timestamps = timestamps
        self.engine = Engine(**{**LIMITS, **limits})
        self.paths = [Path(LOCAL_PORT, REMOTE, ISN_LOCAL, ISN_REMOTE)]
        self.acked = 0  # DATA_ACK that the peer gives
        effect = OpenConnection(
            role=role, version=4, local=LOCAL, remote=REMOTE, local_port=LOCAL_PORT, remote_port=REMOTE_PORT,
            key_local=KEY_LOCAL, key_remote=KEY_REMOTE, isn_local=ISN_LOCAL, isn_remote=ISN_REMOTE,
            mss_local=MSS, mss_remote=MSS, wscale_local=SCALE, wscale_remote=SCALE, sack=sack,
            timestamps=timestamps, ts_local=TS_LOCAL, ts_remote=TS_REMOTE, window=window, checksum=checksum,
            peer_no_join=False, ecn=ecn, ecn_wanted=ecn,
        )  # fmt: skip
        self.handle = self.engine.open_connection(
            effect,
            idsn_local=IDSN_LOCAL,
            idsn_remote=IDSN_REMOTE,
            scheduler=scheduler,
            congestion=congestion,
            now_ns=self.now_ns,
        )
        if establish:
            self.host()
            self.peer()
            self.step()

    # Packets in.

    def peer(self, payload: bytes = b"", *, path: int = 0, **changes: Any) -> Output:
        """Give a segment of the peer to the engine, and return what follows at once."""
        return self.give(Direction.FROM_NETWORK, self.peer_segment(payload, path=path, **changes))

    def peer_segment(
        self,
        payload: bytes = b"",
        *,
        path: int = 0,
        seq: int = 1,
        ack: int = 1,
        flags: int = ACK,
        data: int | None = None,
        options: Sequence[TcpOption] | None = None,
        extra: Sequence[TcpOption] = (),
        window: int = WINDOW_FIELD,
        ts: int | None = None,
        echo: int = TS_LOCAL,
        tos: int = 0,
    ) -> Segment:
        """Return a segment of the peer: subflow offsets, and a mapping at data offset `data` or seq - 1."""
        way = self.paths[path]
        if options is None:
            at = seq - 1 if data is None else data
            options = (self.dss(payload, seq=seq, data=at), *extra)
        stamp = (Timestamps(way.ts if ts is None else ts, echo),) if self.timestamps else ()
        return Segment(
            version=4, src=way.remote, dst=LOCAL, src_port=REMOTE_PORT, dst_port=way.local_port,
            seq=(way.isn_remote + seq) % MODULUS, ack=(way.isn_local + ack) % MODULUS, flags=flags,
            window=window, options=(*stamp, *options), payload=payload, tos=tos,
        )  # fmt: skip

    def dss(self, payload: bytes, *, seq: int, data: int, fin: bool = False, size: int | None = None) -> Dss:
        """Return the DSS of a segment of the peer; a mapping is there when it has payload or DATA_FIN."""
        length = (len(payload) if size is None else size) + fin
        ack = (IDSN_LOCAL + 1 + self.acked) % (1 << 64)
        if not length:
            return Dss(data_ack=ack)
        sequence = (IDSN_REMOTE + 1 + data) % (1 << 64)
        ssn = 0 if fin and not payload else seq
        checksum = dss_checksum(sequence, ssn, length, payload) if self.checksum else None
        return Dss(
            data_ack=ack, data_seq=sequence, subflow_seq=ssn, data_len=length, checksum=checksum, data_fin=fin
        )

    def host(self, payload: bytes = b"", **changes: Any) -> Output:
        """Give a segment of the socket to the engine, and return what follows at once."""
        return self.give(Direction.FROM_HOST, self.host_segment(payload, **changes))

    def host_segment(
        self,
        payload: bytes = b"",
        *,
        seq: int = 0,
        ack: int = 0,
        flags: int = ACK,
        window: int = WINDOW_FIELD,
        ts: int = TS_LOCAL,
    ) -> Segment:
        """Return a segment of the socket: `seq` and `ack` are data offsets."""
        stamp = (Timestamps(ts, TS_REMOTE),) if self.timestamps else ()
        return Segment(
            version=4, src=LOCAL, dst=REMOTE, src_port=LOCAL_PORT, dst_port=REMOTE_PORT,
            seq=(ISN_LOCAL + 1 + seq) % MODULUS, ack=(ISN_REMOTE + 1 + ack) % MODULUS, flags=flags,
            window=window, options=stamp, payload=payload,
        )  # fmt: skip

    def give(self, direction: Direction, segment: Segment, *, settle: bool = True) -> Output:
        """Give any segment; without `settle` nothing is sent yet, as inside a batch."""
        verdict = VerdictKind(self.engine.process(direction, emit_segment(segment), self.now_ns))
        output = self.step() if settle else Output()
        output.verdict = verdict
        return output

    # Paths and time.

    def join(
        self,
        *,
        hmac: bytes | None = None,
        remote: bytes = bytes([10, 0, 1, 2]),
        backup: bool = False,
        window: int = 65535,
    ) -> int:
        """Add a subflow; as the initiator when `hmac` is given. Returns its path index."""
        port = LOCAL_PORT + len(self.paths)
        path = Path(port, remote, 7000 * len(self.paths), 900_000 + len(self.paths))
        self.paths.append(path)
        ready = SubflowReady(
            token=1, version=4, local=LOCAL, remote=remote, local_port=port, remote_port=REMOTE_PORT,
            local_id=1, remote_id=1, backup=backup, peer_backup=False, isn_local=path.isn_local,
            isn_remote=path.isn_remote, mss_local=MSS, mss_remote=MSS, wscale_local=SCALE,
            wscale_remote=SCALE, sack=True, timestamps=self.timestamps, ts_local=TS_LOCAL,
            ts_remote=TS_REMOTE, window=window, hmac=hmac,
        )  # fmt: skip
        index = self.engine.open_subflow(self.handle, ready, self.now_ns)
        assert index == len(self.paths) - 1, "tests add paths in order"
        return index

    def step(self) -> Output:
        """Let the engine do all that is due now."""
        output = Output()
        self.engine.run_pump(self.now_ns)
        self.engine.run_flush(self.now_ns)
        self._collect(output)
        return output

    def advance(self, duration_ns: int) -> Output:
        """Let time pass, timers fire as they are due."""
        output = Output()
        end_ns = self.now_ns + duration_ns
        while (due := self.engine.next_timeout()) is not None and due <= end_ns:
            self.now_ns = max(due, self.now_ns)
            self.engine.run_expire(self.now_ns)
            self.engine.run_pump(self.now_ns)
            self.engine.run_flush(self.now_ns)
            self._collect(output)
        self.now_ns = end_ns
        for path in self.paths:
            path.ts = TS_REMOTE + (end_ns - SECOND) // MS
        return output

    # Looking.

    def counter(self, counter: Counter) -> int:
        """Return a counter's value."""
        return self.engine.counters()[counter]

    @property
    def state(self) -> dict[str, Any]:
        """The engine's description of the connection."""
        described = self.engine.describe(self.handle)
        assert described is not None, "the connection is gone"
        return described

    @property
    def gone(self) -> bool:
        """Whether the connection has ended."""
        return self.engine.describe(self.handle) is None

    def subflow(self, path: int = 0) -> dict[str, Any]:
        """Return the description of one subflow."""
        return next(each for each in self.state["subflows"] if each["path_index"] == path)

    def _collect(self, output: Output) -> None:
        for port, data, *_ in self.engine.poll_transmit():
            segment = expect(data)
            (output.host if self.engine.port_addresses[port] is None else output.network).append(segment)
        for kind, _, path, value, _ in self.engine.poll_events():
            output.events.append((EVENT_NAMES[kind], path, value))


def fill_queue(plane: Plane) -> None:
    """Leave no slot in the queue of the subflows' packets, until the next step takes them."""
    nothing = bytes([1, 1, 1, 1])
    while plane.engine.memory()["packets"] < QUEUE_SLOTS:
        plane.engine.send_option(plane.handle, 0, nothing)


def host_seq(offset: int) -> int:
    """Return the raw number of a data offset of the peer, as the socket knows it."""
    return (ISN_REMOTE + 1 + offset) % MODULUS


def peer_seq(offset: int) -> int:
    """Return the raw number of a subflow offset of ours on the first path."""
    return (ISN_LOCAL + offset) % MODULUS


def dss_checksum(data_seq: int, subflow_seq: int, length: int, payload: bytes) -> int:
    """Return the checksum of a mapping (RFC 8684 §3.3.1, figure 10)."""
    text = data_seq.to_bytes(8) + subflow_seq.to_bytes(4) + length.to_bytes(2) + bytes(2) + payload
    text += bytes(len(text) % 2)
    total = sum(int.from_bytes(text[i : i + 2]) for i in range(0, len(text), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def reparse(segment: Segment) -> Segment:
    """Return the segment as its bytes read."""
    return parse_segment(emit_segment(segment))
