"""What each piece is to reach, and what a run has to say of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.results import Results, Row

Figure = Callable[[Results], float | None]


@dataclass(frozen=True)
class Target:
    """A figure of a run, which is to be at least or at most `limit`; without a limit it is only shown."""

    piece: str
    figure: Figure
    least: float | None = None
    most: float | None = None

    def line(self, results: Results) -> list[str]:
        """Return the cells of the table: piece, measured, to reach, met."""
        value = self.figure(results)
        wanted = next(
            (
                f"{sign} {limit:g}"
                for sign, limit in ((">=", self.least), ("<=", self.most))
                if limit is not None
            ),
            "",
        )
        if value is None:
            return [self.piece, "not measured", wanted, ""]
        met = (self.least is None or value >= self.least) and (self.most is None or value <= self.most)
        return [
            self.piece,
            f"{value:,.2f}" if value < 10 else f"{value:,.0f}",
            wanted,
            "yes" if met else "no",
        ]


def _of(group: str, attribute: str) -> Figure:
    def figure(results: Results) -> float | None:
        row = results.ours(group)
        return None if row is None else getattr(row, attribute)

    return figure


def _times(group: str, *peers: str) -> Figure:
    """How many times as long as mpcore the fastest of these peers takes."""

    def figure(results: Results) -> float | None:
        ours, theirs = results.ours(group), [results.row(group, peer) for peer in peers]
        known = [row.ns for row in theirs if row is not None]
        return min(known) / ours.ns if ours and known else None

    return figure


def _over_subflows(
    fold: Callable[[dict[int, Row]], float | None], algorithms: Iterable[str], early: float | None
) -> Figure:
    """The largest of what `fold` says of each algorithm's rows at bursts of 8."""

    def figure(results: Results) -> float | None:
        lines = [results.line(algorithm, 8, early) for algorithm in algorithms]
        found = [value for line in lines if line and (value := fold(line)) is not None]
        return max(found) if found else None

    return figure


def growth(line: dict[int, Row], key: str = "ns_per_packet") -> float | None:
    """Return how many times as much the most subflows cost as the fewest for which there is a figure."""
    known = [line[count].info[key] for count in sorted(line) if line[count].info[key] is not None]
    return known[-1] / known[0] if len(known) > 1 else None


def _dearest(line: dict[int, Row]) -> float:
    return max(row.ns for row in line.values())


def _dict(results: Results) -> float | None:
    ratios = [
        dict_row.ns / own_row.ns
        for group in results.groups
        if (dict_row := results.row(group, "dict")) and (own_row := results.row(group, "mpcore"))
    ]
    return min(ratios) if ratios else None


LARGE, LARGE_MANY = "checksum of 65536 B, one call from Python", "checksum of 65536 B, many at once"
FULL = "checksum of 1460 B, one call from Python"
PARSE, PARSE_MANY = (
    f"parse IPv4, TCP and options, {how}" for how in ("read four fields from Python", "256 at once")
)
QUEUE, MARKED = (f"accept{and_mark} packets of 64 B from a queue" for and_mark in ("", " and mark"))
BULK = "bulk TCP through a queue, MTU 1500"
DEFAULTS = ("runs", "shortcuts")
EQUAL = 0.2  # share of early segments in the model of equal disorder: what two subflows make


def _growth_early(line: dict[int, Row]) -> float | None:
    return growth(line, "ns_per_early_segment")


CHECKSUM = (
    Target("checksum, 64 KiB, GB/s", _of(LARGE_MANY, "gb_per_s"), least=35),
    Target("  times as fast as C with SIMD by hand", _times(LARGE_MANY, "C with SIMD by hand"), least=0.9),
    Target("  times as fast as numpy", _times(LARGE, "numpy", "numpy native"), least=3),
    Target("  times as fast as scapy", _times(LARGE, "scapy"), least=150),
    Target("checksum, 1460 B from Python, ns", _of(FULL, "ns"), most=160),
)
REORDERING = (
    Target(
        "reordering, runs and shortcuts, bursts of 8, ns", _over_subflows(_dearest, DEFAULTS, None), most=40
    ),
    Target("  growth, 2 to 32 subflows, equal disorder", _over_subflows(growth, DEFAULTS, EQUAL), most=1.3),
    Target("  growth of each early segment's cost", _over_subflows(_growth_early, DEFAULTS, None), most=1.3),
    Target("  growth with disorder that grows too", _over_subflows(growth, DEFAULTS, None)),
    Target("  growth of regular, equal disorder", _over_subflows(growth, ["regular"], EQUAL)),
    Target("reordering from Python, times as fast as a dict", _dict, least=1),
)
PACKETS = (
    Target("parse in a batch, ns", _of(PARSE_MANY, "ns"), most=30),
    Target("parse as an object and read four fields, ns", _of(PARSE, "ns"), most=300),
    Target("Shim6 insert, 1460 B, ns", _of("Shim6 insert, 1460 B, 256 at once", "ns"), most=60),
    Target("Shim6 remove, 1460 B, ns", _of("Shim6 remove, 1460 B, 256 at once", "ns"), most=60),
)
ESTABLISHED = "Shim6 context established with {}, both ends"
CONTEXTS = (
    Target("Shim6 contexts a second, HBA", _of(ESTABLISHED.format("HBA"), "per_s"), least=1500),
    Target("Shim6 contexts a second, CGA-2048", _of(ESTABLISHED.format("CGA-2048"), "per_s"), least=300),
)
QUEUES = (
    Target("queue, small packets, times as fast as C", _times(QUEUE, "C program"), least=0.95),
    Target("  both setting a mark", _times(MARKED, "C program"), least=0.95),
    Target("queue, bulk TCP, times as fast as netfilterqueue", _times(BULK, "netfilterqueue"), least=4),
)
TARGETS = CHECKSUM + REORDERING + PACKETS + CONTEXTS + QUEUES


def lines(results: Results) -> list[list[str]]:
    """Return the table's lines."""
    return [target.line(results) for target in TARGETS]
