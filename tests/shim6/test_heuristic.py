"""When a conversation gets a context (RFC 5533 §4)."""

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
