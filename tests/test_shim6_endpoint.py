"""Two glued endpoints: bytes of programs survive a change of locators, whoever notices it first."""

from collections.abc import Callable

import pytest

from mpcore.actions import Direction, Transmit, VerdictKind
from mpcore.shim6.events import ContextEstablished, PathChanged
from mpcore.shim6.heuristic import Heuristic
from mpcore.shim6.settings import SECOND, Shim6Settings
from mpcore.shim6.states import ContextState
from mpcore.shim6_endpoint import Shim6Endpoint
from mpcore.sim import LinkPlan, LinkSettings, TcpSettings, cut, run_transfer
from mpcore.sim.network import Network, host_address, two_hosts
from mpcore.sim.rng import Random, stream
from mpcore.sim.scenario import Action, EndpointFactory, TransferResult, interface_down, restore
from mpcore.sim.shim6_identity import ToyVerifier, toy_identities
from mpcore.wire.rewrite import fix_checksums
from mpcore.wire.shim6 import R1bis, parse_message
from tests.helpers.shim6 import SHIM6, TCP, UDP, icmp6, icmp6_ok, ip6, packet
from tests.shim6.world import A1, A2, B1, B2, C1

MS = SECOND // 1000
QUICK = Shim6Settings(send_timeout_ns=SECOND, keepalive_timeout_min_ns=SECOND)
LINK = LinkPlan(settings=LinkSettings(rate_bps=20_000_000, delay_ns=5 * MS))
# The header has to fit: 8 octets less than the links carry. Super-packets cannot have it.
TCP_SETTINGS = TcpSettings(mtu=1492, super_packet_bytes=0)


def factory(name: str, host: int) -> EndpointFactory:
    addresses = [host_address(network, host, ipv6=True) for network in (0, 1)]

    def make(rng: Random, now_ns: int) -> Shim6Endpoint:
        endpoint = Shim6Endpoint(
            QUICK,
            rng=rng,
            now_ns=now_ns,
            verifier=ToyVerifier(),
            heuristic=Heuristic(min_bytes=1, min_packets=2),
        )
        for identity in toy_identities(name, addresses):
            endpoint.set_identity(identity, now_ns)
        return endpoint

    return make


def transfer(
    up: int, down: int, script: list[tuple[int, Action]], world: Network | None = None
) -> TransferResult:
    return run_transfer(
        up_bytes=up,
        down_bytes=down,
        client_endpoint=factory("client", 1),
        server_endpoint=factory("server", 2),
        script=script,
        limit_ns=120 * SECOND,
        network=world or two_hosts([LINK, LINK], ipv6=True, client=TCP_SETTINGS, server=TCP_SETTINGS),
    )


def endpoint_of(result: TransferResult, name: str) -> Shim6Endpoint:
    endpoint = result.network.nodes[name].endpoint
    assert isinstance(endpoint, Shim6Endpoint)
    return endpoint


# TCP of model hosts.


@pytest.mark.parametrize(("up", "down"), [(3_000_000, 0), (0, 3_000_000), (1_500_000, 1_500_000)])
def test_tcp_survives_the_loss_of_its_ulids(up: int, down: int) -> None:
    result = transfer(up, down, [(500 * MS, cut("link0"))])
    assert result.ok
    for name in ("client", "server"):
        endpoint = endpoint_of(result, name)
        counters = endpoint.counters()
        assert counters["Shim6ExtPayloadTX"] > 100
        assert counters["Shim6ExtPayloadRX"] > 100
        (context,) = endpoint.manager.contexts()
        assert context.pair.local != context.key.ulid_local
        assert any(isinstance(event, PathChanged) for _, event in result.events[name])


def test_one_host_that_loses_its_address_moves_at_once() -> None:
    result = transfer(2_000_000, 2_000_000, [(500 * MS, interface_down("client", "link0"))])
    assert result.ok
    assert result.up.longest_stall_ns < 3 * SECOND


def test_a_path_lost_in_one_direction() -> None:
    # RFC 5534 §4.3: the two directions may end on different pairs
    def lose_way_there(network: Network) -> None:
        network.link("link0").to_b.up = False

    result = transfer(1_000_000, 1_000_000, [(500 * MS, lose_way_there)])
    assert result.ok


def test_two_losses_one_after_the_other() -> None:
    script = [(500 * MS, cut("link0")), (8 * SECOND, restore("link0")), (9 * SECOND, cut("link1"))]
    result = transfer(25_000_000, 0, script)
    assert result.ok
    assert endpoint_of(result, "client").counters()["Shim6ExtPathChanged"] >= 2


def test_without_a_failure_packets_stay_as_they_are() -> None:
    result = transfer(200_000, 200_000, [])
    assert result.ok
    counters = endpoint_of(result, "client").counters()
    assert counters["Shim6ExtEstablished"] == 1
    assert counters["Shim6ExtPayloadTX"] == counters["Shim6ExtPayloadRX"] == 0


# UDP and errors, packet by packet.


