"""Packets of real exchanges, changed by chance, thrown at both whole endpoints in every state.

No packet may raise, leave a contradiction in the engine, keep a timer due for ever, or make a table grow
beyond its limit. What it does to the connection is not judged here: who can inject such packets can end it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpcore.actions import Direction, Verdict
from mpcore.config import Config, load_config
from mpcore.endpoint import EVENTS_MAX, Endpoint, connections_of
from mpcore.errors import WireError
from mpcore.mptcp import keys
from mpcore.sim import LinkPlan, LinkSettings, run_transfer
from mpcore.wire.checksum import tcp_checksum
from mpcore.wire.values import (
    AddAddr,
    Dss,
    MalformedMptcp,
    MpCapable,
    MpExperimental,
    MpFail,
    MpFastclose,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MpPrio,
    MpTcpRst,
    RemoveAddr,
    Segment,
    TcpOption,
    UnknownOption,
    emit_segment,
    parse_segment,
)
from tests.helpers.pair import MS, SECOND

MEMORY = 64  # packets to begin from
LIMITS = (
    "limits.max_connections=8",
    "limits.max_half_open=16",
    "limits.max_joins_per_connection=4",
    "limits.memory_bytes=2000000",
    "limits.send_buffer_bytes=200000",
    "limits.receive_buffer_bytes=200000",
    "limits.reorder_nodes=64",
    "limits.subflow_segments=64",
    "mptcp.close_timeout_s=5",
)
SMALL = (0, 1, 2, 3, 255)


class Attacked(Endpoint):
    """An endpoint that is handed a few changed packets with each packet of its own."""

    def __init__(self, config: Config, rng: Random, now_ns: int, attacks: float) -> None:
        super().__init__(config, rng=rng, now_ns=now_ns)
        self._chance = Random(rng.getrandbits(64))
        self._attacks = attacks
        self._seen: deque[tuple[Direction, bytes]] = deque(maxlen=MEMORY)
        self._forged = False

    def handle_packet(
        self, direction: Direction, data: bytes, now_ns: int, carrier: int | None = None
    ) -> Verdict:
        self._seen.append((direction, data))
        while self._chance.random() < self._attacks:
            self._attack(now_ns)
        verdict = super().handle_packet(direction, data, now_ns, carrier)
        self.check()
        return verdict

    def check(self) -> None:
        """Nothing contradicts itself, nothing is beyond its limit."""
        limits = self.config.limits
        for connection in connections_of(self):
            assert self.engine.faults(connection.handle) == []
            control = connection.control
            assert len(control.view.subflows) <= 2 * self.config.mptcp.max_subflows + 1
            assert len(control.book.remote_addresses) <= 32
        assert len(self.engine) <= limits.max_connections
        assert len(self._negotiator) <= limits.max_half_open
        assert len(self._joins) <= limits.max_half_open
        assert len(self._events) <= EVENTS_MAX
        self.snapshot()

    def _attack(self, now_ns: int) -> None:
        direction, data = self._chance.choice(self._seen)
        if self._chance.random() < 0.1:
            direction = Direction.FROM_HOST if direction else Direction.FROM_NETWORK
        changed = self._change(data)
        if changed is not None:
            super().handle_packet(direction, changed, now_ns)
            self.check()

    def _change(self, data: bytes) -> bytes | None:
        """Return a changed packet with a right checksum; None where chance asked for what does not fit."""
        if self._chance.random() < 0.3:
            return self._flip(data)
        try:
            segment = parse_segment(data)
            for _ in range(self._chance.choice((0, 1, 1, 2, 4))):
                segment = self._alter(segment)
            return emit_segment(segment)
        except WireError:
            return None

    def _flip(self, data: bytes) -> bytes:
        packet = bytearray(data)
        for _ in range(self._chance.randrange(1, 5)):
            packet[self._chance.randrange(min(len(packet), 100))] = self._chance.randrange(256)
        if self._chance.random() < 0.2:
            del packet[self._chance.randrange(len(packet)) :]
        return _mended(packet)

    def _alter(self, segment: Segment) -> Segment:
        chance = self._chance
        far = chance.choice((1, -1, 1460, -1460, 65535, -65536, 1 << 31, chance.getrandbits(32)))
        changes: list[dict[str, Any]] = [
            {"seq": (segment.seq + far) & 0xFFFFFFFF},
            {"ack": (segment.ack + far) & 0xFFFFFFFF},
            {"flags": segment.flags ^ (1 << chance.randrange(8))},
            {"flags": chance.choice((0x02, 0x12, 0x10, 0x11, 0x04, 0x14, 0x18, 0x29))},
            {"window": chance.choice((0, 1, 0xFFFF))},
            {"payload": segment.payload[: chance.randrange(1 + len(segment.payload))]},
            {"payload": segment.payload + chance.randbytes(chance.choice((1, 100, 1400)))},
            {"urgent": chance.getrandbits(16), "flags": segment.flags | 0x20},
            {"src_port": chance.choice((segment.src_port, 5001, 61000, 1))},
            {"options": segment.options[: chance.randrange(1 + len(segment.options))]},
            {"options": (*segment.options, self._option())},
            {"options": (self._option(),)},
            {"options": (self._option(), self._option())},
        ]
        return replace(segment, **chance.choice(changes))

    def _option(self) -> TcpOption:
        """Return an option that may be right: its keys, tokens and numbers are often those in use."""
        chance = self._chance
        made = [connection.opened for connection in connections_of(self)]
        opened = chance.choice(made) if made else None
        here, there = (opened.key_local, opened.key_remote) if opened else (1, 2)
        seq = (keys.idsn(here if chance.random() < 0.5 else there) + chance.choice(SMALL)) & (1 << 64) - 1
        address = chance.choice((chance.randbytes(4), chance.randbytes(16), bytes((10, 0, 0, 2)), bytes(4)))
        address_id, port = chance.choice(SMALL), chance.choice((None, 0, 80))
        hmac = keys.add_addr_hmac(there, here, address_id, address, port)
        number = chance.choice((0, 1, chance.getrandbits(16)))
        return chance.choice(
            (
                AddAddr(address_id, address, port, hmac=hmac),
                AddAddr(address_id, address, port, echo=True),
                RemoveAddr(tuple(chance.choices(SMALL, k=chance.randrange(1, 9)))),
                MpPrio(chance.random() < 0.5),
                MpFail(seq),
                MpFastclose(chance.choice((here, there))),
                MpTcpRst(chance.randrange(16)),
                MpCapable(1, 0x01, there, here),
                MpCapable(chance.randrange(16), chance.randrange(256)),
                MpCapable(1, 0x01, here),
                MpCapable(1, 0x81, there, here, number),
                MpJoinSyn(keys.token(here), chance.getrandbits(32), chance.choice(SMALL)),
                MpJoinSynAck(chance.randbytes(8), chance.getrandbits(32), 0),
                MpJoinAck(chance.randbytes(20)),
                Dss(seq, chance.random() < 0.9, seq, True, number, number, data_fin=chance.random() < 0.3),
                Dss(data_ack=seq),
                Dss(None, True, seq, True, chance.choice(SMALL), 0),
                MpExperimental(b"\xf0\0"),
                MalformedMptcp(chance.randbytes(2)),
                UnknownOption(chance.choice((19, 29, 34)), chance.randbytes(8)),
            )
        )


def _mended(packet: bytearray) -> bytes:
    """Put the right TCP checksum into an IPv4 packet, where there is a place for one."""
    size = (packet[0] & 0x0F) * 4 if packet else 0
    total = int.from_bytes(packet[2:4]) if len(packet) >= 4 else 0
    if size >= 20 and size + 20 <= total <= len(packet):
        packet[size + 16 : size + 18] = b"\0\0"
        checksum = tcp_checksum(bytes(packet[12:16]), bytes(packet[16:20]), bytes(packet[size:total]))
        packet[size + 16 : size + 18] = checksum.to_bytes(2)
    return bytes(packet)


def attack(seed: int, attacks: float, links: int, sizes: tuple[int, int], carriers: bool) -> None:
    """Run a transfer under attack, let all that is left time out, and look at what remains."""

    def make(rng: Random, now_ns: int) -> Endpoint:
        endpoint = Attacked(load_config(None, LIMITS), rng, now_ns, attacks)
        if carriers:
            endpoint.engine.hold_carriers(100)
        return endpoint

    link = LinkSettings(rate_bps=20_000_000, delay_ns=5 * MS, jitter_ns=MS, loss=0.01, reorder=0.02)
    result = run_transfer(
        [LinkPlan(settings=link)] * links,
        up_bytes=sizes[0],
        down_bytes=sizes[1],
        seed=seed,
        client_endpoint=make,
        server_endpoint=make,
        carriers=carriers,
        limit_ns=120 * SECOND,
        linger_ns=400 * SECOND,
    )
    for node in result.network.nodes.values():
        endpoint = node.endpoint
        assert isinstance(endpoint, Attacked)
        endpoint.check()
        endpoint.shut_down(result.network.clock.now_ns)
        endpoint.poll_transmit()
        memory = endpoint.engine.memory()
        assert (memory["connections"], memory["chunks_in_use"], memory["events"]) == (0, 0, 0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 1 << 30),
    attacks=st.sampled_from([0.05, 0.3, 0.7]),
    links=st.integers(1, 3),
    sizes=st.sampled_from([(0, 0), (3000, 1), (60_000, 60_000)]),
    carriers=st.booleans(),
)
def test_no_packet_raises_or_leaves_anything(
    seed: int, attacks: float, links: int, sizes: tuple[int, int], carriers: bool
) -> None:
    attack(seed, attacks, links, sizes, carriers)
