"""Every connection can have every subflow that the configuration allows, and one too many is refused."""

import random
from dataclasses import replace

from mpcore.actions import Direction
from mpcore.config import load_config
from mpcore.endpoint import Endpoint, connections_of
from mpcore.mptcp import keys
from mpcore.wire.values import (
    Dss,
    MaxSegmentSize,
    MpCapable,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MpTcpRst,
    ResetReason,
    Segment,
    TcpFlag,
    emit_segment,
    parse_segment,
)

HOST, PEER = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
KEY_PEER = 0x1112131415161718
CONNECTIONS, EXTRA = 4, 8
SYN, ACK = TcpFlag.SYN.value, TcpFlag.ACK.value


class Crowd:
    """An endpoint of client connections from ports 1000 on, and the peer that joins them."""

    def __init__(self) -> None:
        overrides = [f"limits.max_connections={CONNECTIONS}", f"mptcp.max_subflows={EXTRA}"]
        overrides.append("mptcp.path_manager='none'")
        self.endpoint = Endpoint(load_config(None, overrides), rng=random.Random(1), now_ns=0)
        self.endpoint.add_local_address(HOST, interface="eth0", now_ns=0)

    def give(self, segment: Segment) -> list[Segment]:
        way = Direction.FROM_HOST if segment.src == HOST else Direction.FROM_NETWORK
        self.endpoint.handle_packet(way, emit_segment(segment), 0)
        self.endpoint.flush(0)
        return [parse_segment(each.data) for each in self.endpoint.poll_transmit() if not each.to_host]

    def open(self, port: int) -> int:
        """Make a connection; return this host's key."""
        out = Segment(4, HOST, PEER, port, 80, 0, 0, SYN, 65535, (MaxSegmentSize(1460),))
        back = Segment(4, PEER, HOST, 80, port, 0, 1, SYN | ACK, 65535, (MaxSegmentSize(1460),))
        self.give(out)
        self.give(replace(back, options=(MaxSegmentSize(1460), MpCapable(flags=0x01, key_sender=KEY_PEER))))
        (third,) = self.give(replace(out, seq=1, ack=1, flags=ACK, options=()))
        key = third.find(MpCapable)
        assert key is not None
        assert key.key_sender is not None
        established = Dss(data_ack=(keys.idsn(key.key_sender) + 1) % 2**64)
        self.give(replace(back, seq=1, flags=ACK, options=(established,)))
        return key.key_sender

    def join(self, port: int, key: int) -> list[Segment]:
        """Join the connection of `key` from a port of the peer; return the answer to the third ACK."""
        syn = Segment(4, PEER, HOST, port, 1000, 0, 0, SYN, 65535, (MpJoinSyn(keys.token(key), 7, 1),))
        (answer,) = self.give(syn)
        accepted = answer.find(MpJoinSynAck)
        assert accepted is not None
        proof = keys.join_hmac(KEY_PEER, key, 7, accepted.nonce)[: keys.JOIN_ACK_HMAC_SIZE]
        third = replace(syn, seq=1, ack=(answer.seq + 1) % 2**32, flags=ACK, options=(MpJoinAck(proof),))
        return self.give(third)


def test_every_connection_can_have_all_its_subflows() -> None:
    crowd = Crowd()
    opened = [crowd.open(1000 + number) for number in range(CONNECTIONS)]
    for number, key in enumerate(opened):
        for extra in range(EXTRA):
            (fourth,) = crowd.join(2000 + EXTRA * number + extra, key)
            assert fourth.flags == ACK
    connections = crowd.endpoint.snapshot()["connections"]
    assert [len(each["subflows"]) for each in connections] == [1 + EXTRA] * CONNECTIONS


def test_a_subflow_without_a_place_is_reset() -> None:
    """RFC 8684 §3.6: its handshake is over, so the peer must be told, and why."""
    crowd = Crowd()
    key = crowd.open(1000)
    crowd.join(2000, key)
    (connection,) = connections_of(crowd.endpoint)
    first = connection.subflows[1]
    for port in range(3000, 3014):
        crowd.endpoint.engine.open_subflow(connection.handle, replace(first, remote_port=port), 0)
    crowd.endpoint.flush(0)
    crowd.endpoint.poll_transmit()
    (reset,) = crowd.join(2001, key)
    assert reset.flags == TcpFlag.RST | ACK
    assert reset.find(MpTcpRst) == MpTcpRst(ResetReason.LACK_OF_RESOURCES)
    assert crowd.endpoint.counters()["MPTcpExtMPRstTx"] == 1
