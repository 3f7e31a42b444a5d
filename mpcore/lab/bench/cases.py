"""The cases by name, each with its targets."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from mpcore.lab.bench.bulk import Way, goodput, label, variants
from mpcore.lab.bench.model import Case, Target, ratio
from mpcore.lab.bench.stage import KERNEL, TCP, Pair, Stack, Stage

MPCORE_PAIRS = (
    Pair(Stack.MPCORE, Stack.KERNEL),
    Pair(Stack.KERNEL, Stack.MPCORE),
    Pair(Stack.MPCORE, Stack.MPCORE),
)
BULK_COLUMNS = ("cpu_s_per_gb", "joins", "segments_per_s", "daemon_packets_per_s")
GIGABIT = 1000.0


def _beside_kernel(at_least: float) -> list[Target]:
    """Return the targets of each pair with mpcore against the kernel alone, in both directions."""
    return [
        ratio(label(pair, way), label(KERNEL, way), at_least=at_least) for way in Way for pair in MPCORE_PAIRS
    ]


def _two_gigabits(folder: Path, seconds: float) -> Case:
    return Case(
        "2x1g",
        "bulk over two links of 1 Gbit/s",
        "Mbit/s",
        partial(Stage, (GIGABIT, GIGABIT), folder),
        variants((KERNEL, *MPCORE_PAIRS), lambda pair, way: goodput(pair, way, seconds)),
        _beside_kernel(0.97),
        BULK_COLUMNS,
    )


def _unshaped(folder: Path, seconds: float) -> Case:
    return Case(
        "unshaped",
        "bulk over two links without a limit",
        "Mbit/s",
        partial(Stage, (None, None), folder),
        variants((TCP, KERNEL, *MPCORE_PAIRS), lambda pair, way: goodput(pair, way, seconds)),
        _beside_kernel(0.30),
        BULK_COLUMNS,
    )


CASES: Mapping[str, Callable[[Path, float], Case]] = {
    "2x1g": _two_gigabits,
    "unshaped": _unshaped,
}


def titles() -> dict[str, str]:
    """Return what each case is about."""
    return {name: build(Path(), 0).title for name, build in CASES.items()}
