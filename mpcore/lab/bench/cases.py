"""The cases by name, each with its targets."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from math import inf
from pathlib import Path

from mpcore.lab.bench.bulk import Way, goodput, label, variants
from mpcore.lab.bench.echo import idle_memory, round_trip, short_connections
from mpcore.lab.bench.failure import Loss, stall
from mpcore.lab.bench.model import Case, Target, added, alone, ratio
from mpcore.lab.bench.shim6 import SEND_TIMEOUT_S, Shim6Stage, shim6_goodput
from mpcore.lab.bench.shim6 import Path as Shim6Path
from mpcore.lab.bench.shim6_failure import KNOWN, SILENT, shim6_search, shim6_stall
from mpcore.lab.bench.stage import KERNEL, TCP, Pair, Stack, Stage
from mpcore.lab.settings import LinkSettings

OUT = Pair(Stack.MPCORE, Stack.KERNEL)
IN = Pair(Stack.KERNEL, Stack.MPCORE)
BOTH = Pair(Stack.MPCORE, Stack.MPCORE)
MPCORE_PAIRS = (OUT, IN, BOTH)
SIDES = {OUT: 1, IN: 1, BOTH: 2}

GIGABIT = 1000.0
LOSSY = LinkSettings(rate_mbit=100, delay_ms=10, loss=0.005)
NEAR = LinkSettings(rate_mbit=100, delay_ms=5)
FAR = LinkSettings(rate_mbit=20, delay_ms=30)
EMULATED_FACTOR = 3  # a transfer over long links takes so much longer than over short ones
ROUNDS = 10_000
IDLE_CONNECTIONS = 2000
BULK_COLUMNS = ("cpu_s_per_gb", "joins", "segments_per_s", "daemon_packets_per_s")
SEARCH_MS = 520.0  # half a second and one round trip, of which the full queues of both ways take 20 ms
SHIM6_AT_REST = {
    (Shim6Path.ULIDS, Shim6Path.PLAIN): 0.99,
    (Shim6Path.MOVED, Shim6Path.PLAIN): None,
}
SHIM6_MOVED = {
    (Shim6Path.MOVED, Shim6Path.CALLBACK): 2.0,
    (Shim6Path.MOVED, Shim6Path.ACCEPT): None,
}

Settings = tuple[LinkSettings | float | None, ...]


def _bulk(
    name: str,
    title: str,
    links: Settings,
    targets: list[Target],
    folder: Path,
    seconds: float,
    *,
    pairs: tuple[Pair, ...] = (KERNEL, *MPCORE_PAIRS),
) -> Case:
    return Case(
        name,
        title,
        "Mbit/s",
        partial(Stage, links, folder),
        variants(pairs, lambda pair, way: goodput(pair, way, seconds)),
        targets,
        BULK_COLUMNS,
    )


def _beside(reference: Pair, at_least: float, pairs: tuple[Pair, ...] = MPCORE_PAIRS) -> list[Target]:
    """Return the targets of `pairs` against `reference`, in both directions."""
    return [
        ratio(label(pair, way), label(reference, way), at_least=at_least) for way, pair in product(Way, pairs)
    ]


def _two_gigabits(folder: Path, seconds: float) -> Case:
    title = "bulk over two links of 1 Gbit/s"
    return _bulk("2x1g", title, (GIGABIT, GIGABIT), _beside(KERNEL, 0.97), folder, seconds)


def _unshaped(folder: Path, seconds: float) -> Case:
    title = "bulk over two links without a limit"
    pairs = (TCP, KERNEL, *MPCORE_PAIRS)
    return _bulk("unshaped", title, (None, None), _beside(KERNEL, 0.30), folder, seconds, pairs=pairs)


def _lossy(folder: Path, seconds: float) -> Case:
    title = "bulk over two links of 100 Mbit/s, round trip 20 ms, loss 0.5 %"
    seconds *= EMULATED_FACTOR
    return _bulk("lossy", title, (LOSSY, LOSSY), _beside(KERNEL, 0.95), folder, seconds)


def _unequal(folder: Path, seconds: float) -> Case:
    title = "bulk over 100 Mbit/s, round trip 10 ms, and 20 Mbit/s, round trip 60 ms; TCP on the former"
    targets = [*_beside(TCP, 0.95), *_beside(KERNEL, 0.9)]
    seconds *= EMULATED_FACTOR
    pairs = (TCP, KERNEL, *MPCORE_PAIRS)
    return _bulk("unequal", title, (NEAR, FAR), targets, folder, seconds, pairs=pairs)


def _fallback(folder: Path, seconds: float) -> Case:
    title = "bulk without a limit when only one host speaks MPTCP, and the connection has fallen back"
    fallen = (Pair(Stack.MPCORE, Stack.TCP), Pair(Stack.TCP, Stack.MPCORE))
    targets = _beside(TCP, 0.99, fallen)
    return _bulk("fallback", title, (None,), targets, folder, seconds, pairs=(TCP, *fallen))


def _cut(folder: Path, seconds: float) -> Case:
    runs = {
        f"{pair} {way.value}, link {link}": stall(pair, way, Loss.CUT, link - 1)
        for way, link, pair in product(Way, (1, 2), (KERNEL, *MPCORE_PAIRS))
    }
    targets = [
        ratio(f"{pair} {way.value}, link {link}", f"{KERNEL} {way.value}, link {link}", at_most=1.0)
        for way, link, pair in product(Way, (1, 2), MPCORE_PAIRS)
    ]
    title = "stall when one of two links of 200 Mbit/s falls silent"
    return Case("cut", title, "ms", partial(Stage, (200.0, 200.0), folder), runs, targets, worst=inf)


def _gone(folder: Path, seconds: float) -> Case:
    runs = {
        f"{pair} {way.value}, link {link} {loss.value}": stall(pair, way, loss, link - 1)
        for loss, way, link, pair in product((Loss.DOWN, Loss.ADDRESS), Way, (1, 2), MPCORE_PAIRS)
    }
    targets = [alone(name, at_most=100.0) for name in runs]
    title = "stall when one of two links of 200 Mbit/s goes on a host of mpcore"
    return Case("gone", title, "ms", partial(Stage, (200.0, 200.0), folder), runs, targets, worst=inf)


def _latency(folder: Path, seconds: float) -> Case:
    runs = {str(pair): round_trip(pair, ROUNDS) for pair in (TCP, KERNEL, *MPCORE_PAIRS)}
    targets = [added(str(pair), str(TCP), at_most=60.0 * sides) for pair, sides in SIDES.items()]
    title = f"median of {ROUNDS} round trips of 64 bytes, without a limit"
    return Case("latency", title, "us", partial(Stage, (None, None), folder), runs, targets, ("p99_us",), inf)


def _short(folder: Path, seconds: float) -> Case:
    runs = {str(pair): short_connections(pair, seconds) for pair in (TCP, KERNEL, *MPCORE_PAIRS)}
    targets = [alone(str(pair), at_least=2000.0) for pair in MPCORE_PAIRS]
    title = "short connections a second: open, 64 bytes and back, close; each daemon on the first core"
    return Case("short", title, "1/s", partial(Stage, (None, None), folder), runs, targets, ("wrong",))


def _idle(folder: Path, seconds: float) -> Case:
    runs = {str(pair): idle_memory(pair, IDLE_CONNECTIONS) for pair in (OUT, IN)}
    targets = [alone(name, at_most=16.0) for name in runs]
    title = f"memory of the daemon for each of {IDLE_CONNECTIONS} idle connections of two subflows"
    stage = partial(Stage, (None, None), folder)
    return Case("idle", title, "KB", stage, runs, targets, ("connections", "joins"), inf)


def _shim6_bulk(
    name: str,
    title: str,
    links: Settings,
    bounds: Mapping[tuple[Shim6Path, Shim6Path], float | None],
    folder: Path,
    seconds: float,
) -> Case:
    """Return the case that compares pairs of paths, each with what their ratio has to reach."""
    paths = list(dict.fromkeys(path for pair in bounds for path in reversed(pair)))
    runs = {_shim6_label(path, way): shim6_goodput(path, way, seconds) for way in Way for path in paths}
    targets = [
        ratio(_shim6_label(path, way), _shim6_label(reference, way), at_least=bound)
        for way in Way
        for (path, reference), bound in bounds.items()
    ]
    stage = partial(Shim6Stage, links, folder)
    return Case(name, title, "Mbit/s", stage, runs, targets, ("queued_per_s", "cpu_s_per_gb"))


def _shim6_label(path: Shim6Path, way: Way) -> str:
    return f"{path.value} {way.value}"


def _shim6(folder: Path, seconds: float) -> Case:
    title = "bulk TCP over IPv6 at 1 Gbit/s: no mpcore, and Shim6 at both ends"
    return _shim6_bulk("shim6", title, (GIGABIT, GIGABIT), SHIM6_AT_REST, folder, seconds)


def _shim6_unshaped(folder: Path, seconds: float) -> Case:
    title = "the same without a limit"
    return _shim6_bulk("shim6-max", title, (None, None), SHIM6_AT_REST, folder, seconds)


def _shim6_moved(folder: Path, seconds: float) -> Case:
    title = "bulk TCP over IPv6 without a limit while both ends rewrite, and others on the same queues"
    return _shim6_bulk("shim6-moved", title, (None, None), SHIM6_MOVED, folder, seconds)


def _shim6_gone(folder: Path, seconds: float) -> Case:
    runs = {f"{loss.value}, {way.value}": shim6_stall(loss, way) for loss, way in product(KNOWN, Way)}
    targets = [alone(name, at_most=300.0) for name in runs]
    title = "stall of TCP over IPv6 when the first of two links of 200 Mbit/s goes at one host, Shim6 at both"
    stage = partial(Shim6Stage, (200.0, 200.0), folder)
    return Case("shim6-gone", title, "ms", stage, runs, targets, ("stall_ms", "detection_ms"), inf)


def _shim6_cut(folder: Path, seconds: float, send_timeout_s: float = SEND_TIMEOUT_S) -> Case:
    runs = {
        f"{loss.value}, {way.value}": shim6_search(loss, way, send_timeout_s)
        for loss, way in product(SILENT, Way)
    }
    targets = [alone(name, at_most=SEARCH_MS) for name in runs]
    links = "one of two links of 200 Mbit/s"
    title = f"search among 4 pairs when {links} falls silent, Send Timeout {send_timeout_s:g} s"
    stage = partial(Shim6Stage, (200.0, 200.0), folder)
    return Case("shim6-cut", title, "ms", stage, runs, targets, ("detection_ms", "stall_ms"), inf)


CASES: Mapping[str, Callable[[Path, float], Case]] = {
    "2x1g": _two_gigabits,
    "unshaped": _unshaped,
    "lossy": _lossy,
    "unequal": _unequal,
    "cut": _cut,
    "gone": _gone,
    "latency": _latency,
    "fallback": _fallback,
    "short": _short,
    "idle": _idle,
    "shim6": _shim6,
    "shim6-max": _shim6_unshaped,
    "shim6-moved": _shim6_moved,
    "shim6-gone": _shim6_gone,
    "shim6-cut": _shim6_cut,
}


def build_case(name: str, folder: Path, seconds: float, send_timeout_s: float = SEND_TIMEOUT_S) -> Case:
    """Return a case; the Send Timeout is that of those in which it decides."""
    if CASES[name] is _shim6_cut:
        return _shim6_cut(folder, seconds, send_timeout_s)
    return CASES[name](folder, seconds)


def titles() -> dict[str, str]:
    """Return what each case is about."""
    return {name: build_case(name, Path(), 1).title for name in CASES}