class Wire:
    """Endpoints a (A1, A2) and b (B1, B2) with a wire of no delay; `cut` addresses lose their packets."""

    def __init__(self) -> None:
        self.now_ns = SECOND
        self.cut: set[bytes] = set()
        self.delivered: dict[str, list[bytes]] = {"a": [], "b": []}
        self.last: bytes = b""
        self.a = self.make("a", [A1, A2])
        self.b = self.make("b", [B1, B2])

    def make(self, name: str, addresses: list[bytes]) -> Shim6Endpoint:
        endpoint = Shim6Endpoint(
            Shim6Settings(), rng=stream(1, name), now_ns=self.now_ns, verifier=ToyVerifier()
        )
        for identity in toy_identities(name, addresses):
            endpoint.set_identity(identity, self.now_ns)
        for number, address in enumerate(addresses):
            endpoint.add_local_address(address, interface=f"up{number}", now_ns=self.now_ns)
        return endpoint

    def drain(self) -> None:
        while sent := [*self.a.poll_transmit(), *self.b.poll_transmit()]:
            for transmit in sent:
                self.carry(transmit.data)

    def carry(self, data: bytes) -> None:
        self.last = data
        if self.cut & {data[8:24], data[24:40]}:
            return
        name = "a" if data[24:40] in (A1, A2) else "b"
        verdict = getattr(self, name).handle_packet(Direction.FROM_NETWORK, data, self.now_ns)
        if verdict.kind in (VerdictKind.PASS, VerdictKind.REWRITE):
            self.delivered[name].append(verdict.data or data)

    def say(self, name: str, data: bytes) -> None:
        verdict = getattr(self, name).handle_packet(Direction.FROM_HOST, data, self.now_ns)
        assert verdict.kind in (VerdictKind.PASS, VerdictKind.REWRITE)
        self.carry(verdict.data or data)
        self.drain()

    def run(self, until: Callable[[], bool]) -> None:
        for _ in range(1000):
            self.drain()
            if until():
                return
            due = [each for each in (self.a.poll_timeout(), self.b.poll_timeout()) if each is not None]
            self.now_ns = max(self.now_ns, min(due))
            self.a.handle_timeout(self.now_ns)
            self.b.handle_timeout(self.now_ns)
        raise AssertionError("it does not happen")

    def establish(self) -> None:
        self.a.establish(A1, B1, self.now_ns)
        self.drain()
        (context,) = self.b.manager.contexts()
        assert context.state is ContextState.ESTABLISHED

    def switch(self) -> None:
        """Lose A1, and let both find A2."""
        self.cut = {A1}
        self.a.remove_local_address(A1, self.now_ns)
        self.run(lambda: all(self.current(end) for end in (self.a, self.b)))

    @staticmethod
    def current(endpoint: Shim6Endpoint) -> bool:
        (context,) = endpoint.manager.contexts()
        return A2 in context.pair


def udp(src: bytes, dst: bytes, content: bytes) -> bytes:
    data = bytearray(
        ip6(src, dst, UDP, b"\x04\0\x04\1" + (8 + len(content)).to_bytes(2) + bytes(2) + content)
    )
    fix_checksums(data)
    return bytes(data)


@pytest.fixture
def wire() -> Wire:
    made = Wire()
    made.establish()
    return made


def test_udp_in_both_directions(wire: Wire) -> None:
    there, back = udp(A1, B1, b"question"), udp(B1, A1, b"answer")
    wire.say("a", there)
    wire.say("b", back)
    wire.switch()
    for _ in range(3):
        wire.say("a", there)
        assert wire.last[8:24] == A2
        wire.say("b", back)
        assert wire.last[24:40] == A2
    assert wire.delivered == {"a": [back] * 4, "b": [there] * 4}


def test_the_snapshot_has_what_people_look_for(wire: Wire) -> None:
    wire.say("a", udp(A1, B1, b"question"))
    wire.switch()
    wire.say("a", udp(A1, B1, b"question"))
    document = wire.a.snapshot()
    (context,) = document["contexts"]
    assert set(context) >= {
        "ulid_local", "ulid_peer", "state", "locators_local", "locators_peer",
        "current_local", "current_peer", "tag_local", "reap_state",
    }  # fmt: skip
    assert context["current_local"] == "2001:db8:2::a1"
    assert (context["packets_sent"], context["rewriting"]) == (2, True)
    assert document["paths"] == [{"local": "2001:db8:2::a1", "interface": "up1", "backup": False}]
    assert document["counters"]["Shim6ExtPayloadTX"] == 1


def test_events_come_out(wire: Wire) -> None:
    assert isinstance(wire.a.poll_event(), ContextEstablished)
    assert wire.a.poll_event() is None


def shimmed_by_a(wire: Wire) -> bytes:
    wire.switch()
    verdict = wire.a.handle_packet(Direction.FROM_HOST, udp(A1, B1, b"question"), wire.now_ns)
    assert verdict.data is not None
    return verdict.data


