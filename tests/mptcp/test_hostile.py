"""A peer and a socket that send anything: the data plane stays whole, and gives the program no wrong byte.

Run it under the sanitizers too: `tools/sanitize.sh tests/mptcp/test_hostile.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcore.actions import Direction, Role
from mpcore.errors import WireError
from mpcore.wire.values import (
    AddAddr,
    Dss,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoinAck,
    MpPrio,
    MpTcpRst,
    Sack,
    TcpOption,
    UnknownOption,
)
from tests.helpers.plane import (
    ACK,
    FIN,
    IDSN_LOCAL,
    IDSN_REMOTE,
    ISN_REMOTE,
    KEY_LOCAL,
    KEY_REMOTE,
    MS,
    PSH,
    RST,
    SYN,
    Output,
    Plane,
    peer_seq,
)

STREAM = Random(7).randbytes(1 << 17)


@dataclass
class Chaos:
    """A plane and the chance that drives its peer, its socket and its clock."""

    rng: Random
    plane: Plane
    honest: bool  # mappings carry the stream's true bytes
    received: dict[int, int] = field(default_factory=dict)
    host_sent: int = 0
    host_acked: int = 0

    def run(self, steps: int) -> None:
        for _ in range(steps):
            if self.plane.gone:
                return
            action = self.rng.choice(
                [self.peer, self.peer, self.peer, self.host, self.host, self.wait, self.manage]
            )
            try:
                self.check(action())
            except WireError:
                continue  # chance asked for more options than fit

    def check(self, output: Output) -> None:
        assert self.plane.engine.faults(self.plane.handle) == []
        for segment in output.host:
            if self.honest and segment.payload:
                at = (segment.seq - ISN_REMOTE - 1) % (1 << 32)
                assert segment.payload == STREAM[at : at + len(segment.payload)]
                self.host_acked = max(self.host_acked, at + len(segment.payload))

    def number(self, base: int) -> int:
        """Return a number near `base`, or far, or nowhere."""
        spread = self.rng.choice([0] * 8 + [1, 100, 3000, 3000, 70_000, 1 << 31])
        return base + self.rng.randint(-spread // 3, spread)

    def between(self, low: int, high: int) -> int:
        """Return a number of what is in flight, or near it, or nowhere."""
        return self.number(self.rng.choice([low, low, high, self.rng.randint(low, high)]))

    def peer(self) -> Output:
        rng, plane = self.rng, self.plane
        path = rng.randrange(len(plane.paths))
        described = {each["path_index"]: each for each in plane.state["subflows"]}
        subflow = described.get(path, {"rcv_nxt": 1, "snd_una": 1, "snd_nxt": 1})
        seq = self.number(subflow["rcv_nxt"])
        at = self.number(plane.state["bytes_received"]) % (1 << 16)
        size = rng.choice([0, 0, 1, 100, 1400, 5000])
        payload = STREAM[at : at + size] if self.honest else rng.randbytes(size)
        options = [self.mapping(payload, seq, at)] if self.honest or rng.random() < 0.8 else []
        if rng.random() < 0.3:
            options.append(self.option())
        flags = rng.choice([ACK] * 12 + [ACK | PSH, ACK | FIN, ACK | FIN, RST, RST | ACK, SYN, SYN | ACK, 0])
        if self.honest:
            flags &= ~RST
        segment = plane.peer_segment(
            payload,
            path=path,
            seq=seq,
            ack=self.between(subflow["snd_una"], subflow["snd_nxt"]),
            flags=flags,
            options=options,
            window=rng.choice([0, 1, 100, 8192, 65535]),
            ts=(plane.paths[path].ts + rng.choice([0] * 20 + [1, 5, -5, 1 << 31])) % (1 << 32),
            echo=rng.choice([0, 1000, 1000 + plane.now_ns // MS]) % (1 << 32),
        )
        return plane.give(Direction.FROM_NETWORK, segment, settle=rng.random() < 0.8)

    def mapping(self, payload: bytes, seq: int, at: int) -> TcpOption:
        dss = self.plane.dss(payload, seq=max(seq, 0), data=at, fin=self.rng.random() < 0.03)
        una = self.plane.state["bytes_sent"]
        ack = self.between(una, una + self.plane.state["bytes_in_flight"])
        ack = (IDSN_LOCAL + 1 + ack) % (1 << 64)
        dss = replace(dss, data_ack=ack)
        if not self.honest and self.rng.random() < 0.1 and dss.data_len:
            longer = min(dss.data_len + self.rng.randrange(3000), 65535)
            dss = replace(dss, data_len=longer)
        if not self.honest and dss.data_len and self.rng.random() < 0.3:
            dss = replace(dss, data_len=self.rng.randrange(65536), subflow_seq=self.rng.randrange(1 << 32))
        return dss

    def option(self) -> TcpOption:
        rng, plane = self.rng, self.plane
        subflow = rng.choice(plane.state["subflows"] or [{"snd_una": 1, "snd_nxt": 2}])
        start = self.between(subflow["snd_una"], subflow["snd_nxt"])
        mapped = MpCapable(key_sender=KEY_REMOTE, key_receiver=KEY_LOCAL, data_len=rng.randrange(2000))
        return rng.choice(
            [
                MpPrio(False) if self.honest else mapped,
                Sack(((peer_seq(start), peer_seq(start + rng.choice([-10, 100, 1420, 2840, 9000]))),)),
                Sack(((peer_seq(start), peer_seq(subflow["snd_nxt"])),)),
                MpPrio(rng.random() < 0.5),
                AddAddr(rng.randrange(256), rng.randbytes(4), hmac=rng.randbytes(8)),
                MpFail(rng.getrandbits(64)),
                MpFastclose(KEY_LOCAL if rng.random() < 0.05 else KEY_REMOTE),
                MpTcpRst(rng.randrange(8)),
                MpJoinAck(rng.randbytes(20)),
                Dss(data_seq=IDSN_REMOTE + plane.state["bytes_received"], subflow_seq=0, data_len=0),
                UnknownOption(30, rng.randbytes(rng.randrange(12))),
                UnknownOption(rng.randrange(35, 250), rng.randbytes(4)),
            ]
        )  # fmt: skip

    def host(self) -> Output:
        rng, plane = self.rng, self.plane
        if rng.random() < 0.7:
            size = rng.choice([0, 10, 1400, 9000])
            output = plane.host(
                rng.randbytes(size), seq=self.host_sent, ack=self.host_acked, window=rng.choice([0, 50, 8192])
            )
            if not plane.gone:
                state = plane.state
                self.host_sent = state["bytes_sent"] + state["bytes_in_flight"] + state["bytes_queued"]
            return output
        return plane.host(
            rng.randbytes(rng.choice([0, 1, 500])),
            seq=self.number(self.host_sent),
            ack=self.number(self.host_acked),
            flags=rng.choice([ACK, ACK, ACK, ACK | FIN, SYN | ACK]),
            window=rng.choice([0, 1, 65535]),
        )

    def wait(self) -> Output:
        return self.plane.advance(self.rng.choice([MS, 30 * MS, 300 * MS, 3000 * MS]))

    def manage(self) -> Output:
        rng, plane = self.rng, self.plane
        path = rng.randrange(16)
        choice = rng.random()
        if choice < 0.3 and len(plane.paths) < 6 and len(plane.state["subflows"]) == len(plane.paths):
            plane.join(hmac=bytes(20) if rng.random() < 0.5 else None)
        elif choice < 0.4:
            plane.engine.close_subflow(plane.handle, path, None if rng.random() < 0.5 else 4)
        elif choice < 0.5:
            plane.engine.remove_subflow(plane.handle, path)
        elif choice < 0.7:
            plane.engine.set_backup(plane.handle, path, rng.random() < 0.5, rng.random() < 0.5)
        return plane.step()


def finish(plane: Plane) -> None:
    """End the connection, and see that nothing is left of it."""
    plane.engine.abort(plane.handle, plane.now_ns)
    plane.step()
    left = plane.engine.memory()
    assert (left["connections"], left["chunks_in_use"], left["events"]) == (0, 0, 0)
    assert plane.engine.next_timeout() is None


LIMITS = st.fixed_dictionaries(
    {
        "role": st.sampled_from(list(Role)),
        "checksum": st.booleans(),
        "sack": st.booleans(),
        "timestamps": st.booleans(),
        "reorder": st.sampled_from(["runs", "regular", "tree", "shortcuts", "allshortcuts"]),
        "reorder_nodes": st.sampled_from([4, 256]),
        "subflow_segments": st.sampled_from([32, 4096]),
        "congestion": st.sampled_from(["reno", "lia", "cubic"]),
        "scheduler": st.sampled_from(["lowest-rtt", "round-robin"]),
        "receive_buffer_bytes": st.sampled_from([65536, 1 << 20]),
        "send_buffer_bytes": st.sampled_from([65536, 1 << 20]),
        "memory_bytes": st.sampled_from([1 << 20, 64 << 20]),
    }
)


@pytest.mark.parametrize("honest", [True, False])
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1 << 32), limits=LIMITS)
def test_anything_may_come(honest: bool, seed: int, limits: dict[str, Any]) -> None:
    if honest:
        limits = {**limits, "checksum": False}
    plane = Plane(**limits)
    chaos = Chaos(Random(seed), plane, honest)
    chaos.run(150)
    if not plane.gone:
        finish(plane)
    assert plane.engine.memory()["chunks_in_use"] == 0
