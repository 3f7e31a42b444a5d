"""Transfers over every kind of link: what they reach, beside what theory says that they should.

A cell is one transfer between two endpoints of mpcore. Its result depends on nothing but the code and the
seed, so that tables of results can be kept, and any change of behaviour shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from functools import reduce
from itertools import combinations, product
from math import ceil, log2, sqrt
from operator import or_
from random import Random

from mpcore.config import load_config
from mpcore.counters import Counter
from mpcore.endpoint import Endpoint
from mpcore.sim import FlowResult, LinkPlan, LinkSettings, TcpSettings, TransferResult, run_transfer
from tests.helpers.pair import MS

MSS = 1420  # payload of a full segment with a mapping and time stamps
PACKET = 1500
INITIAL_BYTES = 10 * MSS  # RFC 6928
WINDOW_SHARE = 5 / 8  # of the peer's window that is used with several subflows
MIN_RTO_S = 0.2
TIMEOUT_LOSS = 0.05  # from here on some losses are told by timeouts alone

Value = int | float | str
Meeting = tuple[tuple[int, Value], ...]  # (index of a dimension, its value)


@dataclass(frozen=True, slots=True)
class Cell:
    """What one transfer meets. The links are equal; delay and misfortune are the same both ways."""

    rate_mbit: int
    rtt_ms: int
    loss: float
    reorder: float
    duplicate: float
    buffer_kb: int  # of both sockets, to send and to receive
    links: int
    sender: str  # "client" or "server"

    def __str__(self) -> str:
        return "-".join(f"{value:g}" if not isinstance(value, str) else value for value in astuple(self))


DIMENSIONS: Mapping[str, Sequence[Value]] = {
    "rate_mbit": (1, 10, 100, 1000),
    "rtt_ms": (1, 20, 100, 300),
    "loss": (0.0, 0.001, 0.01, 0.03, 0.1),
    "reorder": (0.0, 0.02),
    "duplicate": (0.0, 0.01),
    "buffer_kb": (256, 4096),
    "links": (1, 2),
    "sender": ("client", "server"),
}


def every_cell() -> Iterator[Cell]:
    """Yield all combinations, in the order of the table."""
    return (Cell(*values) for values in product(*DIMENSIONS.values()))  # type: ignore[arg-type]


def meetings(cell: Cell) -> Iterator[Meeting]:
    """Yield each three values of a cell that meet in it."""
    return combinations(enumerate(astuple(cell)), 3)


def covering_cells() -> list[Cell]:
    """Return few cells in which any two values of a dimension each meet any value of each third one.

    Greedy: each time the cell that adds most, the first of them; sets are bits of an int.
    """
    cells = list(every_cell())
    bits: dict[Meeting, int] = {}
    covers = [
        reduce(or_, (1 << bits.setdefault(meeting, len(bits)) for meeting in meetings(cell)))
        for cell in cells
    ]
    missing = (1 << len(bits)) - 1
    chosen = set()
    while missing:
        best = max(range(len(cells)), key=lambda index: (covers[index] & missing).bit_count())
        chosen.add(best)
        missing &= ~covers[best]
    return [cells[index] for index in sorted(chosen)]


# What theory expects.


def loss_limited_bps(cell: Cell) -> float:
    """Return what one TCP gets through the losses (Mathis et al., CCR 1997; Padhye et al., SIGCOMM 1998).

    It holds for a connection of any number of coupled subflows too: RFC 6356 §3 aims at one TCP's share.
    Windows of a few segments cannot always tell a loss without a timeout, whose share is Padhye's.
    """
    loss, rtt_s = cell.loss, cell.rtt_ms / 1000
    if not loss:
        return float("inf")
    between_s = rtt_s * sqrt(2 * loss / 3)
    if loss < TIMEOUT_LOSS:
        return MSS * 8 / between_s
    timeouts = min(1.0, 3 * sqrt(3 * loss / 8)) * loss * (1 + 32 * loss**2)
    return MSS * 8 / (between_s + max(MIN_RTO_S, 2 * rtt_s) * timeouts)


def limit_bps(cell: Cell) -> float:
    """Return the steady goodput that the scarcest of rate, window and loss allows."""
    capacity = cell.links * cell.rate_mbit * 1e6 * MSS / PACKET
    window = cell.buffer_kb * 1024 * (WINDOW_SHARE if cell.links > 1 else 1)
    return min(capacity, window * 8 / (cell.rtt_ms / 1000), loss_limited_bps(cell))


LEAST_S = 2.0
LEAST_ROUND_TRIPS = 30
LEAST_BYTES = 100_000
MOST_BYTES = 2_500_000


def size_bytes(cell: Cell) -> int:
    """Return how much to send: enough round trips for a steady state, within what a test may take."""
    wanted = limit_bps(cell) / 8 * max(LEAST_S, LEAST_ROUND_TRIPS * cell.rtt_ms / 1000)
    return int(min(max(wanted, LEAST_BYTES), MOST_BYTES))


def expected_bps(cell: Cell) -> float:
    """Return the goodput of the whole transfer: slow start up to the limit, then at the limit."""
    rtt_s, size = cell.rtt_ms / 1000, size_bytes(cell)
    window = limit_bps(cell) / 8 * rtt_s
    rounds = ceil(log2(min(max(window, INITIAL_BYTES), size) / INITIAL_BYTES))
    starting = min(INITIAL_BYTES * (2**rounds - 1), size)
    return size * 8 / ((rounds + 1) * rtt_s + (size - starting) * 8 / limit_bps(cell))


# What happens.


def run_cell(cell: Cell) -> TransferResult:
    """Run the transfer of a cell."""
    size = size_bytes(cell)
    socket = TcpSettings(send_buffer_bytes=cell.buffer_kb << 10, receive_buffer_bytes=cell.buffer_kb << 10)
    return run_transfer(
        [LinkPlan(settings=_link(cell))] * cell.links,
        up_bytes=size if cell.sender == "client" else 0,
        down_bytes=size if cell.sender == "server" else 0,
        client_endpoint=_endpoint,
        server_endpoint=_endpoint,
        client_tcp=socket,
        server_tcp=socket,
    )


def _link(cell: Cell) -> LinkSettings:
    """The queue holds a round trip of the link's rate, and never less than twenty packets."""
    rate = cell.rate_mbit * 1_000_000
    return LinkSettings(
        rate_bps=rate,
        delay_ns=cell.rtt_ms * MS // 2,
        queue_bytes=max(rate // 8 * cell.rtt_ms // 1000, 20 * PACKET),
        loss=cell.loss,
        reorder=cell.reorder,
        reorder_ns=max(cell.rtt_ms * MS // 10, MS // 2),
        duplicate=cell.duplicate,
    )


def _endpoint(rng: Random, now_ns: int) -> Endpoint:
    return Endpoint(load_config(None), rng=rng, now_ns=now_ns)


def data_flow(cell: Cell, result: TransferResult) -> FlowResult:
    """Return the direction of a result that carried the data."""
    return result.up if cell.sender == "client" else result.down


# The table.

_HEADINGS = (
    *(field.name for field in fields(Cell)),
    *("kilobytes", "goodput_kbit", "expected_kbit", "share", "resent", "timeouts", "stall_ms"),
)


def table(rows: Iterable[str]) -> str:
    """Return the rows below their headings."""
    return "".join(f"{line}\n" for line in (_line(_HEADINGS), *rows))


def row(cell: Cell, result: TransferResult) -> str:
    """Return a line: the cell, then what came of it."""
    endpoint = result.network.nodes[cell.sender].endpoint
    assert isinstance(endpoint, Endpoint)
    counters = endpoint.counters()
    flow, expected = data_flow(cell, result), expected_bps(cell)
    return _line(
        (
            *(f"{value:g}" if isinstance(value, float) else str(value) for value in astuple(cell)),
            str(flow.size // 1000),
            str(flow.goodput_bps // 1000),
            str(int(expected) // 1000),
            f"{flow.goodput_bps / expected:.2f}",
            str(counters[Counter.SUBFLOW_RETRANSMIT.mib]),
            str(counters[Counter.SUBFLOW_TIMEOUT.mib]),
            str(flow.longest_stall_ns // MS),
        )
    )


def _line(values: Sequence[str]) -> str:
    return " ".join(
        f"{value:>{max(len(heading), 6)}}" for value, heading in zip(values, _HEADINGS, strict=True)
    )
