"""When a conversation deserves a context (RFC 5533 §4, deferred establishment). Subclass to decide otherwise.

Thresholds as in the thesis: most flows carry less than 2 KiB and live less than a minute, and for those the
four messages of the exchange would be wasted.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

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


class Heuristic:
    """Wants a context for what is long or large, flows both ways, and is not left out by its ports."""

    def __init__(
        self,
        *,
        min_bytes: int = 2048,
        min_age_ns: int = 60 * SECOND,
        min_packets: int = 4,
        excluded_ports: Collection[int] = (_DNS, _NTP),
        excluded_protocols: Collection[int] = (_ICMPV6,),
    ) -> None:
        self.min_bytes = min_bytes
        self.min_age_ns = min_age_ns
        self.min_packets = min_packets
        self.excluded_ports = frozenset(excluded_ports)
        self.excluded_protocols = frozenset(excluded_protocols)

    def excludes(self, flow: Flow) -> bool:
        """Tell whether a flow never gets a context, whatever it amounts to."""
        ports = {flow.key.port_local, flow.key.port_peer}
        return bool(
            flow.multipath or flow.key.protocol in self.excluded_protocols or ports & self.excluded_ports
        )

    def wants_context(self, flow: Flow, now_ns: int) -> bool:
        """Tell whether a flow should get a context now."""
        if self.excludes(flow) or not flow.packets_in or not flow.packets_out:
            return False
        if flow.packets_in + flow.packets_out < self.min_packets:
            return False
        return flow.bytes_in + flow.bytes_out >= self.min_bytes or now_ns - flow.first_ns >= self.min_age_ns


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
