"""When a conversation gets a context (RFC 5533 §4)."""

from ipaddress import IPv6Address

from mpcore.config import ExcludeRule
from mpcore.shim6.heuristic import Flow, FlowBook, FlowKey, Heuristic
from mpcore.shim6.manager import Shim6Manager
from mpcore.shim6.settings import SECOND, Shim6Settings
from mpcore.sim import rng
from mpcore.sim.shim6_identity import ToyVerifier, toy_identities
from tests.shim6.world import A1, A2, B1

WEB = FlowKey(A1, B1, 6, 40000, 443)
DNS = FlowKey(A1, B1, 17, 40000, 53)


def book(max_flows: int = 100, heuristic: Heuristic | None = None) -> FlowBook:
    return FlowBook(heuristic or Heuristic(), max_flows)


def feed(
    flows: FlowBook,
    key: FlowKey,
    rounds: int,
    octets: int,
    gap_ns: int = 0,
    *,
    both: bool = True,
    multipath: bool = False,
) -> bool:
    for number in range(rounds):
        now_ns = number * gap_ns
        if flows.note(key, 1, octets, sent=True, multipath=multipath, now_ns=now_ns):
            return True
        if both and flows.note(key, 1, octets, sent=False, multipath=multipath, now_ns=now_ns):
            return True
    return False


def test_much_data_is_worth_a_context() -> None:
    assert feed(book(), WEB, 4, 1000)
    assert not feed(book(), WEB, 4, 100)


def test_a_long_conversation_is_worth_a_context() -> None:
    assert feed(book(), WEB, 8, 10, 10 * SECOND)
    assert not feed(book(), WEB, 5, 10, 10 * SECOND)


def test_one_way_traffic_is_not() -> None:
    """Nobody is known to be there."""
    assert not feed(book(), WEB, 100, 1000, both=False)


def test_few_packets_are_not_however_large() -> None:
    assert not feed(book(heuristic=Heuristic(min_packets=10)), WEB, 4, 60000)


def test_excluded_ports_protocols_and_multipath_flows_are_not() -> None:
    """RFC 6629 §7.3: two layers that move one flow would race."""
    assert not feed(book(), DNS, 100, 1000)
    assert not feed(book(), FlowKey(A1, B1, 58, 0, 0), 100, 1000)
    assert not feed(book(), WEB, 100, 1000, multipath=True)


def test_silence_begins_a_flow_anew() -> None:
    assert not feed(book(), WEB, 20, 10, 31 * SECOND)


def test_the_book_is_bounded_and_drops_what_was_silent_longest() -> None:
    flows = book(max_flows=10)
    for port in range(50):
        flows.note(FlowKey(A1, B1, 6, port, 443), 1, 10, sent=True, multipath=False, now_ns=port)
    assert len(flows) == 10
    assert flows.evicted == 40
    flows.note(WEB, 1, 10, sent=True, multipath=False, now_ns=60 * SECOND)
    assert len(flows) == 1


class EveryPacket(Heuristic):
    def wants_context(self, flow: Flow, now_ns: int) -> bool:
        return True


def manager(heuristic: Heuristic) -> Shim6Manager:
    made = Shim6Manager(
        Shim6Settings(), rng=rng.stream(0, "heuristic"), verifier=ToyVerifier(), heuristic=heuristic
    )
    made.set_local_address(A1, True, 0)
    return made


def test_a_heuristic_can_be_replaced_and_needs_a_ulid_with_other_locators() -> None:
    """RFC 5535 §3: a ULID that is neither CGA nor HBA has nothing to move to."""
    core = manager(EveryPacket())
    assert core.note_flow(WEB, 1, 1, sent=True, now_ns=0) is None
    for identity in toy_identities("a", [A1, A2]):
        core.set_identity(identity, 0)
    context = core.note_flow(WEB, 1, 1, sent=True, now_ns=0)
    assert context is not None
    assert context.key == (A1, B1, 0)
    assert core.note_flow(WEB, 1, 1, sent=True, now_ns=0) is context


def test_rules_leave_conversations_out_by_network_and_port() -> None:
    rules = [ExcludeRule.parse(str(IPv6Address(B1))), ExcludeRule(port=443)]
    for rule in rules:
        assert not feed(book(heuristic=Heuristic(excluded=[rule])), WEB, 100, 10**6)


def test_rules_give_a_context_to_the_first_packets_that_flow_both_ways() -> None:
    eager = Heuristic(always=[ExcludeRule(port=WEB.port_peer)])
    flow = Flow(WEB, 0, 0, packets_out=1, bytes_out=60)
    assert not eager.wants_context(flow, 0)
    flow.packets_in = 1
    assert eager.wants_context(flow, 0)
    assert not Heuristic().wants_context(flow, 0)


def test_the_program_has_the_last_word_and_is_looked_up_once_a_conversation() -> None:
    asked = []

    def application_of(key: FlowKey) -> str:
        asked.append(key)
        return "ssh"

    def large() -> Flow:
        return Flow(WEB, 0, 0, packets_in=50, packets_out=50, bytes_in=10**6)

    assert not Heuristic(applications={"ssh": "never"}, application_of=application_of).wants_context(
        large(), 0
    )
    keen = Heuristic(applications={"ssh": "always"}, application_of=application_of)
    small = Flow(WEB, 0, 0, packets_in=1, packets_out=1)
    assert keen.wants_context(small, 0)
    assert keen.wants_context(small, 1)
    assert asked == [WEB, WEB]
    assert Heuristic(applications={"ssh": "never"}).wants_context(large(), 0)
