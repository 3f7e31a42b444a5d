"""When a conversation deserves a context (RFC 5533 §4, deferred establishment). Subclass to decide otherwise.

Thresholds as in the thesis: most flows carry less than 2 KiB and live less than a minute, and for those the
four messages of the exchange would be wasted.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mpcore.config import ExcludeRule
from mpcore.shim6.settings import SECOND

_DNS, _NTP = 53, 123
_ICMPV6 = 58


class FlowKey(NamedTuple):
    """A conversation between two ULIDs; ports are 0 where the protocol has none."""

    ulid_local: bytes
    ulid_peer: bytes
    protocol: int
    port_local: int
    port_peer: int


@dataclass(slots=True)
class Flow:
    """What a conversation has amounted to."""

    key: FlowKey
    first_ns: int
    last_ns: int
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    multipath: bool = False  # MPTCP moves it already; two layers would race (RFC 6629 §7.3)
    application: str | None = None  # name of the program, "" when it cannot be told, None before it was asked


class Heuristic:
    """Wants a context for what is long or large, flows both ways, and is not left out.

    Args:
        min_bytes: payload both ways that makes a conversation large
        min_age_ns: time that makes it long
        min_packets: it has so many packets in any case
        excluded_ports: ports of either side that are left out
        excluded_protocols: protocol numbers that are left out
        excluded: conversations that are left out
        always: conversations that get a context as soon as packets flow both ways
        applications: the same two by the name of the program
        application_of: returns the name of the program of a conversation, None when it is not known; it may
            cost much, and is asked once a conversation
    """

    def __init__(
        self,
        *,
        min_bytes: int = 2048,
        min_age_ns: int = 60 * SECOND,
        min_packets: int = 4,
        excluded_ports: Collection[int] = (_DNS, _NTP),
        excluded_protocols: Collection[int] = (_ICMPV6,),
        excluded: Collection[ExcludeRule] = (),
        always: Collection[ExcludeRule] = (),
        applications: Mapping[str, Literal["always", "never"]] | None = None,
        application_of: Callable[[FlowKey], str | None] = lambda key: None,
    ) -> None:
        self.min_bytes = min_bytes
        self.min_age_ns = min_age_ns
        self.min_packets = min_packets
        self.excluded_ports = frozenset(excluded_ports)
        self.excluded_protocols = frozenset(excluded_protocols)
        self.excluded = tuple(excluded)
        self.always = tuple(always)
        self.applications = dict(applications or {})
        self.application_of = application_of

    def excludes(self, flow: Flow) -> bool:
        """Tell whether a flow never gets a context, whatever it amounts to."""
        key = flow.key
        return bool(
            flow.multipath
            or key.protocol in self.excluded_protocols
            or self.excluded_ports & {key.port_local, key.port_peer}
            or _any_matches(self.excluded, key)
        )

    def wants_context(self, flow: Flow, now_ns: int) -> bool:
        """Tell whether a flow should get a context now."""
        if not flow.packets_in or not flow.packets_out or self.excludes(flow):
            return False
        said = self._said_of_application(flow)
        if said is not None:
            return said == "always"
        if _any_matches(self.always, flow.key):
            return True
        if flow.packets_in + flow.packets_out < self.min_packets:
            return False
        return flow.bytes_in + flow.bytes_out >= self.min_bytes or now_ns - flow.first_ns >= self.min_age_ns

    def _said_of_application(self, flow: Flow) -> str | None:
        if not self.applications:
            return None
        if flow.application is None:
            flow.application = self.application_of(flow.key) or ""
        return self.applications.get(flow.application)


def _any_matches(rules: Collection[ExcludeRule], key: FlowKey) -> bool:
    return any(rule.matches(key.ulid_peer, key.port_local, key.port_peer) for rule in rules)


class FlowBook:
    """The flows that have no context yet: the one longest silent goes first when there are too many."""

    def __init__(self, heuristic: Heuristic, max_flows: int, idle_ns: int = 30 * SECOND) -> None:
        self.heuristic = heuristic
        self.evicted = 0
        self._max_flows = max_flows
        self._idle_ns = idle_ns
        self._flows: OrderedDict[FlowKey, Flow] = OrderedDict()

    def __len__(self) -> int:
        return len(self._flows)

    def note(
        self, key: FlowKey, packets: int, octets: int, *, sent: bool, multipath: bool, now_ns: int
    ) -> bool:
        """Count packets of a flow; returns whether it should get a context, and then forgets it."""
        flow = self._flows.pop(key, None)
        if flow is None or now_ns - flow.last_ns > self._idle_ns:
            flow = Flow(key, now_ns, now_ns)
        flow.last_ns = now_ns
        flow.multipath |= multipath
        if sent:
            flow.packets_out += packets
            flow.bytes_out += octets
        else:
            flow.packets_in += packets
            flow.bytes_in += octets
        if self.heuristic.wants_context(flow, now_ns):
            return True
        self._flows[key] = flow
        self._make_room(now_ns)
        return False

    def _make_room(self, now_ns: int) -> None:
        while self._flows:
            oldest = next(iter(self._flows.values()))
            full = len(self._flows) > self._max_flows
            if not full and now_ns - oldest.last_ns <= self._idle_ns:
                return
            del self._flows[oldest.key]
            self.evicted += full