def test_packet_too_big_goes_up_with_ulids_and_8_octets_less(wire: Wire) -> None:
    # RFC 5533 §8
    sent = shimmed_by_a(wire)
    error = icmp6(C1, A2, bytes([2, 0, 0, 0]) + (1400).to_bytes(4) + sent)
    verdict = wire.a.handle_packet(Direction.FROM_NETWORK, error, wire.now_ns)
    assert verdict.kind is VerdictKind.REWRITE
    assert verdict.data is not None
    assert icmp6_ok(verdict.data)
    assert verdict.data[44:48] == (1392).to_bytes(4)
    assert verdict.data[48:] == udp(A1, B1, b"question")
    assert wire.a.counters()["Shim6ExtIcmpMapped"] == 1


def test_an_error_that_the_shim_acts_on_is_absorbed(wire: Wire) -> None:
    # RFC 5533 §8: destination unreachable, code 0
    sent = shimmed_by_a(wire)
    wire.a.add_local_address(A1, interface="up0", now_ns=wire.now_ns)
    error = icmp6(C1, A2, bytes([1, 0, 0, 0]) + bytes(4) + sent)
    assert wire.a.handle_packet(Direction.FROM_NETWORK, error, wire.now_ns).kind is VerdictKind.DROP
    assert wire.a.counters()["Shim6ExtIcmpAbsorbed"] == 1


def test_an_error_about_nothing_of_ours_goes_up_as_it_is(wire: Wire) -> None:
    sent = bytearray(shimmed_by_a(wire))
    sent[47] ^= 1  # another tag
    error = icmp6(C1, A2, bytes([2, 0, 0, 0]) + (1400).to_bytes(4) + bytes(sent))
    assert wire.a.handle_packet(Direction.FROM_NETWORK, error, wire.now_ns).kind is VerdictKind.PASS


def test_an_error_with_a_wrong_checksum_is_no_hint(wire: Wire) -> None:
    sent = shimmed_by_a(wire)
    error = bytearray(icmp6(C1, A2, bytes([2, 0, 0, 0]) + (1400).to_bytes(4) + sent))
    error[-1] ^= 1
    assert wire.a.handle_packet(Direction.FROM_NETWORK, bytes(error), wire.now_ns).kind is VerdictKind.PASS


def test_an_unknown_tag_is_answered_by_r1bis(wire: Wire) -> None:
    # RFC 5533 §12.2
    data = ip6(B1, A1, SHIM6, bytes([TCP, 0]) + (2**47 | 1234).to_bytes(6) + bytes(20))
    assert wire.a.handle_packet(Direction.FROM_NETWORK, data, wire.now_ns).kind is VerdictKind.DROP
    (answer,) = wire.a.poll_transmit()
    assert answer == Transmit(False, A1, answer.data)
    message = parse_message(answer.data[40:])
    assert isinstance(message, R1bis)
    assert message.packet_tag == 1234


def test_payload_from_an_address_that_is_not_the_peers_is_dropped(wire: Wire) -> None:
    # RFC 5533 §16.2
    (context,) = wire.a.manager.contexts()
    for source, kind in ((C1, VerdictKind.DROP), (B2, VerdictKind.REWRITE)):
        data = ip6(source, A2, SHIM6, bytes([TCP, 0]) + (2**47 | context.tag_local).to_bytes(6) + bytes(20))
        assert wire.a.handle_packet(Direction.FROM_NETWORK, data, wire.now_ns).kind is kind
    assert wire.a.counters()["Shim6ExtPayloadStrange"] == 1
    assert wire.a.counters()["Shim6ExtPayloadRX"] == 1


def test_the_peer_recovers_a_context_that_one_host_lost(wire: Wire) -> None:
    wire.switch()
    wire.b = wire.make("b", [B1, B2])
    wire.say("a", udp(A1, B1, b"lost"))
    assert wire.delivered["b"] == []
    wire.say("a", udp(A1, B1, b"again"))
    assert wire.delivered["b"] == [udp(A1, B1, b"again")]


def test_a_discarded_context_leaves_packets_alone(wire: Wire) -> None:
    wire.switch()
    assert wire.a.discard(A1, B1)
    data = packet(A1, B1, TCP)
    assert wire.a.handle_packet(Direction.FROM_HOST, data, wire.now_ns).kind is VerdictKind.PASS
    assert len(wire.a.engine) == 0


def test_super_packets_are_refused_once_the_header_is_needed(wire: Wire) -> None:
    data = udp(A1, B1, b"question")
    assert wire.a.handle_packet(Direction.FROM_HOST, data, wire.now_ns, carrier=1).kind is VerdictKind.PASS
    wire.switch()
    assert wire.a.handle_packet(Direction.FROM_HOST, data, wire.now_ns, carrier=2).kind is VerdictKind.DROP


def test_addresses_of_the_other_family_are_left_alone(wire: Wire) -> None:
    wire.a.add_local_address(bytes([192, 0, 2, 1]), interface="up0", now_ns=wire.now_ns)
    wire.a.remove_local_address(bytes([192, 0, 2, 1]), wire.now_ns)
    assert len(wire.a.snapshot()["paths"]) == 2
